//! Opens a document in the user's editor, until it is right or given up. What was typed is never lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use signal_hook::consts::SIGINT;
use tempfile::TempDir;

use crate::config::{Environment, KEY_VARIABLES};
use crate::error::{Exit, UserError};
use crate::output::{Answer, user_error};
use crate::session::Session;

/// A document to edit.
pub(crate) struct Draft<'a> {
    /// What the file is called, without its ending.
    pub(crate) name: &'a str,
    pub(crate) text: String,
    /// The noun of `skillsctl schema` that describes it.
    pub(crate) kind: &'a str,
    pub(crate) schema: serde_json::Value,
    /// What does the same without an editor, for who has none.
    pub(crate) instead: String,
    /// The command that takes the file up again, up to its name.
    pub(crate) resume: String,
}

/// Returns the line that tells an editor what a file may hold.
pub(crate) fn schema_line(kind: &str) -> String {
    format!("# yaml-language-server: $schema={kind}.schema.json\n")
}

/// Returns a document that begins with its schema line.
pub(crate) fn with_schema_line(kind: &str, text: &str) -> String {
    if text.starts_with("# yaml-language-server:") { text.to_owned() } else { schema_line(kind) + text }
}

/// Opens a document in the editor and hands what was made of it to `apply`, with the file's name. A mistake is shown,
/// and the editor offered again. Returns `None` if nothing was changed.
pub(crate) fn edit<T>(
    session: &Session,
    draft: &Draft<'_>,
    mut apply: impl FnMut(&str, &str) -> Result<T>,
) -> Result<Option<T>> {
    let words = editor(session, &draft.instead)?;
    let folder = tempfile::Builder::new().prefix("skillsctl-").tempdir().context("making a folder to edit in")?;
    let path = folder.path().join(format!("{}.yaml", draft.name));
    let opened = with_schema_line(draft.kind, &draft.text);
    std::fs::write(&path, &opened).context("writing the file to edit")?;
    let schema = serde_json::to_string_pretty(&draft.schema)?;
    std::fs::write(folder.path().join(format!("{}.schema.json", draft.kind)), schema).context("writing the schema")?;
    loop {
        let run = open(&words, &path);
        let text = std::fs::read_to_string(&path);
        if text.as_ref().is_ok_and(|text| *text == opened) {
            return run.map(|()| None);
        }
        let applied = run.and_then(|()| {
            let text = text.map_err(|error| {
                UserError::new(Exit::Invalid, "file_unreadable", format!("the edited file cannot be read: {error}"))
            })?;
            apply(&path.display().to_string(), &text)
        });
        let error = match applied {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let mistake = user_error(&error).is_some_and(|error| error.exit == Exit::Invalid);
        if !mistake || !again(session, &error) {
            return Err(keep(error, folder, &path, &draft.resume));
        }
    }
}

/// Shows what is wrong and asks whether to go on. Leaving is a no: the file is kept all the same.
fn again(session: &Session, error: &anyhow::Error) -> bool {
    let output = &session.output;
    let Ok(ask) = output.ask("--file") else { return false };
    output.lay_out(error);
    matches!(ask.confirm("Open it again?"), Ok(Answer::Given(true)))
}

/// Leaves the file where it is and says so.
fn keep(error: anyhow::Error, folder: TempDir, path: &Path, resume: &str) -> anyhow::Error {
    let kept = folder.keep();
    debug_assert!(path.starts_with(&kept), "the file is in the folder");
    let hint = format!("what you typed is kept in {}; mend it and run `{resume} {}`", path.display(), path.display());
    match user_error(&error) {
        Some(known) => {
            let hint = known.hint.as_ref().map_or(hint.clone(), |first| format!("{first}; {hint}"));
            known.clone().hint(hint).into()
        }
        None => error.context(hint),
    }
}

/// Returns the editor's words. Only `SKILLSCTL_EDITOR`, which may be a script, runs without a terminal.
fn editor(session: &Session, instead: &str) -> Result<Vec<String>> {
    let environment: &Environment = &session.environment;
    let own = environment.text("SKILLSCTL_EDITOR")?;
    if own.is_none() && !session.output.can_ask() {
        return Err(UserError::new(Exit::Usage, "input_needed", "there is no terminal to open an editor on")
            .hint(format!("use {instead}, or name a program in SKILLSCTL_EDITOR"))
            .into());
    }
    let text = match own {
        Some(text) => text,
        None => environment.text("VISUAL")?.or(environment.text("EDITOR")?).unwrap_or_else(|| "vi".to_owned()),
    };
    match shlex::split(&text) {
        Some(words) if !words.is_empty() => Ok(words),
        _ => Err(UserError::new(Exit::Usage, "editor_invalid", format!("`{text}` cannot be read as a command"))
            .hint("set SKILLSCTL_EDITOR to a command, with quotes around words that hold spaces")
            .into()),
    }
}

/// Runs the editor on a file until it ends. Its screen is stderr, so that stdout stays for data; a Ctrl-C is its own.
fn open(words: &[String], path: &PathBuf) -> Result<()> {
    let _ours_too = signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(path).stdout(Stdio::from(std::io::stderr()));
    for name in KEY_VARIABLES {
        command.env_remove(name);
    }
    let failed = |why: String| {
        UserError::new(Exit::Invalid, "editor_failed", format!("the editor `{}` {why}", words[0]))
            .hint("set SKILLSCTL_EDITOR, VISUAL or EDITOR")
    };
    let status = command.status().map_err(|error| failed(format!("cannot be started: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}")).into()) }
}
