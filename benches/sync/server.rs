//! Serves contacts in the shape of HubSpot's list, page by page, as fast as loopback goes or after a wait.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const PAGE: usize = 100;

/// Gives the answer with the page of a number, head included.
pub(crate) type Pages = Arc<dyn Fn(usize) -> Option<Arc<Vec<u8>>> + Send + Sync>;

/// Returns pages made beforehand.
pub(crate) fn made(records: usize, page: usize) -> Pages {
    let all: Vec<_> = (0..records.div_ceil(page)).map(|number| Arc::new(answer_of(number, records, page))).collect();
    Arc::new(move |number| all.get(number).cloned())
}

/// Returns pages made when they are asked for, where all of them would not fit into memory.
pub(crate) fn lazy(records: usize, page: usize) -> Pages {
    Arc::new(move |number| (number * page < records).then(|| Arc::new(answer_of(number, records, page))))
}

fn answer_of(number: usize, records: usize, page: usize) -> Vec<u8> {
    let mut body = String::from("{\"results\":[");
    for i in number * page..((number + 1) * page).min(records) {
        body.push_str(if i % page > 0 { "," } else { "" });
        contact(&mut body, i);
    }
    body.push(']');
    if (number + 1) * page < records {
        write!(body, ",\"paging\":{{\"next\":{{\"after\":\"{}\"}}}}", number + 1).expect("writing to a text");
    }
    body.push('}');
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body.as_bytes()].concat()
}

fn contact(body: &mut String, i: usize) {
    let first = ["Amelia", "Oliver", "Isla", "Zoë", "Siân", "Mohammed", "Chloë", "Łukasz", "Aoife", "Noah"];
    let last = ["Smith", "O'Neill", "Patel", "Nguyễn", "Jones-Évans", "Khan", "Taylor", "Brown", "García", "Evans"];
    let id = 1_000_000 + i;
    let changed = format!("2026-{:02}-{:02}T{:02}:{:02}:00.{:03}Z", 1 + i % 11, 1 + i % 28, i % 24, i % 60, i % 1000);
    write!(
        body,
        "{{\"id\":\"{id}\",\"properties\":{{\"hs_object_id\":\"{id}\",\"firstname\":\"{}\",\"lastname\":\"{}\",\
         \"email\":\"learner{i}@example{}.co.uk\",\"phone\":\"+44 7{:09}\",\"company\":\"Acme Training {} Ltd\",\
         \"associatedcompanyid\":\"{}\",\"jobtitle\":\"Team Leader\",\"city\":\"Leeds\",\"lifecyclestage\":\"lead\",\
         \"account_manager\":\"am{}@aivii.co.uk\",\"division_code\":\"DIV-{:03}\",\
         \"createdate\":\"2024-03-{:02}T09:{:02}:00.000Z\",\"lastmodifieddate\":\"{changed}\",\"notes\":null}},\
         \"createdAt\":\"2024-03-01T09:00:00.000Z\",\"updatedAt\":\"{changed}\",\"archived\":false}}",
        first[i % 10],
        last[i / 10 % 10],
        i % 97,
        i * 7919 % 1_000_000_000,
        i % 5000,
        500_000 + i % 5000,
        i % 40,
        i % 30,
        1 + i % 28,
        i % 60,
    )
    .expect("writing to a text");
}

/// Serves pages, each after a wait, and returns the address.
pub(crate) fn serve(pages: Pages, wait: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pages = Arc::clone(&pages);
            std::thread::spawn(move || answer(stream, &pages, wait));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, pages: &Pages, wait: Duration) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).ok()? > 2 {
            header.clear();
        }
        std::thread::sleep(wait);
        let after =
            request.split("after=").nth(1).and_then(|rest| rest.split([' ', '&']).next()?.parse().ok()).unwrap_or(0);
        stream.write_all(&pages(after)?).ok()?;
    }
}
