//! The manifest of a world, and its settings.

use super::plan::{Kind, Plan, Shape, Sweep};

/// The streams, in the order of the manifest.
pub(super) const STREAMS: [&str; 2] = ["learners", "employers"];

impl Plan {
    /// Returns what follows `http.base` in the manifest.
    pub(super) fn manifest(&self) -> String {
        let mut text = "  auth: {header: {x-token: '{secret.key}'}}\nsecrets: {key: {title: Key}}\n".to_owned();
        if self.values > 0 {
            text += "settings: {centres: {type: list, required: true}}\n";
        }
        if self.scoped {
            text += "check: {get: /scope, scope: {get: /scope, items: 'rows[]', key: id}}\n";
        }
        text += "streams:\n";
        for (name, shape) in STREAMS.iter().zip(&self.shapes) {
            text += &shape.stream(name, self.values > 0);
        }
        text
    }

    /// Returns the settings of the preset.
    pub(super) fn settings(&self) -> String {
        let centres: Vec<String> = (1..=self.values).map(|value| value.to_string()).collect();
        let centres = if self.values > 0 { format!("    centres: [{}]\n", centres.join(", ")) } else { String::new() };
        let employers = if self.shapes.len() > 1 { ", employer.name: name" } else { "" };
        format!("{centres}    field_mappings: {{learner.last_name: name{employers}}}\n")
    }
}

impl Shape {
    fn stream(&self, name: &str, looped: bool) -> String {
        let entity = name.trim_end_matches('s');
        let mut text = format!("  {name}:\n    entity: {entity}\n    key: id\n    records: 'rows[]'\n");
        text += &format!("    full: {}\n", self.read(&format!("/{name}/all"), "", looped));
        if let Some(changes) = &self.changes {
            let window = "from: '{window.from|seconds}', to: '{window.to|seconds}', ";
            text += &format!("    changes: {}\n", self.read(&format!("/{name}/changes"), window, looped));
            text += &format!("    cursor: {{overlap: {}m, settle: {}s}}\n", changes.overlap, changes.settle);
        }
        if let Some(detail) = &self.detail {
            text += &format!("    detail: {{get: '/{name}/one/{{record.id}}', missing_ok: {}}}\n", detail.missing_ok);
        }
        if let Some(every) = self.every {
            text += &format!("    every: {every}h\n");
        }
        if looped {
            text += "    each: {settings: centres}\n";
        }
        let sweep = match self.sweep {
            Sweep::Always => "always",
            Sweep::Weekly => "weekly",
            Sweep::Never => "never",
        };
        let each = if looped { ", query: {v: '{each}'}" } else { "" };
        let feed = if self.feed { format!("feed: {{get: /{name}/gone{each}}}, ") } else { String::new() };
        text += &format!("    deletes: {{{feed}sweep: {sweep}, after: {}, max: 1}}\n", self.after);
        text
    }

    fn read(&self, path: &str, window: &str, looped: bool) -> String {
        let value = if looped { "v: '{each}', " } else { "" };
        let (at, page) = match self.kind {
            Kind::Single => ("", None),
            Kind::Token => ("at: '{page?}'", Some("token: next".to_owned())),
            Kind::Header => {
                ("at: '{page?}'", Some(format!("header: x-next{}", if self.tells_end { ", end: end" } else { "" })))
            }
            Kind::Next => ("", Some("next: next".to_owned())),
            Kind::Link => ("", Some("link: header".to_owned())),
            Kind::Number => ("at: '{page}'", Some("number: 1".to_owned())),
            Kind::Offset => ("at: '{page}'", Some("offset: 0".to_owned())),
            Kind::Keyset => ("at: '{page}'", Some("keyset: id, first: '0'".to_owned())),
        };
        let page = page.map_or(String::new(), |kind| {
            let total = if self.total { ", total: total" } else { "" };
            let more = if self.more { ", more: more" } else { "" };
            let stop = if self.short { ", stop: [empty, short_page]" } else { "" };
            format!(", page: {{{kind}, size: '{}'{total}{more}{stop}}}", self.size)
        });
        format!("{{get: {path}, query: {{{window}{value}{at}}}{page}}}")
    }
}
