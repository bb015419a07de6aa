//! What was asked of each service, so that a test can say which calls were made and which were not.

use serde_json::{Value, json};

use super::clock::{self, Ticks};
use super::http::{Request, Response};
use super::service::Service;

/// Headers that carry credentials; only their names are kept.
const AUTH_HEADERS: [&str; 5] =
    ["authorization", "bud-api-subscription-key", "x-api-token", "x-customertoken", "x-tokenid"];

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) service: Service,
    pub(crate) at: Ticks,
    pub(crate) method: String,
    /// The path with its query, as sent.
    pub(crate) path: String,
    /// The account that the credentials name, whether or not they were let in.
    pub(crate) account: Option<String>,
    pub(crate) status: u16,
    /// The ids of the records served, in their order.
    pub(crate) ids: Vec<String>,
    /// The names, in lower case, of the headers with credentials.
    pub(crate) auth: Vec<String>,
    /// The JSON that was posted; forms are left out, since they carry secrets.
    pub(crate) body: Option<Value>,
}

impl Entry {
    pub(crate) fn new(service: Service, account: Option<String>, request: &Request, response: &Response) -> Entry {
        let auth = AUTH_HEADERS.iter().filter(|name| request.header(name).is_some()).map(|name| name.to_string());
        Entry {
            service,
            at: clock::now(),
            method: request.method.clone(),
            path: request.target.clone(),
            account,
            status: response.status,
            ids: response.ids.clone(),
            auth: auth.collect(),
            body: if request.is_json() { request.json() } else { None },
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "service": self.service.name(), "at": clock::millis(self.at), "method": self.method, "path": self.path,
            "account": self.account, "status": self.status, "ids": self.ids, "auth": self.auth, "body": self.body,
        })
    }
}
