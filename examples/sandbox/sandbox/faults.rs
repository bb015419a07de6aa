//! Faults that a service is told to have: wrong answers, late answers and no answers.

use std::time::Duration;

use super::http::{Delivery, Request, Response};
use super::service::Service;

#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The status with the body that the service gives with it, unless a body is given.
    Status(u16),
    /// 200 with a page of HTML to log in at.
    LoginPage,
    /// The right answer, cut off half-way.
    Truncated,
    /// 200 with nothing in it.
    Empty,
    /// The connection ends with no answer.
    Reset,
    /// The right answer, late.
    Delay(Duration),
    /// 302 to another address.
    Redirect(String),
}

/// A failure, and which requests meet it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    failure: Failure,
    body: Option<String>,
    headers: Vec<(String, String)>,
    times: usize,
    after: usize,
    path: Option<String>,
    account: Option<String>,
}

impl Fault {
    /// Returns a fault that the next request meets, once.
    pub(crate) fn new(failure: Failure) -> Fault {
        Fault { failure, body: None, headers: Vec::new(), times: 1, after: 0, path: None, account: None }
    }

    pub(crate) fn status(status: u16) -> Fault {
        Fault::new(Failure::Status(status))
    }

    pub(crate) fn body(mut self, body: &str) -> Fault {
        self.body = Some(body.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Fault {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says how many requests meet the fault.
    pub(crate) fn times(mut self, times: usize) -> Fault {
        self.times = times;
        self
    }

    /// Lets this many requests through first.
    pub(crate) fn after(mut self, requests: usize) -> Fault {
        self.after = requests;
        self
    }

    /// Limits the fault to paths, with query, that start so.
    pub(crate) fn on_path(mut self, prefix: &str) -> Fault {
        self.path = Some(prefix.to_owned());
        self
    }

    /// Limits the fault to requests with the credentials of one account.
    pub(crate) fn for_account(mut self, account: &str) -> Fault {
        self.account = Some(account.to_owned());
        self
    }

    fn meets(&self, request: &Request, account: Option<&str>) -> bool {
        self.path.as_deref().is_none_or(|prefix| request.target.starts_with(prefix))
            && self.account.as_deref().is_none_or(|wanted| account == Some(wanted))
    }

    /// Returns the answer under this fault, `right` being the one without it.
    pub(crate) fn answer(&self, service: Service, right: impl FnOnce() -> Response) -> Response {
        let mut response = match &self.failure {
            Failure::Status(status) => match &self.body {
                Some(body) => Response::new(*status, service.content_type(), body.as_str()),
                None => service.refusal(*status),
            },
            Failure::LoginPage => {
                let page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>";
                Response::new(200, "text/html; charset=utf-8", page)
            }
            Failure::Empty => Response::new(200, service.content_type(), ""),
            Failure::Redirect(to) => Response::empty(302).with("Location", to),
            Failure::Reset => Response { delivery: Delivery::Nothing, ..Response::empty(0) },
            Failure::Truncated => Response { delivery: Delivery::Half, ..right() },
            Failure::Delay(time) => {
                std::thread::sleep(*time);
                right()
            }
        };
        for (name, value) in &self.headers {
            response = response.with(name, value);
        }
        response
    }
}

/// The faults waiting for one service, in the order they were asked for.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Takes one turn of the first fault that the request meets.
    pub(crate) fn take(&mut self, request: &Request, account: Option<&str>) -> Option<Fault> {
        let at = self.0.iter().position(|fault| fault.meets(request, account))?;
        let fault = &mut self.0[at];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        let taken = fault.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            self.0.remove(at);
        }
        Some(taken)
    }
}
