//! Which secrets the chosen way of authentication needs, and which settings say where they are sent, found by walking slots.

use std::collections::{BTreeMap, BTreeSet};

use super::super::names::Name;
use super::super::settings::Effective;
use super::super::slot::{Scope, Slot, Template};
use super::{Auth, Manifest};

/// Whether a sync can do without a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The way of authentication that the settings choose does not read it.
    Unused,
    /// It is sent where it is set.
    Optional,
    /// No request can be sent without it.
    Required,
}

/// Returns for each secret of a manifest whether these settings need it.
pub(crate) fn secrets_needed<'m>(manifest: &'m Manifest, settings: &Effective) -> BTreeMap<&'m Name, Need> {
    let mut walk = Walk { settings, used: Vec::new() };
    let http = &manifest.http;
    walk.auth(&http.auth, Need::Required);
    walk.slots(http.headers.iter().flat_map(|(_, template)| template.slots()), Need::Required);
    for rotate in manifest.secrets.values().filter_map(|spec| spec.rotate.as_ref()) {
        walk.slots(rotate.headers.iter().flat_map(|(_, template)| template.slots()), Need::Optional);
        walk.slots(rotate.json.iter().flat_map(|json| json.slots()), Need::Optional);
    }
    let need = |(name, spec): (&'m Name, &super::SecretSpec)| {
        let uses = walk.used.iter().filter(|(used, _)| used == name.as_str()).map(|(_, need)| *need);
        let need = uses.max().unwrap_or(Need::Unused);
        (name, if spec.optional { need.min(Need::Optional) } else { need })
    };
    manifest.secrets.iter().map(need).collect()
}

/// Returns the secrets without which no request can be sent and that are not among those set.
pub(crate) fn secrets_missing<'m>(
    manifest: &'m Manifest,
    settings: &Effective,
    is_set: impl Fn(&Name) -> bool,
) -> Vec<&'m Name> {
    let needed = secrets_needed(manifest, settings).into_iter().filter(|(_, need)| *need == Need::Required);
    needed.map(|(name, _)| name).filter(|name| !is_set(name)).collect()
}

/// Returns the settings that the addresses are made of to which credentials are sent.
pub(crate) fn in_addresses(manifest: &Manifest) -> BTreeSet<&str> {
    fn called<'m>(auth: &'m Auth, found: &mut Vec<&'m Template>) {
        match auth {
            Auth::Oauth(oauth) => found.push(&oauth.token_url),
            Auth::Login(login) => found.push(&login.post),
            Auth::All(all) => all.iter().for_each(|auth| called(auth, found)),
            Auth::Choose(choose) => choose.of.iter().for_each(|(_, auth)| called(auth, found)),
            Auth::None | Auth::Bearer(_) | Auth::Basic(_) | Auth::Header(_) | Auth::Query(_) => {}
        }
    }
    let mut addresses = vec![&manifest.http.base];
    called(&manifest.http.auth, &mut addresses);
    let slots = addresses.into_iter().flat_map(|address| address.slots());
    slots.filter(|slot| slot.scope == Scope::Settings).map(|slot| slot.member.as_str()).collect()
}

struct Walk<'a> {
    settings: &'a Effective,
    used: Vec<(String, Need)>,
}

impl Walk<'_> {
    fn slots<'s>(&mut self, slots: impl Iterator<Item = &'s Slot>, need: Need) {
        let secrets = slots.filter(|slot| slot.scope == Scope::Secret);
        self.used.extend(
            secrets.map(|slot| (slot.member.clone(), if slot.optional { need.min(Need::Optional) } else { need })),
        );
    }

    fn auth(&mut self, auth: &Auth, need: Need) {
        match auth {
            Auth::None => {}
            Auth::Bearer(template) => self.slots(template.slots(), need),
            Auth::Basic(basic) => self.slots(basic.user.slots().chain(basic.pass.slots()), need),
            Auth::Header(pairs) | Auth::Query(pairs) => {
                self.slots(pairs.iter().flat_map(|(_, template)| template.slots()), need);
            }
            Auth::Oauth(oauth) => {
                let templates = [Some(&oauth.token_url), oauth.client_id.as_ref(), oauth.client_secret.as_ref()];
                self.slots(templates.into_iter().flatten().chain(&oauth.scopes).flat_map(|text| text.slots()), need);
                let pairs = oauth.extra.iter().chain(oauth.headers.iter());
                self.slots(pairs.flat_map(|(_, template)| template.slots()), need);
                self.used.extend(oauth.refresh_token.iter().map(|name| (name.to_string(), need)));
                if let Some(jwt) = &oauth.jwt {
                    self.used.push((jwt.key.to_string(), need));
                    self.slots(
                        [&jwt.issuer, &jwt.subject, &jwt.audience].into_iter().flat_map(|text| text.slots()),
                        need,
                    );
                }
            }
            Auth::Login(login) => {
                self.slots(login.post.slots(), need);
                self.slots(login.headers.iter().flat_map(|(_, template)| template.slots()), need);
                self.slots(login.json.iter().flat_map(|json| json.slots()), need);
                self.auth(&login.carry, need);
            }
            Auth::All(all) => all.iter().for_each(|auth| self.auth(auth, need)),
            Auth::Choose(choose) => {
                let chosen = self.settings.setting(choose.setting.as_str()).and_then(|value| value.as_str());
                match chosen.and_then(|chosen| choose.of.get(chosen)) {
                    Some(auth) => self.auth(auth, need),
                    // Nothing is chosen yet, so each of them may still be the one.
                    None => choose.of.iter().for_each(|(_, auth)| self.auth(auth, need.min(Need::Optional))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::{self, Block, Change, Overrides, SettingKey};
    use super::*;

    const MANIFEST: &str = r#"
provider: demo
revision: 1
kind: crm
title: Demo
settings:
  auth: {type: enum, values: [key, app, login], default: key}
secrets:
  api_key: {title: Key}
  hint: {title: Hint}
  client_id: {title: Id}
  client_secret: {title: Secret, optional: true}
  private_key: {title: Private key}
  password: {title: Password}
  trace: {title: Trace}
http:
  base: https://demo.example
  headers: {X-Trace: "{secret.trace?}"}
  auth:
    choose:
      setting: auth
      of:
        key: {all: [{header: {X-Key: "{secret.api_key}", X-Hint: "{secret.hint?}"}}]}
        app:
          oauth:
            grant: jwt_bearer
            token_url: https://demo.example/token
            client_id: "{secret.client_id}"
            client_secret: "{secret.client_secret}"
            jwt: {issuer: "{secret.client_id}", subject: a, audience: b, key: private_key}
        login:
          login: {post: /login, json: {password: "{secret.password}"}, token: text, ttl: 1h, use: {bearer: "{token}"}}
streams:
  people: {key: id, records: "[]", full: {get: /people}}
"#;

    fn needs(auth: Change) -> String {
        let manifest = super::super::load("demo.yaml", MANIFEST).unwrap();
        let key: SettingKey = "auth".parse().unwrap();
        let overrides = Overrides::from([(key, auth)]);
        let settings = settings::merge(&settings::built_in(&manifest), &Block::new(), 1, &overrides);
        let words = secrets_needed(&manifest, &settings).into_iter().map(|(name, need)| format!("{name} {need:?}"));
        words.filter(|word| !word.ends_with("Unused")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_the_chosen_way_of_authentication_needs_its_secrets() {
        let set = |word: &str| needs(Change::Set(word.into()));
        assert_eq!(set("key"), "api_key Required, hint Optional, trace Optional");
        assert_eq!(set("app"), "client_id Required, client_secret Optional, private_key Required, trace Optional");
        assert_eq!(set("login"), "password Required, trace Optional");
    }

    #[test]
    fn while_nothing_is_chosen_nothing_is_required() {
        assert!(!needs(Change::Unset).contains("Required"));
    }

    #[test]
    fn every_setting_that_an_address_is_made_of_is_known() {
        let text = MANIFEST
            .replace("default: key}", "default: key}\n  region: {}\n  tokens: {}\n  way: {}\n  other: {}")
            .replace("base: https://demo", "base: https://{settings.region}.demo")
            .replace("token_url: https://demo.example/token", "token_url: \"https://{settings.tokens}/token\"")
            .replace("post: /login", "post: \"/{settings.way}\"")
            .replace("get: /people", "get: \"/{settings.other}\"");
        let manifest = super::super::load("demo.yaml", &text).unwrap();
        assert_eq!(in_addresses(&manifest).into_iter().collect::<Vec<_>>(), ["region", "tokens", "way"]);
    }

    #[test]
    fn what_is_missing_is_required_and_not_set() {
        let manifest = super::super::load("demo.yaml", MANIFEST).unwrap();
        let settings = settings::merge(&settings::built_in(&manifest), &Block::new(), 1, &Overrides::new());
        let missing = |set: &[&str]| {
            let missing = secrets_missing(&manifest, &settings, |name| set.contains(&name.as_str()));
            missing.into_iter().map(Name::to_string).collect::<Vec<_>>()
        };
        assert_eq!(missing(&[]), ["api_key"]);
        assert!(missing(&["api_key"]).is_empty());
    }
}
