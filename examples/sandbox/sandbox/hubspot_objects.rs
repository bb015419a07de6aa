//! HubSpot's contacts and companies as tables.

use super::clock::{MILLI, Ticks};
use super::hubspot::id;
use super::roster::{Account, Kind, Roster};
use super::table::{Cell, Column, Table, Type};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Contacts,
    Companies,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Type::Text }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Type::Int }
}

const fn time(name: &'static str) -> Column {
    Column { name, kind: Type::Time }
}

const CONTACTS: &[Column] = &[
    number("hs_object_id"),
    text("firstname"),
    text("lastname"),
    text("email"),
    text("phone"),
    text("jobtitle"),
    text("company"),
    number("associatedcompanyid"),
    text("account_manager"),
    text("hs_merged_object_ids"),
    time("createdate"),
    time("lastmodifieddate"),
];

const COMPANIES: &[Column] = &[
    number("hs_object_id"),
    text("name"),
    text("domain"),
    text("phone"),
    text("address"),
    text("city"),
    text("zip"),
    text("account_manager"),
    text("hs_merged_object_ids"),
    number("numberofemployees"),
    time("createdate"),
    time("hs_lastmodifieddate"),
];

impl Object {
    /// Returns the type of a name, in the singular, the plural or by its number.
    pub(crate) fn named(name: &str) -> Option<Object> {
        match name {
            "contacts" | "contact" | "0-1" => Some(Object::Contacts),
            "companies" | "company" | "0-2" => Some(Object::Companies),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Object::Contacts => "contacts",
            Object::Companies => "companies",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Object::Contacts => Kind::Contact,
            Object::Companies => Kind::Employer,
        }
    }

    /// Returns the properties that come where none is asked for.
    pub(crate) fn defaults(self) -> &'static [&'static str] {
        match self {
            Object::Contacts => &["createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"],
            Object::Companies => &["createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"],
        }
    }

    /// Returns the properties that come beside those asked for.
    pub(crate) fn always(self) -> &'static [&'static str] {
        match self {
            Object::Contacts => &["createdate", "hs_object_id", "lastmodifieddate"],
            Object::Companies => &["createdate", "hs_lastmodifieddate", "hs_object_id"],
        }
    }
}

/// One type of object in one account: the records that are there, or else the archived ones.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) account: &'a Account,
    pub(crate) object: Object,
    pub(crate) archived: bool,
}

impl View<'_> {
    pub(crate) fn roster(&self) -> &Roster {
        match self.object {
            Object::Contacts => &self.account.contacts,
            Object::Companies => &self.account.employers,
        }
    }

    pub(crate) fn id(&self, row: usize) -> String {
        id(self.account, self.object.kind(), row).to_string()
    }

    /// Returns the id of the company that a contact belongs to; one contact in twenty has none.
    pub(crate) fn company(&self, row: usize) -> Option<String> {
        let belongs = self.object == Object::Contacts && row % 20 != 19 && row < self.account.employers.len();
        belongs.then(|| id(self.account, Kind::Employer, row).to_string())
    }

    fn contact(&self, row: usize, column: &str) -> Cell {
        let person = self.account.contact(row);
        match column {
            "firstname" => person.first_name().into(),
            "lastname" => person.last_name().into(),
            "email" => person.email().into(),
            "phone" => person.mobile().into(),
            "jobtitle" => person.job_title().into(),
            // Free text on the contact, which nobody keeps in step with the company's own name.
            "company" => self.account.company(row, person.revision).name().into(),
            "associatedcompanyid" => self.company(row).and_then(|id| id.parse::<i64>().ok()).into(),
            "account_manager" => person.account_manager().into(),
            _ => Cell::Null,
        }
    }

    fn employer(&self, row: usize, column: &str) -> Cell {
        let company = self.account.employer(row);
        match column {
            "name" => company.name().into(),
            "domain" => company.domain().into(),
            "phone" => company.phone().into(),
            "address" => company.street().into(),
            "city" => company.city().into(),
            "zip" => company.postcode().into(),
            "account_manager" => company.account_manager().into(),
            "numberofemployees" => company.employees().into(),
            _ => Cell::Null,
        }
    }
}

impl Table for View<'_> {
    fn columns(&self) -> &'static [Column] {
        match self.object {
            Object::Contacts => CONTACTS,
            Object::Companies => COMPANIES,
        }
    }

    fn key(&self) -> &'static str {
        "hs_object_id"
    }

    fn len(&self) -> usize {
        self.roster().len()
    }

    fn shown(&self, row: usize) -> bool {
        let roster = self.roster();
        row < self.len() && roster.removed(row).is_some() == self.archived && roster.merged_into(row).is_none()
    }

    fn cell(&self, row: usize, column: &str) -> Cell {
        match (column, self.object) {
            ("hs_merged_object_ids", _) => {
                let ids: Vec<String> = self.roster().merged(row).map(|row| self.id(row)).collect();
                if ids.is_empty() { Cell::Null } else { ids.join(";").into() }
            }
            ("hs_object_id", _) => id(self.account, self.object.kind(), row).into(),
            ("createdate", _) => Cell::Time(to_milli(self.roster().created(row))),
            ("lastmodifieddate" | "hs_lastmodifieddate", _) => Cell::Time(to_milli(self.roster().modified(row))),
            (_, Object::Contacts) => self.contact(row, column),
            (_, Object::Companies) => self.employer(row, column),
        }
    }
}

/// HubSpot keeps milliseconds: a filter must not see more than an answer shows.
fn to_milli(at: Ticks) -> Ticks {
    at - at.rem_euclid(MILLI)
}
