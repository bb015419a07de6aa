//! The way from the top of a file to a value, as errors show it: `streams[0].fields`.

use std::fmt;

/// Lives on the stack while values are read: each step points to the one above.
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// Returns how a message goes on: nothing at the top, or " in `streams[0]`".
    pub(super) fn inside(&self) -> String {
        match self {
            Path::Root => String::new(),
            path => format!(" in `{path}`"),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Item(above, at) => write!(f, "{above}[{at}]"),
            Path::Key(above, key) => {
                if !matches!(above, Path::Root) {
                    write!(f, "{above}.")?;
                }
                let word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
                if word { f.write_str(key) } else { write!(f, "{key:?}") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_one() {
        let streams = Path::Key(&Path::Root, "streams");
        let first = Path::Item(&streams, 0);
        let odd = Path::Key(&first, "a.b c");
        assert_eq!(odd.inside(), " in `streams[0].\"a.b c\"`");
        assert_eq!(Path::Root.inside(), "");
    }
}
