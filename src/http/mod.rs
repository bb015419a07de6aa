//! The only user of ureq: one agent, limits on time and size, no redirects, and no credential sent in the clear.

mod resolver;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use resolver::{Guarded, forbidden};
use ureq::http;
use ureq::unversioned::transport::DefaultConnector;

use crate::domain::manifest::Method;
use crate::domain::settings::is_this_machine;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_millis(if cfg!(test) { 400 } else { 10_000 });

/// How much of a body is read at once.
const BUFFER: usize = 64 << 10;

/// No request is given less time than this.
const SHORTEST: Duration = Duration::from_millis(100);

/// The most of an answer that is held in memory; a larger one goes to a file without a name.
const HELD: u64 = 2 << 20;

/// As much of a larger answer is kept at hand, for rules that look into errors.
const HEAD: usize = 4 << 10;

/// The agent that all requests share, with its pool of connections.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
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
    TimedOut,
    /// The answer broke off or was not HTTP.
    Broken(String),
    TooLarge(u64),
    /// The answer is large, and there is no room for it on the disk.
    NoRoom(String),
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            // A header of the manifest's own would be sent on to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("skillsctl/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections_per_host(16)
            .max_idle_connections(64)
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Guarded::default());
        Client { agent, until: None, folder: None }
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
        allowed(&request.url)?;
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
        let length = answer.body().content_length().unwrap_or(0).min(HELD);
        // Limits hold before and after decompression: how well a bomb is packed does not matter.
        let reader = BufReader::with_capacity(BUFFER, answer.body_mut().with_config().limit(request.limit).reader());
        let (body, spooled) = whole(reader, (length, request.limit), self.folder.as_deref())?;
        Ok(Response { status, headers, body, spooled })
    }
}

/// Returns a body of about `length` bytes to its end, and not more than `limit` of it. What is compressed is known by its
/// first two bytes: headers are wrong at times, and no JSON, CSV or XML begins so.
fn whole(
    mut packed: impl BufRead,
    (length, limit): (u64, u64),
    folder: Option<&Path>,
) -> Result<(Vec<u8>, Option<Spooled>), NoAnswer> {
    if packed.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]) {
        held(MultiGzDecoder::new(packed), (length, limit), folder)
    } else {
        held(packed, (length, limit), folder)
    }
}

/// Returns what a stream has, or its head and all of it in a file if that is too large to be held.
fn held(
    mut stream: impl Read,
    (length, limit): (u64, u64),
    folder: Option<&Path>,
) -> Result<(Vec<u8>, Option<Spooled>), NoAnswer> {
    let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    stream.by_ref().take(HELD.min(limit) + 1).read_to_end(&mut body).map_err(broken)?;
    let mut bytes = body.len() as u64;
    if bytes <= HELD.min(limit) {
        return Ok((body, None));
    }
    let no_room = |error: std::io::Error| NoAnswer::NoRoom(error.kind().to_string());
    let mut file = folder.map_or_else(tempfile::tempfile, tempfile::tempfile_in).map_err(no_room)?;
    file.write_all(&body).map_err(no_room)?;
    body.truncate(HEAD);
    body.shrink_to_fit();
    let mut chunk = vec![0; BUFFER];
    loop {
        if bytes > limit {
            return Err(NoAnswer::TooLarge(limit));
        }
        let read = stream.read(&mut chunk).map_err(broken)?;
        if read == 0 {
            return Ok((body, Some(Spooled { file, bytes })));
        }
        file.write_all(&chunk[..read]).map_err(no_room)?;
        bytes += read as u64;
    }
}

/// Says why an answer could not be read to its end.
fn broken(error: std::io::Error) -> NoAnswer {
    match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
            NoAnswer::Broken("the answer is compressed, but cannot be unpacked".into())
        }
        _ => no_answer(&ureq::Error::from(error)),
    }
}

/// Credentials travel over TLS, or to this machine; never to addresses that only machines of a cloud answer.
fn allowed(url: &url::Url) -> Result<(), NoAnswer> {
    let literal = match url.host() {
        Some(url::Host::Domain(_)) => None,
        Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        None => return Err(NoAnswer::Forbidden("the address names no host".into())),
    };
    if let Some(address) = literal.filter(|address| forbidden(*address)) {
        return Err(NoAnswer::Forbidden(format!("{address} is an address that is never called")));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_this_machine(url) => Ok(()),
        _ => Err(NoAnswer::Forbidden("only https:// is called, and http:// on this machine".into())),
    }
}

/// Says what went wrong without the address, whose query may hold a secret.
fn no_answer(error: &ureq::Error) -> NoAnswer {
    match error {
        ureq::Error::Timeout(_) => NoAnswer::TimedOut,
        ureq::Error::BodyExceedsLimit(limit) => NoAnswer::TooLarge(*limit),
        ureq::Error::HostNotFound => NoAnswer::Unreachable("the name of the host is not known".into()),
        ureq::Error::ConnectionFailed => NoAnswer::Unreachable("no connection could be made".into()),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            NoAnswer::Forbidden("the name leads to an address that is never called".into())
        }
        // The standard library gives a failed look-up no kind of its own.
        ureq::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
            NoAnswer::Unreachable("the name of the host cannot be looked up".into())
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            NoAnswer::Unreachable("the connection was refused".into())
        }
        ureq::Error::Io(error) => NoAnswer::Broken(format!("the connection broke: {}", error.kind())),
        ureq::Error::Tls(reason) => NoAnswer::Unreachable(format!("TLS failed: {reason}")),
        ureq::Error::Rustls(error) => NoAnswer::Unreachable(format!("TLS failed: {error}")),
        ureq::Error::BadUri(_) => NoAnswer::Forbidden("the address is not valid".into()),
        _ => NoAnswer::Broken("the answer was not valid HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_or_this_machine_is_called() {
        let check = |text: &str| allowed(&text.parse().unwrap());
        for good in ["https://api.example", "http://127.0.0.1:1", "http://localhost", "http://[::1]/"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.example",
            "ftp://api.example",
            "https://169.254.169.254/x",
            "https://0xA9FEA9FE/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[::ffff:169.254.169.254]/",
            "https://0.0.0.0",
            "http://192.168.0.1",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_never_shows_its_query_or_headers() {
        let request = Request {
            method: Method::Get,
            url: "https://api.example/x?key=SENTINEL".parse().unwrap(),
            headers: vec![("authorization".into(), "SENTINEL".into())],
            body: None,
            timeout: CONNECT,
            limit: 1,
        };
        assert_eq!(format!("{request:?}"), "GET https://api.example/x");
    }
}
