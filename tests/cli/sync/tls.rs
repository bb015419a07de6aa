//! Whom a sync believes to be the provider: certificates of every kind, against a server of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::demo::{KEY, demo};
use super::lab::{Lab, Server};

const CREDENTIAL: &str = "SENTINEL-of-the-tests";

/// An authority that nobody knows.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a certificate of a host, good between these years, with its key.
    fn certify(&self, host: &str, (from, until): (i32, i32)) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

/// A provider over TLS. It stays until the tests end.
struct Tls {
    url: String,
    /// What it was sent, in the clear.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tls {
    fn start((certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>)) -> Tls {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = versions.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let url = listen("https", move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut asked = Vec::new();
            let mut chunk = [0; 4096];
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => asked.extend_from_slice(&chunk[..read]),
                }
            }
            notes.lock().unwrap().extend_from_slice(&asked);
            let body = r#"{"items": [{"learner_id": "L1"}]}"#;
            let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\nconnection: close";
            write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok();
            stream.conn.send_close_notify();
            stream.flush().ok();
        });
        Tls { url, seen }
    }

    fn seen(&self) -> String {
        String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
    }
}

/// Has each connection to a port of its own answered, and returns the address.
fn listen(scheme: &str, answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    format!("{scheme}://localhost:{port}")
}

/// Returns an organization whose provider wants a key.
fn keyed() -> Lab {
    let lab = demo(&Server::start(|_| (500, Vec::new(), String::new())), KEY, "{}", "{settings.api_url}");
    lab.credential("acme", "aptem", "api_key", CREDENTIAL);
    lab
}

/// Sends the provider's calls there.
fn lead(lab: &Lab, url: &str, more: &str) {
    lab.run(&format!("override set acme aptem api_url={url} allow_private_network=true {more}")).succeeds();
}

#[test]
fn whoever_does_not_prove_to_be_the_provider_gets_nothing_and_is_named() {
    let lab = keyed();
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs"));
    lab.world.file("ours.pem", &ours.pem);
    let trusted = format!("ca_file={}", lab.world.home().join("ours.pem").display());
    let own = {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    };
    for (who, certificate, why) in [
        ("expired", ours.certify("localhost", (2000, 2020)), "has expired"),
        ("not yet valid", ours.certify("localhost", (2090, 2099)), "not valid yet"),
        ("of another host", ours.certify("aptem.example", (2000, 2099)), "of another host"),
        ("by another authority", theirs.certify("localhost", (2000, 2099)), "no authority that is trusted"),
        ("by itself", own, "no authority that is trusted"),
    ] {
        let server = Tls::start(certificate);
        lead(&lab, &server.url, &trusted);
        let report = lab.sync("acme", 9);
        let error = &report["runs"][0]["error"];
        assert_eq!((&error["code"], &error["exit"]), (&json!("tls_untrusted"), &json!(9)), "{who}: {error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{who}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("`ca_file`"), "{who}: {error}");
        lab.run("credential test acme aptem").fails(9).prints(&[why]);
        assert_eq!((server.seen().as_str(), lab.rows("acme", "learners").len()), ("", 0), "{who}");
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_once_a_setting_names_it_and_in_place_of_the_public_ones() {
    let lab = keyed();
    let (ours, others) = (Authority::new("Ours"), Authority::new("Others"));
    let server = Tls::start(ours.certify("localhost", (2000, 2099)));
    lead(&lab, &server.url, "");
    assert_eq!(lab.sync("acme", 9)["runs"][0]["error"]["code"], "tls_untrusted");
    assert_eq!(server.seen(), "");

    let file = lab.world.file("corp.pem", &format!("# several\n{}{}", others.pem, ours.pem));
    lead(&lab, &server.url, &format!("ca_file={}", file.display()));
    lab.run("credential test acme aptem").succeeds();
    lab.sync("acme", 0);
    assert_eq!(lab.rows("acme", "learners").len(), 1);
    assert!(server.seen().contains(CREDENTIAL));
    lab.run("config show acme aptem --origin").succeeds().prints(&["ca_file", "corp.pem", "allow_private_network"]);

    // It is read each time, and one that is gone, or holds nothing, is no reason to trust anybody else.
    server.seen.lock().unwrap().clear();
    for (text, why) in [
        ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n", "holds no certificate"),
    ] {
        lab.world.file("corp.pem", text);
        let report = lab.sync("acme --force", 7);
        let error = &report["runs"][0]["error"];
        assert_eq!(error["code"], "ca_file_invalid");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(lab.sync("acme --force", 7)["runs"][0]["error"]["code"], "ca_file_invalid");
    lab.world.file("corp.pem", &others.pem);
    assert_eq!(lab.sync("acme --force", 9)["runs"][0]["error"]["code"], "tls_untrusted");
    assert_eq!(server.seen(), "");
}

#[test]
fn a_file_that_can_be_no_authority_is_refused_when_it_is_set() {
    let lab = keyed();
    let home = lab.world.home().display().to_string();
    lab.world.file("empty.pem", "nothing");
    lab.world.file("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (value, why) in [
        ("corp.pem".to_owned(), "does not have the form"),
        (format!("{home}/missing.pem"), "cannot be read"),
        (home.clone(), "cannot be read"),
        (format!("{home}/empty.pem"), "holds no certificate"),
        (format!("{home}/key.pem"), "holds no certificate"),
    ] {
        lab.world.refused(&format!("override set acme aptem ca_file={value}"), 7).says(&[why]);
    }
}

#[test]
fn old_tls_and_no_tls_are_not_spoken() {
    let lab = keyed();
    // What is posted is tried once: nothing else would come of trying again, but waiting.
    let manifest = std::fs::read_to_string(lab.world.home().join("provider.yaml")).unwrap();
    let posted = manifest.replace("full: {get:", "full: {post:").replace("revision: 99", "revision: 100");
    lab.world.file("provider.yaml", &posted);
    lab.run("provider add -f provider.yaml --yes").succeeds();
    // The beginning of an answer in TLS 1.0, with a cipher suite of its time.
    let mut hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    for answer in [hello, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]".to_vec()] {
        let notes = Arc::clone(&heard);
        let url = listen("https", move |mut stream| {
            let mut chunk = vec![0; 4096];
            let read = stream.read(&mut chunk).unwrap_or(0);
            notes.lock().unwrap().extend_from_slice(&chunk[..read]);
            stream.write_all(&answer).ok();
            let read = stream.read(&mut chunk).unwrap_or(0);
            notes.lock().unwrap().extend_from_slice(&chunk[..read]);
        });
        lead(&lab, &url, "");
        let report = lab.sync("acme", 9);
        assert_eq!(report["runs"][0]["error"]["code"], "provider_unreachable", "{report}");
    }
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty() && !heard.windows(8).any(|window| window == b"SENTINEL"));
}

#[test]
fn no_command_has_a_switch_that_trusts_anybody() {
    let lab = keyed();
    for switch in ["--insecure", "--no-verify", "--skip-verify", "--no-check-certificate", "-k"] {
        lab.run(&format!("sync acme {switch}")).fails(2);
    }
    for setting in ["verify=false", "verify_tls=false", "insecure=true", "tls_verify=false"] {
        lab.world.refused(&format!("override set acme aptem {setting}"), 7).says(&["unknown setting"]);
    }
}
