//! Finds addresses of hosts: remembered for a minute, and never one that only machines of a cloud answer.
//!
//! ureq looks a name up for every request, also where the connection stands already, and starts a thread for it wherever
//! a time limit is set. A read of two thousand pages would start two thousand threads.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an address is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The system's resolver with a memory and a filter.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    system: DefaultResolver,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for Guarded {
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
        let resolved = self.system.resolve(uri, config, timeout)?;
        // A name may lead to where its letters do not show it.
        if resolved.iter().any(|address| forbidden(address.ip())) {
            return Err(ureq::Error::Io(io::Error::from(io::ErrorKind::PermissionDenied)));
        }
        known().insert(host, (Instant::now(), resolved.to_vec()));
        Ok(resolved)
    }
}

/// Returns whether an address is one that is never called: link-local, where clouds answer with the machine's own
/// credentials, and the like.
pub(super) fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local() || address.is_unspecified() || address.octets() == [100, 100, 100, 200]
        }
        IpAddr::V6(address) => {
            let metadata = address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            let mapped = address.to_ipv4_mapped().is_some_and(|inner| forbidden(IpAddr::V4(inner)));
            address.is_unicast_link_local() || address.is_unspecified() || metadata || mapped
        }
    }
}
