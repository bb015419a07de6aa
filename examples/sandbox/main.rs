//! Runs the sandbox: five training-provider services on loopback, until it is killed.

mod sandbox;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sandbox::{Config, Sandbox, Service};
use serde_json::{Map, Value};

/// Plays Aptem, Bud, OneFile, HubSpot and Salesforce on loopback, with made-up people
#[derive(Parser)]
struct Args {
    /// Make other people with another number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hold this many learners in each account
    #[arg(long, default_value_t = 2000)]
    learners: usize,
    /// Hold this many employers, and as many contacts, in each account
    #[arg(long, default_value_t = 1500)]
    employers: usize,
    /// Use consecutive ports from this one on
    #[arg(long, value_name = "PORT")]
    ports_from: Option<u16>,
    /// Write the line with the addresses to this file too
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Enforce rate limits: as the services do, some of them generously, or not at all
    #[arg(long, value_enum, default_value_t = Speed::Easy)]
    speed: Speed,
    /// Stop when standard input ends
    #[arg(long)]
    until_stdin_closes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Speed {
    Real,
    Easy,
    None,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let sandbox = Sandbox::start(config(args))?;
    let line = format!("{}\n", addresses(&sandbox));
    if let Some(path) = &args.ready_file {
        write_whole(path, &line)?;
    }
    let mut out = io::stdout();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    if args.until_stdin_closes {
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    loop {
        std::thread::park();
    }
}

fn config(args: &Args) -> Config {
    let config = Config {
        seed: args.seed,
        learners: args.learners,
        employers: args.employers,
        ports_from: args.ports_from,
        ..Config::default()
    };
    match args.speed {
        Speed::Easy => config,
        Speed::Real => Config {
            bud_per_second: Some(5),
            hubspot_per_ten_seconds: Some(100),
            hubspot_search_per_second: Some(5),
            ..config
        },
        Speed::None => Config { onefile_per_minute: None, hubspot_per_ten_seconds: None, ..config },
    }
}

fn addresses(sandbox: &Sandbox) -> Value {
    let names = Service::ALL.map(Service::name).into_iter().chain(["control"]);
    names.map(|name| (name.to_owned(), Value::String(sandbox.url(name)))).collect::<Map<_, _>>().into()
}

/// Writes a file so that a reader sees all of it or nothing.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
