//! Shows what a change does to settings, path by path.

use serde::Serialize;

use super::look::Look;
use super::show::show;

/// A value longer than this is shown on a line of its own.
const LONG: usize = 60;

/// What becomes of one setting. Secrets never come here, only what may be said of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The setting, like `sync_frequency`.
    pub path: String,
    /// The value it had; absent when it is new.
    pub before: Option<String>,
    /// The value it gets; absent when it goes.
    pub after: Option<String>,
    /// What a reader should know besides, like where the old value came from.
    pub note: Option<String>,
}

/// Returns changes line by line: `+ path: new`, `- path: old`, `~ path: old -> new`, long values one below the other.
pub(crate) fn changes(changes: &[Change], look: &Look) -> String {
    changes.iter().map(|change| one(change, look)).collect()
}

fn one(change: &Change, look: &Look) -> String {
    let path = show(&change.path);
    let note = change.note.as_ref().map(|note| look.dim(&format!("   ({note})"))).unwrap_or_default();
    match (&change.before, &change.after) {
        (Some(before), Some(after)) if is_short(before) && is_short(after) => {
            format!("{} {path}: {} -> {}{note}\n", look.warn("~"), look.bad(before), look.ok(after))
        }
        (None, Some(after)) if is_short(after) => format!("{}{note}\n", look.ok(&format!("+ {path}: {after}"))),
        (Some(before), None) if is_short(before) => format!("{}{note}\n", look.bad(&format!("- {path}: {before}"))),
        (before, after) => {
            let sign = match (before, after) {
                (None, _) => look.ok("+"),
                (_, None) => look.bad("-"),
                _ => look.warn("~"),
            };
            let old = before.iter().flat_map(|text| text.lines()).map(|line| look.bad(&format!("- {line}")));
            let new = after.iter().flat_map(|text| text.lines()).map(|line| look.ok(&format!("+ {line}")));
            let lines: String = old.chain(new).map(|line| format!("    {line}\n")).collect();
            format!("{sign} {path}{note}\n{lines}")
        }
    }
}

fn is_short(value: &str) -> bool {
    !value.contains('\n') && console::measure_text_width(value) <= LONG
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::show::paint;
    use super::*;

    fn change(path: &str, before: Option<&str>, after: Option<&str>) -> Change {
        Change { path: path.into(), before: before.map(Into::into), after: after.map(Into::into), note: None }
    }

    fn shown(all: &[Change], colors: bool) -> String {
        paint(&changes(all, &Look::new(true, DateTime::UNIX_EPOCH)), colors)
    }

    #[test]
    fn a_change_says_its_kind_without_colour() {
        let all = [
            change("sync_frequency", Some("1h"), Some("15m")),
            change("api_url", None, Some("https://api.aptem.co.uk")),
            Change { note: Some("retired in defaults 4".into()), ..change("page_size", Some("100"), None) },
        ];
        assert_eq!(
            shown(&all, false),
            "~ sync_frequency: 1h -> 15m\n+ api_url: https://api.aptem.co.uk\n- page_size: 100   (retired in defaults 4)\n"
        );
        assert_eq!(
            shown(&all[..1], true),
            "\x1b[33m~\x1b[0m sync_frequency: \x1b[31m1h\x1b[0m -> \x1b[32m15m\x1b[0m\n"
        );
    }

    #[test]
    fn a_long_value_is_shown_line_by_line() {
        let all = [change("filter", Some("a\nb"), Some("a\nc\x1b[2J"))];
        assert_eq!(shown(&all, false), "~ filter\n    - a\n    - b\n    + a\n    + c\\u{1b}[2J\n");
    }

    #[test]
    fn an_absent_value_is_null_in_json() {
        let json = serde_json::to_string(&change("a", None, Some("1"))).unwrap();
        assert_eq!(json, "{\"path\":\"a\",\"before\":null,\"after\":\"1\",\"note\":null}");
    }
}
