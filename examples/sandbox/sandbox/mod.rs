//! A sandbox: five learning and customer services played on loopback, with made-up people in them.
//!
//! Each service has an origin of its own. An account is opened by its credentials, which carry its name:
//! `sandbox-aptem-acme` opens `acme` at Aptem. The same account holds the same people everywhere.

#![allow(dead_code, unused_imports, reason = "the example and the tests use different parts")]

mod aptem;
mod aptem_sets;
mod bud;
mod bulk;
mod clock;
mod condition;
mod control;
mod encoding;
mod faults;
mod http;
mod hubspot;
mod hubspot_objects;
mod hubspot_search;
mod jwt;
mod ledger;
mod onefile;
mod people;
mod roster;
mod salesforce;
mod salesforce_objects;
mod service;
mod sessions;
mod soql;
mod table;
#[cfg(test)]
mod walks;
mod world;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use self::http::{Handler, Server};
use self::world::{World, lock};

pub(crate) use self::{
    clock::Ticks,
    faults::{Failure, Fault},
    hubspot::portal_id,
    ledger::Entry,
    onefile::{onefile_customer, onefile_organisations},
    roster::Kind,
    service::Service,
};

/// The private half of the key that the JWT bearer flow is checked against: a test key, which opens nothing else.
pub(crate) const JWT_TEST_KEY: &str = include_str!("jwt_test_key.pem");

/// What a sandbox holds, and how strict it is. A rate that is `None` is not enforced.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    pub(crate) learners: usize,
    pub(crate) employers: usize,
    /// The newest date that records carry at first; midnight of today where none is given.
    pub(crate) until: Option<Ticks>,
    /// The first of consecutive ports; any free ones where none is given.
    pub(crate) ports_from: Option<u16>,
    /// Rows of `/Users` for the provider's own staff.
    pub(crate) aptem_staff: usize,
    /// The deepest `$skip` that Aptem answers.
    pub(crate) aptem_deepest_skip: usize,
    pub(crate) bud_per_second: Option<usize>,
    pub(crate) onefile_per_minute: Option<usize>,
    /// Whether OneFile's session token comes in quotes with a line end after it.
    pub(crate) onefile_token_wrapped: bool,
    pub(crate) hubspot_per_ten_seconds: Option<usize>,
    pub(crate) hubspot_search_per_second: Option<usize>,
    /// How long Bud's tokens live.
    pub(crate) bud_token_seconds: i64,
    /// How long HubSpot's OAuth tokens live.
    pub(crate) hubspot_token_seconds: i64,
    /// The daily calls of a Salesforce org.
    pub(crate) salesforce_daily: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            seed: 1,
            learners: 2000,
            employers: 1500,
            until: None,
            ports_from: None,
            aptem_staff: 8,
            aptem_deepest_skip: 50_000,
            bud_per_second: None,
            onefile_per_minute: Some(300),
            onefile_token_wrapped: false,
            hubspot_per_ten_seconds: Some(1000),
            hubspot_search_per_second: None,
            bud_token_seconds: 3600,
            hubspot_token_seconds: 1800,
            salesforce_daily: 100_000,
        }
    }
}

/// A running sandbox; dropping it stops it.
pub(crate) struct Sandbox {
    world: Arc<World>,
    servers: Vec<Server>,
}

impl Sandbox {
    pub(crate) fn start(config: Config) -> io::Result<Sandbox> {
        let names = Service::ALL.map(Service::name).into_iter().chain(["control"]);
        let mut listeners = Vec::new();
        let mut urls = HashMap::new();
        for (number, name) in (0..).zip(names) {
            let port = config.ports_from.map_or(0, |first| first + number);
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            urls.insert(name, format!("http://{}", listener.local_addr()?));
            listeners.push((name, listener));
        }
        let world = Arc::new(World::new(config, urls));
        let mut servers = Vec::new();
        for (name, listener) in listeners {
            let world = Arc::clone(&world);
            let handler: Handler = match Service::named(name) {
                Some(service) => Arc::new(move |request| world.answer(service, request)),
                None => Arc::new(move |request| control::answer(&world, request)),
            };
            servers.push(Server::start(listener, handler)?);
        }
        Ok(Sandbox { world, servers })
    }

    /// Returns the base URL of a service, of `bud_auth` or of `control`.
    ///
    /// # Panics
    /// If there is nothing of that name.
    pub(crate) fn url(&self, name: &str) -> String {
        self.world.url(name).unwrap_or_else(|| panic!("no service named {name}")).to_owned()
    }

    /// Changes records of the service's main kind; returns their ids.
    pub(crate) fn change(&self, service: &str, account: &str, count: usize) -> Vec<String> {
        let service = named(service);
        control::alter(&self.world, service, account, control::Change::Edit, service.main_kind(), count)
    }

    /// Changes records of the service's main kind in one instant; returns their ids.
    pub(crate) fn change_at_once(&self, service: &str, account: &str, count: usize) -> Vec<String> {
        let service = named(service);
        control::alter(&self.world, service, account, control::Change::EditAtOnce, service.main_kind(), count)
    }

    /// Adds records of the service's main kind; returns their ids.
    pub(crate) fn add(&self, service: &str, account: &str, count: usize) -> Vec<String> {
        let service = named(service);
        control::alter(&self.world, service, account, control::Change::Add, service.main_kind(), count)
    }

    /// Removes records of the service's main kind, as the service would; returns their ids.
    pub(crate) fn remove(&self, service: &str, account: &str, count: usize) -> Vec<String> {
        let service = named(service);
        control::alter(&self.world, service, account, control::Change::Remove, service.main_kind(), count)
    }

    /// Merges records of the service's main kind with others; returns their ids, of each two that of the one that stays first.
    pub(crate) fn merge(&self, service: &str, account: &str, count: usize) -> Vec<String> {
        let service = named(service);
        control::alter(&self.world, service, account, control::Change::Merge, service.main_kind(), count)
    }

    /// Changes records of one kind; returns their ids.
    pub(crate) fn change_kind(&self, service: &str, account: &str, kind: Kind, count: usize) -> Vec<String> {
        control::alter(&self.world, named(service), account, control::Change::Edit, kind, count)
    }

    /// Adds records of one kind; returns their ids.
    pub(crate) fn add_kind(&self, service: &str, account: &str, kind: Kind, count: usize) -> Vec<String> {
        control::alter(&self.world, named(service), account, control::Change::Add, kind, count)
    }

    /// Removes records of one kind; returns their ids.
    pub(crate) fn remove_kind(&self, service: &str, account: &str, kind: Kind, count: usize) -> Vec<String> {
        control::alter(&self.world, named(service), account, control::Change::Remove, kind, count)
    }

    /// Returns the ids of the records of one kind that are there.
    pub(crate) fn ids(&self, service: &str, account: &str, kind: Kind) -> Vec<String> {
        control::live_ids(&self.world, named(service), account, kind)
    }

    /// Has a service fail; faults are met in the order they are given.
    pub(crate) fn fail(&self, service: &str, fault: Fault) {
        self.world.fail(named(service), fault);
    }

    /// Ends the access tokens that an account holds at a service.
    pub(crate) fn expire_sessions(&self, service: &str, account: &str) {
        control::expire(&self.world, named(service), account);
    }

    /// Takes from an account's credential the right to read an entity set, an object type or a path.
    pub(crate) fn withhold(&self, service: &str, account: &str, what: &str) {
        control::withhold(&self.world, named(service), account, what);
    }

    /// Returns the requests that a service has answered, oldest first.
    pub(crate) fn ledger(&self, service: &str) -> Vec<Entry> {
        let service = named(service);
        lock(&self.world.ledger).iter().filter(|entry| entry.service == service).cloned().collect()
    }

    pub(crate) fn clear_ledger(&self) {
        lock(&self.world.ledger).clear();
    }

    /// Forgets all that has happened since the start.
    pub(crate) fn reset(&self) {
        self.world.reset();
    }
}

fn named(service: &str) -> Service {
    Service::named(service).unwrap_or_else(|| panic!("no service named {service}"))
}
