//! Everything that opens an editor, with editors that are scripts.

use std::os::unix::fs::PermissionsExt as _;

use rexpect::session::{PtySession, spawn_command};

use crate::support::{World, world};

/// Makes a script the editor; the file to edit is `$1`.
fn editor(world: &mut World, script: &str) {
    let path = world.file("my editor.sh", &format!("#!/bin/sh\nset -e\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    world.set("SKILLSCTL_EDITOR", &format!("'{}'", path.display()));
}

fn acme() -> World {
    let world = world();
    world.create("acme", "aptem_hubspot");
    world
}

/// Returns the file an error says was kept.
fn kept(world: &World, stderr: &str) -> String {
    let path = stderr.split("kept in ").nth(1).unwrap().split(';').next().unwrap();
    std::fs::read_to_string(path.replace("[HOME]", world.home().to_str().unwrap())).unwrap()
}

#[test]
fn a_preset_is_edited_with_its_schema_beside_it_and_without_secrets_around() {
    let mut world = acme();
    world.set("SKILLSCTL_KEY", "sentinel");
    let script = r#"head -1 "$1" > line; ls -l "$1" | cut -c1-10 > mode; test -s "$(dirname "$1")/preset.schema.json"
env > environment; sed -i 's/sync_frequency: hourly/sync_frequency: 20m/' "$1""#;
    editor(&mut world, script);
    world
        .run("preset edit aptem_hubspot -m 'more often'")
        .succeeds()
        .prints(&["applied (defaults 2)", "hourly -> 20m"]);
    let read = |name: &str| std::fs::read_to_string(world.home().join(name)).unwrap();
    assert_eq!(read("line"), "# yaml-language-server: $schema=preset.schema.json\n");
    assert_eq!(read("mode"), "-rw-------\n");
    assert!(!read("environment").contains("SKILLSCTL_KEY"), "{}", read("environment"));
}

#[test]
fn an_unchanged_file_changes_nothing() {
    let mut world = acme();
    editor(&mut world, "true");
    world.run("preset edit aptem").succeeds().prints(&["aptem: unchanged (defaults 1)"]);
    world.run("override edit acme").succeeds().prints(&["acme: unchanged"]);
    world.run("org edit acme").succeeds().prints(&["acme: unchanged"]);
}

#[test]
fn overrides_are_edited_as_one_document() {
    let mut world = acme();
    world.run("override set acme hubspot portal_id=1").succeeds();
    world.run("override unset acme aptem field_mappings.learner.tutor").succeeds();
    editor(
        &mut world,
        r#"cp "$1" opened; sed -i 's/portal_id: .*/portal_id: 2/; s/learner.tutor: !unset/learner.division: d/' "$1""#,
    );
    let changed = world.run("override edit acme").succeeds();
    changed.prints(&["~ hubspot.portal_id: 1 -> 2", "+ aptem.field_mappings.learner.division", "(the default)"]);
    let opened = std::fs::read_to_string(world.home().join("opened")).unwrap();
    assert!(opened.contains("learner.tutor: !unset\n") && opened.contains("\nhubspot:\n"), "{opened}");
}

#[test]
fn an_organization_is_edited_as_a_document() {
    let mut world = acme();
    editor(&mut world, r#"sed -i 's/max_learners: null/max_learners: 50/' "$1""#);
    world.run("org edit acme").succeeds().prints(&["+ max_learners: 50"]);
    editor(&mut world, r#"sed -i 's/time_zone: .*/time_zone: Europe\/Lodnon/' "$1""#);
    let ended = world.run("org edit acme").fails(7).says(&["acme.yaml:", "did you mean `Europe/London`", "kept in"]);
    assert!(kept(&world, &ended.stderr).contains("Europe/Lodnon"));
    world.file("acme.yaml", &kept(&world, &ended.stderr).replace("Lodnon", "Dublin"));
    world.run("org edit acme -f acme.yaml").succeeds().prints(&["~ time_zone: Europe/London -> Europe/Dublin"]);
    world.file("acme.yaml", "name: Acme\nslug: other\ntime_zone: Europe/London\n");
    world.refused("org edit acme -f acme.yaml", 7).says(&["acme.yaml:2:1"]);
    world.refused("org edit acme -f acme.yaml --name Other", 2);
}

#[test]
fn without_a_terminal_a_mistake_keeps_what_was_typed_and_names_it() {
    let mut world = acme();
    editor(&mut world, r#"sed -i 's/sync_frequency: hourly/sync_freqency: hourly/' "$1""#);
    let ended = world.run("preset edit aptem").fails(7);
    let ended = ended.says(&["did you mean `sync_frequency`", "kept in", "skillsctl preset apply -f"]);
    assert!(kept(&world, &ended.stderr).contains("sync_freqency"));
    editor(&mut world, r#"echo '# typed' >> "$1"; exit 3"#);
    let ended = world.run("preset edit aptem").fails(7).says(&["ended with exit status: 3", "kept in"]);
    assert!(kept(&world, &ended.stderr).contains("# typed"));
    world.set("SKILLSCTL_EDITOR", "no-such-editor");
    world.run("preset edit aptem").fails(7).says(&["`no-such-editor` cannot be started"]);
}

#[test]
fn a_document_of_another_preset_is_not_taken_for_this_one() {
    let mut world = acme();
    editor(&mut world, r#"sed -i 's/^preset: aptem$/preset: bud/' "$1""#);
    world.run("preset edit aptem").fails(7).says(&["the document is of `bud`"]);
}

#[test]
fn what_has_moved_on_meanwhile_is_a_conflict_and_nothing_typed_is_lost() {
    let mut world = acme();
    let skillsctl = env!("CARGO_BIN_EXE_skillsctl");
    let key = world.key().display().to_string();
    let meanwhile = |line: &str| format!("SKILLSCTL_KEY_FILE='{key}' {skillsctl} {line}");
    let script = meanwhile("override set acme aptem sync_frequency=2h");
    editor(&mut world, &format!("{script}\nsed -i 's/aptem: {{}}/aptem: {{sync_frequency: 3h}}/' \"$1\""));
    let ended = world.run("override edit acme").fails(6).says(&["changed by somebody else", "kept in"]);
    assert!(kept(&world, &ended.stderr).contains("3h"));
    assert_eq!(world.json("config explain acme aptem.sync_frequency")["value"], "2h");

    let script = meanwhile("preset export bud | sed 's/hourly/4h/' | SKILLSCTL_KEY_FILE=x");
    let script = format!("{script} {skillsctl} preset apply -f -\nsed -i 's/hourly/5h/' \"$1\"");
    editor(&mut world, &script);
    world.run("preset edit bud").fails(6).says(&["got revision 2 meanwhile", "preset diff bud 1 2", "kept in"]);
}

#[test]
fn without_a_terminal_only_our_own_variable_opens_an_editor() {
    let mut world = acme();
    world.set("EDITOR", "vi");
    world.refused("override edit acme", 2).says(&["no terminal to open an editor on", "override apply"]);
}

#[test]
fn on_a_terminal_a_mistake_is_shown_and_the_editor_offered_again() {
    let mut world = acme();
    world.set("TERM", "xterm");
    world.set("NO_COLOR", "1");
    let script = r#"if test -e once; then sed -i 's/sync_freqency/sync_frequency/' "$1"
else touch once; sed -i 's/aptem: {}/aptem: {sync_freqency: 15m}/' "$1"; fi"#;
    editor(&mut world, script);
    let mut terminal: PtySession = spawn_command(world.command("override edit acme"), Some(20_000)).unwrap();
    terminal.exp_string("did you mean `sync_frequency`").unwrap();
    terminal.exp_string("Open it again?").unwrap();
    terminal.send("y").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("hourly -> 15m").unwrap();
    terminal.exp_eof().unwrap();
    assert_eq!(world.json("config explain acme aptem.sync_frequency")["value"], "15m");
}
