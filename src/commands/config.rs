//! `config`: the settings in force for an organization, each with where it comes from.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};

use super::overrides::key;
use crate::domain::names::{Name, Slug};
use crate::domain::settings::{self, Change, Origin, SettingKey};
use crate::error::{Exit, UserError, nearest};
use crate::lookup::{self, Integration};
use crate::output::{self, Cell, Look, block};
use crate::session::Session;
use crate::store::{organizations, presets};

/// Show the settings in force
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Show(ShowArgs),
    Explain(ExplainArgs),
}

/// Show the settings in force for an organization: its defaults with its overrides on top
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl config show acme\n  skillsctl config show acme aptem --origin\n  skillsctl config show acme --json"
)]
pub(crate) struct ShowArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Only the settings of this provider
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Show where each value comes from, and who overrode it
    #[arg(long)]
    origin: bool,
}

/// Explain where one setting's value comes from, layer by layer
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl config explain acme aptem.sync_frequency\n  skillsctl config explain acme aptem field_mappings.learner.programme\n  skillsctl config explain acme hubspot.portal_id --json"
)]
pub(crate) struct ExplainArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// The setting as PROVIDER.KEY, or the provider alone
    #[arg(value_name = "PATH")]
    path: String,
    /// The setting, where the provider stands alone
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

pub(crate) fn run(command: ConfigCommand, session: &Session) -> Result<Exit> {
    match command {
        ConfigCommand::Show(args) => show(&args, session),
        ConfigCommand::Explain(args) => explain(&args, session),
    }
}

/// The settings in force of an organization.
#[derive(Debug, Serialize)]
struct Config {
    organization: Slug,
    preset: Name,
    defaults_revision: u32,
    providers: Vec<ProviderConfig>,
    role_reports: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct ProviderConfig {
    provider: Name,
    title: String,
    enabled: bool,
    settings: Vec<Leaf>,
    /// Required settings that have no value.
    missing: Vec<Name>,
}

/// One setting. A value of null is one that an override takes away.
#[derive(Debug, Serialize)]
struct Leaf {
    key: SettingKey,
    value: Option<Value>,
    origin: String,
    /// What it would be without the override.
    inherited: Option<Value>,
    changed_by: Option<String>,
    #[serde(serialize_with = "output::instant_or_null")]
    changed_at: Option<DateTime<Utc>>,
}

impl ProviderConfig {
    fn of(integration: &Integration) -> Self {
        let mark = |key: &SettingKey, origin: &Origin| {
            let mark = integration.overrides.changes.get(&key.to_string()).filter(|_| *origin == Origin::Override);
            (mark.map(|mark| mark.by.clone()), mark.map(|mark| mark.at))
        };
        let leaf = |key: &SettingKey, value: Option<Value>, origin: &Origin, inherited: Option<Value>| {
            let (changed_by, changed_at) = mark(key, origin);
            Leaf { key: key.clone(), value, origin: origin.to_string(), inherited, changed_by, changed_at }
        };
        let effective = &integration.settings;
        let mut leaves: Vec<Leaf> = effective
            .values
            .iter()
            .map(|(key, resolved)| {
                leaf(key, Some(resolved.value.clone()), &resolved.origin, resolved.inherited.clone())
            })
            .chain(effective.unset.iter().map(|(key, value)| leaf(key, None, &Origin::Override, Some(value.clone()))))
            .collect();
        leaves.sort_by(|one, other| one.key.cmp(&other.key));
        ProviderConfig {
            provider: integration.provider.slug.clone(),
            title: integration.manifest.title.clone(),
            enabled: effective.enabled(),
            settings: leaves,
            missing: effective.missing(&integration.manifest).into_iter().cloned().collect(),
        }
    }

    /// Returns the settings as an indented block, mappings and filters below a heading of their own.
    fn text(&self, indent: u16, with_origin: bool, look: &Look) -> String {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        let mut section = String::new();
        for leaf in &self.settings {
            let key = leaf.key.to_string();
            let name = match key.split_once('.') {
                Some((heading, name)) => {
                    if heading != section {
                        rows.push(row(heading.to_owned(), String::new(), None));
                        heading.clone_into(&mut section);
                    }
                    format!("  {name}")
                }
                None => key.clone(),
            };
            let shown = |value: &Value| settings::show(&leaf.key, value, &self.provider);
            let value = leaf.value.as_ref().map_or_else(|| settings::UNSET.to_owned(), shown);
            let origin = with_origin.then(|| {
                let by = leaf.changed_by.as_ref().zip(leaf.changed_at);
                let by = by.map_or(String::new(), |(by, at)| format!("   by {by}, {}", look.time(at)));
                let below = leaf.inherited.as_ref().filter(|_| leaf.origin == "override");
                let below = below.map_or(String::new(), |value| format!("   (default: {})", shown(value)));
                format!("{}{by}{below}", leaf.origin)
            });
            rows.push(row(name, value, origin));
        }
        for name in &self.missing {
            rows.push(row(name.to_string(), "missing, and required".into(), with_origin.then(String::new)));
        }
        block(&rows, indent, look)
    }
}

fn row(name: String, value: String, origin: Option<String>) -> Vec<Cell> {
    [Some(name), Some(value), Some(origin.unwrap_or_default())].into_iter().flatten().map(Cell::Text).collect()
}

fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::pinned_preset(connection, &catalog, &organization)?;
    let integrations = match &args.provider {
        Some(provider) => vec![lookup::one_integration(connection, &organization, provider)?],
        None => lookup::integrations(connection, &organization, &preset)?,
    };
    let config = Config {
        organization: organization.slug,
        preset: organization.preset,
        defaults_revision: organization.defaults_revision,
        providers: integrations.iter().map(ProviderConfig::of).collect(),
        role_reports: preset.role_reports.into_iter().map(|(role, reports)| (role, reports.into())).collect(),
    };
    session.output.one("Config", &config, |look| match (config.providers.as_slice(), &args.provider) {
        ([only], Some(_)) => only.text(0, args.origin, look),
        (all, _) => all
            .iter()
            .map(|provider| {
                let disabled = if provider.enabled { "" } else { "   disabled" };
                let heading = format!("{} ({}){disabled}", provider.title, provider.provider);
                format!("{}\n{}\n", look.bold(&heading), provider.text(2, args.origin, look))
            })
            .collect(),
    })?;
    Ok(Exit::Done)
}

/// One layer's word on a setting.
#[derive(Debug, Serialize)]
struct Layer {
    origin: String,
    /// Null where the layer says nothing, or takes the value away.
    value: Option<Value>,
    /// `sets`, `unsets`, or `silent`.
    says: &'static str,
    in_force: bool,
    changed_by: Option<String>,
    #[serde(serialize_with = "output::instant_or_null")]
    changed_at: Option<DateTime<Utc>>,
    /// The message of the defaults revision.
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Explanation {
    organization: Slug,
    provider: Name,
    key: SettingKey,
    value: Option<Value>,
    required: bool,
    help: Option<String>,
    layers: Vec<Layer>,
}

fn explain(args: &ExplainArgs, session: &Session) -> Result<Exit> {
    let (provider, name) = match (&args.key, args.path.split_once('.')) {
        (Some(key), _) => (args.path.as_str(), key.as_str()),
        (None, Some(parts)) => parts,
        (None, None) => {
            let message = format!("`{}` names no setting; write PROVIDER.KEY", args.path.escape_debug());
            return Err(UserError::new(Exit::Usage, "no_setting", message)
                .hint(format!("`skillsctl config show {}` lists them", args.org))
                .into());
        }
    };
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let integration = lookup::one_integration(connection, &organization, provider)?;
    let manifest = &integration.manifest;
    let key = key(name, manifest).map_err(|message| UserError::new(Exit::NotFound, "unknown_setting", message))?;
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::pinned_preset(connection, &catalog, &organization)?;
    let summary = presets::by_slug(connection, organization.preset.as_str())?;
    let revision = presets::revision(connection, &summary, organization.defaults_revision)?;

    let layer = |origin: &Origin, value: Option<Value>| Layer {
        origin: origin.to_string(),
        says: if value.is_some() { "sets" } else { "silent" },
        value,
        in_force: false,
        changed_by: None,
        changed_at: None,
        message: None,
    };
    let below = preset.block(&integration.provider.slug).and_then(|block| block.get(&key)).cloned();
    let overriding = integration.overrides.overrides.get(&key);
    let own = overriding.and_then(|change| if let Change::Set(value) = change { Some(value.clone()) } else { None });
    let mark = integration.overrides.changes.get(&key.to_string());
    let mut layers = vec![
        layer(&Origin::BuiltIn, settings::built_in(manifest).remove(&key)),
        Layer {
            // Nobody is named to a tenant.
            changed_by: Some(revision.created_by).filter(|by| !by.is_empty()),
            changed_at: Some(revision.created_at),
            message: Some(revision.message),
            ..layer(&Origin::Default(revision.revision), below)
        },
        Layer {
            changed_by: mark.map(|mark| mark.by.clone()),
            changed_at: mark.map(|mark| mark.at),
            ..layer(&Origin::Override, own)
        },
    ];
    if overriding == Some(&Change::Unset) {
        layers[2].says = "unsets";
    }
    if let Some(top) = layers.iter_mut().rev().find(|layer| layer.says != "silent") {
        top.in_force = true;
    }
    let spec = if let SettingKey::Declared(name) = &key { manifest.settings.get(name) } else { None };
    let required = spec.is_some_and(|spec| spec.required);
    if layers.iter().all(|layer| layer.says == "silent") && spec.is_none() {
        return Err(unknown(&organization.slug, &integration, &key).into());
    }
    let explanation = Explanation {
        organization: organization.slug.clone(),
        provider: integration.provider.slug.clone(),
        value: integration.settings.values.get(&key).map(|resolved| resolved.value.clone()),
        required,
        help: spec.and_then(|spec| spec.help.clone()),
        key,
        layers,
    };
    session.output.one("ConfigExplanation", &explanation, |look| explained(&explanation, look))?;
    Ok(Exit::Done)
}

/// Returns the error for a mapping or filter that nothing has a value for.
fn unknown(slug: &Slug, integration: &Integration, key: &SettingKey) -> UserError {
    let name = key.to_string();
    let provider = &integration.provider.slug;
    let known: Vec<String> = integration.settings.values.keys().map(ToString::to_string).collect();
    let meant = nearest(&name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
    let message = format!("`{name}` of {provider} has no value for `{slug}`, and nothing says it should");
    UserError::new(Exit::NotFound, "unknown_setting", message)
        .hint(format!("`skillsctl config show {slug} {provider}` lists what there is"))
        .hint_if(meant)
}

fn explained(explanation: &Explanation, look: &Look) -> String {
    let Explanation { provider, key, .. } = explanation;
    let shown = |value: &Value| settings::show(key, value, provider);
    let value = match &explanation.value {
        Some(value) => shown(value),
        None if explanation.required => "no value, and it is required".to_owned(),
        None => "no value".to_owned(),
    };
    let rows: Vec<Vec<Cell>> = explanation
        .layers
        .iter()
        .map(|layer| {
            let says = match (layer.says, &layer.value) {
                ("unsets", _) => settings::UNSET.to_owned(),
                (_, Some(value)) => shown(value),
                (_, None) => "-".to_owned(),
            };
            let by = layer.changed_by.as_ref().zip(layer.changed_at);
            let by = by.map_or(String::new(), |(by, at)| format!("by {by}, {}", look.time(at)));
            let message = layer.message.as_ref().filter(|message| !message.is_empty());
            let message = message.map_or(String::new(), |message| format!(": {message}"));
            let mark = if layer.in_force { "in force" } else { "" };
            vec![Cell::text(&layer.origin), Cell::text(says), Cell::text(mark), Cell::text(format!("{by}{message}"))]
        })
        .collect();
    let help = explanation.help.as_ref().map_or(String::new(), |help| format!("  {}\n", output::show(help)));
    format!("{}\n{help}{}", look.bold(&format!("{provider}.{key}: {value}")), block(&rows, 2, look))
}
