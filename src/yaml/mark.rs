//! A place in a file, and the error text that shows it.

use std::{fmt, sync::Arc};

use crate::error::{Exit, Place, UserError};

/// How many characters of a long line an error shows.
const SHOWN_LINE: usize = 120;
/// How many characters of a value an error quotes.
const SHOWN_VALUE: usize = 60;

/// A file that was read.
pub(super) struct Source {
    /// The file as the user named it, or `-` for standard input.
    pub(super) name: String,
    pub(super) text: String,
}

/// Where a key or a value starts: line and column count from 1, columns in characters.
#[derive(Clone)]
pub(crate) struct Mark {
    pub(super) source: Arc<Source>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    /// Returns an error about this place: `file:line:column: message`, then the line with a caret below the column.
    pub(crate) fn error(&self, code: &'static str, message: impl fmt::Display) -> UserError {
        let mut error = self.error_unshown(code, message);
        error.message += &self.excerpt().unwrap_or_default();
        error
    }

    /// Returns an error about this place as [`Mark::error`] does, but without the line: it must not be repeated.
    pub(crate) fn error_unshown(&self, code: &'static str, message: impl fmt::Display) -> UserError {
        let Mark { source, line, column } = self;
        let message = escaped(&message.to_string());
        let message = format!("{}:{line}:{column}: {message}", escaped(&source.name));
        let mut error = UserError::new(Exit::Invalid, code, message);
        error.place = Some(Place { file: source.name.clone(), line: *line, column: *column });
        error
    }

    fn excerpt(&self) -> Option<String> {
        let line: Vec<char> = lines(&self.source.text).nth(self.line as usize - 1)?.chars().collect();
        if line.is_empty() {
            return None;
        }
        let at = (self.column as usize - 1).min(line.len());
        let from = at.saturating_sub(SHOWN_LINE / 2).min(line.len().saturating_sub(SHOWN_LINE));
        let to = line.len().min(from + SHOWN_LINE);
        let cut = |here: bool| if here { "…" } else { "" };
        let show = |part: &[char]| escaped(&part.iter().collect::<String>());

        let before = format!("{}{}", cut(from > 0), show(&line[from..at]));
        let after = format!("{}{}", show(&line[at..to]), cut(to < line.len()));
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let caret = " ".repeat(console::measure_text_width(&before));
        Some(format!("\n{gutter} |\n{number} | {before}{after}\n{gutter} | {caret}^"))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

/// Returns the lines as the parser counts them: ended by LF, CR LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Returns the text with control and invisible characters spelled out, so that a file cannot write to the terminal.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if hidden { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Returns a value as an error quotes it: in backticks, escaped, the start only if it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_VALUE) {
        Some((end, _)) => format!("`{}…`", escaped(&text[..end])),
        None => format!("`{}`", escaped(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, line: u32, column: u32) -> String {
        let source = Arc::new(Source { name: "presets/aptem.yaml".into(), text: text.into() });
        Mark { source, line, column }.error("yaml_value", "it is wrong").message
    }

    #[test]
    fn an_error_names_the_place_and_shows_the_line() {
        let error =
            Mark { source: Arc::new(Source { name: "-".into(), text: "a: 1\n  b: 2\n".into() }), line: 2, column: 3 }
                .error("yaml_value", "it is wrong");
        assert_eq!(error.message, "-:2:3: it is wrong\n  |\n2 |   b: 2\n  |   ^");
        assert_eq!(error.place, Some(Place { file: "-".into(), line: 2, column: 3 }));
        assert_eq!(error.exit, Exit::Invalid);
    }

    #[test]
    fn line_numbers_of_any_width_keep_the_gutter_straight() {
        let text = "x\n".repeat(99) + "hundred";
        assert_eq!(message(&text, 100, 1), "presets/aptem.yaml:100:1: it is wrong\n    |\n100 | hundred\n    | ^");
    }

    #[test]
    fn every_line_ending_counts_as_one_line() {
        assert!(message("a\r\nb\rc\nd", 3, 1).ends_with("\n  |\n3 | c\n  | ^"));
    }

    #[test]
    fn control_and_invisible_characters_are_shown_escaped() {
        let shown = message("\ta\u{1b}[31m\u{202e}b", 1, 9);
        assert!(shown.ends_with("\n1 | \\ta\\u{1b}[31m\\u{202e}b\n  |                      ^"), "{shown}");
    }

    #[test]
    fn the_caret_stands_below_wide_characters_too() {
        assert!(message("漢字: x", 1, 5).ends_with("\n1 | 漢字: x\n  |       ^"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let shown = message(&text, 1, 501);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[2].chars().count(), "1 | ".len() + 122);
        assert!(lines[2].starts_with("1 | …aaa") && lines[2].ends_with("bbb…"), "{shown}");
        let caret = lines[3].find('^').unwrap();
        assert_eq!(lines[2].chars().nth(caret), Some('H'));
    }

    #[test]
    fn a_place_past_the_text_has_no_excerpt() {
        assert_eq!(message("", 1, 1), "presets/aptem.yaml:1:1: it is wrong");
        assert_eq!(message("a: 1\n", 2, 1), "presets/aptem.yaml:2:1: it is wrong");
    }

    #[test]
    fn a_long_value_is_quoted_in_part() {
        assert_eq!(quoted("short"), "`short`");
        assert_eq!(quoted(&"é".repeat(100)), format!("`{}…`", "é".repeat(60)));
    }
}
