//! Progress lines on stderr, one for each organization in work; silent where no terminal looks on.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::look::thousands;
use super::show::{paint, show};

/// Where progress lines are drawn. Clones draw in the same place; worker threads may share it.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    lines: MultiProgress,
}

impl Progress {
    /// Returns a place that draws on stderr, or one that draws nothing.
    pub(super) fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Progress { lines: MultiProgress::with_draw_target(target) }
    }

    /// Begins a line.
    pub(crate) fn start(&self, label: &str) -> Line {
        if self.lines.is_hidden() {
            return Line { bar: ProgressBar::hidden(), lines: self.lines.clone() };
        }
        let style = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}").expect("the template is a constant");
        let bar = self.lines.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(show(label).into_owned());
        // A line that waits still moves, so that it does not look stuck.
        bar.enable_steady_tick(Duration::from_millis(120));
        Line { bar, lines: self.lines.clone() }
    }

    /// Runs what writes to the terminal while no line is in its way.
    pub(super) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.lines.suspend(write)
    }
}

/// One line of progress; it goes away when it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Line {
    bar: ProgressBar,
    lines: MultiProgress,
}

impl Line {
    /// Shows how far it has come and, if not empty, what it is doing or waiting for.
    pub(crate) fn update(&self, pages: u64, records: u64, state: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(status(pages, records, self.bar.elapsed(), state));
        }
    }

    /// Ends the line; the text, if not empty, stays on the terminal above the lines still at work.
    pub(crate) fn finish(self, text: &str) {
        self.bar.finish_and_clear();
        if !text.is_empty() && !self.lines.is_hidden() {
            let text = paint(text.trim_end(), console::colors_enabled_stderr()) + "\n";
            // It says no more than the summary will; where stderr fails, that will tell.
            self.lines.suspend(|| io::stderr().write_all(text.as_bytes())).ok();
        }
    }
}

fn status(pages: u64, records: u64, elapsed: Duration, state: &str) -> String {
    let number = |count: u64| thousands(i64::try_from(count).unwrap_or(i64::MAX));
    let mut text = format!(
        "{} {}  {} {}",
        number(pages),
        if pages == 1 { "page" } else { "pages" },
        number(records),
        if records == 1 { "record" } else { "records" },
    );
    if elapsed >= Duration::from_secs(1) {
        let rate = u128::from(records) * 1000 / elapsed.as_millis();
        text += &format!("  {}/s", number(u64::try_from(rate).unwrap_or(u64::MAX)));
    }
    if !state.is_empty() {
        text += &format!("  {}", show(state));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_pages_records_rate_and_what_it_waits_for() {
        assert_eq!(
            status(12, 3_400, Duration::from_secs(10), "waiting for the rate limit until 09:14"),
            "12 pages  3,400 records  340/s  waiting for the rate limit until 09:14"
        );
        assert_eq!(status(1, 1, Duration::ZERO, ""), "1 page  1 record");
    }

    #[test]
    fn worker_threads_share_the_place() {
        let progress = Progress::new(false);
        std::thread::scope(|scope| {
            for label in ["acme", "globex"] {
                let progress = &progress;
                scope.spawn(move || {
                    let line = progress.start(label);
                    line.update(1, 500, "\x1b[2J");
                    line.finish("done");
                });
            }
        });
    }
}
