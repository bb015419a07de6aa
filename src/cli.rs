//! The command line: global flags and the tree of commands; no behaviour.

use clap::Parser;

use crate::commands::Command;
use crate::session::Globals;

/// Sets up and keeps running the integrations of a Skills Intelligence platform.
#[derive(Debug, Parser)]
#[command(
    name = "skillsctl",
    version,
    about,
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Returns every command that has none below it, with the words that lead there.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let below: Vec<&clap::Command> =
            command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        // One like `sync` runs by itself, too.
        if !command.is_subcommand_required_set() {
            found.push((path.to_owned(), command.clone()));
        }
        for command in below {
            leaves(command, &format!("{path} {}", command.get_name()), found);
        }
    }

    fn all() -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        leaves(&Cli::command(), "skillsctl", &mut found);
        found
    }

    /// Returns the words of our own command in a line of a shell: without what comes before it and behind it.
    fn ours(line: &str) -> Option<Vec<String>> {
        let words = shlex::split(line)?;
        let start = words.iter().rposition(|word| word == "skillsctl")?;
        let own = words[start..]
            .iter()
            .take_while(|word| !matches!(word.as_str(), "|" | "<" | ">" | ">>" | "&&" | "||" | ";"));
        Some(own.cloned().collect())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_two_examples_that_parse() {
        for (path, command) in all() {
            assert!(command.get_about().is_some(), "`{path}` has no help");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = after
                .split_once("Examples:\n")
                .map(|(_, examples)| {
                    examples.lines().map(str::trim).filter(|line| line.contains("skillsctl ")).collect()
                })
                .unwrap_or_default();
            assert!(examples.len() >= 2, "`{path}` has {} examples", examples.len());
            assert!(examples.iter().any(|line| line.contains(&path)), "no example of `{path}` is of it");
            for line in examples {
                let words = ours(line).unwrap_or_else(|| panic!("`{line}` is not a line of a shell"));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("the example `{line}` of `{path}` does not parse: {error}");
                }
            }
        }
    }

    #[test]
    fn every_command_of_the_documentation_parses() {
        for (file, text) in
            [("README", include_str!("../README.md")), ("CONTRIBUTING", include_str!("../CONTRIBUTING.md"))]
        {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("skillsctl ")).collect();
            assert!(!lines.is_empty(), "{file}");
            for line in lines {
                let words = ours(line).unwrap_or_else(|| panic!("`{line}` is not a line of a shell"));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("`{line}` in {file} does not parse: {error}");
                }
            }
        }
    }

    #[test]
    fn every_argument_has_help() {
        for (path, command) in all() {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "`{}` of `{path}` has no help", argument.get_id());
            }
        }
    }
}
