//! Values on their way from a record to a row: read without guessing, changed step by step, checked as a type.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;

use crate::domain::entity::FieldType;
use crate::domain::mapping::Step;
use crate::domain::uln::{self, Uln};
use crate::domain::{json, number};
use crate::store::records::Cell;

/// A value on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// Digits as they were sent.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<String>),
    /// An object or array as it was sent.
    Json(Cow<'a, str>),
}

/// Reads a value of a document without losing how it is written.
pub(super) fn value(json: &str) -> Value<'_> {
    match json.as_bytes().first() {
        Some(b'"') => Value::Text(string(json)),
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'[' | b'{') => Value::Json(Cow::Borrowed(json)),
        _ => Value::Number(Cow::Borrowed(json)),
    }
}

/// What is nested deeper is not believed: whoever reads it on might not survive it.
const DEEPEST: usize = 127;
pub(super) const NO_SCALAR: &str =
    "it is an object or a list, where one value is needed: map it with `type: json`, or a part of it";
pub(super) const TOO_DEEP: &str = "it is nested more than 127 deep";

/// Returns whether a JSON text is nested deeper than is believed.
pub(super) fn too_deep(text: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    text.len() > 2 * DEEPEST
        && text.bytes().any(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth > DEEPEST
        })
}

/// Reads a JSON string, borrowing where it has no escapes. A lone surrogate becomes U+FFFD.
fn string(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    if !inner.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(quoted).map_or_else(|_| Cow::Owned(lossy(inner)), Cow::Owned)
}

/// Decodes the escapes of a JSON string one by one, where the whole does not decode.
fn lossy(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(position) = rest.find('\\') {
        text.push_str(&rest[..position]);
        let length = if rest[position..].starts_with("\\u") { 6 } else { 2 };
        let pair = rest.get(position..position + 12).filter(|pair| length == 6 && pair[6..].starts_with("\\u"));
        let decode = |escape: &str| serde_json::from_str::<String>(&format!("\"{escape}\"")).ok();
        let one = rest.get(position..position + length).unwrap_or(&rest[position..]);
        if let Some(decoded) = decode(one) {
            text.push_str(&decoded);
            rest = &rest[position + one.len()..];
        } else if let Some(decoded) = pair.and_then(decode) {
            text.push_str(&decoded);
            rest = &rest[position + 12..];
        } else {
            text.push('\u{fffd}');
            rest = &rest[position + one.len()..];
        }
    }
    text.push_str(rest);
    text
}

/// Returns a scalar as text; null and lists have none.
pub(super) fn text_of<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Null | Value::List(_) => None,
        Value::Bool(bool) => Some(Cow::Borrowed(if *bool { "true" } else { "false" })),
        Value::Number(text) | Value::Text(text) | Value::Json(text) => Some(Cow::Borrowed(text)),
    }
}

/// Applies one step of `do`. Null stays null.
pub(super) fn stepped<'a>(value: Value<'a>, step: &Step) -> Result<Value<'a>, String> {
    if value == Value::Null {
        return Ok(value);
    }
    let list = |value: &Value<'_>| match value {
        Value::List(items) => Some(items.clone()),
        Value::Json(text) => serde_json::from_str::<Vec<&RawValue>>(text).ok().map(|items| {
            items
                .iter()
                .map(|item| item.get())
                .map(|item| match item.as_bytes().first() {
                    Some(b'"') => string(item).into_owned(),
                    _ => json::exact(item).map_or_else(|| item.to_owned(), Cow::into_owned),
                })
                .collect()
        }),
        _ => None,
    };
    let owned = |text: String| Ok(Value::Text(Cow::Owned(text)));
    let picked = |item: Option<&String>| Ok(item.map_or(Value::Null, |item| Value::Text(Cow::Owned(item.clone()))));
    match step {
        Step::First => return picked(list(&value).ok_or("`first` needs a list")?.first()),
        Step::Last => return picked(list(&value).ok_or("`last` needs a list")?.last()),
        Step::Join(separator) => return owned(list(&value).ok_or("`join` needs a list")?.join(separator)),
        _ => {}
    }
    let text = text_of(&value).ok_or("it is a list, where a text is needed")?;
    match step {
        Step::Trim => owned(text.trim().to_owned()),
        Step::Lower => owned(text.to_lowercase()),
        Step::Upper => owned(text.to_uppercase()),
        Step::Title => owned(title(&text)),
        Step::Digits => owned(text.chars().filter(char::is_ascii_digit).collect()),
        Step::Number if text.trim().is_empty() => Ok(Value::Null),
        Step::Number => match number::cleaned(&text) {
            Some(number) => owned(number),
            None => Err("it cannot be told which number it is".into()),
        },
        Step::Bool => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "1" | "on" => Ok(Value::Bool(true)),
            "false" | "no" | "n" | "0" | "off" => Ok(Value::Bool(false)),
            "" => Ok(Value::Null),
            _ => Err("it is neither yes nor no".into()),
        },
        Step::Date => owned(text.chars().take(10).collect()),
        Step::DateIn(zone) => match (DateTime::parse_from_rfc3339(&text), zone.parse::<chrono_tz::Tz>()) {
            (Ok(at), Ok(zone)) => owned(at.with_timezone(&zone).date_naive().to_string()),
            // A date without a time has no zone to be moved between.
            (Err(_), _) if text.len() <= 10 => owned(text.into_owned()),
            _ => Err("it is not a date with a time".into()),
        },
        Step::Postcode => owned(postcode(&text)),
        Step::Hash => owned(crate::store::hash(&text)),
        Step::Split(_) if text.trim().is_empty() => Ok(Value::List(Vec::new())),
        Step::Split(separator) => {
            Ok(Value::List(text.split(separator.as_str()).map(|part| part.trim().to_owned()).collect()))
        }
        Step::Replace((from, to)) => owned(text.replace(from.as_str(), to)),
        Step::Slice((from, to)) => owned(text.chars().skip(*from).take(to.saturating_sub(*from)).collect()),
        Step::First | Step::Last | Step::Join(_) => Ok(value),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let shown: Vec<char> = if start { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
            start = !c.is_alphanumeric() && c != '\'';
            shown
        })
        .collect()
}

/// Returns a UK postcode in upper case with one space before its last three characters; anything else as it is.
fn postcode(text: &str) -> String {
    let packed: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_uppercase();
    if (5..=7).contains(&packed.len()) {
        format!("{} {}", &packed[..packed.len() - 3], &packed[packed.len() - 3..])
    } else {
        text.trim().to_owned()
    }
}

/// Reads a value as a type. The reason of a failure never shows the value: it may be personal.
pub(super) fn typed<'a>(
    value: Value<'a>,
    field_type: Option<FieldType>,
    format: Option<&str>,
) -> Result<Value<'a>, String> {
    let Some(field_type) = field_type else { return Ok(value) };
    if field_type == FieldType::Json {
        return Ok(Value::Json(Cow::Owned(written(&value))));
    }
    let whole = match value {
        Value::Null => return Ok(Value::Null),
        Value::List(items) if items.is_empty() => return Ok(Value::Null),
        Value::List(items) => return Ok(Value::Text(Cow::Owned(items.join(";")))),
        Value::Bool(bool) => Cow::Borrowed(if bool { "true" } else { "false" }),
        Value::Json(_) => return Err(NO_SCALAR.into()),
        Value::Number(text) | Value::Text(text) => text,
    };
    if field_type == FieldType::Text {
        return Ok(Value::Text(whole));
    }
    let text = whole.trim();
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let owned = |text: String| Ok(Value::Text(Cow::Owned(text)));
    match field_type {
        FieldType::Int => match number::whole(text) {
            Some(number) => Ok(Value::Number(Cow::Owned(number))),
            None => Err("it is not a whole number".into()),
        },
        FieldType::Decimal => {
            let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
            // What no report can calculate with is no number, though its digits would be kept.
            let is_finite = digits.parse::<f64>().is_ok_and(f64::is_finite);
            match number::for_json(digits).filter(|_| is_finite) {
                Some(number) => Ok(Value::Number(Cow::Owned(number))),
                None => Err("it is not a number".into()),
            }
        }
        FieldType::Bool => stepped(Value::Text(Cow::Owned(text.to_owned())), &Step::Bool),
        FieldType::Date => date(text, format).map(|date| Value::Text(Cow::Owned(date))),
        FieldType::Datetime => datetime(text, format).map(|at| Value::Text(Cow::Owned(at))),
        FieldType::Email => {
            // Most come as they are kept, and need no text of their own.
            let kept = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            let plain = text.len() == whole.len() && text.bytes().all(kept);
            let email = if plain { whole } else { Cow::Owned(text.to_lowercase()) };
            let (name, host) = email.split_once('@').unwrap_or_default();
            let good =
                !name.is_empty() && host.contains('.') && !host.contains('@') && !email.contains(char::is_whitespace);
            if good { Ok(Value::Text(email)) } else { Err("it is not an e-mail address".into()) }
        }
        FieldType::Uln => match uln::check(text) {
            Uln::Valid | Uln::Temporary => owned(text.to_owned()),
            Uln::Invalid => Err("it is not a ULN: its check digit or length is wrong".into()),
        },
        FieldType::Text | FieldType::Json => Ok(Value::Text(whole)),
    }
}

/// Reads a date: ISO 8601 with or without a time, whose date is taken as it stands, or a format of its own.
fn date(text: &str, format: Option<&str>) -> Result<String, String> {
    let wrong = || "it is not a date".to_owned();
    let date = match format {
        Some(format) => NaiveDate::parse_from_str(text, format)
            .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|at| at.date()))
            .map_err(|_| wrong())?,
        None => {
            let day = text.get(..10).ok_or_else(wrong)?;
            if !matches!(text.as_bytes().get(10), None | Some(b'T' | b' ')) {
                return Err(wrong());
            }
            NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| wrong())?
        }
    };
    Ok(date.format("%Y-%m-%d").to_string())
}

/// Reads an instant with any number of fraction digits, `Z`, `+00:00` or `+0000`; without an offset it is UTC.
fn datetime(text: &str, format: Option<&str>) -> Result<String, String> {
    let wrong = || "it is not a date with a time".to_owned();
    let at: DateTime<Utc> = match format {
        Some(format) => DateTime::parse_from_str(text, format)
            .map(|at| at.to_utc())
            .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|at| at.and_utc()))
            .map_err(|_| wrong())?,
        None => DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
            .map(|at| at.to_utc())
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|at| at.and_utc()))
            .map_err(|_| wrong())?,
    };
    Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Returns a value as the cell of a typed column.
pub(super) fn cell(value: Value<'_>, field_type: FieldType) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Number(digits) if field_type == FieldType::Decimal => Cell::Decimal(digits),
        Value::Bool(bool) => Cell::Text(Cow::Borrowed(if bool { "true" } else { "false" })),
        Value::Number(text) | Value::Text(text) | Value::Json(text) => Cell::Text(text),
        Value::List(items) if items.is_empty() => Cell::Null,
        Value::List(items) => Cell::Text(Cow::Owned(items.join(";"))),
    }
}

/// Returns a number or a truth value as the text it was sent as.
pub(super) fn as_text(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Number(digits) => Value::Text(digits),
        Value::Bool(bool) => Value::Text(Cow::Borrowed(if bool { "true" } else { "false" })),
        other => other,
    }
}

/// Returns a value as JSON, digits as they were sent.
fn written(value: &Value<'_>) -> String {
    let mut json = String::new();
    push_json(&mut json, value);
    json
}

/// Writes a value as JSON behind what is there.
pub(super) fn push_json(json: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => json.push_str("null"),
        Value::Bool(bool) => json.push_str(if *bool { "true" } else { "false" }),
        Value::Number(text) | Value::Json(text) => json.push_str(text),
        Value::Text(text) if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) => {
            json.push('"');
            json.push_str(text);
            json.push('"');
        }
        Value::Text(text) => json.push_str(&serde_json::Value::from(text.as_ref()).to_string()),
        Value::List(items) => json.push_str(&serde_json::Value::from(items.as_slice()).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(text: &str, field_type: FieldType, format: Option<&str>) -> Result<Option<String>, String> {
        typed(Value::Text(Cow::Borrowed(text)), Some(field_type), format)
            .map(|value| text_of(&value).map(Cow::into_owned))
    }

    #[test]
    fn dates_of_all_five_services_are_read() {
        for text in ["2024-09-02", "2024-09-02T00:00:00Z", "2024-09-02T23:30:00.6880167Z", "2024-09-02 10:00:00"] {
            assert_eq!(make(text, FieldType::Date, None).unwrap().as_deref(), Some("2024-09-02"), "{text}");
        }
        assert_eq!(make("02/09/2024", FieldType::Date, Some("%d/%m/%Y")).unwrap().as_deref(), Some("2024-09-02"));
        for bad in ["02/09/2024", "2024-13-01", "soon", "20240902xx"] {
            assert!(make(bad, FieldType::Date, None).is_err(), "{bad}");
        }
        assert_eq!(make("", FieldType::Date, None).unwrap(), None);
    }

    #[test]
    fn instants_keep_their_fraction_and_come_out_in_utc() {
        let read = |text: &str| make(text, FieldType::Datetime, None).unwrap().unwrap();
        assert_eq!(read("2025-06-11T14:22:05.000+0000"), "2025-06-11T14:22:05Z");
        assert_eq!(read("2025-06-11T14:22:05.6880167Z"), "2025-06-11T14:22:05.688016700Z");
        assert_eq!(read("2025-06-11T14:22:05+01:00"), "2025-06-11T13:22:05Z");
    }

    #[test]
    fn digits_are_never_guessed_at() {
        assert_eq!(value("12345678901234567890123"), Value::Number("12345678901234567890123".into()));
        assert_eq!(make("007", FieldType::Text, None).unwrap().as_deref(), Some("007"));
        assert_eq!(make("1e5", FieldType::Text, None).unwrap().as_deref(), Some("1e5"));
        assert_eq!(make("42%", FieldType::Decimal, None).unwrap().as_deref(), Some("42"));
        assert!(make("N/A", FieldType::Decimal, None).is_err());
    }

    #[test]
    fn numbers_are_such_as_json_has() {
        for (text, field_type, number) in [
            ("+5", FieldType::Int, "5"),
            ("007", FieldType::Int, "7"),
            ("007.50", FieldType::Decimal, "7.50"),
            (".5", FieldType::Decimal, "0.5"),
            ("12.340", FieldType::Decimal, "12.340"),
        ] {
            assert_eq!(written(&typed(Value::Text(text.into()), Some(field_type), None).unwrap()), number, "{text}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_the_rest_kept() {
        assert_eq!(string(r#""a\ud83db\u00e9\n""#), "a\u{fffd}bé\n");
        assert_eq!(string(r#""\ud83d\ude00 ok \ud83d""#), "😀 ok \u{fffd}");
    }

    #[test]
    fn steps_do_what_they_say() {
        let run = |text: &'static str, steps: &[Step]| {
            let made =
                steps.iter().try_fold(Value::Text(Cow::Borrowed(text)), |value, step| stepped(value, step)).unwrap();
            text_of(&made).map(Cow::into_owned)
        };
        assert_eq!(run(" a;b ; c", &[Step::Split(";".into()), Step::Last]).as_deref(), Some("c"));
        assert_eq!(run("ls11aa", &[Step::Postcode]).as_deref(), Some("LS1 1AA"));
        assert_eq!(run("zoë o'neill-JONES", &[Step::Title]).as_deref(), Some("Zoë O'neill-Jones"));
        assert_eq!(run("07700 900 123", &[Step::Digits]).as_deref(), Some("07700900123"));
        assert_eq!(run("2001-04-16T23:00:00Z", &[Step::DateIn("Europe/London".into())]).as_deref(), Some("2001-04-17"));
        assert_eq!(run("abcdef", &[Step::Slice((1, 3)), Step::Upper]).as_deref(), Some("BC"));
    }
}
