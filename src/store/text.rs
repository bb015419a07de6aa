//! How instants and content hashes are written in the database.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::secrets::hex;

/// Returns an instant as stored: RFC 3339 in UTC with milliseconds, which sorts as text.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns the SHA-256 of a text in hex.
pub(crate) fn hash(text: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// Reads a stored instant.
pub(super) fn instant(index: usize, text: &str) -> rusqlite::Result<DateTime<Utc>> {
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error)))
}

/// Reads the instant in a column.
pub(super) fn at(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    instant(0, row.get_ref(column)?.as_str()?)
}

/// Reads the instant in a column that may be null.
pub(super) fn at_or_null(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<DateTime<Utc>>> {
    row.get_ref(column)?.as_str_or_null()?.map(|text| instant(0, text)).transpose()
}

/// Reads a column whose text a type checks itself.
pub(super) fn parsed<T: std::str::FromStr<Err = String>>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

/// Reads a column of JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}
