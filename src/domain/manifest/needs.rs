//! Which credential fields an organization needs: all that are not optional, but for those of ways in it did not choose.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Auth, Manifest, SecretSpec};
use crate::domain::names::Name;
use crate::domain::settings::Effective;
use crate::domain::slot::{Scope, Template};

impl Manifest {
    /// Returns the credential fields that have to be set before a sync can start under these settings.
    pub(crate) fn secrets_needed(&self, settings: &Effective) -> Vec<(&Name, &SecretSpec)> {
        let mut used = Used::default();
        used.walk(&self.http.auth, true, settings);
        let unused = |name: &Name| used.elsewhere.contains(name.as_str()) && !used.here.contains(name.as_str());
        self.secrets.iter().filter(|(name, spec)| !spec.optional && !unused(name)).collect()
    }
}

/// The secrets that a way in uses: those of the one chosen, and those of the others.
#[derive(Default)]
struct Used {
    here: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
}

impl Used {
    fn note(&mut self, chosen: bool, name: &str) {
        if chosen { &mut self.here } else { &mut self.elsewhere }.insert(name.to_owned());
    }

    fn template(&mut self, chosen: bool, template: &Template) {
        for slot in template.slots().filter(|slot| slot.scope == Scope::Secret) {
            self.note(chosen, &slot.member);
        }
    }

    fn walk(&mut self, auth: &Auth, chosen: bool, settings: &Effective) {
        match auth {
            Auth::None => {}
            Auth::Bearer(template) => self.template(chosen, template),
            Auth::Basic(basic) => [&basic.user, &basic.pass].into_iter().for_each(|part| self.template(chosen, part)),
            Auth::Header(entries) | Auth::Query(entries) => {
                entries.iter().for_each(|(_, template)| self.template(chosen, template));
            }
            Auth::Oauth(oauth) => {
                let texts = [Some(&oauth.token_url), oauth.client_id.as_ref(), oauth.client_secret.as_ref()];
                texts.into_iter().flatten().for_each(|template| self.template(chosen, template));
                oauth.extra.iter().chain(oauth.headers.iter()).for_each(|(_, text)| self.template(chosen, text));
                oauth.scopes.iter().for_each(|template| self.template(chosen, template));
                oauth.refresh_token.iter().for_each(|name| self.note(chosen, name.as_str()));
                if let Some(jwt) = &oauth.jwt {
                    self.note(chosen, jwt.key.as_str());
                    [&jwt.issuer, &jwt.subject, &jwt.audience].into_iter().for_each(|text| self.template(chosen, text));
                }
            }
            Auth::Login(login) => {
                self.template(chosen, &login.post);
                login.headers.iter().for_each(|(_, template)| self.template(chosen, template));
                for slot in login.json.iter().flat_map(super::super::slot::JsonTemplate::slots) {
                    if slot.scope == Scope::Secret {
                        self.note(chosen, &slot.member);
                    }
                }
                self.walk(&login.carry, chosen, settings);
            }
            Auth::All(all) => all.iter().for_each(|auth| self.walk(auth, chosen, settings)),
            Auth::Choose(choose) => {
                let choice = settings.setting(choose.setting.as_str()).and_then(Value::as_str);
                for (name, auth) in choose.of.iter() {
                    self.walk(auth, chosen && choice.is_none_or(|choice| choice == name), settings);
                }
            }
        }
    }
}
