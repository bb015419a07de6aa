//! Proves who calls: static keys, OAuth token requests, and logins with a session token.

use std::time::Duration;

use serde_json::{Value, json};

use super::token::Token;
use super::values::{Values, encoded};
use super::{Connector, Failure};
use crate::base64::{self, Alphabet};
use crate::domain::json;
use crate::domain::manifest::{Auth, ClientIn, Grant, Jwt, Login, Method, Oauth, TokenAt};
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::http::{Request, Response};
use crate::mutants;
use crate::secrets::{Secret, sign_rs256};

/// The most bytes of a token answer.
pub(super) const TOKEN_BYTES: u64 = 1 << 20;
/// A token is renewed when this share of its life is over.
const RENEW_AT: f64 = 0.9;

impl Connector<'_> {
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
                        assert!(!mutants::on("panic-with-secret"), "{name} is {value}");
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

    /// Returns the part of the authentication in force that gets a token, if there is one.
    pub(super) fn token_source(&self) -> Result<Option<Source<'_>>, Failure> {
        token_source(&self.manifest.http.auth, self)
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

    /// Makes a token request (RFC 6749). Returns the token, and the refresh token that takes the place of the one used.
    pub(super) fn oauth(&self, oauth: &Oauth) -> Result<(Token, Option<(Name, Secret)>), Failure> {
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
        let response = self.send_for_token(&request, oauth.refresh_token.as_ref())?;
        let mut answer =
            json::first_of(&response.body).ok_or_else(|| self.bad_token_answer(&request, "is not JSON"))?;
        let Some(text) = taken(&mut answer, "access_token") else {
            // Some say so with status 200.
            return Err(match answer.get("error") {
                Some(said) if matches!(said.as_str(), Some("temporarily_unavailable" | "server_error")) => {
                    let error = self.error(Exit::Unavailable, "provider_failing", &request, &response);
                    Failure::Stream(error.hint("it is tried again at the next sync"))
                }
                Some(said) if !said.is_null() => self.refused(&request, &response, oauth.refresh_token.as_ref()),
                _ => self.bad_token_answer(&request, "has no `access_token`"),
            });
        };
        let lifetime =
            answer.get("expires_in").and_then(|seconds| seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()));
        // A token that lives no time at all would be renewed for each request: it does not say.
        let lifetime = lifetime.filter(|seconds| *seconds > 0);
        mutants::point("token received");
        let rotated = taken(&mut answer, "refresh_token").zip(oauth.refresh_token.clone());
        let rotated = rotated.map(|(secret, name)| (name, secret)).filter(|(name, new)| {
            self.with_secrets(|secrets| secrets.get(name).is_none_or(|old| old.expose() != new.expose()))
        });
        Ok((token_for(lifetime.unwrap_or(u64::from(oauth.ttl.0)), text, answer), rotated))
    }

    /// Makes a login call.
    pub(super) fn login(&self, login: &Login) -> Result<Token, Failure> {
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
        let response = self.send_for_token(&request, None)?;
        let text = String::from_utf8_lossy(&response.body);
        let text = text.trim_start_matches('\u{feff}');
        let (token, answer) = match &login.token {
            TokenAt::Text => (unquoted(text.trim()), Value::Null),
            TokenAt::Path(path) => {
                let answer =
                    json::first_of(&response.body).ok_or_else(|| self.bad_token_answer(&request, "is not JSON"))?;
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
        Ok(token_for(u64::from(login.ttl.0), Secret::from(token), answer))
    }

    /// Refuses a token that no header can carry (RFC 9110 section 5.5): kept, it would fail every request for as long as it lives.
    pub(super) fn sendable(&self, token: &Secret) -> Result<(), Failure> {
        if token.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Ok(());
        }
        let message = format!("{} gave a token with characters that cannot be sent", self.manifest.title);
        Err(Failure::Stream(
            UserError::new(Exit::Unavailable, "bad_token_answer", message).hint("ask the provider, or try again later"),
        ))
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

    /// Sends a token request. A refusal is final; trouble on the way is tried again. `spent` names the refresh token that
    /// it spends.
    fn send_for_token(&self, request: &Request, spent: Option<&Name>) -> Result<Response, Failure> {
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
        Err(self.refused(request, &response, spent))
    }

    /// Returns the failure of a token request that was answered with a refusal.
    fn refused(&self, request: &Request, response: &Response, spent: Option<&Name>) -> Failure {
        let said = self.message_of(response).or_else(|| self.error_word(response));
        let said = said.map_or(String::new(), |said| format!(": {said}"));
        if let Some(name) = spent.filter(|_| matches!(response.status, 200 | 400 | 401) && !blames_client(response)) {
            // Good once: after it was lost between the provider and the database, no other try can help.
            let provider = &self.manifest.provider;
            let message = format!(
                "{} takes the stored `{name}` no more: it was revoked, or spent and its successor lost{said}",
                self.manifest.title
            );
            let hint = format!(
                "authorize the app there again, then set the new one: `skillsctl credential set ORG {provider} {name}`"
            );
            return Failure::Refused(UserError::new(Exit::Refused, "reauth_required", message).hint(hint));
        }
        Failure::Refused(
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
        )
    }

    /// Returns the error code of a token answer (RFC 6749 section 5.2).
    fn error_word(&self, response: &Response) -> Option<String> {
        let answer = json::first_of(&response.body)?;
        let word = |name: &str| answer[name].as_str().filter(|said| !said.is_empty());
        word("error_description").or_else(|| word("error")).map(|said| self.harmless(said))
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

/// What gets a token.
pub(super) enum Source<'m> {
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

/// Returns a token that is believed for most of the life it was given.
fn token_for(seconds: u64, text: Secret, answer: Value) -> Token {
    let got_at = crate::config::now();
    // A year is for ever.
    let life = Duration::from_secs(seconds.min(31_536_000)).mul_f64(RENEW_AT);
    Token { text, answer, got_at, expires_at: got_at + life }
}

/// Takes a secret out of an answer, if it has it.
fn taken(answer: &mut Value, member: &str) -> Option<Secret> {
    match answer.as_object_mut()?.remove(member) {
        Some(Value::String(text)) if !text.is_empty() => Some(Secret::from(text)),
        _ => None,
    }
}

/// Returns whether a token request was refused for the client, and not for what it gave (RFC 6749 section 5.2).
fn blames_client(response: &Response) -> bool {
    let answer = json::first_of(&response.body).unwrap_or_default();
    matches!(answer["error"].as_str(), Some("invalid_client" | "unauthorized_client" | "invalid_client_id"))
}

fn basic_header(user: &str, pass: &str) -> String {
    format!("Basic {}", base64::encode(Alphabet::Standard, format!("{user}:{pass}").as_bytes()))
}

/// Returns a text token without the JSON quotes that some servers put around it.
fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())
}
