//! `doctor`: whether this installation is safe and works, and what to do where it is not.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::doctor::{self, Finding, Ground, Verdict};
use crate::error::Exit;
use crate::output::{Cell, State, block};
use crate::session::Session;

/// Check that this installation is safe and works
///
/// Looks at the process, the master key, the database and its files, backups, the clock, and whether syncs run. Nothing is
/// written, and no master key is needed. Only what fails makes it end with an error; see `--strict`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl doctor\n  skillsctl doctor --strict --quiet\n  skillsctl doctor --json --fields ok,findings"
)]
pub(crate) struct DoctorArgs {
    /// End with exit code 3 where something is not as it should be, though it works
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Serialize)]
struct Examined {
    /// Whether nothing fails.
    ok: bool,
    warnings: usize,
    failures: usize,
    findings: Vec<Finding>,
}

pub(crate) fn run(args: &DoctorArgs, session: &Session) -> Result<Exit> {
    let path = session.paths()?.db;
    let store = session.look();
    let findings = doctor::examine(&Ground {
        environment: &session.environment,
        key_flags: &session.key_flags,
        path: &path,
        store: store.as_ref(),
        unlock: &|store| session.vault(store),
        now: session.now,
    });
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
    let failed = findings.iter().find(|finding| finding.verdict == Verdict::Fail).map(|finding| finding.exit);
    let examined = Examined { ok: failures == 0, warnings, failures, findings };
    session.output.one("Doctor", &examined, |look| {
        let rows: Vec<Vec<Cell>> = examined.findings.iter().map(row).collect();
        let advice: Vec<Vec<Cell>> = examined.findings.iter().filter_map(advice).collect();
        let mut text = block(&rows, 0, look);
        if !advice.is_empty() {
            text += &format!("\nWhat to do\n{}", block(&advice, 2, look));
        }
        text
    })?;
    Ok(match failed {
        Some(exit) => exit,
        None if args.strict && warnings > 0 => Exit::Partial,
        None => Exit::Done,
    })
}

fn row(finding: &Finding) -> Vec<Cell> {
    let verdict = match finding.verdict {
        Verdict::Ok => Cell::state(State::Ok, "ok"),
        Verdict::Warn => Cell::state(State::Doubtful, "warn"),
        Verdict::Fail => Cell::state(State::Failed, "fail"),
    };
    vec![verdict, Cell::text(finding.check), Cell::text(&finding.message)]
}

fn advice(finding: &Finding) -> Option<Vec<Cell>> {
    Some(vec![Cell::text(finding.check), Cell::text(finding.hint.as_deref()?)])
}
