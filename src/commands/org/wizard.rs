//! The wizard of `org create`: three steps, each question with a way back, and nothing written before the final yes.

use anyhow::Result;

use super::super::change::declined;
use super::create::{CreateArgs, Wanted, distinct, taken};
use super::show::base_domain;
use crate::domain::entity::Entity;
use crate::domain::names::Slug;
use crate::domain::organization;
use crate::domain::settings::{self, Overrides, SettingKey};
use crate::error::{Exit, UserError};
use crate::lookup;
use crate::output::{Answer, Output, Prompter};
use crate::session::Session;
use crate::store::Connection;
use crate::store::presets::{self, Summary};

/// The questions, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Name,
    Subdomain,
    MaxLearners,
    Preset,
    BillingName,
    BillingEmail,
    Review,
}

impl Question {
    const ALL: [Question; 7] = [
        Question::Name,
        Question::Subdomain,
        Question::MaxLearners,
        Question::Preset,
        Question::BillingName,
        Question::BillingEmail,
        Question::Review,
    ];

    /// Returns the heading of the step that begins with this question.
    fn heading(self) -> Option<&'static str> {
        match self {
            Question::Name => Some("Step 1 of 3: basic information"),
            Question::Preset => Some("Step 2 of 3: integrations"),
            Question::BillingName => Some("Step 3 of 3: billing and review"),
            _ => None,
        }
    }
}

/// What has been answered so far.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    slug: Option<Slug>,
    max_learners: Option<u32>,
    preset: Option<usize>,
    billing_name: Option<String>,
    billing_email: Option<String>,
}

struct Wizard<'a> {
    ask: Prompter<'a>,
    output: &'a Output,
    connection: &'a Connection,
    base: String,
    /// The recommended one first.
    presets: Vec<Summary>,
    args: CreateArgs,
    draft: Draft,
}

/// Asks for all that the flags leave open. Leaving, and a no at the end, is an error: then nothing was written.
pub(super) fn ask(args: CreateArgs, connection: &Connection, session: &Session) -> Result<Wanted> {
    let mut presets = presets::all(connection)?;
    presets.sort_by_key(|preset| !preset.recommended);
    let draft = Draft {
        name: args.name.clone(),
        slug: args.subdomain.clone(),
        max_learners: args.max_learners,
        preset: args.preset.as_deref().map(|slug| chosen(connection, &presets, slug)).transpose()?,
        billing_name: args.billing_name.clone(),
        billing_email: args.billing_email.clone(),
    };
    if let Some(slug) = &draft.slug {
        taken(connection, slug).map_err(|message| UserError::new(Exit::Conflict, "org_exists", message))?;
    }
    let output = &session.output;
    let ask = output.ask("--name")?;
    Wizard { ask, output, connection, base: base_domain(connection)?, presets, args, draft }.run()
}

/// Returns the place of a preset in the list, or the error that names the nearest.
fn chosen(connection: &Connection, presets: &[Summary], slug: &str) -> Result<usize> {
    let found = presets::by_slug(connection, slug)?;
    Ok(presets.iter().position(|preset| preset.id == found.id).unwrap_or_default())
}

impl Wizard<'_> {
    fn run(mut self) -> Result<Wanted> {
        let questions: Vec<Question> = Question::ALL.into_iter().filter(|question| !self.given(*question)).collect();
        let mut position = 0;
        let mut forward = true;
        while let Some(question) = questions.get(position) {
            if forward && let Some(heading) = question.heading() {
                self.output.lay_out(heading);
            }
            forward = self.put(*question)?;
            if !forward && position == 0 {
                self.output.lay_out("this is the first question; Ctrl-C leaves");
            }
            position = if forward { position + 1 } else { position.saturating_sub(1) };
        }
        self.wanted()
    }

    /// Returns whether a flag has answered a question already.
    fn given(&self, question: Question) -> bool {
        match question {
            Question::Name => self.args.name.is_some(),
            Question::Subdomain => self.args.subdomain.is_some(),
            Question::MaxLearners => self.args.max_learners.is_some(),
            Question::Preset => self.args.preset.is_some(),
            Question::BillingName => self.args.billing_name.is_some(),
            Question::BillingEmail => self.args.billing_email.is_some(),
            Question::Review => false,
        }
    }

    /// Fails where a name may not be taken.
    fn free_name(&self, text: &str) -> Result<(), String> {
        let name = organization::name(text)?;
        distinct(self.connection, "", &name).map_err(|error| error.to_string())
    }

    /// Asks one question and keeps its answer. Returns whether to go on, else back.
    fn put(&mut self, question: Question) -> Result<bool> {
        let answered = match question {
            Question::Name => {
                let name = self.ask.text("Name", self.draft.name.as_deref(), |text| self.free_name(text))?;
                let name = name.given()?;
                name.map(|text| self.draft.name = organization::name(&text).ok())
            }
            Question::Subdomain => self.subdomain()?,
            Question::MaxLearners => {
                let label = "Most learners to store, empty for no limit";
                let before = self.draft.max_learners.map(|number| number.to_string());
                let text = self.optional(label, before, |text| organization::max_learners(text).map(drop))?;
                text.map(|text| self.draft.max_learners = organization::max_learners(&text).ok())
            }
            Question::Preset => {
                let items: Vec<String> = self.presets.iter().map(preset_line).collect();
                let preset = self.ask.select("Preset", &items, self.draft.preset.unwrap_or(0))?.given()?;
                preset.map(|preset| self.draft.preset = Some(preset))
            }
            Question::BillingName => {
                let label = "Billing contact, empty for none";
                let before = self.draft.billing_name.clone();
                let text = self.optional(label, before, |text| organization::name(text).map(drop))?;
                text.map(|text| self.draft.billing_name = organization::name(&text).ok())
            }
            Question::BillingEmail => {
                let label = "Billing e-mail, empty for none";
                let before = self.draft.billing_email.clone();
                let text = self.optional(label, before, |text| organization::email(text).map(drop))?;
                text.map(|text| self.draft.billing_email = organization::email(&text).ok())
            }
            Question::Review => self.review()?,
        };
        Ok(answered.is_some())
    }

    /// Asks for a text that may be left empty.
    fn optional(
        &self,
        label: &str,
        before: Option<String>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>> {
        let check = |text: &str| if text.is_empty() { Ok(()) } else { check(text) };
        Ok(self.ask.text(label, Some(before.as_deref().unwrap_or_default()), check)?.given()?)
    }

    fn subdomain(&mut self) -> Result<Option<()>> {
        let suggested = match &self.draft.slug {
            Some(slug) => Some(slug.to_string()),
            None => {
                let slug = self.draft.name.as_deref().and_then(organization::suggested_subdomain);
                slug.filter(|slug| taken(self.connection, slug).is_ok()).map(|slug| slug.to_string())
            }
        };
        let label = format!("Subdomain, like acme for acme.{}", self.base);
        let check = |text: &str| organization::subdomain(text).and_then(|slug| taken(self.connection, &slug));
        let Some(text) = self.ask.text(&label, suggested.as_deref(), check)?.given()? else { return Ok(None) };
        self.output.lay_out(format!("  -> {text}.{}", self.base));
        self.draft.slug = organization::subdomain(&text).ok();
        Ok(Some(()))
    }

    /// Shows everything, and asks for the final yes.
    fn review(&self) -> Result<Option<()>> {
        let wanted = self.wanted()?;
        let (output, none) = (self.output, "none");
        let limit = wanted.max_learners.map_or("no limit".to_owned(), |number| number.to_string());
        output.lay_out(format!("  name           {}", wanted.name));
        output.lay_out(format!("  subdomain      {}.{}", wanted.slug, self.base));
        output.lay_out(format!("  max learners   {limit}"));
        output.lay_out(format!("  preset         {} (defaults {})", wanted.preset.name, wanted.preset.revision));
        output.lay_out(format!("  billing        {}", wanted.billing_name.as_deref().unwrap_or(none)));
        output.lay_out(format!("  billing e-mail {}", wanted.billing_email.as_deref().unwrap_or(none)));
        output.lay_out(format!("  time zone      {}", wanted.time_zone.name()));
        defaults(self.connection, &wanted.preset)?.into_iter().for_each(|line| output.lay_out(line));
        match self.ask.confirm(&format!("Create {}?", wanted.name))? {
            Answer::Given(true) => Ok(Some(())),
            Answer::Given(false) => Err(declined().into()),
            other => Ok(other.given()?.map(|_| ())),
        }
    }

    fn wanted(&self) -> Result<Wanted> {
        let draft = &self.draft;
        let open = || UserError::new(Exit::Fault, "wizard", "a question of the wizard was left open");
        Ok(Wanted {
            name: draft.name.clone().ok_or_else(open)?,
            slug: draft.slug.clone().ok_or_else(open)?,
            preset: draft.preset.and_then(|preset| self.presets.get(preset)).cloned().ok_or_else(open)?,
            max_learners: draft.max_learners,
            billing_name: draft.billing_name.clone(),
            billing_email: draft.billing_email.clone(),
            time_zone: self.args.time_zone,
        })
    }
}

fn preset_line(preset: &Summary) -> String {
    let providers = preset.providers.iter().map(crate::domain::names::Name::as_str).collect::<Vec<_>>().join(", ");
    let recommended = if preset.recommended { " ★ recommended" } else { "" };
    format!("{}{recommended}   ({providers})", preset.name)
}

/// Returns what a preset's newest defaults will mean, a line for each provider and the roles.
fn defaults(connection: &Connection, summary: &Summary) -> Result<Vec<String>> {
    let catalog = lookup::catalog(connection)?;
    let preset = lookup::preset_at(connection, &catalog, summary, summary.revision)?;
    let mut lines = vec!["  defaults that will apply:".to_owned()];
    for (provider, block) in &preset.providers {
        let Some(manifest) = catalog.get(provider) else { continue };
        let effective = settings::merge(&settings::built_in(manifest), block, summary.revision, &Overrides::new());
        let mapped: usize = Entity::ALL.into_iter().map(|entity| effective.mappings(entity).len()).sum();
        let filters: Vec<String> =
            effective.filters().iter().map(|(column, condition)| format!("{column} {condition}")).collect();
        let url = effective.values.get(&"api_url".parse::<SettingKey>().map_err(anyhow::Error::msg)?);
        let url = url.and_then(|url| url.value.as_str()).map(|url| format!(", {url}")).unwrap_or_default();
        lines.push(format!(
            "    {}: synced {}{url}, {mapped} field mappings, filters {}",
            manifest.title,
            effective.frequency(),
            if filters.is_empty() { "none".to_owned() } else { filters.join("; ") }
        ));
    }
    for (role, reports) in &preset.role_reports {
        lines.push(format!("    {role} sees {}", reports.join(", ")));
    }
    Ok(lines)
}
