//! Finds addresses of hosts: remembered for a minute, and none that the settings do not allow. The addresses that were
//! looked at are those that are connected to: a name that leads elsewhere a moment later leads nobody there.
//!
//! ureq looks a name up for every request, also where the connection stands already, and starts a thread for it wherever
//! a time limit is set. A read of two thousand pages would start two thousand threads.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::domain::network::Network;

/// How long an address is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Why an address that was found is not called.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A resolver, the system's unless a test has another, with a memory and a filter.
#[derive(Debug)]
pub(super) struct Guarded<R = DefaultResolver> {
    network: Network,
    asked: R,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Guarded {
    pub(super) fn new(network: Network) -> Self {
        Guarded::asking(DefaultResolver::default(), network)
    }
}

impl<R: Resolver> Guarded<R> {
    pub(super) fn asking(asked: R, network: Network) -> Self {
        Guarded { network, asked, known: Mutex::default() }
    }
}

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, addresses)) = known().get(&host)
            && at.elapsed() < REMEMBERED
        {
            let mut resolved = self.empty();
            addresses.iter().for_each(|address| resolved.push(*address));
            return Ok(resolved);
        }
        let resolved = self.asked.resolve(uri, config, timeout)?;
        // A name may lead to where its letters do not show it.
        for address in resolved.iter() {
            let admitted = self.network.admit(uri.scheme_str().unwrap_or_default(), address.ip());
            admitted.map_err(|why| ureq::Error::Io(io::Error::other(Refused(format!("the name leads to {why}")))))?;
        }
        known().insert(host, (Instant::now(), resolved.to_vec()));
        Ok(resolved)
    }
}
