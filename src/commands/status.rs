//! `status`: what is connected, what is not, when it was synced and when it will be, what wants looking at first.

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::org::base_domain;
use crate::domain::manifest::Kind;
use crate::domain::names::Name;
use crate::error::Exit;
use crate::output::{ALWAYS, Cell, Column, Format, List, Look, State, block, show};
use crate::overview::{self, Field, Overview, Standing};
use crate::session::Session;
use crate::store::organizations::{self, Organization};
use crate::store::runs::{Outcome, Run};
use crate::store::stamp;
use crate::sync::lock;

/// Show how the providers of an organization, or of all, stand: what fails first, then what is due
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl status\n  skillsctl status acme\n  skillsctl status --json --fields organization,provider,state"
)]
pub(crate) struct StatusArgs {
    /// Slug of the organization; all of them without it
    org: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    organization: String,
    provider: String,
    title: String,
    kind: Kind,
    state: Standing,
    last_run: Option<LastRun>,
    last_success_at: Option<String>,
    failures_in_a_row: u32,
    next_at: Option<String>,
    due: bool,
    requested_at: Option<String>,
    frequency: String,
    frequency_custom: bool,
    credentials: Vec<Field>,
    missing_credentials: Vec<Name>,
    /// The fields whose value is older than it should become.
    old_credentials: Vec<Name>,
    missing_settings: Vec<Name>,
    quarantined: u64,
    /// Why the last reads were not proved complete.
    doubts: Vec<String>,
    #[serde(skip)]
    overview: Overview,
}

#[derive(Debug, Serialize)]
struct LastRun {
    run: String,
    outcome: Outcome,
    started_at: String,
    finished_at: Option<String>,
    /// Whether the credentials in force were refused and it went on with the previous ones.
    fell_back: bool,
    error_code: Option<String>,
    error: Option<String>,
    hint: Option<String>,
}

/// The status of one organization.
#[derive(Debug, Serialize)]
struct OrgStatus<'a> {
    organization: &'a str,
    name: &'a str,
    subdomain: String,
    preset: &'a str,
    defaults_revision: u32,
    status: organizations::Status,
    providers: &'a [Row],
}

pub(crate) fn run(args: &StatusArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let one = args.org.as_deref().map(|slug| organizations::by_slug(store.read(), slug)).transpose()?;
    let wanted = match &one {
        Some(organization) => vec![organization.clone()],
        None => organizations::all(store.read(), false)?,
    };
    let is_running = |organization: &str, provider: &str| lock::is_held(store.path(), organization, provider);
    let overviews = overview::of(store.read(), wanted, session.now, &is_running)?;
    let rows: Vec<Row> = overviews.into_iter().map(row).collect();
    match one {
        Some(organization) => one_organization(&organization, &base_domain(store.read())?, &rows, session)?,
        None => all(&rows, session)?,
    }
    Ok(Exit::Done)
}

fn row(overview: Overview) -> Row {
    let last_run = overview.last_run.as_ref().map(|run| LastRun {
        run: run.id.to_string(),
        outcome: run.outcome,
        started_at: stamp(run.started_at),
        finished_at: run.finished_at.map(stamp),
        fell_back: run.fell_back,
        error_code: run.error_code.clone(),
        error: run.error.clone(),
        hint: run.hint.clone(),
    });
    Row {
        organization: overview.organization.slug.to_string(),
        provider: overview.provider.to_string(),
        title: overview.title.clone(),
        kind: overview.kind,
        state: overview.standing,
        last_run,
        last_success_at: last_sync(&overview).map(stamp),
        failures_in_a_row: overview.failures,
        // What has never run is due since ever, which is no time to show.
        next_at: overview.next.filter(|next| *next > DateTime::UNIX_EPOCH).map(stamp),
        due: overview.due,
        requested_at: overview.requested.map(stamp),
        frequency: overview.frequency.to_string(),
        frequency_custom: overview.custom_frequency,
        credentials: overview.credentials.clone(),
        missing_credentials: overview.missing_credentials.clone(),
        old_credentials: overview.old_credentials.clone(),
        missing_settings: overview.missing_settings.clone(),
        quarantined: overview.quarantined,
        doubts: overview.doubts.clone(),
        overview,
    }
}

/// Returns when data was last brought up to date.
fn last_sync(overview: &Overview) -> Option<DateTime<Utc>> {
    overview.last_success.as_ref().map(|run| run.finished_at.unwrap_or(run.started_at))
}

fn one_organization(organization: &Organization, base: &str, rows: &[Row], session: &Session) -> Result<()> {
    let status = OrgStatus {
        organization: organization.slug.as_str(),
        name: &organization.name,
        subdomain: format!("{}.{base}", organization.slug),
        preset: organization.preset.as_str(),
        defaults_revision: organization.defaults_revision,
        status: organization.status,
        providers: rows,
    };
    session.output.one("OrgStatus", &status, |look| text(organization, &status.subdomain, rows, look))?;
    Ok(())
}

fn text(organization: &Organization, subdomain: &str, rows: &[Row], look: &Look) -> String {
    let Organization { name, preset_name, defaults_revision, .. } = organization;
    let mut text =
        format!("{}   {subdomain}   preset {} (defaults {defaults_revision})\n\n", look.bold(name), show(preset_name));
    let cells = |row: &Row| {
        vec![
            Cell::text(&row.title),
            Cell::text(row.kind.as_str().to_uppercase()),
            state(row.state),
            Cell::text(last(row, look)),
            Cell::text(next(row, look)),
            Cell::text(frequency(row)),
            Cell::text(credentials(row)),
        ]
    };
    text += &block(&rows.iter().map(cells).collect::<Vec<_>>(), 2, look);
    let notes: Vec<String> = rows.iter().flat_map(|row| notes(row, look)).collect();
    if !notes.is_empty() {
        text += &format!("\n{}\n", notes.join("\n"));
    }
    text
}

/// Returns the state with the word that says it all.
fn state(standing: Standing) -> Cell {
    let (state, word) = match standing {
        Standing::Connected => (State::Ok, "connected"),
        Standing::Partial => (State::Doubtful, "connected, partly"),
        Standing::Failing => (State::Failed, "failing"),
        Standing::Interrupted => (State::Doubtful, "interrupted"),
        Standing::CredentialsMissing => (State::Failed, "credentials missing"),
        Standing::SettingsMissing => (State::Failed, "settings missing"),
        Standing::CredentialsDeposited => (State::Neutral, "credentials deposited"),
        Standing::Running => (State::Running, "running"),
        Standing::NeverSynced => (State::Neutral, "never synced"),
        Standing::Deferred => (State::Neutral, "waiting"),
        Standing::Disabled => (State::Neutral, "disabled"),
        Standing::Suspended => (State::Neutral, "suspended"),
    };
    Cell::state(state, word)
}

fn last(row: &Row, look: &Look) -> String {
    last_sync(&row.overview).map_or_else(|| "no sync yet".to_owned(), |at| format!("last sync {}", look.time(at)))
}

fn next(row: &Row, look: &Look) -> String {
    match (row.due, row.overview.next) {
        (true, _) if row.overview.requested.is_some() => "due now, on request".to_owned(),
        (true, _) => "due now".to_owned(),
        (false, Some(next)) => format!("next {}", look.time(next)),
        (false, None) => "no next".to_owned(),
    }
}

fn frequency(row: &Row) -> String {
    let origin = if row.frequency_custom { "custom" } else { "default" };
    format!("{} ({origin})", row.overview.frequency.words())
}

/// Returns the credentials as dots, or which are missing.
fn credentials(row: &Row) -> String {
    if !row.missing_credentials.is_empty() {
        let names: Vec<&str> = row.missing_credentials.iter().map(Name::as_str).collect();
        return format!("missing: {}", names.join(", "));
    }
    let told = row.credentials.iter().filter_map(|field| match (field.set, field.deposited) {
        (true, _) => Some(format!("{} ••••••••", title(field))),
        (false, true) => Some(format!("{} deposited", title(field))),
        (false, false) => None,
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Returns a credential's title as far as it fits a line, else its field's name.
fn title(field: &Field) -> String {
    let short = field.title.split(" (").next().unwrap_or_default().trim();
    if short.is_empty() || short.chars().count() > 24 {
        field.field.as_str().replace('_', " ")
    } else {
        short.to_owned()
    }
}

/// Returns what should be looked at, and the commands to look with.
fn notes(row: &Row, look: &Look) -> Vec<String> {
    let Row { organization, provider, .. } = row;
    let run = row.overview.last_run.as_ref();
    let wrong = match row.state {
        Standing::SettingsMissing => row.missing_settings.first().map(|first| {
            let names: Vec<&str> = row.missing_settings.iter().map(Name::as_str).collect();
            let what = format!("no value for {}", names.join(", "));
            (what, format!("skillsctl override set {organization} {provider} {first}=VALUE"))
        }),
        Standing::CredentialsMissing => row.missing_credentials.first().map(|first| {
            (format!("no {first}"), format!("skillsctl credential set {organization} {provider} {first}"))
        }),
        Standing::Failing | Standing::Deferred | Standing::Interrupted => run.map(|run: &Run| {
            let error = run.error.clone().unwrap_or_else(|| "the process ended before the run did".to_owned());
            (error, format!("skillsctl log show {}", run.id))
        }),
        _ => None,
    };
    let quarantined = (row.quarantined > 0).then(|| {
        let records = if row.quarantined == 1 { "record" } else { "records" };
        let command = format!("skillsctl record quarantine list {organization} --provider {provider}");
        (format!("{} {records} in quarantine", row.quarantined), command)
    });
    let fell_back = run.filter(|run| run.fell_back).map(|_| {
        let what = "the credentials in force were refused, the last sync used the previous ones".to_owned();
        (what, format!("skillsctl credential test {organization} {provider}"))
    });
    let old = row.credentials.iter().filter(|field| field.too_old).map(|field| {
        let (name, age) = (&field.field, field.age_days.unwrap_or_default());
        (format!("{name} is {age} days old"), format!("skillsctl credential rotate {organization} {provider} {name}"))
    });
    let label = format!("{provider}:");
    let label = if row.state.is_bad() { look.bad(&label) } else { look.warn(&label) };
    let doubted = row.doubts.first().map(|first| {
        let others = row.doubts.len() - 1;
        let more = if others > 0 { format!(", and {others} more") } else { String::new() };
        let closer = run.map_or_else(String::new, |run| format!("skillsctl log show {}", run.id));
        (format!("not proved complete, so the next sync reads everything: {first}{more}"), closer)
    });
    let all = wrong.into_iter().chain(fell_back).chain(doubted).chain(old).chain(quarantined);
    all.map(|(what, command)| format!("{label} {}   {command}", show(&what))).collect()
}

fn all(rows: &[Row], session: &Session) -> Result<()> {
    let list = List {
        kind: "StatusList",
        items: rows,
        warnings: Vec::new(),
        name: |row| format!("{}/{}", row.organization, row.provider),
        empty: "no organizations yet; `skillsctl org create` makes one",
    };
    session.output.list(
        list,
        [
            Column { header: "organization", priority: ALWAYS, cell: |row, _| Cell::text(&row.organization) },
            Column { header: "provider", priority: ALWAYS, cell: |row, _| Cell::text(&row.provider) },
            Column { header: "state", priority: ALWAYS, cell: |row, _| state(row.state) },
            Column { header: "last sync", priority: 5, cell: |row, _| Cell::time(last_sync(&row.overview)) },
            Column {
                header: "next",
                priority: 4,
                cell: |row, _| match row.due {
                    true => Cell::text(if row.overview.requested.is_some() { "on request" } else { "due now" }),
                    false => Cell::time(row.overview.next),
                },
            },
            Column { header: "frequency", priority: 2, cell: |row, _| Cell::text(frequency(row)) },
            Column {
                header: "quarantined",
                priority: 1,
                cell: |row, _| if row.quarantined == 0 { Cell::Empty } else { Cell::number(row.quarantined) },
            },
            Column { header: "look closer", priority: 3, cell: |row, _| Cell::text_or_empty(closer(row)) },
        ],
    )?;
    let bad = rows.iter().filter(|row| row.state.is_bad()).count();
    if bad > 0 && session.output.format() == Format::Table {
        session.output.note(format!("{bad} of {} want looking at", rows.len()));
    }
    Ok(())
}

/// Returns the command that shows more of what is not well.
fn closer(row: &Row) -> Option<String> {
    row.state.is_bad().then(|| format!("skillsctl status {}", row.organization))
}
