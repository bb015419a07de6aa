//! `override set`, `unset`, `reset`, `enable` and `disable`.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::{Planned, carry_out};
use crate::domain::manifest::Manifest;
use crate::domain::secretlike;
use crate::domain::settings::{self, Change, SettingKey};
use crate::error::{Exit, UserError};
use crate::lookup;
use crate::session::Session;
use crate::yaml;

/// Set one or more settings of a provider for one organization
///
/// KEY is `sync_frequency`, `enabled`, a setting of the provider such as `api_url`, `field_mappings.TARGET` or
/// `powerbi_filters.COLUMN`. VALUE is read as YAML, so lists and maps work. A field mapping can also be written as an
/// arrow: 'SOURCE -> TARGET'. Several at once are one change.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override set acme aptem sync_frequency=15m\n  skillsctl override set acme aptem field_mappings.learner.division=custom_field_123\n  skillsctl override set acme aptem 'aptem.custom_field_123 -> learner.division'\n  skillsctl override set acme aptem 'powerbi_filters.learner.status=[Active, OnBreak]' sync_frequency=2h"
)]
pub(crate) struct SetArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// A provider of its preset
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// Settings with their values, or mappings as arrows
    #[arg(value_name = "KEY=VALUE", required = true)]
    assignments: Vec<String>,
}

/// Take a setting away from one organization, so that it has no value
///
/// Where the preset's defaults give a value, the override says `!unset`. `override reset` goes the other way: it drops
/// the override, and the default is in force again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override unset acme aptem field_mappings.learner.completion\n  skillsctl override unset acme aptem powerbi_filters.LMS_Provider field_mappings.learner.tutor"
)]
pub(crate) struct UnsetArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// A provider of its preset
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// Settings to take away
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
}

/// Drop overrides, so that the defaults are in force again
///
/// `override unset` goes the other way: it takes the default's value away for this organization.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override reset acme aptem sync_frequency\n  skillsctl override reset acme aptem --all"
)]
pub(crate) struct ResetArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// A provider of its preset
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// Settings whose overrides to drop
    #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
    keys: Vec<String>,
    /// Drop all overrides of the provider
    #[arg(long)]
    all: bool,
}

/// Enable a provider for one organization
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override enable acme hubspot\n  skillsctl override enable acme hubspot --dry-run"
)]
pub(crate) struct EnableArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// A provider of its preset
    #[arg(value_name = "PROVIDER")]
    provider: String,
}

/// Disable a provider for one organization: it is not synced, everything else stays
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl override disable acme hubspot\n  skillsctl override disable acme hubspot --dry-run"
)]
pub(crate) struct DisableArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// A provider of its preset
    #[arg(value_name = "PROVIDER")]
    provider: String,
}

pub(super) fn set(args: &SetArgs, session: &Session) -> Result<Exit> {
    let place = (args.org.as_str(), args.provider.as_str());
    one_provider(session, place, "override set", |planned| {
        let manifest = &planned.integration.manifest;
        let assignments: Vec<(SettingKey, Value)> =
            args.assignments.iter().map(|text| assignment(text, manifest)).collect::<Result<_, _>>()?;
        for (position, (key, value)) in assignments.iter().enumerate() {
            if assignments[..position].iter().any(|(earlier, _)| earlier == key) {
                return Err(UserError::new(Exit::Usage, "given_twice", format!("`{key}` is given twice")));
            }
            let change = if value.as_str() == Some(settings::UNSET) {
                settings::check_unset(key, manifest).map(|()| Change::Unset)
            } else {
                settings::check(key, value, manifest).map(Change::Set)
            };
            planned.overrides.insert(key.clone(), change.map_err(invalid)?);
        }
        Ok(())
    })
}

pub(super) fn unset(args: &UnsetArgs, session: &Session) -> Result<Exit> {
    let place = (args.org.as_str(), args.provider.as_str());
    one_provider(session, place, "override unset", |planned| {
        for text in &args.keys {
            let key = key(text, &planned.integration.manifest).map_err(invalid)?;
            settings::check_unset(&key, &planned.integration.manifest).map_err(|message| {
                let back = format!("skillsctl override reset {} {} {key}", args.org, args.provider);
                invalid(message).hint(format!("`{back}` gives the default back"))
            })?;
            if planned.below(&key).is_some() {
                planned.overrides.insert(key, Change::Unset);
            } else {
                planned.overrides.remove(&key);
            }
        }
        Ok(())
    })
}

pub(super) fn reset(args: &ResetArgs, session: &Session) -> Result<Exit> {
    let place = (args.org.as_str(), args.provider.as_str());
    one_provider(session, place, "override reset", |planned| {
        if args.all {
            planned.overrides.clear();
        }
        for text in &args.keys {
            let key = key(text, &planned.integration.manifest).map_err(invalid)?;
            planned.overrides.remove(&key);
        }
        Ok(())
    })
}

pub(super) fn enable(args: &EnableArgs, session: &Session) -> Result<Exit> {
    switch(session, (&args.org, &args.provider), "override enable", true)
}

pub(super) fn disable(args: &DisableArgs, session: &Session) -> Result<Exit> {
    switch(session, (&args.org, &args.provider), "override disable", false)
}

/// Enables or disables a provider; where the default says so already, no override is needed.
fn switch(session: &Session, place: (&str, &str), action: &str, enabled: bool) -> Result<Exit> {
    one_provider(session, place, action, |planned| {
        let value = Value::Bool(enabled);
        if planned.below(&SettingKey::Enabled) == Some(&value) {
            planned.overrides.remove(&SettingKey::Enabled);
        } else {
            planned.overrides.insert(SettingKey::Enabled, Change::Set(value));
        }
        Ok(())
    })
}

/// Changes the overrides of one provider.
fn one_provider(
    session: &Session,
    (slug, provider): (&str, &str),
    action: &str,
    change: impl FnOnce(&mut Planned) -> Result<(), UserError>,
) -> Result<Exit> {
    let mut store = session.store()?;
    let changed = carry_out(&mut store, session, (slug, action), |tx, organization| {
        let mut planned = Planned::new(lookup::one_integration(tx, organization, provider)?);
        change(&mut planned)?;
        Ok(vec![planned])
    })?;
    changed.tell(session, "OverrideChange")
}

fn invalid(message: String) -> UserError {
    UserError::new(Exit::Invalid, "invalid_setting", message)
}

/// Reads `KEY=VALUE`, or a mapping as an arrow.
fn assignment(text: &str, manifest: &Manifest) -> Result<(SettingKey, Value), UserError> {
    let arrow = text.contains("->") || text.contains('→');
    let Some((name, value)) = text.split_once('=') else {
        if arrow {
            return settings::read_arrow(text, manifest).map_err(invalid);
        }
        let message = format!("`{}` has no value; write KEY=VALUE", text.escape_debug());
        return Err(UserError::new(Exit::Usage, "no_value", message));
    };
    match key(name.trim(), manifest) {
        Ok(key) => {
            secretlike::refuse(name.trim(), value)?;
            let value = typed(&key, value, manifest)?;
            Ok((key, value))
        }
        Err(_) if arrow => settings::read_arrow(text, manifest).map_err(invalid),
        Err(message) => Err(invalid(message)),
    }
}

/// Reads a value as YAML. What YAML reads otherwise, or not at all, is taken as the text it is where the setting may have that:
/// `*/15 * * * *` is an alias to YAML, and `#1` a comment.
fn typed(key: &SettingKey, value: &str, manifest: &Manifest) -> Result<Value, UserError> {
    let text = Value::from(value);
    let is_text = |text: &Value| settings::check(key, text, manifest).is_ok();
    // A list or a map that is wrong is no text.
    let is_structure = value.trim().starts_with(['[', '{']);
    let read = match yaml::parse("VALUE", value) {
        Ok(node) => node.to_json(),
        Err(_) if !is_structure && is_text(&text) => return Ok(text),
        Err(error) => {
            let quoted = format!("a text with characters that mean something in YAML is quoted: '{key}=\"{value}\"'");
            return Err(error.hint(quoted));
        }
    };
    if read.as_str() == Some(settings::UNSET) {
        return Ok(read);
    }
    // A comment or a block takes a part of a text away.
    let is_whole = value.trim().starts_with(['"', '\'']) || read.as_str().is_none_or(|read| read == value.trim());
    let is_good = is_whole && settings::check(key, &read, manifest).is_ok();
    Ok(if !is_good && !is_structure && !value.trim().is_empty() && is_text(&text) { text } else { read })
}

/// Reads the name of one setting, with the nearest known one for a typing error.
pub(in super::super) fn key(text: &str, manifest: &Manifest) -> Result<SettingKey, String> {
    let text = text.strip_prefix(&format!("{}.", manifest.provider)).unwrap_or(text);
    match text.split('.').next().unwrap_or_default() {
        section @ ("field_mappings" | "powerbi_filters") if section == text => {
            let example = if section == "field_mappings" { "learner.programme" } else { "learner.status" };
            Err(format!("`{section}` is a whole section; name one of it, like `{section}.{example}`"))
        }
        "learner" | "employer" => {
            Err(format!("`{text}` is a field; did you mean `field_mappings.{text}` or `powerbi_filters.{text}`?"))
        }
        _ => settings::known_key(text, manifest),
    }
}
