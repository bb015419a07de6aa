//! `provider`: the remote systems that are known, and the manifests that describe them.

mod add;
mod lint;
mod show;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::credential::{self, TestArgs};
use crate::domain::manifest;
use crate::error::{Exit, UserError, nearest};
use crate::lookup;
use crate::output::{ALWAYS, Cell, Column, List, State};
use crate::session::Session;
use crate::store::providers;

/// Show, check and add providers
#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the providers that presets can use
    #[command(after_help = "Examples:\n  skillsctl provider list\n  skillsctl provider list --json")]
    List,
    Show(show::ShowArgs),
    Explain(ExplainArgs),
    Lint(lint::LintArgs),
    Add(add::AddArgs),
    /// Check that an organization's providers answer with its settings and credentials
    ///
    /// One small call to each provider; nothing is synced.
    #[command(
        after_help = "Examples:\n  skillsctl provider check acme\n  skillsctl provider check acme hubspot --json"
    )]
    Check(TestArgs),
}

/// Show a stream of a provider with everything resolved, and where each line comes from
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl provider explain hubspot contacts\n  skillsctl provider explain aptem learners -o yaml"
)]
struct ExplainArgs {
    /// Slug of the provider
    provider: String,
    /// Name of the stream
    stream: String,
}

pub(crate) fn run(args: ProviderArgs, session: &Session) -> Result<Exit> {
    match args.verb {
        Verb::List => list(session),
        Verb::Show(args) => show::run(&args, session),
        Verb::Explain(args) => explain(&args, session),
        Verb::Lint(args) => lint::run(&args, session),
        Verb::Add(args) => add::run(&args, session),
        Verb::Check(args) => credential::test(&args, session),
    }
}

#[derive(Debug, Serialize)]
struct Row {
    slug: String,
    title: String,
    kind: manifest::Kind,
    streams: Vec<String>,
    auth: String,
    built_in: bool,
    /// How many things about it are not publicly documented.
    unverified: usize,
}

fn list(session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let mut rows = Vec::new();
    for provider in providers::all(store.read())? {
        let manifest = lookup::manifest_of(&provider)?;
        rows.push(Row {
            slug: provider.slug.to_string(),
            title: provider.name,
            kind: provider.kind,
            streams: manifest.streams.iter().map(|(name, _)| name.clone()).collect(),
            auth: manifest.http.auth.words(),
            built_in: provider.built_in,
            unverified: manifest.unverified().len(),
        });
    }
    let list = List {
        kind: "ProviderList",
        items: &rows,
        warnings: Vec::new(),
        name: |row| row.slug.clone(),
        empty: "no providers yet; `skillsctl init` loads those that are shipped",
    };
    session.output.list(
        list,
        [
            Column { header: "slug", priority: ALWAYS, cell: |row, _| Cell::text(&row.slug) },
            Column { header: "title", priority: 5, cell: |row, _| Cell::text(&row.title) },
            Column { header: "kind", priority: 6, cell: |row, _| Cell::text(row.kind.as_str().to_uppercase()) },
            Column { header: "streams", priority: 3, cell: |row, _| Cell::text(row.streams.join(", ")) },
            Column { header: "authentication", priority: 1, cell: |row, _| Cell::text(&row.auth) },
            Column {
                header: "origin",
                priority: 2,
                cell: |row, _| Cell::text(if row.built_in { "built-in" } else { "added" }),
            },
            Column {
                header: "unverified",
                priority: 4,
                cell: |row, _| match row.unverified {
                    // Of a manifest that says nothing, nothing is known.
                    0 if !row.built_in => Cell::text("not said"),
                    0 => Cell::text("no"),
                    _ => Cell::state(State::Doubtful, "yes"),
                },
            },
        ],
    )?;
    Ok(Exit::Done)
}

fn explain(args: &ExplainArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let provider = providers::by_slug(store.read(), &args.provider)?;
    let manifest = lookup::manifest_of(&provider)?;
    let known = || manifest.streams.iter().map(|(name, _)| name.as_str());
    if manifest.stream(&args.stream).is_none() {
        let message = format!("{} has no stream `{}`", provider.name, args.stream.escape_debug());
        let meant = nearest(&args.stream, known()).map(|word| format!("did you mean `{word}`?"));
        return Err(UserError::new(Exit::NotFound, "stream_not_found", message)
            .hint(format!("streams: {}", known().collect::<Vec<_>>().join(", ")))
            .hint_if(meant)
            .into());
    }
    let lines = manifest::explain(&format!("{}.yaml", provider.slug), &provider.manifest, &args.stream)?;
    let list = List {
        kind: "StreamExplanation",
        items: &lines,
        warnings: Vec::new(),
        name: |line| line.path.clone(),
        empty: "",
    };
    session.output.list(
        list,
        [
            Column { header: "path", priority: ALWAYS, cell: |line, _| Cell::text(&line.path) },
            Column {
                header: "value",
                priority: ALWAYS,
                cell: |line, _| {
                    Cell::text(line.value.as_str().map_or_else(|| line.value.to_string(), ToOwned::to_owned))
                },
            },
            Column { header: "origin", priority: ALWAYS, cell: |line, _| Cell::text(&line.origin) },
        ],
    )?;
    Ok(Exit::Done)
}
