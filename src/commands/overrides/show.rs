//! `override show`.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::domain::names::Name;
use crate::domain::settings::{self, Change, Overrides, SettingKey};
use crate::error::Exit;
use crate::lookup;
use crate::output::{self, ALWAYS, Cell, Column, List};
use crate::session::Session;
use crate::store::overrides::Stored;
use crate::store::{organizations, overrides, providers};

/// Show an organization's overrides, dormant ones too
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl override show acme\n  skillsctl override show acme aptem --json")]
pub(crate) struct ShowArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Only those of this provider
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    provider: Name,
    key: SettingKey,
    /// `set`, or `unset` where an inherited value is taken away.
    change: &'static str,
    value: Option<Value>,
    inherited: Option<Value>,
    changed_by: Option<String>,
    #[serde(serialize_with = "output::instant_or_null")]
    changed_at: Option<DateTime<Utc>>,
    /// Whether the preset no longer has the provider, so that it is kept but not in force.
    dormant: bool,
}

impl Shown {
    fn text(&self, value: Option<&Value>) -> Cell {
        Cell::text_or_empty(value.map(|value| settings::show(&self.key, value, &self.provider)))
    }
}

pub(super) fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let connection = store.read();
    let organization = organizations::by_slug(connection, &args.org)?;
    let names = match &args.provider {
        Some(provider) => vec![providers::by_slug(connection, provider)?.slug],
        None => overrides::providers(connection, organization.id)?,
    };
    let mut items = Vec::new();
    for name in names {
        if organization.providers.contains(&name) {
            let integration = lookup::one_integration(connection, &organization, name.as_str())?;
            let settings = &integration.settings;
            let inherited = |key: &SettingKey| {
                let below = settings.values.get(key).and_then(|resolved| resolved.inherited.clone());
                below.or_else(|| settings.unset.get(key).cloned())
            };
            items.extend(rows(&name, &integration.overrides, inherited, false));
        } else {
            let provider = providers::by_slug(connection, name.as_str())?;
            let stored = overrides::get(connection, organization.id, provider.id)?;
            items.extend(rows(&name, &stored, |_| None, true));
        }
    }
    let list = List {
        kind: "OverrideList",
        items: &items,
        warnings: Vec::new(),
        name: |shown: &Shown| format!("{}.{}", shown.provider, shown.key),
        empty: "nothing is overridden: the defaults are in force",
    };
    session.output.list(
        list,
        [
            Column { header: "PROVIDER", priority: ALWAYS, cell: |shown, _| Cell::text(shown.provider.as_str()) },
            Column { header: "SETTING", priority: ALWAYS, cell: |shown, _| Cell::text(shown.key.to_string()) },
            Column {
                header: "VALUE",
                priority: 90,
                cell: |shown, _| match &shown.value {
                    None => Cell::text(settings::UNSET),
                    value => shown.text(value.as_ref()),
                },
            },
            Column { header: "DEFAULT", priority: 70, cell: |shown, _| shown.text(shown.inherited.as_ref()) },
            Column { header: "BY", priority: 50, cell: |shown, _| Cell::text_or_empty(shown.changed_by.clone()) },
            Column { header: "WHEN", priority: 60, cell: |shown, _| Cell::time(shown.changed_at) },
            Column {
                header: "STATE",
                priority: 80,
                cell: |shown, _| Cell::text(if shown.dormant { "dormant" } else { "in force" }),
            },
        ],
    )?;
    Ok(Exit::Done)
}

fn rows(name: &Name, stored: &Stored, inherited: impl Fn(&SettingKey) -> Option<Value>, dormant: bool) -> Vec<Shown> {
    let overrides: &Overrides = &stored.overrides;
    let row = |(key, change): (&SettingKey, &Change)| {
        let mark = stored.changes.get(&key.to_string());
        Shown {
            provider: name.clone(),
            key: key.clone(),
            change: if *change == Change::Unset { "unset" } else { "set" },
            value: if let Change::Set(value) = change { Some(value.clone()) } else { None },
            inherited: inherited(key),
            changed_by: mark.map(|mark| mark.by.clone()),
            changed_at: mark.map(|mark| mark.at),
            dormant,
        }
    };
    overrides.iter().map(row).collect()
}
