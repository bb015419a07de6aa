//! The least any client of this interface can do to store the same contacts durably: what the program is measured against.

use std::borrow::Cow;

/// The floor: one thread fetches, one parses borrowed fields and upserts a page a transaction. No mapping, no checks, no log.
pub(crate) fn floor(url: &str, database: &str) {
    type Text<'a> = Option<Cow<'a, str>>;
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        results: Vec<Contact<'a>>,
        paging: Option<serde_json::Value>,
    }
    #[derive(serde::Deserialize)]
    struct Contact<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        properties: Properties<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Properties<'a> {
        #[serde(borrow)]
        firstname: Text<'a>,
        #[serde(borrow)]
        lastname: Text<'a>,
        #[serde(borrow)]
        email: Text<'a>,
        #[serde(borrow)]
        company: Text<'a>,
        #[serde(borrow)]
        associatedcompanyid: Text<'a>,
        #[serde(borrow)]
        account_manager: Text<'a>,
        #[serde(borrow)]
        division_code: Text<'a>,
        #[serde(borrow)]
        lastmodifieddate: Text<'a>,
    }
    let (sender, receiver) = std::sync::mpsc::sync_channel::<String>(8);
    let url = url.to_owned();
    let fetching = std::thread::spawn(move || {
        let agent = ureq::agent();
        let mut after = String::from("0");
        loop {
            let address = format!("{url}/crm/v3/objects/contacts?limit=100&after={after}");
            let mut answer = agent.get(address).header("authorization", "Bearer x").call().expect("an answer");
            let body = answer.body_mut().read_to_string().expect("a body");
            // The token is found without parsing the page: the floor, not a way to write a client.
            let tail = body.get(body.len().saturating_sub(60)..).unwrap_or_default();
            let next = tail.find("\"after\":\"").and_then(|at| tail[at + 9..].split('"').next()).map(str::to_owned);
            sender.send(body).expect("a reader");
            match next {
                Some(next) => after = next,
                None => return,
            }
        }
    });
    let mut connection = rusqlite::Connection::open(database).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS employers (org INTEGER NOT NULL, crm_id TEXT NOT NULL, firstname TEXT, lastname TEXT, email TEXT,
                company TEXT, companyid TEXT, account_manager TEXT, division TEXT, modified TEXT, PRIMARY KEY (org, crm_id)) STRICT, WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS state (k INTEGER PRIMARY KEY, v TEXT)",
        )
        .expect("a schema");
    for body in receiver {
        let page: Page<'_> = serde_json::from_str(&body).expect("a page");
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut upsert = transaction
                .prepare_cached(
                    "INSERT INTO employers VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (org, crm_id) DO UPDATE SET
                        firstname = excluded.firstname, lastname = excluded.lastname, email = excluded.email, company = excluded.company,
                        companyid = excluded.companyid, account_manager = excluded.account_manager, division = excluded.division,
                        modified = excluded.modified WHERE excluded.modified IS NOT modified",
                )
                .expect("a statement");
            for contact in &page.results {
                let p = &contact.properties;
                upsert
                    .execute(rusqlite::params![
                        contact.id,
                        p.firstname,
                        p.lastname,
                        p.email,
                        p.company,
                        p.associatedcompanyid,
                        p.account_manager,
                        p.division_code,
                        p.lastmodifieddate
                    ])
                    .expect("a row");
            }
            let next = page.paging.map(|paging| paging.to_string());
            transaction
                .prepare_cached("INSERT INTO state VALUES (1, ?1) ON CONFLICT (k) DO UPDATE SET v = excluded.v")
                .expect("a statement")
                .execute([next])
                .expect("a row");
        }
        transaction.commit().expect("a commit");
    }
    fetching.join().expect("the fetching thread");
}
