//! A provider described: what its manifest may say, as types. No code stands behind any single provider.
//!
//! `load` reads and resolves the YAML (defaults and mixins), `lint` proves what types alone cannot say.

mod auth;
mod explain;
mod job;
pub(crate) mod key;
mod lint;
mod load;
mod needs;
mod read;
mod schema;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub(crate) use auth::{Auth, ClientIn, Grant, Jwt, Login, Oauth, Rotate, TokenAt};
pub(crate) use explain::explain;
pub(crate) use job::Job;
pub(crate) use key::Key;
pub(crate) use lint::lint;
pub(crate) use load::{check, load};
pub(crate) use needs::{Need, in_addresses, secrets_missing, secrets_needed};
pub(crate) use read::{Cursor, Decode, Deletes, Detail, Each, Method, Missing, Page, PageKind, Read, Stop, Sweep};
pub(crate) use schema::schema;

use super::credential::MaxAge;
use super::duration::Length;
use super::entity::Entity;
use super::expression::Condition;
use super::names::Name;
use super::path::Path;
use super::slot::{Part, Template};

/// What sort of system a provider is; decides which entity its derived columns belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Lms,
    Crm,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Lms => "lms",
            Kind::Crm => "crm",
        }
    }

    /// Returns the entity a provider of this kind is chiefly read for.
    pub(crate) fn entity(self) -> Entity {
        match self {
            Kind::Lms => Entity::Learner,
            Kind::Crm => Entity::Employer,
        }
    }
}

/// A provider's manifest, defaults and mixins resolved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) provider: Name,
    pub(crate) revision: u32,
    pub(crate) kind: Kind,
    pub(crate) title: String,
    /// What is not publicly documented about the service, in plain words; shown wherever the provider is.
    #[serde(default)]
    pub(crate) unverified: Vec<String>,
    #[serde(default)]
    pub(crate) settings: BTreeMap<Name, SettingSpec>,
    #[serde(default)]
    pub(crate) secrets: BTreeMap<Name, SecretSpec>,
    pub(crate) http: Http,
    pub(crate) check: Option<Check>,
    pub(crate) streams: Ordered<Stream>,
}

impl Manifest {
    /// Returns a stream by name.
    pub(crate) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name)
    }

    /// Returns everything that is not publicly documented, what is so of one stream under its name.
    pub(crate) fn unverified(&self) -> Vec<String> {
        let streams = self
            .streams
            .iter()
            .filter_map(|(name, stream)| stream.unverified.as_ref().map(|what| format!("stream {name}: {what}")));
        self.unverified.iter().cloned().chain(streams).collect()
    }

    /// Returns the stream that feeds an entity unless a mapping names another: the first that says so.
    pub(crate) fn stream_for(&self, entity: Entity) -> Option<&str> {
        self.streams.iter().find(|(_, stream)| stream.entity == Some(entity)).map(|(name, _)| name.as_str())
    }
}

/// A map that keeps the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Ordered(Vec::new())
    }
}

impl<T> Ordered<T> {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (String, T)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// A setting that presets and overrides may give.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingSpec {
    #[serde(rename = "type", default)]
    pub(crate) setting_type: SettingType,
    pub(crate) default: Option<Value>,
    /// Whether a sync cannot start without it.
    #[serde(default)]
    pub(crate) required: bool,
    /// Bounds of an `int` or `decimal`.
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// A regular expression that a text must match as a whole.
    pub(crate) pattern: Option<String>,
    /// The values of an `enum`.
    #[serde(default)]
    pub(crate) values: Vec<String>,
    pub(crate) example: Option<Value>,
    pub(crate) help: Option<String>,
}

/// The type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SettingType {
    #[default]
    Text,
    Int,
    Decimal,
    Bool,
    Date,
    Hostname,
    Url,
    Enum,
    /// A list of texts or numbers.
    List,
}

impl SettingType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SettingType::Text => "text",
            SettingType::Int => "int",
            SettingType::Decimal => "decimal",
            SettingType::Bool => "bool",
            SettingType::Date => "date",
            SettingType::Hostname => "hostname",
            SettingType::Url => "url",
            SettingType::Enum => "enum",
            SettingType::List => "list",
        }
    }
}

/// A credential field.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretSpec {
    pub(crate) title: String,
    /// A regular expression that the value must match as a whole, to catch the wrong thing pasted.
    pub(crate) pattern: Option<String>,
    pub(crate) help: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
    /// How old a value may become before it is to be rotated.
    #[serde(default)]
    pub(crate) max_age: MaxAge,
    /// How the service gives a new value, where it does.
    pub(crate) rotate: Option<Rotate>,
}

impl SecretSpec {
    /// Returns whether a value has the form that the field's values have.
    pub(crate) fn fits(&self, value: &str) -> bool {
        let pattern = self.pattern.as_ref().map(|pattern| regex::Regex::new(&format!("^(?:{pattern})$")));
        pattern.is_none_or(|pattern| pattern.is_ok_and(|pattern| pattern.is_match(value)))
    }
}

/// How the service is spoken to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) base: Template,
    #[serde(default)]
    pub(crate) auth: Auth,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// How long one request may take altogether.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Length,
    #[serde(default)]
    pub(crate) limits: Ordered<Limit>,
    #[serde(default)]
    pub(crate) errors: Vec<ErrorRule>,
    /// Where the service says in its error bodies what is wrong; the first path that exists is shown.
    #[serde(default)]
    pub(crate) error_message: Vec<Path>,
    /// The largest page accepted, in bytes after decompression.
    #[serde(default = "default_page_bytes")]
    pub(crate) page_bytes: u64,
}

fn default_timeout() -> Length {
    Length(120)
}

fn default_page_bytes() -> u64 {
    256 << 20
}

/// A budget of requests, shared by all who use the same credential.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// Requests per time, like `100/10s`; the number may be a setting, like `{settings.calls}/10s`.
    pub(crate) rate: Template,
    /// A regular expression over the path of a request; without it the budget is for all requests.
    pub(crate) only: Option<String>,
    /// The header of an answer that says how many requests are left; fewer than were counted here are believed.
    pub(crate) remaining: Option<Header>,
    /// The header that says when there are more again: in seconds, or as a moment.
    pub(crate) reset: Option<Header>,
    /// The header that says how much is used of a longer allowance, like `api-usage=18/5000`.
    pub(crate) used: Option<Header>,
    /// The share of that allowance at which a run stops, to leave the rest to others: `0.8`.
    pub(crate) stop_at: Option<f64>,
    /// How fast that allowance comes back, where it is a leaky bucket: `2/1s`. At its brim a request waits for a drop.
    #[serde(default, deserialize_with = "rate")]
    #[schemars(with = "Option<String>")]
    pub(crate) refill: Option<Rate>,
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The name of a header of an answer, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header(String);

impl Header {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        // The characters of a token (RFC 9110 section 5.6.2).
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            let message =
                format!("`{}` is not the name of a header, like `X-RateLimit-Remaining`", name.escape_debug());
            return Err(serde::de::Error::custom(message));
        }
        Ok(Header(name.to_ascii_lowercase()))
    }
}

impl Limit {
    /// Returns the rate under these settings.
    pub(crate) fn rate(&self, settings: &BTreeMap<String, Value>) -> Result<Rate, String> {
        let filled = self.rate.parts.iter().map(|part| match part {
            Part::Text(literal) => literal.clone(),
            Part::Slot(slot) => match settings.get(&slot.member) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => String::new(),
            },
        });
        filled.collect::<String>().parse()
    }
}

/// So many requests in so many seconds: `100/10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) requests: u32,
    pub(crate) per: Length,
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a rate: write requests per time, like `100/10s`", text.escape_debug());
        let (requests, per) = text.split_once('/').ok_or_else(wrong)?;
        let rate = Rate { requests: requests.parse().map_err(|_| wrong())?, per: per.parse()? };
        if rate.requests == 0 || rate.per.0 == 0 { Err(wrong()) } else { Ok(rate) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per)
    }
}

/// What an answer means. Rules of the stream come before those of `http`; the first that matches decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRule {
    /// One status or several; without it any status matches.
    #[serde(default)]
    pub(crate) status: Statuses,
    /// An expression over `status`, `headers` and `body` (the parsed JSON, or text).
    pub(crate) when: Option<Condition>,
    #[serde(rename = "do")]
    pub(crate) action: Action,
    /// How long to wait before a retry where the answer does not say.
    pub(crate) wait: Option<Length>,
    /// What to do about it, in plain words; may have `settings` and `vars` slots.
    pub(crate) hint: Option<Template>,
}

/// Status codes, written as one number or a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Statuses(pub(crate) Vec<u16>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status code or a list of them")
            }

            fn visit_u64<E: serde::de::Error>(self, status: u64) -> Result<Statuses, E> {
                u16::try_from(status)
                    .ok()
                    .filter(|status| (100..600).contains(status))
                    .map(|status| Statuses(vec![status]))
                    .ok_or_else(|| E::custom(format!("{status} is not an HTTP status")))
            }

            fn visit_i64<E: serde::de::Error>(self, status: i64) -> Result<Statuses, E> {
                self.visit_u64(u64::try_from(status).unwrap_or_default())
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Statuses, A::Error> {
                let mut statuses = Vec::new();
                while let Some(status) = seq.next_element()? {
                    statuses.push(status);
                }
                Ok(Statuses(statuses))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// What the engine does about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Send it again after a while, a few times.
    Retry,
    /// Get a new token once and send it again; refused again, the credential is bad.
    Reauth,
    /// The credential is bad: fail the run without another try.
    Refuse,
    /// Leave this stream out, with a warning; the rest of the run goes on.
    SkipStream,
    /// A page without records.
    EmptyPage,
    /// The position is no longer known to the service: read the window from its start, once.
    RestartWindow,
    /// The window holds too much for the service: read its first half, then go on to its end in windows as long.
    HalveWindow,
    /// The service makes no job of this: read plain pages instead. Only among the rules of `job.create`.
    SkipJob,
    /// Stop the stream with an error.
    FailStream,
    /// Stop the run now; a later one goes on where this one stood.
    Defer,
}

/// A small call that proves the credential and tells whose it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) get: Template,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// Paths in the answer and what must stand there, so that another account's credential is noticed.
    #[serde(default)]
    pub(crate) expect: Ordered<Template>,
    pub(crate) hint: Option<String>,
    pub(crate) scope: Option<Visible>,
}

/// A call that lists what the credential may see. Asked before a full read marks as deleted what it missed: what a credential
/// no longer sees is not gone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Visible {
    pub(crate) get: Template,
    #[serde(default)]
    pub(crate) query: Ordered<Template>,
    /// Where the list is in the answer.
    pub(crate) items: Path,
    /// Where the id of an item is.
    #[serde(default)]
    pub(crate) key: Path,
}

/// One remote collection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stream {
    pub(crate) title: Option<String>,
    /// The entity this stream feeds.
    pub(crate) entity: Option<Entity>,
    /// Words of the stream's own, for the slots of reads that several streams share.
    #[serde(default)]
    pub(crate) vars: BTreeMap<String, String>,
    /// Friendly names for paths in the raw record.
    #[serde(default)]
    pub(crate) fields: Ordered<Path>,
    /// Where sources that `fields` does not name are looked for; `{fields}` then lists what is asked for below it.
    #[serde(default)]
    pub(crate) fields_at: Path,
    /// Where a record's unique id is; several paths where only together they are unique.
    pub(crate) key: Key,
    /// Where the records of a page are.
    pub(crate) records: Path,
    pub(crate) full: Read,
    /// How a large full read is made instead.
    pub(crate) job: Option<Job>,
    pub(crate) changes: Option<Read>,
    pub(crate) cursor: Option<Cursor>,
    /// How often it is read at most: an earlier sync leaves it out, unless it asks for this stream or for everything.
    pub(crate) every: Option<Length>,
    pub(crate) detail: Option<Detail>,
    pub(crate) each: Option<Each>,
    #[serde(default)]
    pub(crate) deletes: Deletes,
    #[serde(default)]
    pub(crate) errors: Vec<ErrorRule>,
    /// What is not publicly documented about this stream.
    pub(crate) unverified: Option<String>,
}
