//! A range of time read once more, beside the ordinary syncs, which go on where they are.

use serde_json::json;

use super::lab::{counts, lab};
use crate::sandbox::Kind;

#[test]
fn a_backfill_reads_its_range_and_moves_nothing_that_a_sync_goes_on_from() {
    let mut lab = lab(40, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let state = "SELECT stream || coalesce(watermark, '-') || coalesce(open_read, '-') || generation || coalesce(last_full_at, '-')
                 || coalesce(shape, '-') FROM sync_state ORDER BY stream";
    let before = lab.texts(state);
    // Lost somehow, below what the next sync asks for.
    let lost = lab.sandbox.ids("aptem", "acme", Kind::Learner)[3].clone();
    rusqlite::Connection::open(lab.world.db())
        .unwrap()
        .execute("DELETE FROM learners WHERE external_key = ?1", [&lost])
        .unwrap();
    lab.later(20);
    assert_eq!(lab.sync("acme --stream learners", 0)["total"]["inserted"], 0);
    let after = lab.texts(state);
    assert_ne!(before, after);

    lab.sandbox.clear_ledger();
    let report = lab.sync("acme --stream learners --from 2000-01-01", 0);
    // One learner has no date of change, and is found by full reads only.
    assert_eq!(counts(&report), json!({"read": 39, "inserted": 1, "unchanged": 38}), "{report}");
    assert_eq!(lab.texts(state), after, "watermarks, open reads, generations and shapes stand");
    assert!(lab.asked("aptem", "acme").iter().all(|entry| entry.path.contains("2000-01-01")));
    let warning = report["runs"][0]["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("backfill of 2000-01-01T00:00:00Z to "), "{warning}");
    assert_eq!(lab.live("acme", "learners"), 40);
}

#[test]
fn a_backfill_deletes_nothing_because_it_did_not_find_it() {
    let mut lab = lab(40, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    lab.sandbox.remove("aptem", "acme", 4);
    lab.later(20);
    let report = lab.sync("acme --stream learners --from 2000-01-01", 0);
    assert_eq!((&report["total"]["read"], &report["total"]["deleted"]), (&json!(35), &json!(0)));
    assert_eq!(lab.live("acme", "learners"), 40);
    assert_eq!(lab.sync("acme --full", 0)["total"]["deleted"], 4);
}

#[test]
fn a_range_that_holds_no_change_reads_nothing() {
    let lab = lab(20, 5);
    lab.organization("acme", "aptem");
    lab.sync("acme", 0);
    let report = lab.sync("acme --stream learners --from 1999-01-01 --to 1999-02-01", 0);
    assert_eq!(counts(&report), json!({}));
}

#[test]
fn streams_that_do_not_tell_what_changed_are_left_out_and_named() {
    let lab = lab(20, 5);
    lab.organization("acme", "onefile");
    let report = lab.sync("acme --from 30d", 0);
    let warning = report["runs"][0]["warnings"][1].as_str().unwrap();
    assert!(warning.starts_with("placements: left out") && warning.contains("--full --stream placements"), "{warning}");
    let refused = lab.sync("acme --stream placements --from 30d", 7);
    let error = &refused["runs"][0]["error"];
    assert_eq!(error["code"], "no_changes");
    assert!(error["hint"].as_str().unwrap().contains("skillsctl sync acme --provider onefile --full"), "{error}");
}

#[test]
fn a_range_is_over_has_two_ends_in_order_and_is_for_named_organizations() {
    let lab = lab(1, 1);
    lab.organization("acme", "aptem");
    for (line, said) in [
        ("sync acme --from 2099-01-01", "does not lie before"),
        ("sync acme --from 1d --to 2099-01-01", "in the future"),
        ("sync acme --from 1d --to 2d", "does not lie before"),
        ("sync acme --from soon", "no moment"),
        ("sync acme --to 2026-11-01", "--from"),
        ("sync --all --from 1d", "cannot be used with"),
        ("sync acme --full --from 1d", "cannot be used with"),
    ] {
        lab.world.refused(line, 2).says(&[said]);
    }
}
