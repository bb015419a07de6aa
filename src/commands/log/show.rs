//! `log show`: one run, what became of its records, and what to do next.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{Shown, believed, outcome};
use crate::error::{Exit, UserError};
use crate::output::{Cell, Look, block, pairs, show};
use crate::session::Session;
use crate::store::quarantine::{self, Quarantined};
use crate::store::runs::{self, Outcome, Run, Tally};
use crate::store::stamp;

/// Show a run: its counters, warnings, error, the records it set aside, and what to do next
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl log show 1841\n  skillsctl log show 1841 --json")]
pub(super) struct ShowArgs {
    /// Number of the run
    run: String,
}

/// How many quarantined records are shown to a person, and to a program.
const SHOWN: usize = 20;
const LISTED: u32 = 1_000;

#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    run: Shown,
    /// Records that this run put into quarantine and that are still there; the first thousand are listed.
    in_quarantine: u64,
    quarantine: Vec<Aside>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Aside {
    id: String,
    stream: String,
    key: String,
    reasons: Vec<String>,
    created_at: String,
}

pub(super) fn run(args: &ShowArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let id: i64 = args.run.parse().map_err(|_| {
        UserError::new(
            Exit::Usage,
            "run_not_a_number",
            format!("`{}` is not the number of a run", args.run.escape_debug()),
        )
        .hint("`skillsctl log list` shows what there is")
    })?;
    let run = believed(runs::by_id(store.read(), id)?, &store);
    let aside = quarantine::of_run(store.read(), id, LISTED)?;
    let in_quarantine = quarantine::count_of_run(store.read(), id)?;
    let next = next(&run, in_quarantine);
    let details =
        Details { run: Shown::new(run), in_quarantine, quarantine: aside.into_iter().map(Aside::from).collect(), next };
    session.output.one("Run", &details, |look| text(&details, look))?;
    Ok(Exit::Done)
}

impl From<Quarantined> for Aside {
    fn from(record: Quarantined) -> Self {
        Aside {
            id: record.id.to_string(),
            stream: record.stream,
            key: record.key,
            reasons: record.reasons,
            created_at: stamp(record.at),
        }
    }
}

/// Returns the commands to run next.
fn next(run: &Run, in_quarantine: u64) -> Vec<String> {
    let Run { organization, provider, .. } = run;
    let sync = format!("skillsctl sync {organization} --provider {provider}");
    let mut next = Vec::new();
    match run.outcome {
        Outcome::Ok | Outcome::Running => {}
        Outcome::Interrupted | Outcome::Deferred => next.push(format!("{sync}   goes on where it stood")),
        Outcome::Partial | Outcome::Failed => {
            let refused = ["refused", "reauth", "not_allowed", "wrong_account", "not_readable", "credential", "sealed"];
            if run.error_code.as_deref().is_some_and(|code| refused.iter().any(|word| code.contains(word))) {
                next.push(format!("skillsctl credential test {organization} {provider}"));
            }
            if run.error_code.is_some() {
                next.push(format!("{sync}   once it is put right"));
            }
        }
    }
    if in_quarantine > 0 {
        next.push(format!(
            "skillsctl record quarantine list {organization} --provider {provider}   lists what is in quarantine"
        ));
        next.push(format!(
            "skillsctl override set {organization} {provider} field_mappings.TARGET=...   mends the mapping of what is in quarantine"
        ));
        next.push(format!(
            "skillsctl record quarantine replay {organization} --all --provider {provider}   stores it, once it is mended"
        ));
    }
    if run.tally.over_cap > 0 {
        next.push(format!("skillsctl org edit {organization} --max-learners N   raises the limit"));
    }
    next
}

fn text(details: &Details, look: &Look) -> String {
    let run = &details.run;
    let took = run.duration_ms.map(|took| look.duration_ms(took));
    let mut facts = vec![
        ("run", Cell::text(&run.run)),
        ("organization", Cell::text(&run.organization)),
        ("provider", Cell::text(&run.provider)),
        ("kind", Cell::text(run.run_kind.as_str())),
        ("trigger", Cell::text(run.trigger.as_str())),
        ("outcome", outcome(run.outcome)),
        ("started", Cell::time(run.started)),
        ("took", Cell::text_or_empty(took)),
    ];
    facts.extend(run.settings.as_ref().map(|settings| ("settings", Cell::text(settings))));
    if run.due.is_some() {
        facts.push(("due again", Cell::time(run.due)));
    }
    let mut text = pairs(&facts, look);
    text += &section("Counted", &block(&counters(&run.tally, look), 2, look), look);
    if let Some(error) = &run.error {
        let code = run.error_code.as_deref().unwrap_or("error");
        text += &section("Error", &format!("  {} {}\n", look.bad(&format!("{code}:")), show(error)), look);
        if let Some(hint) = &run.hint {
            text += &format!("  hint: {}\n", show(hint));
        }
    }
    let lines = |lines: &[String]| lines.iter().map(|line| format!("  {}\n", show(line))).collect::<String>();
    text += &section("Warnings", &lines(&run.warnings), look);
    text += &section("Quarantine", &aside(details, look), look);
    text + &section("Next", &lines(&details.next), look)
}

fn section(title: &str, body: &str, look: &Look) -> String {
    if body.is_empty() { String::new() } else { format!("\n{}\n{body}", look.bold(title)) }
}

/// Returns the counters that are not zero.
fn counters(tally: &Tally, look: &Look) -> Vec<Vec<Cell>> {
    let counters = [
        ("read", tally.read),
        ("inserted", tally.inserted),
        ("updated", tally.updated),
        ("unchanged", tally.unchanged),
        ("adopted", tally.adopted),
        ("deleted", tally.deleted),
        ("filtered", tally.filtered),
        ("quarantined", tally.quarantined),
        ("over cap", tally.over_cap),
        ("erased persons", tally.erased),
        ("pages", tally.pages),
        ("requests", tally.requests),
        ("retries", tally.retries),
        ("waited", tally.waited_ms),
        ("bytes", tally.bytes),
    ];
    let counted = counters.into_iter().filter(|(_, count)| *count > 0);
    counted
        .map(|(word, count)| {
            let shown = if word == "waited" { Cell::text(look.duration_ms(count)) } else { Cell::number(count) };
            vec![Cell::text(word), shown]
        })
        .collect()
}

fn aside(details: &Details, look: &Look) -> String {
    let rows: Vec<Vec<Cell>> = details
        .quarantine
        .iter()
        .take(SHOWN)
        .map(|record| {
            vec![
                Cell::text(&record.id),
                Cell::text(&record.stream),
                Cell::text(&record.key),
                Cell::text(record.reasons.join("; ")),
            ]
        })
        .collect();
    let shown = rows.len() as u64;
    let mut text = if rows.is_empty() { String::new() } else { block(&rows, 2, look) };
    if details.in_quarantine > shown {
        text +=
            &format!("  and {} more; `skillsctl record quarantine list` has them all\n", details.in_quarantine - shown);
    }
    text
}
