//! `db`: the database file itself: how it is, whether it is sound, copies of it, and its schema.

mod backup;
mod check;
mod migrate;
mod restore;
mod status;

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

use crate::error::Exit;
use crate::session::Session;

/// Look after the database: status, check, backup, restore, migrate
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Migrate(migrate::MigrateArgs),
}

pub(crate) fn run(command: DbCommand, session: &Session) -> Result<Exit> {
    match command {
        DbCommand::Status(args) => status::run(&args, session),
        DbCommand::Check(args) => check::run(&args, session),
        DbCommand::Backup(args) => backup::run(&args, session),
        DbCommand::Restore(args) => restore::run(&args, session),
        DbCommand::Migrate(args) => migrate::run(&args, session),
    }
}

/// Returns a path as it is found from anywhere.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Returns a number of bytes in the unit that suits it.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", scaled(1_024)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", scaled(1_048_576)),
        _ => format!("{:.1} GiB", scaled(1_073_741_824)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_suits_them() {
        assert_eq!(
            [0, 1_023, 1_536, 5_242_880, 3_221_225_472].map(size),
            ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]
        );
    }
}
