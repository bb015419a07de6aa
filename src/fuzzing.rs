//! What fuzzing does with bytes: every reader of what comes from outside, and what must hold of what it reads.
//!
//! Each function takes any bytes and panics where a rule is broken. `fuzz/` calls them with bytes of its making, and the tests
//! below with those of `fuzz/seeds/`, so that they do not rot in between.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;
use serde_json::json;

use crate::base64::{self, Alphabet};
use crate::builtin;
use crate::connector;
use crate::domain::expression::Expression;
use crate::domain::filter::{Condition, FilterColumn};
use crate::domain::json;
use crate::domain::manifest::{self, Manifest};
use crate::domain::mapping::Mapping;
use crate::domain::moment::{Moment, Range};
use crate::domain::names::{Name, Slug};
use crate::domain::path::{Path, Projection};
use crate::domain::preset::{Catalog, Preset, read_overrides, read_preset};
use crate::domain::schedule::{Frequency, LastRuns};
use crate::domain::settings::{SettingKey, nested, nested_overrides, stored_overrides};
use crate::domain::slot::{JsonTemplate, Part, Template};
use crate::domain::{duration::Length, organization, uln};
use crate::secrets::{
    CredentialContext, DataKey, DekContext, KeyId, MasterKey, Sealed, Secret, TokenContext, open, open_token, redact,
    seal, sign_rs256,
};
use crate::yaml;

/// A function below, and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Everything below, by the name of its target and of its folder of seeds.
pub const TARGETS: [Target; 10] = [
    ("yaml", yaml),
    ("preset", preset),
    ("overrides", overrides),
    ("manifest", manifest),
    ("pages", pages),
    ("csv", csv),
    ("paths", paths),
    ("words", words),
    ("expressions", expressions),
    ("sealed", sealed),
];

/// YAML as a tree: written and read again, it is the same.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(root) = yaml::parse("fuzz.yaml", text) else { return };
    let read = root.to_json();
    // What is written may stand for more than a file may hold, as aliases are written out.
    let Ok(again) = yaml::parse("again.yaml", &yaml::to_yaml(&read)).map(|root| root.to_json()) else {
        assert!(read.to_string().len() > 10_000, "{read} is not read again");
        return;
    };
    assert_eq!(again, read);
}

/// A preset: written out and read again, it is the same.
pub fn preset(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = read_preset("fuzz.yaml", text, catalog()) else { return };
    let providers = read.providers.iter().map(|(name, block)| (name.to_string(), nested(block.clone())));
    let document = json!({
        "preset": read.slug.as_str(),
        "name": read.name,
        "recommended": read.recommended,
        "providers": providers.collect::<serde_json::Map<_, _>>(),
        "role_reports": read.role_reports.iter().cloned().map(|(role, reports)| (role, json!(reports))).collect::<serde_json::Map<_, _>>(),
    });
    let again = read_preset("again.yaml", &yaml::to_yaml(&document), catalog()).expect("what was read can be read");
    let in_order = |mut preset: Preset| {
        preset.providers.sort_by(|one, other| one.0.cmp(&other.0));
        preset.role_reports.sort();
        preset
    };
    assert_eq!(in_order(again), in_order(read));
}

/// The overrides of an organization: stored, or written out, and read again, they are the same.
pub fn overrides(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let allowed: Vec<Name> = catalog().keys().cloned().collect();
    let Ok(read) = read_overrides("fuzz.yaml", text, &allowed, catalog()) else { return };
    let mut document = serde_json::Map::new();
    for (provider, overrides) in &read {
        let nested = nested_overrides(overrides);
        assert_eq!(stored_overrides(&nested), *overrides);
        document.insert(provider.to_string(), nested);
    }
    let again = read_overrides("again.yaml", &yaml::to_yaml(&document), &allowed, catalog());
    assert_eq!(again.expect("what was read can be read"), read);
}

/// A provider manifest: one that is taken has no mistakes and can be explained.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mistakes = manifest::check("fuzz.yaml", text);
    let Ok(read) = manifest::load("fuzz.yaml", text) else {
        assert!(!mistakes.is_empty(), "refused, but without a mistake");
        return;
    };
    assert!(mistakes.is_empty(), "taken with a mistake: {}", mistakes[0].message);
    for (stream, _) in read.streams.iter() {
        manifest::explain("fuzz.yaml", text, stream).expect("a manifest that is taken can be explained");
    }
}

/// A page of JSON: `connector::fuzzing` says what must hold.
pub fn pages(bytes: &[u8]) {
    let Some((layout, body)) = bytes.split_first() else { return };
    connector::fuzzing::page(usize::from(*layout), body);
}

/// A page of CSV.
pub fn csv(bytes: &[u8]) {
    connector::fuzzing::csv(bytes);
}

/// A line with a path, and a document below it: what one pass finds is what stands there.
pub fn paths(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (line, document) = text.split_once('\n').unwrap_or((text, "null"));
    let Ok(path) = line.parse::<Path>() else { return };
    assert_eq!(path.to_string().parse::<Path>().as_ref(), Ok(&path), "written as {path}");
    let mut projection = Projection::default();
    let slot = projection.add(&path);
    let mut values = Vec::new();
    let taken = projection.take(document, &mut values);
    let Ok(whole) = json::document(document) else { return };
    taken.expect("a document is read wherever its path leads");
    let found = values[slot].of(document).map(|json| json::document(json).expect("a value is JSON"));
    assert_eq!(found.as_ref(), path.find(&whole));
    assert_eq!(path.join(&Path::default()).steps, path.steps);
}

/// Words that people and manifests write: slots, lengths, moments, frequencies, names, settings, numbers of learners.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    slots(text);
    times(text);
    written_alike::<Slug>(text);
    written_alike::<Name>(text);
    written_alike::<FilterColumn>(text);
    written_alike::<SettingKey>(text);
    if let Ok(name) = organization::name(text) {
        assert_eq!(organization::name(&name).as_ref(), Ok(&name));
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    if let Some(slug) = organization::suggested_subdomain(text) {
        organization::subdomain(slug.as_str()).expect("what is suggested is taken");
    }
    if let Ok(email) = organization::email(text) {
        assert!(!email.chars().any(|c| c.is_control() || c.is_whitespace()), "{email:?}");
    }
    // What is no zone is compared with all six hundred, which would be most of the time.
    if text.contains('/') {
        organization::time_zone(text).ok();
    }
    organization::max_learners(text).ok();
    uln::check(text);
}

fn slots(text: &str) {
    if let Ok(template) = text.parse::<Template>() {
        assert_eq!(template.to_string(), text);
        let joined = template.parts.windows(2).any(|two| matches!(two, [Part::Text(_), Part::Text(_)]));
        assert!(!joined, "two texts in a row in {text:?}");
    }
    let doubled: Template = text.replace('{', "{{").replace('}', "}}").parse().expect("doubled braces are literal");
    let expected: Vec<Part> = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
    assert_eq!(doubled.parts, expected);
    if let Ok(template) = serde_json::from_str::<JsonTemplate>(text) {
        template.slots();
    }
}

fn times(text: &str) {
    let now: DateTime<Utc> = DateTime::from_timestamp(1_796_000_000, 0).expect("a moment");
    written_alike::<Length>(text);
    if let Ok(moment) = text.parse::<Moment>()
        && let Ok(range) = Range::new(moment, None, now)
    {
        assert!(range.from < range.to);
    }
    let Ok(frequency) = text.parse::<Frequency>() else { return };
    let written = frequency.to_string();
    assert_eq!(written.parse::<Frequency>().map(|again| again.to_string()), Ok(written));
    frequency.words();
    let last = LastRuns { started: Some(now), ..LastRuns::default() };
    let next = frequency.next(last, chrono_tz::Europe::London, 77);
    assert!(next.is_none_or(|next| next > now), "{next:?} is not after {now}");
}

fn written_alike<T: std::str::FromStr<Err = String> + std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().as_ref(), Ok(&read), "written as `{read}`");
    }
}

/// A line with an expression, and a record below it: it ends, and so do the conditions of filters and the checks of mappings.
pub fn expressions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (line, document) = text.split_once('\n').unwrap_or((text, "{}"));
    let record = json::document(document).unwrap_or_default();
    if let Ok(expression) = Expression::new(line) {
        let known: BTreeSet<&String> = expression.names.iter().collect();
        assert_eq!(known.len(), expression.names.len(), "a name twice");
        expression.evaluate(minijinja::Value::from(minijinja::value::Serde(&record))).ok();
    }
    if let Ok(condition) = Condition::read(&record) {
        condition.holds(Some(line));
        condition.holds(None);
        condition.to_string();
    }
    if let Ok(mapping) = serde_json::from_value::<Mapping>(record) {
        mapping.check().ok();
        let written = serde_json::to_value(&mapping).expect("a mapping can be written");
        assert_eq!(serde_json::from_value::<Mapping>(written).ok().as_ref(), Some(&mapping));
    }
}

/// Key texts, sealed values, PEM and echoes: nothing that was not sealed opens, and nothing of a secret is left in an echo.
pub fn sealed(bytes: &[u8]) {
    let key = DataKey::generate(&SystemRandom::new()).expect("random numbers");
    nothing_forged_opens(&key, bytes);
    for alphabet in [Alphabet::Standard, Alphabet::Url] {
        assert_eq!(base64::decode(alphabet, &base64::encode(alphabet, bytes)).as_deref(), Some(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for alphabet in [Alphabet::Standard, Alphabet::Url] {
        if let Some(read) = base64::decode(alphabet, text) {
            assert_eq!(base64::encode(alphabet, &read).trim_end_matches('='), text.trim_end_matches('='));
        }
    }
    if let Ok(master) = MasterKey::parse(text) {
        let again = MasterKey::parse(master.to_text().expose()).expect("a key as written is a key");
        assert_eq!(again.id(), master.id());
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text.to_lowercase());
    }
    let secret = || Secret::from(text.to_owned());
    assert!(sign_rs256(&secret(), b"header.claims").is_err(), "no seed holds a private key");
    let (echo, hidden) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let hidden = Secret::from(hidden.to_owned());
    let shown = redact(&format!("{echo}{}{echo}", hidden.expose()), &[&hidden]);
    // What a secret shares with the mark that takes its place is not told apart.
    if hidden.expose().len() >= 4 && !shown.replace("[redacted]", "\u{fffd}").contains(hidden.expose()) {
        return;
    }
    assert!(hidden.expose().len() < 4 || "[redacted][redacted]".contains(hidden.expose()), "{shown:?} shows a secret");
}

fn nothing_forged_opens(key: &DataKey, bytes: &[u8]) {
    let (credential, token) = (CredentialContext::EXAMPLE, TokenContext::EXAMPLE);
    let given = Sealed::from_bytes(bytes.to_vec());
    given.is_well_formed();
    assert!(open(key, &credential, &given, "acme").is_err());
    assert!(open_token(key, &token, &given).is_none());
    let master = MasterKey::generate(&SystemRandom::new()).expect("random numbers");
    let place = DekContext { db_id: "6f1d0c2a", organization_id: 1, version: 1 };
    assert!(master.unwrap(&given, &place, "acme").is_err());
    // A sealed value changed by these bytes: it opens only if they change nothing.
    let sound = seal(key, &credential, &Secret::from("hunter2-sentinel".to_owned())).expect("it can be sealed");
    let changed: Vec<u8> = sound
        .as_bytes()
        .iter()
        .zip(bytes.iter().chain(std::iter::repeat(&0)))
        .map(|(one, other)| one ^ other)
        .collect();
    let same = changed == sound.as_bytes();
    assert_eq!(open(key, &credential, &Sealed::from_bytes(changed), "acme").is_ok(), same);
}

/// Returns the manifests that are shipped.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let load = |(name, text): &(&str, &str)| -> Manifest { manifest::load(name, text).expect("it is shipped") };
        builtin::PROVIDERS.iter().map(load).map(|manifest| (manifest.provider.clone(), manifest)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_read_without_a_rule_broken() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, target) in TARGETS {
            let own = root.join("fuzz/seeds").join(name);
            let shipped = match name {
                "preset" => vec!["presets"],
                "yaml" | "manifest" => vec!["presets", "presets/providers", "examples/providers"],
                _ => Vec::new(),
            };
            let folders = shipped.into_iter().map(|folder| root.join(folder)).chain(own.exists().then_some(own));
            let mut seeds = 0;
            for folder in folders {
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_file() {
                        target(&std::fs::read(&path).unwrap());
                        seeds += 1;
                    }
                }
            }
            assert!(seeds > 2, "`{name}` has no seeds");
            assert!(root.join(format!("fuzz/targets/{name}.rs")).exists(), "`{name}` has no target");
        }
    }
}
