//! Answers of an expression, kept for values that come again: a status or a company seldom is a new one, a person mostly is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// More answers than this are not kept at once.
const MOST: usize = 8192;
/// After so many questions it shows whether it pays to keep answers.
const TRIAL: u32 = 16_384;

/// The answers of one expression. It takes the same values always to the same answer.
pub(super) struct Memo<T> {
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    answers: HashMap<String, T>,
    question: String,
    asked: u32,
    known: u32,
    /// Whether values hardly ever come again.
    idle: bool,
}

impl<T: Clone> Memo<T> {
    pub(super) fn new() -> Self {
        let (answers, question) = (HashMap::new(), String::new());
        Memo { kept: Mutex::new(Kept { answers, question, asked: 0, known: 0, idle: false }) }
    }

    /// Returns the answer for these values, which `find` finds where it is not known.
    pub(super) fn answer<'v>(&self, values: impl Iterator<Item = &'v str>, find: impl FnOnce() -> T) -> T {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.idle {
            drop(kept);
            return find();
        }
        let Kept { answers, question, asked, known, idle } = &mut *kept;
        question.clear();
        for value in values {
            question.push_str(value);
            // No JSON has it, so no two lists of values look alike.
            question.push('\0');
        }
        *asked += 1;
        if let Some(answer) = answers.get(question.as_str()) {
            *known += 1;
            return answer.clone();
        }
        if *asked >= TRIAL {
            *idle = *known < TRIAL / 4;
            (*asked, *known) = (0, 0);
        }
        if answers.len() >= MOST || *idle {
            answers.clear();
        }
        let answer = find();
        answers.insert(question.clone(), answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_comes_again_is_answered_once_and_what_never_does_is_not_kept() {
        let memo = Memo::new();
        let found = Cell::new(0);
        let ask = |values: &[&str]| {
            memo.answer(values.iter().copied(), || {
                found.set(found.get() + 1);
                values.join("+")
            })
        };
        for _ in 0..3 {
            assert_eq!(ask(&["a", "bc"]), "a+bc");
            assert_eq!(ask(&["ab", "c"]), "ab+c");
        }
        assert_eq!(found.get(), 2);
        for number in 0..2 * TRIAL {
            ask(&[&number.to_string()]);
        }
        let before = found.get();
        assert_eq!((ask(&["a", "bc"]), ask(&["a", "bc"])), ("a+bc".to_owned(), "a+bc".to_owned()));
        assert_eq!(found.get(), before + 2, "it has given up");
        assert!(memo.kept.lock().unwrap().answers.len() <= 1);
    }
}
