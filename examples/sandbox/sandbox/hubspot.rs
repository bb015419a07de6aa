//! HubSpot's CRM API: lists, search, batch reads, properties, account details and the OAuth token.

use serde_json::{Map, Value, json};

use super::clock::{self, SECOND};
use super::condition::{Condition, Test};
use super::encoding::{base64, base64_decoded, percent_decoded, percent_encoded};
use super::http::{Request, Response};
use super::hubspot_objects::{Object, View};
use super::hubspot_search;
use super::people::{ACCOUNT_MANAGERS, name_hash};
use super::roster::{Account, Kind};
use super::service::Service;
use super::sessions::Pass;
use super::table::{Cell, Column, Table, Type, column, pick};
use super::world::{World, account_in, lock};

const LIST_LIMIT: usize = 100;
const DAILY: usize = 250_000;
/// Objects that HubSpot has and the sandbox's tokens have no scope for.
const OUT_OF_SCOPE: [&str; 2] = ["deals", "tickets"];

/// Returns the portal that an account's tokens belong to.
pub(crate) fn portal_id(account: &str) -> u64 {
    20_000_000 + name_hash(account) % 30_000_000
}

/// Returns the id of a record: it rises with the index, and early in each account by a digit.
pub(crate) fn id(account: &Account, kind: Kind, index: usize) -> i64 {
    let first = 501 + account.offset(71, 300) + if kind == Kind::Employer { 8000 } else { 0 };
    (first + 37 * index as u64 + account.stirred(72, index) % 37) as i64
}

/// Returns the index of the record with an id.
fn index_of(account: &Account, kind: Kind, wanted: &str) -> Option<usize> {
    let wanted: i64 = wanted.parse().ok()?;
    let first = id(account, kind, 0) - (account.stirred(72, 0) % 37) as i64;
    let index = usize::try_from((wanted - first).div_euclid(37)).ok()?;
    (id(account, kind, index) == wanted).then_some(index)
}

pub(crate) fn account_of(world: &World, request: &Request) -> Option<String> {
    if is_token_path(&request.path) {
        return account_in(request.form().get("client_id")?, "sandbox-client-");
    }
    match lock(&world.sessions).pass(Service::HubSpot, request.bearer()?) {
        Pass::Open(account) | Pass::Expired(account) => Some(account),
        Pass::Unknown => account_in(request.bearer()?, "sandbox-hubspot-"),
    }
}

pub(crate) fn refused(status: u16, category: &str, message: &str) -> Response {
    let body = json!({
        "status": "error", "message": message, "correlationId": correlation_id(message), "category": category,
    });
    Response::json(status, &body)
}

pub(crate) fn category(status: u16) -> &'static str {
    match status {
        400 => "VALIDATION_ERROR",
        401 => "INVALID_AUTHENTICATION",
        403 => "MISSING_SCOPES",
        404 => "OBJECT_NOT_FOUND",
        _ => "INTERNAL_ERROR",
    }
}

/// Returns the 429 of a limit, which has other fields than the other errors.
pub(crate) fn too_many(limit: &str, policy: &str) -> Response {
    let body = json!({
        "status": "error", "message": format!("You have reached your {limit} limit."), "errorType": "RATE_LIMIT",
        "correlationId": correlation_id(policy), "policyName": policy,
    });
    Response::json(429, &body)
}

fn correlation_id(of: &str) -> String {
    let hash = name_hash(of);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        hash >> 32,
        hash >> 16 & 0xffff,
        hash & 0xfff,
        hash >> 4 & 0xfff,
        hash >> 8 & 0xffff_ffff_ffff
    )
}

fn is_token_path(path: &str) -> bool {
    ["/oauth/v1/token", "/oauth/v3/token", "/oauth/2026-03/token"].contains(&path)
}

pub(crate) fn answer(world: &World, request: &Request) -> Response {
    if is_token_path(&request.path) && request.method == "POST" {
        return token(world, request);
    }
    let (account_name, by_oauth) = match sign_in(world, request) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let path = request.path.replacen("/crm/objects/2026-03/", "/crm/v3/objects/", 1);
    let is_search = path.ends_with("/search");
    let shared = world.account(Service::HubSpot, &account_name);
    let remaining = match meter(world, &account_name, is_search) {
        Ok(remaining) => remaining,
        Err(refusal) => return refusal,
    };
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let account = lock(&shared);
    let response = match (request.method.as_str(), segments.as_slice()) {
        ("GET" | "HEAD", ["account-info", "v3", "details"]) => details(&account.name),
        ("GET" | "HEAD", ["crm", "v3", "owners"]) => owners(),
        ("GET" | "HEAD", ["crm", "v3", "properties", object]) => on(&account, object, properties),
        ("GET" | "HEAD", ["crm", "v3", "objects", object]) => on(&account, object, |view| list(view, request)),
        ("GET" | "HEAD", ["crm", "v3", "objects", object, id]) => on(&account, object, |view| one(view, id, request)),
        ("POST", ["crm", "v3", "objects", object, "search"]) => {
            on(&account, object, |view| hubspot_search::answer(view, request))
        }
        ("POST", ["crm", "v3", "objects", object, "batch", "read"]) => {
            on(&account, object, |view| batch_read(view, request))
        }
        ("POST", ["crm", "v4", "associations", from, to, "batch", "read"]) => {
            on(&account, from, |view| associations(view, to, request))
        }
        _ => refused(404, "OBJECT_NOT_FOUND", "No such resource"),
    };
    // Searches are outside the ten-second count, and carry no word of it.
    match (is_search, world.config.hubspot_per_ten_seconds) {
        (false, Some(limit)) => rate_headers(response, limit, remaining, by_oauth),
        _ => response,
    }
}

fn sign_in(world: &World, request: &Request) -> Result<(String, bool), Response> {
    let invalid = || {
        let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can \
                       find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview";
        refused(401, "INVALID_AUTHENTICATION", message)
    };
    let token = request.bearer().ok_or_else(invalid)?;
    if token.contains(|c: char| !c.is_ascii_graphic()) || token.len() < 8 {
        return Err(Response::new(530, "text/html; charset=UTF-8", "error code: 1016"));
    }
    match lock(&world.sessions).pass(Service::HubSpot, token) {
        Pass::Open(account) => Ok((account, true)),
        Pass::Expired(_) => {
            let mut body = json!({
                "status": "error", "category": "EXPIRED_AUTHENTICATION", "correlationId": correlation_id("expired"),
                "message": "The OAuth token used to make this call expired.",
            });
            body["context"] = json!({"expire time": [clock::millis(clock::now())]});
            Err(Response::json(401, &body))
        }
        Pass::Unknown => account_in(token, "sandbox-hubspot-").map(|account| (account, false)).ok_or_else(invalid),
    }
}

fn meter(world: &World, account: &str, is_search: bool) -> Result<usize, Response> {
    let (limit, window, refusal) = if is_search {
        (world.config.hubspot_search_per_second, SECOND, ("secondly", "SECONDLY"))
    } else {
        (world.config.hubspot_per_ten_seconds, 10 * SECOND, ("ten_secondly_rolling", "TEN_SECONDLY_ROLLING"))
    };
    let Some(limit) = limit else { return Ok(0) };
    let bucket = format!("hubspot {account} {}", refusal.0);
    lock(&world.meters).admit(bucket, limit, window).map_err(|_| too_many(refusal.0, refusal.1))
}

fn rate_headers(response: Response, limit: usize, remaining: usize, by_oauth: bool) -> Response {
    let response = response
        .with("X-HubSpot-RateLimit-Interval-Milliseconds", 10_000)
        .with("X-HubSpot-RateLimit-Max", limit)
        .with("X-HubSpot-RateLimit-Remaining", remaining);
    if by_oauth {
        return response;
    }
    response.with("X-HubSpot-RateLimit-Daily", DAILY).with("X-HubSpot-RateLimit-Daily-Remaining", DAILY - 1)
}

fn token(world: &World, request: &Request) -> Response {
    let form = request.form();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "refresh_token" {
        return refused(400, "VALIDATION_ERROR", "missing or unknown grant_type");
    }
    let account = account_in(field("client_id"), "sandbox-client-");
    let Some(account) = account.filter(|account| field("client_secret") == format!("sandbox-secret-{account}")) else {
        return bad_token_request("BAD_CLIENT_ID", "missing or invalid client id or secret");
    };
    if field("refresh_token") != format!("sandbox-refresh-{account}") {
        return bad_token_request("BAD_REFRESH_TOKEN", "missing or invalid refresh token");
    }
    let seconds = world.config.hubspot_token_seconds;
    let body = json!({
        "access_token": lock(&world.sessions).open(Service::HubSpot, &account, seconds),
        "refresh_token": field("refresh_token"), "expires_in": seconds, "token_type": "bearer",
        "hub_id": portal_id(&account), "user_id": 42, "token_use": "access_token",
        "scopes": ["oauth", "crm.objects.contacts.read", "crm.objects.companies.read", "crm.objects.owners.read"],
    });
    Response::json(200, &body)
}

fn bad_token_request(status: &str, message: &str) -> Response {
    Response::json(400, &json!({"status": status, "message": message, "correlationId": correlation_id(message)}))
}

fn details(account: &str) -> Response {
    let body = json!({
        "portalId": portal_id(account), "accountType": "STANDARD", "timeZone": "Europe/London",
        "companyCurrency": "GBP", "additionalCurrencies": [], "utcOffset": "+00:00", "utcOffsetMilliseconds": 0,
        "uiDomain": "app-eu1.hubspot.com", "dataHostingLocation": "eu1",
    });
    Response::json(200, &body)
}

fn owners() -> Response {
    let owners = ACCOUNT_MANAGERS.iter().enumerate().map(|(index, name)| {
        let (first, last) = name.split_once(' ').unwrap_or((name, ""));
        json!({
            "id": (7001 + index).to_string(), "email": format!("owner{index}@example.org"), "firstName": first,
            "lastName": last, "userId": 8001 + index, "teams": [], "archived": false,
            "createdAt": "2022-01-10T09:00:00.000Z", "updatedAt": "2022-01-10T09:00:00.000Z",
        })
    });
    Response::json(200, &json!({"results": owners.collect::<Vec<_>>()}))
}

/// Answers about one type of object, unless the token has no scope for it.
fn on(account: &Account, object: &str, answer: impl FnOnce(&View) -> Response) -> Response {
    let withheld = |name: &str| account.withheld.contains(name);
    match Object::named(object) {
        Some(object) if !withheld(object.name()) => answer(&View { account, object, archived: false }),
        Some(object) => missing_scope(object.name()),
        None if OUT_OF_SCOPE.contains(&object) => missing_scope(object),
        None => refused(400, "VALIDATION_ERROR", &format!("Unable to infer object type from: {object}")),
    }
}

fn missing_scope(object: &str) -> Response {
    let scope = format!("crm.objects.{object}.read");
    let message = "This app hasn't been granted all required scopes to make this call.";
    let body = json!({
        "status": "error", "category": "MISSING_SCOPES", "correlationId": correlation_id(object),
        "message": format!("{message} Read more about required scopes here: https://developers.hubspot.com/scopes."),
        "context": {"missingScopes": [scope]},
        "errors": [{"message": message, "context": {"requiredGranularScopes": [scope]}}],
    });
    Response::json(403, &body)
}

fn properties(view: &View) -> Response {
    let properties = view.columns().iter().map(|column| {
        let (kind, field) = match column.kind {
            Type::Time => ("datetime", "date"),
            Type::Int => ("number", "number"),
            _ => ("string", "text"),
        };
        json!({
            "name": column.name, "label": column.name, "type": kind, "fieldType": field, "options": [],
            "groupName": format!("{}information", view.object.name()), "calculated": false, "hidden": false,
            "archived": false, "hubspotDefined": column.name != "account_manager", "hasUniqueValue": false,
            "dataSensitivity": "non_sensitive",
        })
    });
    Response::json(200, &json!({"results": properties.collect::<Vec<_>>()}))
}

pub(crate) fn invalid(message: &str) -> Response {
    refused(400, "VALIDATION_ERROR", message)
}

/// Returns the named properties that exist; the others are passed over in silence.
pub(crate) fn wanted<'a>(view: &View, names: impl Iterator<Item = &'a str>) -> Vec<Column> {
    let names: Vec<&str> = names.map(str::trim).filter(|name| !name.is_empty()).collect();
    let beside = if names.is_empty() { view.object.defaults() } else { view.object.always() };
    let mut columns: Vec<Column> = Vec::new();
    for name in names.iter().chain(beside) {
        if let Some(found) = column(view.columns(), name).filter(|found| !columns.contains(found)) {
            columns.push(found);
        }
    }
    columns
}

pub(crate) fn record(view: &View, row: usize, columns: &[Column]) -> Value {
    let text = |cell: Cell| match cell {
        Cell::Int(number) => Value::String(number.to_string()),
        other => other.json(clock::millis),
    };
    let properties: Map<String, Value> =
        columns.iter().map(|column| (column.name.to_owned(), text(view.cell(row, column.name)))).collect();
    let roster = view.roster();
    let mut record = json!({
        "id": view.id(row), "properties": properties, "createdAt": clock::millis(roster.created(row)),
        "updatedAt": clock::millis(roster.modified(row)), "archived": roster.removed(row).is_some(),
    });
    if let Some(at) = roster.removed(row) {
        record["archivedAt"] = clock::millis(at).into();
    }
    record
}

fn list(view: &View, request: &Request) -> Response {
    let limit: usize = match request.param("limit").unwrap_or("10").parse() {
        Ok(limit) if (1..=LIST_LIMIT).contains(&limit) => limit,
        Ok(limit) => {
            return invalid(&format!("Invalid input: limit {limit} is out of range, it must be 1 to {LIST_LIMIT}"));
        }
        Err(_) => return invalid("Invalid input: limit is not a number"),
    };
    let view = View { archived: request.param("archived") == Some("true"), ..*view };
    let mut filter = Condition::always();
    if let Some(after) = request.param("after") {
        let Some(last) = cursor_id(after) else { return invalid(&format!("Invalid cursor: {after}")) };
        filter = Condition::Compare { column: view.key(), test: Test::Greater, value: Cell::Int(last) };
    }
    let columns = wanted(&view, request.param("properties").unwrap_or_default().split(','));
    let mut rows = pick(&view, &filter, &[], limit + 1);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let with_companies = request.param("associations").is_some_and(|list| list.split(',').any(|to| to == "companies"));
    let results = rows.iter().map(|&row| {
        let mut record = record(&view, row, &columns);
        if with_companies && let Some(company) = view.company(row) {
            let results = [json!({"id": company, "type": "contact_to_company"})];
            record["associations"] = json!({"companies": {"results": results}});
        }
        record
    });
    let mut body = json!({"results": results.collect::<Vec<_>>()});
    if let Some(&last) = rows.last().filter(|_| more) {
        let after = cursor(&view.id(last));
        body["paging"] = json!({"next": {"after": after, "link": format!("?after={after}")}});
    }
    Response::json(200, &body).serving(rows.iter().map(|&row| view.id(row)).collect())
}

/// Returns the cursor after an id: base64 of the id and a line end, percent-encoded, as the service gives it.
fn cursor(id: &str) -> String {
    percent_encoded(&base64(format!("{id}\n").as_bytes()))
}

fn cursor_id(cursor: &str) -> Option<i64> {
    // Sent on as it was given, or decoded once: both are taken.
    let decoded = base64_decoded(&percent_decoded(cursor))?;
    String::from_utf8(decoded).ok()?.trim().parse().ok()
}

fn one(view: &View, id: &str, request: &Request) -> Response {
    let columns = wanted(view, request.param("properties").unwrap_or_default().split(','));
    let archived = request.param("archived") == Some("true");
    match index_of(view.account, view.object.kind(), id).filter(|&row| row < view.len()) {
        Some(row) if view.roster().removed(row).is_some() == archived => {
            Response::json(200, &record(view, row, &columns)).serving(vec![view.id(row)])
        }
        _ => refused(404, "OBJECT_NOT_FOUND", "resource not found"),
    }
}

fn batch_read(view: &View, request: &Request) -> Response {
    let body = request.json().unwrap_or_default();
    let ids = input_ids(&body);
    if ids.is_empty() || ids.len() > LIST_LIMIT {
        return invalid(&format!("Invalid input: inputs must hold 1 to {LIST_LIMIT} ids"));
    }
    let columns = wanted(view, body["properties"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for id in ids {
        match index_of(view.account, view.object.kind(), &id).filter(|&row| view.shown(row)) {
            Some(row) => rows.push(row),
            None => missing.push(id),
        }
    }
    let results: Vec<_> = rows.iter().map(|&row| record(view, row, &columns)).collect();
    let now = clock::millis(clock::now());
    let mut answer = json!({"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now});
    if !missing.is_empty() {
        answer["numErrors"] = 1.into();
        answer["errors"] = json!([{
            "status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects, they may be \
             deleted or not exist. Check that ids are valid.", "context": {"ids": missing},
        }]);
    }
    let status = if missing.is_empty() { 200 } else { 207 };
    Response::json(status, &answer).serving(rows.iter().map(|&row| view.id(row)).collect())
}

fn input_ids(body: &Value) -> Vec<String> {
    let id = |input: &Value| input["id"].as_str().map_or_else(|| input["id"].to_string(), str::to_owned);
    body["inputs"].as_array().into_iter().flatten().map(id).collect()
}

fn associations(view: &View, to: &str, request: &Request) -> Response {
    if view.object != Object::Contacts || to != "companies" {
        return invalid("Unable to infer object type: the sandbox associates contacts with companies");
    }
    let links = input_ids(&request.json().unwrap_or_default()).into_iter().filter_map(|id| {
        let row = index_of(view.account, Kind::Contact, &id).filter(|&row| view.shown(row))?;
        let kinds = json!([{"category": "HUBSPOT_DEFINED", "typeId": 1, "label": "Primary"}]);
        Some(json!({"from": {"id": id}, "to": [{"toObjectId": view.company(row)?, "associationTypes": kinds}]}))
    });
    Response::json(200, &json!({"status": "COMPLETE", "results": links.collect::<Vec<_>>()}))
}
