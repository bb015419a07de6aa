//! Records as a table of typed cells, which the query languages filter and sort.

use std::cmp::Ordering;

use serde_json::Value;

use super::clock::Ticks;
use super::condition::Condition;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Int,
    Text,
    Time,
    Day,
    Bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
}

/// Returns the column of a name, as the table spells it.
pub(crate) fn column(columns: &[Column], name: &str) -> Option<Column> {
    columns.iter().find(|column| column.name == name).copied()
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Time(Ticks),
    /// `2001-04-17`.
    Day(String),
    Bool(bool),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// Returns the JSON of the cell, with times written by `time`.
    pub(crate) fn json(self, time: fn(Ticks) -> String) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Int(number) => number.into(),
            Cell::Text(text) | Cell::Day(text) => text.into(),
            Cell::Time(at) => time(at).into(),
            Cell::Bool(is) => is.into(),
        }
    }

    /// Returns how two cells of one column sort; nothing sorts first.
    pub(crate) fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Null, Cell::Null) => Ordering::Equal,
            (Cell::Null, _) => Ordering::Less,
            (_, Cell::Null) => Ordering::Greater,
            _ => self.compare(other).unwrap_or(Ordering::Equal),
        }
    }

    /// Returns how two cells of one type compare; nothing compares with nothing.
    pub(crate) fn compare(&self, other: &Cell) -> Option<Ordering> {
        match (self, other) {
            (Cell::Int(a), Cell::Int(b)) | (Cell::Time(a), Cell::Time(b)) => Some(a.cmp(b)),
            (Cell::Text(a), Cell::Text(b)) | (Cell::Day(a), Cell::Day(b)) => Some(a.cmp(b)),
            (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Int(number)
    }
}

impl From<bool> for Cell {
    fn from(is: bool) -> Cell {
        Cell::Bool(is)
    }
}

pub(crate) trait Table {
    fn columns(&self) -> &'static [Column];
    /// Returns the number of rows, hidden ones too.
    fn len(&self) -> usize;
    fn shown(&self, row: usize) -> bool;
    fn cell(&self, row: usize, column: &str) -> Cell;
    /// Returns the column whose cells rise with the row number.
    fn key(&self) -> &'static str;
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sort {
    pub(crate) column: &'static str,
    pub(crate) descending: bool,
}

/// Returns the rows that meet a condition, sorted, at most `enough` of them where the order allows to stop there.
pub(crate) fn pick(table: &dyn Table, condition: &Condition, sorts: &[Sort], enough: usize) -> Vec<usize> {
    let by_key = sorts.first().is_none_or(|sort| sort.column == table.key() && !sort.descending);
    let mut rows: Vec<usize> = (first_row(table, condition)..table.len())
        .filter(|&row| table.shown(row) && condition.holds(&|column| table.cell(row, column)))
        .take(if by_key { enough } else { usize::MAX })
        .collect();
    if !by_key {
        // Cells are worked out when asked for, so each row's are asked for once and not at every comparison.
        let cells = |row: &usize| sorts.iter().map(|sort| table.cell(*row, sort.column)).collect::<Vec<_>>();
        let mut keyed: Vec<_> = rows.iter().map(|row| (cells(row), *row)).collect();
        keyed.sort_by(|(a, _), (b, _)| compare_all(a, b, sorts));
        rows = keyed.into_iter().map(|(_, row)| row).collect();
    }
    rows
}

fn compare_all(a: &[Cell], b: &[Cell], sorts: &[Sort]) -> Ordering {
    for ((a, b), sort) in a.iter().zip(b).zip(sorts) {
        let order = if sort.descending { b.order(a) } else { a.order(b) };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Returns the first row that a lower bound on the key lets through, so that a key-set walk costs a page a page.
fn first_row(table: &dyn Table, condition: &Condition) -> usize {
    let Some(bound) = condition.lower_bound(table.key()) else { return 0 };
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if table.cell(middle, table.key()).order(bound).is_lt() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
