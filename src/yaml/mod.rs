//! The only room that reads and writes YAML: text becomes a tree that knows the place of every key and value.
//!
//! Parser events become [`Node`]s; typed values are read from nodes, so whatever is wrong is reported at its line
//! and column. Plain scalars keep their spelling and get a type only when one is asked for: a plain `NO`, `0123` or
//! `1.10` read into a `String` is exactly that text.
//!
//! A tree can hold nodes of several files (see [`merge`]): each mark knows its file.

mod mark;
mod node;
mod parse;
mod read;
mod scalar;
mod write;

pub(crate) use node::{Node, Part, UNSET, Value, merge};
pub(crate) use parse::parse;
pub(crate) use write::to_yaml;
