//! `provider lint`: everything that is wrong with a manifest, found without a network.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::source::Source;
use crate::domain::manifest;
use crate::error::{Exit, UserError};
use crate::session::Session;

/// Check manifests without calling anybody: every finding with file, line and column
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl provider lint examples/providers/larkfield.yaml\n  skillsctl provider lint providers/*.yaml --json"
)]
pub(super) struct LintArgs {
    /// Files of manifests; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    file: String,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    line: Option<u32>,
    column: Option<u32>,
    code: &'static str,
    message: String,
    #[serde(skip)]
    shown: String,
}

pub(super) fn run(args: &LintArgs, session: &Session) -> Result<Exit> {
    let mut files = Vec::new();
    for file in &args.files {
        let findings = manifest::check(file, &Source { file: file.clone() }.read()?).into_iter().map(finding).collect();
        files.push(File { file: file.clone(), findings });
    }
    let count: usize = files.iter().map(|file| file.findings.len()).sum();
    let report = Report { valid: count == 0, files };
    session.output.one("ManifestLint", &report, |look| {
        let mut text = String::new();
        for file in &report.files {
            match file.findings.as_slice() {
                [] => text += &format!("{}: {}\n", file.file, look.ok("no findings")),
                findings => text.extend(findings.iter().map(|finding| format!("{}\n", finding.shown))),
            }
        }
        text
    })?;
    if report.valid {
        return Ok(Exit::Done);
    }
    let wrong = report.files.iter().filter(|file| !file.findings.is_empty()).count();
    let message = format!("{} in {}", plural(count, "finding"), plural(wrong, "file"));
    Err(UserError::new(Exit::Invalid, "manifest_invalid", message).hint("put them right before `provider add`").into())
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Returns an error about a file as a finding; for programs without the place, which has its own fields, and the excerpt.
fn finding(error: UserError) -> Finding {
    let first = error.message.lines().next().unwrap_or_default();
    let message = match &error.place {
        Some(place) => {
            let prefix = format!("{}:{}:{}: ", place.file, place.line, place.column);
            first.strip_prefix(&prefix).unwrap_or(first).to_owned()
        }
        None => first.to_owned(),
    };
    let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    Finding {
        line: error.place.as_ref().map(|place| place.line),
        column: error.place.as_ref().map(|place| place.column),
        code: error.code,
        shown: format!("{}{hint}", error.message),
        message,
    }
}
