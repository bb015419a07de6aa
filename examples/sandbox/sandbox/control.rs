//! The control port: what a test does to the sandbox in its own process, done over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use super::faults::{Failure, Fault};
use super::http::{Request, Response};
use super::people::Person;
use super::roster::{Account, Kind};
use super::service::Service;
use super::world::{World, account_in, lock};
use super::{hubspot, onefile};

#[derive(Clone, Copy)]
pub(crate) enum Change {
    Edit,
    /// As a bulk import does: all in one instant.
    EditAtOnce,
    Add,
    Remove,
    /// Merges each of so many records with another; the one that stays comes first.
    Merge,
}

/// Changes, adds or removes records; returns their ids.
pub(crate) fn alter(
    world: &World,
    service: Service,
    account: &str,
    change: Change,
    kind: Kind,
    count: usize,
) -> Vec<String> {
    let account = world.account(service, account);
    let mut account = lock(&account);
    let roster = account.roster(kind);
    let indexes = match change {
        Change::Edit => roster.change(count),
        Change::EditAtOnce => roster.change_at_once(count),
        Change::Add => roster.add(count),
        Change::Remove => roster.remove(count),
        Change::Merge => roster.merge(count),
    };
    indexes.into_iter().map(|index| service.record_id(&account, kind, index)).collect()
}

pub(crate) fn live_ids(world: &World, service: Service, account: &str, kind: Kind) -> Vec<String> {
    let account = world.account(service, account);
    let mut account = lock(&account);
    let roster = account.roster(kind);
    let live: Vec<_> = (0..roster.len()).filter(|&index| roster.live(index)).collect();
    live.into_iter().map(|index| service.record_id(&account, kind, index)).collect()
}

pub(crate) fn expire(world: &World, service: Service, account: &str) {
    let service = if service == Service::BudAuth { Service::Bud } else { service };
    lock(&world.sessions).expire(service, account);
}

pub(crate) fn withhold(world: &World, service: Service, account: &str, what: &str) {
    lock(&world.account(service, account)).withheld.insert(what.to_ascii_lowercase());
}

pub(crate) fn answer(world: &World, request: &Request) -> Response {
    match act(world, request) {
        Ok(done) => Response::json(200, &done),
        Err(message) => Response::json(400, &json!({"error": message})),
    }
}

fn act(world: &World, request: &Request) -> Result<Value, String> {
    let service = request.param("service").map(|name| Service::named(name).ok_or(format!("no service named {name}")));
    let service = service.transpose()?;
    let wanted = || service.ok_or_else(|| "which service? add ?service=".to_owned());
    let account = || {
        let name = request.param("account").ok_or("which account? add &account=")?;
        account_in(name, "").ok_or_else(|| format!("an account is named by a-z, 0-9 and -, not {name}"))
    };
    let changed = |change| {
        let service = wanted()?;
        let ids = alter(world, service, &account()?, change, kind(request, service)?, count(request)?);
        Ok(json!({"count": ids.len(), "ids": ids}))
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/change") => changed(Change::Edit),
        ("POST", "/add") => changed(Change::Add),
        ("POST", "/remove") => changed(Change::Remove),
        ("POST", "/merge") => changed(Change::Merge),
        ("POST", "/fail") => {
            world.fail(wanted()?, fault(request)?);
            Ok(json!({"ok": true}))
        }
        ("POST", "/expire") => {
            expire(world, wanted()?, &account()?);
            Ok(json!({"ok": true}))
        }
        ("POST", "/withhold") => {
            withhold(world, wanted()?, &account()?, request.param("what").ok_or("what? add &what=")?);
            Ok(json!({"ok": true}))
        }
        ("POST", "/reset") => {
            world.reset();
            Ok(json!({"ok": true}))
        }
        ("GET", "/ledger") => {
            let ledger = lock(&world.ledger);
            Ok(ledger
                .iter()
                .filter(|entry| service.is_none_or(|only| entry.service == only))
                .map(|e| e.json())
                .collect())
        }
        ("GET", "/account") => Ok(describe(world, wanted()?, &account()?)),
        (method, path) => Err(format!("no {method} {path} here")),
    }
}

fn count(request: &Request) -> Result<usize, String> {
    request.param("count").unwrap_or("1").parse().map_err(|_| "count is a number".to_owned())
}

fn kind(request: &Request, service: Service) -> Result<Kind, String> {
    match request.param("kind") {
        None => Ok(service.main_kind()),
        Some("learner") => Ok(Kind::Learner),
        Some("employer") => Ok(Kind::Employer),
        Some("contact") => Ok(Kind::Contact),
        Some(_) => Err("kind is learner, employer or contact".to_owned()),
    }
}

/// Reads a fault from a JSON body, or else from the query.
fn fault(request: &Request) -> Result<Fault, String> {
    let body = if request.body.is_empty() { json!({}) } else { request.json().ok_or("the body is not JSON")? };
    let text = |name: &str| match &body[name] {
        Value::Null => request.param(name).map(str::to_owned),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let number = |name: &str, default: u64| match text(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{name} is a number")),
    };
    let failure = match text("kind").as_deref() {
        None | Some("status") => Failure::Status(u16::try_from(number("status", 500)?).map_err(|e| e.to_string())?),
        Some("login_page") => Failure::LoginPage,
        Some("truncated") => Failure::Truncated,
        Some("empty") => Failure::Empty,
        Some("reset") => Failure::Reset,
        Some("delay") => Failure::Delay(Duration::from_millis(number("delay_ms", 1000)?)),
        Some("redirect") => Failure::Redirect(text("url").ok_or("a redirect needs a url")?),
        Some(other) => return Err(format!("no fault of kind {other}")),
    };
    let mut fault = Fault::new(failure).times(number("times", 1)? as usize).after(number("after", 0)? as usize);
    if let Some(body) = text("body") {
        fault = fault.body(&body);
    }
    if let Some(path) = text("path") {
        fault = fault.on_path(&path);
    }
    if let Some(account) = text("account") {
        fault = fault.for_account(&account);
    }
    for (name, value) in body["headers"].as_object().into_iter().flatten() {
        fault = fault.header(name, value.as_str().unwrap_or(&value.to_string()));
    }
    Ok(fault)
}

/// Returns what a newcomer needs to know of an account: its settings, sizes and a first learner.
fn describe(world: &World, service: Service, name: &str) -> Value {
    let account = world.account(service, name);
    let account = lock(&account);
    let live = |roster: &super::roster::Roster| (0..roster.len()).filter(|&index| roster.live(index)).count();
    json!({
        "account": name,
        "learners": live(&account.learners),
        "employers": live(&account.employers),
        "contacts": live(&account.contacts),
        "first_learner": first_learner(&account).map(|person| person.full_name()),
        "portal_id": hubspot::portal_id(name),
        "onefile_customer": onefile::onefile_customer(name),
        "onefile_organisations": onefile::onefile_organisations(name),
    })
}

fn first_learner(account: &Account) -> Option<Person> {
    (account.learners.len() > 0).then(|| account.learner(0))
}
