//! A small HTTP/1.1 server: a thread for each connection, keep-alive, bodies by length or in chunks.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::clock;
use super::encoding::{form_pairs, percent_decoded};
use super::world::lock;

const HEAD_LIMIT: u64 = 256 * 1024;
const BODY_LIMIT: u64 = 16 * 1024 * 1024;

pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query as they were sent.
    pub(crate) target: String,
    /// The path, decoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ").map(str::trim)
    }

    pub(crate) fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }

    pub(crate) fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the body's form fields; a body of another type has none.
    pub(crate) fn form(&self) -> HashMap<String, String> {
        let is_form =
            self.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if !is_form {
            return HashMap::new();
        }
        form_pairs(&String::from_utf8_lossy(&self.body)).into_iter().collect()
    }

    /// Returns the parts of the path between its slashes.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// How much of a response reaches the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    /// The head promises all, half the body comes, the connection ends.
    Half,
    /// The connection ends with no answer.
    Nothing,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The ids of the records in the body, for the ledger.
    pub(crate) ids: Vec<String>,
    pub(crate) delivery: Delivery,
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Response { status, headers, body: body.into(), ids: Vec::new(), delivery: Delivery::Whole }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Response {
        Response::new(status, "application/json;charset=utf-8", body.to_string())
    }

    pub(crate) fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new(), ids: Vec::new(), delivery: Delivery::Whole }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Response {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn serving(mut self, ids: Vec<String>) -> Response {
        self.ids = ids;
        self
    }

    fn write(&self, to: &mut TcpStream, head_only: bool, close: bool) -> io::Result<()> {
        let mut out = Vec::with_capacity(self.body.len() + 512);
        write!(
            out,
            "HTTP/1.1 {} {}\r\nDate: {}\r\n",
            self.status,
            reason(self.status),
            clock::http_date(clock::now())
        )?;
        for (name, value) in &self.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        if self.status != 204 {
            write!(out, "Content-Length: {}\r\n", self.body.len())?;
        }
        out.extend_from_slice(if close { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        if !head_only && self.status != 204 {
            let end = if self.delivery == Delivery::Half { self.body.len() / 2 } else { self.body.len() };
            out.extend_from_slice(&self.body[..end]);
        }
        to.write_all(&out)
    }
}

pub(crate) type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

type OpenConnections = Arc<Mutex<HashMap<u64, TcpStream>>>;

/// One service's listener; dropping it ends its connections.
pub(crate) struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    open: OpenConnections,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, handler: Handler) -> io::Result<Server> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let open = OpenConnections::default();
        let accepting = {
            let (stopping, open) = (Arc::clone(&stopping), Arc::clone(&open));
            thread::spawn(move || accept(&listener, &handler, &stopping, &open))
        };
        Ok(Server { address, stopping, open, accepting: Some(accepting) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // `accept` has no time limit: a connection of our own lets it see the flag.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
        for stream in lock(&self.open).values() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn accept(listener: &TcpListener, handler: &Handler, stopping: &AtomicBool, open: &OpenConnections) {
    for (number, stream) in (0u64..).zip(listener.incoming()) {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(kept) = stream.try_clone() else { continue };
        lock(open).insert(number, kept);
        let (handler, open) = (Arc::clone(handler), Arc::clone(open));
        thread::spawn(move || {
            // A client that goes away in mid-request is no concern of the server's.
            converse(stream, &handler).ok();
            if let Some(stream) = lock(&open).remove(&number) {
                stream.shutdown(Shutdown::Both).ok();
            }
        });
    }
}

fn converse(mut stream: TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut from, &mut stream)? {
        let response = handler(&request);
        if response.delivery == Delivery::Nothing {
            return Ok(());
        }
        let close = response.delivery == Delivery::Half
            || request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        response.write(&mut stream, request.method == "HEAD", close)?;
        if close {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(from: &mut BufReader<TcpStream>, to: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = from.by_ref().take(HEAD_LIMIT);
    let Some(first) = read_line(&mut head)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::other("malformed request line"));
    };
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut head)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("malformed header"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        path: percent_decoded(path),
        query: form_pairs(query),
        headers,
        body: Vec::new(),
    };
    if request.header("expect").is_some() {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = read_body(from, &request)?;
    Ok(Some(request))
}

fn read_body(from: &mut BufReader<TcpStream>, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            read_exactly(from, size, &mut body)?;
            // The line end after a chunk; after the last one, the end of the (empty) trailer.
            read_line(from)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
    read_exactly(from, length, &mut body)?;
    Ok(body)
}

fn read_exactly(from: &mut impl Read, size: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if into.len() as u64 + size > BODY_LIMIT {
        return Err(io::Error::other("request body too large"));
    }
    let got = from.take(size).read_to_end(into)?;
    if got as u64 == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Returns a line without its end, `None` at the end of the stream.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with('\n') {
        return Err(io::Error::other("request head too large or cut off"));
    }
    Ok(Some(line.trim_end().to_owned()))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        207 => "Multi-Status",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
