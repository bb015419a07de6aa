//! Salesforce's Bulk API 2.0: query jobs that are created, polled, and fetched as pages of CSV.

use serde_json::{Value, json};

use super::clock;
use super::http::{Request, Response};
use super::salesforce::{Call, Cursors, refused};
use super::salesforce_objects::{Object, base62, user_id, with_suffix};
use super::soql::Select;
use super::table::{Cell, Table};

/// Rows of a page of results where no `maxRecords` is given.
const DEFAULT_ROWS: usize = 50_000;

pub(crate) struct Job {
    id: String,
    created: String,
    operation: String,
    select: Select<Object>,
    rows: Vec<usize>,
    polls: usize,
}

impl Job {
    /// Returns the state, which goes on with each look at it.
    fn state(&self) -> &'static str {
        match self.polls {
            0 => "UploadComplete",
            1 => "InProgress",
            _ => "JobComplete",
        }
    }

    fn json(&self, account: &str) -> Value {
        let mut job = json!({
            "id": self.id, "operation": self.operation, "object": self.select.object.name(),
            "createdById": user_id(account), "createdDate": self.created, "systemModstamp": self.created,
            "state": self.state(), "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 61.0,
            "lineEnding": "LF", "columnDelimiter": "COMMA",
        });
        if self.state() == "JobComplete" {
            job["numberRecordsProcessed"] = self.rows.len().into();
            job["retries"] = 0.into();
        }
        job
    }
}

pub(crate) fn answer(call: &Call, cursors: &mut Cursors, rest: &[&str]) -> Response {
    let account = call.account.name.clone();
    if let ("POST", []) = (call.request.method.as_str(), rest) {
        return match create(call, cursors) {
            Ok(job) => {
                let answer = Response::json(200, &job.json(&account));
                cursors.jobs.entry(account).or_default().push(job);
                answer
            }
            Err(refusal) => refusal,
        };
    }
    let jobs = cursors.jobs.entry(account.clone()).or_default();
    let found = rest.first().and_then(|id| jobs.iter().position(|job| job.id == **id));
    let Some(at) = found else { return refused(404, "NOT_FOUND", "The requested resource does not exist") };
    match (call.request.method.as_str(), &rest[1..]) {
        ("GET", []) => {
            jobs[at].polls += 1;
            Response::json(200, &jobs[at].json(&account))
        }
        ("GET", ["results"]) => results(call, &jobs[at]),
        ("DELETE", []) => {
            jobs.remove(at);
            Response::empty(204)
        }
        _ => refused(404, "NOT_FOUND", "The requested resource does not exist"),
    }
}

fn create(call: &Call, cursors: &mut Cursors) -> Result<Job, Response> {
    let body = call.request.json().unwrap_or_default();
    let operation = body["operation"].as_str().unwrap_or_default();
    if !["query", "queryAll"].contains(&operation) {
        return Err(refused(400, "API_ERROR", "operation is query or queryAll"));
    }
    let select = call.select(body["query"].as_str().unwrap_or_default())?;
    if select.columns.is_empty() {
        return Err(refused(400, "API_ERROR", "Aggregate Relationship not supported in Bulk Query"));
    }
    let rows = call.rows(&select, operation == "queryAll");
    let id = with_suffix(&format!("750Sb{}", base62(cursors.number(), 10)));
    let created = clock::salesforce(clock::now());
    Ok(Job { id, created, operation: operation.to_owned(), select, rows, polls: 0 })
}

/// Answers one page: a CSV with its own header, and in a header where the next one begins.
fn results(call: &Call, job: &Job) -> Response {
    if job.state() != "JobComplete" {
        return refused(400, "INVALIDJOBSTATE", "the job is not complete");
    }
    let (Some(size @ 1..), Some(from)) =
        (number(call.request, "maxRecords", DEFAULT_ROWS), number(call.request, "locator", 0))
    else {
        return refused(400, "API_ERROR", "maxRecords or locator is not valid");
    };
    let with_deleted = job.operation == "queryAll";
    let view = call.view(job.select.object, with_deleted);
    let rows: Vec<usize> = job.rows.iter().copied().skip(from).take(size).collect();
    let mut csv = line(job.select.columns.iter().map(|column| column.name.to_owned()));
    for &row in &rows {
        csv += &line(job.select.columns.iter().map(|column| written(view.cell(row, column.name))));
    }
    let end = from + rows.len();
    let locator = if end < job.rows.len() { end.to_string() } else { "null".to_owned() };
    Response::new(200, "text/csv", csv)
        .with("Sforce-Locator", locator)
        .with("Sforce-NumberOfRecords", rows.len())
        .serving(rows.iter().map(|&row| view.id(row)).collect())
}

fn number(request: &Request, name: &str, default: usize) -> Option<usize> {
    request.param(name).map_or(Some(default), |text| text.parse().ok())
}

/// Returns a cell as CSV has it, where nothing looks like an empty text.
fn written(cell: Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(number) => number.to_string(),
        Cell::Text(text) | Cell::Day(text) => text,
        Cell::Time(at) => clock::millis(at),
        Cell::Bool(is) => is.to_string(),
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
    format!("{}\n", quoted.collect::<Vec<_>>().join(","))
}
