//! The only place that prints, asks and draws: data on stdout, everything else on stderr.
//!
//! Renderers are plain functions that return text (`table`, `document`, `changes`); [`Output`] picks one and writes.
//! `show` keeps text from elsewhere harmless, `report` ends a failed run.

mod changes;
mod document;
mod instant;
mod look;
mod progress;
mod prompt;
mod report;
mod show;
mod stream;
mod table;
mod yaml;

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::{ColorChoice, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

pub(crate) use changes::{Change, changes};
pub(crate) use instant::{instant, instant_or_null};
pub(crate) use look::{Cell, Look, State, thousands};
pub(crate) use progress::{Line, Progress};
pub(crate) use prompt::{Answer, Prompter};
pub(crate) use report::{fault, hide_panics, report, report_usage, user_error};
pub(crate) use show::show;
pub(crate) use stream::Heading;
pub(crate) use table::{ALWAYS, Column, block, pairs};

use crate::error::{Exit, UserError};
pub(crate) use document::text_of as plain;
use document::{Fields, OneDocument, Selection};
use show::{Ink, paint};
use table::{Head, Layout};

/// The form in which data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: aligned on a terminal, tabs in a pipe
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// One YAML document
    Yaml,
    /// Comma-separated values under a header
    Csv,
    /// The name of each thing, nothing else
    Name,
}

/// What the command line says about output.
#[derive(Debug, Clone)]
pub(crate) struct OutputOptions {
    /// The form of data on stdout.
    pub format: Format,
    /// Whether CSV is left as it is, also where a spreadsheet would calculate with it.
    pub csv_raw: bool,
    /// The fields to show, in order; all where absent.
    pub fields: Option<Vec<String>>,
    /// Whether to leave out notes and progress.
    pub quiet: bool,
    /// How much to tell besides, from 0.
    pub verbose: u8,
    /// Whether to use colours.
    pub color: ColorChoice,
    /// Whether questions are forbidden even on a terminal.
    pub no_input: bool,
    /// Whether consent to harm is given already.
    pub assume_yes: bool,
    /// The moment that relative times count from.
    pub now: DateTime<Utc>,
}

impl OutputOptions {
    /// Returns the options of a command line that says nothing about output.
    #[cfg(test)]
    pub(crate) fn at(now: DateTime<Utc>) -> Self {
        OutputOptions {
            format: Format::Table,
            csv_raw: false,
            fields: None,
            quiet: false,
            verbose: 0,
            color: ColorChoice::Auto,
            no_input: false,
            assume_yes: false,
            now,
        }
    }
}

/// Which of the standard streams are terminals, and how wide the one of stdout is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub width: u16,
}

impl Screen {
    /// Returns how the process was started.
    fn detect() -> Self {
        let (stdout, stderr) = (console::Term::stdout(), console::Term::stderr());
        Screen {
            stdin: io::stdin().is_terminal(),
            stdout: stdout.is_term(),
            stderr: stderr.is_term(),
            width: stdout.size_checked().map_or(80, |(_, width)| width),
        }
    }
}

/// Whoever read stdout has gone, as with `| head`. Ends a run quietly and well; see [`report()`].
#[derive(Debug)]
pub(crate) struct ClosedOutput;

impl Display for ClosedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout was closed by its reader")
    }
}

impl std::error::Error for ClosedOutput {}

/// Things of one kind to print.
pub(crate) struct List<'a, T> {
    /// The kind of the list in JSON, like `OrgList`.
    pub kind: &'a str,
    /// The things.
    pub items: &'a [T],
    /// What the reader should know besides: part of a JSON or YAML document, else on stderr.
    pub warnings: Vec<String>,
    /// The name of a thing for `-o name`.
    pub name: fn(&T) -> String,
    /// What to tell a person where there is nothing, like "no organizations yet; `skillsctl org create` makes one".
    pub empty: &'a str,
}

type Writer = Mutex<Box<dyn Write + Send>>;

/// Prints data, says what is going on, asks. Worker threads may share it.
pub(crate) struct Output {
    options: OutputOptions,
    screen: Screen,
    colors: Colors,
    stdout: Writer,
    stderr: Writer,
    progress: Progress,
    #[cfg(test)]
    script: Option<Script>,
}

/// Whether the streams take colours.
#[derive(Debug, Clone, Copy)]
struct Colors {
    stdout: bool,
    stderr: bool,
}

impl Output {
    /// Returns the output of this process. `--color` also settles the colours of prompts, progress and [`report()`].
    pub(crate) fn new(options: OutputOptions) -> Self {
        let wanted = match options.color {
            ColorChoice::Always => Some(true),
            ColorChoice::Never => Some(false),
            ColorChoice::Auto => None,
        };
        if let Some(wanted) = wanted {
            console::set_colors_enabled(wanted);
            console::set_colors_enabled_stderr(wanted);
        }
        let screen = Screen::detect();
        Output {
            colors: Colors { stdout: console::colors_enabled(), stderr: console::colors_enabled_stderr() },
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            progress: Progress::new(screen.stderr && !options.quiet && !console::is_dumb()),
            screen,
            options,
            #[cfg(test)]
            script: None,
        }
    }

    /// Returns whether programs read the output, so that errors too are JSON.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.options.format, Format::Json | Format::Jsonl)
    }

    /// Returns the form data is printed in.
    pub(crate) fn format(&self) -> Format {
        self.options.format
    }

    /// Returns the look of stdout.
    pub(crate) fn look(&self) -> Look {
        Look::new(self.screen.stdout, self.options.now)
    }

    /// Returns the look of messages, which go to stderr.
    pub(crate) fn message_look(&self) -> Look {
        Look::new(self.screen.stderr, self.options.now)
    }

    /// Prints a list.
    pub(crate) fn list<T: Serialize, const N: usize>(&self, list: List<'_, T>, columns: [Column<T>; N]) -> Result<()> {
        let List { kind, items, warnings, name, empty } = list;
        self.stream(&Heading { kind, name, empty }, columns, std::iter::once(Ok(items)), || warnings)
    }

    /// Prints a single thing: in a form for programs its fields, for people the text.
    pub(crate) fn one<T: Serialize>(&self, kind: &str, object: &T, text: impl FnOnce(&Look) -> String) -> Result<()> {
        let rendered = match (self.options.format, &self.options.fields) {
            (Format::Table, None) => self.painted(&text(&self.look())),
            (Format::Name, _) => match name(&Fields::of(&serde_json::to_string(object)?)?) {
                Some(name) => show(&name).into_owned() + "\n",
                None => self.painted(&text(&self.look())),
            },
            _ => self.rendered_one(kind, object)?,
        };
        self.write(&rendered)
    }

    /// Prints one object of a stream as a line of JSON.
    pub(crate) fn json_line(&self, object: &impl Serialize) -> Result<()> {
        self.write(&tamed(object, false)?)
    }

    /// Prints several objects of a stream, a line of JSON each.
    pub(crate) fn json_lines(&self, objects: &[impl Serialize]) -> Result<()> {
        self.write(&objects.iter().map(|object| tamed(object, false)).collect::<Result<String>>()?)
    }

    /// Prints a document as JSON spread out, wherever it goes.
    pub(crate) fn json_document(&self, object: &impl Serialize) -> Result<()> {
        self.write(&tamed(object, true)?)
    }

    /// Prints a finished document: an exported file, a schema, a completion script. Just as it is, unless somebody looks on.
    pub(crate) fn document(&self, text: &str) -> Result<()> {
        if self.screen.stdout { self.write(&paint(text, false)) } else { self.write(text) }
    }

    /// Says what was done, on stderr; not under `-q`.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.options.quiet {
            self.say(&text.to_string());
        }
    }

    /// Shows what a question is about, line by line on stderr; also under `-q`.
    pub(crate) fn lay_out(&self, text: impl Display) {
        text.to_string().lines().for_each(|line| self.say(line));
    }

    /// Says what should be looked at, on stderr.
    pub(crate) fn warn(&self, text: impl Display) {
        self.say(&format!("{} {text}", Ink::Yellow.on("warning:")));
    }

    /// Says more on stderr where `-v` was given at least `level` times.
    pub(crate) fn verbose(&self, level: u8, text: impl Display) {
        if self.options.verbose >= level {
            self.say(&text.to_string());
        }
    }

    /// Returns where progress is drawn: nowhere unless stderr is a terminal, nor under `-q`.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Returns whether questions may be asked: somebody must see them and somebody must answer.
    pub(crate) fn can_ask(&self) -> bool {
        self.screen.stdin && self.screen.stderr && !self.options.no_input
    }

    /// Returns whether consent to harm was given on the command line, so that nothing is asked.
    pub(crate) fn agreed(&self) -> bool {
        self.options.assume_yes
    }

    /// Fails with the flag that answers instead, where no question may be asked.
    pub(crate) fn require_terminal(&self, flag: &str) -> Result<(), UserError> {
        if self.can_ask() {
            return Ok(());
        }
        let why = if self.options.no_input { "`--no-input` was given" } else { "there is no terminal to ask on" };
        Err(UserError::new(Exit::Usage, "input_needed", format!("`{flag}` is needed: {why}"))
            .hint(format!("run the command again with `{flag}`")))
    }

    /// Returns who asks, or the error that names the flag which answers instead.
    pub(crate) fn ask(&self, flag: &str) -> Result<Prompter<'_>, UserError> {
        self.require_terminal(flag)?;
        Ok(Prompter { output: self })
    }

    /// Returns whether there is consent to harm that can be undone: `--yes`, or a yes. Ctrl-C is an error.
    pub(crate) fn confirm_harm(&self, what: &str) -> Result<bool> {
        if self.options.assume_yes {
            return Ok(true);
        }
        Ok(self.ask("--yes")?.confirm(what)?.given()?.unwrap_or(false))
    }

    /// Returns whether there is consent to destroy: the name given with `--confirm`, or typed. `--yes` is not enough.
    pub(crate) fn confirm_destroy(&self, slug: &str, given: Option<&str>) -> Result<bool> {
        let Some(given) = given else {
            let flag = format!("--confirm {slug}");
            return Ok(self.ask(&flag)?.typed_confirm(slug)?.given()?.unwrap_or(false));
        };
        if given == slug {
            return Ok(true);
        }
        let message = format!("`--confirm {given}` does not name what would be destroyed, `{slug}`");
        Err(UserError::new(Exit::Usage, "confirm_mismatch", message).into())
    }

    fn rendered_one<T: Serialize>(&self, kind: &str, object: &T) -> Result<String> {
        let wanted = self.options.fields.as_deref();
        if wanted.is_none() && self.options.format != Format::Csv {
            return self.tree(&OneDocument { kind, v: 1, object });
        }
        let items = [serde_json::to_string(object)?];
        let mut selection = Selection::of(kind, &items, wanted)?;
        Ok(match self.options.format {
            Format::Csv => selection.csv(true, |text, is_text| self.csv_cell(text, is_text))?,
            Format::Json | Format::Jsonl | Format::Yaml => {
                let object = selection.rows.pop().context("one thing makes one row")?;
                self.tree(&OneDocument { kind, v: 1, object: &object })?
            }
            Format::Table | Format::Name => self.fields_table(&selection),
        })
    }

    /// Returns a document as YAML, or as JSON: spread out for a person, on one line for a program.
    fn tree(&self, document: &impl Serialize) -> Result<String> {
        match self.options.format {
            Format::Yaml => yaml::document(&serde_json::to_string(document)?),
            Format::Json => tamed(document, self.screen.stdout),
            _ => tamed(document, false),
        }
    }

    fn fields_table(&self, selection: &Selection<'_>) -> String {
        let heads: Vec<Head<'_>> = selection.names.iter().map(|name| Head { header: name, priority: ALWAYS }).collect();
        let rows: Vec<Vec<Cell>> = selection.texts().map(|row| row.into_iter().map(Cell::Text).collect()).collect();
        let look = self.look();
        if !self.screen.stdout {
            return table::tabbed(&rows, &look);
        }
        self.painted(&Layout::of(&heads, &rows, &look, self.screen.width).drawn(&heads, &rows, &look, true))
    }

    /// Returns a cell of CSV that no spreadsheet calculates with and no terminal obeys; just as it is where that is wanted, but on
    /// a terminal.
    fn csv_cell(&self, text: &str, is_text: bool) -> String {
        match (self.options.csv_raw, self.screen.stdout) {
            (true, true) => show(text).into_owned(),
            (true, false) => text.to_owned(),
            (false, true) => show(&document::harmless(text, is_text)).into_owned(),
            (false, false) => document::harmless(text, is_text),
        }
    }

    fn painted(&self, text: &str) -> String {
        let mut text = paint(text, self.colors.stdout);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// Writes finished text to stdout.
    fn write(&self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        match self.progress.suspend(|| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ClosedOutput.into()),
            written => written.context("writing to stdout"),
        }
    }

    /// Writes one line to stderr. A message that cannot be told is no reason to stop.
    fn say(&self, text: &str) {
        // One message is one line: a second one could pass for another message.
        let line = paint(&text.trim_end().replace('\n', "\\u{a}"), self.colors.stderr) + "\n";
        let mut stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.suspend(|| stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush())).ok();
    }
}

/// Returns a document as JSON that does nothing to a terminal, now or later.
fn tamed(document: &impl Serialize, spread: bool) -> Result<String> {
    Ok(document::tame(&document::json(document, spread)?).into_owned())
}

/// Returns JSON spread out for a person, each digit as it is; text as it is.
pub(crate) fn spread(json: &RawValue) -> String {
    match json.get().starts_with('"') {
        true => plain(json).into_owned(),
        false => document::pretty(json.get()).unwrap_or_else(|_| json.get().to_owned()),
    }
}

/// Returns what a thing is called by: its slug, id or name.
fn name(fields: &Fields<'_>) -> Option<String> {
    ["slug", "id", "name"].iter().find_map(|field| fields.text(field)).map(Into::into)
}

/// Answers given beforehand: a text, `<` to go back, `^C` to leave, empty to take the default.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Script(Mutex<std::collections::VecDeque<String>>);

#[cfg(test)]
impl Script {
    fn next(&self, label: &str) -> Answer<String> {
        match self.0.lock().unwrap().pop_front().as_deref() {
            None => panic!("no answer for the question `{label}`"),
            Some("<") => Answer::Back,
            Some("^C") => Answer::Cancel,
            Some(text) => Answer::Given(text.to_string()),
        }
    }
}

/// What a test printed.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured {
    stdout: Shared,
    stderr: Shared,
}

#[cfg(test)]
impl Captured {
    /// Returns what went to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Returns what went to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }
}

#[cfg(test)]
#[derive(Debug, Clone, Default)]
struct Shared(std::sync::Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Screen {
    /// Started by a person.
    pub(crate) const TERMINAL: Screen = Screen { stdin: true, stdout: true, stderr: true, width: 80 };
    /// Started by a script.
    pub(crate) const PIPE: Screen = Screen { stdin: false, stdout: false, stderr: false, width: 80 };
}

#[cfg(test)]
impl Output {
    /// Returns an output that writes into memory, and takes its answers from a script.
    pub(crate) fn captured(options: OutputOptions, screen: Screen, answers: &[&str]) -> (Output, Captured) {
        let captured = Captured::default();
        let colors = options.color == ColorChoice::Always;
        let output = Output {
            options,
            screen,
            colors: Colors { stdout: colors, stderr: colors },
            stdout: Mutex::new(Box::new(captured.stdout.clone())),
            stderr: Mutex::new(Box::new(captured.stderr.clone())),
            progress: Progress::new(false),
            script: Some(Script(Mutex::new(answers.iter().map(ToString::to_string).collect()))),
        };
        (output, captured)
    }
}

#[cfg(test)]
mod tests;
