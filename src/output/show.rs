//! Makes text from elsewhere harmless on a terminal, and puts the colours in last.
//!
//! Styles travel through layout as invisible marks ([`Ink`]) that every width measure counts as nothing, and become
//! escape sequences only in [`paint`], at the outlet. Text that arrives there with escape sequences of its own
//! therefore never reaches the terminal as such, wherever in the sentence it stood.

use std::borrow::Cow;
use std::fmt::Write;

use crate::domain::names::is_hidden;

/// Combining marks a letter may carry before the rest is left out; no living script needs more.
pub(super) const MOST_MARKS: usize = 4;

/// Ends whichever style is on. Unassigned and ignorable, so of no width, and never part of honest text.
const END: char = '\u{e0080}';

/// A style of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
    Cyan,
}

impl Ink {
    const ALL: [Ink; 6] = [Ink::Bold, Ink::Dim, Ink::Green, Ink::Red, Ink::Yellow, Ink::Cyan];

    /// Returns the text, made safe by [`show`], between the marks of this style.
    pub(crate) fn on(self, text: &str) -> String {
        format!("{}{}{END}", self.mark(), show(text))
    }

    fn mark(self) -> char {
        match self {
            Ink::Bold => '\u{e0081}',
            Ink::Dim => '\u{e0082}',
            Ink::Green => '\u{e0083}',
            Ink::Red => '\u{e0084}',
            Ink::Yellow => '\u{e0085}',
            Ink::Cyan => '\u{e0086}',
        }
    }

    fn sequence(self) -> &'static str {
        match self {
            Ink::Bold => "\x1b[1m",
            Ink::Dim => "\x1b[2m",
            Ink::Green => "\x1b[32m",
            Ink::Red => "\x1b[31m",
            Ink::Yellow => "\x1b[33m",
            Ink::Cyan => "\x1b[36m",
        }
    }

    fn of(mark: char) -> Option<Ink> {
        Ink::ALL.into_iter().find(|ink| ink.mark() == mark)
    }
}

/// Returns the text with everything that would act on a terminal, or not be seen, written out as `\u{9b}`.
pub(crate) fn show(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut safe = Safe::with_capacity(text.len());
    text.chars().for_each(|c| safe.push(c));
    Cow::Owned(safe.text)
}

/// Returns the finished text: marks become escape sequences or nothing, lines stay, all else is as in [`show`].
pub(crate) fn paint(text: &str, colors: bool) -> String {
    let mut safe = Safe::with_capacity(text.len());
    let mut styled = false;
    for c in text.chars() {
        match Ink::of(c) {
            Some(ink) if colors => {
                safe.text.push_str(ink.sequence());
                styled = true;
            }
            Some(_) => {}
            // A style ends with its line, also where its own end was cut off.
            None if c == END || c == '\n' => {
                if styled {
                    safe.text.push_str("\x1b[0m");
                    styled = false;
                }
                if c == '\n' {
                    safe.text.push('\n');
                }
            }
            None => safe.push(c),
        }
    }
    if styled {
        safe.text.push_str("\x1b[0m");
    }
    safe.text
}

/// Text being made safe, with the length of the run of combining marks it ends in.
struct Safe {
    text: String,
    marks: usize,
}

impl Safe {
    fn with_capacity(length: usize) -> Self {
        Safe { text: String::with_capacity(length), marks: 0 }
    }

    fn push(&mut self, c: char) {
        if is_hidden(c) {
            self.marks = 0;
            write!(self.text, "{}", c.escape_unicode()).expect("writing to a String cannot fail");
            return;
        }
        self.marks = if is_combining(c) { self.marks + 1 } else { 0 };
        match self.marks.saturating_sub(MOST_MARKS) {
            0 => self.text.push(c),
            1 => self.text.push('…'),
            _ => {}
        }
    }
}

/// Returns whether a character is drawn over the one before it.
pub(super) fn is_combining(c: char) -> bool {
    !c.is_ascii() && console::measure_text_width(c.encode_utf8(&mut [0; 4])) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_left_as_it_is() {
        assert!(matches!(show("Acme Training Ltd"), Cow::Borrowed(_)));
        assert_eq!(show("Zoë Müller, 株式会社, 🚀 ❤\u{fe0f}"), "Zoë Müller, 株式会社, 🚀 ❤\u{fe0f}");
        assert_eq!(show("e\u{301}a\u{308}"), "e\u{301}a\u{308}");
    }

    #[test]
    fn escape_sequences_are_shown_and_not_obeyed() {
        assert_eq!(show("\x1b]52;c;cm0gLXJm\x07"), "\\u{1b}]52;c;cm0gLXJm\\u{7}");
        assert_eq!(show("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(show("unterminated \x1b]0;title"), "unterminated \\u{1b}]0;title");
        assert_eq!(show("a\nb\tc\rd\x7f"), "a\\u{a}b\\u{9}c\\u{d}d\\u{7f}");
    }

    #[test]
    fn text_cannot_be_turned_round_or_hidden() {
        assert_eq!(show("user\u{202e}gpj.exe"), "user\\u{202e}gpj.exe");
        assert_eq!(show("\u{2066}a\u{2069}\u{200f}"), "\\u{2066}a\\u{2069}\\u{200f}");
        assert_eq!(show("ad\u{200b}min\u{feff}"), "ad\\u{200b}min\\u{feff}");
        assert_eq!(show("tag\u{e0041}"), "tag\\u{e0041}");
    }

    #[test]
    fn a_long_run_of_combining_marks_is_capped() {
        let tower = format!("a{}b", "\u{301}".repeat(10_000));
        assert_eq!(show(&tower), format!("a{}…b", "\u{301}".repeat(4)));
    }

    #[test]
    fn marks_have_no_width_and_become_colours_last() {
        let text = Ink::Red.on("failed");
        assert_eq!(console::measure_text_width(&text), 6);
        assert_eq!(paint(&text, true), "\x1b[31mfailed\x1b[0m");
        assert_eq!(paint(&text, false), "failed");
    }

    #[test]
    fn a_style_never_runs_into_the_next_line() {
        let cut: String = Ink::Bold.on("header").chars().take(4).collect();
        assert_eq!(paint(&format!("{cut}\nnext"), true), "\x1b[1mhea\x1b[0m\nnext");
    }

    #[test]
    fn text_that_nobody_made_safe_is_made_safe_at_the_outlet() {
        assert_eq!(paint("name \x1b[2J\u{9b}1m", true), "name \\u{1b}[2J\\u{9b}1m");
        assert_eq!(Ink::Red.on("a\u{e0083}b"), "\u{e0084}a\\u{e0083}b\u{e0080}");
    }
}
