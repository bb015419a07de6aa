//! More changes than HubSpot's search answers to one query: 10,000.

use super::lab::{Lab, lab, served};

/// Returns the statuses of all searches, and the ids they served.
fn searched(lab: &Lab) -> (Vec<u16>, Vec<String>) {
    let mut entries = lab.asked("hubspot", "acme");
    entries.retain(|entry| entry.path.ends_with("/search"));
    (entries.iter().map(|entry| entry.status).collect(), served(&entries))
}

#[test]
fn more_changes_than_a_search_answers_are_all_read_even_with_one_timestamp() {
    // Not a whole number of pages: a full last page would prove nothing, and everything would be read again.
    let contacts = 10_301;
    let mut lab = lab(1, contacts);
    lab.organization("acme", "aptem_hubspot");
    lab.run("override disable acme aptem").succeeds();
    lab.sync("acme", 0);
    assert_eq!(lab.live("acme", "employers"), contacts);
    for at_once in [false, true] {
        let changed = match at_once {
            false => lab.sandbox.change("hubspot", "acme", 10_250),
            true => lab.sandbox.change_at_once("hubspot", "acme", 10_250),
        };
        // No window reaches back over the changes before.
        lab.later(0);
        lab.sandbox.clear_ledger();
        let report = lab.sync("acme", 0);
        assert_eq!(report["total"]["read"].as_u64(), Some(searched(&lab).1.len() as u64));
        let (statuses, mut ids) = searched(&lab);
        assert!(statuses.iter().all(|status| *status == 200), "no search asks beyond the cap");
        let read = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), read, "nothing is read twice");
        assert!(changed.iter().all(|id| ids.binary_search(id).is_ok()));
        assert!(report["total"]["updated"].as_u64().unwrap() >= 10_000, "{report}");
    }
}
