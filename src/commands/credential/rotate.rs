//! `credential rotate`: puts new values in force once they have proved themselves, and keeps those they replace for a while.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::change::declined;
use super::test::{Answer, Tester, no_check};
use super::value::{self, Source};
use crate::domain::credential::GRACE;
use crate::domain::manifest::SecretSpec;
use crate::domain::names::Name;
use crate::error::{Exit, UserError};
use crate::lookup::{self, Integration};
use crate::secrets::Secret;
use crate::session::Session;
use crate::store::credentials::{self, Credential, Moved, Stage};
use crate::store::organizations::{self, Organization};
use crate::store::{Connection, Keep, audit, stamp};
use crate::vault::Vault;

/// Replace credentials: test the new values against the provider, and put them in force if it takes them
///
/// A new value is stored as pending first. If the test fails it stays so, nothing else is changed, and the same command without a FIELD
/// tries again. The values that were replaced are kept as previous ones: for 24 hours a sync that is refused goes back to them by
/// itself, and `credential rollback` does at any time.
///
/// Several fields are rotated together: they are asked for one after the other, or given as one JSON object by a --from flag.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl credential rotate acme aptem api_key\n  skillsctl credential rotate acme bud client_id client_secret --from-command 'pass show acme/bud.json'\n  skillsctl credential rotate acme bud\n  skillsctl credential rotate acme bud --abort --yes"
)]
pub(super) struct RotateArgs {
    /// Slug of the organization
    org: String,
    /// Slug of a provider that the organization's preset has
    provider: String,
    /// Names of the fields to be replaced; without any, what is pending is put in force
    #[arg(value_name = "FIELD")]
    named: Vec<String>,
    #[command(flatten)]
    source: Source,
    /// Have the provider give the new value, where its manifest says how
    #[arg(long, conflicts_with = "Source", requires = "named")]
    at_provider: bool,
    /// Put the new values in force without a test
    #[arg(long)]
    no_test: bool,
    /// Store the new values, and neither test them nor put them in force yet
    #[arg(long, conflicts_with = "no_test")]
    pending_only: bool,
    /// Drop what is pending
    #[arg(long, conflicts_with_all = ["Source", "at_provider", "no_test", "pending_only"])]
    abort: bool,
}

#[derive(Debug, Serialize)]
struct Rotated {
    organization: String,
    provider: String,
    /// `rotated`, `pending`, `aborted` or `unchanged`.
    outcome: &'static str,
    /// Whether the provider has taken the new values.
    tested: bool,
    /// What the account answered that was expected of it.
    account: Vec<Answer>,
    fields: Vec<Field>,
    /// Until when a sync that is refused goes back to the values that were replaced; null where none were.
    falls_back_until: Option<String>,
}

/// A field of which a value changed its stage.
#[derive(Debug, Serialize)]
pub(super) struct Field {
    field: Name,
    version: i64,
    fingerprint: String,
    /// The fingerprint of the value it replaces.
    previous_fingerprint: Option<String>,
}

impl Field {
    fn pending(credential: Credential) -> Self {
        let Credential { field, version, fingerprint, .. } = credential;
        Field { field, version, fingerprint, previous_fingerprint: None }
    }

    pub(super) fn words(&self) -> String {
        let Field { field, version, fingerprint, previous_fingerprint } = self;
        let before = previous_fingerprint.as_ref().map(|before| format!(", was {before}")).unwrap_or_default();
        format!("{field} version {version}, fingerprint {fingerprint}{before}")
    }
}

impl From<Moved> for Field {
    fn from(moved: Moved) -> Self {
        Field { previous_fingerprint: moved.before.map(|before| before.fingerprint), ..Field::pending(moved.now) }
    }
}

pub(super) fn run(args: &RotateArgs, session: &Session) -> Result<Exit> {
    let store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let integration = lookup::one_integration(store.read(), &organization, &args.provider)?;
    let named = |field: &String| value::declared(field, &integration.provider.name, &integration.manifest.secrets);
    let fields = args.named.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    // Before anybody types a secret in vain, and before anything is written.
    let vault = session.vault(&store)?;
    let tester = Tester::new(session, &organization, &vault, store)?;
    let rotation =
        Rotation { args, session, organization: &organization, integration: &integration, vault: &vault, tester };
    if args.abort {
        return rotation.abort(&fields);
    }
    if !args.no_test && !args.pending_only && integration.manifest.check.is_none() {
        return Err(no_check(&integration.provider).hint("`--no-test` puts new values in force without one").into());
    }
    rotation.run(&fields)
}

/// One rotation under way.
struct Rotation<'r> {
    args: &'r RotateArgs,
    session: &'r Session,
    organization: &'r Organization,
    integration: &'r Integration,
    vault: &'r Vault,
    tester: Tester<'r>,
}

impl Rotation<'_> {
    fn run(&self, fields: &[(&Name, &SecretSpec)]) -> Result<Exit> {
        let keep = self.session.keep;
        if keep == Keep::DryRun {
            return self.dry_run(fields);
        }
        if self.args.at_provider {
            self.at_provider(fields)?;
        } else if !fields.is_empty() {
            let values = self.values(fields)?;
            self.change(|tx| self.store_pending(tx, &values))?;
        }
        let pending = self.pending(self.tester.store().read())?;
        if pending.is_empty() {
            return if fields.is_empty() {
                Err(self.nothing_pending().into())
            } else {
                self.tell("unchanged", Vec::new())
            };
        }
        if self.args.pending_only {
            let mut told = self.told("pending", pending.into_iter().map(Field::pending).collect());
            told.tested = false;
            return self.print(&told);
        }
        let (tested, account) = if self.args.no_test { (None, Vec::new()) } else { self.test()? };
        let moved = self.change(|tx| self.promote(tx, tested.as_deref()))?;
        // The value before the last one is gone.
        self.tester.store().checkpoint()?;
        let mut told = self.told("rotated", moved.into_iter().map(Field::from).collect());
        (told.tested, told.account) = (tested.is_some(), account);
        self.print(&told)
    }

    /// Shows what would be put in force. Nobody is called: a provider that is asked for a new value has given it.
    fn dry_run(&self, fields: &[(&Name, &SecretSpec)]) -> Result<Exit> {
        let given = if self.args.at_provider { Vec::new() } else { self.values(fields)? };
        let moved = self.change(|tx| {
            self.store_pending(tx, &given)?;
            let pending = self.pending(tx)?;
            if self.args.pending_only {
                return Ok(("pending", pending.into_iter().map(Field::pending).collect::<Vec<_>>()));
            }
            Ok(("rotated", self.promote(tx, None)?.into_iter().map(Field::from).collect()))
        })?;
        match moved {
            (_, moved) if moved.is_empty() && fields.is_empty() => Err(self.nothing_pending().into()),
            (_, moved) if moved.is_empty() && !self.args.at_provider => self.tell("unchanged", moved),
            (outcome, moved) => self.tell(outcome, moved),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.tester.store().change(self.session.keep, change)
    }

    fn pair(&self) -> (i64, i64) {
        (self.organization.id, self.integration.provider.id)
    }

    fn pending(&self, connection: &Connection) -> Result<Vec<Credential>> {
        let mut pending = credentials::of_pair(connection, self.pair())?;
        pending.retain(|credential| credential.stage == Stage::Pending);
        Ok(pending)
    }

    /// Returns the values that are given for the fields.
    fn values<'m>(&self, fields: &[(&'m Name, &'m SecretSpec)]) -> Result<Vec<(&'m Name, Secret)>> {
        let (source, session) = (&self.args.source, self.session);
        let place = format!("{} for {}", self.integration.provider.name, self.organization.name);
        match fields {
            [] if source.is_given() => {
                let message = "there is a value, but no field that it is of";
                Err(UserError::new(Exit::Usage, "field_needed", message)
                    .hint("name the field behind the provider")
                    .into())
            }
            [(name, spec)] => Ok(vec![(*name, value::of_one(source, (name, spec), &place, session)?)]),
            several => value::of_several(source, several, &place, session),
        }
    }

    /// Stores values as pending, but for those that are in force or pending already.
    fn store_pending(&self, tx: &Connection, values: &[(&Name, Secret)]) -> Result<()> {
        let place = (self.organization, &self.integration.provider);
        for (field, value) in values {
            let present = |stage| credentials::find_in(tx, self.pair(), field.as_str(), stage);
            let holds =
                |credential: &Credential| self.vault.holds(tx, self.organization, credential, value).unwrap_or(false);
            let pending = present(Stage::Pending)?;
            if present(Stage::Current)?.as_ref().is_some_and(holds) || pending.as_ref().is_some_and(holds) {
                continue;
            }
            let by = (self.session.actor.as_str(), self.session.now);
            let stored = self.vault.set_pending(tx, place, field, value, by)?;
            let before = pending.as_ref().map(|pending| pending.fingerprint.as_str());
            self.record(tx, ("credential pending", field), (before, Some(&stored.fingerprint)))?;
        }
        Ok(())
    }

    /// Has the provider give a new value of each field, and stores it before anything else is done with it.
    fn at_provider(&self, fields: &[(&Name, &SecretSpec)]) -> Result<()> {
        for (field, spec) in fields {
            let Some(rotate) = &spec.rotate else {
                let message = format!(
                    "the manifest of {} does not say how it gives a new `{field}`",
                    self.integration.provider.name
                );
                return Err(UserError::new(Exit::Usage, "not_rotated_there", message)
                    .hint("make a new one there by hand, and give it to this command without `--at-provider`")
                    .into());
            };
            // A value that is lost on its way here is then not lost without a trace.
            self.change(|tx| self.record(tx, ("credential request", field), (None, None)))?;
            let call = self.tester.call(self.integration, Stage::Current, |connector, _| connector.rotate(rotate));
            let value = self.tester.told(call)?.map_err(|error| self.may_be_lost(field, error))?;
            if !spec.fits(value.expose()) {
                self.session.output.warn(format!("the new value of `{field}` has another form than its values have"));
            }
            self.change(|tx| self.store_pending(tx, &[(field, value)]))?;
        }
        Ok(())
    }

    /// Returns the error of a call for a new value, with what is to be done about a value that may have been given all the same.
    fn may_be_lost(&self, field: &Name, error: UserError) -> UserError {
        if error.exit == Exit::Refused {
            return error;
        }
        let (org, provider) = (&self.organization.slug, &self.integration.provider.slug);
        let hint = format!(
            "nothing was stored, but a new `{field}` may have been made: if `skillsctl credential test {org} {provider}` fails, make \
             another one at the provider and set it with `skillsctl credential set {org} {provider} {field}`"
        );
        UserError { hint: Some(hint), ..error }
    }

    /// Tests what is pending. Returns which rows that was, and what the account answered.
    fn test(&self) -> Result<(Option<Vec<i64>>, Vec<Answer>)> {
        let (tested, given) = self.tester.test(self.integration, Stage::Pending)?;
        let Some(error) = tested.error else { return Ok((Some(given), tested.account)) };
        let (org, provider) = (&self.organization.slug, &self.integration.provider.slug);
        let hint = format!(
            "the new value is kept as pending, and the one in force is as it was: `skillsctl credential rotate {org} {provider}` tries \
             again, with `--abort` drops it"
        );
        Err(UserError { hint: Some(hint), ..error }.into())
    }

    /// Puts what is pending in force, unless it is other than what was tested.
    fn promote(&self, tx: &Connection, tested: Option<&[i64]>) -> Result<Vec<Moved>> {
        let together = credentials::together(tx, self.pair(), Stage::Pending)?;
        let same = |tested: &[i64]| together.iter().map(|credential| credential.given).eq(tested.iter().copied());
        if !tested.is_none_or(same) {
            let message = "a credential was replaced while the new one was tested";
            return Err(UserError::new(Exit::Conflict, "credential_replaced", message)
                .hint("what is pending has stayed so; `skillsctl credential list` shows what is stored")
                .into());
        }
        let moved = credentials::promote(tx, self.pair(), self.session.now)?;
        for Moved { now, before } in &moved {
            let before = before.as_ref().map(|before| before.fingerprint.as_str());
            self.record(tx, ("credential rotate", &now.field), (before, Some(&now.fingerprint)))?;
        }
        Ok(moved)
    }

    fn abort(&self, fields: &[(&Name, &SecretSpec)]) -> Result<Exit> {
        let mut pending = self.pending(self.tester.store().read())?;
        pending.retain(|credential| fields.is_empty() || fields.iter().any(|(name, _)| **name == credential.field));
        if pending.is_empty() {
            return Err(self.nothing_pending().into());
        }
        let names = pending.iter().map(|pending| pending.field.as_str()).collect::<Vec<_>>().join(" and ");
        let what =
            format!("Drop the pending {names} of {} for {}?", self.integration.provider.name, self.organization.slug);
        if self.session.keep == Keep::Yes && !self.session.output.confirm_harm(&what)? {
            return Err(declined().into());
        }
        self.change(|tx| {
            for Credential { field, fingerprint, .. } in &pending {
                credentials::delete_stage(tx, self.pair(), field.as_str(), Stage::Pending)?;
                self.record(tx, ("credential abort", field), (Some(fingerprint), None))?;
            }
            Ok(())
        })?;
        if self.session.keep == Keep::Yes {
            self.tester.store().checkpoint()?;
        }
        self.tell("aborted", pending.into_iter().map(Field::pending).collect())
    }

    fn record(
        &self,
        tx: &Connection,
        (action, field): (&str, &Name),
        (before, after): (Option<&str>, Option<&str>),
    ) -> Result<()> {
        let subject = format!("{}/{}/{field}", self.organization.slug, self.integration.provider.slug);
        let entry = audit::Entry { actor: &self.session.actor, action, subject: &subject, before, after };
        audit::insert(tx, self.session.now, &entry)
    }

    fn nothing_pending(&self) -> UserError {
        let (org, provider) = (&self.organization.slug, &self.integration.provider.slug);
        let message = format!("nothing of {} is pending for `{org}`", self.integration.provider.name);
        UserError::new(Exit::NotFound, "nothing_pending", message)
            .hint(format!("name the fields to be replaced: `skillsctl credential rotate {org} {provider} FIELD`"))
    }

    fn told(&self, outcome: &'static str, fields: Vec<Field>) -> Rotated {
        let replaced = outcome == "rotated" && fields.iter().any(|field| field.previous_fingerprint.is_some());
        Rotated {
            organization: self.organization.slug.to_string(),
            provider: self.integration.provider.slug.to_string(),
            outcome,
            tested: false,
            account: Vec::new(),
            fields,
            falls_back_until: replaced.then(|| stamp(self.session.now + GRACE)),
        }
    }

    fn tell(&self, outcome: &'static str, fields: Vec<Field>) -> Result<Exit> {
        self.print(&self.told(outcome, fields))
    }

    fn print(&self, rotated: &Rotated) -> Result<Exit> {
        let output = &self.session.output;
        output.one("CredentialRotated", rotated, |_| {
            let fields = rotated.fields.iter().map(Field::words).collect::<Vec<_>>().join("; ");
            if fields.is_empty() { rotated.outcome.to_owned() } else { format!("{}: {fields}", rotated.outcome) }
        })?;
        self.session.note_dry_run();
        let (org, provider) = (&rotated.organization, &rotated.provider);
        if rotated.outcome == "pending" {
            output.note(format!("next: skillsctl credential rotate {org} {provider}"));
        }
        if rotated.falls_back_until.is_some() && self.session.keep == Keep::Yes {
            output.note(format!(
                "once a sync has gone well, end the old value at {}; until then `skillsctl credential rollback {org} {provider}` goes back",
                self.integration.provider.name
            ));
        }
        Ok(Exit::Done)
    }
}
