//! Agents, one for each way in which settings limit whom it calls and trusts: a connection is only ever used again under
//! the settings it was made under.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

use super::CONNECT;
use super::resolver::Guarded;
use crate::domain::network::Network;

/// The most bytes of a file of authorities; all public ones together take a quarter of it.
const MOST: u64 = 1 << 20;

/// What an agent was made for: the settings, and the authorities that the file they name held then.
type Made = (Network, Vec<u8>);

/// All agents of one client and those made from it.
#[derive(Clone)]
pub(super) struct Agents(Arc<Mutex<HashMap<Made, Agent>>>);

impl Agents {
    /// Returns them with the first, which calls what needs no setting to allow it.
    pub(super) fn new() -> (Self, Agent) {
        let network = Network::default();
        let agent = agent(RootCerts::WebPki, DefaultConnector::default(), Guarded::new(network.clone()));
        (Agents(Arc::new(Mutex::new(HashMap::from([((network, Vec::new()), agent.clone())])))), agent)
    }

    /// Returns the agent for these settings; or why the file of authorities is of no use. It is read anew each time.
    pub(super) fn within(&self, network: &Network) -> Result<Agent, String> {
        let (pem, roots) = match &network.ca_file {
            None => (Vec::new(), RootCerts::WebPki),
            Some(file) => {
                let pem = authorities(file)?;
                let certificates = certificates(&pem);
                (pem, RootCerts::new_with_certs(&certificates))
            }
        };
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = agents.entry((network.clone(), pem));
        Ok(made.or_insert_with(|| agent(roots, DefaultConnector::default(), Guarded::new(network.clone()))).clone())
    }
}

/// Returns a file of authorities, if there is a certificate in it; else what is wrong with it.
pub(crate) fn authorities(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let mut pem = Vec::new();
    let opened = std::fs::File::open(file);
    opened
        .and_then(|opened| opened.take(MOST + 1).read_to_end(&mut pem))
        .map_err(|error| format!("`ca_file`: `{shown}` cannot be read: {}", error.kind()))?;
    if pem.len() as u64 > MOST {
        return Err(format!("`ca_file`: `{shown}` is larger than {MOST} bytes"));
    }
    if certificates(&pem).is_empty() {
        return Err(format!("`ca_file`: `{shown}` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"));
    }
    Ok(pem)
}

/// Returns the certificates of a file that can be authorities.
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificates = items.filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    // What rustls cannot read it would leave out without a word.
    certificates
        .filter(|certificate| rustls::RootCertStore::empty().add(certificate.der().to_vec().into()).is_ok())
        .collect()
}

/// Returns an agent that connects by `connector` to what `resolver` finds.
pub(super) fn agent(roots: RootCerts, connector: impl Connector, resolver: impl Resolver) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        // A header of the manifest's own would be sent on to another host.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // A variable of the environment would have credentials go where no setting says, and addresses be found there.
        .proxy(None)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .user_agent(concat!("skillsctl/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections_per_host(16)
        .max_idle_connections(64)
        .build();
    Agent::with_parts(config, connector, resolver)
}
