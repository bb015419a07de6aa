//! To come.
use super::http::{Request, Response};
use super::roster::{Account, Kind};
use super::world::World;
#[derive(Default)]
pub(crate) struct Cursors;
pub(crate) fn answer(_: &World, _: &Request) -> Response {
    Response::empty(404)
}
pub(crate) fn account_of(_: &World, _: &Request) -> Option<String> {
    None
}
pub(crate) fn id(_: &Account, _: Kind, index: usize) -> String {
    index.to_string()
}
pub(crate) fn error_code(_: u16) -> &'static str {
    ""
}
pub(crate) fn refused(status: u16, _: &str, _: &str) -> Response {
    Response::empty(status)
}
