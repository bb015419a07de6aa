//! `db check`: whether the database is sound, and what is damaged if not.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::absolute;
use crate::error::Exit;
use crate::inspection;
use crate::output::{Cell, block};
use crate::session::Session;
use crate::store::check::{self, Finding};
use crate::store::{self, Store};

/// Check the database for damage; nothing is written
///
/// Looks at how the file hangs together, at references and schema, whether each row of settings and each sealed value
/// is as it was written, and whether settings can be read and fit. A copy is checked with `--db COPY`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl db check\n  skillsctl db check --deep\n  skillsctl db check --db /var/backups/skillsctl/monday.db --json"
)]
pub(crate) struct CheckArgs {
    /// Open every credential too, which needs the master key
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, Serialize)]
struct Checked {
    path: String,
    sound: bool,
    deep: bool,
    /// How many credentials were opened; null where that was not asked for.
    credentials_opened: Option<usize>,
    findings: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    /// What puts it right.
    hint: String,
}

pub(crate) fn run(args: &CheckArgs, session: &Session) -> Result<Exit> {
    let store = session.look()?;
    let connection = store.read();
    // A missing or wrong key is told before the long work.
    let vault = args.deep.then(|| session.vault(&store)).transpose()?;
    let mut findings = check::unsound(connection);
    findings.extend(check::damaged_rows(connection));
    let mut opened = None;
    match store::brought_up_to_date(&store) {
        Ok(newer) => {
            let connection = newer.as_ref().map_or(connection, Store::read);
            findings.extend(inspection::documents(connection));
            findings.extend(inspection::sealed(connection));
            if let Some(vault) = &vault {
                let all = inspection::open_all(connection, vault)?;
                opened = Some(all.credentials);
                findings.extend(all.closed);
            }
        }
        Err(error) => {
            let problem = format!("cannot be brought up to date: {error:#}");
            findings.push(Finding { check: check::Check::Documents, place: "database".into(), problem });
        }
    }
    let checked = Checked {
        path: absolute(store.path()),
        sound: findings.is_empty(),
        deep: args.deep,
        credentials_opened: opened,
        findings: findings.into_iter().map(|finding| Told { hint: mend(&finding), finding }).collect(),
    };
    session.output.one("DbCheck", &checked, |look| {
        if checked.sound {
            let opened = opened.map(|count| format!(", all {count} credentials open")).unwrap_or_default();
            return format!("{}: sound{opened}", checked.path);
        }
        let rows = checked.findings.iter().map(|Told { finding, hint }| {
            [finding.check.as_str(), &finding.place, &finding.problem, hint].map(Cell::text).to_vec()
        });
        format!("{}: {}\n{}", checked.path, look.bad("damaged"), block(&rows.collect::<Vec<_>>(), 2, look))
    })?;
    if checked.sound {
        return Ok(Exit::Done);
    }
    if !session.output.is_json() {
        session.output.warn("the database is damaged; bring a backup back with `skillsctl db restore FILE`");
    }
    Ok(Exit::Database)
}

/// Returns what puts a finding right.
fn mend(finding: &Finding) -> String {
    let table = finding.place.split(' ').next().unwrap_or_default();
    if table == "access_tokens" {
        return "the next sync gets another; `skillsctl credential set` of that provider takes it away".to_owned();
    }
    let anew = match (finding.check, table) {
        (check::Check::Structure | check::Check::References | check::Check::Schema, _) => None,
        (_, "organization_integration_overrides") => Some("skillsctl override edit"),
        (_, "organizations") => Some("skillsctl org edit"),
        (_, "role_grants") => Some("skillsctl role grant"),
        (_, "sealing_keys") => Some("skillsctl credential sealing-key create --rekey"),
        (_, "organization_credentials" | "data_keys" | "credential_deposits") => Some("skillsctl credential set"),
        (_, "provider_manifests" | "integration_providers") => Some("skillsctl provider add"),
        (_, "integration_preset_defaults" | "integration_presets") => Some("skillsctl preset apply"),
        _ => None,
    };
    match anew {
        Some(command) => format!("restore a backup, or set it anew with `{command}`"),
        None => "restore a backup".to_owned(),
    }
}
