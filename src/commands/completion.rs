//! `completion`: scripts that teach a shell the commands and flags.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;
use serde::Serialize;

use crate::error::Exit;
use crate::output::Format;
use crate::session::Session;

/// Print a script that completes commands and flags in a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl completion bash > ~/.local/share/bash-completion/completions/skillsctl\n  skillsctl completion zsh > ~/.zfunc/_skillsctl\n  skillsctl completion fish > ~/.config/fish/completions/skillsctl.fish"
)]
pub(crate) struct CompletionArgs {
    /// The shell that will read it
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Serialize)]
struct Completion {
    shell: String,
    script: String,
}

pub(crate) fn run(args: &CompletionArgs, session: &Session) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut (session.command_line)(), "skillsctl", &mut script);
    let completion = Completion { shell: args.shell.to_string(), script: String::from_utf8(script)? };
    match session.output.format() {
        Format::Table | Format::Name => session.output.document(&completion.script)?,
        _ => session.output.one("Completion", &completion, |_| String::new())?,
    }
    Ok(Exit::Done)
}
