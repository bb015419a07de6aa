//! `key retire`: takes a master key that was replaced out of the database.

use anyhow::Result;
use clap::Args;

use super::super::change::Changed;
use crate::error::Exit;
use crate::secrets::KeyId;
use crate::session::Session;
use crate::store::audit;
use crate::vault;

/// Retire a master key that was replaced: the database knows it no more
///
/// Refused while it is in force or wraps anything. Needs no key. Backups from before it was replaced need it still.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl key retire 3f0c9d1be4a27756\n  skillsctl key retire 3f0c9d1be4a27756 --dry-run\n  skillsctl key retire 3f0c9d1be4a27756 --json"
)]
pub(crate) struct RetireArgs {
    /// Id of the key, as `skillsctl key status` shows it
    #[arg(value_name = "ID")]
    id: KeyId,
}

pub(crate) fn run(args: &RetireArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    vault::retire(&mut store, args.id, &super::change(session))?;
    let mut changed = Changed::new(session, args.id, "retired");
    changed.notes.push(match audit::last(store.read(), "db backup")? {
        Some((at, path)) => format!(
            "backups made before it was replaced still need it, the last one known is of {} ({path}): keep it as long as those, \
             then destroy it everywhere",
            at.format("%Y-%m-%d")
        ),
        None => "backups made before it was replaced still need it: keep it as long as those, then destroy it everywhere"
            .to_owned(),
    });
    changed.tell(session, "KeyChange")
}
