//! Proves, without a network, what the types of a manifest cannot say: every slot has a source, every page an end.

use std::collections::{BTreeMap, BTreeSet};

use super::super::names::Name;
use super::super::network;
use super::super::slot::{JsonTemplate, Scope, Slot, Template};
use super::{
    Action, Auth, Decode, ErrorRule, Grant, Job, Limit, Manifest, Ordered, PageKind, Read, SettingType, Stop, Stream,
};

/// Something wrong with a manifest, at a path of its YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn path_refs(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// Returns everything that is wrong with a manifest; nothing, for one that can be used.
pub(crate) fn lint(manifest: &Manifest) -> Vec<Finding> {
    let mut lint = Lint { manifest, findings: Vec::new() };
    lint.settings();
    lint.http();
    if let Some(check) = &manifest.check {
        lint.slots(&["check"], pair_slots(&check.get, &check.query), &[Scope::Token], None);
        let expect = check.expect.iter().flat_map(|(_, template)| template.slots()).collect();
        lint.slots(&["check", "expect"], expect, &[], None);
        if let Some(scope) = &check.scope {
            let slots =
                scope.get.slots().chain(scope.query.iter().flat_map(|(_, template)| template.slots())).collect();
            lint.slots(&["check", "scope"], slots, &[Scope::Token], None);
            if !scope.items.array {
                lint.find(&["check", "scope", "items"], "this is the place of a list: let it end with `[]`");
            }
        }
    }
    if manifest.streams.0.is_empty() {
        lint.find(&["streams"], "a provider needs at least one stream");
    }
    for (name, stream) in manifest.streams.iter() {
        lint.stream(name, stream);
    }
    lint.findings
}

struct Lint<'m> {
    manifest: &'m Manifest,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn find(&mut self, path: &[&str], message: impl Into<String>) {
        self.findings
            .push(Finding { path: path.iter().map(|part| (*part).to_owned()).collect(), message: message.into() });
    }

    fn settings(&mut self) {
        for (name, spec) in &self.manifest.settings {
            let path = ["settings", name.as_str()];
            let every = matches!(name.as_str(), "enabled" | "sync_frequency" | "field_mappings" | "powerbi_filters");
            if every || network::is_setting(name.as_str()) {
                self.find(&path, format!("`{name}` is a setting of every provider and cannot be declared again"));
            }
            if (spec.setting_type == SettingType::Enum) == spec.values.is_empty() {
                self.find(&path, "`values` belong to `type: enum`, and an enum needs them");
            }
            if let Some(pattern) = &spec.pattern
                && regex::Regex::new(pattern).is_err()
            {
                self.find(&["settings", name.as_str(), "pattern"], "this is not a regular expression");
            }
            if let Some(default) = &spec.default
                && let Err(message) = super::super::settings::check_setting(spec, default)
            {
                self.find(&["settings", name.as_str(), "default"], message);
            }
        }
        for (name, spec) in &self.manifest.secrets {
            if let Some(pattern) = &spec.pattern
                && regex::Regex::new(pattern).is_err()
            {
                self.find(&["secrets", name.as_str(), "pattern"], "this is not a regular expression");
            }
            if let Some(rotate) = &spec.rotate {
                let path = ["secrets", name.as_str(), "rotate"];
                self.slots(&path, rotate.post.slots().collect(), &[Scope::Token], None);
                self.pairs(&path, &rotate.headers, &[Scope::Secret, Scope::Token]);
                let body = rotate.json.iter().flat_map(JsonTemplate::slots).collect();
                self.slots(&path, body, &[Scope::Secret, Scope::Token], None);
                if rotate.value.steps.is_empty() {
                    self.find(&[path[0], path[1], path[2], "value"], "this is the path of a text in the answer");
                }
            }
        }
    }

    fn http(&mut self) {
        let http = &self.manifest.http;
        self.slots(&["http", "base"], http.base.slots().collect(), &[Scope::Token], None);
        self.pairs(&["http", "headers"], &http.headers, &[Scope::Secret, Scope::Token]);
        self.pairs(&["http", "query"], &http.query, &[]);
        self.auth(&http.auth);
        for (name, limit) in http.limits.iter() {
            self.rate(name, limit);
            if limit.only.as_deref().is_some_and(|only| regex::Regex::new(only).is_err()) {
                self.find(&["http", "limits", name, "only"], "this is not a regular expression");
            }
            if limit.reset.is_some() && limit.remaining.is_none() && limit.used.is_none() {
                self.find(
                    &["http", "limits", name, "reset"],
                    "`reset` says when `remaining` or `used` begins anew: name it",
                );
            }
            if limit.used.is_some() != (limit.stop_at.is_some() || limit.refill.is_some()) {
                self.find(
                    &["http", "limits", name],
                    "`used` and `stop_at` need each other: what is counted, and how much of it is too much; for a leaky bucket \
                     `refill` says how fast it empties",
                );
            }
            if limit.stop_at.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                self.find(&["http", "limits", name, "stop_at"], "this is a share of the allowance: above 0, at most 1");
            }
        }
        self.errors(&["http"], &http.errors, None);
    }

    /// Checks that a rate is one under any settings that are allowed.
    fn rate(&mut self, name: &str, limit: &Limit) {
        let path = ["http", "limits", name, "rate"];
        let mut settings = BTreeMap::new();
        for slot in limit.rate.slots() {
            let spec = self.manifest.settings.get(slot.member.as_str()).filter(|_| slot.scope == Scope::Settings);
            let counts = spec.is_some_and(|spec| {
                spec.setting_type == SettingType::Int
                    && spec.default.is_some()
                    && spec.min.is_some_and(|min| min >= 1.0)
            });
            if !counts || slot.optional || slot.filter.is_some() {
                let message = "a slot in a rate is a setting of type `int` with a `default` and a `min` of at least 1";
                return self.find(&path, message);
            }
            settings.insert(slot.member.clone(), 1.into());
        }
        if let Err(message) = limit.rate(&settings) {
            self.find(&path, message);
        }
    }

    /// Checks the rules for answers. Those of `http` are asked for calls of no stream too: `vars` do not exist there.
    fn errors(&mut self, path: &[&str], rules: &[ErrorRule], stream: Option<&Stream>) {
        for (position, rule) in rules.iter().enumerate() {
            let position = position.to_string();
            let at = |part| [path, &["errors", position.as_str(), part]].concat();
            if rule.action == Action::SkipJob && !path.ends_with(&["job", "create"]) {
                self.find(&at("do"), "`skip_job` says that no job is made: it stands in `job.create`");
            }
            let slots: Vec<&Slot> = rule.hint.iter().flat_map(Template::slots).collect();
            if stream.is_none() && slots.iter().any(|slot| slot.scope == Scope::Vars) {
                self.find(&at("hint"), "`vars` are a stream's own: write the rule in `defaults` or in the stream");
            }
            self.slots(&at("hint"), slots, &[], stream);
        }
    }

    fn auth(&mut self, auth: &Auth) {
        let path = ["http", "auth"];
        match auth {
            Auth::None => {}
            Auth::Bearer(template) => {
                self.slots(&path, template.slots().collect(), &[Scope::Secret, Scope::Token], None)
            }
            Auth::Basic(basic) => {
                self.slots(&path, basic.user.slots().chain(basic.pass.slots()).collect(), &[Scope::Secret], None);
            }
            Auth::Header(pairs) | Auth::Query(pairs) => self.pairs(&path, pairs, &[Scope::Secret, Scope::Token]),
            Auth::Oauth(oauth) => {
                let templates = [&Some(oauth.token_url.clone()), &oauth.client_id, &oauth.client_secret, &oauth.scopes];
                for template in templates.into_iter().flatten() {
                    self.slots(&path, template.slots().collect(), &[Scope::Secret], None);
                }
                self.pairs(&path, &oauth.extra, &[Scope::Secret]);
                self.pairs(&path, &oauth.headers, &[Scope::Secret]);
                match oauth.grant {
                    Grant::ClientCredentials if oauth.client_id.is_none() || oauth.client_secret.is_none() => {
                        self.find(&path, "the grant `client_credentials` needs `client_id` and `client_secret`");
                    }
                    Grant::RefreshToken if oauth.refresh_token.is_none() => {
                        self.find(&path, "the grant `refresh_token` needs `refresh_token`, the name of a secret");
                    }
                    Grant::JwtBearer if oauth.jwt.is_none() => self.find(&path, "the grant `jwt_bearer` needs `jwt`"),
                    _ => {}
                }
                let named = oauth.refresh_token.iter().chain(oauth.jwt.iter().map(|jwt| &jwt.key));
                for secret in named {
                    self.secret(&path, secret);
                }
                if let Some(jwt) = &oauth.jwt {
                    for template in [&jwt.issuer, &jwt.subject, &jwt.audience] {
                        self.slots(&path, template.slots().collect(), &[Scope::Secret], None);
                    }
                }
            }
            Auth::Login(login) => {
                self.slots(&path, login.post.slots().collect(), &[], None);
                self.pairs(&path, &login.headers, &[Scope::Secret]);
                self.slots(&path, login.json.iter().flat_map(JsonTemplate::slots).collect(), &[Scope::Secret], None);
                self.auth(&login.carry);
            }
            Auth::All(all) => all.iter().for_each(|auth| self.auth(auth)),
            Auth::Choose(choose) => {
                let values =
                    self.manifest.settings.get(&choose.setting).map(|spec| spec.values.as_slice()).unwrap_or_default();
                let named: BTreeSet<&str> = choose.of.iter().map(|(name, _)| name.as_str()).collect();
                if values.iter().map(String::as_str).collect::<BTreeSet<_>>() != named {
                    let setting = &choose.setting;
                    self.find(
                        &path,
                        format!("`choose` needs one entry for each value of the enum setting `{setting}`"),
                    );
                }
                choose.of.iter().for_each(|(_, auth)| self.auth(auth));
            }
        }
    }

    fn secret(&mut self, path: &[&str], secret: &Name) {
        if !self.manifest.secrets.contains_key(secret) {
            self.find(path, format!("there is no secret `{secret}`"));
        }
    }

    fn pairs(&mut self, path: &[&str], pairs: &Ordered<Template>, scopes: &[Scope]) {
        self.slots(path, pairs.iter().flat_map(|(_, template)| template.slots()).collect(), scopes, None);
    }

    /// Checks that each slot is of a scope that exists at this place, and names something that is declared.
    fn slots(&mut self, path: &[&str], slots: Vec<&Slot>, scopes: &[Scope], stream: Option<&Stream>) {
        for Slot { scope, member, .. } in slots {
            let known = match scope {
                Scope::Settings => self.manifest.settings.contains_key(member.as_str()),
                Scope::Secret => scopes.contains(scope) && self.manifest.secrets.contains_key(member.as_str()),
                Scope::Vars => stream.is_none_or(|stream| stream.vars.contains_key(member)),
                Scope::Now => true,
                other => scopes.contains(other),
            };
            if !known {
                let scope = format!("{scope:?}").to_lowercase();
                let slot = if member.is_empty() { scope } else { format!("{scope}.{member}") };
                self.find(path, format!("the slot `{{{slot}}}` has no source here"));
            }
        }
    }

    fn stream(&mut self, name: &str, stream: &Stream) {
        let at = |part: &'static str| ["streams", name, part].map(str::to_owned);
        let path = |part: &'static str| at(part).to_vec();
        if name.parse::<Name>().is_err() {
            self.find(&["streams", name], "a stream's name takes lower-case letters, digits and `_`");
        }
        if stream.key.paths().any(|path| path.steps.is_empty()) {
            self.find(&["streams", name, "key"], "every stream needs the path of a unique key");
        }
        self.read(&path("full"), &stream.full, stream, false);
        if let Some(changes) = &stream.changes {
            self.read(&path("changes"), changes, stream, true);
            if stream.cursor.is_none() {
                self.find(&["streams", name, "changes"], "`changes` needs a `cursor`");
            }
            if !changes.slots().iter().any(|slot| slot.scope == Scope::Window && slot.member == "from") {
                self.find(&["streams", name, "changes"], "`changes` never says from when: use `{window.from}`");
            }
        } else if stream.cursor.is_some() {
            self.find(&["streams", name, "cursor"], "a `cursor` is of use only with `changes`");
        }
        if let Some(job) = &stream.job {
            self.job(name, job, stream);
        }
        if let Some(step) = stream.cursor.as_ref().and_then(|cursor| cursor.step).filter(|step| step.0 < 60) {
            self.find(
                &["streams", name, "cursor", "step"],
                format!("a window of {step} is too short: a minute is the least"),
            );
        }
        if let Some(feed) = &stream.deletes.feed {
            self.read(&path("deletes"), feed, stream, true);
        }
        if stream.deletes.merged.as_ref().is_some_and(|merged| stream.key.paths().any(|path| path == merged)) {
            self.find(
                &["streams", name, "deletes", "merged"],
                "`merged` is where other keys stand, not the record's own",
            );
        }
        if let Some(detail) = &stream.detail {
            let slots = pair_slots(&detail.get, &detail.query);
            self.slots(&["streams", name, "detail"], slots, &[Scope::Record, Scope::Each, Scope::Fields], Some(stream));
            if detail.concurrent == 0 {
                self.find(&["streams", name, "detail"], "`concurrent` is at least 1");
            }
        }
        self.errors(&["streams", name], &stream.errors, Some(stream));
        if let Some(each) = &stream.each {
            let list =
                self.manifest.settings.get(&each.settings).is_some_and(|spec| spec.setting_type == SettingType::List);
            if !list {
                self.find(&["streams", name, "each"], format!("`{}` is not a setting of type `list`", each.settings));
            }
        }
        if !(0.0..=1.0).contains(&stream.deletes.max) || stream.deletes.after == 0 {
            self.find(&["streams", name, "deletes"], "`max` is a share from 0 to 1, `after` at least 1");
        }
    }

    fn job(&mut self, name: &str, job: &Job, stream: &Stream) {
        let at = |part: &'static str| ["streams", name, "job", part];
        let mut scopes = vec![Scope::Fields, Scope::Token];
        if stream.each.is_some() {
            scopes.push(Scope::Each);
        }
        let create = &job.create.request;
        self.slots(&at("create"), create.slots(), &scopes, Some(stream));
        self.errors(&at("create"), &job.create.errors, Some(stream));
        if create.json.is_some() && !create.form.0.is_empty() {
            self.find(&at("create"), "a job is created with a `json` or a `form` body, not both");
        }
        if let Some(when) = &job.when {
            self.slots(&at("when"), pair_slots(&when.get, &when.query), &scopes, Some(stream));
            let from: Vec<&Slot> = when.from.slots().collect();
            if from.is_empty() && when.from.to_string().parse::<u64>().is_err() {
                self.find(&at("when"), "`from` is the number of records from which on a job is made");
            }
            self.slots(&at("when"), from, &[], Some(stream));
        }
        scopes.push(Scope::Job);
        self.slots(&at("poll"), pair_slots(&job.poll.get, &job.poll.query), &scopes, Some(stream));
        self.slots(&at("poll"), job.poll.hint.iter().flat_map(Template::slots).collect(), &[], Some(stream));
        self.slots(&at("types"), job.types.iter().flat_map(|types| types.get.slots()).collect(), &scopes, Some(stream));
        self.slots(&at("delete"), job.delete.iter().flat_map(Template::slots).collect(), &scopes, Some(stream));
        let names_it = |slots: Vec<&Slot>| slots.iter().any(|slot| slot.scope == Scope::Job);
        for (part, named) in [
            ("poll", names_it(pair_slots(&job.poll.get, &job.poll.query))),
            ("download", names_it(job.download.slots())),
            ("delete", job.delete.as_ref().is_none_or(|delete| names_it(delete.slots().collect()))),
        ] {
            if !named {
                self.find(&["streams", name, "job", part], "it never says which job: put `{job}` somewhere");
            }
        }
        let path = at("download").map(str::to_owned);
        self.read(&path, &job.download, stream, false);
        self.errors(&["streams", name, "job"], &job.errors, Some(stream));
    }

    fn read(&mut self, path: &[String], read: &Read, stream: &Stream, windowed: bool) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if read.get.is_some() == read.post.is_some() {
            self.find(&path, "a read has `get` or `post`, one of them");
        }
        if read.json.is_some() && !read.form.0.is_empty() {
            self.find(&path, "a read has a `json` or a `form` body, not both");
        }
        let mut scopes = vec![Scope::Page, Scope::Fields, Scope::Token];
        if windowed {
            scopes.push(Scope::Window);
        }
        if stream.each.is_some() {
            scopes.push(Scope::Each);
        }
        if path.ends_with(&["job", "download"]) {
            scopes.push(Scope::Job);
        }
        let slots = read.slots();
        let places_page = slots.iter().any(|slot| slot.scope == Scope::Page);
        self.slots(&path, slots, &scopes, Some(stream));
        let page = &read.page;
        let needs_place = !matches!(page.kind, PageKind::None | PageKind::Next(_) | PageKind::Link);
        if needs_place != places_page {
            self.find(
                &path,
                if needs_place {
                    "the position of the page is never sent: put `{page}` somewhere"
                } else {
                    "`{page}` has no source: say how pages follow in `page`"
                },
            );
        }
        if (page.stop.contains(&Stop::ShortPage) || page.kind == PageKind::Offset) && page.size.is_none() {
            self.find(&path, "a short page or an offset cannot be known without `page.size`");
        }
        if page.total.is_some() && matches!(page.kind, PageKind::Keyset(_)) {
            self.find(
                &path,
                "a `total` proves nothing of a `keyset`: each page is a query of its own, with its own total",
            );
        }
        if (page.end.is_some() || page.rows.is_some()) && !matches!(page.kind, PageKind::Header(_)) {
            self.find(&path, "`end` and `rows` belong to pages by `header`");
        }
        if read.decode() == Decode::Csv {
            if !matches!(page.kind, PageKind::None | PageKind::Header(_) | PageKind::Link) || page.total.is_some() {
                self.find(&path, "a page of CSV tells the next one in a header: page by `header` or `link`");
            }
            if read.records.is_some() {
                self.find(&path, "each line of a CSV is a record: leave `records` out");
            }
        }
        if read.cap.is_some() && !matches!(page.kind, PageKind::Keyset(_)) {
            self.find(&path, "a `cap` needs a way past it: page by `keyset`");
        }
        if let PageKind::Keyset(key) = &page.kind
            && Some(key) != stream.key.single()
        {
            self.find(&path, "a keyset other than the stream's key would lose records that share its value");
        }
    }
}

/// Returns the slots of a path and its query.
fn pair_slots<'t>(path: &'t Template, query: &'t Ordered<Template>) -> Vec<&'t Slot> {
    path.slots().chain(query.iter().flat_map(|(_, template)| template.slots())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::load;

    fn error(rule_of_http: &str, rule_of_stream: &str) -> Option<String> {
        let text = format!(
            "provider: x\nrevision: 1\nkind: lms\ntitle: X\nhttp:\n  base: https://x.example\n  errors: [{rule_of_http}]\n\
             streams:\n  a:\n    key: id\n    records: '[]'\n    vars: {{set: A}}\n    full: {{get: /a}}\n    errors: [{rule_of_stream}]\n"
        );
        load("x.yaml", &text).err().map(|error| error.message)
    }

    #[test]
    fn limits_name_headers_that_belong_together() {
        let error = |limit: &str| {
            let text = format!(
                "provider: x\nrevision: 1\nkind: lms\ntitle: X\nhttp:\n  base: https://x.example\n  limits: {{all: {limit}}}\n\
                 streams:\n  a: {{key: id, records: '[]', full: {{get: /a}}}}\n"
            );
            load("x.yaml", &text).err().map(|error| error.message)
        };
        assert_eq!(error("{rate: 5/1s, remaining: X-Left, reset: X-Reset}"), None);
        assert_eq!(error("{rate: 5/1s, used: X-Used, stop_at: 0.8}"), None);
        assert!(error("{rate: 5/1s, remaining: 'X Left'}").unwrap().contains("not the name of a header"));
        assert!(error("{rate: 5/1s, reset: X-Reset}").unwrap().contains("begins anew"));
        assert!(error("{rate: 5/1s, used: X-Used}").unwrap().contains("need each other"));
        assert!(error("{rate: 5/1s, used: X-Used, stop_at: 80}").unwrap().contains("at most 1"));
    }

    #[test]
    fn a_call_for_a_new_secret_has_its_slots_proved_and_says_where_the_value_is() {
        let error = |secret: &str| {
            let text = format!(
                "provider: x\nrevision: 1\nkind: lms\ntitle: X\nsecrets:\n  key: {{title: Key, {secret}}}\nhttp:\n  base: https://x.example\n\
                 streams:\n  a: {{key: id, records: '[]', full: {{get: /a}}}}\n"
            );
            load("x.yaml", &text).err().map(|error| error.message)
        };
        assert_eq!(error("max_age: never, rotate: {post: /keys, json: {old: '{secret.key}'}, value: key.new}"), None);
        assert!(
            error("rotate: {post: '/keys/{secret.key}', value: key}").unwrap().contains("no source"),
            "not in an address"
        );
        assert!(
            error("rotate: {post: /keys, headers: {X: '{secret.other}'}, value: key}").unwrap().contains("no source")
        );
        assert!(error("rotate: {post: /keys, value: ''}").unwrap().contains("path of a text"));
        assert!(error("rotate: {post: /keys}").unwrap().contains("value"));
        assert!(error("max_age: soon").unwrap().contains("not a length"));
    }

    #[test]
    fn rules_for_answers_are_proved_wherever_they_stand() {
        let good = "{status: 403, do: skip_stream, hint: 'no {vars.set}'}";
        assert_eq!(error("", good), None);
        assert!(error(good, "").unwrap().contains("stream's own"));
        assert!(error("", "{when: 'status ==', do: retry}").unwrap().contains("not an expression"));
        assert!(error("", "{status: 400, do: retry, hint: '{vars.other}'}").unwrap().contains("no source"));
        assert!(error("{status: 400, do: retry, hint: '{secret.key}'}", "").unwrap().contains("no source"));
    }

    const JOB: &str = "
      when: {get: /count, count: total, from: '{settings.many}'}
      create: {post: /jobs, json: {query: '{fields|csv}'}, id: id, errors: [{status: 400, do: skip_job}]}
      poll: {get: '/jobs/{job}', until: body.done, fail_when: body.failed}
      download: {get: '/jobs/{job}/rows', query: {at: '{page?}'}, decode: csv, page: {header: X-Next, end: none}}
      delete: '/jobs/{job}'
      errors: [{status: 404, do: restart_window}]
";

    /// Returns what is wrong with a manifest of one stream, under a limit of this rate.
    fn wrong(rate: &str, stream: &str, job: &str) -> Option<String> {
        let text = format!(
            "provider: x\nrevision: 1\nkind: lms\ntitle: X\nsettings:\n  many: {{type: int, default: 9, min: 1}}\n  \
             few: {{type: int, default: 0, min: 0}}\n  open: {{type: int, min: 1}}\nhttp:\n  base: https://x.example\n  \
             limits: {{all: {{rate: '{rate}'}}}}\nstreams:\n  a:\n    key: id\n    records: '[]'\n    \
             {stream}\n    job: {job}"
        );
        load("x.yaml", &text).err().map(|error| error.message)
    }

    #[test]
    fn a_job_says_where_each_slot_comes_from_and_which_job_it_is_about() {
        let full = "full: {get: /a}";
        assert_eq!(wrong("1/1s", full, JOB), None);
        for (part, by, what) in [
            ("/jobs/{job}/rows", "/rows", "it never says which job"),
            ("get: '/jobs/{job}', until", "get: /state, until", "it never says which job"),
            ("delete: '/jobs/{job}'", "delete: /jobs", "it never says which job"),
            ("post: /jobs", "post: '/jobs/{job}'", "`{job}` has no source"),
            ("get: /count", "get: '/count/{page}'", "`{page}` has no source"),
            ("'{settings.many}'", "lots", "the number of records"),
            ("until: body.done", "until: 'body.done =='", "not an expression"),
            ("status: 404, do: restart_window", "status: 404, do: skip_job", "it stands in `job.create`"),
            (", page: {header: X-Next, end: none}", ", page: {token: next}", "in a header"),
            (
                "query: {at: '{page?}'}, decode: csv, page: {header: X-Next, end: none}",
                "decode: csv, page: {link: header, end: none}",
                "belong to pages by `header`",
            ),
            ("decode: csv", "decode: csv, records: rows", "each line of a CSV is a record"),
            ("at: '{page?}'", "at: '1'", "the position of the page is never sent"),
        ] {
            assert!(JOB.contains(part), "{part}");
            let message = wrong("1/1s", full, &JOB.replace(part, by));
            assert!(message.as_ref().is_some_and(|message| message.contains(what)), "{by}: {message:?}");
        }
        assert!(wrong("1/1s", "full: {get: '/a/{job}'}", JOB).unwrap().contains("`{job}` has no source"));
        let told = "full: {get: /a, query: {at: '{page}'}, page: {keyset: id, first: '0', total: total}}";
        assert!(wrong("1/1s", told, JOB).unwrap().contains("a `total` proves nothing of a `keyset`"));
    }

    #[test]
    fn a_rate_is_one_under_all_settings_that_are_allowed() {
        let rate = |rate: &str| wrong(rate, "full: {get: /a}", JOB);
        assert_eq!(rate("{settings.many}/10s"), None);
        for bad in
            ["{settings.few}/10s", "{settings.open}/10s", "{settings.none}/10s", "{now}/10s", "{settings.many?}/10s"]
        {
            assert!(rate(bad).unwrap().contains("a slot in a rate"), "{bad}");
        }
        for bad in ["fast", "{settings.many}", "0/1s", "{settings.many}/10"] {
            assert!(rate(bad).unwrap().contains("is not a"), "{bad}: {:?}", rate(bad));
        }
    }

    #[test]
    fn what_was_merged_stands_beside_the_key() {
        let merged = |path: &str| wrong("1/1s", &format!("full: {{get: /a}}\n    deletes: {{merged: {path}}}"), JOB);
        assert_eq!(merged("properties.merged_ids"), None);
        assert!(merged("id").unwrap().contains("not the record's own"));
        assert!(merged("'a['").is_some());
    }

    #[test]
    fn a_window_is_no_shorter_than_a_minute() {
        let stream = |step: &str| {
            let changes = "changes: {get: '/b/{window.from}'}";
            wrong("1/1s", &format!("full: {{get: /a}}\n    {changes}\n    cursor: {{step: {step}}}"), JOB)
        };
        assert_eq!(stream("1m"), None);
        assert!(stream("59s").unwrap().contains("a minute is the least"));
    }
}
