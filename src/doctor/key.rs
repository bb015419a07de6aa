//! The master key: where it comes from, and whether it lies too near to what it protects.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Ground, Said, failed, ok, warn};
use crate::config::KeySource;
use crate::store::{audit, keys};

/// Whether there is a key, and whether it is safe where it comes from and the one the database needs.
///
/// A command that prints it is not asked: it may ask somebody.
pub(super) fn source(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let source = match KeySource::resolve(ground.key_flags, ground.environment) {
        Ok(source) => source,
        Err(error) if error.code == "key_missing" => {
            let hint = "what only reads works without; for syncs and credentials, see `skillsctl help environment`";
            return Ok(vec![warn("no master key is at hand", hint)]);
        }
        Err(error) => return Ok(vec![failed(&error)]),
    };
    let mut said = Vec::new();
    match &source {
        KeySource::Command { .. } => return Ok(vec![ok(format!("comes from {source}, which was not asked"))]),
        KeySource::Variable { .. } => said.push(warn(
            format!("comes from {source}: weak, as other processes of the user could read it before this one began"),
            "keep it in a file of mode 0600, or give a command by `--key-command`",
        )),
        KeySource::File { .. } => {}
    }
    let id = match ground.store {
        Ok(store) => (ground.unlock)(store).and_then(|vault| {
            vault.prove_sealing_keys(store.read())?;
            Ok(vault.key_id())
        }),
        Err(_) => source.load(ground.environment).map(|key| key.id()).map_err(Into::into),
    };
    let id = match id {
        Ok(id) => id,
        Err(error) => return error.downcast().map(|error| vec![failed(&error)]),
    };
    if said.is_empty() {
        said.push(ok(format!("{id} from {source}")));
    }
    Ok(said)
}

/// Whether a key that was replaced is still accepted.
pub(super) fn replaced(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(store) = ground.store else { return Ok(Vec::new()) };
    let replaced = keys::master_keys(store.read())?.into_iter().filter_map(|key| key.replaced_at.zip(Some(key.id)));
    let said = |(at, id): (chrono::DateTime<chrono::Utc>, _)| {
        let message =
            format!("the master key {id} was replaced {} days ago and is still known", (ground.now - at).num_days());
        warn(message, format!("once every machine has the new one: `skillsctl key retire {id}`"))
    };
    Ok(replaced.map(said).collect())
}

/// Whether one theft gets both the key and what it opens.
pub(super) fn place(ground: &Ground<'_>) -> Result<Vec<Said>> {
    let Ok(KeySource::File { path: key, .. }) = KeySource::resolve(ground.key_flags, ground.environment) else {
        return Ok(Vec::new());
    };
    let Some(folder) = folder(&key) else { return Ok(Vec::new()) };
    let hint =
        "move it elsewhere and name it with `--key-file` or SKILLSCTL_KEY_FILE: whoever copies the folder has both";
    let mut said = Vec::new();
    if folder_of(ground.path).is_some_and(|other| folder.starts_with(other)) {
        said.push(warn(format!("the key file `{}` lies beside the database", key.display()), hint));
    }
    let last = ground.store.ok().map(|store| audit::last(store.read(), "db backup")).transpose()?.flatten();
    let backups = last.and_then(|(_, path)| folder_of(Path::new(&path)));
    if backups.is_some_and(|backups| folder.starts_with(&backups)) && said.is_empty() {
        said.push(warn(format!("the key file `{}` lies beside the backups", key.display()), hint));
    }
    if said.is_empty() {
        said.push(ok("lies apart from the database and its backups"));
    }
    Ok(said)
}

fn folder(file: &Path) -> Option<PathBuf> {
    file.canonicalize().ok()?.parent().map(Path::to_owned)
}

fn folder_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().ok()
}
