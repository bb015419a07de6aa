//! Aptem's OData feed: `/odata/1.0/Users` and its like, opened by the header `X-API-Token`.

use serde_json::{Map, Value, json};

use super::aptem_sets::{LEARNER_COLLECTIONS, SETS, Set, View};
use super::clock;
use super::condition::{Condition, Problem, odata_filter};
use super::encoding::percent_encoded;
use super::http::{Request, Response};
use super::roster::{Account, Kind};
use super::service::Service;
use super::table::{Column, Sort, Table, Type, column, pick};
use super::world::{World, account_in, lock};

pub(crate) const CONTENT_TYPE: &str = "application/json; odata.metadata=minimal; odata.streaming=true";

/// Rows of an answer to a request that names no `$top`.
const PAGE: usize = 1000;
const LONGEST_TARGET: usize = 8192;
/// Columns that may be selected beside an expansion.
const NARROW_SELECT: usize = 20;
/// An entity set that no account's token may read.
const FORBIDDEN: &str = "Trackers";
const OPTIONS: [&str; 6] = ["$top", "$skip", "$select", "$filter", "$orderby", "$expand"];

pub(crate) fn account_of(request: &Request) -> Option<String> {
    let token = request.header("x-api-token")?;
    account_in(token, "sandbox-aptem-").or_else(|| account_in(token, "sandbox-aptemgroup-"))
}

pub(crate) fn id(account: &Account, kind: Kind, index: usize) -> i64 {
    // Ids rise with the index, with gaps.
    let (first, step) = match kind {
        Kind::Learner => (20_000 + account.offset(61, 9000), 3),
        Kind::Employer => (500 + account.offset(62, 400), 2),
        Kind::Contact => (70_000 + account.offset(63, 5000), 2),
    };
    (first + step * index as u64 + account.stirred(64, index) % step) as i64
}

pub(crate) fn refused(status: u16, message: &str) -> Response {
    Response::new(status, CONTENT_TYPE, json!({"error": {"code": "", "message": message}}).to_string())
        .with("OData-Version", "4.0")
}

pub(crate) fn answer(world: &World, request: &Request) -> Response {
    if request.target.len() > LONGEST_TARGET {
        return Response::new(414, "text/html; charset=us-ascii", "<h2>Request URL Too Long</h2>");
    }
    let segments = request.segments();
    let (version, name) = match segments.as_slice() {
        ["odata", version @ ("1.0" | "2.0"), name] if request.reads() => (*version, *name),
        _ => return refused(404, "No HTTP resource was found that matches the request URI"),
    };
    if name == "$metadata" {
        return Response::new(200, "application/xml", metadata(version)).with("OData-Version", "4.0");
    }
    let Some(account_name) = account_of(request) else {
        return refused(401, "Authorization has been denied for this request.");
    };
    let found = SETS.iter().find(|set| set.name.eq_ignore_ascii_case(name) && set.is_in(version));
    let Some(set) = found else { return refused(404, &format!("Resource not found for the segment '{name}'.")) };
    let account = world.account(Service::Aptem, &account_name);
    let account = lock(&account);
    if set.name == FORBIDDEN || account.withheld.contains(&set.name.to_ascii_lowercase()) {
        return refused(403, &format!("You do not have permission to access {}.", set.name));
    }
    let view = View {
        account: &account,
        set,
        staff: world.config.aptem_staff,
        one_group: request.header("x-api-token").is_some_and(|token| token.starts_with("sandbox-aptemgroup-")),
    };
    let root = format!("{}/odata/{version}", world.url("aptem").unwrap_or_default());
    match Query::read(request, set, world.config.aptem_deepest_skip) {
        Ok(query) => page(&view, &query, &root, request),
        Err(message) => refused(400, &message),
    }
}

/// The query options of one request.
struct Query {
    top: Option<usize>,
    skip: usize,
    select: Option<Vec<Column>>,
    expand: Vec<&'static str>,
    sorts: Vec<Sort>,
    filter: Condition,
}

impl Query {
    fn read(request: &Request, set: &Set, deepest: usize) -> Result<Query, String> {
        if let Some((name, _)) = request.query.iter().find(|(name, _)| !OPTIONS.contains(&name.as_str())) {
            return Err(format!("The query parameter '{name}' is not supported."));
        }
        let number = |name: &str| match request.param(name) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| format!("Invalid value '{text}' for {name} query option found."))
            }
        };
        let find = |name: &str| {
            column(set.columns, name.trim()).ok_or_else(|| {
                format!("Could not find a property named '{}' on type 'Aptem.{}'.", name.trim(), set.name)
            })
        };
        let select = request.param("$select").map(|list| list.split(',').map(find).collect()).transpose()?;
        let query = Query {
            top: number("$top")?,
            skip: number("$skip")?.unwrap_or(0),
            expand: expansions(request.param("$expand"), set)?,
            sorts: request.param("$orderby").map_or(Ok(Vec::new()), |list| sorts(list, &find))?,
            filter: request.param("$filter").map_or(Ok(Condition::always()), |filter| {
                odata_filter(filter, set.columns).map_err(|problem| explain(problem, set))
            })?,
            select,
        };
        if query.top.is_some_and(|top| top > set.ceiling) {
            return Err(format!(
                "The value selected for '$top' exceeds the {} record limit for this query.",
                set.ceiling
            ));
        }
        let columns = query.select.as_ref().map_or(set.columns.len(), Vec::len);
        if query.skip > deepest || (!query.expand.is_empty() && columns > NARROW_SELECT) {
            return Err("An error occured while executing requested action. Try again later.".to_owned());
        }
        Ok(query)
    }
}

fn expansions(list: Option<&str>, set: &Set) -> Result<Vec<&'static str>, String> {
    let names = list.map(|list| list.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
    let known = |name: &&str| LEARNER_COLLECTIONS.iter().find(|known| set.name == "Users" && *known == name).copied();
    names
        .iter()
        .map(|name| {
            known(name).ok_or(format!("Could not find a property named '{name}' on type 'Aptem.{}'.", set.name))
        })
        .collect()
}

fn sorts(list: &str, find: &dyn Fn(&str) -> Result<Column, String>) -> Result<Vec<Sort>, String> {
    let sort = |part: &str| {
        let (name, direction) = part.trim().split_once(' ').unwrap_or((part, "asc"));
        match direction.trim() {
            "asc" | "desc" => Ok(Sort { column: find(name)?.name, descending: direction.trim() == "desc" }),
            other => Err(format!("Syntax error at '{other}' in '$orderby'.")),
        }
    };
    list.split(',').map(sort).collect()
}

fn explain(problem: Problem, set: &Set) -> String {
    match problem {
        Problem::Syntax(what) => format!("Syntax error in '$filter': {what}."),
        Problem::UnknownColumn(name) => {
            format!("Could not find a property named '{name}' on type 'Aptem.{}'.", set.name)
        }
        Problem::WrongType { column, kind, .. } => {
            format!("A binary operator with incompatible types was detected: '{column}' is of type '{}'.", edm(kind))
        }
    }
}

fn page(view: &View, query: &Query, root: &str, request: &Request) -> Response {
    let size = query.top.unwrap_or(PAGE);
    let found = pick(view, &query.filter, &query.sorts, query.skip + size + 1);
    let rows: Vec<usize> = found.iter().copied().skip(query.skip).take(size).collect();
    let columns = query.select.as_deref().unwrap_or(view.set.columns);
    let record = |&row: &usize| {
        let mut record = Map::new();
        for column in columns {
            record.insert(column.name.to_owned(), view.cell(row, column.name).json(clock::aptem));
        }
        for &name in &query.expand {
            record.insert(name.to_owned(), view.collection(row, name));
        }
        Value::Object(record)
    };
    let selected = match &query.select {
        Some(columns) => format!("({})", columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")),
        None => String::new(),
    };
    let mut body = json!({
        "@odata.context": format!("{root}/$metadata#{}{selected}", view.set.name),
        "value": rows.iter().map(record).collect::<Vec<_>>(),
    });
    if query.top.is_none() && found.len() > query.skip + size {
        body["@odata.nextLink"] = next_link(request, root, view.set.name, query.skip + size).into();
    }
    let ids = rows.iter().map(|&row| view.id(row)).collect();
    Response::new(200, CONTENT_TYPE, body.to_string()).with("OData-Version", "4.0").serving(ids)
}

fn next_link(request: &Request, root: &str, set: &str, skip: usize) -> String {
    let kept = request.query.iter().filter(|(name, _)| name != "$skip");
    let mut options: Vec<_> =
        kept.map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value))).collect();
    options.push(format!("$skip={skip}"));
    format!("{root}/{set}?{}", options.join("&"))
}

fn edm(kind: Type) -> &'static str {
    match kind {
        Type::Int => "Edm.Int32",
        Type::Text => "Edm.String",
        Type::Time | Type::Day => "Edm.DateTimeOffset",
        Type::Bool => "Edm.Boolean",
    }
}

fn metadata(version: &str) -> String {
    let mut types = String::new();
    let mut sets = String::new();
    for set in SETS.iter().filter(|set| set.is_in(version)) {
        let keys: String = set.keys.iter().map(|key| format!("<PropertyRef Name=\"{key}\"/>")).collect();
        types += &format!("<EntityType Name=\"{}\" OpenType=\"true\"><Key>{keys}</Key>", set.name);
        for column in set.columns {
            types += &format!("<Property Name=\"{}\" Type=\"{}\"/>", column.name, edm(column.kind));
        }
        types += "</EntityType>\n";
        sets += &format!("<EntitySet Name=\"{0}\" EntityType=\"Aptem.{0}\"/>\n", set.name);
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <edmx:Edmx Version=\"4.0\" xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\"><edmx:DataServices>\n\
         <Schema Namespace=\"Aptem\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\">\n{types}\
         <EntityContainer Name=\"Container\">\n{sets}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>\n"
    )
}
