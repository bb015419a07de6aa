//! The only user of ureq: limits on time and size, no redirects, no proxies, and no credential sent in the clear.
//!
//! `agents` keeps an agent for each way in which settings may limit whom it calls and trusts, `resolver` sees that a name
//! leads nowhere else, `body` reads answers within their limits.

mod agents;
mod body;
mod resolver;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ureq::http;

pub(crate) use agents::authorities;

use crate::domain::manifest::Method;
use crate::domain::network::Network;
use agents::Agents;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_millis(if cfg!(test) { 400 } else { 10_000 });

/// No request is given less time than this.
const SHORTEST: Duration = Duration::from_millis(100);

/// What sends requests to one provider, or to any.
#[derive(Clone)]
pub(crate) struct Client {
    /// Shared by all clients that were made from one.
    agents: Agents,
    agent: ureq::Agent,
    /// What the settings of the provider allow.
    network: Network,
    /// When every request is given up, whatever time it is given itself.
    until: Option<Instant>,
    /// Where large answers go; the system's folder for temporary files if none is given.
    folder: Option<PathBuf>,
}

/// A request ready to be sent. Its `Debug` shows no header, no body and no query: all may hold secrets.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: url::Url,
    pub(crate) headers: Vec<(String, String)>,
    /// Content type and bytes.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    /// How long it may take altogether.
    pub(crate) timeout: Duration,
    /// The most bytes of the answer, after decompression.
    pub(crate) limit: u64,
}

impl Request {
    /// Returns method and address without query, for messages.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        format!("{} {url}", self.method.as_str())
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// An answer, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The answer, or the head of one that is too large to be held.
    pub(crate) body: Vec<u8>,
    /// All of an answer that is too large to be held.
    pub(crate) spooled: Option<Spooled>,
}

/// A large answer, in a file that has no name and is gone with the process.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Response {
    /// Returns how many bytes the answer has, after decompression.
    pub(crate) fn bytes(&self) -> u64 {
        self.spooled.as_ref().map_or(self.body.len() as u64, |spooled| spooled.bytes)
    }

    /// Returns a header's value; the name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The address may not be called at all.
    Forbidden(String),
    /// The name, the connection or TLS failed.
    Unreachable(String),
    /// Whoever answers does not prove to be the host; nothing was sent.
    Untrusted(String),
    TimedOut,
    /// The answer broke off or was not HTTP.
    Broken(String),
    TooLarge(u64),
    /// The answer becomes much larger by unpacking than any honest one.
    Bomb,
    /// The answer is large, and there is no room for it on the disk.
    NoRoom(String),
}

impl Client {
    /// Returns a client that calls what needs no setting to allow it.
    pub(crate) fn new() -> Self {
        let (agents, agent) = Agents::new();
        Client { agents, agent, network: Network::default(), until: None, folder: None }
    }

    /// Returns a client that calls and trusts whom these settings let it, with a pool of connections shared by all of
    /// whom that is so too; or why the file of authorities is of no use.
    pub(crate) fn within(&self, network: Network) -> Result<Self, String> {
        Ok(Client { agent: self.agents.within(&network)?, network, ..self.clone() })
    }

    /// Returns a client whose requests are given up at this moment, if they have no answer by then.
    pub(crate) fn until(self, until: Option<Instant>) -> Self {
        Client { until, ..self }
    }

    /// Lets large answers go to files in a folder, where there is room for what comes out of them too.
    pub(crate) fn spooling_in(self, folder: &Path) -> Self {
        let folder = (!folder.as_os_str().is_empty()).then(|| folder.to_owned());
        Client { folder, ..self }
    }

    /// Sends one request once. Any status is an answer.
    pub(crate) fn send(&self, request: &Request) -> Result<Response, NoAnswer> {
        self.network.check(&request.url).map_err(NoAnswer::Forbidden)?;
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()).max(SHORTEST));
        let timeout = left.map_or(request.timeout, |left| left.min(request.timeout));
        let mut builder = http::Request::builder()
            .method(request.method.as_str())
            .uri(request.url.as_str())
            .header("accept-encoding", "gzip");
        for (name, value) in &request.headers {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let unsendable = |_| NoAnswer::Forbidden("a header or the address holds characters that cannot be sent".into());
        let sent = match &request.body {
            Some((content_type, bytes)) => {
                let built = builder.header("content-type", *content_type).body(bytes.as_slice()).map_err(unsendable)?;
                self.agent.run(self.agent.configure_request(built).timeout_global(Some(timeout)).build())
            }
            None => {
                let built = builder.body(()).map_err(unsendable)?;
                self.agent.run(self.agent.configure_request(built).timeout_global(Some(timeout)).build())
            }
        };
        let mut answer = sent.map_err(|error| no_answer(&error))?;
        let headers = answer
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let status = answer.status().as_u16();
        let length = answer.body().content_length().unwrap_or(0);
        let stream = answer.body_mut().with_config().limit(request.limit).reader();
        let (body, spooled) = body::whole(stream, (length, request.limit), self.folder.as_deref())?;
        Ok(Response { status, headers, body, spooled })
    }
}

/// Says what went wrong without the address, whose query may hold a secret.
fn no_answer(error: &ureq::Error) -> NoAnswer {
    match error {
        ureq::Error::Timeout(_) => NoAnswer::TimedOut,
        ureq::Error::BodyExceedsLimit(limit) => NoAnswer::TooLarge(*limit),
        ureq::Error::HostNotFound => NoAnswer::Unreachable("the name of the host is not known".into()),
        ureq::Error::ConnectionFailed => NoAnswer::Unreachable("no connection could be made".into()),
        ureq::Error::Io(error) if let Some(refused) = inside::<resolver::Refused>(error) => {
            NoAnswer::Forbidden(refused.0.clone())
        }
        ureq::Error::Io(error) if let Some(error) = inside(error) => insecure(error),
        // The standard library gives a failed look-up no kind of its own.
        ureq::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
            NoAnswer::Unreachable("the name of the host cannot be looked up".into())
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            NoAnswer::Unreachable("the connection was refused".into())
        }
        ureq::Error::Io(error) => NoAnswer::Broken(format!("the connection broke: {}", error.kind())),
        ureq::Error::Tls(reason) => NoAnswer::Unreachable(format!("TLS failed: {reason}")),
        ureq::Error::Rustls(error) => insecure(error),
        ureq::Error::BadUri(_) => NoAnswer::Forbidden("the address is not valid".into()),
        _ => NoAnswer::Broken("the answer was not valid HTTP".into()),
    }
}

/// Returns the error that one of the standard library's was made of, if it is of this type.
fn inside<E: std::error::Error + 'static>(error: &std::io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

/// Says why no TLS connection came about: with whom it would have been is not known, or they spoke no TLS that is safe.
fn insecure(error: &rustls::Error) -> NoAnswer {
    use rustls::CertificateError as Bad;
    let why = match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate is not valid yet",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "its certificate is of another host",
            Bad::UnknownIssuer => "its certificate is from no authority that is trusted",
            Bad::Revoked => "its certificate was revoked",
            _ => "its certificate is not valid",
        },
        _ => return NoAnswer::Unreachable(format!("TLS failed: {error}")),
    };
    NoAnswer::Untrusted(why.into())
}
