//! `record`: the learners and employers that are stored, and records that could not be. They are personal data: shown on
//! stdout, and nowhere else.

mod erase;
mod export_person;
mod link;
mod quarantine;

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::value::RawValue;

use crate::domain::entity::Entity;
use crate::error::{Exit, UserError};
use crate::output::{ALWAYS, Cell, Column, Heading, Look, State, pairs, plain};
use crate::session::Session;
use crate::store::listing::{self, Field, Listing, Row, Wanted};
use crate::store::{organizations, providers};

/// List and show the learners and employers that are stored, look after records that could not be, link what is of one person, and erase persons
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(ListArgs),
    Show(ShowArgs),
    Quarantine(quarantine::QuarantineArgs),
    Erase(erase::EraseArgs),
    Erasures(erase::ErasuresArgs),
    ExportPerson(export_person::ExportArgs),
    Link(link::LinkArgs),
    Unlink(link::UnlinkArgs),
}

/// A kind of record, by either of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    #[value(alias = "learner")]
    Learners,
    #[value(alias = "employer")]
    Employers,
}

impl Which {
    fn entity(self) -> Entity {
        match self {
            Which::Learners => Entity::Learner,
            Which::Employers => Entity::Employer,
        }
    }
}

/// List the learners or employers of an organization, by provider and key
///
/// They are read and written piece by piece, so that a million of them need no memory. What is written meanwhile may be in the list
/// or not, no row is in it twice.
///
/// Columns of learners: external_id, uln, first_name, last_name, email, phone, date_of_birth, programme, status, start,
/// planned_end, completion, progress, employer_id. Of employers: crm_id, name, domain, phone, address, contact_name,
/// contact_email, account_manager. All other fields are in `custom`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record list acme learners\n  skillsctl record list acme employers --limit 1000000 -o csv > employers.csv\n  skillsctl record list acme learners --after 10421\n  skillsctl record list acme learners --fields external_id,programme,completion"
)]
struct ListArgs {
    /// Slug of the organization
    org: String,
    /// What to list
    #[arg(value_enum)]
    which: Which,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind the one of this key: KEY, or PROVIDER/KEY where several have it
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// Of this provider only
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// List what is deleted or kept out by filters too
    #[arg(long)]
    all: bool,
}

/// Show one learner or employer with all its fields
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl record show acme learner 10421\n  skillsctl record show acme employer 5501 --provider hubspot --json"
)]
struct ShowArgs {
    /// Slug of the organization
    org: String,
    /// What it is
    #[arg(value_enum)]
    which: Which,
    /// Its key at the provider
    key: String,
    /// Slug of the provider, where several have the key
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
}

pub(crate) fn run(args: RecordArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list(&args, session),
        Verb::Show(args) => show(&args, session),
        Verb::Quarantine(args) => quarantine::run(args, session),
        Verb::Erase(args) => erase::run(&args, session),
        Verb::Erasures(args) => erase::list(&args, session),
        Verb::ExportPerson(args) => export_person::run(&args, session),
        Verb::Link(args) => link::link(&args, session),
        Verb::Unlink(args) => link::unlink(&args, session),
    }
}

fn list(args: &ListArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    if let Some(provider) = &args.provider {
        providers::by_slug(store.read(), provider)?;
    }
    let entity = args.which.entity();
    let wanted = Wanted { with_gone: args.all, provider: args.provider.as_deref(), after: args.after.as_deref() };
    let mut listing = Listing::begin(store.read(), organization.id, entity, &wanted)?;
    let (mut left, more) = (usize::try_from(args.limit)?, std::cell::Cell::new(false));
    let pieces = std::iter::from_fn(|| {
        // Behind the last row that is shown, one more tells whether there are any.
        let piece = listing.next(store.read(), left.max(1));
        let count = piece.as_ref().map_or(0, Vec::len);
        if left == 0 && count > 0 {
            more.set(true);
            return None;
        }
        left -= count;
        (count > 0 || piece.is_err()).then_some(piece)
    });
    // A key is personal data, so the message does without it.
    let warnings = || match more.get() {
        true => vec![format!(
            "there are more than {} {}; `--after KEY` with the last key goes on behind it, --limit shows more",
            args.limit,
            entity.table()
        )],
        false => Vec::new(),
    };
    let heading = Heading {
        kind: if entity == Entity::Learner { "LearnerList" } else { "EmployerList" },
        name: |row: &Row| row.external_key.clone(),
        empty: "none; `skillsctl sync ORG` reads them",
    };
    match entity {
        Entity::Learner => session.output.stream(&heading, learner_columns(), pieces, warnings)?,
        Entity::Employer => session.output.stream(&heading, employer_columns(), pieces, warnings)?,
    }
    Ok(Exit::Done)
}

fn learner_columns() -> [Column<Row>; 9] {
    [
        Column { header: "key", priority: ALWAYS, cell: |row, _| Cell::text(&row.external_key) },
        Column { header: "provider", priority: 3, cell: |row, _| Cell::text(&row.provider) },
        Column { header: "first name", priority: 8, cell: |row, _| field(row, "first_name") },
        Column { header: "last name", priority: 9, cell: |row, _| field(row, "last_name") },
        Column { header: "email", priority: 5, cell: |row, _| field(row, "email") },
        Column { header: "programme", priority: 7, cell: |row, _| field(row, "programme") },
        Column { header: "status", priority: 6, cell: |row, _| field(row, "status") },
        Column { header: "completion", priority: 4, cell: |row, _| field(row, "completion") },
        Column { header: "kept", priority: 2, cell: |row, _| kept(row) },
    ]
}

fn employer_columns() -> [Column<Row>; 8] {
    [
        Column { header: "key", priority: ALWAYS, cell: |row, _| Cell::text(&row.external_key) },
        Column { header: "provider", priority: 3, cell: |row, _| Cell::text(&row.provider) },
        Column { header: "name", priority: 9, cell: |row, _| field(row, "name") },
        Column { header: "domain", priority: 4, cell: |row, _| field(row, "domain") },
        Column { header: "contact", priority: 7, cell: |row, _| field(row, "contact_name") },
        Column { header: "email", priority: 5, cell: |row, _| field(row, "contact_email") },
        Column { header: "account manager", priority: 6, cell: |row, _| field(row, "account_manager") },
        Column { header: "kept", priority: 2, cell: |row, _| kept(row) },
    ]
}

fn field(row: &Row, name: &str) -> Cell {
    cell(row.field(name))
}

fn cell(field: &Field) -> Cell {
    match field {
        Field::Null => Cell::Empty,
        Field::Text(text) | Field::Json(text) => Cell::text(text),
    }
}

/// Returns whether a row is part of the current set, and if not, why.
fn kept(row: &Row) -> Cell {
    match row {
        Row { deleted_at: Some(_), .. } => Cell::state(State::Failed, "deleted"),
        Row { in_scope: false, .. } => Cell::state(State::Doubtful, "out of scope"),
        Row { linked: true, .. } => Cell::state(State::Neutral, "linked"),
        Row { dormant: true, .. } => Cell::state(State::Neutral, "dormant"),
        _ => Cell::state(State::Ok, "current"),
    }
}

fn show(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let entity = args.which.entity();
    let mut rows = listing::of_key(store.read(), organization.id, entity, &args.key)?;
    rows.retain(|row| args.provider.as_ref().is_none_or(|provider| row.provider == *provider));
    // The key is personal data, so the messages do without it.
    let row = match rows.as_slice() {
        [row] => row,
        [] => {
            let message = format!("`{}` has no {entity} with this key", organization.slug);
            return Err(UserError::new(Exit::NotFound, "record_not_found", message)
                .hint(format!(
                    "`skillsctl record list {} {} --all` shows what there is",
                    organization.slug,
                    entity.table()
                ))
                .into());
        }
        several => {
            let names: Vec<&str> = several.iter().map(|row| row.provider.as_str()).collect();
            let message = format!("several providers have a {entity} with this key: {}", names.join(", "));
            return Err(UserError::new(Exit::Usage, "record_ambiguous", message)
                .hint("say which with --provider")
                .into());
        }
    };
    let kind = if entity == Entity::Learner { "Learner" } else { "Employer" };
    session.output.one(kind, row, |look| text(row, look))?;
    Ok(Exit::Done)
}

fn text(row: &Row, look: &Look) -> String {
    let custom: BTreeMap<String, Box<RawValue>> = match row.field("custom") {
        Field::Json(json) => serde_json::from_str(json).unwrap_or_default(),
        Field::Null | Field::Text(_) => BTreeMap::new(),
    };
    let typed = row.fields.iter().filter(|(name, field)| *name != "custom" && *field != Field::Null);
    let own = custom.iter().map(|(name, value)| {
        (name.as_str(), if value.get() == "null" { Cell::Empty } else { Cell::text(plain(value)) })
    });
    let mut lines =
        vec![("key", Cell::text(&row.external_key)), ("provider", Cell::text(&row.provider)), ("kept", kept(row))];
    lines.extend(typed.map(|(name, field)| (*name, cell(field))));
    lines.extend(own);
    let time = |text: &str| text.parse().map_or_else(|_| Cell::text(text), Cell::Time);
    lines.push(("first seen", time(&row.first_seen_at)));
    lines.push(("changed", time(&row.changed_at)));
    if let Some(deleted) = &row.deleted_at {
        lines.push(("deleted", time(deleted)));
    }
    pairs(&lines, look)
}
