//! Roles: which part of the program a caller may use, and how a role is written.

use std::fmt;
use std::str::FromStr;

use super::names::Slug;

/// What a caller may do. Which commands that is, `commands::access` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Super,
    /// Runs syncs and backups, and reads what a person on call needs; changes nothing else.
    Operator,
    /// Creates organizations, their overrides and credentials; reads no logs and no learners, deletes nothing.
    Provisioner,
    /// Sees its own organization only, and asks for syncs of it.
    Tenant(Slug),
}

/// A role without its organization: what commands are declared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleName {
    /// Everything
    Super,
    /// Run syncs and backups; change nothing else
    Operator,
    /// Create organizations, their overrides and credentials; read no logs, delete nothing
    Provisioner,
    /// See one organization, and ask for syncs of it
    Tenant,
}

impl RoleName {
    pub(crate) const ALL: [RoleName; 4] =
        [RoleName::Super, RoleName::Operator, RoleName::Provisioner, RoleName::Tenant];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RoleName::Super => "super",
            RoleName::Operator => "operator",
            RoleName::Provisioner => "provisioner",
            RoleName::Tenant => "tenant",
        }
    }
}

impl FromStr for RoleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = RoleName::ALL.into_iter().find(|name| name.as_str() == text);
        known.ok_or_else(|| format!("there is no role `{}`", text.escape_debug()))
    }
}

impl Role {
    /// Returns a role from its parts, unless an organization is missing, or given where there can be none.
    pub(crate) fn new(name: RoleName, organization: Option<Slug>) -> Result<Self, String> {
        match (name, organization) {
            (RoleName::Super, None) => Ok(Role::Super),
            (RoleName::Operator, None) => Ok(Role::Operator),
            (RoleName::Provisioner, None) => Ok(Role::Provisioner),
            (RoleName::Tenant, Some(organization)) => Ok(Role::Tenant(organization)),
            (RoleName::Tenant, None) => Err("a tenant is of an organization: `tenant:acme`".into()),
            (name, Some(_)) => Err(format!("{} is of no organization", name.as_str())),
        }
    }

    pub(crate) fn name(&self) -> RoleName {
        match self {
            Role::Super => RoleName::Super,
            Role::Operator => RoleName::Operator,
            Role::Provisioner => RoleName::Provisioner,
            Role::Tenant(_) => RoleName::Tenant,
        }
    }

    /// Returns whether who has this role may take on the other: a role can be narrowed and never widened.
    pub(crate) fn covers(&self, other: &Role) -> bool {
        *self == Role::Super || self == other
    }
}

/// As `operator` or `tenant:acme`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Tenant(organization) => write!(f, "tenant:{organization}"),
            role => f.write_str(role.name().as_str()),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, organization) = match text.split_once(':') {
            Some((name, slug)) => (name, Some(slug.parse()?)),
            None => (text, None),
        };
        Role::new(name.parse()?, organization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_as_it_is_written() {
        for text in ["super", "operator", "provisioner", "tenant:acme"] {
            assert_eq!(text.parse::<Role>().unwrap().to_string(), text);
        }
        for bad in ["", "tenant", "tenant:", "tenant:A", "operator:acme", "super:", "Super", "root"] {
            assert!(bad.parse::<Role>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_is_narrowed_and_never_widened() {
        let role = |text: &str| text.parse::<Role>().unwrap();
        let all = ["super", "operator", "provisioner", "tenant:acme", "tenant:globex"];
        for one in all {
            for other in all {
                assert_eq!(role(one).covers(&role(other)), one == "super" || one == other, "{one} {other}");
            }
        }
    }
}
