//! Roles through the binary: every command with every role, callers through sudo, and other users of the machine.

mod matrix;
mod sudo;
mod users;

use crate::seed::Ran;
use crate::support::{World, world};

/// Stands in what is the other organization's.
const FOREIGN: &str = "FOREIGN";

/// Returns a machine with `acme` and another organization, each with a run: 1 is of `acme`, 2 of the other.
fn two_organizations(other: &str) -> World {
    let world = world();
    world.seed_organization("acme", "aptem");
    world.seed_organization(other, "bud");
    world.ran("acme", "aptem", &Ran::default());
    let failed = Ran { outcome: "failed", error: Some(("refused", FOREIGN, FOREIGN)), ..Ran::default() };
    world.ran(other, "bud", &failed);
    world.set_aside(other, "bud", 2, FOREIGN, "{}");
    let name = format!("UPDATE organizations SET name = '{FOREIGN} Ltd' WHERE slug = '{other}'");
    world.sql().execute(&name, []).unwrap();
    world
}
