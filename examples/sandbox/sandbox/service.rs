//! The services by name, and what can be asked of each alike.

use serde_json::json;

use super::http::{Request, Response};
use super::roster::{Account, Kind};
use super::world::World;
use super::{aptem, bud, hubspot, onefile, salesforce};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Service {
    Aptem,
    Bud,
    /// Bud's token server, an origin of its own.
    BudAuth,
    OneFile,
    HubSpot,
    Salesforce,
}

impl Service {
    pub(crate) const ALL: [Service; 6] =
        [Service::Aptem, Service::Bud, Service::BudAuth, Service::OneFile, Service::HubSpot, Service::Salesforce];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Aptem => "aptem",
            Service::Bud => "bud",
            Service::BudAuth => "bud_auth",
            Service::OneFile => "onefile",
            Service::HubSpot => "hubspot",
            Service::Salesforce => "salesforce",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Service::Aptem => aptem::CONTENT_TYPE,
            _ => "application/json;charset=utf-8",
        }
    }

    /// Returns the kind of record that a change is about where none is named.
    pub(crate) fn main_kind(self) -> Kind {
        match self {
            Service::Aptem | Service::Bud | Service::BudAuth | Service::OneFile => Kind::Learner,
            Service::HubSpot => Kind::Contact,
            Service::Salesforce => Kind::Employer,
        }
    }

    pub(crate) fn answer(self, world: &World, request: &Request) -> Response {
        match self {
            Service::Aptem => aptem::answer(world, request),
            Service::Bud => bud::answer(world, request),
            Service::BudAuth => bud::answer_token(world, request),
            Service::OneFile => onefile::answer(world, request),
            Service::HubSpot => hubspot::answer(world, request),
            Service::Salesforce => salesforce::answer(world, request),
        }
    }

    /// Returns the account that a request's credentials name, let in or not.
    pub(crate) fn account_of(self, world: &World, request: &Request) -> Option<String> {
        match self {
            Service::Aptem => aptem::account_of(request),
            Service::Bud => bud::account_of(request),
            Service::BudAuth => bud::token_account_of(request),
            Service::OneFile => onefile::account_of(world, request),
            Service::HubSpot => hubspot::account_of(world, request),
            Service::Salesforce => salesforce::account_of(world, request),
        }
    }

    /// Returns how the service writes the id of one record.
    pub(crate) fn record_id(self, account: &Account, kind: Kind, index: usize) -> String {
        match self {
            Service::Aptem => aptem::id(account, kind, index).to_string(),
            Service::Bud | Service::BudAuth => bud::id(account, kind, index),
            Service::OneFile => onefile::id(account, kind, index).to_string(),
            Service::HubSpot => hubspot::id(account, kind, index).to_string(),
            Service::Salesforce => salesforce::id(account, kind, index),
        }
    }

    /// Returns an error with the body that the service gives it.
    pub(crate) fn refusal(self, status: u16) -> Response {
        let message = "The service could not answer the request";
        match self {
            Service::Aptem => aptem::refused(status, message),
            Service::Bud => bud::refused(status, message),
            Service::BudAuth => Response::json(status, &json!({"error": "invalid_client"})),
            Service::OneFile => onefile::refused(status, message),
            Service::HubSpot if status == 429 => hubspot::too_many("ten_secondly_rolling", "TEN_SECONDLY_ROLLING"),
            Service::HubSpot => hubspot::refused(status, hubspot::category(status), message),
            Service::Salesforce => salesforce::refused(status, salesforce::error_code(status), message),
        }
    }
}
