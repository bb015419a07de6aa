//! What is measured, each subject by its name.

use std::process::Command;
use std::time::Duration;

use crate::measure::{Figures, Table, Target, measure};
use crate::server::{PAGE, lazy, made, serve};
use crate::world::{EXPRESSIONS, PATHS, PROGRAM, World};

/// The most memory a sync may take, in megabytes.
const MEMORY: f64 = 40.0;

#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) records: usize,
    pub(crate) runs: usize,
}

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it is run by name only.
    pub(crate) long: bool,
    pub(crate) run: fn(Size, &mut Table),
}

pub(crate) const SUBJECTS: [Subject; 9] = [
    Subject { name: "load", about: "a first load, and the same again, beside the floor", long: false, run: load },
    Subject {
        name: "expressions",
        about: "three expressions a record, beside paths alone",
        long: false,
        run: expressions,
    },
    Subject { name: "latency", about: "200 organizations, each answer after 50 ms", long: false, run: latency },
    Subject { name: "start", about: "cold start", long: false, run: start },
    Subject { name: "due", about: "10,000 organizations, nothing due", long: false, run: due },
    Subject { name: "page", about: "a page of 64 MB", long: false, run: page },
    Subject { name: "memory", about: "20,000, 200,000 and 1,000,000 records", long: true, run: memory },
    Subject { name: "stored", about: "the same load onto 10,000, 100,000 and 1,000,000 rows", long: true, run: stored },
    Subject { name: "lists", about: "1,000,000 rows in each format, beside the sqlite3 shell", long: true, run: lists },
];

/// Makes a world in a folder of its own and does something with it.
fn in_world<T>(url: &str, mappings: [&str; 3], with: impl FnOnce(&World<'_>) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder of its own");
    with(&World::new(folder.path(), url, mappings))
}

fn full(world: &World<'_>) -> Figures {
    measure(&mut world.command(&["sync", "bench", "--full"]))
}

fn load(size: Size, table: &mut Table) {
    let url = serve(made(size.records, PAGE), Duration::ZERO);
    for _ in 0..size.runs {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let database = folder.path().join("floor.db");
        let floor = || {
            measure(Command::new(std::env::current_exe().expect("this program")).arg("floor").arg(&url).arg(&database))
        };
        in_world(&url, PATHS, |world| {
            table.add("first load, floor", Target::None, floor());
            table.add("first load", Target::Times(1.5, "first load, floor".into()), full(world));
            assert_eq!(world.rows(), size.records, "every record is stored");
            table.add("unchanged, floor", Target::None, floor());
            table.add("unchanged", Target::Times(1.5, "unchanged, floor".into()), full(world));
        });
    }
}

fn expressions(size: Size, table: &mut Table) {
    let url = serve(made(size.records / 2, PAGE), Duration::ZERO);
    for _ in 0..size.runs {
        table.add("first load, paths", Target::None, in_world(&url, PATHS, full));
        let target = Target::Times(1.3, "first load, paths".into());
        table.add("first load, three expressions", target, in_world(&url, EXPRESSIONS, full));
    }
}

fn latency(size: Size, table: &mut Table) {
    const ORGANIZATIONS: u32 = 200;
    const PAGES: u32 = 10;
    const JOBS: u32 = 16;
    const WAIT: Duration = Duration::from_millis(50);
    let url = serve(made(PAGES as usize * PAGE, PAGE), WAIT);
    for _ in 0..size.runs.min(3) {
        table.ideal("latency, ideal", WAIT * ORGANIZATIONS * PAGES / JOBS);
        let figures = in_world(&url, PATHS, |world| {
            world.add_organizations(ORGANIZATIONS - 1);
            let figures = measure(&mut world.command(&["sync", "--all", "--force", "--jobs", &JOBS.to_string()]));
            assert_eq!(world.rows(), ORGANIZATIONS as usize * PAGES as usize * PAGE, "every record is stored");
            figures
        });
        table.add("latency, 16 jobs", Target::Times(1.15, "latency, ideal".into()), figures);
    }
}

fn start(size: Size, table: &mut Table) {
    in_world("http://127.0.0.1:9", PATHS, |world| {
        for _ in 0..size.runs * 4 {
            table.add("--help", Target::Millis(10.0), measure(Command::new(PROGRAM).arg("--help")));
            table.add("org list", Target::Millis(10.0), measure(&mut world.command(&["org", "list"])));
        }
    });
}

fn due(size: Size, table: &mut Table) {
    in_world("http://127.0.0.1:9", PATHS, |world| {
        world.add_organizations(9_999);
        for _ in 0..size.runs * 4 {
            table.add("nothing due", Target::Millis(100.0), measure(&mut world.command(&["sync", "--all"])));
        }
    });
}

/// As many records as make 64 MB, in one page and in many.
fn page(size: Size, table: &mut Table) {
    const RECORDS: usize = 91_000;
    let (small, large) = (serve(made(RECORDS, PAGE), Duration::ZERO), serve(made(RECORDS, RECORDS), Duration::ZERO));
    for _ in 0..size.runs {
        table.add("64 MB in small pages", Target::Megabytes(MEMORY), in_world(&small, PATHS, full));
        table.add("64 MB in one page", Target::Megabytes(MEMORY), in_world(&large, PATHS, full));
    }
}

fn memory(size: Size, table: &mut Table) {
    for records in [20_000, 200_000, 1_000_000] {
        let url = serve(lazy(records, PAGE), Duration::ZERO);
        for _ in 0..size.runs.min(3) {
            in_world(&url, PATHS, |world| {
                table.add(&format!("{records} records"), Target::Megabytes(MEMORY), full(world));
                table.add(&format!("{records} records again"), Target::Megabytes(MEMORY), full(world));
            });
        }
    }
}

fn stored(size: Size, table: &mut Table) {
    const RECORDS: u32 = 50_000;
    const FEW: u32 = 10_000;
    let url = serve(made(RECORDS as usize, PAGE), Duration::ZERO);
    for _ in 0..size.runs {
        for rows in [FEW, 100_000, 1_000_000] {
            in_world(&url, PATHS, |world| {
                world.add_rows(rows);
                let target = |what: &str| match rows {
                    FEW => Target::None,
                    _ => Target::Times(1.15, format!("{what} {FEW} rows")),
                };
                let what = "50,000 records onto";
                table.add(&format!("{what} {rows} rows"), target(what), full(world));
                let what = "unchanged among";
                table.add(&format!("{what} {rows} rows"), target(what), full(world));
            });
        }
    }
}

/// The most memory a list may take, in megabytes.
const LIST: f64 = 60.0;

fn lists(size: Size, table: &mut Table) {
    const ROWS: u32 = 1_000_000;
    let shell = Command::new("sqlite3").arg("--version").output().is_ok_and(|output| output.status.success());
    in_world("http://127.0.0.1:9", PATHS, |world| {
        world.add_rows(ROWS);
        for _ in 0..size.runs.min(3) {
            for (format, mode) in [
                ("csv", "-csv"),
                ("json", "-json"),
                ("jsonl", "-json"),
                ("yaml", "-line"),
                ("table", "-tabs"),
                ("name", "-list"),
            ] {
                let beside = format!("sqlite3 {mode}");
                if shell && format != "jsonl" {
                    table.add(&beside, Target::None, measure(&mut world.shell(mode)));
                }
                let limit = ROWS.to_string();
                let line = ["record", "list", "bench", "employers", "--limit", &limit, "-o", format];
                let figures = measure(&mut world.command(&line));
                let target = if shell { Target::Times(2.0, beside) } else { Target::None };
                table.add(&format!("list {format}"), target, figures);
                table.add(&format!("list {format}, memory"), Target::Megabytes(LIST), figures);
            }
            let line = ["record", "list", "bench", "employers", "--limit", "1"];
            table.add("list --limit 1", Target::Millis(15.0), measure(&mut world.command(&line)));
            let line = ["record", "show", "bench", "employer", "0999999"];
            table.add("show", Target::Millis(15.0), measure(&mut world.command(&line)));
        }
    });
}
