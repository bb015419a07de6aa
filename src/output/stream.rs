//! Lists piece by piece, in every form: nothing of a piece is kept once it is written.

use anyhow::Result;
use serde::Serialize;

use super::document::{self, Selection};
use super::table::{self, ALWAYS, Column, Head, Layout};
use super::{Cell, Format, Output, paint, show, yaml};

/// What a list is of.
pub(crate) struct Heading<'a, T> {
    /// The kind of the list in JSON, like `OrgList`.
    pub kind: &'a str,
    /// The name of a thing for `-o name`.
    pub name: fn(&T) -> String,
    /// What to tell a person where there is nothing.
    pub empty: &'a str,
}

/// A list that is being written.
struct Writing<'a, T> {
    output: &'a Output,
    heading: &'a Heading<'a, T>,
    columns: &'a [Column<T>],
    begun: bool,
    /// The fields, as the first piece has them or as they are wanted.
    names: Option<Vec<String>>,
    /// The columns of a table and their widths, as the first piece wants them.
    layout: Option<Layout>,
}

impl Output {
    /// Prints a list that comes in pieces; `warnings` is asked at the end.
    pub(crate) fn stream<T: Serialize, P: AsRef<[T]>, const N: usize>(
        &self,
        heading: &Heading<'_, T>,
        columns: [Column<T>; N],
        pieces: impl Iterator<Item = Result<P>>,
        warnings: impl FnOnce() -> Vec<String>,
    ) -> Result<()> {
        let names = self.options.fields.clone();
        let mut writing = Writing { output: self, heading, columns: &columns, begun: false, names, layout: None };
        for piece in pieces {
            let piece = piece?;
            if !piece.as_ref().is_empty() {
                self.write(&writing.piece(piece.as_ref())?)?;
                writing.begun = true;
            }
        }
        let warnings = warnings();
        self.write(&writing.end(&warnings)?)?;
        if !matches!(self.options.format, Format::Json | Format::Yaml) {
            warnings.iter().for_each(|warning| self.warn(warning));
        }
        if !writing.begun && self.options.format == Format::Table && self.screen.stdout {
            self.note(heading.empty);
        }
        Ok(())
    }
}

impl<T: Serialize> Writing<'_, T> {
    fn piece(&mut self, items: &[T]) -> Result<String> {
        let fields = self.output.options.fields.as_deref();
        match self.output.options.format {
            Format::Name => {
                return Ok(items.iter().map(|item| show(&(self.heading.name)(item)).into_owned() + "\n").collect());
            }
            Format::Table if fields.is_none() => {
                let (heads, look) = (table::heads(self.columns), self.output.look());
                return Ok(self.table(&heads, &table::cells(items, self.columns, &look)));
            }
            _ => {}
        }
        let mut texts = items.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<String>>>()?;
        let is_csv = self.output.options.format == Format::Csv;
        if fields.is_some() || is_csv {
            let mut selection = Selection::of(self.heading.kind, &texts, fields)?;
            selection.names = self.names.get_or_insert(selection.names).clone();
            match self.output.options.format {
                Format::Csv => return self.csv(&selection),
                Format::Table => return Ok(self.fields_table(&selection)),
                _ => {}
            }
            texts = selection.rows.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
        }
        match self.output.options.format {
            Format::Yaml => self.yaml(&texts),
            Format::Json => Ok(document::tame(&self.json(&texts)?).into_owned()),
            _ => Ok(document::tame(&(texts.join("\n") + "\n")).into_owned()),
        }
    }

    /// Returns what ends a document.
    fn end(&self, warnings: &[String]) -> Result<String> {
        let warnings = serde_json::to_string(warnings)?;
        let kind = serde_json::to_string(self.heading.kind)?;
        match (self.output.options.format, self.begun) {
            (Format::Json, false) => {
                let whole = format!("{{\"kind\":{kind},\"v\":1,\"items\":[],\"warnings\":{warnings}}}");
                let whole = if self.output.screen.stdout { document::pretty(&whole)? } else { whole };
                Ok(document::tame(&whole).into_owned() + "\n")
            }
            (Format::Json, true) if self.output.screen.stdout => {
                let warnings = document::pretty(&warnings)?.replace('\n', "\n  ");
                Ok(document::tame(&format!("\n  ],\n  \"warnings\": {warnings}\n}}\n")).into_owned())
            }
            (Format::Json, true) => Ok(document::tame(&format!("],\"warnings\":{warnings}}}\n")).into_owned()),
            (Format::Yaml, begun) => {
                let head =
                    if begun { String::new() } else { format!("kind: {}\nv: 1\nitems: []\n", self.heading.kind) };
                Ok(head + &yaml::document(&format!("{{\"warnings\":{warnings}}}"))?)
            }
            _ => Ok(String::new()),
        }
    }

    fn json(&self, texts: &[String]) -> Result<String> {
        let kind = serde_json::to_string(self.heading.kind)?;
        if !self.output.screen.stdout {
            let head = if self.begun { ",".to_owned() } else { format!("{{\"kind\":{kind},\"v\":1,\"items\":[") };
            return Ok(head + &texts.join(","));
        }
        let head = format!("{{\n  \"kind\": {kind},\n  \"v\": 1,\n  \"items\": [");
        let mut json = if self.begun { String::new() } else { head };
        for (place, text) in texts.iter().enumerate() {
            json.push_str(if self.begun || place > 0 { ",\n    " } else { "\n    " });
            json.push_str(&document::pretty(text)?.replace('\n', "\n    "));
        }
        Ok(json)
    }

    fn yaml(&self, texts: &[String]) -> Result<String> {
        let head = if self.begun { String::new() } else { format!("kind: {}\nv: 1\nitems:\n", self.heading.kind) };
        texts.iter().try_fold(head, |yaml, text| Ok(yaml + &yaml::item(text)?))
    }

    fn csv(&self, selection: &Selection<'_>) -> Result<String> {
        selection.csv(!self.begun, |text, is_text| self.output.csv_cell(text, is_text))
    }

    fn fields_table(&mut self, selection: &Selection<'_>) -> String {
        let heads: Vec<Head<'_>> = selection.names.iter().map(|name| Head { header: name, priority: ALWAYS }).collect();
        let rows: Vec<Vec<Cell>> = selection.texts().map(|row| row.into_iter().map(Cell::Text).collect()).collect();
        self.table(&heads, &rows)
    }

    /// Returns rows for where stdout goes; on a terminal in the columns of the first piece.
    fn table(&mut self, heads: &[Head<'_>], rows: &[Vec<Cell>]) -> String {
        let look = self.output.look();
        if !self.output.screen.stdout {
            // Not painted: for a pipe no cell has a style, and the tabs are meant.
            return table::tabbed(rows, &look);
        }
        let layout = self.layout.get_or_insert_with(|| Layout::of(heads, rows, &look, self.output.screen.width));
        let drawn = layout.drawn(heads, rows, &look, !self.begun);
        paint(&drawn, self.output.colors.stdout)
    }
}
