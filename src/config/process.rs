//! What the process does to itself before anything else, so that neither its files nor its memory are open to others.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};
use signal_hook::consts::SIGXFSZ;

/// Makes new files private, and turns off core dumps and the reading of the process by others of the same user.
/// To be called first thing, before threads are started.
pub(crate) fn harden_process() -> Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("turning core dumps off")?;
    // A limit on the size of files then fails a write, which is rolled back and told, instead of killing the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("watching for the limit on the size of files")?;
    // Also closes /proc/PID/environ, where SKILLSCTL_KEY could be read.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("closing the process to others of the same user")?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::process::Command;

    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;
    use crate::config::Environment;

    const CHILD: &str = "SKILLSCTL_TEST_HARDEN_IN";

    /// Runs itself again in a process of its own: what is hardened stays so, and other tests want a common umask.
    #[test]
    fn a_hardened_process_makes_private_files_and_no_core() {
        if let Some(folder) = Environment::of_process().path(CHILD) {
            return in_child(&folder);
        }
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "config::process::tests::a_hardened_process_makes_private_files_and_no_core"])
            .env(CHILD, folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        assert!(folder.path().join("file").exists(), "the test did run in the child");
    }

    #[expect(clippy::unwrap_used, reason = "a part of the test above")]
    fn in_child(folder: &std::path::Path) {
        harden_process().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        std::fs::write(folder.join("file"), "").unwrap();
        std::fs::DirBuilder::new().mode(0o777).create(folder.join("folder")).unwrap();
        assert_eq!((mode("file"), mode("folder")), (0o600, 0o700));
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
