//! `sync`: runs providers of organizations, one by name or all that are due.

mod request;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::retention;
use crate::domain::duration::Length;
use crate::domain::moment::{Moment, Range};
use crate::domain::names::{Name, Slug};
use crate::error::{Exit, UserError};
use crate::lookup;
use crate::output::{Format, Line, Look, Progress, thousands};
use crate::session::Session;
use crate::stop::Stop;
use crate::store::organizations::{self, Status};
use crate::store::providers;
use crate::store::runs::{Tally, Trigger};
use crate::store::{Keep, Store};
use crate::sync::due::{self, Due, Wanted};
use crate::sync::{self, Engine, Event, Options, Report, RunReport};

/// Sync organizations: one by name, or with --all everything that is due
///
/// A named organization is synced now, whatever its schedule says. `--all` is the line for cron: it runs what is due of every
/// active organization, what has waited longest first, prints one summary line, and lists what failed with the command to
/// look closer. A provider that is slow or does not answer keeps nobody else waiting.
///
/// With --from, what changed in a range of time is read once more, beside the ordinary syncs: they go on where they are.
/// Nothing is taken for deleted but what the provider says is. A date is its first moment in UTC.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  skillsctl sync acme
  skillsctl sync acme --provider aptem --full
  skillsctl sync acme --from 2026-11-01 --to 2026-11-08
  skillsctl sync acme --stream learners --from 30d
  skillsctl sync --all --jobs 8 --max-runtime 50m
  skillsctl sync acme --dry-run --json")]
pub(crate) struct SyncArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Organizations to sync now
    #[arg(value_name = "ORG", required_unless_present = "all", conflicts_with = "all")]
    organizations: Vec<Slug>,
    /// Sync what is due of every active organization
    #[arg(long)]
    all: bool,
    /// This provider only
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Name>,
    /// This stream only
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// With --all: whether due or not
    #[arg(long, requires = "all")]
    force: bool,
    /// Read everything again, not only what changed
    #[arg(long)]
    full: bool,
    /// Read once more what changed since this date, time, or length of time ago
    #[arg(long, value_name = "T", conflicts_with_all = ["all", "full"])]
    from: Option<Moment>,
    /// With --from: up to this date, time, or length of time ago; now if not given
    #[arg(long, value_name = "T", requires = "from")]
    to: Option<Moment>,
    /// Begin nothing after this time, like 50m, and end what is under way at its next page
    #[arg(long, value_name = "DURATION")]
    max_runtime: Option<Length>,
    /// Organizations to work on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256), env = "SKILLSCTL_JOBS")]
    jobs: u16,
    /// Mark rows as deleted even if more than a fifth of them is gone; for one organization, named once more
    #[arg(long, conflicts_with = "all")]
    allow_mass_delete: bool,
    /// With --allow-mass-delete: the organization whose rows may be marked, instead of typing it
    #[arg(long, value_name = "ORG", requires = "allow_mass_delete")]
    confirm: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Request(request::RequestArgs),
}

/// The end of a sync as scripts see it.
#[derive(Serialize)]
struct Summary<'a> {
    kind: &'static str,
    v: u8,
    started_at: String,
    duration_ms: u64,
    dry_run: bool,
    ok: usize,
    partial: usize,
    failed: usize,
    deferred: usize,
    interrupted: usize,
    already_running: usize,
    already_run: usize,
    not_begun: usize,
    total: Tally,
    runs: &'a [RunReport],
}

pub(crate) fn run(args: &SyncArgs, session: &Session) -> Result<Exit> {
    if let Some(Verb::Request(args)) = &args.verb {
        return request::run(args, session);
    }
    let began = Instant::now();
    let backfill = backfill(args, session)?;
    let mut store = session.store()?;
    let wanted = wanted(args, session, &store)?;
    confirm(args, session)?;
    if wanted.is_empty() {
        if args.all {
            retention::daily(session, &mut store, &AtomicBool::new(false));
        }
        return finish(session, &Report { runs: Vec::new(), not_begun: 0 }, began, args.all);
    }
    let vault = session.vault(&store)?;
    if let Err(forged) = vault.prove_sealing_keys(store.read()) {
        session.output.warn(format!("{forged:#}: see `skillsctl credential sealing-key show`"));
    }
    let stop = Stop::watch()?;
    let drawn = Drawn::new(session.output.progress());
    let options = Options {
        trigger: if args.all { Trigger::Schedule } else { Trigger::Manual },
        stream: args.stream.clone(),
        full: args.full,
        keep: session.keep,
        backfill,
        jobs: usize::from(args.jobs),
        until: args.max_runtime.map(|length| began + length.std()),
        allow_mass_delete: args.allow_mass_delete,
        actor: session.actor.clone(),
    };
    let watch = |event: &Event<'_>| drawn.show(event);
    let engine = Engine::new(store, &vault, stop.flag(), options, &watch)?;
    let report = sync::sync(&engine, &wanted)?;
    if args.all {
        retention::daily(session, &mut engine.into_store(), stop.flag());
    }
    let exit = finish(session, &report, began, args.all)?;
    Ok(stop.exit().unwrap_or(exit))
}

/// Returns the range of time to read once more, where one is asked for.
fn backfill(args: &SyncArgs, session: &Session) -> Result<Option<Range>> {
    let Some(from) = args.from else { return Ok(None) };
    let range = Range::new(from, args.to, session.now).map_err(|message| {
        UserError::new(Exit::Usage, "invalid_range", message)
            .hint("give a range that is over: `--from 2026-11-01 --to 2026-11-08`, or `--from 30d`")
    })?;
    Ok(Some(range))
}

/// Makes sure that who lets many rows be marked as deleted means this organization. `--yes` is not enough.
fn confirm(args: &SyncArgs, session: &Session) -> Result<()> {
    if !args.allow_mass_delete || session.keep == Keep::DryRun {
        return Ok(());
    }
    let [slug] = args.organizations.as_slice() else {
        let message = "`--allow-mass-delete` is for one organization at a time";
        return Err(UserError::new(Exit::Usage, "one_organization", message).hint("name one").into());
    };
    if session.output.confirm_destroy(slug.as_str(), args.confirm.as_deref())? {
        Ok(())
    } else {
        Err(super::change::declined().into())
    }
}

/// Returns what is to run.
fn wanted(args: &SyncArgs, session: &Session, store: &Store) -> Result<Vec<Due>> {
    let mut wanted = if args.all {
        due::due(store.read(), session.now, args.force)?
    } else {
        let slugs: BTreeSet<&Slug> = args.organizations.iter().collect();
        slugs.into_iter().map(|slug| named(slug, args, store)).collect::<Result<_>>()?
    };
    if let Some(only) = &args.provider {
        providers::by_slug(store.read(), only.as_str())?;
        wanted.iter_mut().for_each(|due| due.providers.retain(|wanted| wanted.provider == *only));
        wanted.retain(|due| !due.providers.is_empty());
    }
    Ok(wanted)
}

/// Returns all enabled providers of a named organization.
fn named(slug: &Slug, args: &SyncArgs, store: &Store) -> Result<Due> {
    let organization = organizations::by_slug(store.read(), slug.as_str())?;
    if organization.status == Status::Suspended {
        return Err(suspended(slug).into());
    }
    let integrations = lookup::pinned_integrations(store.read(), &organization)?;
    if let Some(only) = &args.provider {
        let integration = lookup::one_integration(store.read(), &organization, only.as_str())?;
        if !integration.settings.enabled() {
            return Err(disabled(&integration.provider.name, slug, only).into());
        }
    }
    let providers = integrations.iter().filter(|integration| integration.settings.enabled());
    let anyway = |name: &Name| Wanted { provider: name.clone(), newest_run: None };
    let providers: Vec<Wanted> = providers.map(|integration| anyway(&integration.provider.slug)).collect();
    if providers.is_empty() {
        return Err(nothing_enabled(slug).into());
    }
    Ok(Due { organization, providers })
}

fn suspended(slug: &Slug) -> UserError {
    UserError::new(Exit::Conflict, "org_suspended", format!("organization `{slug}` is suspended"))
        .hint(format!("skillsctl org resume {slug}"))
}

fn disabled(title: &str, slug: &Slug, provider: &Name) -> UserError {
    UserError::new(Exit::Conflict, "provider_disabled", format!("{title} is disabled for `{slug}`"))
        .hint(format!("skillsctl override set {slug} {provider} enabled=true"))
}

fn nothing_enabled(slug: &Slug) -> UserError {
    UserError::new(Exit::Conflict, "nothing_enabled", format!("all providers of `{slug}` are disabled"))
        .hint(format!("skillsctl override set {slug} PROVIDER enabled=true"))
}

/// Prints how it went and returns the exit code.
fn finish(session: &Session, report: &Report, began: Instant, all: bool) -> Result<Exit> {
    let count = |outcome: &str| report.runs.iter().filter(|run| run.outcome == outcome).count();
    let summary = Summary {
        kind: "SyncReport",
        v: 1,
        started_at: session.now.to_rfc3339_opts(SecondsFormat::Millis, true),
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        dry_run: session.keep == Keep::DryRun,
        ok: count("ok"),
        partial: count("partial"),
        failed: count("failed"),
        deferred: count("deferred"),
        interrupted: count("interrupted"),
        already_running: count("already_running"),
        already_run: count("already_run"),
        not_begun: report.not_begun,
        total: report.total(),
        runs: &report.runs,
    };
    match session.output.format() {
        Format::Table | Format::Name | Format::Csv => {
            for run in report.runs.iter().filter(|run| !all && run.outcome != "already_running") {
                session.output.note(told(run, &session.output.message_look()));
            }
            if all || report.runs.len() > 1 {
                session.output.note(line(&summary, if all { "due" } else { "run" }));
            }
        }
        _ => session.output.json_line(&summary)?,
    }
    for run in &report.runs {
        complain(session, run);
    }
    session.note_dry_run();
    Ok(report.exit())
}

/// Returns the summary line that cron mails.
fn line(summary: &Summary<'_>, what: &str) -> String {
    let mut parts = Vec::new();
    for (number, word) in [
        (summary.ok, "ok"),
        (summary.partial, "partial"),
        (summary.failed, "failed"),
        (summary.deferred, "deferred"),
        (summary.interrupted, "interrupted"),
        (summary.already_running, "already running"),
        (summary.already_run, "already run"),
        (summary.not_begun, "not begun"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let at = &summary.started_at[..19];
    if parts.is_empty() {
        return format!("{at}Z nothing due");
    }
    let reread = summary.runs.iter().filter(|run| !run.reread.is_empty()).count();
    let reread = if reread == 0 { String::new() } else { format!("; {reread} read in full as settings changed") };
    let seconds = summary.duration_ms / 1000;
    let number = summary.runs.len() + summary.not_begun;
    let counts = counts(&summary.total);
    format!("{at}Z {number} {what}: {}; {counts}{reread}; {seconds} s", parts.join(", "))
}

/// Returns the counts that are not zero, in words.
fn counts(tally: &Tally) -> String {
    let all = [
        (tally.inserted, "new"),
        (tally.updated, "changed"),
        (tally.adopted, "taken over"),
        (tally.deleted, "deleted"),
        (tally.filtered, "filtered"),
        (tally.quarantined, "quarantined"),
        (tally.over_cap, "over the limit"),
        (tally.erased, "of erased persons left out"),
        (tally.unchanged, "unchanged"),
    ];
    let number = |number: u64| thousands(i64::try_from(number).unwrap_or(i64::MAX));
    let told: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", number(*count))).collect();
    if told.is_empty() { "nothing new".to_owned() } else { told.join(", ") }
}

/// Returns one run as a line for a person.
fn told(run: &RunReport, look: &Look) -> String {
    let name = look.bold(&format!("{}/{}", run.organization, run.provider));
    let state = match run.outcome.as_str() {
        "ok" => look.ok("ok"),
        "partial" => look.warn("partial"),
        other => look.bad(other),
    };
    let reread = match run.reread.as_slice() {
        [] => String::new(),
        streams => format!("; {} read in full, as settings, mappings or filters have changed", streams.join(" and ")),
    };
    format!("{name}  {state}  {} in {}{reread}", counts(&run.tally), look.duration_ms(run.duration_ms))
}

/// Says on stderr what was not well with a run, and what to do about it; also under `-q`.
fn complain(session: &Session, run: &RunReport) {
    let name = format!("{}/{}", run.organization, run.provider);
    let closer = run.run.as_ref().map_or(String::new(), |id| format!("   skillsctl log show {id}"));
    if let Some(error) = &run.error {
        let hint = error.hint.as_deref().map_or(String::new(), |hint| format!("; {hint}"));
        // What a provider says of itself may end with a full stop.
        let message = error.message.trim_end_matches('.');
        session.output.warn(format!("{} {name}: {message}{hint}{closer}", run.outcome.replace('_', " ")));
    } else if run.outcome == "partial" {
        session.output.warn(format!("partial {name}: {}{closer}", counts(&run.tally)));
    } else if run.outcome == "already_running" {
        session.output.verbose(1, format!("{name} is already running"));
    }
    for doubt in &run.doubts {
        session.output.warn(format!("{name}: {doubt}"));
    }
    let others = run.warnings.iter().filter(|warning| run.error.is_none() && !run.doubts.contains(warning));
    for warning in others {
        session.output.verbose(1, format!("{name}: {warning}"));
    }
}

/// The progress lines of the pairs being worked on.
struct Drawn {
    progress: Progress,
    lines: Mutex<HashMap<String, Line>>,
}

impl Drawn {
    fn new(progress: Progress) -> Self {
        Drawn { progress, lines: Mutex::default() }
    }

    fn show(&self, event: &Event<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { organization, provider } => {
                let label = format!("{organization}/{provider}");
                lines.insert(label.clone(), self.progress.start(&label));
            }
            Event::Page { organization, provider, stream, tally } => {
                if let Some(line) = lines.get(&format!("{organization}/{provider}")) {
                    line.update(tally.pages, tally.read, stream);
                }
            }
            Event::Finished { organization, provider } => {
                if let Some(line) = lines.remove(&format!("{organization}/{provider}")) {
                    line.finish("");
                }
            }
        }
    }
}
