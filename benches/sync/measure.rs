//! What a process took, and the table of it all.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one process took.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) wall: Duration,
    /// The largest resident set seen, in megabytes.
    pub(crate) peak: f64,
}

/// Runs a process and watches its time and memory.
pub(crate) fn measure(command: &mut Command) -> Figures {
    let began = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting a process");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    loop {
        if let Some(ended) = child.try_wait().expect("waiting") {
            assert!(ended.success(), "{command:?}: {ended}");
            return Figures { wall: began.elapsed(), peak: peak / 1024.0 };
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB").parse().ok());
        peak = f64::max(peak, high.unwrap_or(0.0));
        std::thread::sleep(if began.elapsed() < Duration::from_millis(50) {
            Duration::from_micros(200)
        } else {
            Duration::from_millis(5)
        });
    }
}

/// What a row is to be held against.
#[derive(Clone)]
pub(crate) enum Target {
    None,
    /// At most so many times the time of another row.
    Times(f64, String),
    /// At most so many milliseconds.
    Millis(f64),
    /// At most so many megabytes.
    Megabytes(f64),
}

struct Row {
    what: String,
    target: Target,
    all: Vec<Figures>,
}

/// All figures by what was measured, in the order of first measurement.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn add(&mut self, what: &str, target: Target, figures: Figures) {
        match self.0.iter_mut().find(|row| row.what == what) {
            Some(row) => row.all.push(figures),
            None => self.0.push(Row { what: what.to_owned(), target, all: vec![figures] }),
        }
    }

    /// Adds a time that is worked out and not measured.
    pub(crate) fn ideal(&mut self, what: &str, wall: Duration) {
        self.add(what, Target::None, Figures { wall, peak: 0.0 });
    }

    fn millis(&self, what: &str) -> f64 {
        self.0.iter().find(|row| row.what == what).map_or(f64::NAN, Row::millis)
    }

    pub(crate) fn print(&self, runs: usize) {
        println!("\nmedians of {runs} runs in turn, with the quickest and the slowest\n");
        println!("| what | ms | least | most | peak MB | against | target | holds |");
        println!("| --- | ---: | ---: | ---: | ---: | --- | --- | --- |");
        for row in &self.0 {
            let (least, most) = row.range();
            let peak = row.peak();
            let (against, target, holds) = match &row.target {
                Target::None => (String::new(), String::new(), ""),
                Target::Times(most, other) => {
                    let ratio = row.millis() / self.millis(other);
                    (format!("{ratio:.2}x {other}"), format!("{most:.2}x"), verdict(ratio <= *most))
                }
                Target::Millis(most) => (String::new(), format!("{most:.0} ms"), verdict(row.millis() <= *most)),
                Target::Megabytes(most) => (String::new(), format!("{most:.0} MB"), verdict(peak <= *most)),
            };
            println!(
                "| {} | {:.1} | {least:.1} | {most:.1} | {peak:.1} | {against} | {target} | {holds} |",
                row.what,
                row.millis()
            );
        }
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut walls: Vec<f64> = self.all.iter().map(|figures| figures.wall.as_secs_f64() * 1000.0).collect();
        walls.sort_by(f64::total_cmp);
        walls
    }

    fn millis(&self) -> f64 {
        let walls = self.sorted();
        walls[walls.len() / 2]
    }

    fn range(&self) -> (f64, f64) {
        let walls = self.sorted();
        (walls[0], walls[walls.len() - 1])
    }

    fn peak(&self) -> f64 {
        self.all.iter().map(|figures| figures.peak).fold(0.0, f64::max)
    }
}
