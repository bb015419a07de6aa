//! Role by role, command by command: who may run what, and what a tenant is told of others.

use super::{FOREIGN, two_organizations};
use crate::support::World;

const ANYONE: [&str; 3] = ["completion", "help", "version"];

/// What each role may run besides; all else is for super admins alone. Written down a second time, so that a slip in the
/// declarations is noticed.
const OPERATOR: [&str; 36] = [
    "org list",
    "org show",
    "preset list",
    "preset show",
    "preset validate",
    "preset diff",
    "preset history",
    "preset export",
    "provider list",
    "provider show",
    "provider explain",
    "provider lint",
    "provider check",
    "override show",
    "config show",
    "config explain",
    "credential list",
    "credential test",
    "credential sealing-key show",
    "key status",
    "key check",
    "sync",
    "sync request",
    "status",
    "log list",
    "log show",
    "retention show",
    "audit verify",
    "role show",
    "db status",
    "db check",
    "db backup",
    "doctor",
    "powerbi filters",
    "powerbi roles",
    "schema",
];
const PROVISIONER: [&str; 25] = [
    "org create",
    "org list",
    "org show",
    "preset list",
    "preset show",
    "preset validate",
    "preset diff",
    "preset history",
    "preset export",
    "provider list",
    "provider show",
    "provider explain",
    "provider lint",
    "override show",
    "override set",
    "override enable",
    "override disable",
    "override apply",
    "config show",
    "config explain",
    "credential list",
    "credential set",
    "credential sealing-key show",
    "role show",
    "schema",
];
const PROVISIONER_TOO: [&str; 2] = ["powerbi filters", "powerbi roles"];
const TENANT: [&str; 7] =
    ["config show", "config explain", "sync request", "status", "log list", "log show", "role show"];

/// Returns every command there is with a line of it, taken from the examples of its help.
fn lines(world: &World) -> Vec<(String, String)> {
    let commands = world.json("help roles")["commands"].as_array().unwrap().clone();
    let example = |command: &str| {
        let help = world.json(&format!("help {command}"))["text"].as_str().unwrap().to_owned();
        let examples = help.split("Examples:").nth(1).unwrap().to_owned();
        let start = format!("skillsctl {command}");
        let fits = |line: &&str| {
            let below = format!("{command} ");
            // An example of `sync` is none of `sync request`.
            line.starts_with(&start)
                && !commands.iter().any(|other| {
                    let other = other["command"].as_str().unwrap();
                    other.starts_with(&below) && line.starts_with(&format!("skillsctl {other}"))
                })
        };
        let line = examples.lines().map(str::trim).find(fits).unwrap_or_else(|| panic!("no example of {command}"));
        let line = line.split([">", "<", "|"].map(|mark| mark.chars().next().unwrap())).next().unwrap();
        line.trim_start_matches("skillsctl ").trim().to_owned()
    };
    let names = commands.iter().map(|command| command["command"].as_str().unwrap());
    names.map(|name| (name.to_owned(), example(name))).collect()
}

#[test]
fn every_command_is_open_to_the_roles_it_says_and_closed_to_all_others() {
    let mut world = two_organizations("globex");
    let lines = lines(&world);
    assert!(lines.len() > 60, "{}", lines.len());
    let provisioner = [&PROVISIONER[..], &PROVISIONER_TOO].concat();
    let roles = [("operator", &OPERATOR[..]), ("provisioner", &provisioner), ("tenant:acme", &TENANT)];
    for (role, allowed) in roles {
        world.set("SKILLSCTL_ROLE", role);
        for command in allowed {
            assert!(lines.iter().any(|(name, _)| name == command), "there is no `{command}`");
        }
        let before = world.database();
        for (command, line) in &lines {
            let open = ANYONE.contains(&command.as_str()) || allowed.contains(&command.as_str());
            let mut lines =
                ["acme", "globex", "nowhere"].map(|organization| line.replace("acme", organization)).to_vec();
            // Many name no organization.
            lines.dedup();
            for line in lines {
                if open {
                    // Of a database that is not there nothing can be harmed: whoever is let in is told so, or something else.
                    let error = world.run(&format!("{line} --no-input --db /nonexistent/x.db"));
                    assert!(error.exit != 4, "{role}: {line}\n{error}");
                } else {
                    let ended = world.run(&format!("{line} --json")).fails(4);
                    assert_eq!(ended.error()["code"], "not_allowed", "{role}: {line}");
                    assert_eq!(ended.stdout, "", "{role}: {line}");
                }
            }
        }
        assert!(world.database() == before, "{role}: something was written");
    }
}

#[test]
fn a_foreign_organization_is_to_a_tenant_as_one_that_is_not_there() {
    // The second pair is near to the tenant's own, which may be suggested.
    for (foreign, missing) in [("globex", "nowhere"), ("acne", "acmy")] {
        let mut world = two_organizations(foreign);
        world.set("SKILLSCTL_ROLE", "tenant:acme");
        let before = world.database();
        for line in [
            "status ORG",
            "log list ORG",
            "log list ORG --provider aptem",
            "config show ORG",
            "config show ORG bud --origin",
            "config explain ORG aptem.sync_frequency",
            "sync request ORG",
            "sync request ORG --provider aptem",
            "sync request ORG --provider bud",
        ] {
            for form in ["", " --json", " -o csv", " -v"] {
                let told = |slug: &str| {
                    world.run(&format!("{}{form}", line.replace("ORG", slug))).to_string().replace(slug, "ORG")
                };
                let (one, other) = (told(foreign), told(missing));
                assert_eq!(one, other, "{line}{form}");
                assert!(one.contains("[exit 5]") && !one.contains(FOREIGN), "{line}{form}: {one}");
            }
        }
        let run = |number: &str| world.run(&format!("log show {number} --json")).to_string().replace(number, "N");
        assert_eq!(run("2"), run("7"));
        assert!(run("2").contains("run_not_found"));
        assert!(world.database() == before);
    }
}

#[test]
fn a_tenant_sees_its_own_where_nothing_is_named_and_nothing_secret() {
    let mut world = two_organizations("globex");
    world.run_with_input("credential set acme aptem api_key --from-stdin", "made-up-value").succeeds();
    let fingerprint = world.json("credential list acme")["items"][0]["fingerprint"].as_str().unwrap().to_owned();
    world.set("SKILLSCTL_ROLE", "tenant:acme");
    for line in [
        "status",
        "log list",
        "status acme",
        "log list acme",
        "log show 1",
        "config show acme",
        "config explain acme aptem.sync_frequency",
    ] {
        for form in ["", " --json", " -v"] {
            let ended = world.run(&format!("{line}{form}")).succeeds();
            let told = ended.to_string();
            assert!(
                !told.contains("globex") && !told.contains(FOREIGN) && !told.contains("bud"),
                "{line}{form}: {told}"
            );
            assert!(!told.contains(&fingerprint) && !told.contains("made-up-value"), "{line}{form}: {told}");
        }
    }
    assert_eq!(world.json("status")["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.json("log list")["items"].as_array().unwrap().len(), 1);
    let own = world.json("role show");
    assert_eq!((own["role"].as_str(), own["organization"].as_str()), (Some("tenant"), Some("acme")));
}

#[test]
fn a_tenant_sees_that_a_credential_is_deposited_and_is_told_of_nobody_who_did_anything() {
    let mut world = two_organizations("globex");
    world.set("SKILLSCTL_TEST_USER", "SOMEBODY");
    world.run_with_input("credential set acme aptem api_key --from-stdin --sealed", "made-up-value").succeeds();
    world.run_with_input("credential set globex bud client_id --from-stdin --sealed", "made-up-value").succeeds();
    world.run("override set acme aptem sync_frequency=2h").succeeds();
    let as_super = world.json("status acme");
    assert_eq!(as_super["providers"][0]["state"], "credentials_deposited");
    world.set("SKILLSCTL_ROLE", "tenant:acme");
    assert_eq!(world.json("status acme"), as_super);
    for line in [
        "status acme",
        "config show acme --origin",
        "config explain acme aptem.sync_frequency",
        "log show 1",
        "log list",
    ] {
        for form in ["", " --json"] {
            let told = world.run(&format!("{line}{form}")).succeeds().to_string();
            assert!(!told.contains("SOMEBODY") && !told.contains("by ,"), "{line}{form}: {told}");
        }
    }
}

#[test]
fn a_role_is_narrowed_by_a_flag_or_a_variable_and_never_widened() {
    let mut world = two_organizations("globex");
    world.run("status --role operator").succeeds();
    world.run("org suspend acme --yes --role operator").fails(4).says(&["`org suspend` is not for the role operator"]);
    world.run("status --role tenant:nowhere").fails(5);
    world.run("status --role nobody").fails(2);
    world.run("sync acme --allow-mass-delete --confirm acme --role operator").fails(4).says(&["--allow-mass-delete"]);
    world.set("SKILLSCTL_ROLE", "tenant:acme");
    world.run("org list").fails(4);
    // It is the owner of the file who speaks: the flag beats the variable, and both beat nothing but accidents.
    world.run("org list --role super").succeeds();
    world.set("SKILLSCTL_ROLE", "nobody");
    world.run("org list").fails(2).says(&["SKILLSCTL_ROLE"]);
}

#[test]
fn a_provisioner_gives_credentials_no_other_address() {
    let mut world = two_organizations("globex");
    world.set("SKILLSCTL_ROLE", "provisioner");
    world.run("override set acme aptem api_url=https://acme.aptem.co.uk").succeeds();
    // Nor does it learn what files there are, or have the service call where only that can.
    for setting in
        ["ca_file=/etc/passwd", "ca_file=/nowhere/x.pem", "allow_private_network=true", "allow_insecure_http=true"]
    {
        let name = setting.split('=').next().unwrap();
        let ended = world.run(&format!("override set acme aptem {setting} --json")).fails(4);
        assert_eq!(ended.error()["message"], format!("`{name}` is not for the role provisioner"));
        world.file("network.yaml", &format!("aptem: {{{}}}\n", setting.replace('=', ": ")));
        world.run("override apply acme -f network.yaml").fails(4).says(&[name]);
    }
    world.run_with_input("credential set acme aptem api_key --from-stdin", "made-up-value").succeeds();
    world.run("override set acme aptem page_size=500").succeeds();
    world.file("moved.yaml", "aptem:\n  api_url: https://elsewhere.example\n");
    world.run("override set acme aptem api_url=https://elsewhere.example --json").fails(4).says(&["another address"]);
    let applied = world.run("override apply acme -f moved.yaml");
    assert!(applied.exit == 4 || applied.exit == 7, "{applied}");
    assert!(world.run("config show acme").succeeds().stdout.contains("https://acme.aptem.co.uk"));
    world.run("override set acme aptem api_url=https://elsewhere.example --role super").succeeds();
}
