//! Who may read what the program leaves behind, whatever umask it was started with; and what it does where it may not write.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::Connection;

use crate::support::{World, below, chmod, world};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

/// Runs a line under a umask and fails the test unless it ends with this code.
fn under(world: &World, umask: &str, line: &str, input: &str, exit: i32) {
    let own = world.command(line);
    let mut command = world.program("sh");
    command.args(["-c", "umask $0; exec \"$@\"", umask]).arg(own.get_program()).args(own.get_args());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).ok();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(exit), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn everything_that_is_made_is_for_its_owner_alone_under_every_umask() {
    for umask in ["000", "022", "077"] {
        let mut world = World::empty();
        let made = world.home().join("made");
        std::fs::create_dir(&made).unwrap();
        chmod(&made, 0o755);
        world.set("SKILLSCTL_DB", made.join("data/deep/skills.db").to_str().unwrap());
        world.set("SKILLSCTL_KEY_FILE", made.join("config/skillsctl.key").to_str().unwrap());
        world.set("TMPDIR", made.to_str().unwrap());
        let editor = world.file(
            "editor.sh",
            "#!/bin/sh\nstat -c %a \"$1\" \"${1%/*}\" \"${1%/*}\"/* > modes\necho 'wrong: [' > \"$1\"\n",
        );
        chmod(&editor, 0o700);
        world.set("SKILLSCTL_EDITOR", editor.to_str().unwrap());
        let run = |line: &str| under(&world, umask, line, "", 0);
        run("init");
        run("org create --name Acme --subdomain acme --preset aptem");
        run("override set acme aptem allow_insecure_http=true api_url=http://127.0.0.1:9");
        under(&world, umask, "credential set acme aptem api_key --from-stdin", "a-secret-of-twenty-letters", 0);
        // Somebody who reads keeps the log and its index in place.
        let reader = Connection::open(made.join("data/deep/skills.db")).unwrap();
        reader.query_row("SELECT count(*) FROM organizations", [], |_| Ok(())).unwrap();
        // Locks and budgets; nobody answers there.
        under(&world, umask, "sync acme", "", 9);
        // What was typed is kept beside its schema.
        under(&world, umask, "override edit acme", "", 7);
        let modes = std::fs::read_to_string(world.home().join("modes")).unwrap();
        assert_eq!(modes, "600\n700\n600\n600\n", "while it is edited, under {umask}");
        run("db backup made/data/copy.db");
        for companion in ["-wal", "-shm"] {
            let path = made.join(format!("data/deep/skills.db{companion}"));
            assert_eq!(mode(&path), 0o600, "{companion} under {umask}");
        }
        drop(reader);
        run("db restore made/data/copy.db --confirm skills.db");
        // An older schema is kept beside the database before it is brought up to date.
        let old = made.join("data/old.db");
        let database = Connection::open(&old).unwrap();
        database.execute_batch(include_str!("../fixtures/schema_1.sql")).unwrap();
        drop(database);
        chmod(&old, 0o600);
        run("org list --db made/data/old.db");

        let found: BTreeMap<_, _> =
            below(&made).into_iter().map(|path| (path.display().to_string(), mode(&path))).collect();
        let has = |part: &str| found.keys().any(|path| path.contains(part));
        for part in
            ["skills.db", "skillsctl.key", "skills.db.locks/", "copy.db", ".replaced-", "old.db.schema1-", "acme.yaml"]
        {
            assert!(has(part), "no `{part}` was made: {:?}", found.keys());
        }
        let wrong: BTreeMap<_, _> = found
            .iter()
            .filter(|(path, mode)| **mode != if Path::new(path).is_dir() { 0o700 } else { 0o600 })
            .map(|(path, mode)| (path, format!("{mode:o}")))
            .collect();
        assert!(wrong.is_empty(), "under {umask}: {wrong:#?}");
    }
}

/// Returns everything below a folder with its length, to see that nothing was made or changed.
fn state(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    below(folder).into_iter().map(|path| (path.clone(), length(&path))).collect()
}

#[test]
fn where_nothing_may_be_written_reads_work_and_changes_say_why() {
    const READS: [&str; 7] =
        ["org list", "status acme", "config show acme aptem", "log list", "db status", "db check", "doctor"];
    const WRITES: [&str; 5] = [
        "org suspend acme --json",
        "override set acme aptem sync_frequency=2h --json",
        "preset apply -f preset.yaml -m x --json",
        "provider add -f provider.yaml --yes --json",
        "init --json",
    ];
    // A folder that may be read, a file that may be read, or both.
    for (folder, file) in [(0o755, 0o666), (0o1777, 0o644), (0o755, 0o644)] {
        let world = world();
        world.create("acme", "aptem");
        world.file("preset.yaml", &world.changed_preset("aptem", "hourly", "2h"));
        world.file("provider.yaml", include_str!("../../examples/providers/larkfield.yaml"));
        chmod(world.home(), folder);
        let Some(_) = world.as_nobody("version") else { return };
        chmod(&world.db(), file);
        for name in ["preset.yaml", "provider.yaml"] {
            chmod(&world.home().join(name), 0o644);
        }
        // Whoever else uses it made the locks, for themselves alone.
        let before = state(world.home());
        for line in READS {
            let (exit, _, stderr) = world.as_nobody(line).unwrap();
            // The key is for its owner alone, and so is what follows from it.
            let fine = exit == 0 || (line == "doctor" && [8, 12].contains(&exit));
            assert!(fine, "{line} with {folder:o} and {file:o}: {exit} {stderr}");
        }
        for line in WRITES {
            let (exit, stdout, stderr) = world.as_nobody(line).unwrap();
            // `init` changes nothing where all is there already, which it can tell by reading.
            let fine = line.starts_with("init") && (exit == 0 || exit == 8);
            assert!(fine || exit == 12, "{line} with {folder:o} and {file:o}: {exit} {stdout} {stderr}");
        }
        assert_eq!(state(world.home()), before, "with {folder:o} and {file:o}");
    }
}
