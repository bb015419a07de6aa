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
        SchemaKind::Provider => manifest::schema(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    /// Returns where a value is not as its schema says; the words of draft 7 that our schemas use.
    fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let Value::Object(words) = schema else {
            return if *schema == Value::Bool(false) { vec![format!("{at}: not allowed")] } else { Vec::new() };
        };
        let mut found = Vec::new();
        for (word, rule) in words {
            match word.as_str() {
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                    let definition = root["definitions"].get(name).unwrap_or_else(|| panic!("no definition {name}"));
                    found.extend(faults(root, definition, value, at));
                }
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    let is = |name: &Value| match name.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "integer" => value.is_i64() || value.is_u64(),
                        "number" => value.is_number(),
                        "boolean" => value.is_boolean(),
                        "null" => value.is_null(),
                        other => panic!("unknown type {other}"),
                    };
                    if !types.iter().any(is) {
                        found.push(format!("{at}: {value} is not {rule}"));
                    }
                }
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    found.push(format!("{at}: {value} not in {rule}"))
                }
                "const" if rule != value => found.push(format!("{at}: {value} is not {rule}")),
                "anyOf" | "oneOf" => {
                    let tries: Vec<_> =
                        rule.as_array().unwrap().iter().map(|one| faults(root, one, value, at)).collect();
                    if !tries.iter().any(Vec::is_empty) {
                        found.push(format!("{at}: none of {tries:?}"));
                    }
                }
                "allOf" => rule.as_array().unwrap().iter().for_each(|one| found.extend(faults(root, one, value, at))),
                "pattern" => {
                    let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                    if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                        found.push(format!("{at}: {value} does not match {rule}"));
                    }
                }
                "required" => {
                    for name in rule.as_array().unwrap() {
                        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                            found.push(format!("{at}: {name} is missing"));
                        }
                    }
                }
                "minimum" if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) => {
                    found.push(format!("{at}: {value} is below {rule}"));
                }
                "items" => {
                    for (position, item) in value.as_array().into_iter().flatten().enumerate() {
                        let rule = rule.as_array().map_or(rule, |rules| &rules[position]);
                        found.extend(faults(root, rule, item, &format!("{at}[{position}]")));
                    }
                }
                _ => {}
            }
        }
        let Value::Object(entries) = value else { return found };
        for (key, entry) in entries {
            let at = format!("{at}.{key}");
            let named = schema["properties"].get(key);
            let patterned = schema["patternProperties"].as_object().into_iter().flatten();
            let patterned = patterned.filter(|(pattern, _)| regex::Regex::new(pattern).unwrap().is_match(key));
            let rules: Vec<&Value> = named.into_iter().chain(patterned.map(|(_, rule)| rule)).collect();
            rules.iter().for_each(|rule| found.extend(faults(root, rule, entry, &at)));
            if let (true, Some(rest)) = (rules.is_empty(), words.get("additionalProperties")) {
                found.extend(faults(root, rest, entry, &at));
            }
        }
        found
    }

    fn check(schema: &Value, text: &str) -> Vec<String> {
        faults(schema, schema, &yaml::parse("file.yaml", text).unwrap().to_json(), "")
    }

    fn shipped() -> Catalog {
        let manifests = builtin::PROVIDERS.iter().map(|(name, text)| manifest::load(name, text).unwrap());
        manifests.map(|manifest| (manifest.provider.clone(), manifest)).collect()
    }

    #[test]
    fn every_shipped_file_is_as_its_schema_says() {
        let (presets, providers) = (preset(&shipped()), manifest::schema());
        for (name, text) in builtin::PRESETS {
            assert_eq!(check(&presets, text), [""; 0], "{name}");
        }
        let invented = ("larkfield", include_str!("../../examples/providers/larkfield.yaml"));
        for (name, text) in builtin::PROVIDERS.iter().copied().chain([invented]) {
            assert_eq!(check(&providers, text), [""; 0], "{name}");
        }
    }

    #[test]
    fn a_schema_catches_what_the_reader_refuses() {
        let presets = preset(&shipped());
        let (_, text) = builtin::PRESETS[3];
        for (right, wrong) in [
            ("sync_frequency: hourly", "sync_freqency: hourly"),
            ("sync_frequency: hourly", "sync_frequency: often"),
            ("preset: aptem_hubspot", "preset: Aptem"),
            ("  aptem:", "  aptme:"),
            ("learner.programme:", "tutor.programme:"),
            ("LMS_Provider: Aptem", "LMS_Provider: {Equals: Aptem}"),
            ("LMS_Provider: Aptem", "CRM_Provider: Aptem"),
            ("learner.programme: programme_name", "learner.programme: {form: programme_name}"),
            ("recommended: true", "recommended: perhaps"),
        ] {
            assert!(text.contains(right), "{right}");
            assert_ne!(check(&presets, &text.replacen(right, wrong, 1)), [""; 0], "{wrong}");
        }
        assert_eq!(check(&presets, "preset: a\nproviders: {aptem: {}}\n"), [": \"name\" is missing"]);
    }

    #[test]
    fn a_manifest_with_a_typing_error_is_caught() {
        let (_, text) = builtin::PROVIDERS[3];
        for (right, wrong) in
            [("kind: crm", "kind: cmr"), ("streams:", "strems:"), ("    rate: ", "    rat: "), ("page:", "pag:")]
        {
            if text.contains(right) {
                assert_ne!(check(&manifest::schema(), &text.replacen(right, wrong, 1)), [""; 0], "{wrong}");
            }
        }
    }

    #[test]
    fn overrides_may_unset_what_is_not_required() {
        let overrides = overrides(&shipped());
        let fine = "aptem:\n  sync_frequency: 15m\n  field_mappings: {learner.tutor: !unset, learner.division: x}\n\
                    hubspot: {portal_id: 123, enabled: false}\n";
        assert_eq!(check(&overrides, fine), [""; 0]);
        assert_eq!(check(&overrides, "aptem: {field_mappings: ['aptem.x -> learner.division']}"), [""; 0]);
        assert_ne!(check(&overrides, "hubspot: {portal_id: !unset}"), [""; 0]);
        assert_ne!(check(&overrides, "hubspot: {portal_id: abc}"), [""; 0]);
    }

    #[test]
    fn an_organization_has_five_fields() {
        let fine = "name: Acme\nmax_learners: null\nbilling_name: Ann\nbilling_email: null\ntime_zone: Europe/London\n";
        assert_eq!(check(&organization(), fine), [""; 0]);
        assert_ne!(check(&organization(), &format!("{fine}slug: acme\n")), [""; 0]);
    }
}
