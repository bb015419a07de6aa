//! Salesforce's `Account`, `Contact` and `Organization` as tables.

use serde_json::{Map, Value, json};

use super::clock::{self, SECOND, Ticks};
use super::people::name_hash;
use super::roster::{Account, Kind, Roster};
use super::table::{Cell, Column, Table, Type};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    Account,
    Contact,
    Organization,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Type::Text }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Type::Int }
}

const fn time(name: &'static str) -> Column {
    Column { name, kind: Type::Time }
}

const fn yes_no(name: &'static str) -> Column {
    Column { name, kind: Type::Bool }
}

const ACCOUNT: &[Column] = &[
    text("Id"),
    yes_no("IsDeleted"),
    text("MasterRecordId"),
    text("Name"),
    text("Type"),
    text("ParentId"),
    text("BillingStreet"),
    text("BillingCity"),
    text("BillingPostalCode"),
    text("BillingCountry"),
    text("Phone"),
    text("Website"),
    text("Industry"),
    int("NumberOfEmployees"),
    text("OwnerId"),
    text("Owner.Name"),
    time("CreatedDate"),
    time("LastModifiedDate"),
    time("SystemModstamp"),
    text("Account_Manager__c"),
];

const CONTACT: &[Column] = &[
    text("Id"),
    yes_no("IsDeleted"),
    text("MasterRecordId"),
    text("AccountId"),
    text("Account.Name"),
    text("FirstName"),
    text("LastName"),
    text("Name"),
    text("Email"),
    text("Phone"),
    text("MobilePhone"),
    text("Title"),
    Column { name: "Birthdate", kind: Type::Day },
    text("MailingStreet"),
    text("MailingCity"),
    text("MailingPostalCode"),
    text("OwnerId"),
    time("CreatedDate"),
    time("LastModifiedDate"),
    time("SystemModstamp"),
    text("ULN__c"),
];

const ORGANIZATION: &[Column] =
    &[text("Id"), text("Name"), yes_no("IsSandbox"), text("OrganizationType"), text("InstanceName")];

impl Object {
    pub(crate) const ALL: [Object; 3] = [Object::Account, Object::Contact, Object::Organization];

    pub(crate) fn named(name: &str) -> Option<Object> {
        Object::ALL.into_iter().find(|object| object.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Object::Account => "Account",
            Object::Contact => "Contact",
            Object::Organization => "Organization",
        }
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Object::Account => ACCOUNT,
            Object::Contact => CONTACT,
            Object::Organization => ORGANIZATION,
        }
    }
}

/// Returns the 18 characters of a record's id; ids of one object rise with the index.
pub(crate) fn id(account: &Account, kind: Kind, index: usize) -> String {
    let prefix = if kind == Kind::Employer { "001" } else { "003" };
    let number = 4 * index as u64 + account.stirred(101, index) % 4 + 1000;
    with_suffix(&format!("{prefix}Sb{}{}", base62(account.offset(102, 62 * 62), 2), base62(number, 8)))
}

pub(crate) fn org_id(account: &str) -> String {
    with_suffix(&format!("00DSb{}", base62(name_hash(account), 10)))
}

pub(crate) fn user_id(account: &str) -> String {
    with_suffix(&format!("005Sb{}", base62(name_hash(account), 10)))
}

pub(crate) fn base62(mut number: u64, digits: usize) -> String {
    let mut out = vec![b'0'; digits];
    for digit in out.iter_mut().rev() {
        *digit = BASE62[(number % 62) as usize];
        number /= 62;
    }
    out.into_iter().map(char::from).collect()
}

/// Adds to 15 characters the three that say which of them are capitals.
pub(crate) fn with_suffix(id: &str) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let letter = |five: &[u8]| {
        let bits = five.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
        char::from(letters[bits.map(|(at, _)| 1 << at).sum::<usize>()])
    };
    id.chars().chain(id.as_bytes().chunks(5).map(letter)).collect()
}

/// One object of one org: the live records, or the deleted ones too.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) account: &'a Account,
    pub(crate) object: Object,
    pub(crate) with_deleted: bool,
}

impl View<'_> {
    pub(crate) fn roster(&self) -> Option<&Roster> {
        match self.object {
            Object::Account => Some(&self.account.employers),
            Object::Contact => Some(&self.account.contacts),
            Object::Organization => None,
        }
    }

    pub(crate) fn id(&self, row: usize) -> String {
        match self.object {
            Object::Account => id(self.account, Kind::Employer, row),
            Object::Contact => id(self.account, Kind::Contact, row),
            Object::Organization => org_id(&self.account.name),
        }
    }

    /// Returns a row as a query answers it; a column such as `Account.Name` stands in a record of its own.
    pub(crate) fn record(&self, row: usize, columns: &[Column], root: &str) -> Value {
        let attributes =
            |object: &str, id: &str| json!({"type": object, "url": format!("{root}/sobjects/{object}/{id}")});
        let mut record = Map::new();
        record.insert("attributes".to_owned(), attributes(self.object.name(), &self.id(row)));
        for column in columns {
            let value = self.cell(row, column.name).json(clock::salesforce);
            let Some((parent, field)) = column.name.split_once('.') else {
                record.insert(column.name.to_owned(), value);
                continue;
            };
            let parent_record = match self.cell(row, &format!("{parent}Id")) {
                Cell::Text(id) => json!({"attributes": attributes(parent, &id), field: value}),
                _ => Value::Null,
            };
            record.insert(parent.to_owned(), parent_record);
        }
        Value::Object(record)
    }

    fn employer(&self, row: usize, column: &str) -> Cell {
        let company = self.account.employer(row);
        match column {
            "Name" => company.name().into(),
            "Type" => "Customer".into(),
            "BillingStreet" => company.street().into(),
            "BillingCity" => company.city().into(),
            "BillingPostalCode" => company.postcode().into(),
            "BillingCountry" => "United Kingdom".into(),
            "Phone" => company.phone().into(),
            "Website" => Cell::Text(format!("https://{}", company.domain())),
            "Industry" => company.industry().into(),
            "NumberOfEmployees" => company.employees().into(),
            // Names have quotes, commas and line ends in them, as names at times do.
            "Owner.Name" => Cell::Text(format!("{} \"Ltd\",\nteam {}", company.account_manager(), row % 3)),
            "Account_Manager__c" => company.account_manager().into(),
            _ => Cell::Null,
        }
    }

    fn contact(&self, row: usize, column: &str) -> Cell {
        let person = self.account.contact(row);
        // One contact in twenty belongs to no account.
        let employer = Some(row).filter(|row| row % 20 != 19 && *row < self.account.employers.len());
        match column {
            "AccountId" => employer.map(|row| id(self.account, Kind::Employer, row)).into(),
            "Account.Name" => employer.map(|row| self.account.employer(row).name()).into(),
            "FirstName" => person.first_name().into(),
            "LastName" => person.last_name().into(),
            "Name" => person.full_name().into(),
            "Email" => person.email().into(),
            "Phone" => self.account.company(row, person.revision).phone().into(),
            "MobilePhone" => person.mobile().into(),
            "Title" => person.job_title().into(),
            "Birthdate" => Cell::Day(clock::date(person.born())),
            "MailingStreet" => person.address().0.into(),
            "MailingCity" => person.address().1.into(),
            "MailingPostalCode" => person.postcode().into(),
            "ULN__c" => person.uln().into(),
            _ => Cell::Null,
        }
    }

    fn organization(&self, column: &str) -> Cell {
        match column {
            "Name" => Cell::Text(format!("{} Training", self.account.name)),
            "IsSandbox" => true.into(),
            "OrganizationType" => "Enterprise Edition".into(),
            "InstanceName" => "SBX1".into(),
            _ => Cell::Null,
        }
    }
}

impl Table for View<'_> {
    fn columns(&self) -> &'static [Column] {
        self.object.columns()
    }

    fn key(&self) -> &'static str {
        "Id"
    }

    fn len(&self) -> usize {
        self.roster().map_or(1, Roster::len)
    }

    fn shown(&self, row: usize) -> bool {
        self.with_deleted || self.roster().is_none_or(|roster| roster.live(row))
    }

    fn cell(&self, row: usize, column: &str) -> Cell {
        let Some(roster) = self.roster() else {
            return if column == "Id" { self.id(row).into() } else { self.organization(column) };
        };
        match column {
            "Id" => self.id(row).into(),
            "IsDeleted" => (!roster.live(row)).into(),
            "OwnerId" => user_id(&self.account.name).into(),
            "CreatedDate" => Cell::Time(to_second(roster.created(row))),
            "LastModifiedDate" => Cell::Time(to_second(roster.modified(row))),
            // A delete moves the stamp, so that an incremental read meets it.
            "SystemModstamp" => Cell::Time(to_second(roster.removed(row).unwrap_or_else(|| roster.modified(row)))),
            _ if self.object == Object::Account => self.employer(row, column),
            _ => self.contact(row, column),
        }
    }
}

/// Salesforce keeps seconds: a filter must not see more than an answer shows.
fn to_second(at: Ticks) -> Ticks {
    at - at.rem_euclid(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_suffix_of_their_capitals_and_rise() {
        assert_eq!(with_suffix("003RO0000035WQg"), "003RO0000035WQgYAM");
        let account = Account::new("acme", 3, 0, 0, 0);
        let ids: Vec<_> = (0..500).map(|index| id(&account, Kind::Contact, index)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]) && ids.iter().all(|id| id.len() == 18));
    }
}
