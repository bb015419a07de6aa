//! Where a sync goes and where not: redirects, proxies, addresses that are refused when they are set, answers that are bombs.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

use super::demo::{KEY, demo, page, page_of};
use super::lab::{Lab, Server};

const CREDENTIAL: &str = "SENTINEL-of-the-tests";

/// Sends the credential in every way a manifest can: as a bearer, as a header of its own, and in the query.
const EVERYWHERE: &str = r#"{all: [{bearer: "{secret.api_key}"}, {header: {x-api-key: "{secret.api_key}"}}, {query: {api_key: "{secret.api_key}"}}]}"#;

fn keyed(server: &Server, auth: &str) -> Lab {
    let lab = demo(server, auth, "{}", "{settings.api_url}");
    lab.credential("acme", "aptem", "api_key", CREDENTIAL);
    lab
}

#[test]
fn no_redirect_carries_a_credential_or_the_address_it_came_from_to_anybody() {
    let thief = Server::start(|_| (200, Vec::new(), r#"{"items": []}"#.into()));
    let port = thief.url.rsplit(':').next().unwrap().to_owned();
    let server = Server::start(move |asked| {
        let number: usize = asked.target.split(['?', '/']).nth(1).unwrap().parse().unwrap();
        let statuses = [301, 302, 303, 307, 308];
        let to = [
            format!("http://127.0.0.1:{port}/x"),
            format!("http://localhost:{port}/x"),
            format!("//127.0.0.1:{port}/x"),
            format!("https://127.0.0.1:{port}/x"),
            format!("http://{CREDENTIAL}:x@127.0.0.1:{port}/x"),
            "http://169.254.169.254/latest/meta-data".to_owned(),
            "http://[::ffff:a9fe:a9fe]/latest".to_owned(),
            "file:///etc/passwd".to_owned(),
            // To itself: a circle that never ends, and twenty steps that do.
            asked.target.clone(),
            format!("/{}/learners", (number + 1) % 20),
        ];
        (statuses[number % 5], vec![("location".into(), to[number / 5].clone())], "moved".into())
    });
    let lab = keyed(&server, EVERYWHERE);
    for number in 0..50 {
        let url = format!("{}/{number}", server.url);
        lab.run(&format!("override set acme aptem api_url={url}")).succeeds();
        let before = server.asked().len();
        let report = lab.sync("acme --force", 9);
        assert_eq!(report["runs"][0]["error"]["code"], "redirected", "{number}");
        assert!(!report.to_string().contains(CREDENTIAL));
        // One request for each stream, and none after its answer.
        assert_eq!(server.asked().len() - before, 2, "{number}");
    }
    assert!(server.asked().iter().all(|asked| asked.header("x-api-key") == Some(CREDENTIAL)));
    assert!(server.asked().iter().all(|asked| asked.header("referer").is_none()));
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[test]
fn no_proxy_of_the_environment_sees_a_request() {
    let proxy = Server::start(|_| (200, Vec::new(), r#"{"items": []}"#.into()));
    let server = Server::start(|asked| page(page_of(asked).unwrap_or(1), 1));
    let mut lab = keyed(&server, KEY);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        lab.world.set(name, &proxy.url);
    }
    lab.sync("acme", 0);
    assert!(proxy.asked().is_empty() && !server.asked().is_empty());
}

#[test]
fn an_address_that_may_not_be_called_is_refused_when_it_is_set() {
    let server = Server::start(|asked| page(page_of(asked).unwrap_or(1), 1));
    let lab = keyed(&server, KEY);
    let set = |settings: &str| format!("override set acme aptem {settings}");
    lab.run("override reset acme aptem --all").succeeds();
    for (settings, why) in [
        ("api_url=http://evil.example", "unencrypted"),
        ("api_url=http://evil.example allow_insecure_http=true", "unencrypted"),
        ("api_url=http://127.0.0.1:1", "allow_insecure_http"),
        ("api_url=https://10.0.0.1", "allow_private_network"),
        ("api_url=https://127.0.0.1:1 allow_insecure_http=true", "allow_private_network"),
        ("api_url=https://169.254.169.254 allow_private_network=true", "never called"),
        ("api_url=https://0xA9FEA9FE", "never called"),
        ("api_url=https://[::ffff:169.254.169.254]", "never called"),
        ("'api_url=https://user:pass@api.example'", "credential set"),
        ("api_url=https://api.example/?token=x", "query"),
        ("allow_insecure_http=maybe", "true or false"),
    ] {
        lab.world.refused(&set(settings), 7).says(&[why]);
    }
    lab.world.file("acme.yaml", "aptem: {api_url: 'https://192.168.0.1'}\n");
    lab.world.refused("override apply acme -f acme.yaml", 7).says(&["allow_private_network"]);
    lab.run(&set("api_url=https://10.0.0.1 allow_private_network=true")).succeeds();
    // What allows it cannot go while it is needed, but a provider that is disabled may be as it likes.
    lab.world.refused("override reset acme aptem allow_private_network", 7).says(&["allow_private_network"]);
    lab.run("override disable acme aptem").succeeds();
    lab.run("override reset acme aptem allow_private_network").succeeds();
}

#[test]
fn what_was_set_before_there_were_such_rules_is_refused_when_it_is_called() {
    let server = Server::start(|asked| page(page_of(asked).unwrap_or(1), 1));
    let lab = keyed(&server, KEY);
    let change =
        "UPDATE organization_integration_overrides SET document = json_remove(document, '$.allow_insecure_http')";
    rusqlite::Connection::open(lab.world.db()).unwrap().execute(change, []).unwrap();
    let report = lab.sync("acme", 7);
    assert_eq!(report["runs"][0]["error"]["code"], "address_refused");
    assert!(report["runs"][0]["error"]["message"].as_str().unwrap().contains("`allow_insecure_http`"));
    lab.run("credential test acme aptem").fails(7).prints(&["allow_insecure_http"]);
    assert!(server.asked().is_empty());
}

#[test]
fn what_is_allowed_changes_nothing_of_what_is_read() {
    let server = Server::start(|asked| page(page_of(asked).unwrap_or(1), 1));
    let lab = keyed(&server, KEY);
    lab.sync("acme", 0);
    lab.run("override set acme aptem allow_private_network=true").succeeds();
    let report = lab.sync("acme --force", 0);
    assert_eq!(report["runs"][0]["reread"], json!([]), "{report}");
}

/// Returns gzip of so many MiB of blanks, in members of one MiB each.
fn blanks(mebibytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    let member = encoder.finish().unwrap();
    assert!(member.len() < 2 << 10, "{}", member.len());
    member.repeat(mebibytes)
}

#[test]
fn a_bomb_of_ten_gibibytes_takes_no_memory_no_disk_and_moves_nothing() {
    let bomb = blanks(10 << 10);
    assert!(bomb.len() < 12 << 20);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if !stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                continue;
            }
            let head =
                "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\nconnection: close";
            write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n", bomb.len()).ok();
            stream.write_all(&bomb).ok();
        }
    });
    let lab = keyed(&Server::start(|_| (500, Vec::new(), String::new())), KEY);
    lab.run(&format!("override set acme aptem api_url={url}")).succeeds();
    let before = lab.progress("acme", "learners");
    let mut command = lab.world.command("sync acme --json");
    let mut sync = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    let status = loop {
        if let Some(status) = sync.try_wait().unwrap() {
            break status;
        }
        let told = std::fs::read_to_string(format!("/proc/{}/status", sync.id())).unwrap_or_default();
        let peak = told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(peak.unwrap_or(0_u64));
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let mut report = String::new();
    sync.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["runs"][0]["error"]["code"], "response_too_large", "{report}");
    assert_eq!(status.code(), Some(9));
    assert!(most > 0 && most < 100 << 10, "{most} KiB");
    assert_eq!((lab.progress("acme", "learners"), lab.rows("acme", "learners").len()), (before, 0));
}
