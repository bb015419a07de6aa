//! `credential test`: asks the providers whether the credentials are good, and whose they are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::connector::{Connector, Failure, Limits, Parts};
use crate::domain::manifest::secrets_missing;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::http::Client;
use crate::lookup::{self, Integration};
use crate::output::{ALWAYS, Cell, Column, List, State};
use crate::session::Session;
use crate::stop::Stop;
use crate::store::Store;
use crate::store::credentials::Stage;
use crate::store::organizations::{self, Organization};
use crate::store::providers::Provider;
use crate::sync::Tokens;
use crate::vault::Vault;

/// Test the credentials of an organization by one small call to each provider
///
/// Nothing is synced. A credential of another account than the settings name is refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  skillsctl credential test acme\n  skillsctl credential test acme hubspot --json")]
pub(in crate::commands) struct TestArgs {
    /// Slug of the organization
    org: String,
    /// Slug of one provider; all of the preset's without it
    provider: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tested {
    organization: String,
    provider: String,
    /// Whether the provider took the credentials.
    ok: bool,
    /// What the account answered that was expected of it.
    pub(super) account: Vec<Answer>,
    took_ms: u64,
    code: Option<&'static str>,
    message: Option<String>,
    hint: Option<String>,
    #[serde(skip)]
    pub(super) error: Option<UserError>,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    path: String,
    value: String,
}

pub(in crate::commands) fn run(args: &TestArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let integrations = match &args.provider {
        Some(provider) => vec![lookup::one_integration(store.read(), &organization, provider)?],
        None => lookup::pinned_integrations(store.read(), &organization)?,
    };
    let vault = session.vault(&store)?;
    let tester = Tester::new(session, &organization, &vault, store)?;
    let test = |integration| tester.test(integration, Stage::Current).map(|(tested, _)| tested);
    let tested = integrations.iter().map(test).collect::<Result<Vec<_>>>()?;
    print(&tested, session)?;
    verdict(tested)
}

/// Calls the providers of an organization with what is stored for it.
pub(super) struct Tester<'a> {
    session: &'a Session,
    organization: &'a Organization,
    vault: &'a Vault,
    /// Shared with whoever stores a token in the middle of a call.
    store: Mutex<Store>,
    client: Client,
    limits: Limits,
    stop: Stop,
}

impl<'a> Tester<'a> {
    pub(super) fn new(
        session: &'a Session,
        organization: &'a Organization,
        vault: &'a Vault,
        store: Store,
    ) -> Result<Self> {
        let limits = Limits::beside(store.path(), vault.names());
        let (client, stop) = (Client::new(), Stop::watch()?);
        Ok(Tester { session, organization, vault, limits, store: Mutex::new(store), client, stop })
    }

    /// Returns the database; not to be held while a provider is called.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the manifest's check call with the credentials in force, or with those of another stage in their place. Returns what came of it,
    /// and which rows were tested, as a person set them.
    pub(super) fn test(&self, integration: &Integration, stage: Stage) -> Result<(Tested, Vec<i64>)> {
        let line = self.session.output.progress().start(integration.provider.slug.as_str());
        line.update(0, 0, "calling");
        let began = Instant::now();
        let mut given = Vec::new();
        let result = self.told(self.call(integration, stage, |connector, tested| {
            given = tested;
            if integration.manifest.check.is_none() {
                return Err(Failure::Stream(no_check(&integration.provider)));
            }
            connector.check()
        }))?;
        line.finish("");
        let error = result.as_ref().err().cloned();
        let account = result.unwrap_or_default().into_iter().map(|(path, value)| Answer { path, value });
        let tested = Tested {
            organization: self.organization.slug.to_string(),
            provider: integration.provider.slug.to_string(),
            ok: error.is_none(),
            account: account.collect(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            code: error.as_ref().map(|error| error.code),
            message: error.as_ref().map(|error| error.message.clone()),
            hint: error.as_ref().and_then(|error| error.hint.clone()),
            error,
        };
        Ok((tested, given))
    }

    /// Returns what a call brought, or why the provider gave nothing. What is no trouble of the provider's is an error.
    pub(super) fn told<T>(&self, called: Result<T, Failure>) -> Result<Result<T, UserError>> {
        match called {
            Ok(value) => Ok(Ok(value)),
            Err(Failure::Internal(error)) => Err(error),
            Err(Failure::Stopped) => {
                let exit = self.stop.exit().unwrap_or(Exit::Interrupted);
                Err(UserError::new(exit, "interrupted", "interrupted").into())
            }
            Err(
                Failure::Refused(error)
                | Failure::Skip(error)
                | Failure::Restart(error)
                | Failure::Distrust(error)
                | Failure::Halve(error)
                | Failure::NoJob(error)
                | Failure::Defer(error, _)
                | Failure::Stream(error),
            ) => Ok(Err(error)),
        }
    }

    /// Calls a provider with what is stored of a stage. The closure also gets which rows that is, as a person set them.
    pub(super) fn call<T>(
        &self,
        integration: &Integration,
        stage: Stage,
        call: impl FnOnce(&Connector<'_>, Vec<i64>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Integration { provider, manifest, .. } = integration;
        let settings = integration.settings.declared();
        let place = (self.organization, provider);
        let (intake, opened) = {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let by = (self.session.actor.as_str(), self.session.now);
            let intake = self.vault.take_in(&mut store, place, manifest, by).map_err(failure)?;
            (intake, self.vault.open_stage(store.read(), place, stage).map_err(failure)?)
        };
        intake.warnings.iter().for_each(|warning| self.session.output.warn(warning));
        let missing = secrets_missing(manifest, &integration.settings, |name| opened.secrets.contains_key(name));
        intake.suffices(&missing).map_err(Failure::Refused)?;
        let given = opened.given.clone();
        let (tokens, secrets) = Tokens::of((&self.store, self.vault), place, &settings, opened, &self.session.actor);
        self.complete(integration, |name| secrets.contains_key(name)).map_err(Failure::Refused)?;
        let connector = Connector::new(Parts {
            manifest,
            settings,
            secrets,
            owner: self.organization.slug.as_str(),
            keeper: &tokens,
            // A token from before may be good although the credential is so no more.
            proof_since: Some(self.session.now),
            client: &self.client,
            limits: &self.limits,
            stop: self.stop.flag(),
        });
        call(&connector, given)
    }

    /// Fails where no request could be sent for want of a setting or a credential.
    fn complete(&self, integration: &Integration, is_set: impl Fn(&Name) -> bool) -> Result<(), UserError> {
        let Integration { provider, manifest, settings, .. } = integration;
        let (org, slug) = (&self.organization.slug, &provider.slug);
        if let [first, ..] = settings.missing(manifest).as_slice() {
            let message = format!("{} needs the setting `{first}`, which has no value", provider.name);
            return Err(UserError::new(Exit::Invalid, "settings_missing", message)
                .hint(format!("`skillsctl override set {org} {slug} {first}=VALUE`")));
        }
        if let [first, ..] = secrets_missing(manifest, settings, is_set).as_slice() {
            let message = format!("{} needs the credential `{first}`, which is not set", provider.name);
            return Err(UserError::new(Exit::Refused, "credentials_missing", message)
                .hint(format!("`skillsctl credential set {org} {slug} {first}`")));
        }
        Ok(())
    }
}

/// Returns the error of a manifest that says no way to test a credential.
pub(super) fn no_check(provider: &Provider) -> UserError {
    let message = format!("the manifest of {} has no call to test a credential with", provider.name);
    UserError::new(Exit::Usage, "no_check", message)
}

/// Returns an error a user can put right as the failure of this provider alone, any other as one of ours.
fn failure(error: anyhow::Error) -> Failure {
    match error.downcast::<UserError>() {
        Ok(error) => Failure::Stream(error),
        Err(error) => Failure::Internal(error),
    }
}

fn print(tested: &[Tested], session: &Session) -> Result<()> {
    let list = List {
        kind: "CredentialTestList",
        items: tested,
        warnings: Vec::new(),
        name: |tested| tested.provider.clone(),
        empty: "this organization has no provider",
    };
    session.output.list(
        list,
        [
            Column { header: "provider", priority: ALWAYS, cell: |tested, _| Cell::text(&tested.provider) },
            Column {
                header: "result",
                priority: ALWAYS,
                cell: |tested, _| match &tested.code {
                    None => Cell::state(State::Ok, "ok"),
                    Some(code) => Cell::state(State::Failed, code.replace('_', " ")),
                },
            },
            Column {
                header: "account",
                priority: 2,
                cell: |tested, _| {
                    let answers = tested.account.iter().map(|answer| format!("{} {}", answer.path, answer.value));
                    Cell::text_or_empty(Some(answers.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()))
                },
            },
            Column { header: "took", priority: 1, cell: |tested, look| Cell::text(look.duration_ms(tested.took_ms)) },
            Column { header: "why", priority: 3, cell: |tested, _| Cell::text_or_empty(tested.message.as_deref()) },
        ],
    )
}

/// Returns how the whole ended: the error itself where all failed alike, exit 3 where only some did.
fn verdict(tested: Vec<Tested>) -> Result<Exit> {
    let count = tested.len();
    let mut failed: Vec<(String, UserError)> =
        tested.into_iter().filter_map(|tested| Some((tested.provider, tested.error?))).collect();
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    let alike = failed.len() == count && failed.iter().all(|(_, error)| error.exit == failed[0].1.exit);
    if alike && count == 1 {
        return Err(failed.remove(0).1.into());
    }
    let exit = if alike { failed[0].1.exit } else { Exit::Partial };
    let names = failed.iter().map(|(provider, _)| provider.as_str()).collect::<Vec<_>>().join(", ");
    let hint = failed[0].1.hint.clone();
    let message = format!("{} of {count} providers failed: {names}", failed.len());
    Err(UserError::new(exit, "credential_test_failed", message).hint_if(hint).into())
}
