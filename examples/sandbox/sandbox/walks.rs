//! Tests that walk the services over HTTP as a client would: nothing is lost, nothing comes twice.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::encoding::percent_encoded;
use super::{Config, Failure, Fault, Kind, Sandbox};

struct Answer {
    status: u16,
    head: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut stream = TcpStream::connect(host).unwrap();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}

fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    send("GET", url, headers, "")
}

fn post(url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    send("POST", url, &headers, &body.to_string())
}

fn form(url: &str, fields: &[(&str, &str)]) -> Answer {
    let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    send("POST", url, &[("Content-Type", "application/x-www-form-urlencoded")], &body.join("&"))
}

fn small() -> Sandbox {
    Sandbox::start(Config { learners: 260, employers: 130, ..Config::default() }).unwrap()
}

fn ids(rows: &Value, key: &str) -> Vec<String> {
    let text = |row: &Value| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
    rows.as_array().unwrap().iter().map(text).collect()
}

fn all_different(ids: &[String], count: usize) {
    assert_eq!(ids.len(), count);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), count);
}

const APTEM: [(&str, &str); 1] = [("X-API-Token", "sandbox-aptem-acme")];
const HUBSPOT: [(&str, &str); 1] = [("Authorization", "Bearer sandbox-hubspot-acme")];

#[test]
fn aptem_next_links_give_every_user() {
    let sandbox = Sandbox::start(Config { learners: 2300, employers: 10, ..Config::default() }).unwrap();
    let mut url = format!("{}/odata/1.0/users?$select=Id,FullName&$orderby=UpdatedDate", sandbox.url("aptem"));
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = get(&url, &APTEM).json();
        seen.extend(ids(&page["value"], "Id"));
        pages += 1;
        match page["@odata.nextLink"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    all_different(&seen, 2308);
}

#[test]
fn aptem_key_sets_give_every_user() {
    let sandbox = small();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let last = seen.last().map_or("0", String::as_str);
        let filter = percent_encoded(&format!("UpdatedDate ge 2015-01-01T00:00:00Z and Id gt {last}"));
        let url = format!("{}/odata/1.0/Users?$orderby=Id&$top=50&$filter={filter}", sandbox.url("aptem"));
        let page = get(&url, &APTEM).json();
        assert_eq!(page["@odata.nextLink"], Value::Null);
        let found = ids(&page["value"], "Id");
        if found.is_empty() {
            break;
        }
        seen.extend(found);
    }
    // Two of the first 260 learners have no date.
    all_different(&seen, 260 + 8 - 2);
    let entry = &sandbox.ledger("aptem")[0];
    assert_eq!((entry.status, entry.ids.len(), entry.account.as_deref()), (200, 50, Some("acme")));
    assert_eq!(entry.auth, ["x-api-token"]);
}

#[test]
fn aptem_refuses_as_the_service_does() {
    let sandbox = small();
    let at = |path: &str| get(&format!("{}/odata/1.0/{path}", sandbox.url("aptem")), &APTEM);
    let over = at("LearningPlanEvidences?$top=5001");
    assert_eq!(over.status, 400);
    assert!(over.json()["error"]["message"].as_str().unwrap().contains("exceeds the 5000 record limit"));
    assert_eq!(at("Users?$select=Id,Nonsense").status, 400);
    assert_eq!(at("Users?$skip=50001").status, 400);
    assert_eq!(at("Users?$expand=Markers_Markers").status, 400);
    assert_eq!(at("Users?$select=Id&$expand=Markers_Markers&$top=1").status, 200);
    assert_eq!(at("Trackers").status, 403);
    assert_eq!(at("Actions").status, 404);
    assert_eq!(at(&format!("Users?$select={}", "Id,".repeat(3000))).status, 414);
    let url = format!("{}/odata/1.0/", sandbox.url("aptem"));
    assert_eq!(get(&format!("{url}Users"), &[("X-API-Token", "wrong")]).status, 401);
    assert!(get(&format!("{url}$metadata"), &[]).text.contains("Name=\"UserPersonalDetails_ULN\""));
}

#[test]
fn hubspot_lists_and_searches_give_every_contact() {
    let sandbox = small();
    let base = format!("{}/crm/v3/objects/contacts", sandbox.url("hubspot"));
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&format!("{base}?limit=50&properties=company,nonsense{after}"), &HUBSPOT).json();
        listed.extend(ids(&page["results"], "id"));
        assert!(page["results"][0]["properties"].get("nonsense").is_none());
        match page["paging"]["next"]["after"].as_str() {
            Some(next) => after = format!("&after={}", percent_encoded(next)),
            None => break,
        }
    }
    all_different(&listed, 130);
    // Ids of three and four digits sort as numbers.
    assert!(listed[0].len() < listed[129].len());

    let mut searched: Vec<String> = Vec::new();
    loop {
        let last = searched.last().map_or("0", String::as_str);
        let filters = json!([
            {"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1100000000000"},
            {"propertyName": "hs_object_id", "operator": "GT", "value": last},
        ]);
        let sorts = json!([{"propertyName": "hs_object_id", "direction": "ASCENDING"}]);
        let body =
            json!({"filterGroups": [{"filters": filters}], "sorts": sorts, "limit": 60, "properties": ["email"]});
        let page = post(&format!("{base}/search"), &HUBSPOT, &body).json();
        assert_eq!(page["total"].as_u64().unwrap() as usize, 130 - searched.len());
        let found = ids(&page["results"], "id");
        if found.is_empty() {
            break;
        }
        searched.extend(found);
    }
    assert_eq!(searched, listed);
}

#[test]
fn hubspot_archives_and_refuses_as_the_service_does() {
    let sandbox = small();
    let base = format!("{}/crm/v3/objects", sandbox.url("hubspot"));
    let gone = sandbox.remove("hubspot", "acme", 3);
    let archived = get(&format!("{base}/contacts?limit=100&archived=true"), &HUBSPOT).json();
    let mut listed = ids(&archived["results"], "id");
    listed.sort();
    let mut expected = gone.clone();
    expected.sort();
    assert_eq!(listed, expected);
    let inputs = json!({"inputs": [{"id": gone[0]}, {"id": sandbox.ids("hubspot", "acme", Kind::Contact)[0]}]});
    assert_eq!(post(&format!("{base}/contacts/batch/read"), &HUBSPOT, &inputs).status, 207);
    assert_eq!(get(&format!("{base}/contacts?limit=101"), &HUBSPOT).json()["category"], "VALIDATION_ERROR");
    assert_eq!(get(&format!("{base}/deals"), &HUBSPOT).json()["category"], "MISSING_SCOPES");
    let deep = json!({"filterGroups": [], "limit": 200, "after": "9900"});
    assert_eq!(post(&format!("{base}/contacts/search"), &HUBSPOT, &deep).status, 400);
    let headers = [("Authorization", "Bearer sandbox-hubspot-ACME")];
    assert_eq!(get(&format!("{base}/contacts"), &headers).json()["category"], "INVALID_AUTHENTICATION");
}

#[test]
fn hubspot_refresh_tokens_give_access_that_expires() {
    let sandbox = small();
    let url = format!("{}/oauth/v1/token", sandbox.url("hubspot"));
    let mut fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "sandbox-client-acme"),
        ("client_secret", "sandbox-secret-acme"),
        ("refresh_token", "sandbox-refresh-acme"),
    ];
    let token = form(&url, &fields).json()["access_token"].as_str().unwrap().to_owned();
    let header = format!("Bearer {token}");
    let details = format!("{}/account-info/v3/details", sandbox.url("hubspot"));
    let answer = get(&details, &[("Authorization", &header)]);
    assert_eq!(answer.json()["portalId"], super::portal_id("acme"));
    assert!(answer.head.contains("X-HubSpot-RateLimit-Remaining") && !answer.head.contains("RateLimit-Daily"));
    sandbox.expire_sessions("hubspot", "acme");
    assert_eq!(get(&details, &[("Authorization", &header)]).json()["category"], "EXPIRED_AUTHENTICATION");
    fields[3].1 = "sandbox-refresh-other";
    assert_eq!(form(&url, &fields).json()["status"], "BAD_REFRESH_TOKEN");
}

#[test]
fn changes_show_in_the_next_incremental_read_and_nowhere_else() {
    let sandbox = small();
    let since = super::clock::aptem(super::clock::now());
    let mut changed = sandbox.change("aptem", "acme", 10);
    changed.extend(sandbox.add("aptem", "acme", 2));
    let filter = percent_encoded(&format!("UpdatedDate ge {since}"));
    let page = get(&format!("{}/odata/1.0/Users?$filter={filter}", sandbox.url("aptem")), &APTEM).json();
    let mut found = ids(&page["value"], "Id");
    found.sort();
    changed.sort();
    assert_eq!(found, changed);
}

#[test]
fn one_person_is_the_same_at_every_service() {
    let sandbox = small();
    let users = get(&format!("{}/odata/1.0/Users?$filter=Id%20gt%2020000", sandbox.url("aptem")), &APTEM).json();
    let token = bud_token(&sandbox);
    let key = [("Authorization", token.as_str()), ("Bud-Api-Subscription-Key", "sandbox-budkey-acme")];
    let learners = get(&format!("{}/learners?pageSize=1000", sandbox.url("bud")), &key).json();
    let pairs = users["value"].as_array().unwrap().iter().zip(learners["items"].as_array().unwrap());
    let mut count = 0;
    for (user, learner) in pairs {
        assert_eq!(user["UserPersonalDetails_ULN"], learner["learner"]["uln"]);
        assert_eq!(user["Email"], learner["learner"]["emailAddress"]);
        count += 1;
    }
    assert_eq!(count, 260);
}

fn bud_token(sandbox: &Sandbox) -> String {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "sandbox-bud-acme"),
        ("client_secret", "sandbox-budsecret-acme"),
    ];
    let answer = form(&format!("{}/connect/token", sandbox.url("bud_auth")), &fields).json();
    format!("Bearer {}", answer["access_token"].as_str().unwrap())
}

#[test]
fn bud_pages_give_every_learner_and_its_two_refusals_differ() {
    let sandbox = small();
    let token = bud_token(&sandbox);
    let key = [("Authorization", token.as_str()), ("Bud-Api-Subscription-Key", "sandbox-budkey-acme")];
    sandbox.remove("bud", "acme", 5);
    let page = |number| {
        let url = format!("{}/learners?pageNumber={number}&pageSize=100", sandbox.url("bud"));
        ids(&get(&url, &key).json()["items"], "id")
    };
    let seen: Vec<_> = (1..=4).flat_map(page).collect();
    all_different(&seen, 255);
    let url = format!("{}/employers", sandbox.url("bud"));
    assert!(get(&url, &key[..1]).json()["message"].as_str().unwrap().contains("subscription key"));
    assert!(get(&url, &key[1..]).json()["message"].as_str().unwrap().contains("Access token"));
}

#[test]
fn onefile_pages_give_every_learner_of_both_organisations() {
    let sandbox = small();
    let base = format!("{}/api/v2.1", sandbox.url("onefile"));
    let login = send("POST", &format!("{base}/authentication"), &[("X-CustomerToken", "sandbox-onefile-acme")], "");
    let headers = [("X-TokenID", login.text.as_str())];
    let customer = get(&format!("{base}/Customer"), &headers).json()["ID"].clone();
    assert_eq!(customer, super::onefile_customer("acme"));
    let centres = post(&format!("{base}/Organisation/Search"), &headers, &json!({"CustomerID": customer})).json();
    let mut seen = Vec::new();
    for centre in ids(&centres, "ID") {
        let centre: u64 = centre.parse().unwrap();
        assert!(super::onefile_organisations("acme").contains(&centre));
        let body = json!({"OrganisationID": centre, "Role": 1});
        let page = |number: usize| post(&format!("{base}/User/Search/{number}/50"), &headers, &body);
        let mut number = 1;
        while page(number).status == 200 {
            seen.extend(ids(&page(number).json(), "ID"));
            number += 1;
        }
        assert_eq!((page(number).status, page(number).text.as_str()), (204, ""));
    }
    all_different(&seen, 260);
    let user = get(&format!("{base}/user/{}", seen[0]), &headers).json();
    assert_eq!((user["ID"].to_string(), user["Role"].clone()), (seen[0].clone(), json!(1)));
    assert_eq!(get(&format!("{base}/User/1"), &headers).status, 404);
    assert_eq!(get(&format!("{base}/Customer"), &[("X-TokenID", "x")]).status, 401);
}

#[test]
fn onefile_counts_three_hundred_calls_a_minute() {
    let sandbox = small();
    let login = format!("{}/api/v2.1/Authentication", sandbox.url("onefile"));
    let token = [("X-CustomerToken", "sandbox-onefile-acme")];
    let statuses: Vec<_> = (0..301).map(|_| send("POST", &login, &token, "").status).collect();
    assert!(statuses[..300].iter().all(|&status| status == 200));
    assert_eq!(statuses[300], 429);
}

#[test]
fn faults_come_in_turn_and_only_where_they_are_meant() {
    let sandbox = small();
    let url = format!("{}/odata/1.0/Groups", sandbox.url("aptem"));
    sandbox.fail("aptem", Fault::status(503).header("Retry-After", "1").times(2).after(1));
    let statuses: Vec<_> = (0..4).map(|_| get(&url, &APTEM).status).collect();
    assert_eq!(statuses, [200, 503, 503, 200]);
    sandbox.fail("aptem", Fault::new(Failure::LoginPage).for_account("other"));
    sandbox.fail("aptem", Fault::new(Failure::Reset).on_path("/odata/1.0/Groups"));
    let users = format!("{}/odata/1.0/Users?$top=1", sandbox.url("aptem"));
    assert_eq!(get(&users, &APTEM).status, 200);
    assert_eq!(get(&url, &APTEM).status, 0);
    assert!(get(&users, &[("X-API-Token", "sandbox-aptem-other")]).text.starts_with("<!DOCTYPE html>"));
    sandbox.fail("aptem", Fault::new(Failure::Truncated));
    let cut = get(&users, &APTEM);
    assert!(cut.status == 200 && serde_json::from_str::<Value>(&cut.text).is_err());
}

#[test]
fn the_control_port_does_the_same() {
    let sandbox = small();
    let at = |path: &str| format!("{}{path}", sandbox.url("control"));
    let changed = post(&at("/change?service=hubspot&account=acme&count=3"), &[], &json!({})).json();
    assert_eq!(changed["count"], 3);
    let fault = json!({"status": 429, "headers": {"Retry-After": "7"}});
    assert_eq!(post(&at("/fail?service=hubspot"), &[], &fault).status, 200);
    let refused = get(&format!("{}/crm/v3/objects/contacts", sandbox.url("hubspot")), &HUBSPOT);
    assert!(refused.head.contains("Retry-After: 7"));
    assert_eq!(refused.json()["policyName"], "TEN_SECONDLY_ROLLING");
    assert_eq!(get(&at("/ledger?service=hubspot"), &[]).json()[0]["status"], 429);
    assert_eq!(get(&at("/account?service=hubspot&account=acme"), &[]).json()["portal_id"], super::portal_id("acme"));
    assert_eq!(post(&at("/change?service=nobody"), &[], &json!({})).status, 400);
    assert_eq!(post(&at("/reset"), &[], &json!({})).status, 200);
    assert_eq!(get(&at("/ledger"), &[]).json(), json!([]));
}

#[test]
fn two_sandboxes_of_one_seed_hold_the_same() {
    let first = |seed| {
        let sandbox = Sandbox::start(Config { seed, learners: 50, employers: 20, ..Config::default() }).unwrap();
        get(&format!("{}/odata/1.0/Users", sandbox.url("aptem")), &APTEM).json()["value"].clone()
    };
    assert_eq!(first(4), first(4));
    assert_ne!(first(4), first(5));
}

fn salesforce_token(sandbox: &Sandbox, fields: &[(&str, &str)]) -> Answer {
    form(&format!("{}/services/oauth2/token", sandbox.url("salesforce")), fields)
}

const CLIENT: [(&str, &str); 3] = [
    ("grant_type", "client_credentials"),
    ("client_id", "sandbox-salesforce-acme"),
    ("client_secret", "sandbox-sfsecret-acme"),
];

/// Returns the address of an account's data and its header.
fn salesforce_session(sandbox: &Sandbox) -> (String, String) {
    let token = salesforce_token(sandbox, &CLIENT).json();
    assert_eq!(token.get("expires_in"), None);
    let base = format!("{}/services/data/v61.0", token["instance_url"].as_str().unwrap());
    (base, format!("Bearer {}", token["access_token"].as_str().unwrap()))
}

fn soql(base: &str, operation: &str, query: &str) -> String {
    format!("{base}/{operation}?q={}", percent_encoded(query))
}

#[test]
fn salesforce_cursors_give_every_record() {
    let sandbox = Sandbox::start(Config { learners: 10, employers: 450, ..Config::default() }).unwrap();
    let (base, token) = salesforce_session(&sandbox);
    let headers = [("Authorization", token.as_str()), ("Sforce-Query-Options", "batchSize=200")];
    let mut url = soql(&base, "query", "SELECT Id, Account.Name, ULN__c, SystemModstamp FROM Contact");
    let mut seen = Vec::new();
    loop {
        let answer = get(&url, &headers);
        assert!(answer.head.contains("Sforce-Limit-Info: api-usage="));
        let page = answer.json();
        assert!(page["records"][0]["SystemModstamp"].as_str().unwrap().ends_with(".000+0000"));
        assert_eq!(page["records"][0]["Account"]["attributes"]["type"], "Account");
        seen.extend(ids(&page["records"], "Id"));
        match page["nextRecordsUrl"].as_str() {
            Some(next) => url = format!("{}{next}", sandbox.url("salesforce")),
            None => break,
        }
    }
    all_different(&seen, 450);
}

#[test]
fn salesforce_shows_deletes_to_those_who_ask_for_them() {
    let sandbox = small();
    let (base, token) = salesforce_session(&sandbox);
    let headers = [("Authorization", token.as_str())];
    let since = super::clock::seconds(super::clock::now());
    let gone = sandbox.remove("salesforce", "acme", 2);
    let query = format!("SELECT Id, IsDeleted FROM Account WHERE SystemModstamp >= {since} AND IsDeleted = true");
    let mut found = ids(&get(&soql(&base, "queryAll", &query), &headers).json()["records"], "Id");
    found.sort();
    let mut expected = gone.clone();
    expected.sort();
    assert_eq!(found, expected);
    let live = get(&soql(&base, "query", "SELECT COUNT() FROM Account"), &headers).json();
    assert_eq!(live["totalSize"], 128);
    let url = format!("{base}/sobjects/Account/deleted/?start={since}&end=2999-01-01T00:00:00Z");
    assert_eq!(get(&url, &headers).json()["deletedRecords"].as_array().unwrap().len(), 2);
}

#[test]
fn salesforce_refuses_as_the_service_does() {
    let sandbox = small();
    let (base, token) = salesforce_session(&sandbox);
    let headers = [("Authorization", token.as_str())];
    let code = |url: &str| get(url, &headers).json()[0]["errorCode"].as_str().unwrap().to_owned();
    assert_eq!(code(&soql(&base, "query", "SELECT Id FROM Lead")), "INVALID_TYPE");
    assert_eq!(code(&soql(&base, "query", "SELECT Nope FROM Account")), "INVALID_FIELD");
    assert_eq!(code(&soql(&base, "query", "SELECT Id FROM")), "MALFORMED_QUERY");
    assert_eq!(code(&format!("{base}/query/01gNothing-2000")), "INVALID_QUERY_LOCATOR");
    assert_eq!(code(&format!("{base}/nothing")), "NOT_FOUND");
    assert_eq!(get(&format!("{}/services/data/", sandbox.url("salesforce")), &[]).status, 200);
    sandbox.expire_sessions("salesforce", "acme");
    assert_eq!(code(&format!("{base}/limits")), "INVALID_SESSION_ID");
    let wrong = [CLIENT[0], CLIENT[1], ("client_secret", "no")];
    assert_eq!(salesforce_token(&sandbox, &wrong).json()["error"], "invalid_client");
}

#[test]
fn salesforce_refresh_tokens_work_once() {
    let sandbox = small();
    let refresh = |token: &str| {
        let fields = [("grant_type", "refresh_token"), CLIENT[1], CLIENT[2], ("refresh_token", token)];
        salesforce_token(&sandbox, &fields)
    };
    let first = "sandbox-sfrefresh-acme";
    let second = refresh(first).json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!((refresh(first).status, refresh(first).json()["error"].clone()), (400, json!("invalid_grant")));
    assert_eq!(refresh(&second).status, 200);
    assert_eq!(refresh(&second).status, 400);
}

#[test]
fn salesforce_takes_a_signed_assertion() {
    let sandbox = small();
    let expires = super::clock::now() / super::clock::SECOND + 100;
    let claims = json!({
        "iss": "sandbox-salesforce-acme", "sub": "sync@acme.example.com", "aud": sandbox.url("salesforce"),
        "exp": expires,
    });
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let answer = salesforce_token(&sandbox, &[grant, ("assertion", &super::jwt::assertion(&claims))]);
    assert_eq!(answer.status, 200);
    assert_eq!(sandbox.ledger("salesforce")[0].account.as_deref(), Some("acme"));
    assert_eq!(salesforce_token(&sandbox, &[grant, ("assertion", "a.b.c")]).status, 400);
}

#[test]
fn salesforce_bulk_pages_give_every_record() {
    let sandbox = small();
    let (base, token) = salesforce_session(&sandbox);
    let headers = [("Authorization", token.as_str())];
    let body = json!({"operation": "query", "query": "SELECT Id, Name, Phone FROM Account", "contentType": "CSV"});
    let job = post(&format!("{base}/jobs/query"), &headers, &body).json();
    assert_eq!(job["state"], "UploadComplete");
    let url = format!("{base}/jobs/query/{}", job["id"].as_str().unwrap());
    assert_eq!(get(&format!("{url}/results"), &headers).status, 400);
    assert_eq!(get(&url, &headers).json()["state"], "InProgress");
    assert_eq!(get(&url, &headers).json()["state"], "JobComplete");
    let mut seen = Vec::new();
    let mut locator = String::new();
    while locator != "&locator=null" {
        let page = get(&format!("{url}/results?maxRecords=50{locator}"), &headers);
        let mut lines = page.text.lines();
        assert_eq!(lines.next(), Some("\"Id\",\"Name\",\"Phone\""));
        seen.extend(lines.map(|line| line.split(',').next().unwrap().to_owned()));
        let next = page.head.lines().find_map(|line| line.strip_prefix("Sforce-Locator: ")).unwrap();
        locator = format!("&locator={next}");
    }
    all_different(&seen, 130);
    assert_eq!(send("DELETE", &url, &headers, "").status, 204);
    assert_eq!(get(&url, &headers).status, 404);
}
