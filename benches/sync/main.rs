//! Whole-process benchmarks of `skillsctl sync`, side by side with the least any client can do.
//!
//! `cargo bench --bench sync -- [SUBJECT...] [--runs N] [--records N]`; see `docs/performance.md` for the subjects. Each figure is
//! of a process of its own, and those that are compared run in turn, so that ratios hold on a noisy machine. `--serve` only
//! serves, for a profiler.

#![expect(clippy::print_stdout, reason = "its table is what it is for")]

mod floor;
mod measure;
mod server;
mod subjects;
mod world;

use std::time::Duration;

use measure::Table;
use subjects::{SUBJECTS, Size};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, url, database] = arguments.as_slice()
        && word == "floor"
    {
        return floor::floor(url, database);
    }
    let number = |flag: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let size = Size { records: number("--records", 200_000), runs: number("--runs", 5) };
    if arguments.iter().any(|argument| argument == "--serve") {
        let url = server::serve(server::made(size.records, server::PAGE), Duration::ZERO);
        let folder = std::env::temp_dir().join(format!("skillsctl-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        world::World::new(&folder, &url, world::PATHS);
        println!("serving {url}; a home with a database that reads from it is {}; ends with Ctrl-C", folder.display());
        loop {
            std::thread::park();
        }
    }
    let mut wanted: Vec<_> =
        SUBJECTS.iter().filter(|subject| arguments.iter().any(|word| word == subject.name)).collect();
    if wanted.is_empty() {
        wanted = SUBJECTS.iter().filter(|subject| !subject.long).collect();
    }
    let mut table = Table::default();
    for subject in wanted {
        println!("{}: {}", subject.name, subject.about);
        (subject.run)(size, &mut table);
    }
    table.print(size.runs);
}
