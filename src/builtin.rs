//! The providers and presets that are shipped: the files of `presets/`, embedded, in the order they are shown in.

macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        [$((concat!("presets/", $file), include_str!(concat!("../presets/", $file)))),*]
    };
}

/// The manifests, each with its file's name.
pub(crate) const PROVIDERS: [(&str, &str); 5] = shipped![
    "providers/aptem.yaml",
    "providers/bud.yaml",
    "providers/onefile.yaml",
    "providers/hubspot.yaml",
    "providers/salesforce.yaml",
];

/// The presets, each with its file's name.
pub(crate) const PRESETS: [(&str, &str); 6] = shipped![
    "aptem.yaml",
    "bud.yaml",
    "onefile.yaml",
    "aptem_hubspot.yaml",
    "bud_salesforce.yaml",
    "aptem_salesforce.yaml",
];

#[cfg(test)]
mod tests {
    use minijinja::context;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::entity::Entity;
    use crate::domain::expression::Expression;
    use crate::domain::filter::FilterColumn;
    use crate::domain::manifest::{Action, Kind, Manifest, PageKind, load};
    use crate::domain::preset::{Catalog, Preset, read_preset};
    use crate::domain::settings::{Block, Effective, Overrides, built_in, merge};

    fn catalog() -> Catalog {
        let manifests = PROVIDERS.iter().map(|(name, text)| load(name, text).unwrap());
        manifests.map(|manifest| (manifest.provider.clone(), manifest)).collect()
    }

    fn presets() -> Vec<Preset> {
        let catalog = catalog();
        PRESETS.iter().map(|(name, text)| read_preset(name, text, &catalog).unwrap()).collect()
    }

    fn block(preset: &str, provider: &str) -> Block {
        let presets = presets();
        let preset = presets.iter().find(|known| known.slug.as_str() == preset).unwrap();
        preset.block(&provider.parse().unwrap()).unwrap().clone()
    }

    /// Returns what a new organization on the preset has.
    fn settings(preset: &str, provider: &str) -> Effective {
        let manifest = &catalog()[provider];
        merge(&built_in(manifest), &block(preset, provider), 1, &Overrides::new())
    }

    /// Returns the raw path that a mapping of the preset ends at.
    fn path_of(preset: &str, provider: &str, target: &str) -> String {
        let catalog = catalog();
        let manifest = &catalog[provider];
        let target: crate::domain::entity::Target = target.parse().unwrap();
        let mappings = settings(preset, provider).mappings(target.entity);
        let (_, mapping) = mappings.iter().find(|(known, _)| *known == target).unwrap();
        let source = mapping.0.from.as_deref().unwrap();
        let (stream, field) = match source.split_once('.') {
            Some((stream, field)) if manifest.stream(stream).is_some() => (stream, field),
            _ => (manifest.stream_for(target.entity).unwrap(), source),
        };
        manifest.stream(stream).unwrap().fields.get(field).unwrap().to_string()
    }

    #[test]
    fn nothing_that_is_shipped_looks_like_a_credential() {
        for (name, text) in PROVIDERS.iter().chain(&PRESETS) {
            let found = crate::domain::secretlike::refuse_in(&crate::yaml::parse(name, text).unwrap());
            assert_eq!(found.map_err(|error| error.message), Ok(()), "{name}");
        }
    }

    #[test]
    fn every_shipped_manifest_loads_and_is_named_as_its_file() {
        for (name, text) in PROVIDERS {
            let manifest = load(name, text).unwrap();
            assert_eq!(name, format!("presets/providers/{}.yaml", manifest.provider));
            assert!(!manifest.unverified.is_empty() && manifest.check.is_some(), "{name}");
            assert!(manifest.stream_for(Entity::Employer).is_some(), "{name}");
        }
        let catalog = catalog();
        let of_kind = |kind| catalog.values().filter(|manifest| manifest.kind == kind).count();
        assert_eq!((of_kind(Kind::Lms), of_kind(Kind::Crm)), (3, 2));
    }

    #[test]
    fn the_presets_are_those_of_the_workflow_in_its_order() {
        let presets = presets();
        let shown: Vec<(&str, &str)> =
            presets.iter().map(|preset| (preset.slug.as_str(), preset.name.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("aptem", "Aptem"),
                ("bud", "Bud"),
                ("onefile", "OneFile"),
                ("aptem_hubspot", "Aptem + HubSpot"),
                ("bud_salesforce", "Bud + Salesforce"),
                ("aptem_salesforce", "Aptem + Salesforce"),
            ]
        );
        for (preset, (name, text)) in presets.iter().zip(PRESETS) {
            assert_eq!(name, format!("presets/{}.yaml", preset.slug));
            assert!(text.starts_with("# yaml-language-server: $schema=preset.schema.json\n"), "{name}");
            assert_eq!(preset.recommended, preset.slug.as_str() == "aptem_hubspot");
            let providers: Vec<&str> = preset.providers.iter().map(|(provider, _)| provider.as_str()).collect();
            assert_eq!(providers.join("_"), preset.slug.as_str());
            for role in ["tenant_admin", "tutor", "employer_manager"] {
                assert!(preset.role_reports.iter().any(|(known, reports)| known == role && !reports.is_empty()));
            }
        }
    }

    #[test]
    fn aptem_and_hubspot_have_the_defaults_of_the_workflow() {
        let aptem = settings("aptem_hubspot", "aptem");
        assert_eq!(aptem.setting("api_url"), Some(&json!("https://api.aptem.co.uk")));
        assert_eq!(aptem.frequency().to_string(), "hourly");
        let value = |settings: &Effective, key: &str| settings.values[&key.parse().unwrap()].value.clone();
        assert_eq!(value(&aptem, "field_mappings.learner.external_id"), "learner_id");
        assert_eq!(value(&aptem, "field_mappings.learner.programme"), "programme_name");
        let completion = json!({"from": "completion_date", "do": ["date"], "type": "date"});
        assert_eq!(value(&aptem, "field_mappings.learner.completion"), completion);
        assert_eq!(value(&aptem, "powerbi_filters.LMS_Provider"), "Aptem");
        assert_eq!(path_of("aptem_hubspot", "aptem", "learner.external_id"), "Id");
        assert_eq!(path_of("aptem_hubspot", "aptem", "learner.programme"), "UserProgram_CurrentProgramme");

        let hubspot = settings("aptem_hubspot", "hubspot");
        assert_eq!(hubspot.frequency().to_string(), "daily");
        assert_eq!(value(&hubspot, "field_mappings.employer.crm_id"), "contact_id");
        assert_eq!(value(&hubspot, "field_mappings.employer.name"), "company_name");
        assert_eq!(value(&hubspot, "powerbi_filters.CRM_Provider"), "HubSpot");
        assert_eq!(path_of("aptem_hubspot", "hubspot", "employer.crm_id"), "id");
        assert_eq!(path_of("aptem_hubspot", "hubspot", "employer.name"), "properties.company");
    }

    #[test]
    fn the_other_providers_have_the_like() {
        for (preset, provider, frequency, targets) in [
            ("bud", "bud", "hourly", &["learner.external_id", "learner.programme", "learner.completion"][..]),
            ("onefile", "onefile", "hourly", &["learner.external_id", "learner.programme"][..]),
            ("bud_salesforce", "salesforce", "daily", &["employer.crm_id", "employer.name"][..]),
        ] {
            assert_eq!(settings(preset, provider).frequency().to_string(), frequency);
            for target in targets {
                assert!(!path_of(preset, provider, target).is_empty());
            }
        }
    }

    #[test]
    fn people_are_known_by_their_uln_in_every_lms() {
        for provider in ["aptem", "bud", "onefile"] {
            let settings = settings(provider, provider);
            let uln = &settings.values[&"field_mappings.learner.uln".parse().unwrap()].value;
            assert_eq!(*uln, json!({"from": "uln", "type": "uln", "bad": "null"}), "{provider}");
        }
    }

    #[test]
    fn each_filter_lets_its_own_provider_through() {
        for preset in presets() {
            for (provider, _) in &preset.providers {
                let manifest = &catalog()[provider];
                let column = match manifest.kind {
                    Kind::Lms => FilterColumn::LmsProvider,
                    Kind::Crm => FilterColumn::CrmProvider,
                };
                let filters = settings(preset.slug.as_str(), provider.as_str()).filters();
                let [(only, condition)] = filters.as_slice() else { panic!("{}: {filters:?}", preset.slug) };
                assert_eq!(*only, column);
                assert!(condition.holds(Some(&manifest.title)) && !condition.holds(Some("Another")));
            }
        }
    }

    #[test]
    fn a_provider_has_the_same_defaults_in_every_preset() {
        // Where there is a CRM, employers come from there and not from the LMS as well.
        let learners = |preset: &str, provider: &str| {
            let mut block = block(preset, provider);
            block.retain(|key, _| !key.to_string().starts_with("field_mappings.employer."));
            block
        };
        assert_eq!(learners("aptem", "aptem"), learners("aptem_hubspot", "aptem"));
        assert_eq!(learners("aptem", "aptem"), block("aptem_salesforce", "aptem"));
        assert_eq!(learners("bud", "bud"), block("bud_salesforce", "bud"));
        assert_eq!(block("bud_salesforce", "salesforce"), block("aptem_salesforce", "salesforce"));
        for preset in presets().iter().filter(|preset| preset.providers.len() == 2) {
            let lms = settings(preset.slug.as_str(), preset.providers[0].0.as_str());
            assert!(lms.mappings(Entity::Employer).is_empty(), "{}", preset.slug);
        }
    }

    #[test]
    fn every_field_a_preset_maps_is_one_the_manifest_names() {
        for preset in presets() {
            for (provider, _) in &preset.providers {
                let manifest = &catalog()[provider];
                let settings = settings(preset.slug.as_str(), provider.as_str());
                for entity in Entity::ALL {
                    let mappings = settings.mappings(entity);
                    let Some(stream) = crate::domain::settings::feeding_stream(entity, &mappings, manifest).unwrap()
                    else {
                        continue;
                    };
                    for (target, mapping) in &mappings {
                        let names = match (&mapping.0.from, &mapping.0.expr) {
                            (Some(from), _) => vec![from.clone()],
                            (_, Some(expr)) => Expression::new(expr).unwrap().names.to_vec(),
                            _ => panic!("{target} has no source"),
                        };
                        for name in names {
                            let field = name.strip_prefix(&format!("{stream}.")).unwrap_or(&name);
                            let known = manifest.stream(stream).unwrap().fields.get(field).is_some();
                            assert!(known, "{}: {target} reads {provider}.{stream}.{field}", preset.slug);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_put_together_and_taken_apart_without_loss() {
        let expr = |preset: &str, provider: &str, target: &str| {
            let settings = settings(preset, provider);
            let key = format!("field_mappings.{target}").parse().unwrap();
            settings.values[&key].value["expr"].as_str().unwrap().to_owned()
        };
        let eval = |expr: &str, names: minijinja::Value| {
            Expression::new(expr).unwrap().evaluate(names).unwrap().as_str().unwrap().to_owned()
        };
        let first = expr("aptem", "aptem", "learner.first_name");
        let last = expr("aptem", "aptem", "learner.last_name");
        for (full, parts) in [
            (Some("Siân  Ó Súilleabháin "), ["Siân", "Ó Súilleabháin"]),
            (Some("Madonna"), ["Madonna", ""]),
            (Some(""), ["", ""]),
            (None, ["", ""]),
        ] {
            let names = || context! {full_name => full};
            assert_eq!([eval(&first, names()), eval(&last, names())], parts, "{full:?}");
        }
        let contact = expr("aptem_hubspot", "hubspot", "employer.contact_name");
        assert_eq!(eval(&contact, context! {first_name => "Zoë", last_name => "O'Neill"}), "Zoë O'Neill");
        assert_eq!(eval(&contact, context! {first_name => None::<&str>, last_name => "O'Neill"}), "O'Neill");
    }

    /// Returns what the rules of a stream, then those of its provider, make of an answer; `None` is the engine's own way.
    fn action(manifest: &Manifest, stream: &str, status: u16, body: &Value) -> Option<Action> {
        let stream = manifest.stream(stream).unwrap();
        let rules = stream.errors.iter().chain(&manifest.http.errors);
        let mut matching = rules.filter(|rule| rule.status.0.is_empty() || rule.status.0.contains(&status)).filter(|rule| {
            let names = || context! {status => status, headers => context! {}, body => minijinja::Value::from(minijinja::value::Serde(body))};
            rule.when.as_ref().is_none_or(|when| when.evaluate(names()).unwrap().is_true())
        });
        matching.next().map(|rule| rule.action)
    }

    #[test]
    fn answers_mean_what_the_services_mean_by_them() {
        let catalog = catalog();
        let means =
            |provider: &str, stream: &str, status: u16, body: Value| action(&catalog[provider], stream, status, &body);
        let odata = |message: &str| json!({"error": {"code": "", "message": message}});
        let aptem = |status, message| means("aptem", "learners", status, odata(message));
        let too_many = "The value selected for '$top' exceeds the 5000 record limit for this query.";
        assert_eq!(aptem(400, too_many), Some(Action::FailStream));
        assert_eq!(
            aptem(400, "An error occured while executing requested action. Try again later."),
            Some(Action::Retry)
        );
        assert_eq!(aptem(400, "Syntax error"), None);
        assert_eq!(aptem(401, ""), Some(Action::Refuse));
        assert_eq!(aptem(403, ""), Some(Action::SkipStream));

        let gateway = |status, message: &str| means("bud", "learners", status, json!({"message": message}));
        let no_key = "Access denied due to missing subscription key.";
        assert_eq!(gateway(401, no_key), Some(Action::Refuse));
        assert_eq!(gateway(401, "Unauthorized"), None);
        assert_eq!(
            gateway(403, "Out of call volume quota. Quota will be replenished in 01:00:00."),
            Some(Action::Defer)
        );
        assert_eq!(gateway(403, "Forbidden"), Some(Action::SkipStream));
        assert_eq!(gateway(404, ""), Some(Action::FailStream));
        assert_eq!(means("bud", "employers", 404, Value::Null), Some(Action::SkipStream));

        assert_eq!(means("onefile", "learners", 204, json!("")), Some(Action::EmptyPage));
        assert_eq!(means("onefile", "learners", 403, json!({"message": "no"})), Some(Action::Reauth));

        let hubspot = |status, policy: &str| means("hubspot", "contacts", status, json!({"policyName": policy}));
        assert_eq!(hubspot(429, "DAILY"), Some(Action::Defer));
        assert_eq!(hubspot(429, "TEN_SECONDLY_ROLLING"), Some(Action::Retry));
        assert_eq!(hubspot(403, ""), Some(Action::SkipStream));
        assert_eq!(means("hubspot", "contacts", 530, json!("error code: 1016")), Some(Action::Refuse));

        let salesforce =
            |status, code: &str| means("salesforce", "accounts", status, json!([{"errorCode": code, "message": code}]));
        assert_eq!(salesforce(401, "INVALID_SESSION_ID"), Some(Action::Reauth));
        assert_eq!(salesforce(403, "REQUEST_LIMIT_EXCEEDED"), Some(Action::Defer));
        let concurrent =
            json!([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentRequests Limit exceeded."}]);
        assert_eq!(means("salesforce", "accounts", 403, concurrent), Some(Action::Retry));
        assert_eq!(salesforce(403, "INSUFFICIENT_ACCESS"), Some(Action::SkipStream));
        assert_eq!(salesforce(400, "INVALID_TYPE"), Some(Action::SkipStream));
        assert_eq!(salesforce(400, "INVALID_FIELD"), Some(Action::FailStream));
        assert_eq!(salesforce(400, "INVALID_QUERY_LOCATOR"), Some(Action::RestartWindow));
        assert_eq!(salesforce(400, "QUERY_TIMEOUT"), Some(Action::HalveWindow));
    }

    #[test]
    fn no_body_makes_a_rule_fail() {
        for manifest in catalog().values() {
            for (stream, _) in manifest.streams.iter() {
                for body in [Value::Null, json!(""), json!("<html>"), json!({}), json!([]), json!(7), json!([[null]])] {
                    for status in [200, 204, 302, 400, 401, 403, 404, 406, 414, 423, 429, 477, 500, 530] {
                        action(manifest, stream, status, &body);
                    }
                }
            }
        }
    }

    #[test]
    fn queries_over_several_lines_are_sent_as_one() {
        let catalog = catalog();
        let query = |provider: &str, stream: &str, name: &str| {
            let changes = catalog[provider].stream(stream).unwrap().changes.as_ref().unwrap();
            changes.query.get(name).unwrap().to_string()
        };
        assert_eq!(
            query("salesforce", "accounts", "q"),
            "SELECT {fields|csv} FROM {vars.object} WHERE SystemModstamp >= {window.from|rfc3339} AND \
             SystemModstamp <= {window.to|rfc3339} ORDER BY SystemModstamp ASC, Id ASC"
        );
        assert_eq!(
            query("aptem", "learners", "$filter"),
            "({settings.learner_filter}) and UpdatedDate ge {window.from|rfc3339_millis} and \
             UpdatedDate le {window.to|rfc3339_millis} and Id gt {page}"
        );
    }

    #[test]
    fn a_login_url_of_salesforce_has_a_token_endpoint() {
        let spec = &catalog()["salesforce"].settings["login_url"].clone();
        let accepts = |url: &str| crate::domain::settings::check_setting(spec, &json!(url));
        for url in [
            "https://acme.my.salesforce.com",
            "https://acme--uat.sandbox.my.salesforce.com",
            "https://test.salesforce.com",
            "http://127.0.0.1:8090",
        ] {
            assert!(accepts(url).is_ok(), "{url}");
        }
        for url in [
            "https://acme.lightning.force.com",
            "https://salesforce.com.evil.example",
            "https://evilsalesforce.com",
            "http://acme.my.salesforce.com",
        ] {
            assert!(accepts(url).unwrap_err().contains("https://"), "{url}");
        }
    }

    #[test]
    fn a_provider_unlike_the_others_is_a_file_too() {
        let text = include_str!("../examples/providers/larkfield.yaml");
        let manifest = load("examples/providers/larkfield.yaml", text).unwrap();
        let trainees = manifest.stream("trainees").unwrap();
        assert_eq!(
            (&trainees.full.page.kind, &trainees.changes.as_ref().unwrap().page.kind),
            (&PageKind::Link, &PageKind::Offset)
        );
        assert_eq!(
            action(&manifest, "trainees", 200, &json!({"fault": {"reason": "closed"}})),
            Some(Action::FailStream)
        );
        assert_eq!(action(&manifest, "trainees", 200, &json!({"answer": {"dossiers": []}})), None);
        assert!(!PROVIDERS.iter().any(|(name, _)| name.contains(manifest.provider.as_str())));
    }
}
