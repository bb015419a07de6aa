//! `key status`: where the master key comes from, which keys the database knows, and what each of them wraps.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::config::KeySource;
use crate::error::{Exit, UserError};
use crate::output::{Cell, Look, State, block, instant, instant_or_null};
use crate::secrets::KeyId;
use crate::session::Session;
use crate::store::keys::{self, Registered};
use crate::store::{Connection, audit};

/// Show where the master key comes from, and which keys the database knows
///
/// Works without any key, and says what is wrong with one that is given. No key is shown, only ids.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl key status\n  skillsctl key status --json")]
pub(crate) struct StatusArgs {}

#[derive(Debug, Serialize)]
struct Status {
    /// Whether the key in force is at hand.
    ready: bool,
    sources: Vec<Source>,
    keys: Vec<Known>,
    retired: Vec<Retired>,
}

/// A place that a key at hand comes from.
#[derive(Debug, Serialize)]
struct Source {
    /// `current` or `previous`.
    role: &'static str,
    /// The place, and who named it; null where none is given.
    source: Option<String>,
    key_id: Option<String>,
    /// `in_force`, `replaced`, or `unknown` to this database; null where it cannot be read.
    state: Option<&'static str>,
    problem: Option<String>,
}

/// A master key that the database knows.
#[derive(Debug, Serialize)]
struct Known {
    key_id: String,
    /// `in_force` or `replaced`.
    state: &'static str,
    #[serde(serialize_with = "instant")]
    since: DateTime<Utc>,
    #[serde(serialize_with = "instant_or_null")]
    replaced_at: Option<DateTime<Utc>>,
    /// How many keys it wraps: data keys, and those that open deposits.
    wraps: usize,
    at_hand: bool,
}

#[derive(Debug, Serialize)]
struct Retired {
    key_id: String,
    #[serde(serialize_with = "instant")]
    at: DateTime<Utc>,
}

pub(crate) fn run(_args: &StatusArgs, session: &Session) -> Result<Exit> {
    let store = session.look()?;
    let registered = keys::master_keys(store.read())?;
    let current = KeySource::resolve(&session.key_flags, &session.environment).map(Some);
    let mut sources = vec![source("current", current, &registered, session)];
    let previous = KeySource::previous(&session.environment);
    if !matches!(previous, Ok(None)) {
        sources.push(source("previous", previous, &registered, session));
    }
    let keys = known(store.read(), &registered, &sources)?;
    let status = Status {
        ready: keys.iter().any(|key| key.at_hand && key.replaced_at.is_none()),
        sources,
        keys,
        retired: retired(store.read(), &registered)?,
    };
    session.output.one("KeyStatus", &status, |look| drawn(&status, look))?;
    Ok(Exit::Done)
}

/// Reads the key of a source, and says how it stands.
fn source(
    role: &'static str,
    source: Result<Option<KeySource>, UserError>,
    registered: &[Registered],
    session: &Session,
) -> Source {
    let (place, key) = match source {
        Ok(Some(source)) => (Some(source.to_string()), source.load(&session.environment).map(|key| key.id())),
        Ok(None) => (None, Err(UserError::new(Exit::Key, "key_missing", "none is given"))),
        Err(error) => (None, Err(error)),
    };
    Source {
        role,
        source: place,
        key_id: key.as_ref().ok().map(ToString::to_string),
        state: key.as_ref().ok().map(|id| state(*id, registered)),
        problem: key.err().map(|error| error.message),
    }
}

fn state(id: KeyId, registered: &[Registered]) -> &'static str {
    match registered.iter().find(|key| key.id == id) {
        Some(key) if key.replaced_at.is_none() => "in_force",
        Some(_) => "replaced",
        None => "unknown",
    }
}

fn known(connection: &Connection, registered: &[Registered], sources: &[Source]) -> Result<Vec<Known>> {
    let wraps = keys::wrapped_by(connection)?;
    let known = registered.iter().map(|key| {
        let id = key.id.to_string();
        Known {
            state: state(key.id, registered),
            since: key.created_at,
            replaced_at: key.replaced_at,
            wraps: wraps.get(&id).copied().unwrap_or_default(),
            at_hand: sources.iter().any(|source| source.key_id.as_ref() == Some(&id)),
            key_id: id,
        }
    });
    Ok(known.collect())
}

/// Returns which keys were retired, and when: the last time for one that has been back.
fn retired(connection: &Connection, registered: &[Registered]) -> Result<Vec<Retired>> {
    let last: BTreeMap<String, DateTime<Utc>> =
        audit::subjects(connection, "key retire")?.into_iter().map(|(at, subject)| (subject, at)).collect();
    let is_back = |id: &String| registered.iter().any(|key| key.id.to_string() == *id);
    let gone = last.into_iter().filter(|(id, _)| !is_back(id));
    Ok(gone.map(|(key_id, at)| Retired { key_id, at }).collect())
}

fn drawn(status: &Status, look: &Look) -> String {
    let sources = status.sources.iter().map(|source| {
        let place = source.source.as_deref().unwrap_or("nowhere");
        let state = match source.state {
            Some("in_force") => Cell::state(State::Ok, "in force"),
            Some(state) => Cell::state(State::Failed, state),
            None => Cell::state(State::Failed, source.problem.as_deref().unwrap_or("cannot be read")),
        };
        vec![Cell::text(source.role), Cell::text(place), Cell::text_or_empty(source.key_id.as_ref()), state]
    });
    let keys = status.keys.iter().map(|key| {
        let state = match key.replaced_at {
            Some(at) => format!("replaced {}, `skillsctl key retire {}`", look.time(at), key.key_id),
            None => format!("in force since {}", look.time(key.since)),
        };
        let at_hand = if key.at_hand { "at hand" } else { "not at hand" };
        let wraps = format!("wraps {} keys", key.wraps);
        [key.key_id.clone(), state, wraps, at_hand.to_owned()].map(Cell::text).to_vec()
    });
    let retired = status.retired.iter().map(|key| vec![Cell::text(&key.key_id), Cell::time(key.at)]);
    let mut text = format!("{}\n{}", look.bold("Keys at hand"), block(&sources.collect::<Vec<_>>(), 2, look));
    text += &format!("{}\n{}", look.bold("Keys of this database"), block(&keys.collect::<Vec<_>>(), 2, look));
    if !status.retired.is_empty() {
        text += &format!("{}\n{}", look.bold("Retired"), block(&retired.collect::<Vec<_>>(), 2, look));
    }
    text
}
