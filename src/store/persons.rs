//! One person of an organization: all that is held, wherever it stands, and taking it out.

use std::collections::BTreeSet;

use anyhow::Result;
use rusqlite::{Connection, named_params};

use super::{quarantine, runs, state, text};
use crate::domain::names::Name;
use crate::domain::person::{self, By, Known};
use crate::error::{Exit, UserError};
use crate::mutants;

/// All that is held of one person.
#[derive(Debug, Default)]
pub(crate) struct Person {
    /// Rows of learners, each with by what it was found.
    pub(crate) rows: Vec<(Known, By)>,
    /// Numbers of records in quarantine.
    pub(crate) quarantined: Vec<i64>,
    /// What runs said that names the person.
    pub(crate) mentions: Vec<Mention>,
    /// The keys at providers, those of records in quarantine too.
    pub(crate) keys: BTreeSet<(Name, String)>,
    /// Texts that name the person, the longest first.
    words: Vec<String>,
    /// Rows that share the key or the e-mail address, and that may or may not be of the same person.
    pub(crate) doubtful: Vec<Known>,
}

/// A run whose texts name a person.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) run: i64,
    pub(crate) lines: Vec<String>,
}

impl Person {
    /// Returns the valid ULNs.
    pub(crate) fn ulns(&self) -> BTreeSet<&str> {
        self.rows.iter().filter_map(|(known, _)| known.valid_uln()).collect()
    }

    /// Returns whether anything is held but what runs said.
    pub(crate) fn is_held(&self) -> bool {
        !self.rows.is_empty() || !self.quarantined.is_empty()
    }
}

/// Finds a person by the key of one of its rows: what is stored, what is in quarantine, what runs said. A key that several
/// people have at several providers is an error, unless it is said which provider's is meant.
pub(crate) fn find(
    connection: &Connection,
    organization_id: i64,
    key: &str,
    provider: Option<&Name>,
) -> Result<Person> {
    let all = candidates(connection, organization_id, key)?;
    let is_meant = |of: &Name| provider.is_none_or(|provider| provider == of);
    let mut seeds = (0..all.len()).filter(|place| all[*place].key == key && is_meant(&all[*place].provider));
    let mut person = Person::default();
    if let Some(seed) = seeds.next() {
        let found = person::same_person(seed, &all);
        let others: Vec<&str> =
            seeds.filter(|place| !found.contains_key(place)).map(|at| all[at].provider.as_str()).collect();
        if !others.is_empty() {
            return Err(ambiguous(&[&[all[seed].provider.as_str()], others.as_slice()].concat()).into());
        }
        let addresses: BTreeSet<String> = found.keys().filter_map(|place| all[*place].address()).collect();
        let ulns: BTreeSet<String> = found.keys().filter_map(|at| all[*at].valid_uln().map(str::to_owned)).collect();
        for (place, known) in all.into_iter().enumerate() {
            match found.get(&place) {
                Some(by) => person.rows.push((known, *by)),
                None if known.key == key
                    || known.address().is_some_and(|own| addresses.contains(&own))
                    || known.valid_uln().is_some_and(|own| ulns.contains(own)) =>
                {
                    person.doubtful.push(known);
                }
                None => {}
            }
        }
    }
    person.keys = person.rows.iter().map(|(known, _)| (known.provider.clone(), known.key.clone())).collect();
    let of_key = quarantine::providers_of_key(connection, organization_id, key)?;
    let of_key: Vec<Name> = of_key.into_iter().filter(|of| is_meant(of)).collect();
    if person.rows.is_empty() {
        if of_key.len() > 1 {
            return Err(ambiguous(&of_key.iter().map(Name::as_str).collect::<Vec<_>>()).into());
        }
        person.keys.extend(of_key.into_iter().map(|of| (of, key.to_owned())));
    }
    let clues = clues(&person);
    let names_person = |provider: &Name, own: &str, record: &str| {
        person.keys.contains(&(provider.clone(), own.to_owned())) || names(record, &clues)
    };
    person.quarantined = quarantine::matching(connection, organization_id, names_person)?;
    person.words = words(&person, key);
    person.mentions = runs::texts(connection, organization_id)?
        .into_iter()
        .filter_map(|said| {
            let lines = said.lines().filter(|line| person::names(line, &person.words)).map(str::to_owned);
            Some(Mention { run: said.id, lines: lines.collect() }).filter(|mention| !mention.lines.is_empty())
        })
        .collect();
    Ok(person)
}

fn ambiguous(providers: &[&str]) -> UserError {
    let message = format!("several people may have this key, each at another provider: {}", providers.join(", "));
    UserError::new(Exit::Usage, "person_ambiguous", message).hint("say which with --provider")
}

/// What names the person and nobody else: valid ULNs, and e-mail addresses that are not shared.
fn clues(person: &Person) -> Vec<String> {
    let rows = || person.rows.iter().map(|(known, _)| known);
    let shared: BTreeSet<String> = person.doubtful.iter().filter_map(Known::address).collect();
    let addresses = rows().filter_map(Known::address).filter(|address| !shared.contains(address));
    rows().filter_map(Known::valid_uln).map(str::to_owned).chain(addresses).collect()
}

fn words(person: &Person, key: &str) -> Vec<String> {
    let mut words: BTreeSet<String> = person.rows.iter().flat_map(|(known, _)| known.words()).collect();
    words.insert(key.to_owned());
    let mut words: Vec<String> = words.into_iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
}

/// Returns whether a record as it came names a person, also where it writes characters as escapes.
fn names(record: &str, clues: &[String]) -> bool {
    let unescaped =
        || crate::domain::json::document(record).is_ok_and(|value| person::names(&value.to_string(), clues));
    person::names(record, clues) || (record.contains("\\u") && unescaped())
}

/// Returns the rows that have the key, and those that share a valid ULN or an e-mail address with any of them, and so on.
fn candidates(connection: &Connection, organization_id: i64, key: &str) -> Result<Vec<Known>> {
    let mut all = known(connection, organization_id, key, &[])?;
    loop {
        let next = known(connection, organization_id, key, &all)?;
        if next.len() == all.len() {
            return Ok(next);
        }
        all = next;
    }
}

fn known(connection: &Connection, organization_id: i64, key: &str, like: &[Known]) -> Result<Vec<Known>> {
    let ulns: BTreeSet<&str> = like.iter().filter_map(Known::valid_uln).collect();
    let addresses: BTreeSet<String> = like.iter().filter_map(Known::address).collect();
    let ids: BTreeSet<i64> = like.iter().flat_map(|row| [Some(row.id), row.linked_to]).flatten().collect();
    let mut statement = connection.prepare(
        "SELECT l.id, p.slug AS provider, l.external_key, l.external_id, l.uln, l.email, l.phone, l.first_name, l.last_name,
                l.linked_to, l.dormant = 1 AND l.settled = 1 AND l.linked_to IS NULL AS apart
         FROM learners l JOIN integration_providers p ON p.id = l.provider_id
         WHERE l.organization_id = :organization
           AND (l.external_key = :key OR l.uln IN (SELECT value FROM json_each(:ulns))
                OR l.id IN (SELECT value FROM json_each(:ids)) OR l.linked_to IN (SELECT value FROM json_each(:ids))
                OR lower(trim(l.email)) IN (SELECT value FROM json_each(:addresses))
                -- What SQLite cannot put in lower case is compared below.
                OR l.email GLOB '*[^ -~]*')
         ORDER BY l.id",
    )?;
    let parameters = named_params! {
        ":organization": organization_id, ":key": key, ":ulns": serde_json::to_string(&ulns)?,
        ":addresses": serde_json::to_string(&addresses)?, ":ids": serde_json::to_string(&ids)?,
    };
    let rows = statement.query_map(parameters, |row| {
        Ok(Known {
            id: row.get("id")?,
            provider: text::parsed(row, "provider")?,
            key: row.get("external_key")?,
            external_id: row.get("external_id")?,
            uln: row.get("uln")?,
            email: row.get("email")?,
            phone: row.get("phone")?,
            first_name: row.get("first_name")?,
            last_name: row.get("last_name")?,
            linked_to: row.get("linked_to")?,
            apart: row.get("apart")?,
        })
    })?;
    let mut rows = rows.collect::<rusqlite::Result<Vec<Known>>>()?;
    rows.retain(|row| {
        let linked = ids.contains(&row.id) || row.linked_to.is_some_and(|id| ids.contains(&id));
        let shares = row.uln.as_deref().is_some_and(|uln| ulns.contains(uln))
            || row.address().is_some_and(|own| addresses.contains(&own));
        row.key == key || linked || shares
    });
    Ok(rows)
}

/// Takes a person out of all that is held: rows, quarantine, what runs said, and places in reads that may name the last
/// record read, so that these begin again.
pub(crate) fn erase(tx: &Connection, organization_id: i64, person: &Person) -> Result<()> {
    for (known, _) in &person.rows {
        tx.execute("DELETE FROM learners WHERE id = ?1", [known.id])?;
    }
    for id in &person.quarantined {
        quarantine::delete(tx, *id)?;
    }
    for said in runs::texts(tx, organization_id)? {
        if let Some(said) = said.changed(|line| person::without(line, &person.words)) {
            runs::say(tx, &said)?;
        }
    }
    state::begin_again(tx, organization_id)?;
    mutants::point("erase written");
    Ok(())
}
