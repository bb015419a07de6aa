//! OneFile: a session for a customer token, thin searches by POST with the page in the path, fat detail by id.

use serde_json::{Value, json};

use super::clock::{self, Ticks};
use super::http::{Request, Response};
use super::people::{Person, Standing, name_hash};
use super::roster::{Account, Kind};
use super::service::Service;
use super::sessions::Pass;
use super::world::{World, account_in, lock};

const SESSION_SECONDS: i64 = 24 * 3600;
const ASSESSORS: usize = 6;
const CLASSROOMS: usize = 12;

/// The roles that the sandbox has people in; a search takes one.
const LEARNER: i64 = 1;
const ASSESSOR: i64 = 5;
const EMPLOYER: i64 = 40;

/// Returns the customer id of an account.
pub(crate) fn onefile_customer(account: &str) -> u64 {
    2000 + name_hash(account) % 6000
}

/// Returns the ids of an account's two organisations.
pub(crate) fn onefile_organisations(account: &str) -> Vec<u64> {
    let first = 5000 + 2 * (name_hash(account) % 20_000);
    vec![first, first + 1]
}

/// What OneFile has ids for; each begins at a number of its own.
#[derive(Clone, Copy)]
enum Entity {
    Learner,
    Assessor,
    Employer,
    Placement,
    Classroom,
}

fn entity_id(account: &Account, entity: Entity, index: usize) -> i64 {
    let (first, step) = match entity {
        Entity::Assessor => (122_000 + account.offset(91, 500), 3),
        Entity::Employer => (130_000 + account.offset(92, 5000), 5),
        Entity::Placement => (18_000 + account.offset(93, 900), 2),
        Entity::Classroom => (15_000 + account.offset(94, 900), 1),
        Entity::Learner => (1_200_000 + account.offset(95, 90_000), 4),
    };
    (first + step * index as u64 + account.stirred(96, index) % step) as i64
}

pub(crate) fn id(account: &Account, kind: Kind, index: usize) -> i64 {
    let entity = match kind {
        Kind::Learner => Entity::Learner,
        Kind::Employer => Entity::Placement,
        Kind::Contact => Entity::Employer,
    };
    entity_id(account, entity, index)
}

/// Returns which of the two organisations a record belongs to.
fn organisation(account: &Account, index: usize) -> u64 {
    onefile_organisations(&account.name)[usize::from(index % 3 == 2)]
}

pub(crate) fn account_of(world: &World, request: &Request) -> Option<String> {
    if let Some(token) = request.header("x-customertoken") {
        return account_in(token, "sandbox-onefile-");
    }
    match lock(&world.sessions).pass(Service::OneFile, request.header("x-tokenid")?) {
        Pass::Open(account) | Pass::Expired(account) => Some(account),
        Pass::Unknown => None,
    }
}

pub(crate) fn refused(status: u16, message: &str) -> Response {
    Response::json(status, &json!({"message": message}))
}

pub(crate) fn answer(world: &World, request: &Request) -> Response {
    let lower = request.path.to_ascii_lowercase();
    let Some(path) = lower.strip_prefix("/api/v2.1/") else { return refused(404, "Not found") };
    let is_login = path == "authentication";
    let account_name = account_of(world, request);
    if let (Some(account), Some(limit)) = (&account_name, world.config.onefile_per_minute) {
        let bucket = format!("onefile {account}");
        if lock(&world.meters).admit(bucket, limit, 60 * clock::SECOND).is_err() {
            return refused(429, &format!("API rate limit of {limit} calls per minute exceeded"));
        }
    }
    if is_login {
        return log_in(world, request, account_name.as_deref());
    }
    let pass = lock(&world.sessions).pass(Service::OneFile, request.header("x-tokenid").unwrap_or_default());
    let Pass::Open(name) = pass else { return refused(401, "The X-TokenID is missing, invalid or has expired") };
    let account = world.account(Service::OneFile, &name);
    let account = lock(&account);
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["customer"]) => Response::json(200, &customer(&account)),
        ("GET", ["organisation", id, "learnerstatuses"]) if owns(&account, id) => Response::json(200, &statuses()),
        ("GET", ["user", id]) => found(user(&account, id)),
        ("GET", ["placement", id]) => found(placement(&account, id)),
        ("GET", ["classroom", id]) => found(classroom(&account, id)),
        ("POST", [entity, "search", rest @ ..]) => search(&account, entity, rest, request),
        _ => refused(404, "No such entity"),
    }
}

fn log_in(world: &World, request: &Request, account: Option<&str>) -> Response {
    if request.method != "POST" {
        return refused(405, "The requested resource does not support this method");
    }
    let Some(account) = account else { return refused(401, "The customer token is not valid") };
    let token = lock(&world.sessions).open(Service::OneFile, account, SESSION_SECONDS);
    if world.config.onefile_token_wrapped {
        return Response::new(200, "application/json; charset=utf-8", format!("\"{token}\"\r\n"));
    }
    Response::new(200, "text/plain; charset=utf-8", token)
}

fn customer(account: &Account) -> Value {
    json!({"ID": onefile_customer(&account.name), "Name": format!("{} Training", account.name)})
}

fn statuses() -> Value {
    json!([
        {"ID": 1, "Name": "Onboarding"}, {"ID": 3, "Name": "In learning"}, {"ID": 4, "Name": "On break"},
        {"ID": 5, "Name": "Withdrawn"}, {"ID": 6, "Name": "Completed"},
    ])
}

fn owns(account: &Account, organisation: &str) -> bool {
    onefile_organisations(&account.name).iter().any(|id| id.to_string() == organisation)
}

fn found(record: Option<Value>) -> Response {
    match record {
        Some(record) => {
            let ids = vec![record["ID"].to_string()];
            Response::json(200, &record).serving(ids)
        }
        None => refused(404, "No such entity"),
    }
}

/// Answers a search: a bare array, 204 where there is nothing, with or without the page in the path.
fn search(account: &Account, entity: &str, page: &[&str], request: &Request) -> Response {
    let number = |text: &&str| text.parse::<usize>().ok().filter(|&number| number > 0);
    let (skip, take) = match page {
        [] => (0, usize::MAX),
        [page, size] => match (number(page), number(size)) {
            (Some(page), Some(size)) => ((page - 1).saturating_mul(size), size),
            _ => return refused(400, "The page number and the page size are numbers from 1"),
        },
        _ => return refused(404, "No such entity"),
    };
    let rows = match Body::read(request).and_then(|body| rows(account, entity, &body)) {
        Ok(Some(rows)) => rows,
        Ok(None) => return refused(404, "No such entity"),
        Err(message) => return refused(400, &message),
    };
    let rows: Vec<Value> = rows.into_iter().skip(skip).take(take).map(|row| row()).collect();
    if rows.is_empty() {
        return Response::empty(204);
    }
    let ids = rows.iter().map(|row| row["ID"].to_string()).collect();
    Response::json(200, &Value::Array(rows)).serving(ids)
}

/// The fields of a search, which come as JSON or as a form.
struct Body(Value);

impl Body {
    fn read(request: &Request) -> Result<Body, String> {
        if !request.is_json() {
            let fields = request.form().into_iter().map(|(name, value)| (name, Value::String(value)));
            return Ok(Body(Value::Object(fields.collect())));
        }
        if request.body.is_empty() {
            return Ok(Body(json!({})));
        }
        request.json().filter(Value::is_object).map(Body).ok_or_else(|| "The request body is not valid".to_owned())
    }

    fn number(&self, name: &str) -> Result<Option<i64>, String> {
        match &self.0[name] {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_i64()),
            Value::String(text) => text.parse().map(Some).map_err(|_| format!("{name} is not valid")),
            _ => Err(format!("{name} is not valid")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Ticks>, String> {
        let Some(text) = self.0[name].as_str().filter(|text| !text.is_empty()) else { return Ok(None) };
        clock::parse(text).map(Some).ok_or_else(|| format!("{name} is not a valid date"))
    }
}

/// A row still to be made: most rows of a search are on other pages.
type Row<'a> = Box<dyn Fn() -> Value + 'a>;

fn rows<'a>(account: &'a Account, entity: &str, body: &Body) -> Result<Option<Vec<Row<'a>>>, String> {
    if entity == "organisation" {
        return organisations(account, body).map(Some);
    }
    // A search that names no organisation gets the first.
    let organisations = onefile_organisations(&account.name);
    let wanted = match body.number("OrganisationID")? {
        None => organisations[0],
        Some(id) => organisations.into_iter().find(|known| *known as i64 == id).ok_or("Unknown OrganisationID")?,
    };
    let inside = |index: &usize| organisation(account, *index) == wanted;
    let rows: Vec<Row> = match entity {
        "user" => users(account, body, &inside)?,
        "placement" => {
            let live = (0..account.employers.len()).filter(|&index| account.employers.live(index)).filter(inside);
            live.map(|index| -> Row {
                let id = id(account, Kind::Employer, index);
                Box::new(move || json!({"ID": id, "Name": account.employer(index).name()}))
            })
            .collect()
        }
        "classroom" => (0..CLASSROOMS)
            .filter(inside)
            .map(|index| -> Row {
                let id = entity_id(account, Entity::Classroom, index);
                Box::new(move || json!({"ID": id, "Name": class_name(index), "MISID": null}))
            })
            .collect(),
        _ => return Ok(None),
    };
    Ok(Some(rows))
}

fn organisations<'a>(account: &'a Account, body: &Body) -> Result<Vec<Row<'a>>, String> {
    if body.number("CustomerID")? != Some(onefile_customer(&account.name) as i64) {
        return Err("Unknown CustomerID".to_owned());
    }
    let centres = onefile_organisations(&account.name).into_iter().zip(["Main centre", "Second centre"]);
    Ok(centres.map(|(id, name)| -> Row { Box::new(move || json!({"ID": id, "Name": name})) }).collect())
}

fn users<'a>(account: &'a Account, body: &Body, inside: &dyn Fn(&usize) -> bool) -> Result<Vec<Row<'a>>, String> {
    let since = body.time("LastModified")?.unwrap_or(Ticks::MIN);
    let (entity, count) = match body.number("Role")? {
        Some(LEARNER) => (Entity::Learner, account.learners.len()),
        Some(ASSESSOR) => (Entity::Assessor, ASSESSORS),
        Some(EMPLOYER) => (Entity::Employer, account.contacts.len()),
        Some(_) => return Ok(Vec::new()),
        None => return Err("Role is required".to_owned()),
    };
    let shown = |index: &usize| inside(index) && user_is_there(account, entity, *index, since);
    let row = |index| -> Row {
        Box::new(move || {
            let person = person(account, entity, index);
            json!({
                "ID": entity_id(account, entity, index), "FirstName": person.first_name(),
                "LastName": person.last_name(), "MISID": mis_id(entity, &person),
            })
        })
    };
    Ok((0..count).filter(shown).map(row).collect())
}

fn user_is_there(account: &Account, entity: Entity, index: usize, since: Ticks) -> bool {
    match entity {
        Entity::Learner => account.learners.live(index) && account.learners.modified(index) >= since,
        Entity::Employer => account.contacts.live(index) && account.contacts.modified(index) >= since,
        _ => account.until >= since,
    }
}

fn person(account: &Account, entity: Entity, index: usize) -> Person {
    match entity {
        Entity::Learner => account.learner(index),
        Entity::Employer => account.contact(index),
        _ => account.staff(index),
    }
}

fn mis_id(entity: Entity, person: &Person) -> Option<String> {
    matches!(entity, Entity::Learner).then(|| person.mis_id()).flatten()
}

/// Returns the index of the record of an entity with an id.
fn index_of(account: &Account, entity: Entity, count: usize, wanted: &str) -> Option<usize> {
    let wanted: i64 = wanted.parse().ok()?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if entity_id(account, entity, middle) < wanted { low = middle + 1 } else { high = middle }
    }
    (low < count && entity_id(account, entity, low) == wanted).then_some(low)
}

fn user(account: &Account, id: &str) -> Option<Value> {
    let counts = [
        (Entity::Learner, account.learners.len()),
        (Entity::Assessor, ASSESSORS),
        (Entity::Employer, account.contacts.len()),
    ];
    let (entity, index) =
        counts.into_iter().find_map(|(entity, count)| Some((entity, index_of(account, entity, count, id)?)))?;
    if !user_is_there(account, entity, index, Ticks::MIN) {
        return None;
    }
    let person = person(account, entity, index);
    let (role, modified) = match entity {
        Entity::Learner => (LEARNER, account.learners.modified(index)),
        Entity::Employer => (EMPLOYER, account.contacts.modified(index)),
        _ => (ASSESSOR, account.until),
    };
    let mut user = json!({
        "ID": entity_id(account, entity, index), "OrganisationID": organisation(account, index), "Role": role,
        "Username": person.username(), "FirstName": person.first_name(), "LastName": person.last_name(),
        "Email": person.email(), "MISID": mis_id(entity, &person), "MobileNumber": person.mobile(), "Telephone": null,
        "LastModified": clock::millis(modified),
    });
    if role == LEARNER {
        learner_fields(account, index, &person, &mut user);
    }
    Some(user)
}

fn learner_fields(account: &Account, index: usize, person: &Person, user: &mut Value) {
    let (street, town) = person.address();
    let employer = account.employer_of(index);
    let placed = |entity| employer.map(|employer| entity_id(account, entity, employer));
    let fields = json!({
        // Nobody's number is an empty text here, not null.
        "ULN": person.uln().unwrap_or_default(),
        "NINO": format!("QQ{:06}C", account.stirred(97, index) % 1_000_000),
        "DOB": clock::seconds(person.born()),
        "HomeAddress": format!("{street}\r\n{town}\r\n{}", person.postcode()),
        "EpisodeName": person.programme(),
        "StartOn": clock::seconds(person.start(account.until)),
        "PlannedEndDate": clock::seconds(person.planned_end(account.until)),
        "CentreRegister": clock::seconds(person.start(account.until) - clock::DAY),
        "DefaultAssessorID": entity_id(account, Entity::Assessor, index % ASSESSORS),
        "DefaultEmployerID": placed(Entity::Employer),
        "ClassroomID": entity_id(account, Entity::Classroom, index % CLASSROOMS),
        "PlacementID": placed(Entity::Placement),
        "LearnerStatusID": match person.standing() {
            Standing::Onboarding => 1,
            Standing::Active => 3,
            Standing::OnBreak => 4,
            Standing::Withdrawn => 5,
            Standing::Completed => 6,
        },
        "L12": "31", "L13": &person.gender()[..1], "L14": "9", "L15": "98", "L16": "98",
        "Progress": person.progress(),
    });
    if let (Some(user), Value::Object(fields)) = (user.as_object_mut(), fields) {
        user.extend(fields);
    }
}

fn placement(account: &Account, id: &str) -> Option<Value> {
    let index = index_of(account, Entity::Placement, account.employers.len(), id)?;
    if !account.employers.live(index) {
        return None;
    }
    let company = account.employer(index);
    Some(json!({
        "ID": entity_id(account, Entity::Placement, index),
        "OrganisationID": organisation(account, index),
        "Name": company.name(),
        "Address": format!("{}\r\n{}\r\n{}", company.street(), company.city(), company.postcode()),
        "Telephone": company.phone(),
        "Active": if index % 4 == 1 { json!("true") } else { json!(true) },
    }))
}

fn classroom(account: &Account, id: &str) -> Option<Value> {
    let index = index_of(account, Entity::Classroom, CLASSROOMS, id)?;
    Some(json!({
        "ID": entity_id(account, Entity::Classroom, index), "OrganisationID": organisation(account, index),
        "Name": class_name(index), "MISID": null,
    }))
}

fn class_name(index: usize) -> String {
    format!("Class {}", index + 1)
}
