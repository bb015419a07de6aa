//! Salesforce: three ways to a token, SOQL queries with cursors, limits, describe, deleted ids and bulk jobs.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::bulk::{self, Job};
use super::clock::{self, DAY};
use super::condition::{Condition, Problem};
use super::encoding::base64_decoded;
use super::http::{Request, Response};
use super::jwt;
use super::roster::Account;
use super::salesforce_objects::{Object, View, base62, org_id, user_id};
use super::service::Service;
use super::sessions::Pass;
use super::soql::{self, Refusal, Select};
use super::table::{Cell, Column, Table, Type, pick};
use super::world::{World, account_in, lock};

pub(crate) use super::salesforce_objects::id;

/// How long a session lives: the default of an org's policy.
const SESSION_SECONDS: i64 = 2 * 3600;
const BATCH: std::ops::RangeInclusive<usize> = 200..=2000;
/// Cursors that a user may have open; the oldest is dropped for one more.
const OPEN_CURSORS: usize = 10;
const BIN_DAYS: i64 = 15;

/// What is left of a query.
struct Cursor {
    locator: String,
    object: Object,
    columns: Vec<Column>,
    rows: Vec<usize>,
    total: usize,
    with_deleted: bool,
}

/// The queries and jobs that go on over several requests, and the calls counted, by account.
#[derive(Default)]
pub(crate) struct Cursors {
    open: HashMap<String, VecDeque<Cursor>>,
    pub(crate) jobs: HashMap<String, Vec<Job>>,
    calls: HashMap<String, usize>,
    numbered: u64,
}

impl Cursors {
    /// Returns a number that nothing had before.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

pub(crate) fn refused(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!([{"message": message, "errorCode": code}]))
}

pub(crate) fn error_code(status: u16) -> &'static str {
    match status {
        400 => "MALFORMED_QUERY",
        401 => "INVALID_SESSION_ID",
        403 => "REQUEST_LIMIT_EXCEEDED",
        404 => "NOT_FOUND",
        503 => "SERVER_UNAVAILABLE",
        _ => "UNKNOWN_EXCEPTION",
    }
}

pub(crate) fn account_of(world: &World, request: &Request) -> Option<String> {
    if request.path == "/services/oauth2/token" {
        let issuer = request.form().get("assertion").and_then(|assertion| jwt::issuer(assertion));
        return account_in(&issuer.unwrap_or_else(|| Client::of(request).id), "sandbox-salesforce-");
    }
    match lock(&world.sessions).pass(Service::Salesforce, request.bearer()?) {
        Pass::Open(account) | Pass::Expired(account) => Some(account),
        Pass::Unknown => None,
    }
}

pub(crate) fn answer(world: &World, request: &Request) -> Response {
    let segments = request.segments();
    let rest = match segments.as_slice() {
        ["services", "oauth2", "token"] if request.method == "POST" => return token(world, request),
        ["services", "data"] if request.reads() => return versions(),
        ["services", "data", version, rest @ ..] if is_version(version) => rest,
        _ => return refused(404, "NOT_FOUND", "The requested resource does not exist"),
    };
    let name = match sign_in(world, request) {
        Ok(name) => name,
        Err(refusal) => return refusal,
    };
    let account = world.account(Service::Salesforce, &name);
    let account = lock(&account);
    let mut cursors = lock(&world.cursors);
    let daily = world.config.salesforce_daily;
    let calls = cursors.calls.entry(name).or_default();
    *calls += 1;
    let usage = format!("api-usage={calls}/{daily}");
    let call = Call { account: &account, request, root: root(request) };
    let response = if *calls > daily {
        refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    } else {
        let remaining = daily - *calls;
        match (request.method.as_str(), rest) {
            ("GET", ["limits"]) => limits(daily, remaining),
            ("GET", ["query"]) => call.query(&mut cursors, false),
            ("GET", ["queryAll"]) => call.query(&mut cursors, true),
            ("GET", ["query" | "queryAll", locator]) => call.more(&mut cursors, locator),
            ("GET", ["sobjects"]) => objects(),
            ("GET", ["sobjects", object, "describe"]) => call.on(object, describe),
            ("GET", ["sobjects", object, "deleted"]) => call.on(object, |view| deleted(view, request)),
            (_, ["jobs", "query", rest @ ..]) => bulk::answer(&call, &mut cursors, rest),
            _ => refused(404, "NOT_FOUND", "The requested resource does not exist"),
        }
    };
    response.with("Sforce-Limit-Info", usage)
}

fn is_version(text: &str) -> bool {
    let number = text.strip_prefix('v').and_then(|rest| rest.strip_suffix(".0")).and_then(|n| n.parse::<u32>().ok());
    number.is_some_and(|number| (50..=66).contains(&number))
}

fn root(request: &Request) -> String {
    request.segments().iter().take(3).map(|part| format!("/{part}")).collect()
}

fn versions() -> Response {
    let version = |number: u32| {
        let url = format!("/services/data/v{number}.0");
        json!({"label": format!("Sandbox {number}"), "url": url, "version": format!("{number}.0")})
    };
    Response::json(200, &(50..=66).map(version).collect())
}

fn limits(daily: usize, remaining: usize) -> Response {
    let body = json!({
        "DailyApiRequests": {"Max": daily, "Remaining": remaining},
        "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000},
    });
    Response::json(200, &body)
}

fn sign_in(world: &World, request: &Request) -> Result<String, Response> {
    let Some(token) = request.bearer() else {
        let malformed = request.header("authorization").is_some();
        let code = if malformed { "INVALID_AUTH_HEADER" } else { "INVALID_SESSION_ID" };
        return Err(refused(401, code, if malformed { code } else { "Session expired or invalid" }));
    };
    match lock(&world.sessions).pass(Service::Salesforce, token) {
        Pass::Open(account) => Ok(account),
        Pass::Expired(_) | Pass::Unknown => Err(refused(401, "INVALID_SESSION_ID", "Session expired or invalid")),
    }
}

/// The client that asks for a token: in the form, or in a Basic header.
struct Client {
    id: String,
    secret: String,
}

impl Client {
    fn of(request: &Request) -> Client {
        let form = request.form();
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let basic = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        let basic = basic.and_then(base64_decoded).and_then(|pair| String::from_utf8(pair).ok());
        match basic.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((id, secret)) => Client { id: id.to_owned(), secret: secret.to_owned() },
            None => Client { id: field("client_id"), secret: field("client_secret") },
        }
    }

    fn account(&self) -> Result<String, Response> {
        let account = account_in(&self.id, "sandbox-salesforce-")
            .ok_or_else(|| no_token("invalid_client_id", "client identifier invalid"))?;
        match self.secret == format!("sandbox-sfsecret-{account}") {
            true => Ok(account),
            false => Err(no_token("invalid_client", "invalid client credentials")),
        }
    }
}

fn no_token(error: &str, description: &str) -> Response {
    Response::json(400, &json!({"error": error, "error_description": description}))
}

fn token(world: &World, request: &Request) -> Response {
    let form = request.form();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let own = world.url("salesforce").unwrap_or_default();
    let mut refreshed = None;
    let account = match field("grant_type") {
        "client_credentials" => Client::of(request).account(),
        "refresh_token" => Client::of(request).account().and_then(|account| {
            let mut sessions = lock(&world.sessions);
            if field("refresh_token") != sessions.refresh_token(&account) {
                return Err(no_token("invalid_grant", "expired access/refresh token"));
            }
            refreshed = Some(sessions.rotate(&account));
            Ok(account)
        }),
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            jwt::verified(field("assertion"), own).map_err(|problem| no_token("invalid_grant", problem))
        }
        _ => Err(no_token("unsupported_grant_type", "grant type not supported")),
    };
    let account = match account {
        Ok(account) => account,
        Err(refusal) => return refusal,
    };
    let mut body = json!({
        "access_token": lock(&world.sessions).open(Service::Salesforce, &account, SESSION_SECONDS),
        "instance_url": own, "token_type": "Bearer", "scope": "api", "signature": "c2FuZGJveA==",
        "id": format!("https://login.salesforce.com/id/{}/{}", org_id(&account), user_id(&account)),
        "issued_at": (clock::now() / clock::MILLI).to_string(),
    });
    if let Some(refreshed) = refreshed {
        body["refresh_token"] = refreshed.into();
    }
    Response::json(200, &body)
}

/// One signed-in request.
pub(crate) struct Call<'a> {
    pub(crate) account: &'a Account,
    pub(crate) request: &'a Request,
    /// `/services/data/v61.0`.
    pub(crate) root: String,
}

impl Call<'_> {
    pub(crate) fn view(&self, object: Object, with_deleted: bool) -> View<'_> {
        View { account: self.account, object, with_deleted }
    }

    fn on(&self, object: &str, answer: impl FnOnce(&View) -> Response) -> Response {
        match self.visible(object) {
            Some(object) => answer(&self.view(object, true)),
            None => refused(404, "NOT_FOUND", "The requested resource does not exist"),
        }
    }

    fn visible(&self, object: &str) -> Option<Object> {
        Object::named(object).filter(|_| !self.account.withheld.contains(&object.to_ascii_lowercase()))
    }

    /// Reads a query, or else answers what is wrong with it.
    pub(crate) fn select(&self, query: &str) -> Result<Select<Object>, Response> {
        let mut select =
            soql::parse(query, |name| self.visible(name), Object::columns).map_err(|problem| refuse(&problem))?;
        lengthen_ids(&mut select.filter);
        Ok(select)
    }

    /// Returns the rows that a query finds, in their order.
    pub(crate) fn rows(&self, select: &Select<Object>, with_deleted: bool) -> Vec<usize> {
        let enough = select.limit.unwrap_or(usize::MAX);
        let mut rows = pick(&self.view(select.object, with_deleted), &select.filter, &select.sorts, enough);
        rows.truncate(enough);
        rows
    }

    fn query(&self, cursors: &mut Cursors, with_deleted: bool) -> Response {
        let select = match self.select(self.request.param("q").unwrap_or_default()) {
            Ok(select) => select,
            Err(refusal) => return refusal,
        };
        let rows = self.rows(&select, with_deleted);
        let total = rows.len();
        if select.columns.is_empty() {
            return Response::json(200, &json!({"totalSize": total, "done": true, "records": []}));
        }
        let locator = format!("01gSb{}{}AAA", base62(0, 6), base62(cursors.number(), 4));
        let Select { object, columns, .. } = select;
        self.batch(cursors, Cursor { locator, object, columns, rows, total, with_deleted }, 0)
    }

    /// Answers the rest of a query, from the row number at the end of its locator on.
    fn more(&self, cursors: &mut Cursors, locator: &str) -> Response {
        let open = cursors.open.entry(self.account.name.clone()).or_default();
        let asked = locator.rsplit_once('-').and_then(|(name, from)| Some((name, from.parse().ok()?)));
        let found = asked.and_then(|(name, from)| Some((open.iter().position(|cursor| cursor.locator == name)?, from)));
        let Some((cursor, from)) = found.and_then(|(at, from)| Some((open.remove(at)?, from))) else {
            return refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator");
        };
        self.batch(cursors, cursor, from)
    }

    fn batch(&self, cursors: &mut Cursors, cursor: Cursor, from: usize) -> Response {
        let end = cursor.rows.len().min(from.saturating_add(self.batch_size()));
        let rows = &cursor.rows[from.min(end)..end];
        let view = self.view(cursor.object, cursor.with_deleted);
        let records: Vec<_> = rows.iter().map(|&row| view.record(row, &cursor.columns, &self.root)).collect();
        let ids = rows.iter().map(|&row| view.id(row)).collect();
        let done = end == cursor.rows.len();
        let mut body = json!({"totalSize": cursor.total, "done": done, "records": records});
        if !done {
            body["nextRecordsUrl"] = format!("{}/query/{}-{end}", self.root, cursor.locator).into();
        }
        // A cursor stays open after its last batch, so that a batch can be asked for again.
        if from > 0 || !done {
            let open = cursors.open.entry(self.account.name.clone()).or_default();
            open.push_back(cursor);
            if open.len() > OPEN_CURSORS {
                open.pop_front();
            }
        }
        Response::json(200, &body).serving(ids)
    }

    fn batch_size(&self) -> usize {
        let asked = self.request.header("sforce-query-options").and_then(|options| {
            options.split(',').find_map(|option| option.trim().strip_prefix("batchSize=")?.parse().ok())
        });
        asked.unwrap_or(*BATCH.end()).clamp(*BATCH.start(), *BATCH.end())
    }
}

fn refuse(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::UnknownObject(name) => {
            refused(400, "INVALID_TYPE", &format!("sObject type '{name}' is not supported."))
        }
        Refusal::Bad(Problem::UnknownColumn(name)) => {
            refused(400, "INVALID_FIELD", &format!("No such column '{name}' on entity."))
        }
        Refusal::Bad(Problem::WrongType { column, kind, quoted }) => {
            let not = if *quoted { " and should not be enclosed in quotes" } else { "" };
            let message =
                format!("value of filter criterion for field '{column}' must be of type {}{not}", describe_type(*kind));
            refused(400, "INVALID_FIELD", &message)
        }
        Refusal::Bad(Problem::Syntax(what)) => refused(400, "MALFORMED_QUERY", what),
    }
}

/// Lengthens ids of 15 characters in a filter, which name the same records.
fn lengthen_ids(filter: &mut Condition) {
    let lengthen = |column: &str, cell: &mut Cell| {
        if let Cell::Text(id) = cell
            && column.ends_with("Id")
            && id.len() == 15
        {
            *id = super::salesforce_objects::with_suffix(id);
        }
    };
    match filter {
        Condition::All(parts) | Condition::Any(parts) => parts.iter_mut().for_each(lengthen_ids),
        Condition::Not(part) => lengthen_ids(part),
        Condition::Compare { column, value, .. } => lengthen(column, value),
        Condition::OneOf { column, values } => values.iter_mut().for_each(|value| lengthen(column, value)),
    }
}

fn objects() -> Response {
    let objects = Object::ALL.map(|object| json!({"name": object.name(), "label": object.name(), "queryable": true}));
    Response::json(200, &json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects}))
}

fn describe(view: &View) -> Response {
    let fields = view.columns().iter().filter(|column| !column.name.contains('.')).map(|column| {
        let kind = if column.name == "Id" { "id" } else { describe_type(column.kind) };
        json!({
            "name": column.name, "label": column.name.trim_end_matches("__c").replace('_', " "), "type": kind,
            "length": if column.kind == Type::Text { 255 } else { 0 }, "nillable": column.name != "Id",
            "calculated": false, "filterable": true, "compoundFieldName": null, "referenceTo": [],
            "picklistValues": [], "custom": column.name.ends_with("__c"),
        })
    });
    let body = json!({
        "name": view.object.name(), "label": view.object.name(), "queryable": true, "replicateable": true,
        "retrieveable": true, "fields": fields.collect::<Vec<_>>(),
    });
    Response::json(200, &body)
}

fn describe_type(kind: Type) -> &'static str {
    match kind {
        Type::Int => "int",
        Type::Text => "string",
        Type::Time => "dateTime",
        Type::Day => "date",
        Type::Bool => "boolean",
    }
}

/// Answers the ids deleted in a span of the last 15 days.
fn deleted(view: &View, request: &Request) -> Response {
    let time = |name: &str| request.param(name).and_then(clock::parse);
    let (Some(start), Some(end)) = (time("start"), time("end")) else {
        return refused(400, "MALFORMED_ID", "start and end are date-times");
    };
    let earliest = clock::now() - BIN_DAYS * DAY;
    if start < earliest || end <= start {
        return refused(400, "INVALID_REPLICATION_DATE", "startDate before org replication enabled date");
    }
    let Some(roster) = view.roster() else { return refused(404, "NOT_FOUND", "The requested resource does not exist") };
    let rows: Vec<usize> =
        (0..roster.len()).filter(|&row| roster.removed(row).is_some_and(|at| (start..end).contains(&at))).collect();
    let records: Vec<Value> = rows
        .iter()
        .map(|&row| json!({"id": view.id(row), "deletedDate": roster.removed(row).map(clock::salesforce)}))
        .collect();
    let body = json!({
        "deletedRecords": records, "earliestDateAvailable": clock::salesforce(earliest),
        "latestDateCovered": clock::salesforce(end.min(clock::now())),
    });
    Response::json(200, &body).serving(rows.iter().map(|&row| view.id(row)).collect())
}
