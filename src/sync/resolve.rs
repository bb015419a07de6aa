//! Stage 1: looks everything up that a run needs and hands on a complete plan. No other stage looks anything up.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::Engine;
use super::filter::Filters;
use super::transform::Transform;
use crate::connector::{Connector, Keeper, Parts};
use crate::domain::entity::Entity;
use crate::domain::manifest::{Manifest, Stream, secrets_missing};
use crate::domain::moment::Range;
use crate::domain::names::Name;
use crate::domain::settings::{Effective, feeding_stream};
use crate::error::{Exit, UserError, nearest};
use crate::lookup::{Integration, Library};
use crate::secrets::Secret;
use crate::store::Connection;
use crate::store::organizations::{self, Organization, Status};
use crate::store::providers::Provider;

/// Everything one run does.
pub(super) struct Plan {
    pub(super) organization: Organization,
    pub(super) provider: Provider,
    pub(super) manifest: Manifest,
    pub(super) settings: BTreeMap<String, Value>,
    /// The credentials without which no request can be sent.
    pub(super) credentials: Vec<Name>,
    pub(super) streams: Vec<StreamPlan>,
    /// The names of all streams that feed an entity, those left out of this run too.
    pub(super) feeding: Vec<String>,
    /// What is to be said of the run whatever comes of it.
    pub(super) warnings: Vec<String>,
    /// Those of the warnings that are said even where the others are not.
    pub(super) doubts: Vec<String>,
    /// Changes whenever the shape of any stream does.
    pub(super) shape: String,
}

/// What is done with one stream.
pub(super) struct StreamPlan {
    pub(super) name: String,
    pub(super) entity: Entity,
    pub(super) stream: Stream,
    pub(super) transform: Transform,
    pub(super) filters: Filters,
    /// The values of the stream's loop; one `None` for a stream without one.
    pub(super) each: Vec<Option<String>>,
    /// Changes whenever other records may be read, or other rows made from them.
    pub(super) shape: String,
}

/// Returns the plan of one provider of one organization.
pub(super) fn plan(engine: &Engine<'_>, organization: &Organization, provider: &Name) -> Result<Plan> {
    planned(
        engine.store().read(),
        &engine.library,
        organization,
        (provider, engine.options.stream.as_deref()),
        engine.options.backfill,
    )
}

/// Returns the plan of one provider of one organization, of one stream alone or of all.
pub(super) fn planned(
    connection: &Connection,
    library: &Library,
    organization: &Organization,
    (provider, only): (&Name, Option<&str>),
    backfill: Option<Range>,
) -> Result<Plan> {
    // As it is now: since it was found due, it may have moved to other defaults or been suspended.
    let organization = &organizations::by_slug(connection, organization.slug.as_str())?;
    if organization.status != Status::Active {
        let slug = &organization.slug;
        return Err(UserError::new(Exit::Conflict, "org_suspended", format!("organization `{slug}` is suspended"))
            .hint(format!("skillsctl org resume {slug}"))
            .into());
    }
    let integration = library.integration(connection, organization, provider.as_str())?;
    let Integration { provider, manifest, settings, .. } = integration;
    if let Some(name) = settings.missing(&manifest).first() {
        let slug = &organization.slug;
        let message = format!("the setting `{name}` of {} has no value for `{slug}`", manifest.title);
        return Err(UserError::new(Exit::Invalid, "setting_missing", message)
            .hint(format!("skillsctl override set {slug} {} {name}=VALUE", provider.slug))
            .into());
    }
    if let Some(key) = settings.unreadable() {
        let slug = &organization.slug;
        let message = format!("the setting `{key}` of {} cannot be read for `{slug}`", manifest.title);
        return Err(UserError::new(Exit::Invalid, "invalid_setting", message)
            .hint(format!("set it again: skillsctl override set {slug} {} {key}=VALUE", provider.slug))
            .into());
    }
    let (mut streams, mut feeding_names, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    let mut warnings: Vec<String> = backfill.iter().map(|range| format!("backfill of {range}")).collect();
    let mut left_out = false;
    for entity in Entity::ALL {
        let mappings = settings.mappings(entity);
        let feeding = feeding_stream(entity, &mappings, &manifest).map_err(|message| {
            UserError::new(Exit::Invalid, "two_streams", message)
                .hint(format!("skillsctl config show {} {}", organization.slug, provider.slug))
        })?;
        let Some((name, stream)) = feeding.and_then(|name| Some((name, manifest.stream(name)?))) else { continue };
        feeding_names.push(name.to_owned());
        shapes.push(shape(organization, &provider, &settings, (name, entity)));
        if only.is_some_and(|only| only != name) {
            continue;
        }
        if backfill.is_some() && stream.changes.is_none() {
            left_out = true;
            warnings.push(format!(
                "{name}: left out, as the provider does not say what changed when: `skillsctl sync {} --full --stream {name}` reads all of it",
                organization.slug
            ));
            continue;
        }
        let each = match &stream.each {
            None => vec![None],
            Some(each) => list(settings.setting(each.settings.as_str())).into_iter().map(Some).collect(),
        };
        let filters = Filters::new(entity, &settings.filters(), &manifest, organization);
        let transform = Transform::new(name, stream, entity, &mappings)
            .map_err(|message| UserError::new(Exit::Invalid, "invalid_mapping", message))?;
        let shape = shapes.last().cloned().unwrap_or_default();
        streams.push(StreamPlan {
            name: name.to_owned(),
            entity,
            stream: stream.clone(),
            transform,
            filters,
            each,
            shape,
        });
    }
    if streams.is_empty() && left_out {
        let message = format!("{} does not say what changed when, so no range of time can be read", manifest.title);
        return Err(UserError::new(Exit::Invalid, "no_changes", message)
            .hint(format!(
                "read everything again: skillsctl sync {} --provider {} --full",
                organization.slug, provider.slug
            ))
            .into());
    }
    if streams.is_empty() {
        return Err(nothing_to_read(only, organization, &manifest));
    }
    let credentials = secrets_missing(&manifest, &settings, |_| false).into_iter().cloned().collect();
    let settings = settings.declared();
    let shape = crate::store::hash(&shapes.join("\n"))[..16].to_owned();
    Ok(Plan {
        organization: organization.clone(),
        provider,
        settings,
        manifest,
        credentials,
        streams,
        feeding: feeding_names,
        warnings,
        doubts: Vec::new(),
        shape,
    })
}

fn nothing_to_read(only: Option<&str>, organization: &Organization, manifest: &Manifest) -> anyhow::Error {
    let provider = &manifest.provider;
    let Some(only) = only else {
        return UserError::new(
            Exit::Invalid,
            "nothing_mapped",
            format!("no field of {} is mapped, so there is nothing to read", manifest.title),
        )
        .hint(format!("skillsctl override set {} {provider} field_mappings.TARGET=SOURCE", organization.slug))
        .into();
    };
    let names = || manifest.streams.iter().map(|(name, _)| name.as_str());
    let meant = nearest(only, names()).map(|word| format!("did you mean `{word}`?"));
    UserError::new(
        Exit::NotFound,
        "stream_not_found",
        format!("{} reads no stream `{only}` for `{}`", manifest.title, organization.slug),
    )
    .hint(format!("streams: {}", names().collect::<Vec<_>>().join(", ")))
    .hint_if(meant)
    .into()
}

/// Returns a digest of what shapes rows: the manifest, the settings, the stream they come from, and what of the
/// organization itself keeps rows out. A page that was to come next under other settings (of another address, or of
/// another size) is not where a read goes on.
fn shape(
    organization: &Organization,
    provider: &Provider,
    settings: &Effective,
    (stream, entity): (&str, Entity),
) -> String {
    let name = &organization.name;
    let room = organization.max_learners.filter(|_| entity == Entity::Learner);
    let text = format!("{entity}<{stream}\n{}\n{name:?} {room:?}\n{}", provider.manifest_hash, settings.shape(entity));
    crate::store::hash(&text)[..16].to_owned()
}

/// Returns a list setting as texts.
fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

impl Plan {
    /// Returns the connector of the plan. `keeper` is where its secrets and its token are.
    pub(super) fn connector<'p>(
        &'p self,
        engine: &'p Engine<'_>,
        secrets: BTreeMap<Name, Secret>,
        keeper: &'p dyn Keeper,
    ) -> Connector<'p> {
        Connector::new(Parts {
            manifest: &self.manifest,
            settings: self.settings.clone(),
            secrets,
            owner: self.organization.slug.as_str(),
            keeper,
            proof_since: None,
            client: &engine.client,
            limits: &engine.limits,
            stop: &engine.halt,
        })
    }
}
