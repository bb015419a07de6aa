//! Builds requests: where they go, with what query, headers and body.

use std::time::Duration;

use super::values::{Values, encoded};
use super::{Connector, Failure};
use crate::domain::manifest::{Method, Ordered, Read};
use crate::domain::slot::{JsonTemplate, Template};
use crate::error::{Exit, UserError};
use crate::http::Request;

impl Connector<'_> {
    /// Returns the GET request of a path below the base.
    pub(super) fn request_get(
        &self,
        path: &Template,
        query: &Ordered<Template>,
        values: &Values<'_>,
    ) -> Result<Request, Failure> {
        self.ensure_token()?;
        let url = self.url(&values.path(path)?, &[query, &self.manifest.http.query], values)?;
        self.finish(Method::Get, url, &Ordered::default(), None, values)
    }

    /// Returns the DELETE request of a path below the base.
    pub(super) fn request_delete(&self, path: &Template, values: &Values<'_>) -> Result<Request, Failure> {
        let request = self.request_get(path, &Ordered::default(), values)?;
        Ok(Request { method: Method::Delete, ..request })
    }

    /// Returns the POST request of a path below the base.
    pub(super) fn request_post(
        &self,
        path: &Template,
        headers: &Ordered<Template>,
        json: Option<&JsonTemplate>,
        values: &Values<'_>,
    ) -> Result<Request, Failure> {
        self.ensure_token()?;
        let url = self.url(&values.path(path)?, &[&self.manifest.http.query], values)?;
        let body = match json {
            Some(json) => values.json(json)?.unwrap_or_default().to_string().into_bytes(),
            None => Vec::new(),
        };
        self.finish(Method::Post, url, headers, Some(("application/json", body)), values)
    }

    /// Returns the request of a read, at the position the values say.
    pub(super) fn request_read(&self, read: &Read, values: &Values<'_>) -> Result<Request, Failure> {
        self.ensure_token()?;
        let path = read.path().map(|path| values.path(path)).transpose()?.unwrap_or_default();
        let url = self.url(&path, &[&read.query, &self.manifest.http.query], values)?;
        let body = if let Some(json) = &read.json {
            let json = values.json(json)?.unwrap_or_default();
            Some(("application/json", json.to_string().into_bytes()))
        } else if read.form.0.is_empty() {
            (read.method() == Method::Post).then(|| ("application/json", Vec::new()))
        } else {
            Some(("application/x-www-form-urlencoded", pairs(&read.form, values)?.into_bytes()))
        };
        self.finish(read.method(), url, &read.headers, body, values)
    }

    /// Returns the request of a link that an answer gave: on the same origin, or not at all.
    pub(super) fn request_link(&self, link: &str, read: &Read, values: &Values<'_>) -> Result<Request, Failure> {
        self.ensure_token()?;
        let base = self.base(values)?;
        let bad = |why: &str| {
            Failure::Stream(
                UserError::new(Exit::Unavailable, "foreign_link", format!("the link to the next page {why}"))
                    .hint("credentials are sent to the provider's own address only; check `api_url`"),
            )
        };
        let url = base.join(link).map_err(|_| bad("is not a URL"))?;
        if url.origin() != base.origin() {
            return Err(bad(&format!("leads to another address, {}", url.origin().ascii_serialization())));
        }
        self.finish(Method::Get, url, &read.headers, None, values)
    }

    /// Returns a link that an answer gave without the parameters that log in: it is stored, and they are put in again when it is
    /// followed.
    pub(super) fn without_credentials(&self, link: &str) -> String {
        let Some((path, query)) = link.split_once('?') else { return link.to_owned() };
        let names = self.manifest.http.auth.query_names();
        let is_other = |pair: &&str| {
            let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
            !name.is_some_and(|name| names.contains(&name.as_str()))
        };
        let others: Vec<&str> = query.split('&').filter(is_other).collect();
        if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
    }

    /// Returns the base address.
    pub(super) fn base(&self, values: &Values<'_>) -> Result<url::Url, Failure> {
        let base = values.text(&self.manifest.http.base)?.unwrap_or_default();
        base.parse().map_err(|_| {
            Failure::Stream(
                UserError::new(
                    Exit::Invalid,
                    "base_invalid",
                    format!("`{}` is not an address that can be called", self.harmless(&base)),
                )
                .hint("check `api_url` with `skillsctl config show`"),
            )
        })
    }

    fn url(&self, path: &str, queries: &[&Ordered<Template>], values: &Values<'_>) -> Result<url::Url, Failure> {
        let base = self.base(values)?;
        let path = if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut url = base.clone();
        let joined = format!("{}{path}", base.path().trim_end_matches('/'));
        let (joined, inline_query) =
            joined.split_once('?').map_or((joined.as_str(), None), |(path, query)| (path, Some(query)));
        url.set_path(joined);
        let mut query = inline_query.map(str::to_owned).into_iter().collect::<Vec<_>>();
        for pairs_of in queries {
            query.push(pairs(pairs_of, values)?);
        }
        query.retain(|part| !part.is_empty());
        url.set_query(if query.is_empty() { None } else { Some(query.join("&")) }.as_deref());
        Ok(url)
    }

    fn finish(
        &self,
        method: Method,
        url: url::Url,
        headers: &Ordered<Template>,
        body: Option<(&'static str, Vec<u8>)>,
        values: &Values<'_>,
    ) -> Result<Request, Failure> {
        let http = &self.manifest.http;
        let mut filled = vec![("accept".to_owned(), "application/json".to_owned())];
        for (name, template) in http.headers.iter().chain(headers.iter()) {
            if let Some(value) = values.text(template)? {
                filled.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                filled.push((name.clone(), value));
            }
        }
        let mut request = Request {
            method,
            url,
            headers: filled,
            body,
            timeout: Duration::from_secs(u64::from(http.timeout.0)),
            limit: http.page_bytes,
        };
        self.authorize(&http.auth, &mut request, values)?;
        Ok(request)
    }
}

/// Returns pairs as a query or form. An entry whose only slot is optional and empty is left out.
pub(super) fn pairs(pairs: &Ordered<Template>, values: &Values<'_>) -> Result<String, Failure> {
    let mut written = Vec::new();
    for (name, template) in pairs.iter() {
        if let Some(value) = values.text(template)? {
            // Names such as `$filter` are sent as they are written: not every server decodes them.
            written.push(format!("{name}={}", encoded(&value)));
        }
    }
    Ok(written.join("&"))
}
