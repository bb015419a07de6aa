//! `role_grants`: which user of the operating system has which role when sudo runs the program for them.

use anyhow::Result;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::text::{self, stamp};
use crate::domain::names::Slug;
use crate::domain::role::{Role, RoleName};

/// A grant as stored.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) user: String,
    pub(crate) role: Role,
    pub(crate) by: String,
    pub(crate) at: DateTime<Utc>,
}

const SELECT: &str = "SELECT g.os_user, g.role, o.slug AS organization, g.granted_by, g.granted_at
     FROM role_grants g LEFT JOIN organizations o ON o.id = g.organization_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Grant> {
    let name: RoleName = text::parsed(row, "role")?;
    let organization: Option<Slug> =
        row.get_ref("organization")?.as_str_or_null()?.map(|_| text::parsed(row, "organization")).transpose()?;
    let role = Role::new(name, organization)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))?;
    Ok(Grant { user: row.get("os_user")?, role, by: row.get("granted_by")?, at: text::at(row, "granted_at")? })
}

/// Returns all grants by user.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Grant>> {
    let mut statement = connection.prepare(&format!("{SELECT} ORDER BY g.os_user"))?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the grant of a user, if there is one.
pub(crate) fn of(connection: &Connection, user: &str) -> Result<Option<Grant>> {
    Ok(connection.query_row(&format!("{SELECT} WHERE g.os_user = ?1"), [user], from_row).optional()?)
}

/// Gives a user a role, in the place of the one they have. A tenant's organization is given by its number.
pub(crate) fn put(tx: &Connection, grant: &Grant, organization_id: Option<i64>) -> Result<()> {
    tx.execute(
        "INSERT INTO role_grants (os_user, role, organization_id, granted_by, granted_at)
         VALUES (:user, :role, :organization, :by, :at)
         ON CONFLICT (os_user) DO UPDATE SET role = excluded.role, organization_id = excluded.organization_id,
                granted_by = excluded.granted_by, granted_at = excluded.granted_at",
        named_params! {
            ":user": grant.user, ":role": grant.role.name().as_str(), ":organization": organization_id,
            ":by": grant.by, ":at": stamp(grant.at),
        },
    )?;
    Ok(())
}

/// Takes a user's role away.
pub(crate) fn delete(tx: &Connection, user: &str) -> Result<()> {
    tx.execute("DELETE FROM role_grants WHERE os_user = ?1", [user])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Keep;

    #[test]
    fn a_user_has_the_role_that_was_granted_last() {
        let mut store = crate::store::tests::memory();
        let grant = |role: &str| Grant {
            user: "ann".into(),
            role: role.parse().unwrap(),
            by: "root".into(),
            at: DateTime::UNIX_EPOCH,
        };
        for role in ["operator", "super"] {
            store.change(Keep::Yes, |tx| put(tx, &grant(role), None)).unwrap();
            assert_eq!(of(store.read(), "ann").unwrap().unwrap().role.to_string(), role);
        }
        assert!(of(store.read(), "bob").unwrap().is_none());
        assert_eq!(all(store.read()).unwrap().len(), 1);
        store.change(Keep::Yes, |tx| delete(tx, "ann")).unwrap();
        assert!(of(store.read(), "ann").unwrap().is_none());
        let alone = store.change(Keep::Yes, |tx| {
            tx.execute("INSERT INTO role_grants VALUES ('eve', 'tenant', NULL, '', '', NULL)", [])?;
            Ok(())
        });
        assert!(alone.is_err(), "a tenant of no organization");
    }
}
