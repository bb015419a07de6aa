//! What an organization may be called, and the other things it is asked for when it is created.

use chrono_tz::Tz;

use super::names::{self, Slug, composed};
use super::secretlike;
use crate::error::nearest;

/// The domain below which organizations have their subdomains, unless the database says otherwise.
pub(crate) const BASE_DOMAIN: &str = "aivii.co.uk";

/// Where an organization is unless it says otherwise.
pub(crate) const TIME_ZONE: &str = "Europe/London";

/// How long a deleted organization can be restored.
pub(crate) const TRASH_DAYS: i64 = 30;

const LONGEST_NAME: usize = 100;

/// Returns a name as it is kept: composed, without space around it, 1 to 100 characters that all can be seen.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let text = &composed(text.trim());
    match text.chars().count() {
        0 => Err("a name cannot be empty".into()),
        1..=LONGEST_NAME => secretlike::refuse("", text).map_err(|error| error.message).and_then(|()| visible(text)),
        length => Err(format!("a name has at most {LONGEST_NAME} characters, this one {length}")),
    }
}

/// Returns the text if no character of it acts on a terminal, turns text round or cannot be seen.
fn visible(text: &str) -> Result<String, String> {
    match text.chars().find(|c| names::is_hidden(*c)) {
        Some(c) => Err(format!("the character {} cannot be seen and is not allowed", c.escape_unicode())),
        None => Ok(text.to_owned()),
    }
}

/// Returns the slug of a new organization, which must not be a reserved word.
pub(crate) fn subdomain(text: &str) -> Result<Slug, String> {
    let slug: Slug = text.trim().parse()?;
    if slug.reserved() {
        return Err(format!("`{slug}` is reserved for the platform itself; choose another subdomain"));
    }
    Ok(slug)
}

/// Returns the subdomain a name suggests, if it has any letters or digits for one: its words, without `Ltd` and the like.
pub(crate) fn suggested_subdomain(name: &str) -> Option<Slug> {
    let ascii: String = name.to_lowercase().chars().filter(|c| *c != '\'' && *c != '’').collect();
    let mut words: Vec<&str> =
        ascii.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    while words.len() > 1 && matches!(words.last(), Some(&("ltd" | "limited" | "plc" | "llp" | "cic"))) {
        words.pop();
    }
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() < 30 {
            slug += if slug.is_empty() { "" } else { "-" };
            slug += word;
        }
    }
    subdomain(&slug).ok()
}

/// Returns the largest number of learners that are stored.
pub(crate) fn max_learners(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("`{}` is not a number of learners: it is at least 1", text.escape_debug())),
        Ok(number) => Ok(number),
    }
}

/// Returns an e-mail address that has the shape of one.
pub(crate) fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = || format!("`{}` is not an e-mail address", text.escape_debug());
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let fine = !local.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | '"'))
        && !local.contains('@')
        && text.len() <= 254
        && domain.contains('.')
        && domain.split('.').all(label);
    if fine { visible(text) } else { Err(wrong()) }
}

/// What people call a time zone by the letters of a clock, which are the name of none: those of summer time name half a year.
const ABBREVIATIONS: [(&str, &str); 12] = [
    ("BST", "Europe/London"),
    ("UK", "Europe/London"),
    ("IST", "Europe/Dublin"),
    ("WEST", "Europe/Lisbon"),
    ("CEST", "Europe/Paris"),
    ("EEST", "Europe/Athens"),
    ("MSK", "Europe/Moscow"),
    ("EDT", "America/New_York"),
    ("CDT", "America/Chicago"),
    ("MDT", "America/Denver"),
    ("PDT", "America/Los_Angeles"),
    ("PST", "America/Los_Angeles"),
];

/// Returns a time zone of the IANA database.
pub(crate) fn time_zone(text: &str) -> Result<Tz, String> {
    let text = text.trim();
    text.parse().map_err(|_| {
        let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let same = names().find(|name| name.eq_ignore_ascii_case(text));
        let abbreviated =
            ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(text)).map(|(_, name)| *name);
        let meant = same.or(abbreviated).or_else(|| nearest(text, names()));
        let meant =
            meant.map_or_else(|| "use one like `Europe/London`".to_owned(), |zone| format!("did you mean `{zone}`?"));
        format!("`{}` is not a time zone: {meant}", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen() {
        assert_eq!(name("  Acme Training Ltd "), Ok("Acme Training Ltd".into()));
        assert_eq!(name("Coleg Sir Gâr"), Ok("Coleg Sir Gâr".into()));
        assert_eq!(name("Cafe\u{301}"), Ok("Caf\u{e9}".into()));
        for bad in [
            "",
            "  ",
            "a\nb",
            "a\u{1b}[2J",
            "\u{202e}emcA",
            "Ac\u{200b}me",
            "Ac\u{200d}me",
            "Acme\u{e0041}",
            "\u{3164}",
            &"x".repeat(101),
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_subdomain_is_a_slug_that_is_not_reserved() {
        assert!(subdomain("acme").is_ok());
        assert!(subdomain("www").unwrap_err().contains("reserved"));
        assert!(subdomain("Acme").is_err());
    }

    #[test]
    fn a_name_suggests_its_subdomain() {
        let suggested = |name| suggested_subdomain(name).map(|slug| slug.to_string());
        assert_eq!(suggested("Acme Training Ltd").as_deref(), Some("acme-training"));
        assert_eq!(suggested("St. Mary's College").as_deref(), Some("st-marys-college"));
        assert_eq!(suggested("Limited").as_deref(), Some("limited"));
        assert_eq!(suggested("漢字"), None);
        assert_eq!(suggested("API"), None);
    }

    #[test]
    fn an_address_has_a_local_part_and_a_domain() {
        for good in ["a@b.co", "billing+x@acme.example"] {
            assert_eq!(email(good), Ok(good.into()));
        }
        for bad in ["", "a", "a@b", "@b.co", "a@b..co", "a b@c.co", "a@@b.co", "A <a@b.co>", "a@-b.co"] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_time_zone_gets_the_nearest() {
        assert_eq!(time_zone("Europe/London").unwrap().name(), "Europe/London");
        for text in ["Europe/Lodnon", "BST", "bst", "europe/london"] {
            assert!(time_zone(text).unwrap_err().contains("did you mean `Europe/London`"), "{text}");
        }
    }

    #[test]
    fn at_least_one_learner() {
        assert_eq!(max_learners("500"), Ok(500));
        assert!(max_learners("0").is_err() && max_learners("-1").is_err() && max_learners("many").is_err());
    }
}
