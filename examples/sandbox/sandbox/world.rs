//! The state behind the services: accounts, sessions, faults, the ledger.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Config;
use super::clock::{self, Ticks};
use super::faults::{Fault, Faults};
use super::http::{Request, Response};
use super::ledger::Entry;
use super::people::{name_hash, stir};
use super::roster::Account;
use super::service::Service;
use super::sessions::{Meters, Sessions};

/// Locks a mutex; a thread that panicked while it held the lock does not stop the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type SharedAccount = Arc<Mutex<Account>>;

pub(crate) struct World {
    pub(crate) config: Config,
    until: Ticks,
    urls: HashMap<&'static str, String>,
    accounts: Mutex<HashMap<(Service, String), SharedAccount>>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) meters: Mutex<Meters>,
    pub(crate) cursors: Mutex<super::salesforce::Cursors>,
    faults: Mutex<HashMap<Service, Faults>>,
    pub(crate) ledger: Mutex<Vec<Entry>>,
}

impl World {
    pub(crate) fn new(config: Config, urls: HashMap<&'static str, String>) -> World {
        let until = config.until.unwrap_or_else(|| clock::midnight(clock::now()));
        World {
            config,
            until,
            urls,
            accounts: Mutex::default(),
            sessions: Mutex::default(),
            meters: Mutex::default(),
            cursors: Mutex::default(),
            faults: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    pub(crate) fn url(&self, name: &str) -> Option<&str> {
        self.urls.get(name).map(String::as_str)
    }

    /// Returns an account, made on its first use; the two hosts of Bud share theirs.
    pub(crate) fn account(&self, service: Service, name: &str) -> SharedAccount {
        let service = if service == Service::BudAuth { Service::Bud } else { service };
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry((service, name.to_owned())).or_insert_with(|| {
            // The seed knows nothing of the service: one person is the same in all of them.
            let seed = stir(self.config.seed, name_hash(name), 0);
            let account = Account::new(name, seed, self.config.learners, self.config.employers, self.until);
            Arc::new(Mutex::new(account))
        });
        Arc::clone(account)
    }

    /// Answers a request as the service would, or as a waiting fault says, and writes it down.
    pub(crate) fn answer(&self, service: Service, request: &Request) -> Response {
        let account = service.account_of(self, request);
        let fault = lock(&self.faults).entry(service).or_default().take(request, account.as_deref());
        let response = match fault {
            Some(fault) => fault.answer(service, || service.answer(self, request)),
            None => service.answer(self, request),
        };
        lock(&self.ledger).push(Entry::new(service, account, request, &response));
        response
    }

    pub(crate) fn fail(&self, service: Service, fault: Fault) {
        lock(&self.faults).entry(service).or_default().push(fault);
    }

    /// Forgets all that has happened since the start.
    pub(crate) fn reset(&self) {
        lock(&self.accounts).clear();
        lock(&self.faults).clear();
        lock(&self.ledger).clear();
        *lock(&self.sessions) = Sessions::default();
        *lock(&self.meters) = Meters::default();
        *lock(&self.cursors) = super::salesforce::Cursors::default();
    }
}

/// Returns the account in a credential such as `sandbox-aptem-acme`, given its prefix.
pub(crate) fn account_in(credential: &str, prefix: &str) -> Option<String> {
    let account = credential.strip_prefix(prefix)?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!account.is_empty() && account.bytes().all(allowed)).then(|| account.to_owned())
}
