//! stand-in
pub(crate) const PROVIDERS: [(&str, &str); 0] = [];
pub(crate) const PRESETS: [(&str, &str); 0] = [];
