//! A document given on the command line: a file, or `-` for standard input.

use std::io::Read as _;

use clap::Args;

use crate::error::{Exit, UserError};

/// More than this is no document of ours; the reader of YAML says so of what is a little less.
const LARGEST: u64 = 4 << 20;

/// Where a document is read from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// File to read, or `-` for standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) file: String,
}

impl Source {
    /// Returns the text.
    pub(crate) fn read(&self) -> Result<String, UserError> {
        let mut bytes = Vec::new();
        let read = if self.file == "-" {
            std::io::stdin().lock().take(LARGEST).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(&self.file).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes))
        };
        let shown = self.file.escape_debug();
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                UserError::new(Exit::NotFound, "file_not_found", format!("there is no file `{shown}`"))
            }
            _ => UserError::new(Exit::Invalid, "file_unreadable", format!("`{shown}` cannot be read: {error}")),
        })?;
        String::from_utf8(bytes)
            .map_err(|_| UserError::new(Exit::Invalid, "file_not_text", format!("`{shown}` is not UTF-8 text")))
    }
}
