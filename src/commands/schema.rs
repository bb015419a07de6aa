//! `schema`: the JSON Schema of each kind of file, made from the types that read it and the manifests there are.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::org;
use crate::domain::entity::Entity;
use crate::domain::filter;
use crate::domain::manifest::{self, Manifest, SettingSpec, SettingType};
use crate::domain::mapping;
use crate::domain::preset::Catalog;
use crate::domain::settings::UNSET;
use crate::error::Exit;
use crate::session::Session;
use crate::{builtin, lookup};

const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// Print the JSON Schema of a kind of file, for an editor to complete and check it
///
/// The schemas of presets and overrides know the settings of the providers in the database; without one, those of the
/// providers that are shipped.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl schema preset > preset.schema.json\n  skillsctl schema override > override.schema.json\n  skillsctl schema provider"
)]
pub(crate) struct SchemaArgs {
    /// The kind of file
    #[arg(value_enum)]
    kind: SchemaKind,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaKind {
    /// A preset with its defaults
    Preset,
    /// An organization's overrides
    Override,
    /// A provider's manifest
    Provider,
    /// What `org edit` opens
    Org,
}

pub(crate) fn run(args: &SchemaArgs, session: &Session) -> Result<Exit> {
    let schema = match args.kind {
        SchemaKind::Preset => preset(&catalog(session)?),
        SchemaKind::Override => overrides(&catalog(session)?),
        SchemaKind::Provider => provider(),
        SchemaKind::Org => organization(),
    };
    session.output.document(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
    Ok(Exit::Done)
}

/// Returns the manifests of the database, or of what is shipped where there is none yet.
fn catalog(session: &Session) -> Result<Catalog> {
    if session.paths().is_ok_and(|paths| paths.db.exists()) {
        return lookup::catalog(session.store()?.read());
    }
    let shipped = builtin::PROVIDERS.iter().map(|(name, text)| {
        let manifest = manifest::load(name, text)?;
        Ok((manifest.provider.clone(), manifest))
    });
    shipped.collect()
}

/// Returns the schema of a preset's file.
pub(super) fn preset(catalog: &Catalog) -> Value {
    let blocks: Map<String, Value> =
        catalog.iter().map(|(name, manifest)| (name.to_string(), block(manifest, false))).collect();
    let text_list = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "$schema": DIALECT,
        "title": "A preset: providers in the order they are called, with the defaults of each",
        "type": "object",
        "properties": {
            "preset": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$", "description": "Slug of the preset"},
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "recommended": {"type": "boolean"},
            "providers": {"type": "object", "properties": blocks, "additionalProperties": false, "minProperties": 1},
            "role_reports": {
                "type": "object",
                "description": "Which role sees which reports",
                "additionalProperties": text_list,
            },
        },
        "required": ["preset", "name", "providers"],
        "additionalProperties": false,
        "definitions": definitions(),
    })
}

/// Returns the schema of an organization's overrides.
pub(super) fn overrides(catalog: &Catalog) -> Value {
    let blocks: Map<String, Value> =
        catalog.iter().map(|(name, manifest)| (name.to_string(), block(manifest, true))).collect();
    json!({
        "$schema": DIALECT,
        "title": "What is different for one organization, provider by provider",
        "type": "object",
        "properties": blocks,
        "additionalProperties": false,
        "definitions": definitions(),
    })
}

/// Returns the schema of what `org edit` opens.
pub(super) fn organization() -> Value {
    let settings = schemars::generate::SchemaSettings::draft07();
    settings.into_generator().into_root_schema_for::<org::Document>().to_value()
}

/// Returns the schema of a provider's block; an override may also unset what is below it.
fn block(manifest: &Manifest, overriding: bool) -> Value {
    let may_unset = |schema: Value| if overriding { json!({"anyOf": [schema, {"const": UNSET}]}) } else { schema };
    let mut properties = Map::new();
    properties.insert("enabled".into(), json!({"type": "boolean"}));
    properties.insert("sync_frequency".into(), reference("frequency"));
    for (name, spec) in &manifest.settings {
        let schema = setting(spec);
        properties.insert(name.to_string(), if spec.required { schema } else { may_unset(schema) });
    }
    let mapping = may_unset(reference("mapping"));
    let targets = Entity::ALL
        .iter()
        .flat_map(|entity| entity.columns().iter().map(move |column| format!("{entity}.{}", column.name)));
    let known: Map<String, Value> = targets.clone().map(|target| (target, mapping.clone())).collect();
    let arrow = json!({"type": "string", "pattern": "(->|→) *(learner|employer)\\.[a-z][a-z0-9_]*$"});
    let target = "^(learner|employer)\\.[a-z][a-z0-9_]{0,62}$";
    properties.insert(
        "field_mappings".into(),
        json!({
            "description": "TARGET: SOURCE, or a list of arrows",
            "anyOf": [
                {
                    "type": "object", "properties": known, "patternProperties": {target: mapping},
                    "additionalProperties": false,
                },
                {"type": "array", "items": arrow},
            ],
        }),
    );
    let condition = may_unset(reference("condition"));
    let derived = filter::derived_columns(manifest.kind);
    let columns: Map<String, Value> =
        derived.into_iter().map(str::to_owned).chain(targets).map(|column| (column, condition.clone())).collect();
    properties.insert(
        "powerbi_filters".into(),
        json!({
            "type": "object", "properties": columns, "patternProperties": {target: condition},
            "additionalProperties": false,
        }),
    );
    json!({
        "type": ["object", "null"], "description": manifest.title, "properties": properties,
        "additionalProperties": false,
    })
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/definitions/{definition}")})
}

/// Returns the schema of a setting that a manifest declares.
fn setting(spec: &SettingSpec) -> Value {
    let scalar = json!(["string", "number"]);
    let mut schema = match spec.setting_type {
        SettingType::Int => json!({"type": "integer"}),
        SettingType::Decimal => json!({"type": "number"}),
        SettingType::Bool => json!({"type": "boolean"}),
        SettingType::Date => json!({"type": "string", "format": "date"}),
        SettingType::Hostname => json!({"type": "string", "format": "hostname"}),
        SettingType::Url => json!({"type": "string", "format": "uri"}),
        SettingType::Enum => json!({"enum": spec.values}),
        SettingType::Text => json!({"type": scalar}),
        SettingType::List => {
            json!({"anyOf": [{"type": "array", "items": {"type": scalar}}, {"type": scalar}]})
        }
    };
    if let Value::Object(schema) = &mut schema {
        let pattern = spec.pattern.as_ref().map(|pattern| format!("^(?:{pattern})$").into());
        let further = [
            ("minimum", spec.min.map(Value::from)),
            ("maximum", spec.max.map(Value::from)),
            ("pattern", pattern.filter(|_| spec.setting_type == SettingType::Text)),
            ("default", spec.default.clone()),
            ("examples", spec.example.clone().map(|example| Value::from(vec![example]))),
            ("description", spec.help.clone().map(Value::from)),
        ];
        schema.extend(further.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    schema
}

/// Returns what blocks refer to: mappings from the type that reads them, conditions, frequencies.
fn definitions() -> Value {
    let generator = schemars::generate::SchemaSettings::draft07().into_generator();
    let mut spec = generator.into_root_schema_for::<mapping::Spec>().to_value();
    let mut definitions = match spec.as_object_mut().and_then(|spec| spec.remove("definitions")) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("$schema");
    }
    definitions.insert("mapping".into(), json!({"anyOf": [{"type": "string"}, spec]}));
    let scalar = json!({"type": ["string", "number", "boolean"]});
    let mut operators = Map::new();
    for (name, unary) in filter::operator_names() {
        let value = if unary { json!({"type": ["boolean", "null"]}) } else { scalar.clone() };
        operators.insert(name.into(), value);
    }
    for name in ["In", "NotIn"] {
        operators.insert(name.into(), json!({"type": "array", "items": scalar}));
    }
    definitions.insert(
        "condition".into(),
        json!({"anyOf": [
            scalar,
            {"type": "array", "items": scalar, "minItems": 1},
            {"type": "object", "properties": operators, "additionalProperties": false, "minProperties": 1, "maxProperties": 2},
        ]}),
    );
    definitions.insert(
        "frequency".into(),
        json!({
            "type": "string",
            "description": "hourly, daily, weekly, manual, a length like 15m or 2h, or five cron fields",
            "anyOf": [
                {"enum": ["hourly", "daily", "weekly", "manual"]},
                {"pattern": "^[0-9]+[smhd]$"},
                {"pattern": "^\\S+( +\\S+){4}$"},
            ],
        }),
    );
    Value::Object(definitions)
}

/// Returns the schema of a provider's manifest.
fn provider() -> Value {
    json!({"$schema": DIALECT})
}
