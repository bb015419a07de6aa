//! Whom a client calls, and whom it never does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::RootCerts;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};

use super::*;

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

#[test]
fn what_is_packed_as_no_honest_answer_is_ends_before_its_limit() {
    use std::io::Write as _;
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let limit = 1 << 30;
    let blanks = packed(&vec![b' '; 1 << 20]);
    let bomb = blanks.repeat(40);
    assert_eq!(body::whole(&bomb[..], (0, limit), None).unwrap_err(), NoAnswer::Bomb);
    // So little is nobody's harm, and what hardly shrinks may be as long as it likes.
    assert_eq!(body::whole(&blanks.repeat(20)[..], (0, limit), None).unwrap().1.unwrap().bytes, 20 << 20);
    let honest: String = (0..400_000_u64)
        .map(|id| {
            format!(
                "{{\"id\":{id},\"name\":\"{:x}\",{}}}",
                id.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                r#""a":null,"#.repeat(12)
            )
        })
        .collect();
    let page = packed(honest.as_bytes());
    let unpacked = body::whole(&page[..], (0, limit), None).unwrap().1.unwrap();
    assert_eq!(unpacked.bytes, honest.len() as u64);
    assert!(unpacked.bytes > 32 << 20, "{}", unpacked.bytes);
}

/// Leads every name to what comes next of a list; the last stays.
#[derive(Debug)]
struct Names(Mutex<Vec<Vec<SocketAddr>>>);

impl Resolver for Names {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut all = self.0.lock().unwrap();
        let mut resolved = self.empty();
        let next = if all.len() > 1 { all.remove(0) } else { all[0].clone() };
        next.into_iter().for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

/// Notes to which addresses connections are made, and makes them.
#[derive(Debug)]
struct Watched(DefaultConnector, Arc<Mutex<Vec<SocketAddr>>>);

impl Connector<()> for Watched {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        self.1.lock().unwrap().extend(details.addrs.iter().copied());
        self.0.connect(details, chained)
    }
}

/// Returns a client whose names lead there, and the addresses it has connected to.
fn watched(network: Network, names: &[&[&str]]) -> (Client, Arc<Mutex<Vec<SocketAddr>>>) {
    let called = Arc::default();
    let names = names.iter().map(|to| to.iter().map(|address| address.parse().unwrap()).collect()).collect();
    let resolver = resolver::Guarded::asking(Names(Mutex::new(names)), network.clone());
    let connector = Watched(DefaultConnector::default(), Arc::clone(&called));
    let agent = agents::agent(RootCerts::WebPki, connector, resolver);
    (Client { agent, network, ..Client::new() }, called)
}

fn get(url: &str) -> Request {
    let (method, timeout) = (Method::Get, CONNECT);
    Request { method, url: url.parse().unwrap(), headers: Vec::new(), body: None, timeout, limit: 1000 }
}

/// Answers every connection on loopback with an empty page, and counts them.
fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            std::io::Read::read(&mut stream, &mut [0; 4096]).ok();
            std::io::Write::write_all(
                &mut stream,
                b"HTTP/1.1 200 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]",
            )
            .ok();
        }
    });
    (address, count)
}

fn http() -> Network {
    Network { insecure_http: true, ..Network::default() }
}

#[test]
fn a_name_that_leads_to_a_forbidden_address_gets_no_connection() {
    for to in [
        "169.254.169.254:443",
        "169.254.170.2:443",
        "100.100.100.200:443",
        "10.0.0.1:443",
        "127.0.0.1:443",
        "[::1]:443",
        "[fe80::1]:443",
        "[fd00:ec2::254]:443",
        "[::ffff:169.254.169.254]:443",
        "[64:ff9b::a9fe:a9fe]:443",
    ] {
        // One bad address among good ones is enough: nobody knows which would be taken.
        for names in [&[to][..], &["93.184.216.34:443", to]] {
            let (client, called) = watched(Network::default(), &[names]);
            let refused = client.send(&get("https://metadata.google.internal/"));
            assert!(matches!(&refused, Err(NoAnswer::Forbidden(why)) if why.starts_with("the name leads to")), "{to}");
            assert!(called.lock().unwrap().is_empty(), "{to}");
        }
    }
}

#[test]
fn hostile_addresses_get_no_look_up_and_no_connection() {
    let everything = Network { insecure_http: true, private: true, ca_file: None };
    for url in crate::domain::network::tests::HOSTILE {
        let (client, called) = watched(everything.clone(), &[&["93.184.216.34:443"]]);
        assert!(matches!(client.send(&get(url)), Err(NoAnswer::Forbidden(_))), "{url}");
        assert!(called.lock().unwrap().is_empty(), "{url}");
    }
}

#[test]
fn a_name_that_leads_elsewhere_once_it_was_checked_is_called_where_it_was_checked() {
    let (address, count) = server();
    let here = address.to_string();
    // A look-up that comes after the one that was checked would get the machine's own credentials.
    let (client, called) = watched(http(), &[&[&here], &["169.254.169.254:80"]]);
    for turn in 1..=3 {
        assert_eq!(client.send(&get(&format!("http://localhost:{}/", address.port()))).unwrap().status, 200);
        assert_eq!((count.load(Ordering::Relaxed), called.lock().unwrap().len()), (turn, turn));
    }
    assert!(called.lock().unwrap().iter().all(|called| *called == address));
    // The other way round it is refused, and so are all names that lead there from the first.
    let (client, called) = watched(http(), &[&["169.254.169.254:80"], &[&here]]);
    assert!(matches!(client.send(&get("http://localhost/")), Err(NoAnswer::Forbidden(_))));
    assert!(called.lock().unwrap().is_empty());
}

#[test]
fn what_was_allowed_to_one_provider_is_not_to_another() {
    let (address, count) = server();
    let url = format!("http://{address}/");
    let first = Client::new();
    let allowed = first.within(http()).unwrap();
    assert_eq!(allowed.send(&get(&url)).unwrap().status, 200);
    assert!(matches!(first.send(&get(&url)), Err(NoAnswer::Forbidden(_))));
    assert!(matches!(first.within(Network::default()).unwrap().send(&get(&url)), Err(NoAnswer::Forbidden(_))));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}
