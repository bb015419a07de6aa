//! Bud: a token server, and a gateway that wants a subscription key beside the token.
//!
//! Only the authentication is public. Paths, parameters and fields are the assumed ones of the provider notes.

use serde_json::{Value, json};

use super::clock::{self, SECOND};
use super::http::{Request, Response};
use super::people::Standing;
use super::roster::{Account, Kind};
use super::service::Service;
use super::sessions::Pass;
use super::world::{World, account_in, lock};

const KEY_HEADER: &str = "bud-api-subscription-key";
const DEFAULT_PAGE: usize = 100;
/// A larger page is cut to this many rows without a word.
const LARGEST_PAGE: usize = 1000;

pub(crate) fn token_account_of(request: &Request) -> Option<String> {
    account_in(request.form().get("client_id")?, "sandbox-bud-")
}

pub(crate) fn account_of(request: &Request) -> Option<String> {
    account_in(request.header(KEY_HEADER)?, "sandbox-budkey-")
}

/// Returns a GUID of the record's own.
pub(crate) fn id(account: &Account, kind: Kind, index: usize) -> String {
    let purpose = match kind {
        Kind::Learner => 81,
        Kind::Employer => 82,
        Kind::Contact => 83,
    };
    guid(account, purpose, index)
}

fn guid(account: &Account, purpose: u64, index: usize) -> String {
    let (a, b) = (account.stirred(purpose, index), account.stirred(purpose + 100, index));
    let (first, second) = (a >> 32, a >> 16 & 0xffff);
    format!("{first:08x}-{second:04x}-4{:03x}-a{:03x}-{:012x}", a & 0xfff, b >> 48 & 0xfff, b & 0xffff_ffff_ffff)
}

pub(crate) fn refused(status: u16, message: &str) -> Response {
    Response::json(status, &json!({"statusCode": status, "message": message}))
}

/// Answers at the token server: client credentials in a form, not in a Basic header.
pub(crate) fn answer_token(world: &World, request: &Request) -> Response {
    if request.path != "/connect/token" || request.method != "POST" {
        return Response::empty(404);
    }
    let form = request.form();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let error = |name: &str| Response::json(400, &json!({"error": name}));
    let account = account_in(field("client_id"), "sandbox-bud-");
    let Some(account) = account.filter(|account| field("client_secret") == format!("sandbox-budsecret-{account}"))
    else {
        return error("invalid_client");
    };
    if field("grant_type") != "client_credentials" {
        return error("unsupported_grant_type");
    }
    let seconds = world.config.bud_token_seconds;
    let token = lock(&world.sessions).open(Service::Bud, &account, seconds);
    let body = json!({
        "access_token": token, "expires_in": seconds, "token_type": "Bearer", "scope": "bud.customer.api",
    });
    Response::json(200, &body).with("Cache-Control", "no-store")
}

/// Answers at the gateway, which looks at the key first and at the token then.
pub(crate) fn answer(world: &World, request: &Request) -> Response {
    let Some(key) = request.header(KEY_HEADER) else {
        let message = "Access denied due to missing subscription key. Make sure to include subscription key when \
                       making requests to an API.";
        return refused(401, message);
    };
    let Some(subscriber) = account_in(key, "sandbox-budkey-") else {
        let message = "Access denied due to invalid subscription key. Make sure to provide a valid key for an active \
                       subscription.";
        return refused(401, message);
    };
    let pass = lock(&world.sessions).pass(Service::Bud, request.bearer().unwrap_or_default());
    if pass != Pass::Open(subscriber.clone()) {
        return refused(401, "Unauthorized. Access token is missing or invalid.");
    }
    if let Some(limit) = world.config.bud_per_second
        && let Err(wait) = lock(&world.meters).admit(format!("bud {subscriber}"), limit, SECOND)
    {
        let message = format!("Rate limit is exceeded. Try again in {wait} seconds.");
        return refused(429, &message).with("Retry-After", wait);
    }
    let account = world.account(Service::Bud, &subscriber);
    let account = lock(&account);
    let kind = match request.path.as_str() {
        "/learners" if request.reads() => Kind::Learner,
        "/employers" if request.reads() => Kind::Employer,
        _ => return refused(404, "Resource not found"),
    };
    if account.withheld.contains(request.path.trim_start_matches('/')) {
        return refused(403, "Forbidden. The client is not authorised for this endpoint.");
    }
    list(&account, kind, request)
}

fn list(account: &Account, kind: Kind, request: &Request) -> Response {
    let number = |name: &str, default: usize| request.param(name).map_or(Some(default), |text| text.parse().ok());
    let (Some(page @ 1..), Some(size @ 1..)) = (number("pageNumber", 1), number("pageSize", DEFAULT_PAGE)) else {
        return refused(400, "pageNumber and pageSize are numbers from 1");
    };
    let size = size.min(LARGEST_PAGE);
    let roster = if kind == Kind::Learner { &account.learners } else { &account.employers };
    let live: Vec<usize> = (0..roster.len()).filter(|&index| roster.live(index)).collect();
    let rows = live.iter().copied().skip((page - 1).saturating_mul(size)).take(size);
    let item = |index| if kind == Kind::Learner { learner(account, index) } else { employer(account, index) };
    let items: Vec<Value> = rows.map(item).collect();
    let ids = items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect();
    let body = json!({"items": items, "pageNumber": page, "pageSize": size, "totalCount": live.len()});
    Response::json(200, &body).serving(ids)
}

fn learner(account: &Account, index: usize) -> Value {
    let person = account.learner(index);
    let employer = account.employer_of(index).map(
        |employer| json!({"id": id(account, Kind::Employer, employer), "name": account.employer(employer).name()}),
    );
    json!({
        "id": id(account, Kind::Learner, index),
        "learner": {
            "id": guid(account, 84, index), "firstName": person.first_name(), "lastName": person.last_name(),
            "emailAddress": person.email(), "uln": person.uln(),
        },
        "programmeName": person.programme(),
        "status": match person.standing() {
            Standing::Onboarding => "NotStarted",
            Standing::Active => "InProgress",
            Standing::OnBreak => "OnABreak",
            Standing::Withdrawn => "Withdrawn",
            Standing::Completed => "Completed",
        },
        "startDate": clock::date(person.start(account.until)),
        "plannedEndDate": clock::date(person.planned_end(account.until)),
        "employer": employer,
        "lastModified": clock::seconds(account.learners.modified(index)),
    })
}

fn employer(account: &Account, index: usize) -> Value {
    let company = account.employer(index);
    let contact = (index < account.contacts.len()).then(|| account.contact(index));
    json!({
        "id": id(account, Kind::Employer, index),
        "name": company.name(),
        "locations": [{"address": company.street(), "town": company.city(), "postcode": company.postcode()}],
        "contacts": contact.iter().map(|contact| json!({
            "firstName": contact.first_name(), "lastName": contact.last_name(), "emailAddress": contact.email(),
            "phone": contact.mobile(),
        })).collect::<Vec<_>>(),
        "phone": company.phone(),
        "lastModified": clock::seconds(account.employers.modified(index)),
    })
}
