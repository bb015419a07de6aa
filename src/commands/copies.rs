//! What erasing and purging leave behind: traces in the database's files, which are written anew, and copies elsewhere.

use crate::session::Session;
use crate::store::Store;
use crate::store::backup::Copy;

/// Writes the files of the database anew. What was `done` stays so if that fails: it is told, and can be tried again.
pub(super) fn rewritten(store: &Store, session: &Session, done: &str) -> bool {
    let why = match store.rewrite() {
        Ok(true) => return true,
        Ok(false) => "others are using the database".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    // Scripts are told by the document.
    if session.output.is_json() {
        return false;
    }
    session.output.warn(format!(
        "{done}, but traces may stay in the files of the database: {why}; run the same command again to remove them"
    ));
    false
}

/// Says which copies there may still be.
pub(super) fn tell(session: &Session, copies: &[Copy], what_they_hold: &str) {
    if copies.is_empty() {
        return;
    }
    session.output.warn(what_they_hold);
    for copy in copies {
        let at = copy.at.as_ref().map(|at| format!("   made {at}")).unwrap_or_default();
        let gone = if copy.is_there { "" } else { "   (not there any more, or on another machine)" };
        session.output.warn(format!("  {}{at}{gone}", copy.path));
    }
}
