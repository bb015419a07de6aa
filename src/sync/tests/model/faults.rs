//! What is wrong with answers, and which of it anybody who reads with care can notice.

use super::people::Provider;
use super::plan::{DetailFault, Fault, Happening, Kind};
use super::serve::{Answer, Ask, Draft, GARBLED, Row, Told};

/// An error with status 200: beside rows, or instead.
const ERRORS: [&str; 3] =
    [r#"{"status":"error","rows":[]}"#, r#"{"error":"busy"}"#, r#"{"error":{"code":7},"rows":[]}"#];

impl Provider {
    /// Spoils a page by the first fault that is due and can be put in. Returns which that is.
    pub(super) fn spoil(&mut self, ask: &Ask, draft: &mut Draft) -> Option<Fault> {
        let now = self.asked - 1;
        for position in 0..self.due.len() {
            let (at, Happening::Fault(fault)) = self.due[position].clone() else { continue };
            if at <= now && self.put_in(&fault, ask, draft) {
                self.due.remove(position);
                return Some(fault);
            }
        }
        None
    }

    pub(super) fn note_fault(&mut self, fault: &Fault) {
        let shown = format!("{fault:?}");
        let name = shown.split('(').next().unwrap_or_default().to_owned();
        *self.spoiled.entry(name).or_default() += 1;
        self.journal.push(format!("  at {}: {shown}", self.asked - 1));
    }

    /// Puts a fault into a page. Returns whether that can be.
    fn put_in(&mut self, fault: &Fault, ask: &Ask, draft: &mut Draft) -> bool {
        let kind = self.shapes[ask.stream].kind;
        match fault {
            Fault::RepeatRow => {
                let Some(row) = self.before(ask).pop() else { return false };
                if draft.rows.is_empty() {
                    return false;
                }
                draft.rows[0] = row;
            }
            Fault::RepeatPage => {
                let rows = self.before(ask);
                if rows.is_empty() || draft.rows.is_empty() {
                    return false;
                }
                draft.rows = rows;
            }
            Fault::Shuffle(seed) => {
                self.shuffle = Some(*seed);
                return true;
            }
            Fault::EmptyPromised | Fault::EmptyEnd | Fault::EmptyNext => return self.empty(fault, ask, draft),
            Fault::ErrorIn200(form) => draft.instead = Some(Answer::of(200, ERRORS[*form])),
            Fault::NoNext => {
                if draft.next.is_none() {
                    return false;
                }
                draft.told = Told::Nothing;
                draft.doubtful = true;
            }
            Fault::CutRow => return draft.rows.pop().is_some(),
            Fault::Status(status) => draft.instead = Some(Answer::of(*status, if *status == 204 { "" } else { "{}" })),
            Fault::Broken => draft.broken = true,
            Fault::Torn => draft.torn = true,
            Fault::Expire(status) => {
                if !kind.leads() {
                    return false;
                }
                self.epoch += 1;
                self.gone_status = *status;
                draft.next =
                    draft.next.take().and_then(|token| Some(format!("t{}.{}", self.epoch, token.split_once('.')?.1)));
                if ask.at.is_some() {
                    draft.instead = Some(Answer::of(*status, "{}"));
                }
            }
            Fault::Foreign => {
                if draft.next.is_none() || !matches!(kind, Kind::Next | Kind::Link) {
                    return false;
                }
                draft.told = Told::OtherHost;
            }
            Fault::LoopBack => {
                if draft.next.is_none() || ask.at.is_none() {
                    return false;
                }
                draft.next.clone_from(&ask.at);
            }
            Fault::Keyless => {
                let Some(row) = draft.rows.first_mut() else { return false };
                (row.key, row.content, draft.doubtful) = (None, None, true);
            }
            Fault::Garbled => {
                let Some(row) = draft.rows.first_mut().filter(|_| self.shapes[ask.stream].detail.is_none()) else {
                    return false;
                };
                row.name.push(GARBLED);
                (row.content, draft.doubtful) = (None, true);
            }
            Fault::WrongTotal(_) if !self.shapes[ask.stream].total => return false,
            Fault::WrongTotal(by) => draft.total += by,
            Fault::Park => {
                let headers = "retry-after: 900\r\n".to_owned();
                draft.instead = Some(Answer { headers, ..Answer::of(429, "{}") });
            }
            Fault::Detail(_) => return false,
        }
        true
    }

    /// Empties a page.
    fn empty(&self, fault: &Fault, ask: &Ask, draft: &mut Draft) -> bool {
        let shape = &self.shapes[ask.stream];
        let keyed = matches!(shape.kind, Kind::Offset | Kind::Keyset);
        let possible = match fault {
            Fault::EmptyPromised => shape.kind.leads() || (shape.more && keyed),
            Fault::EmptyNext => shape.kind.leads_in_body(),
            _ => shape.kind != Kind::Single,
        };
        if draft.rows.is_empty() || !possible {
            return false;
        }
        draft.rows.clear();
        match fault {
            Fault::EmptyPromised => {
                draft.more = true;
                // It begins where this page should have begun.
                let here = || self.token(if shape.by_key && shape.newest_first { usize::MAX } else { 0 });
                draft.next = shape.kind.leads().then(|| ask.at.clone().unwrap_or_else(here));
            }
            // On a first page it is how some say that there is nothing.
            Fault::EmptyNext => (draft.told, draft.doubtful) = (Told::EmptyText, ask.at.is_some()),
            _ => (draft.next, draft.more) = (None, false),
        }
        true
    }

    /// Returns the rows of the page before.
    fn before(&self, ask: &Ask) -> Vec<Row> {
        let Some(at) = &ask.at else { return Vec::new() };
        let read = self.ledgers[ask.stream].reads[ask.mode].as_ref();
        let chain = read.and_then(|read| read.chain(ask.value));
        let page = chain.and_then(|chain| chain.pages.iter().rfind(|page| page.next.as_ref() == Some(at)));
        let keys = page.into_iter().flat_map(|page| &page.rows).map(|(key, _)| *key);
        keys.filter(|key| self.is_seen(&self.people[key])).map(|key| self.row(key)).collect()
    }

    /// Returns what is answered to a request for details, if a fault is due.
    pub(super) fn spoil_one(&mut self) -> Option<Answer> {
        let now = self.asked - 1;
        let is_due = |(at, happening): &(usize, Happening)| {
            *at <= now && matches!(happening, Happening::Fault(Fault::Detail(_)))
        };
        let position = self.due.iter().position(is_due)?;
        let Some((_, Happening::Fault(Fault::Detail(fault)))) = self.due.remove(position) else { return None };
        self.note_fault(&Fault::Detail(fault));
        Some(match fault {
            DetailFault::Status(status) => Answer::of(status, if status == 204 { "" } else { "{}" }),
            DetailFault::Other => Answer::of(200, r#"{"id":999,"name":"X"}"#),
            DetailFault::ErrorIn200 => Answer::of(200, r#"{"error":"busy"}"#),
        })
    }
}
