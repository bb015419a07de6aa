//! HubSpot's search: filter groups, sorts, a total, and an offset that ends at 10,000.

use serde_json::{Value, json};

use super::clock;
use super::condition::{Condition, Test};
use super::http::{Request, Response};
use super::hubspot::{invalid, record, wanted};
use super::hubspot_objects::View;
use super::table::{Cell, Column, Sort, Table, Type, column, pick};

const SEARCH_LIMIT: usize = 200;
const SEARCH_CAP: usize = 10_000;

/// Answers a search, at most 10,000 records deep.
pub(crate) fn answer(view: &View, request: &Request) -> Response {
    let Some(body) = request.json() else { return invalid("Invalid input JSON") };
    let number = |name: &str, default: usize| match &body[name] {
        Value::Null => Some(default),
        Value::String(text) if text.is_empty() => Some(default),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().map(|number| number as usize),
    };
    let (Some(limit), Some(after)) = (number("limit", 10), number("after", 0)) else {
        return invalid("Invalid input: limit and after are numbers");
    };
    if limit > SEARCH_LIMIT {
        return invalid(&format!("Invalid input: limit {limit} exceeds the maximum of {SEARCH_LIMIT}"));
    }
    if after + limit > SEARCH_CAP {
        return invalid("There was a problem with the request: the total number of results is limited to 10000");
    }
    let parsed = filters(view, &body).and_then(|filter| Ok((filter, sorts(view, &body)?)));
    let (filter, sorts) = match parsed {
        Ok(parsed) => parsed,
        Err(message) => return invalid(&message),
    };
    let names = body["properties"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let columns = wanted(view, names);
    let found = pick(view, &filter, &sorts, usize::MAX);
    let rows: Vec<usize> = found.iter().copied().skip(after).take(limit).collect();
    let results: Vec<_> = rows.iter().map(|&row| record(view, row, &columns)).collect();
    let mut answer = json!({"total": found.len(), "results": results});
    if found.len() > after + limit {
        answer["paging"] = json!({"next": {"after": (after + limit).to_string()}});
    }
    Response::json(200, &answer).serving(rows.iter().map(|&row| view.id(row)).collect())
}

fn filters(view: &View, body: &Value) -> Result<Condition, String> {
    let groups: Vec<&Value> = body["filterGroups"].as_array().into_iter().flatten().collect();
    let filters = |group: &Value| group["filters"].as_array().cloned().unwrap_or_default();
    let total: usize = groups.iter().map(|group| filters(group).len()).sum();
    if groups.len() > 5 || total > 25 || groups.iter().any(|group| filters(group).len() > 10) {
        return Err("There are too many filter groups or filters".to_owned());
    }
    if groups.is_empty() {
        return Ok(Condition::always());
    }
    let group = |group: &&Value| {
        let parts: Result<Vec<_>, String> = filters(group).iter().map(|part| filter(view, part)).collect();
        Ok(Condition::All(parts?))
    };
    Ok(Condition::Any(groups.iter().map(group).collect::<Result<_, String>>()?))
}

fn filter(view: &View, filter: &Value) -> Result<Condition, String> {
    let name = filter["propertyName"].as_str().unwrap_or_default();
    let property = column(view.columns(), name)
        .ok_or_else(|| format!("There was a problem with the request: no property {name}"))?;
    let value = |value: &Value| cell(property, value);
    let compare = |test, from: &Value| Ok(Condition::Compare { column: property.name, test, value: value(from)? });
    let all = |name: &str| -> Result<Vec<Cell>, String> {
        filter[name].as_array().into_iter().flatten().map(value).collect()
    };
    let has = Condition::Compare { column: property.name, test: Test::Unequal, value: Cell::Null };
    match filter["operator"].as_str().unwrap_or_default() {
        "EQ" => compare(Test::Equal, &filter["value"]),
        "NEQ" => compare(Test::Unequal, &filter["value"]),
        "GT" => compare(Test::Greater, &filter["value"]),
        "GTE" => compare(Test::AtLeast, &filter["value"]),
        "LT" => compare(Test::Less, &filter["value"]),
        "LTE" => compare(Test::AtMost, &filter["value"]),
        "BETWEEN" => Ok(Condition::All(vec![
            compare(Test::AtLeast, &filter["value"])?,
            compare(Test::AtMost, &filter["highValue"])?,
        ])),
        "IN" => Ok(Condition::OneOf { column: property.name, values: all("values")? }),
        "NOT_IN" => Ok(Condition::Not(Box::new(Condition::OneOf { column: property.name, values: all("values")? }))),
        "HAS_PROPERTY" => Ok(has),
        "NOT_HAS_PROPERTY" => Ok(Condition::Not(Box::new(has))),
        other => Err(format!("There was a problem with the request: operator {other} is not valid")),
    }
}

/// Reads a filter's value as the property's type: dates as milliseconds since 1970, or ISO.
fn cell(property: Column, value: &Value) -> Result<Cell, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let read = match property.kind {
        Type::Int => text.parse().ok().map(Cell::Int),
        Type::Time => {
            let millis = text.parse::<i64>().ok().map(|millis| millis * clock::MILLI);
            millis.or_else(|| clock::parse(&text)).map(Cell::Time)
        }
        _ => Some(Cell::Text(text.clone())),
    };
    read.ok_or_else(|| format!("There was a problem with the request: {text} is no value for {}", property.name))
}

fn sorts(view: &View, body: &Value) -> Result<Vec<Sort>, String> {
    let sort = |sort: &Value| {
        let name = sort.as_str().or(sort["propertyName"].as_str()).unwrap_or_default();
        let found = column(view.columns(), name.trim_start_matches('-'));
        let property = found.ok_or_else(|| format!("There was a problem with the request: no property {name}"))?;
        Ok(Sort { column: property.name, descending: name.starts_with('-') || sort["direction"] == "DESCENDING" })
    };
    body["sorts"].as_array().into_iter().flatten().map(sort).collect()
}
