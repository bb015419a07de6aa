//! `help`: the topics that are of no single command, and the help of any command.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::access::{COMMANDS, Who};
use crate::domain::role::RoleName;
use crate::error::{Exit, UserError, nearest};
use crate::output::{Cell, Format, block};
use crate::session::Session;

/// Show help on a topic or a command
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl help\n  skillsctl help exit-codes\n  skillsctl help credential set")]
pub(crate) struct HelpArgs {
    /// A topic, or the words of a command
    #[arg(value_name = "TOPIC | COMMAND")]
    words: Vec<String>,
}

/// A text on something that is of no single command.
#[derive(Debug, Serialize)]
struct Topic {
    topic: &'static str,
    title: &'static str,
    text: &'static str,
}

const TOPICS: [Topic; 9] = [
    Topic { topic: "exit-codes", title: "What the exit code of a command tells its caller", text: "" },
    Topic { topic: "environment", title: "Variables that are read", text: include_str!("environment.txt") },
    Topic { topic: "settings", title: "Defaults, overrides, and which one holds", text: include_str!("settings.txt") },
    Topic {
        topic: "mappings",
        title: "How fields of a provider become fields of ours",
        text: include_str!("mappings.txt"),
    },
    Topic {
        topic: "syncing",
        title: "What a sync does, in which order, and when it ends",
        text: include_str!("syncing.txt"),
    },
    Topic {
        topic: "network",
        title: "Whom a provider's settings let be called and trusted",
        text: include_str!("network.txt"),
    },
    Topic { topic: "roles", title: "Who may run which command", text: include_str!("roles.txt") },
    Topic { topic: "security", title: "What is protected, and what is not", text: include_str!("security.txt") },
    Topic {
        topic: "privacy",
        title: "What is held of people, for how long, and how it is erased",
        text: include_str!("privacy.txt"),
    },
];

#[derive(Debug, Serialize)]
struct Code {
    exit: u8,
    meaning: &'static str,
}

#[derive(Debug, Serialize)]
struct ExitCodes {
    topic: &'static str,
    title: &'static str,
    codes: Vec<Code>,
}

#[derive(Debug, Serialize)]
struct Overview {
    topics: Vec<Summary>,
    commands: Vec<Summary>,
}

#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    about: String,
}

#[derive(Debug, Serialize)]
struct CommandHelp<'a> {
    command: &'a str,
    text: &'a str,
}

pub(crate) fn run(args: &HelpArgs, session: &Session) -> Result<Exit> {
    match args.words.as_slice() {
        [] => overview(session)?,
        [word] if word == "exit-codes" => exit_codes(session)?,
        [word] if word == "roles" => roles(session)?,
        [word] if TOPICS.iter().any(|topic| topic.topic == word) => {
            for topic in TOPICS.iter().filter(|topic| topic.topic == word) {
                session
                    .output
                    .one("HelpTopic", topic, |look| format!("{}\n\n{}", look.bold(topic.title), topic.text))?;
            }
        }
        words => command(words, session)?,
    }
    Ok(Exit::Done)
}

fn overview(session: &Session) -> Result<()> {
    let commands = (session.command_line)();
    let overview = Overview {
        topics: TOPICS.iter().map(|topic| Summary { name: topic.topic.into(), about: topic.title.into() }).collect(),
        commands: commands
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| Summary {
                name: command.get_name().to_owned(),
                about: command.get_about().map(ToString::to_string).unwrap_or_default(),
            })
            .collect(),
    };
    session.output.one("Help", &overview, |look| {
        let rows = |summaries: &[Summary]| {
            let cells = |summary: &Summary| vec![Cell::text(&summary.name), Cell::text(&summary.about)];
            block(&summaries.iter().map(cells).collect::<Vec<_>>(), 2, look)
        };
        format!(
            "{}\n{}\n{}\n{}\nskillsctl help TOPIC, or skillsctl help COMMAND...\n",
            look.bold("Topics"),
            rows(&overview.topics),
            look.bold("Commands"),
            rows(&overview.commands)
        )
    })
}

fn exit_codes(session: &Session) -> Result<()> {
    let codes = Exit::ALL.iter().map(|(exit, meaning)| Code { exit: *exit as u8, meaning }).collect();
    let topic = ExitCodes { topic: TOPICS[0].topic, title: TOPICS[0].title, codes };
    session.output.one("HelpTopic", &topic, |look| {
        let rows = topic.codes.iter().map(|code| vec![Cell::text(code.exit.to_string()), Cell::text(code.meaning)]);
        format!(
            "{}\n\n{}\nA run over many ends with 3 if some failed; with 4, 8 or 9 only if all failed for that cause.\n",
            look.bold(topic.title),
            block(&rows.collect::<Vec<_>>(), 2, look)
        )
    })
}

/// A command, and who may run it.
#[derive(Debug, Serialize)]
struct Open {
    command: &'static str,
    roles: Vec<RoleName>,
}

#[derive(Debug, Serialize)]
struct Roles {
    #[serde(flatten)]
    topic: &'static Topic,
    commands: Vec<Open>,
}

fn roles(session: &Session) -> Result<()> {
    let Some(topic) = TOPICS.iter().find(|topic| topic.topic == "roles") else { return Ok(()) };
    let roles = |who: Who| RoleName::ALL.into_iter().filter(|role| who.includes(*role)).collect();
    let commands = COMMANDS.iter().map(|(command, who)| Open { command, roles: roles(*who) }).collect();
    let roles = Roles { topic, commands };
    session.output.one("HelpTopic", &roles, |look| {
        let head = std::iter::once(String::new()).chain(RoleName::ALL.map(|role| role.as_str().to_owned()));
        let row = |open: &Open| {
            let mark = |role: &RoleName| if open.roles.contains(role) { "yes" } else { "-" };
            let marks = RoleName::ALL.iter().map(|role| Cell::text(mark(role)));
            std::iter::once(Cell::text(open.command)).chain(marks).collect()
        };
        let rows: Vec<Vec<Cell>> =
            std::iter::once(head.map(Cell::text).collect()).chain(roles.commands.iter().map(row)).collect();
        format!("{}\n\n{}\n{}", look.bold(topic.title), topic.text, block(&rows, 2, look))
    })
}

/// Shows the help of the command that these words name.
fn command(words: &[String], session: &Session) -> Result<()> {
    let mut root = (session.command_line)();
    root.build();
    let mut command = &mut root;
    for (position, word) in words.iter().enumerate() {
        let known: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        if !known.contains(word) {
            return Err(unknown(&words[..position], word, &known).into());
        }
        command = command.find_subcommand_mut(word).ok_or_else(|| unknown(&words[..position], word, &known))?;
    }
    let name = words.join(" ");
    let styled = command.render_long_help();
    let text = styled.to_string();
    match session.output.format() {
        Format::Table | Format::Name => session.output.document(&text),
        _ => session.output.one("CommandHelp", &CommandHelp { command: &name, text: &text }, |_| String::new()),
    }
}

fn unknown(above: &[String], word: &str, known: &[String]) -> UserError {
    let topics = TOPICS.iter().map(|topic| topic.topic).filter(|_| above.is_empty());
    let meant = nearest(word, topics.chain(known.iter().map(String::as_str)));
    let (code, what) = if above.is_empty() {
        ("unknown_help_topic", "there is no topic or command".to_owned())
    } else {
        ("unknown_command", format!("`skillsctl {}` has no command", above.join(" ")))
    };
    UserError::new(Exit::Usage, code, format!("{what} `{}`", word.escape_debug()))
        .hint("`skillsctl help` lists topics and commands")
        .hint_if(
            meant.map(|word| {
                format!("did you mean `skillsctl help {}`?", [above, &[word.to_owned()]].concat().join(" "))
            }),
        )
}
