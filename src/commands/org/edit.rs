//! `org edit`: by flags, or in an editor.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::super::change::{self, Changed};
use super::super::editor::{self, Draft};
use super::super::schema;
use super::super::source::Source;
use super::create::distinct;
use crate::domain::difference::Difference;
use crate::domain::organization;
use crate::error::{Exit, UserError};
use crate::session::Session;
use crate::store::Store;
use crate::store::organizations::{self, Organization};
use crate::yaml::{self, Part};

/// Change an organization's name, limits, contact or time zone
///
/// Without flags or a file the organization opens in an editor. The subdomain stays what it was created with.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skillsctl org edit acme\n  skillsctl org edit acme --name 'Acme Skills Ltd' --max-learners 800\n  skillsctl org edit acme --max-learners none --billing-email ''"
)]
pub(crate) struct EditArgs {
    /// The organization's slug
    #[arg(value_name = "ORG")]
    org: String,
    /// Document to apply, as the editor shows it; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// New name
    #[arg(long, conflicts_with = "file")]
    name: Option<String>,
    /// Largest number of learners that are stored, or `none`
    #[arg(long, value_name = "N|none", conflicts_with = "file")]
    max_learners: Option<String>,
    /// Name of the billing contact; empty takes it away
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    billing_name: Option<String>,
    /// E-mail address of the billing contact; empty takes it away
    #[arg(long, value_name = "EMAIL", conflicts_with = "file")]
    billing_email: Option<String>,
    /// Time zone that schedules are read in
    #[arg(long, value_name = "ZONE", conflicts_with = "file")]
    time_zone: Option<String>,
}

/// What can be edited, as it stands in the file.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Document {
    /// Name of the organization
    name: String,
    /// Largest number of learners that are stored; null is no limit
    #[serde(default)]
    max_learners: Option<u32>,
    /// Name of the billing contact
    #[serde(default)]
    billing_name: Option<String>,
    /// E-mail address of the billing contact
    #[serde(default)]
    billing_email: Option<String>,
    /// Time zone that schedules are read in, like `Europe/London`
    time_zone: String,
}

impl Document {
    fn of(organization: &Organization) -> Self {
        Document {
            name: organization.name.clone(),
            max_learners: organization.max_learners,
            billing_name: organization.billing_name.clone(),
            billing_email: organization.billing_email.clone(),
            time_zone: organization.time_zone.name().to_owned(),
        }
    }

    /// Returns the organization as this has it, or the field that is wrong and why.
    fn applied(&self, organization: &Organization) -> Result<Organization, (&'static str, String)> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let contact = given(&self.billing_name).map(|text| organization::name(&text)).transpose();
        let email = given(&self.billing_email).map(|text| organization::email(&text)).transpose();
        if self.max_learners == Some(0) {
            return Err(("max_learners", "the smallest limit is 1; null is no limit".into()));
        }
        Ok(Organization {
            name: organization::name(&self.name).map_err(|message| ("name", message))?,
            max_learners: self.max_learners,
            billing_name: contact.map_err(|message| ("billing_name", message))?,
            billing_email: email.map_err(|message| ("billing_email", message))?,
            time_zone: organization::time_zone(&self.time_zone).map_err(|message| ("time_zone", message))?,
            ..organization.clone()
        })
    }
}

/// Returns an organization as the document that is edited and audited.
pub(super) fn document(organization: &Organization) -> String {
    yaml::to_yaml(&Document::of(organization))
}

pub(super) fn run(args: &EditArgs, session: &Session) -> Result<Exit> {
    let mut store = session.store()?;
    let organization = organizations::by_slug(store.read(), &args.org)?;
    let given = [&args.name, &args.max_learners, &args.billing_name, &args.billing_email, &args.time_zone];
    if given.iter().any(|flag| flag.is_some()) {
        let edited = by_flags(args, &organization)?;
        return keep(&mut store, session, &organization, &edited)?.tell(session, "OrgChange");
    }
    if let Some(file) = args.file.clone() {
        let source = Source { file };
        let edited = by_document(&source.file, &source.read()?, &organization)?;
        return keep(&mut store, session, &organization, &edited)?.tell(session, "OrgChange");
    }
    let draft = Draft {
        name: organization.slug.as_str(),
        text: document(&organization),
        kind: "org",
        schema: schema::organization(),
        instead: "the flags, like `--name` or `--max-learners`".into(),
        resume: format!("skillsctl org edit {} -f", organization.slug),
    };
    let changed = editor::edit(session, &draft, |name, text| {
        keep(&mut store, session, &organization, &by_document(name, text, &organization)?)
    })?;
    changed.unwrap_or_else(|| Changed::unchanged(session, &organization.slug)).tell(session, "OrgChange")
}

/// Returns the organization as a document has it; what is wrong is said at its line.
fn by_document(name: &str, text: &str, organization: &Organization) -> Result<Organization, UserError> {
    let root = yaml::parse(name, text)?;
    let document: Document = root.read()?;
    let wrong = |(field, message): (&str, String)| root.error_at(&[field], Part::Value, "invalid_value", message);
    document.applied(organization).map_err(wrong)
}

fn by_flags(args: &EditArgs, organization: &Organization) -> Result<Organization> {
    let usage = |(field, message): (&str, String)| {
        let flag = format!("--{}", field.replace('_', "-"));
        UserError::new(Exit::Usage, "invalid_value", format!("`{flag}`: {message}"))
    };
    let mut document = Document::of(organization);
    if let Some(name) = &args.name {
        document.name.clone_from(name);
    }
    match args.max_learners.as_deref() {
        None => {}
        Some("none") => document.max_learners = None,
        Some(number) => {
            let number = organization::max_learners(number).map_err(|message| usage(("max_learners", message)))?;
            document.max_learners = Some(number);
        }
    }
    let fields = [(&mut document.billing_name, &args.billing_name), (&mut document.billing_email, &args.billing_email)];
    for (field, given) in fields {
        if given.is_some() {
            field.clone_from(given);
        }
    }
    if let Some(zone) = &args.time_zone {
        document.time_zone.clone_from(zone);
    }
    Ok(document.applied(organization).map_err(usage)?)
}

/// Stores an organization as edited and says what is different.
fn keep(store: &mut Store, session: &Session, before: &Organization, after: &Organization) -> Result<Changed> {
    let limit = |organization: &Organization| organization.max_learners.map(|number| number.to_string());
    let zone = |organization: &Organization| Some(organization.time_zone.name().to_owned());
    let differences: Vec<Difference> = [
        Difference::of("name", Some(before.name.clone()), Some(after.name.clone())),
        Difference::of("max_learners", limit(before), limit(after)),
        Difference::of("billing_name", before.billing_name.clone(), after.billing_name.clone()),
        Difference::of("billing_email", before.billing_email.clone(), after.billing_email.clone()),
        Difference::of("time_zone", zone(before), zone(after)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if differences.is_empty() {
        return Ok(Changed::unchanged(session, &before.slug));
    }
    let (old, new) = (document(before), document(after));
    store.change(session.keep, |tx| {
        if before.name != after.name {
            distinct(tx, after.slug.as_str(), &after.name)?;
        }
        organizations::update(tx, after, session.now)?;
        change::record(tx, session, ("org edit", before.slug.as_str()), (Some(&old), Some(&new)))
    })?;
    Ok(Changed { changes: change::shown(differences), ..Changed::new(session, &before.slug, "changed") })
}
