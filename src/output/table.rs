//! Lays rows out: a table for a terminal, tabs for a pipe, aligned blocks for `show` commands.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use console::measure_text_width;

use super::look::{Cell, Look};

/// A column of a list: its header and how an item fills it.
pub(crate) struct Column<T> {
    /// The words above it on a terminal.
    pub header: &'static str,
    /// Its worth: where the terminal is too narrow the lowest goes first. The first column and those that are
    /// [`ALWAYS`] stay.
    pub priority: u8,
    /// The cell of an item.
    pub cell: fn(&T, &Look) -> Cell,
}

/// The priority of a column that is never dropped; its text is cut only when nothing is left to drop.
pub(crate) const ALWAYS: u8 = u8::MAX;

/// What stands between two columns of a table.
const GAP: u16 = 2;

/// A header with the worth of its column.
pub(super) struct Head<'a> {
    pub header: &'a str,
    pub priority: u8,
}

/// Returns the heads of columns.
pub(super) fn heads<T>(columns: &[Column<T>]) -> Vec<Head<'static>> {
    columns.iter().map(|column| Head { header: column.header, priority: column.priority }).collect()
}

/// Returns the cells of items, row by row.
pub(super) fn cells<T>(items: &[T], columns: &[Column<T>], look: &Look) -> Vec<Vec<Cell>> {
    items.iter().map(|item| columns.iter().map(|column| (column.cell)(item, look)).collect()).collect()
}

/// Returns rows for a pipe: no header, tabs between, everything in full.
pub(super) fn tabbed(rows: &[Vec<Cell>], look: &Look) -> String {
    rows.iter().map(|row| row.iter().map(|cell| cell.render(look)).collect::<Vec<_>>().join("\t") + "\n").collect()
}

/// Which columns of a table there are, and how wide: measured once, so that rows that come later stand below the first.
pub(super) struct Layout {
    kept: Vec<usize>,
    /// The width of each column that is kept, without the gap.
    widths: Vec<usize>,
    /// Which of them may be cut: half a number or half a time would be a wrong one.
    cut: Vec<bool>,
    right: Vec<bool>,
}

impl Layout {
    /// Lays columns out for a terminal of a width: those of least worth are dropped before any text is cut, the first column is
    /// always there in full.
    pub(super) fn of(heads: &[Head<'_>], rows: &[Vec<Cell>], look: &Look, width: u16) -> Layout {
        let mut widths: Vec<usize> = heads.iter().map(|head| measure_text_width(head.header)).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(&cell.render(look)));
            }
        }
        let kept = fitting(heads, &widths, width.into());
        let any = |index: usize, is: fn(&Cell) -> bool| rows.iter().any(|row| is(&row[index]));
        let cut: Vec<bool> =
            kept.iter().map(|&index| index > 0 && any(index, |cell| matches!(cell, Cell::Text(_)))).collect();
        let right = kept.iter().map(|&index| any(index, |cell| matches!(cell, Cell::Number(_)))).collect();
        let mut widths: Vec<usize> = kept.iter().map(|&index| widths[index]).collect();
        let whole: usize = widths.iter().zip(&cut).filter(|(_, cut)| !**cut).map(|(width, _)| width).sum();
        let gaps = kept.len().saturating_sub(1) * usize::from(GAP);
        share(&mut widths, &cut, usize::from(width).saturating_sub(whole + gaps));
        Layout { kept, widths, cut, right }
    }

    /// Returns rows, under a header if wanted. What may not be cut makes its column wider from there on.
    pub(super) fn drawn(&mut self, heads: &[Head<'_>], rows: &[Vec<Cell>], look: &Look, header: bool) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
        // Text is cut where the room ends; the cells have no newline, so no word is kept whole at its expense.
        table.set_delimiter('\n');
        if header {
            table.set_header(line(self.kept.iter().map(|&index| look.bold(&heads[index].header.to_uppercase()))));
        }
        for row in rows {
            let texts: Vec<String> = self.kept.iter().map(|&index| row[index].render(look)).collect();
            for ((width, cut), text) in self.widths.iter_mut().zip(&self.cut).zip(&texts) {
                if !cut {
                    *width = (*width).max(measure_text_width(text));
                }
            }
            table.add_row(line(texts.into_iter()));
        }
        for (place, column) in table.column_iter_mut().enumerate() {
            let gap = if place + 1 == self.kept.len() { 0 } else { GAP };
            column.set_padding((0, gap));
            if self.right[place] {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let width = u16::try_from(self.widths[place]).unwrap_or(u16::MAX - GAP).saturating_add(gap);
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
        lines(&table)
    }
}

/// Makes columns that may be cut narrower, the widest first, until they fit into the room.
fn share(widths: &mut [usize], cut: &[bool], room: usize) {
    loop {
        let all: usize = widths.iter().zip(cut).filter(|(_, cut)| **cut).map(|(width, _)| *width).sum();
        let widest =
            widths.iter_mut().zip(cut).filter(|(width, cut)| **cut && **width > 1).max_by_key(|(width, _)| **width);
        match widest {
            Some((width, _)) if all > room => *width -= (all - room).min(if *width > 400 { *width / 2 } else { 1 }),
            _ => return,
        }
    }
}

/// Returns rows as an aligned block without a header, each line indented, three spaces between the columns.
pub(crate) fn block(rows: &[Vec<Cell>], indent: u16, look: &Look) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row.iter().map(|cell| cell.render(look)).collect::<Vec<_>>());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { indent } else { 0 }, 3));
    }
    lines(&table)
}

/// Returns labels and their values, the values below one another.
pub(crate) fn pairs(pairs: &[(&str, Cell)], look: &Look) -> String {
    let rows: Vec<Vec<Cell>> = pairs.iter().map(|(label, value)| vec![Cell::text(*label), value.clone()]).collect();
    block(&rows, 0, look)
}

/// Returns the indexes of the columns that stay, in their order.
fn fitting(heads: &[Head<'_>], widths: &[usize], width: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..heads.len()).collect();
    let needed = |kept: &[usize]| -> usize {
        kept.iter().map(|&index| widths[index]).sum::<usize>() + kept.len().saturating_sub(1) * usize::from(GAP)
    };
    while needed(&kept) > width {
        let least = kept
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, index)| heads[**index].priority != ALWAYS)
            .min_by_key(|(place, index)| (heads[**index].priority, usize::MAX - place));
        match least {
            Some((place, _)) => drop(kept.remove(place)),
            None => break,
        }
    }
    kept
}

/// Returns a row that takes a single line.
fn line(cells: impl Iterator<Item = String>) -> Row {
    let mut row = Row::from(cells.collect::<Vec<_>>());
    row.max_height(1);
    row
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::super::look::State;
    use super::super::show::paint;
    use super::*;

    struct Org {
        slug: &'static str,
        name: &'static str,
        state: State,
        records: i64,
        synced: Option<&'static str>,
    }

    const ORGS: [Org; 3] = [
        Org {
            slug: "acme",
            name: "Acme Training Ltd",
            state: State::Ok,
            records: 18_204,
            synced: Some("2026-11-30T08:58:00Z"),
        },
        Org { slug: "globex-apprenticeships", name: "Globex", state: State::Failed, records: 7, synced: None },
        Org { slug: "umbra", name: "株式会社 \u{202e}evil\n", state: State::Running, records: 0, synced: None },
    ];

    fn columns() -> [Column<Org>; 5] {
        [
            Column { header: "slug", priority: ALWAYS, cell: |org, _| Cell::text(org.slug) },
            Column { header: "name", priority: 2, cell: |org, _| Cell::text(org.name) },
            Column {
                header: "status",
                priority: ALWAYS,
                cell: |org, _| {
                    let word = match org.state {
                        State::Ok => "connected",
                        State::Failed => "failed",
                        _ => "running",
                    };
                    Cell::state(org.state, word)
                },
            },
            Column { header: "records", priority: 1, cell: |org, _| Cell::number(org.records) },
            Column { header: "last sync", priority: 3, cell: |org, _| Cell::time(org.synced.map(at)) },
        ]
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn look(terminal: bool) -> Look {
        Look::new(terminal, at("2026-11-30T09:00:00Z"))
    }

    fn drawn(heads: &[Head<'_>], rows: &[Vec<Cell>], look: &Look, width: u16) -> String {
        Layout::of(heads, rows, look, width).drawn(heads, rows, look, true)
    }

    fn table(width: u16) -> String {
        let columns = columns();
        let look = look(true);
        paint(&drawn(&heads(&columns), &cells(&ORGS, &columns, &look), &look, width), false)
    }

    #[test]
    fn rows_that_come_later_stand_below_the_first() {
        let columns: [Column<Org>; 3] = [
            Column { header: "slug", priority: ALWAYS, cell: |org, _| Cell::text(org.slug) },
            Column { header: "name", priority: ALWAYS, cell: |org, _| Cell::text(org.name) },
            Column { header: "records", priority: ALWAYS, cell: |org, _| Cell::number(org.records) },
        ];
        let (heads, look) = (heads(&columns), look(true));
        let first = cells(&ORGS[..1], &columns, &look);
        let mut layout = Layout::of(&heads, &first, &look, 80);
        let drawn = layout.drawn(&heads, &first, &look, true);
        let later =
            [Org { slug: "beta", name: "A name that is much too long", state: State::Ok, records: 1, synced: None }];
        let more = layout.drawn(&heads, &cells(&later, &columns, &look), &look, false);
        assert_eq!(
            paint(&(drawn + &more), false),
            "SLUG  NAME               RECORDS\n\
             acme  Acme Training Ltd   18,204\n\
             beta  A name that is m…        1\n"
        );
    }

    #[test]
    fn a_wide_terminal_shows_every_column() {
        assert_eq!(
            table(120),
            "SLUG                    NAME                        STATUS       RECORDS  LAST SYNC\n\
             acme                    Acme Training Ltd           connected ✓   18,204  2 minutes ago\n\
             globex-apprenticeships  Globex                      failed ✗           7  -\n\
             umbra                   株式会社 \\u{202e}evil\\u{a}  running …          0  -\n"
        );
    }

    #[test]
    fn a_narrower_terminal_drops_the_column_of_least_worth_first() {
        assert_eq!(
            table(80),
            "SLUG                    NAME                        STATUS       LAST SYNC\n\
             acme                    Acme Training Ltd           connected ✓  2 minutes ago\n\
             globex-apprenticeships  Globex                      failed ✗     -\n\
             umbra                   株式会社 \\u{202e}evil\\u{a}  running …    -\n"
        );
    }

    #[test]
    fn a_narrow_terminal_keeps_slugs_whole() {
        assert_eq!(
            table(40),
            "SLUG                    STATUS\n\
             acme                    connected ✓\n\
             globex-apprenticeships  failed ✗\n\
             umbra                   running …\n"
        );
        assert!(table(10).contains("globex-apprenticeships"));
    }

    #[test]
    fn text_that_must_stay_is_cut_when_nothing_is_left_to_drop() {
        let columns: [Column<Org>; 2] = [
            Column { header: "slug", priority: ALWAYS, cell: |org, _| Cell::text(org.slug) },
            Column { header: "name", priority: ALWAYS, cell: |org, _| Cell::text(org.name) },
        ];
        let look = look(true);
        let drawn = drawn(&heads(&columns), &cells(&ORGS[..2], &columns, &look), &look, 34);
        assert_eq!(
            paint(&drawn, false),
            "SLUG                    NAME\n\
             acme                    Acme Trai…\n\
             globex-apprenticeships  Globex\n"
        );
    }

    #[test]
    fn colour_does_not_disturb_the_columns() {
        let columns = columns();
        let look = look(true);
        let coloured = paint(&drawn(&heads(&columns), &cells(&ORGS, &columns, &look), &look, 80), true);
        assert_eq!(console::strip_ansi_codes(&coloured), table(80));
        assert!(coloured.contains("\x1b[32mconnected ✓\x1b[0m"), "{coloured}");
    }

    #[test]
    fn a_pipe_gets_tabs_full_text_and_exact_times() {
        let columns = columns();
        let look = look(false);
        assert_eq!(
            tabbed(&cells(&ORGS, &columns, &look), &look),
            "acme\tAcme Training Ltd\tconnected\t18204\t2026-11-30T08:58:00.000Z\n\
             globex-apprenticeships\tGlobex\tfailed\t7\t\n\
             umbra\t株式会社 \\u{202e}evil\\u{a}\trunning\t0\t\n"
        );
    }

    #[test]
    fn pairs_stand_below_one_another() {
        let shown = pairs(
            &[
                ("slug", Cell::text("acme")),
                ("last sync", Cell::time(at("2026-11-30T08:58:00Z"))),
                ("note", Cell::Empty),
            ],
            &look(true),
        );
        assert_eq!(paint(&shown, false), "slug        acme\nlast sync   2 minutes ago\nnote        -\n");
    }

    #[test]
    fn a_block_is_indented_and_aligned() {
        let rows = [
            vec![Cell::text("Aptem"), Cell::text("LMS"), Cell::state(State::Ok, "connected")],
            vec![Cell::text("HubSpot"), Cell::text("CRM"), Cell::state(State::Failed, "refused")],
        ];
        assert_eq!(
            paint(&block(&rows, 2, &look(true)), false),
            "  Aptem     LMS   connected ✓\n  HubSpot   CRM   refused ✗\n"
        );
    }
}
