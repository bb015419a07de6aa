//! Answers requests: lists page by page, in each way in which services lead from one to the next, and details.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::atomic::Ordering;

use super::ledger::{Reading, Shown};
use super::people::{Person, Provider};
use super::plan::{Happening, Kind};
use super::shape::STREAMS;

/// More requests than this in one sync are a circle.
pub(super) const ENDLESS: usize = 400;

/// A request for a page.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) stream: usize,
    /// `0` for everything, `1` for changes.
    pub(super) mode: usize,
    pub(super) value: usize,
    pub(super) window: Option<(i64, i64)>,
    /// The place of the page, `None` for the first.
    pub(super) at: Option<String>,
}

/// What is sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
    /// How many bytes of the body are sent, where the connection ends early.
    pub(super) sent: Option<usize>,
}

impl Answer {
    pub(super) fn of(status: u16, body: &str) -> Self {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    /// Returns it as it goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let length =
            if self.status == 204 { String::new() } else { format!("content-length: {}\r\n", self.body.len()) };
        let kind = "content-type: application/json\r\n";
        let mut bytes = format!("HTTP/1.1 {} X\r\n{kind}{length}{}\r\n", self.status, self.headers).into_bytes();
        bytes.extend(&self.body[..self.sent.unwrap_or(self.body.len())]);
        bytes
    }
}

/// How a page says where the next one is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Right,
    Nothing,
    EmptyText,
    OtherHost,
}

/// A page that is about to be answered.
#[derive(Debug)]
pub(super) struct Draft {
    /// Keys, and what is shown of them: the name, and the content that it stands for.
    pub(super) rows: Vec<Row>,
    /// The place of the next page that a page tells, where pages lead.
    pub(super) next: Option<String>,
    pub(super) told: Told,
    /// Whether there are more rows behind it.
    pub(super) more: bool,
    pub(super) total: i64,
    pub(super) doubtful: bool,
    /// What is answered instead.
    pub(super) instead: Option<Answer>,
    pub(super) broken: bool,
    pub(super) torn: bool,
}

/// A row of a page.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: Option<u32>,
    pub(super) name: String,
    pub(super) content: Option<u32>,
}

/// Stands for a byte that is no text.
pub(super) const GARBLED: char = '\u{1}';

impl Provider {
    /// Answers a request, told by its line.
    pub(super) fn answer(&mut self, asked: &str) -> Answer {
        let number = self.asked;
        self.asked += 1;
        self.pass(1);
        while let Some(position) =
            self.due.iter().position(|(at, happening)| *at <= number && !matches!(happening, Happening::Fault(_)))
        {
            match self.due.remove(position) {
                Some((_, Happening::Event(event))) => self.happen(&event),
                _ => {
                    self.journal.push("  somebody asks for the end".to_owned());
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        let line = asked.trim_start_matches("GET ").split(' ').next().unwrap_or_default();
        let mut answer = if number > ENDLESS { Answer::of(400, "{}") } else { self.answer_to(line) };
        if self.dated {
            let date = chrono::DateTime::from_timestamp(self.date(), 0).unwrap_or_default();
            answer.headers += &date.format("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
        }
        self.journal.push(format!(
            "  {number}: {line} -> {} {}{}",
            answer.status,
            String::from_utf8_lossy(&answer.body[..answer.sent.unwrap_or(answer.body.len())]),
            answer
                .headers
                .lines()
                .filter(|line| !line.starts_with("date"))
                .fold(String::new(), |all, line| all + " " + line)
        ));
        answer
    }

    fn answer_to(&mut self, line: &str) -> Answer {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        let mut parts = path.trim_start_matches('/').split('/');
        let (stream, what) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if stream == "scope" {
            return self.scope();
        }
        let Some(stream) = STREAMS.iter().position(|name| *name == stream) else { return Answer::of(404, "{}") };
        if what == "one" {
            let key = parts.next().and_then(|key| key.parse().ok()).unwrap_or(0);
            return self.one(stream, key);
        }
        let of = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let number = |name: &str| of(name).and_then(|value| value.parse::<i64>().ok());
        let value = number("v").map_or(0, |value| usize::try_from(value - 1).unwrap_or(0));
        if what == "gone" {
            return self.gone(stream, value);
        }
        let first = match self.shapes[stream].kind {
            Kind::Number => Some("1"),
            Kind::Offset | Kind::Keyset => Some("0"),
            _ => None,
        };
        let at = of("at").filter(|at| Some(at.as_str()) != first);
        let mode = usize::from(what == "changes");
        self.list(&Ask { stream, mode, value, window: number("from").zip(number("to")), at })
    }

    /// Answers what is in sight: a group of all, and one for each person that is not.
    fn scope(&self) -> Answer {
        let hidden = self.people.iter().filter(|(_, person)| person.hidden);
        let groups: String = hidden.map(|(key, _)| format!(r#",{{"id":"all but {key}"}}"#)).collect();
        Answer::of(200, &format!(r#"{{"rows":[{{"id":"all"}}{groups}]}}"#))
    }

    /// Answers who is gone.
    fn gone(&mut self, stream: usize, value: usize) -> Answer {
        let of = |person: &Person| person.stream == stream && person.value == value && !person.there;
        let gone: Vec<u32> = self.people.iter().filter(|(_, person)| of(person)).map(|(key, _)| *key).collect();
        self.told_gone.extend(&gone);
        let rows: Vec<String> = gone.iter().map(|key| format!(r#"{{"id":{key}}}"#)).collect();
        Answer::of(200, &format!(r#"{{"rows":[{}]}}"#, rows.join(",")))
    }

    fn list(&mut self, ask: &Ask) -> Answer {
        self.first.entry(ask.stream).or_insert((ask.value, ask.at.is_none()));
        self.page = Some((ask.stream, ask.mode, ask.value));
        if let Some(token) = ask.at.as_ref().filter(|_| self.shapes[ask.stream].kind.leads())
            && self.epoch_of(token) != Some(self.epoch)
        {
            return Answer::of(self.gone_status, "{}");
        }
        if ask.at.is_none() && ask.value == 0 {
            self.begin(ask);
        }
        let mut draft = self.draft(ask);
        let fault = self.spoil(ask, &mut draft);
        if let Some(fault) = fault {
            self.note_fault(&fault);
        }
        if let Some(instead) = draft.instead.take() {
            return instead;
        }
        let shown = self.shown(ask, &draft);
        let answer = self.written(ask, &draft);
        // What did not arrive was not shown.
        if !draft.broken
            && !draft.torn
            && let Some(read) = &mut self.ledgers[ask.stream].reads[ask.mode]
        {
            read.add(ask.value, ask.at.as_deref(), shown);
        }
        answer
    }

    /// Begins a read, and with that ends the one before if it was complete.
    fn begin(&mut self, ask: &Ask) {
        if let Some(read) = self.ledgers[ask.stream].close(ask.mode, false) {
            self.conclude(ask.stream, &read);
        }
        let there = self.seen_of(ask.stream);
        let read = Reading::begin(self.values, self.happened, there, ask.window);
        self.ledgers[ask.stream].reads[ask.mode] = Some(read);
    }

    /// Returns all rows that a list has now, in the order in which they are shown.
    fn rows(&self, ask: &Ask) -> Vec<u32> {
        let wanted = |key: &u32| {
            let person = &self.people[key];
            let in_window = ask.window.is_none_or(|(from, to)| (from..=to).contains(&person.stamp));
            person.value == ask.value && in_window
        };
        let mut keys: Vec<u32> = self.seen_of(ask.stream).into_iter().filter(wanted).collect();
        if self.shapes[ask.stream].newest_first {
            keys.reverse();
        }
        if let Some(seed) = self.shuffle {
            keys.sort_by_key(|key| {
                let mut hasher = DefaultHasher::new();
                (seed, self.asked, key).hash(&mut hasher);
                hasher.finish()
            });
        }
        keys
    }

    /// Returns the page as it should be.
    fn draft(&self, ask: &Ask) -> Draft {
        let shape = &self.shapes[ask.stream];
        let all = self.rows(ask);
        let place: usize = match (&ask.at, shape.kind.leads()) {
            (None, _) => 0,
            (Some(at), true) => at.split_once('.').and_then(|(_, place)| place.parse().ok()).unwrap_or(0),
            (Some(at), false) => at.parse().unwrap_or(0),
        };
        let by_key = shape.kind == Kind::Keyset || (shape.kind.leads() && shape.by_key);
        let begin = match shape.kind {
            _ if ask.at.is_none() => 0,
            Kind::Number => place.saturating_sub(1) * shape.size,
            _ if by_key => {
                let is_before = |key: &&u32| {
                    let key = **key as usize;
                    if shape.newest_first { key >= place } else { key <= place }
                };
                all.iter().take_while(is_before).count()
            }
            _ => place,
        };
        let size = if shape.kind == Kind::Single { all.len() } else { shape.size };
        let keys: Vec<u32> = all.iter().skip(begin).take(size).copied().collect();
        let more = all.len() > begin + keys.len();
        let place = match keys.last() {
            Some(last) if by_key => *last as usize,
            _ => begin + keys.len(),
        };
        let next = (more && shape.kind.leads()).then(|| self.token(place));
        let rows = keys.iter().map(|key| self.row(*key)).collect();
        let total = i64::try_from(all.len()).unwrap_or(0);
        Draft { rows, next, told: Told::Right, more, total, doubtful: false, instead: None, broken: false, torn: false }
    }

    pub(super) fn row(&self, key: u32) -> Row {
        let content = self.people[&key].content;
        Row { key: Some(key), name: format!("N{key}.{content}"), content: Some(content) }
    }

    pub(super) fn token(&self, place: usize) -> String {
        format!("t{}.{place}", self.epoch)
    }

    fn epoch_of(&self, token: &str) -> Option<u32> {
        token.strip_prefix('t')?.split_once('.')?.0.parse().ok()
    }

    /// Returns whether the page before is as full as one is that has another behind it.
    fn is_behind_full(&self, ask: &Ask) -> bool {
        let read = self.ledgers[ask.stream].reads[ask.mode].as_ref();
        let Some((last, before)) = read.and_then(|read| read.chain(ask.value)?.pages.split_last()) else {
            return false;
        };
        let size = i64::try_from(self.shapes[ask.stream].size).unwrap_or(i64::MAX);
        let largest = before.iter().map(|page| page.count).max().unwrap_or(size);
        last.next == ask.at && last.count > 0 && last.count >= size.min(largest)
    }

    /// Returns what of a page goes into the ledger.
    fn shown(&self, ask: &Ask, draft: &Draft) -> Shown {
        let shape = &self.shapes[ask.stream];
        let thin = shape.detail.is_some();
        let rows: Vec<(u32, Option<u32>)> =
            draft.rows.iter().filter_map(|row| Some((row.key?, row.content.filter(|_| !thin)))).collect();
        let count = draft.rows.len();
        let place = || ask.at.as_ref().and_then(|at| at.parse::<usize>().ok());
        let next = match shape.kind {
            Kind::Single => None,
            Kind::Number if count == 0 => ask.at.clone(),
            Kind::Number => Some((place().unwrap_or(1) + 1).to_string()),
            Kind::Offset => Some((place().unwrap_or(0) + count).to_string()),
            Kind::Keyset => match rows.last() {
                Some((key, _)) => Some(key.to_string()),
                None => ask.at.clone(),
            },
            _ => draft.next.clone().filter(|_| draft.told == Told::Right),
        };
        let said_more = shape.more && draft.more;
        // Behind a full page an empty one is asked for twice by whoever reads with care.
        let once = count == 0 && !shape.kind.leads() && self.is_behind_full(ask);
        let ended = match shape.kind {
            Kind::Single => true,
            _ if once => false,
            kind if kind.leads() => next.is_none() && draft.told != Told::OtherHost,
            _ => (count == 0 && !said_more) || (shape.more && !draft.more) || (shape.short && count < shape.size),
        };
        // A full page that says nothing of another, or an empty one where more was promised, may not be the last.
        let silent = shape.kind.leads() && draft.next.is_none() && !shape.tells_end;
        let unproved = silent && (count >= shape.size || (count == 0 && ask.at.is_some()));
        let disordered = shape.kind == Kind::Keyset && !rows.is_sorted();
        let leads_to_itself = shape.kind.leads() && next.is_some() && next == ask.at;
        Shown {
            rows,
            next,
            ended,
            unproved,
            absurd: disordered || (leads_to_itself && count > 0),
            doubtful: draft.doubtful,
            total: shape.total.then_some(draft.total),
            count: i64::try_from(count).unwrap_or(0),
            gone: BTreeSet::new(),
        }
    }

    /// Returns a page as it is sent.
    fn written(&self, ask: &Ask, draft: &Draft) -> Answer {
        let shape = &self.shapes[ask.stream];
        let rows: Vec<String> = draft.rows.iter().map(|row| written_row(row, shape.detail.is_some())).collect();
        let mut body = format!(r#"{{"rows":[{}]"#, rows.join(","));
        if shape.total {
            write!(body, r#","total":{}"#, draft.total).ok();
        }
        if shape.more {
            write!(body, r#","more":{}"#, draft.more).ok();
        }
        let next = match draft.told {
            Told::Right => draft.next.as_ref().map(|token| self.place(ask, token)),
            Told::Nothing => None,
            Told::EmptyText => Some(String::new()),
            Told::OtherHost => Some("http://other.example/next".to_owned()),
        };
        let mut headers = String::new();
        let ends = next.is_none() && draft.told == Told::Right && shape.tells_end;
        match (shape.kind, next) {
            (Kind::Token | Kind::Next, Some(next)) => write!(body, r#","next":"{next}""#).unwrap_or_default(),
            (Kind::Token | Kind::Next, None) if ends => body += r#","next":null"#,
            (Kind::Link, Some(next)) => headers = format!("link: <{next}>; rel=\"next\"\r\n"),
            (Kind::Link, None) if ends => headers = "link: </>; rel=\"first\"\r\n".to_owned(),
            (Kind::Header, Some(next)) => headers = format!("x-next: {next}\r\n"),
            (Kind::Header, None) if ends => headers = "x-next: end\r\n".to_owned(),
            _ => {}
        }
        body += "}";
        let mut body = body.into_bytes();
        body.iter_mut().filter(|byte| **byte == GARBLED as u8).for_each(|byte| *byte = 0xff);
        if draft.torn {
            body.truncate(body.len() / 2);
        }
        let sent = draft.broken.then_some(body.len() / 2);
        Answer { status: 200, headers, body, sent }
    }

    /// Returns how the place of a page is told: by itself, or by a link to it.
    fn place(&self, ask: &Ask, token: &str) -> String {
        if !matches!(self.shapes[ask.stream].kind, Kind::Next | Kind::Link) {
            return token.to_owned();
        }
        let mode = if ask.mode == 0 { "all" } else { "changes" };
        let window = ask.window.map_or(String::new(), |(from, to)| format!("from={from}&to={to}&"));
        format!("/{}/{mode}?{window}v={}&at={token}", STREAMS[ask.stream], ask.value + 1)
    }

    /// Answers with the details of somebody.
    fn one(&mut self, stream: usize, key: u32) -> Answer {
        let seen = self.people.get(&key).is_some_and(|person| person.stream == stream && self.is_seen(person));
        let fault = self.spoil_one();
        let answer = match (seen, self.people.get(&key).and_then(|person| person.refused), fault) {
            (_, _, Some(answer)) => answer,
            (true, None, None) => Answer::of(200, &written_row(&self.row(key), false)),
            (true, Some(status), None) => Answer::of(status, "{}"),
            (false, ..) => Answer::of(404, "{}"),
        };
        let well = answer.status == 200 && answer.body == written_row_of(self, key).into_bytes();
        let missing_ok = self.shapes[stream].detail.is_some_and(|detail| detail.missing_ok);
        let is_gone = missing_ok && answer.status == 404;
        let content = self.people.get(&key).map(|person| person.content);
        let page = match self.page {
            Some((stream, mode, value)) => {
                self.ledgers[stream].reads[mode].as_mut().and_then(|read| read.newest(value))
            }
            None => None,
        };
        match page.filter(|page| page.rows.iter().any(|(shown, _)| *shown == key)) {
            Some(page) if well => {
                page.rows.iter_mut().filter(|(shown, _)| *shown == key).for_each(|row| row.1 = content);
                page.gone.remove(&key);
            }
            // One that is refused in another way is set aside and asked for again: it says nothing of the list.
            Some(page) if is_gone => _ = page.gone.insert(key),
            Some(_) => {}
            None if well => self.given.extend(content.map(|content| (key, content))),
            None => {}
        }
        answer
    }
}

fn written_row_of(provider: &Provider, key: u32) -> String {
    if provider.people.contains_key(&key) { written_row(&provider.row(key), false) } else { String::new() }
}

fn written_row(row: &Row, thin: bool) -> String {
    let key = row.key.map_or("null".to_owned(), |key| key.to_string());
    if thin { format!(r#"{{"id":{key}}}"#) } else { format!(r#"{{"id":{key},"name":"{}"}}"#, row.name) }
}
