//! The connection to whichever provider is played: a listener that outlives them, and keeps connections for the next request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use super::people::Provider;
use super::{Script, Server};

/// Who answers.
type Answering = Arc<Mutex<Option<Arc<Mutex<Provider>>>>>;

/// A listener on loopback.
pub(super) struct Line {
    url: String,
    answering: Answering,
}

impl Line {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Line { url: format!("http://{}", listener.local_addr().unwrap()), answering: Answering::default() };
        let answering = Arc::clone(&line.answering);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answering = Arc::clone(&answering);
                std::thread::spawn(
                    move || while answer(&mut BufReader::new(&stream), &stream, &answering).is_some() {},
                );
            }
        });
        line
    }

    /// Has a provider answer from now on.
    pub(super) fn answer_for(&self, provider: &Arc<Mutex<Provider>>) {
        *self.answering.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(provider));
    }

    /// Returns what a world is made beside.
    pub(super) fn server(&self) -> Server {
        let nothing: Script = Box::new(|_| (500, String::new(), String::new()));
        let script = Arc::new(Mutex::new(nothing));
        Server { url: self.url.clone(), script, wire: Arc::default(), seen: Arc::default() }
    }
}

/// Answers one request. Returns nothing once the connection has ended.
fn answer(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream, answering: &Answering) -> Option<()> {
    let (mut first, mut line) = (String::new(), String::new());
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let provider = answering.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let answer = provider.lock().unwrap_or_else(PoisonError::into_inner).answer(first.trim_end());
    stream.write_all(&answer.bytes()).ok()?;
    if answer.sent.is_some() {
        stream.shutdown(std::net::Shutdown::Both).ok();
        return None;
    }
    Some(())
}
