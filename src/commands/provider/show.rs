//! `provider show`: what a provider's manifest says, for whoever sets it up.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::domain::duration::Length;
use crate::domain::entity::Entity;
use crate::domain::manifest::{Deletes, Kind, Manifest, Sweep};
use crate::error::Exit;
use crate::lookup;
use crate::output::{Cell, Look, block, pairs};
use crate::session::Session;
use crate::store::providers::{self, Provider};
use crate::store::{presets, stamp};

/// Show a provider: its settings, credentials and streams, and what about it is unverified
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl provider show aptem\n  skillsctl provider show bud --json")]
pub(super) struct ShowArgs {
    /// Slug of the provider
    provider: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    slug: String,
    title: String,
    kind: Kind,
    revision: u32,
    built_in: bool,
    manifest_hash: String,
    updated_at: String,
    auth: String,
    /// What is not publicly documented.
    unverified: Vec<String>,
    /// The presets whose newest defaults use it.
    presets: Vec<String>,
    settings: Vec<Setting>,
    secrets: Vec<SecretField>,
    streams: Vec<Stream>,
    limits: Vec<Limit>,
    #[serde(skip)]
    updated: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    #[serde(rename = "type")]
    setting_type: &'static str,
    default: Option<Value>,
    required: bool,
    values: Vec<String>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<String>,
    example: Option<Value>,
    help: Option<String>,
}

#[derive(Debug, Serialize)]
struct SecretField {
    name: String,
    title: String,
    optional: bool,
    pattern: Option<String>,
    help: Option<String>,
    /// How old a value may become; null where it may become as old as it likes.
    max_age: Option<Length>,
    /// Whether the provider gives a new value when asked to.
    rotates: bool,
}

#[derive(Debug, Serialize)]
struct Stream {
    name: String,
    title: Option<String>,
    entity: Option<Entity>,
    key: String,
    /// What mappings may name, each with its path in the raw record.
    fields: BTreeMap<String, String>,
    /// Whether changes can be read alone.
    incremental: bool,
    full_read_every_s: Option<u32>,
    /// How much time lies at least between two reads.
    read_every_s: Option<u32>,
    /// Whether a large full read is made by a job at the provider.
    job: bool,
    /// How deleted records are noticed: `flag`, `feed`, `merged`, `sweep`.
    deletes: Vec<&'static str>,
    /// After how long at most a record that nothing tells of is noticed to be gone; null for never. 0 is the next sync.
    untold_within_s: Option<u32>,
    unverified: Option<String>,
    #[serde(skip)]
    sweep: Sweep,
    #[serde(skip)]
    every: Option<Length>,
}

#[derive(Debug, Serialize)]
struct Limit {
    name: String,
    rate: String,
    only: Option<String>,
    /// The headers by which the provider tells its own count.
    remaining: Option<String>,
    used: Option<String>,
    /// The share of what `used` counts at which a run stops.
    stop_at: Option<f64>,
}

pub(super) fn run(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let provider = providers::by_slug(store.read(), &args.provider)?;
    let manifest = lookup::manifest_of(&provider)?;
    let presets = presets::all(store.read())?.into_iter().filter(|preset| preset.providers.contains(&provider.slug));
    let shown = shown(&provider, &manifest, presets.map(|preset| preset.slug.to_string()).collect());
    session.output.one("Provider", &shown, |look| text(&shown, look))?;
    Ok(Exit::Done)
}

fn shown(provider: &Provider, manifest: &Manifest, presets: Vec<String>) -> Shown {
    let setting = |(name, spec): (&crate::domain::names::Name, &crate::domain::manifest::SettingSpec)| Setting {
        name: name.to_string(),
        setting_type: spec.setting_type.as_str(),
        default: spec.default.clone(),
        required: spec.required,
        values: spec.values.clone(),
        min: spec.min,
        max: spec.max,
        pattern: spec.pattern.clone(),
        example: spec.example.clone(),
        help: spec.help.clone(),
    };
    let secrets = manifest.secrets.iter().map(|(name, spec)| SecretField {
        name: name.to_string(),
        title: spec.title.clone(),
        optional: spec.optional,
        pattern: spec.pattern.clone(),
        help: spec.help.clone(),
        max_age: spec.max_age.length(),
        rotates: spec.rotate.is_some(),
    });
    let streams = manifest.streams.iter().map(|(name, stream)| Stream {
        name: name.clone(),
        title: stream.title.clone(),
        entity: stream.entity,
        key: stream.key.to_string(),
        fields: stream.fields.iter().map(|(name, path)| (name.clone(), path.to_string())).collect(),
        incremental: stream.changes.is_some(),
        full_read_every_s: stream.deletes.sweep.every().map(|length| length.0).filter(|_| stream.changes.is_some()),
        read_every_s: stream.every.map(|length| length.0),
        every: stream.every,
        job: stream.job.is_some(),
        deletes: noticed(&stream.deletes),
        untold_within_s: untold(stream),
        unverified: stream.unverified.clone(),
        sweep: stream.deletes.sweep,
    });
    // Where a setting gives the rate, as it is unless set.
    let defaults = manifest.settings.iter().filter_map(|(name, spec)| Some((name.to_string(), spec.default.clone()?)));
    let defaults = defaults.collect();
    let limits = manifest.http.limits.iter().map(|(name, limit)| Limit {
        name: name.clone(),
        rate: limit.rate(&defaults).map_or_else(|_| limit.rate.to_string(), |rate| rate.to_string()),
        only: limit.only.clone(),
        remaining: limit.remaining.as_ref().map(|header| header.as_str().to_owned()),
        used: limit.used.as_ref().map(|header| header.as_str().to_owned()),
        stop_at: limit.stop_at,
    });
    Shown {
        slug: provider.slug.to_string(),
        title: provider.name.clone(),
        kind: provider.kind,
        revision: manifest.revision,
        built_in: provider.built_in,
        manifest_hash: provider.manifest_hash.clone(),
        updated_at: stamp(provider.updated_at),
        updated: provider.updated_at,
        auth: manifest.http.auth.words(),
        unverified: manifest.unverified(),
        presets,
        settings: manifest.settings.iter().map(setting).collect(),
        secrets: secrets.collect(),
        streams: streams.collect(),
        limits: limits.collect(),
    }
}

/// Returns the ways in which deleted records are noticed.
fn noticed(deletes: &Deletes) -> Vec<&'static str> {
    let ways = [
        ("flag", deletes.flag.is_some()),
        ("feed", deletes.feed.is_some()),
        ("merged", deletes.merged.is_some()),
        ("sweep", deletes.sweep != Sweep::Never),
    ];
    ways.into_iter().filter(|(_, used)| *used).map(|(way, _)| way).collect()
}

/// Returns after how many seconds at most full reads miss what nothing tells of.
fn untold(stream: &crate::domain::manifest::Stream) -> Option<u32> {
    let every = stream.deletes.sweep.every()?;
    let every = if stream.changes.is_some() { every.0 } else { 0 };
    let every = every.max(stream.every.map_or(0, |length| length.0));
    Some(every.saturating_mul(stream.deletes.after.max(1)))
}

fn text(shown: &Shown, look: &Look) -> String {
    let mut text = format!("{}   {}   {}\n", look.bold(&shown.title), shown.kind.as_str().to_uppercase(), shown.slug);
    if !shown.unverified.is_empty() {
        text += &format!(
            "\n{}\n",
            look.warn("UNVERIFIED: not proved against the real service; check it with your own account")
        );
        text.extend(shown.unverified.iter().map(|what| format!("  {} {}\n", look.warn("!"), one_line(what))));
    }
    let origin = if shown.built_in { "built-in" } else { "added" };
    text += "\n";
    text += &pairs(
        &[
            ("authentication", Cell::text(&shown.auth)),
            ("presets", Cell::text_or_empty((!shown.presets.is_empty()).then(|| shown.presets.join(", ")))),
            ("manifest", Cell::text(format!("revision {}, {origin}, {}", shown.revision, &shown.manifest_hash[..12]))),
            ("in force since", Cell::time(shown.updated)),
        ],
        look,
    );
    text += &section("Settings", shown.settings.iter().map(setting_row).collect(), look);
    text += &section("Credentials", shown.secrets.iter().map(secret_row).collect(), look);
    for stream in &shown.streams {
        text += &stream_text(stream, look);
    }
    let limits = shown.limits.iter().map(|limit| {
        let only =
            limit.only.as_ref().map_or_else(|| "all requests".to_owned(), |only| format!("requests to `{only}`"));
        let told = match (&limit.remaining, &limit.used, limit.stop_at) {
            (_, Some(used), Some(stop_at)) => Some(format!("stops where {used} says {:.0} %", stop_at * 100.0)),
            (Some(remaining), ..) => Some(format!("lowered by {remaining}")),
            _ => None,
        };
        vec![Cell::text(&limit.rate), Cell::text(only), Cell::text_or_empty(told)]
    });
    text + &section("Limits", limits.collect(), look)
}

fn section(title: &str, rows: Vec<Vec<Cell>>, look: &Look) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{}\n{}", look.bold(title), block(&rows, 2, look)) }
}

fn setting_row(setting: &Setting) -> Vec<Cell> {
    let kind = match setting.values.as_slice() {
        [] => setting.setting_type.to_owned(),
        values => values.join(" | "),
    };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let value = match (&setting.default, setting.required) {
        (Some(default), _) => format!("default {}", plain(default)),
        (None, true) => "required".to_owned(),
        (None, false) => "optional".to_owned(),
    };
    let example = setting.example.as_ref().map(|example| format!("like {}", plain(example)));
    let help: Vec<String> = setting.help.as_deref().map(one_line).into_iter().chain(example).collect();
    vec![Cell::text(&setting.name), Cell::text(kind), Cell::text(value), Cell::text(help.join("; "))]
}

fn secret_row(secret: &SecretField) -> Vec<Cell> {
    let optional = if secret.optional { "optional" } else { "" };
    let age = secret.max_age.map(|age| format!("{age} at most"));
    let rotates = secret.rotates.then(|| "rotates at the provider".to_owned());
    let help: Vec<String> = secret.help.as_deref().map(one_line).into_iter().chain(age).chain(rotates).collect();
    vec![Cell::text(&secret.name), Cell::text(&secret.title), Cell::text(optional), Cell::text(help.join("; "))]
}

fn stream_text(stream: &Stream, look: &Look) -> String {
    let feeds = stream.entity.map_or_else(|| "feeds what names it".to_owned(), |entity| format!("feeds {entity}s"));
    let reads = match (stream.incremental, stream.sweep) {
        (false, _) => "read in full each time".to_owned(),
        (true, Sweep::Never) => "read by changes".to_owned(),
        (true, Sweep::Always) => "read by changes, and in full each time".to_owned(),
        (true, Sweep::Daily) => "read by changes, in full daily".to_owned(),
        (true, Sweep::Weekly) => "read by changes, in full weekly".to_owned(),
    };
    let reads = match stream.every {
        Some(every) => format!("{reads}, every {every} at most"),
        None => reads,
    };
    let reads = if stream.job { reads + ", by a job where that is much" } else { reads };
    let deletes = match stream.deletes.as_slice() {
        [] => "deletes are not noticed".to_owned(),
        ways => format!("deletes by {}", ways.join(", ")),
    };
    let mut text = format!("\n{}   {feeds}; {reads}; {deletes}\n", look.bold(&format!("Stream {}", stream.name)));
    let untold = match stream.untold_within_s {
        None => "never".to_owned(),
        Some(0) => "by the next sync".to_owned(),
        Some(seconds) => format!("within {}", Length(seconds)),
    };
    let merged = stream.deletes.contains(&"merged");
    let what = if merged { "erased at the provider" } else { "merged into another or erased at the provider" };
    text += &format!("  a record {what}, where nothing tells of it, is noticed {untold}\n");
    if let Some(what) = &stream.unverified {
        text += &format!("  {} {}\n", look.warn("UNVERIFIED:"), one_line(what));
    }
    let fields = stream.fields.iter().map(|(name, path)| vec![Cell::text(name), Cell::text(path)]);
    text + &block(&fields.collect::<Vec<_>>(), 2, look)
}

/// Returns a text of several lines as one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
