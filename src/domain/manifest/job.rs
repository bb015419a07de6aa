//! A job: a large full read that the service prepares first, and that is then fetched in pages.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use super::super::duration::Length;
use super::super::expression::Condition;
use super::super::path::Path;
use super::super::slot::{JsonTemplate, Template};
use super::{ErrorRule, Ordered, Read};

/// How a full read is made by a job: create it, look at it until it is done, download what it found. Plain pages
/// (`full`) are read where there is too little for a job, or none is made of this.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// When a full read is large enough for a job; without it each is.
    pub(crate) when: Option<When>,
    pub(crate) create: Create,
    pub(crate) poll: Poll,
    /// Where the service says of what type each column is, for a download that has text only.
    pub(crate) types: Option<Types>,
    pub(crate) download: Read,
    /// The path that a DELETE is sent to once all is downloaded.
    pub(crate) delete: Option<Template>,
    /// What answers to `poll` and `download` mean; asked before the rules of the stream.
    #[serde(default)]
    pub(crate) errors: Vec<ErrorRule>,
}

/// A cheap call that counts, and the count from which on a job is made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    pub(crate) get: Template,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// Where the answer has the number of records.
    pub(crate) count: Path,
    /// The least number of records for a job; at 0 nothing is counted, and each full read is one.
    pub(crate) from: Template,
}

/// The request that creates a job. It is never sent again after a failure that leaves open whether there is one.
#[derive(Debug, Clone)]
pub(crate) struct Create {
    pub(crate) request: Read,
    /// Where the answer has the id of the job, which is `{job}` in the other requests.
    pub(crate) id: Path,
    /// What answers mean; `do: skip_job` reads plain pages instead.
    pub(crate) errors: Vec<ErrorRule>,
}

/// A `create` as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenCreate {
    post: Template,
    #[serde(default)]
    query: Ordered<Template>,
    #[serde(default)]
    headers: Ordered<Template>,
    json: Option<JsonTemplate>,
    #[serde(default)]
    form: Ordered<Template>,
    id: Path,
    #[serde(default)]
    errors: Vec<ErrorRule>,
}

impl<'de> Deserialize<'de> for Create {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenCreate { post, query, headers, json, form, id, errors } = WrittenCreate::deserialize(deserializer)?;
        let request = Read { post: Some(post), query, headers, json, form, ..Read::default() };
        Ok(Create { request, id, errors })
    }
}

impl JsonSchema for Create {
    fn schema_name() -> Cow<'static, str> {
        "Create".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenCreate::json_schema(generator)
    }
}

/// Looking at a job until it ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    pub(crate) get: Template,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// An expression over `status`, `headers` and `body`: the job is done.
    pub(crate) until: Condition,
    /// The job has failed, or was ended by somebody.
    pub(crate) fail_when: Condition,
    /// The longest wait between two looks; the first ones are shorter.
    #[serde(default = "half_a_minute")]
    pub(crate) every: Length,
    /// How long a run waits altogether before it leaves the job to the next one.
    #[serde(default = "five_minutes")]
    pub(crate) park: Length,
    /// How old a job becomes, over all runs, before it is given up.
    #[serde(default = "a_day")]
    pub(crate) timeout: Length,
    /// What to do about a job that failed, in plain words.
    pub(crate) hint: Option<Template>,
}

fn half_a_minute() -> Length {
    Length(30)
}

fn five_minutes() -> Length {
    Length(300)
}

fn a_day() -> Length {
    Length(86_400)
}

/// A list of the columns with their types: numbers and booleans of a download then come out as in the service's JSON.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Types {
    pub(crate) get: Template,
    /// Where the list is.
    pub(crate) columns: Path,
    /// Where an item of it has the column's name and its type.
    pub(crate) name: Path,
    #[serde(rename = "type")]
    pub(crate) kind: Path,
    /// The types of numbers, and those of booleans, in the service's words.
    #[serde(default)]
    pub(crate) numbers: Vec<String>,
    #[serde(default)]
    pub(crate) booleans: Vec<String>,
}
