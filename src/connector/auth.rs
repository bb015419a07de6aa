//! Proves who calls: static keys, OAuth token requests, and logins with a session token.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::values::{Values, encoded};
use super::{Connector, Failure};
use crate::base64::{self, Alphabet};
use crate::domain::manifest::{Auth, ClientIn, Grant, Jwt, Login, Method, Oauth, TokenAt};
use crate::error::{Exit, UserError};
use crate::http::{Request, Response};
use crate::mutants;
use crate::secrets::{Secret, sign_rs256};

/// The most bytes of a token answer.
const TOKEN_BYTES: u64 = 1 << 20;
/// A token is renewed when this share of its life is over.
const RENEW_AT: f64 = 0.9;

/// A token in use.
pub(super) struct Token {
    /// The token itself under `""`, and the fields of the answer it came in.
    text: Secret,
    answer: Value,
    expires: Instant,
}

impl Connector<'_> {
    /// Returns the token, or a field of the answer it came in.
    pub(super) fn token_value(&self, member: &str) -> Option<Value> {
        let token = self.lock_token();
        let token = token.as_ref()?;
        if member.is_empty() { Some(Value::from(token.text.expose())) } else { token.answer.get(member).cloned() }
    }

    /// Returns the token itself.
    pub(super) fn token_text(&self) -> Option<Secret> {
        self.lock_token().as_ref().map(|token| Secret::from(token.text.expose().to_owned()))
    }

    /// Gets a token if one is needed and the one at hand is missing or near its end. Calls at once share one request for
    /// it: a second one would spend the refresh token twice, or end the session of the first.
    pub(super) fn ensure_token(&self) -> Result<(), Failure> {
        let Some(source) = token_source(self.chosen(&self.manifest.http.auth)?, self)? else { return Ok(()) };
        let at_hand = || self.lock_token().as_ref().is_some_and(|token| token.expires > Instant::now());
        if at_hand() {
            return Ok(());
        }
        let _alone = self.lock_renewing();
        if at_hand() {
            return Ok(());
        }
        let token = match source {
            Source::Oauth(oauth) => self.oauth(oauth)?,
            Source::Login(login) => self.login(login)?,
        };
        *self.lock_token() = Some(token);
        Ok(())
    }

    /// Gives a request that was refused a new token, unless it carried an older one than there is by now. Returns false
    /// if there is no way to get one.
    pub(super) fn renew(&self, request: &mut Request, values: &Values<'_>) -> Result<bool, Failure> {
        let auth = &self.manifest.http.auth;
        if token_source(self.chosen(auth)?, self)?.is_none() {
            return Ok(false);
        }
        let mut carried = Request { url: request.url.clone(), headers: Vec::new(), body: None, ..*request };
        carried.url.set_query(None);
        {
            let _alone = self.lock_renewing();
            self.authorize(auth, &mut carried, values)?;
            let has = |part: &str| request.url.query().is_some_and(|query| query.split('&').any(|own| own == part));
            let same = carried.headers.iter().all(|header| request.headers.contains(header))
                && carried.url.query().is_none_or(|query| query.split('&').all(has));
            if same {
                *self.lock_token() = None;
            }
        }
        self.ensure_token()?;
        let named = |header: &str| carried.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header));
        request.headers.retain(|(name, _)| !named(name));
        let names: Vec<&str> =
            carried.url.query().into_iter().flat_map(|query| query.split('&')).map(name_of).collect();
        let kept = request.url.query().unwrap_or_default().split('&').filter(|part| !names.contains(&name_of(part)));
        let kept = kept.collect::<Vec<_>>().join("&");
        request.url.set_query((!kept.is_empty()).then_some(kept.as_str()));
        self.authorize(auth, request, values)?;
        Ok(true)
    }

    fn lock_renewing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.renewing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_token(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds what proves the caller to a request.
    pub(super) fn authorize(&self, auth: &Auth, request: &mut Request, values: &Values<'_>) -> Result<(), Failure> {
        match auth {
            Auth::None => {}
            Auth::Bearer(template) => {
                let token = values.text(template)?.unwrap_or_default();
                request.headers.push(("authorization".into(), format!("Bearer {token}")));
            }
            Auth::Basic(basic) => {
                let user = values.text(&basic.user)?.unwrap_or_default();
                let pass = values.text(&basic.pass)?.unwrap_or_default();
                request.headers.push(("authorization".into(), basic_header(&user, &pass)));
            }
            Auth::Header(pairs) => {
                for (name, template) in pairs.iter() {
                    if let Some(value) = values.text(template)? {
                        request.headers.push((name.clone(), value));
                    }
                }
            }
            Auth::Query(pairs) => {
                for (name, template) in pairs.iter() {
                    if let Some(value) = values.text(template)? {
                        request.url.query_pairs_mut().append_pair(name, &value);
                    }
                }
            }
            Auth::Oauth(_) => {
                let token = self.token_value("").map(|token| super::values::plain(&token)).unwrap_or_default();
                request.headers.push(("authorization".into(), format!("Bearer {token}")));
            }
            Auth::Login(login) => self.authorize(&login.carry, request, values)?,
            Auth::All(all) => {
                for auth in all {
                    self.authorize(auth, request, values)?;
                }
            }
            Auth::Choose(_) => self.authorize(self.chosen(auth)?, request, values)?,
        }
        Ok(())
    }

    /// Returns the branch that the settings choose.
    fn chosen<'m>(&self, auth: &'m Auth) -> Result<&'m Auth, Failure> {
        let Auth::Choose(choose) = auth else { return Ok(auth) };
        let picked = self.settings.get(choose.setting.as_str()).and_then(Value::as_str).unwrap_or_default();
        choose.of.get(picked).ok_or_else(|| {
            Failure::Stream(UserError::new(
                Exit::Invalid,
                "setting_missing",
                format!("the setting `{}` picks no way to log in", choose.setting),
            ))
        })
    }

    /// Makes a token request (RFC 6749).
    fn oauth(&self, oauth: &Oauth) -> Result<Token, Failure> {
        let values = self.values(None);
        let mut form: Vec<(&str, String)> = Vec::new();
        match oauth.grant {
            Grant::ClientCredentials => form.push(("grant_type", "client_credentials".into())),
            Grant::RefreshToken => {
                form.push(("grant_type", "refresh_token".into()));
                let name = oauth.refresh_token.as_ref().map(|name| format!("{{secret.{name}}}")).unwrap_or_default();
                form.push(("refresh_token", self.fill(&values, &name)?));
            }
            Grant::JwtBearer => {
                form.push(("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()));
                if let Some(jwt) = &oauth.jwt {
                    form.push(("assertion", self.assertion(jwt, &values)?));
                }
            }
        }
        let client_id = oauth.client_id.as_ref().map(|template| values.text(template)).transpose()?.flatten();
        let client_secret = oauth.client_secret.as_ref().map(|template| values.text(template)).transpose()?.flatten();
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        match oauth.client_in {
            ClientIn::Body => {
                form.extend(client_id.map(|id| ("client_id", id)));
                form.extend(client_secret.map(|secret| ("client_secret", secret)));
            }
            ClientIn::Basic => {
                headers.push((
                    "authorization".into(),
                    basic_header(&client_id.unwrap_or_default(), &client_secret.unwrap_or_default()),
                ));
            }
        }
        if let Some(scopes) = oauth.scopes.as_ref().map(|template| values.text(template)).transpose()?.flatten() {
            form.push(("scope", scopes));
        }
        for (name, template) in oauth.extra.iter() {
            if let Some(value) = values.text(template)? {
                form.push((name, value));
            }
        }
        for (name, template) in oauth.headers.iter() {
            if let Some(value) = values.text(template)? {
                headers.push((name.clone(), value));
            }
        }
        let body = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
        let request = self.token_request(
            &self.fill_template(&values, &oauth.token_url)?,
            headers,
            ("application/x-www-form-urlencoded", body.into_bytes()),
        )?;
        let response = self.send_for_token(&request)?;
        let answer: Value =
            serde_json::from_slice(&response.body).map_err(|_| self.bad_token_answer(&request, "is not JSON"))?;
        let token = answer.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let token =
            Secret::from(token.ok_or_else(|| self.bad_token_answer(&request, "has no `access_token`"))?.to_owned());
        let lifetime =
            answer.get("expires_in").and_then(|seconds| seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()));
        mutants::point("token received");
        self.keep_rotated(oauth, &answer)?;
        mutants::point("token kept");
        Ok(Token { text: token, answer, expires: Instant::now() + renewal(lifetime.unwrap_or(u64::from(oauth.ttl.0))) })
    }

    /// Stores a refresh token that the answer replaced, before the access token beside it is used.
    fn keep_rotated(&self, oauth: &Oauth, answer: &Value) -> Result<(), Failure> {
        let Some(name) = &oauth.refresh_token else { return Ok(()) };
        let Some(new) = answer.get("refresh_token").and_then(Value::as_str).filter(|new| !new.is_empty()) else {
            return Ok(());
        };
        let same = self.with_secrets(|secrets| secrets.get(name).is_some_and(|old| old.expose() == new));
        if same {
            return Ok(());
        }
        let new = Secret::from(new.to_owned());
        if !mutants::on("token-unsaved") {
            (self.rotate)(name, &new)
                .map_err(|error| Failure::Internal(error.context("storing the rotated refresh token")))?;
        }
        self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.clone(), new);
        Ok(())
    }

    /// Makes a login call.
    fn login(&self, login: &Login) -> Result<Token, Failure> {
        let values = self.values(None);
        let base = values.text(&self.manifest.http.base)?.unwrap_or_default();
        let url = format!("{}{}", base.trim_end_matches('/'), values.path(&login.post)?);
        let mut headers = vec![("accept".to_owned(), "application/json, text/plain".to_owned())];
        for (name, template) in login.headers.iter() {
            if let Some(value) = values.text(template)? {
                headers.push((name.clone(), value));
            }
        }
        let body = match &login.json {
            Some(json) => values.json(json)?.unwrap_or_default().to_string().into_bytes(),
            None => Vec::new(),
        };
        let request = self.token_request(&url, headers, ("application/json", body))?;
        let response = self.send_for_token(&request)?;
        let text = String::from_utf8_lossy(&response.body);
        let (token, answer) = match &login.token {
            TokenAt::Text => (unquoted(text.trim()), Value::Null),
            TokenAt::Path(path) => {
                let answer: Value =
                    serde_json::from_str(&text).map_err(|_| self.bad_token_answer(&request, "is not JSON"))?;
                (path.find(&answer).and_then(Value::as_str).unwrap_or_default().to_owned(), answer)
            }
        };
        let html = response.header("content-type").is_some_and(|kind| kind.contains("html"));
        if token.is_empty() || html {
            return Err(Failure::Refused(
                UserError::new(
                    Exit::Refused,
                    "credential_refused",
                    format!("{} refused the credential: its login answered without a token", self.manifest.title),
                )
                .hint(self.credential_hint()),
            ));
        }
        Ok(Token { text: Secret::from(token), answer, expires: Instant::now() + renewal(u64::from(login.ttl.0)) })
    }

    fn token_request(
        &self,
        url: &str,
        headers: Vec<(String, String)>,
        body: (&'static str, Vec<u8>),
    ) -> Result<Request, Failure> {
        let url: url::Url = url.parse().map_err(|_| {
            Failure::Stream(
                UserError::new(Exit::Invalid, "base_invalid", "the address for logging in is not valid")
                    .hint("check the URL settings with `skillsctl config show`"),
            )
        })?;
        let timeout = Duration::from_secs(u64::from(self.manifest.http.timeout.0));
        Ok(Request { method: Method::Post, url, headers, body: Some(body), timeout, limit: TOKEN_BYTES })
    }

    /// Sends a token request. A refusal is final; trouble on the way is tried again.
    fn send_for_token(&self, request: &Request) -> Result<Response, Failure> {
        let response = self.send_retrying(request, true, &mut |response, _| match response.status {
            200..=299 => super::errors::Verdict::Fine,
            408 | 425 | 429 | 500..=599 => super::errors::Verdict::Retry(None, None),
            _ => super::errors::Verdict::Fine,
        })?;
        if (200..=299).contains(&response.status) {
            return Ok(response);
        }
        if matches!(response.status, 300..=399 | 404 | 405) {
            let error = self.error(Exit::Unavailable, "login_not_found", request, &response);
            return Err(Failure::Stream(error.hint("check the address for logging in with `skillsctl config show`")));
        }
        let said = self.message_of(&response).map_or(String::new(), |said| format!(": {said}"));
        Err(Failure::Refused(
            UserError::new(
                Exit::Refused,
                "credential_refused",
                format!(
                    "{} refused the credential: {} answered {}{said}",
                    self.manifest.title,
                    request.shown(),
                    response.status
                ),
            )
            .hint(self.credential_hint()),
        ))
    }

    pub(super) fn credential_hint(&self) -> String {
        format!(
            "set it again with `skillsctl credential set ORG {} FIELD`, then try `skillsctl credential test`",
            self.manifest.provider
        )
    }

    fn bad_token_answer(&self, request: &Request, why: &str) -> Failure {
        Failure::Stream(
            UserError::new(Exit::Unavailable, "bad_token_answer", format!("the answer of {} {why}", request.shown()))
                .hint("check the URL settings with `skillsctl config show`"),
        )
    }

    fn fill_template(&self, values: &Values<'_>, template: &crate::domain::slot::Template) -> Result<String, Failure> {
        Ok(values.text(template)?.unwrap_or_default())
    }

    fn fill(&self, values: &Values<'_>, template: &str) -> Result<String, Failure> {
        let template = template.parse().map_err(|error: String| Failure::Internal(anyhow::anyhow!(error)))?;
        self.fill_template(values, &template)
    }

    /// Returns a JWT signed with RS256 (RFC 7519, RFC 7523): `exp` in seconds, a few minutes ahead.
    fn assertion(&self, jwt: &Jwt, values: &Values<'_>) -> Result<String, Failure> {
        let expires = self.provider_time(crate::config::now()).timestamp() + i64::from(jwt.ttl.0);
        let claims = json!({
            "iss": self.fill_template(values, &jwt.issuer)?, "sub": self.fill_template(values, &jwt.subject)?,
            "aud": self.fill_template(values, &jwt.audience)?, "exp": expires,
        });
        let part = |value: &Value| {
            base64::encode(Alphabet::Url, value.to_string().as_bytes()).trim_end_matches('=').to_owned()
        };
        let input = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&claims));
        let key = Secret::from(self.fill(values, &format!("{{secret.{}}}", jwt.key))?);
        let signature = sign_rs256(&key, input.as_bytes()).map_err(|error| match error.downcast::<UserError>() {
            Ok(error) => Failure::Refused(error),
            Err(error) => Failure::Internal(error),
        })?;
        Ok(format!("{input}.{}", base64::encode(Alphabet::Url, &signature).trim_end_matches('=')))
    }
}

enum Source<'m> {
    Oauth(&'m Oauth),
    Login(&'m Login),
}

/// Returns the part of the authentication that gets a token, if there is one.
fn token_source<'m>(auth: &'m Auth, connector: &Connector<'_>) -> Result<Option<Source<'m>>, Failure> {
    Ok(match auth {
        Auth::Oauth(oauth) => Some(Source::Oauth(oauth)),
        Auth::Login(login) => Some(Source::Login(login)),
        Auth::All(all) => {
            for auth in all {
                if let Some(source) = token_source(auth, connector)? {
                    return Ok(Some(source));
                }
            }
            None
        }
        Auth::Choose(_) => token_source(connector.chosen(auth)?, connector)?,
        _ => None,
    })
}

/// Returns the name in one part of a query.
fn name_of(part: &str) -> &str {
    part.split('=').next().unwrap_or_default()
}

fn renewal(seconds: u64) -> Duration {
    Duration::from_secs(seconds).mul_f64(RENEW_AT)
}

fn basic_header(user: &str, pass: &str) -> String {
    format!("Basic {}", base64::encode(Alphabet::Standard, format!("{user}:{pass}").as_bytes()))
}

/// Returns a text token without the JSON quotes that some servers put around it.
fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())
}
