//! A provider of a test's own: a manifest put in the place of a built-in one, and a server that plays it.

use serde_json::json;

use super::lab::{Answer, Asked, Lab, Server, unhurried};
use crate::sandbox::Config;

/// A manifest with `AUTH`, `BASE` and `LIMITS` to be filled in. It stands in for an LMS of a preset.
const MANIFEST: &str = r#"
provider: aptem
revision: 99
kind: lms
title: Aptem
settings:
  api_url: {type: url, required: true}
secrets:
  api_key: {title: Key, optional: true, max_age: 30d, rotate: {post: /rotate, json: {old: "{secret.api_key}"}, value: key.secret}}
  client_secret: {title: Client secret, optional: true}
  refresh_token: {title: Refresh token, optional: true}
http:
  base: "BASE"
  auth: AUTH
  limits: LIMITS
check: {get: /check}
defaults: {key: learner_id, records: "items[]"}
streams:
  learners:
    entity: learner
    full: {get: /learners, query: {after: "{page?}"}, page: {token: next}}
  organizations: {entity: employer, full: {get: /organizations}}
"#;

/// What gets a token from `/token`: with credentials that stay, or with a refresh token that is good once.
pub(super) const CLIENT: &str = r#"{oauth: {grant: client_credentials, token_url: "{settings.api_url}/token", client_id: demo, client_secret: "{secret.client_secret}"}}"#;
pub(super) const REFRESH: &str =
    r#"{oauth: {grant: refresh_token, token_url: "{settings.api_url}/token", refresh_token: refresh_token}}"#;
pub(super) const KEY: &str = r#"{bearer: "{secret.api_key}"}"#;

/// Returns a machine whose provider authenticates and is limited like this, with one organization that has it.
pub(super) fn demo(server: &Server, auth: &str, limits: &str, base: &str) -> Lab {
    let lab = unhurried(Config { learners: 1, employers: 1, ..Config::default() });
    let manifest = MANIFEST.replace("AUTH", auth).replace("LIMITS", limits).replace("BASE", base);
    lab.world.file("provider.yaml", &manifest);
    lab.run("provider add -f provider.yaml --yes").succeeds();
    organization(&lab, "acme", server);
    lab
}

pub(super) fn organization(lab: &Lab, slug: &str, server: &Server) {
    lab.run(&format!("org create --name '{slug} Ltd' --subdomain {slug} --preset aptem")).succeeds();
    lab.run(&format!("override set {slug} aptem allow_insecure_http=true api_url={}", server.url)).succeeds();
}

/// Returns the number of the page that is asked for, from 1 on; `None` for anything else.
pub(super) fn page_of(asked: &Asked) -> Option<usize> {
    let rest = asked.target.strip_prefix("/learners")?;
    Some(rest.strip_prefix("?after=").map_or(1, |after| after.parse().unwrap()))
}

/// Returns a page of one learner; `last` is the number of the last one.
pub(super) fn page(number: usize, last: usize) -> Answer {
    let mut page = json!({"items": [{"learner_id": format!("L{number}")}]});
    if number < last {
        page["next"] = json!((number + 1).to_string());
    }
    (200, Vec::new(), page.to_string())
}

pub(super) fn status(status: u16) -> Answer {
    (status, Vec::new(), "{}".into())
}

/// Returns the answer to a token request.
pub(super) fn token(token: &str, more: &serde_json::Value) -> Answer {
    let mut answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    answer.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    (200, Vec::new(), answer.to_string())
}
