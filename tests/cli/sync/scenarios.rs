//! What a super admin does with the platform, from an empty machine to synced learners and employers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lab::{Asked, Lab, Server, counts, fetch, lab, served, shipped, unhurried};
use crate::sandbox::{Config, Ticks};

const SECOND: Ticks = 10_000_000;

/// Returns an instant some days ago: what is older than any overlap is not read again.
fn days_ago(days: i64) -> Ticks {
    (chrono::Utc::now().timestamp() - days * 86_400) * SECOND
}

#[test]
fn a_standard_aptem_client_has_its_learners_with_the_standard_mapping() {
    let mut lab = shipped(Config { learners: 120, employers: 30, ..Config::default() });
    lab.run("org create --name 'ABC Training' --subdomain abc-training --preset aptem").succeeds();
    lab.run(&format!("override set abc-training aptem allow_insecure_http=true api_url={}", lab.sandbox.url("aptem")))
        .succeeds();
    lab.run("sync abc-training").fails(4).says(&["skillsctl credential set abc-training aptem api_key"]);
    lab.credential("abc-training", "aptem", "api_key", "sandbox-aptem-abc-training");

    let report = lab.sync("abc-training", 0);
    assert_eq!(counts(&report), json!({"read": 150, "inserted": 150}));
    assert_eq!((lab.live("abc-training", "learners"), lab.live("abc-training", "employers")), (120, 30));

    let url = lab.sandbox.url("aptem") + "/odata/1.0/Users?$filter=UserProgram_Status%20ne%20null";
    let sent = fetch(&url, &[("X-API-Token", "sandbox-aptem-abc-training")]);
    let sent = sent["value"].as_array().unwrap();
    assert_eq!(sent.len(), 120);
    for learner in sent {
        let stored = lab.stored("abc-training", "learners", &learner["Id"].to_string());
        let text = |name: &str| learner[name].as_str().map(str::to_owned);
        let date = |name: &str| text(name).map(|instant| instant[..10].to_owned());
        let (first, rest) = learner["FullName"].as_str().unwrap().split_once(' ').unwrap();
        let expected = json!({
            "external_id": learner["Id"].to_string(),
            "programme": learner["UserProgram_CurrentProgramme"],
            "completion": date("UserProgram_CompletionDate"),
            "start": date("UserProgram_StartDate"),
            "planned_end": date("UserProgram_PlannedEndDate"),
            "first_name": first,
            "last_name": rest,
            "email": text("Email").map(|email| email.to_lowercase()),
            "uln": learner["UserPersonalDetails_ULN"],
            "phone": learner["UserPersonalDetails_Mobile"],
            "status": learner["UserProgram_Status"],
            "progress": learner["UserLearningPlanSummary_LearningPlanProgress"],
            "employer_id": learner["UserEmployer_EmployerId"].as_i64().map(|id| id.to_string()),
        });
        for (field, expected) in expected.as_object().unwrap() {
            // Decimals are stored by their digits.
            let stored = stored[field].as_str().map_or_else(|| stored[field].to_string(), str::to_owned);
            let expected = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
            assert_eq!(stored, expected, "{field} of {learner}");
        }
        assert_eq!(stored["custom"]["full_name"], learner["FullName"]);
    }
    let report = "SELECT DISTINCT LMS_Provider || ' ' || Organization FROM learner_report";
    assert_eq!(lab.texts(report), ["Aptem ABC Training"]);

    // Hourly: nothing is due at once, everything is an hour and a half later, and then once.
    lab.sandbox.clear_ledger();
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    lab.later(25);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    assert!(lab.sandbox.ledger("aptem").is_empty());
    lab.later(91);
    lab.run("sync --all").succeeds().says(&["1 due: 1 ok; nothing new"]);
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    assert_eq!(lab.outcomes("abc-training"), ["failed", "ok", "ok"]);
}

#[test]
fn custom_fields_and_frequencies_of_one_organization_leave_the_other_one_alone() {
    let mut lab = shipped(Config { learners: 40, employers: 20, ..Config::default() });
    lab.organization("other", "aptem_hubspot");
    lab.organization("xyz", "aptem_hubspot");
    lab.sync("other", 0);
    let before = (lab.rows("other", "learners"), lab.rows("other", "employers"), lab.run("config show other").stdout);
    lab.sandbox.clear_ledger();

    lab.run("override set xyz aptem sync_frequency=15m field_mappings.learner.division=division_code").succeeds();
    lab.run("override set xyz hubspot 'account_manager -> employer.account_manager'").succeeds();
    let report = lab.sync("xyz", 0);
    assert_eq!(counts(&report), json!({"read": 60, "inserted": 60}));
    let url = lab.sandbox.url("aptem") + "/odata/1.0/Users?$filter=UserProgram_Status%20ne%20null";
    for learner in fetch(&url, &[("X-API-Token", "sandbox-aptem-xyz")])["value"].as_array().unwrap() {
        let stored = lab.stored("xyz", "learners", &learner["Id"].to_string());
        assert_eq!(stored["custom"]["division"], learner["division_code"]);
    }
    let url =
        lab.sandbox.url("hubspot") + "/crm/v3/objects/contacts?limit=100&properties=account_manager,firstname,lastname";
    for contact in fetch(&url, &[("Authorization", "Bearer sandbox-hubspot-xyz")])["results"].as_array().unwrap() {
        let stored = lab.stored("xyz", "employers", contact["id"].as_str().unwrap());
        let sent = &contact["properties"];
        assert_eq!(stored["account_manager"], sent["account_manager"]);
        let name = format!("{} {}", sent["firstname"].as_str().unwrap(), sent["lastname"].as_str().unwrap());
        assert_eq!(stored["contact_name"], name);
    }
    assert!(lab.asked("aptem", "other").is_empty() && lab.asked("hubspot", "other").is_empty());

    // Every quarter of an hour here, every hour there; of HubSpot the slot of the night may have come.
    lab.later(23);
    let report: Value = lab.sync("--all --provider aptem", 0);
    let runs: Vec<_> = report["runs"].as_array().unwrap().iter().collect();
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0]["organization"], &runs[0]["provider"]), (&json!("xyz"), &json!("aptem")));
    let after = (lab.rows("other", "learners"), lab.rows("other", "employers"), lab.run("config show other").stdout);
    assert_eq!(before, after);
    assert!(lab.asked("aptem", "other").is_empty() && lab.asked("hubspot", "other").is_empty());
}

/// Returns whom an organization's live rows stand for: ULN, else e-mail address.
fn people(lab: &Lab, slug: &str) -> Vec<String> {
    lab.texts(&format!(
        "SELECT coalesce(nullif(l.uln, '9999999999'), l.email) FROM learners l JOIN organizations o ON o.id = l.organization_id
         WHERE o.slug = '{slug}' AND l.deleted_at IS NULL ORDER BY 1"
    ))
}

#[test]
fn a_migration_from_bud_to_aptem_doubles_nobody_and_calls_bud_no_more() {
    let lab = lab(150, 10);
    lab.organization("move", "bud");
    lab.run("override set move bud page_size=50").succeeds();
    lab.sync("move", 0);
    let before = people(&lab, "move");
    let ids = lab.texts("SELECT CAST(id AS TEXT) FROM learners ORDER BY id");
    assert_eq!(before.len(), 150);

    lab.run("org set-preset move aptem --yes").succeeds();
    assert_eq!(people(&lab, "move"), before, "learners already synced stay");
    let line = "credential list move --json";
    let states = |lab: &Lab| {
        lab.run(line).succeeds().json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| (field["provider"].as_str().unwrap().to_owned(), field["state"].as_str().unwrap().to_owned()))
            .collect::<BTreeSet<_>>()
    };
    assert!(states(&lab).contains(&("bud".into(), "dormant".into())));
    assert!(states(&lab).contains(&("aptem".into(), "missing".into())));
    lab.sandbox.clear_ledger();
    lab.connect("move", "aptem");
    let report = lab.sync("move", 0);
    assert_eq!(counts(&report), json!({"read": 160, "adopted": 150, "inserted": 10}));
    assert_eq!(people(&lab, "move"), before, "nobody is doubled");
    assert_eq!(lab.texts("SELECT CAST(id AS TEXT) FROM learners ORDER BY id"), ids, "the rows are the same ones");
    assert!(lab.rows("move", "learners").iter().all(|((provider, _), row)| provider == "aptem" && row.live()));
    lab.sync("--all --force", 0);
    assert!(lab.sandbox.ledger("bud").is_empty() && lab.sandbox.ledger("bud_auth").is_empty());
}

#[test]
fn returning_to_a_former_provider_needs_nothing_set_again_and_doubles_nobody() {
    let lab = lab(60, 10);
    lab.organization("back", "bud");
    lab.run("override set back bud page_size=50").succeeds();
    lab.sync("back", 0);
    let everybody = people(&lab, "back");
    lab.run("org set-preset back aptem --yes").succeeds();
    lab.connect("back", "aptem");
    lab.sync("back", 0);

    lab.run("org set-preset back bud --yes").succeeds();
    let settings = lab.run("config show back bud").succeeds();
    assert!(settings.stdout.contains("page_size") && settings.stdout.contains("50"));
    let report = lab.sync("back", 0);
    assert_eq!(report["runs"][0]["adopted"], 60);
    assert_eq!(people(&lab, "back"), everybody);
    assert_eq!(lab.live("back", "employers"), 10);

    // Once more to Aptem: it was read before, but its learners have been Bud's since.
    lab.run("org set-preset back aptem --yes").succeeds();
    let report = lab.sync("back", 0);
    assert_eq!(report["runs"][0]["adopted"], 60);
    assert_eq!((people(&lab, "back"), lab.live("back", "learners")), (everybody, 60));
}

/// The six presets, each with the organization that has it.
const PRESETS: [(&str, &str); 6] = [
    ("one", "aptem"),
    ("two", "bud"),
    ("three", "onefile"),
    ("four", "aptem_hubspot"),
    ("five", "bud_salesforce"),
    ("six", "aptem_salesforce"),
];

/// Returns the rows of an organization with their hashes, those of both tables.
fn hashes(lab: &Lab, slug: &str) -> BTreeMap<(String, String), String> {
    let rows = ["learners", "employers"].into_iter().flat_map(|table| lab.rows(slug, table));
    rows.map(|(key, row)| (key, row.hash)).collect()
}

#[test]
fn all_six_presets_sync_at_once_and_then_only_what_changed() {
    let mut lab = unhurried(Config { learners: 40, employers: 12, until: Some(days_ago(3)), ..Config::default() });
    for (slug, preset) in PRESETS {
        lab.organization(slug, preset);
    }
    let report = lab.sync("--all", 0);
    assert_eq!((&report["ok"], report["runs"].as_array().unwrap().len()), (&json!(9), 9));
    for (slug, _) in PRESETS {
        assert_eq!((lab.live(slug, "learners"), lab.live(slug, "employers")), (40, 12), "{slug}");
    }
    let services = ["aptem", "bud", "onefile", "hubspot", "salesforce"];
    let asked = || services.map(|service| lab.sandbox.ledger(service).len());
    let before = asked();
    lab.run("sync --all").succeeds().says(&["nothing due"]);
    assert_eq!(asked(), before);

    let stored: BTreeMap<_, _> = PRESETS.iter().map(|(slug, _)| (*slug, hashes(&lab, slug))).collect();
    let mut changed: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for (slug, preset) in PRESETS {
        for provider in preset.split('_') {
            changed.insert((slug, provider), lab.sandbox.change(provider, slug, 10).into_iter().collect());
        }
    }
    lab.sandbox.clear_ledger();
    lab.later(0);
    let report = lab.sync("--all --force", 0);
    for run in report["runs"].as_array().unwrap() {
        let (slug, provider) = (run["organization"].as_str().unwrap(), run["provider"].as_str().unwrap());
        assert_eq!((&run["updated"], &run["inserted"], &run["deleted"]), (&json!(10), &json!(0), &json!(0)), "{run}");
        let changed = &changed[&(slug, provider)];
        for ((of, key), hash) in hashes(&lab, slug) {
            if of == provider {
                let was = &stored[slug][&(of, key.clone())];
                assert_eq!(hash != *was, changed.contains(&key), "{slug} {provider} {key}");
            }
        }
        // Bud has no list of changes, and neither have OneFile's placements.
        let path = match provider {
            "aptem" => "/odata/1.0/Users",
            "onefile" => "/api/v2.1/User",
            "hubspot" => "/crm/v3/objects/contacts/search",
            "salesforce" => "/services/data",
            _ => continue,
        };
        let mut entries = lab.asked(provider, slug);
        entries.retain(|entry| entry.path.starts_with(path));
        assert_eq!(&served(&entries).into_iter().collect::<BTreeSet<_>>(), changed, "{slug} {provider}");
    }
    // Reading everything again finds no other difference.
    let report = lab.sync("--all --force --full", 0);
    assert_eq!(counts(&report), json!({"read": 312, "unchanged": 312}));
}

/// Plays Larkfield Records: trainees in pages of two behind a Link header, their changes in a POSTed form.
fn larkfield(asked: &Asked) -> (u16, Vec<(String, String)>, String) {
    let json_answer = |headers: Vec<(String, String)>, body: Value| {
        (200, [vec![("content-type".to_owned(), "application/json".to_owned())], headers].concat(), body.to_string())
    };
    // ann:secret
    if asked.header("authorization") != Some("Basic YW5uOnNlY3JldA==") || asked.header("x-centre") != Some("LDS04") {
        return (401, Vec::new(), String::new());
    }
    let dossier = |number: i64, course: &str| {
        json!({
            "dossier": {"ref": format!("T-{number}"), "touched": "2026-01-05T10:00:00Z", "state": "open"},
            "person": {
                "names": {"given": format!("Given{number}"), "family": "Family"},
                "contact": [{"address": format!("T{number}@example.org")}],
                "numbers": {"uk.uln": null},
            },
            "course": {"title": course, "dates": {"begins": "2025-09-01", "expected": null, "finished": null}},
            "workplace": {"ref": "W-1"},
        })
    };
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    match (asked.method.as_str(), path) {
        ("GET", "/v4/centres/mine") => json_answer(Vec::new(), json!({"centre": {"code": "LDS04"}})),
        ("GET", "/v4/dossiers/trainee") => {
            let first = if query.contains("at=3") { 3 } else { 1 };
            let next = vec![("link".to_owned(), "</v4/dossiers/trainee?at=3&max=250>; rel=\"next\"".to_owned())];
            let page = json!({"answer": {"dossiers": [dossier(first, "Baking L2"), dossier(first + 1, "Baking L2")]}});
            json_answer(if first == 1 { next } else { Vec::new() }, page)
        }
        ("POST", "/v4/dossiers/trainee/changes") => {
            let changed = if asked.body.contains("skip=0") { vec![dossier(3, "Baking L3")] } else { Vec::new() };
            json_answer(Vec::new(), json!({"answer": {"changed": changed}}))
        }
        ("GET", "/v4/dossiers/workplace") => {
            let one =
                json!({"dossier": {"ref": "W-1"}, "company": {"title": "Bakehouse", "telephone": "01632 960001"}});
            let page = if query.contains("skip=0") { vec![one] } else { Vec::new() };
            json_answer(Vec::new(), json!({"answer": {"dossiers": page}}))
        }
        _ => (404, Vec::new(), String::new()),
    }
}

#[test]
fn a_sixth_provider_comes_by_its_manifest_alone() {
    let lab = shipped(Config { learners: 1, employers: 1, ..Config::default() });
    let server = Server::start(larkfield);
    let manifest = format!("{}/examples/providers/larkfield.yaml", env!("CARGO_MANIFEST_DIR"));
    lab.run(&format!("provider lint {manifest}")).succeeds();
    lab.run(&format!("provider add -f {manifest}")).succeeds();
    lab.world.file(
        "preset.yaml",
        "preset: larkfield\n\
         name: Larkfield\n\
         providers:\n  \
           larkfield:\n    \
             sync_frequency: 2h\n    \
             field_mappings:\n      \
               learner.external_id: learner_id\n      \
               learner.first_name: first_name\n      \
               learner.programme: programme_name\n      \
               learner.email: {from: email, do: [lower]}\n      \
               learner.start: start_date\n      \
               learner.employer_id: workplace_id\n      \
               employer.crm_id: workplaces.workplace_id\n      \
               employer.name: workplaces.workplace_name\n    \
             powerbi_filters:\n      \
               LMS_Provider: Larkfield Records\n",
    );
    lab.run("preset apply -f preset.yaml -m 'a sixth provider'").succeeds();
    lab.run("org create --name Bakers --subdomain bakers --preset larkfield").succeeds();
    lab.run(&format!("override set bakers larkfield allow_insecure_http=true api_url={} centre=LDS04", server.url))
        .succeeds();
    lab.credential("bakers", "larkfield", "username", "ann");
    lab.credential("bakers", "larkfield", "password", "secret");

    let report = lab.sync("bakers", 0);
    assert_eq!(counts(&report), json!({"read": 5, "inserted": 5}));
    let stored = lab.stored("bakers", "learners", "T-4");
    assert_eq!(
        (&stored["first_name"], &stored["email"], &stored["programme"], &stored["start"], &stored["employer_id"]),
        (&json!("Given4"), &json!("t4@example.org"), &json!("Baking L2"), &json!("2025-09-01"), &json!("W-1"))
    );
    assert_eq!(lab.stored("bakers", "employers", "W-1")["name"], "Bakehouse");

    let report = lab.sync("bakers", 0);
    assert_eq!(counts(&report), json!({"read": 2, "updated": 1, "unchanged": 1}));
    assert_eq!(lab.stored("bakers", "learners", "T-3")["programme"], "Baking L3");
    let changes = server.asked().into_iter().find(|asked| asked.method == "POST").unwrap();
    assert!(changes.body.starts_with("since=") && changes.body.contains("&until="), "{}", changes.body);

    // Another centre's login stores nothing.
    lab.run("override set bakers larkfield centre=LDS05").succeeds();
    lab.run("sync bakers").fails(4);
}
