//! The JSON Schema of a manifest, made from the types that read it.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::read::WrittenPage;
use super::{Header, Manifest, Missing, Ordered, Page, Statuses, TokenAt};
use crate::domain::credential::MaxAge;
use crate::domain::duration::Length;
use crate::domain::expression::Condition;
use crate::domain::names::Name;
use crate::domain::path::Path;
use crate::domain::slot::{JsonTemplate, Template};

/// Parts of a stream that `defaults`, mixins and the stream give together, so that none needs all of it.
const SHARED: [&str; 12] =
    ["Stream", "Read", "Cursor", "Detail", "Deletes", "Flag", "Each", "Job", "When", "Create", "Poll", "Types"];

/// Returns the schema of a manifest as it is written, with `defaults`, mixins and their use.
pub(crate) fn schema() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Manifest>().to_value();
    for name in SHARED {
        if let Some(Value::Object(part)) = schema["definitions"].get_mut(name) {
            part.remove("required");
        }
    }
    let stream = json!({"$ref": "#/definitions/Stream"});
    schema["properties"]["defaults"] = stream.clone();
    schema["properties"]["mixins"] = json!({"type": "object", "additionalProperties": stream});
    schema["definitions"]["Stream"]["properties"]["use"] = json!({
        "description": "Mixins that lie beneath this stream, lowest first",
        "type": "array", "items": {"type": "string"},
    });
    schema
}

/// Gives types that are written as a scalar their schema. A plain number is text where text is wanted.
macro_rules! scalar_schema {
    ($($type:ty: $name:literal, $description:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"description": $description, "type": ["string", "number", "boolean"]})
            }
        }
    )*};
}
scalar_schema! {
    Template: "Template", "A text with slots, like `{settings.api_url}/users`";
    Path: "Path", "A path in the raw record or answer";
    Length: "Length", "A length of time, like `15m`";
    MaxAge: "MaxAge", "A length of time, like `180d`, or `never`";
    Name: "Name", "Lower-case letters, digits and `_`, starting with a letter";
    Condition: "Condition", "An expression over `status`, `headers` and `body`";
    Header: "Header", "The name of a header, like `X-RateLimit-Remaining`";
    TokenAt: "TokenAt", "`text` for the whole body, or a path in a JSON body";
}

impl JsonSchema for JsonTemplate {
    fn schema_name() -> Cow<'static, str> {
        "JsonTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Any JSON, with slots in its texts"})
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let status = json!({"type": "integer", "minimum": 100, "maximum": 599});
        json_schema!({"anyOf": [status, {"type": "array", "items": status}]})
    }
}

impl JsonSchema for Missing {
    fn schema_name() -> Cow<'static, str> {
        "Missing".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let statuses = generator.subschema_for::<Statuses>();
        json_schema!({"anyOf": [{"type": "boolean"}, statuses]})
    }
}

impl JsonSchema for Page {
    fn schema_name() -> Cow<'static, str> {
        "Page".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenPage::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": value})
    }
}
