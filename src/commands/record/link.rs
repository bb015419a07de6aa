//! `record link` and `record unlink`: a person decides whether a learner of a former provider is one of the provider of now.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::{self, Changed};
use crate::domain::names::Name;
use crate::domain::pairing;
use crate::error::{Exit, UserError};
use crate::output::{ALWAYS, Cell, Change, Column, List};
use crate::session::Session;
use crate::store::former::{self, Linkable};
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, Store};

/// Link two rows that are of one learner, or list those that may be
///
/// When an organization moves to another provider, its learners keep their rows where they are certainly the same people: by a ULN
/// and the first name, by an e-mail address and the whole name, or by both and a part of the name, none of which anybody else has.
/// Where nobody can say, both rows are stored. This lists them, and given the keys of two it says that they are one: reports then
/// have the learner once, as the provider of now tells, known since the older row was.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record link acme\n  skillsctl record link acme B-1093 10421\n  skillsctl record link acme 10421 10421 --provider bud --dry-run"
)]
pub(super) struct LinkArgs {
    /// Slug of the organization
    org: String,
    /// The learner's key at one of the two providers, as `record list` shows it
    #[arg(requires = "other")]
    key: Option<String>,
    /// Its key at the other one
    #[arg(value_name = "KEY")]
    other: Option<String>,
    /// Slug of the former provider, where several have one of the keys
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
}

/// Take back that two rows are of one learner, or say that a row is of nobody else
///
/// The row of the former provider stands for itself again, and no sync has it taken over.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record unlink acme B-1093\n  skillsctl record unlink acme 10421 --provider bud --dry-run"
)]
pub(super) struct UnlinkArgs {
    /// Slug of the organization
    org: String,
    /// The learner's key at the former provider, or that of the row it is linked to
    key: String,
    /// Slug of the provider whose key it is, where several have it
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
}

/// Two rows that may be of one learner.
#[derive(Debug, Serialize)]
struct Undecided {
    former_provider: String,
    former_key: String,
    provider: String,
    key: String,
    /// What they have in common: `uln`, `email`, `name_and_birth`.
    common: Vec<&'static str>,
}

pub(super) fn link(args: &LinkArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let (Some(one), Some(other)) = (&args.key, &args.other) else {
        return list(&store, session, &organization);
    };
    let (old, new) = meant(store.read(), &organization, (one, other), args.provider.as_ref())?;
    if old.linked_to == Some(new.id) {
        return Changed::unchanged(session, &organization.slug).tell(session, "RecordLinked");
    }
    let mut changed = Changed::new(session, &organization.slug, "linked");
    changed.changes.push(shown(&old, None, Some(new.provider.clone())));
    changed.notes.push("reports have the learner once; `skillsctl record unlink` takes it back".to_owned());
    store.change(session.keep, |tx| {
        former::link(tx, old.id, new.id)?;
        // Keys are personal data and must not stand in the audit; the numbers of rows say nothing of anybody who was erased.
        let subject = format!("{}: learner {} to {}", organization.slug, old.id, new.id);
        change::record(tx, session, ("record link", &subject), (None, None))
    })?;
    changed.tell(session, "RecordLinked")
}

fn shown(row: &Linkable, before: Option<String>, after: Option<String>) -> Change {
    Change { path: format!("learner of {}", row.provider), before, after, note: None }
}

/// Returns the two rows that the keys name: one of a former provider, and one of the provider of now.
fn meant(
    connection: &Connection,
    organization: &Organization,
    keys: (&str, &str),
    former: Option<&Name>,
) -> Result<(Linkable, Linkable)> {
    let (ones, others) =
        (former::of_key(connection, organization.id, keys.0)?, former::of_key(connection, organization.id, keys.1)?);
    if ones.is_empty() || others.is_empty() {
        return Err(super::erase::not_found(organization).into());
    }
    let mut found: Vec<(Linkable, Linkable)> = Vec::new();
    for one in &ones {
        for other in &others {
            let (old, new) = if one.dormant { (one, other) } else { (other, one) };
            let fits = old.dormant && !new.dormant && !new.deleted;
            let is_meant = former.is_none_or(|former| former.as_str() == old.provider);
            let known = found.iter().any(|(known, now)| (known.id, now.id) == (old.id, new.id));
            if fits && is_meant && !known {
                found.push((old.clone(), new.clone()));
            }
        }
    }
    if found.len() > 1 {
        let providers: BTreeSet<&str> = found.iter().map(|(old, _)| old.provider.as_str()).collect();
        return Err(ambiguous(&providers).into());
    }
    found.pop().ok_or_else(|| {
        let message = "these are not one row of a former provider and one of a provider in force";
        UserError::new(Exit::Usage, "not_linkable", message)
            .hint(format!("`skillsctl record link {}` lists what can be linked", organization.slug))
            .into()
    })
}

fn ambiguous(providers: &BTreeSet<&str>) -> UserError {
    let providers = providers.iter().copied().collect::<Vec<_>>().join(", ");
    let message = format!("several rows may be meant, at {providers}");
    UserError::new(Exit::Usage, "record_ambiguous", message).hint("say which with --provider")
}

pub(super) fn unlink(args: &UnlinkArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let mut rows = former::of_key(store.read(), organization.id, &args.key)?;
    if rows.is_empty() {
        return Err(super::erase::not_found(&organization).into());
    }
    rows.retain(|row| args.provider.as_ref().is_none_or(|provider| provider.as_str() == row.provider));
    rows.retain(|row| row.links > 0 || row.dormant);
    // Where several have the key, the one that is linked is meant.
    if rows.iter().filter(|row| row.linked_to.is_some()).count() == 1 {
        rows.retain(|row| row.linked_to.is_some());
    }
    if rows.len() > 1 {
        return Err(ambiguous(&rows.iter().map(|row| row.provider.as_str()).collect()).into());
    }
    let Some(row) = rows.pop() else {
        let message = "no row of a former provider has this key or is linked to it";
        return Err(UserError::new(Exit::Conflict, "not_linked", message)
            .hint("what a sync took over by itself is one row, and cannot be parted")
            .into());
    };
    if row.links == 0 && row.linked_to.is_none() && row.settled {
        return Changed::unchanged(session, &organization.slug).tell(session, "RecordUnlinked");
    }
    let target = row.linked_to.map(|id| former::by_id(store.read(), id)).transpose()?.flatten();
    let outcome = if row.links > 0 || target.is_some() { "unlinked" } else { "kept_apart" };
    let mut changed = Changed::new(session, &organization.slug, outcome);
    let before =
        target.map(|target| target.provider).or_else(|| (row.links > 0).then(|| format!("{} rows", row.links)));
    changed.changes.push(shown(&row, before, Some("by itself".to_owned())));
    store.change(session.keep, |tx| {
        if row.links > 0 {
            former::unlink_all(tx, row.id)?;
        } else {
            former::unlink(tx, row.id)?;
        }
        let subject = format!("{}: learner {}", organization.slug, row.id);
        change::record(tx, session, ("record unlink", &subject), (None, None))
    })?;
    changed.tell(session, "RecordUnlinked")
}

/// Lists the rows of which nobody can say whether they are of one learner.
fn list(store: &Store, session: &Session, organization: &Organization) -> Result<Exit> {
    let sides = former::sides(store.read(), (organization.id, None), &mut std::iter::empty())?;
    let pairing = pairing::pair(&sides.stored, &sides.incoming);
    let mut rows = Vec::new();
    for (old, new) in &pairing.undecided {
        let (old, new) = (&sides.stored[*old], &sides.incoming[*new]);
        let at =
            |id| -> Result<String> { Ok(former::by_id(store.read(), id)?.map(|row| row.provider).unwrap_or_default()) };
        rows.push(Undecided {
            former_provider: at(old.id)?,
            former_key: old.key.clone(),
            provider: at(new.id)?,
            key: new.key.clone(),
            common: old.traits.common(&new.traits),
        });
    }
    let list = List {
        kind: "UndecidedList",
        items: &rows,
        warnings: Vec::new(),
        name: |row| format!("{} {}", row.former_key, row.key),
        empty: "nobody may be twice",
    };
    session.output.list(
        list,
        [
            Column { header: "former provider", priority: 2, cell: |row, _| Cell::text(&row.former_provider) },
            Column { header: "former key", priority: ALWAYS, cell: |row, _| Cell::text(&row.former_key) },
            Column { header: "provider", priority: 3, cell: |row, _| Cell::text(&row.provider) },
            Column { header: "key", priority: ALWAYS, cell: |row, _| Cell::text(&row.key) },
            Column { header: "in common", priority: 1, cell: |row, _| Cell::text(row.common.join(", ")) },
        ],
    )?;
    Ok(Exit::Done)
}
