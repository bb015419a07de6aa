//! The entity sets of Aptem's feed: their columns, and what stands in each.

use serde_json::{Value, json};

use super::aptem::id;
use super::clock::{self, DAY, Ticks};
use super::people::Standing;
use super::roster::{Account, Kind};
use super::table::{Cell, Column, Table, Type};

/// What a set has a row for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Staff first, whose ids are lower, then learners.
    Users,
    Employers,
    Contacts,
    Groups,
    /// This many rows for each learner.
    PerLearner(usize),
    /// Known to the service, empty in the sandbox.
    Nothing,
}

pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) keys: &'static [&'static str],
    pub(crate) ceiling: usize,
    rows: Rows,
    only_in_2: bool,
}

impl Set {
    const fn new(name: &'static str, columns: &'static [Column], rows: Rows) -> Set {
        Set { name, columns, keys: &["Id"], ceiling: 100_000, rows, only_in_2: false }
    }

    const fn empty(name: &'static str) -> Set {
        Set::new(name, DATED, Rows::Nothing)
    }

    pub(crate) fn is_in(&self, version: &str) -> bool {
        !self.only_in_2 || version == "2.0"
    }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Type::Int }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Type::Text }
}

const fn time(name: &'static str) -> Column {
    Column { name, kind: Type::Time }
}

const fn yes_no(name: &'static str) -> Column {
    Column { name, kind: Type::Bool }
}

const DATED: &[Column] = &[int("Id"), time("UpdatedDate")];

const USERS: &[Column] = &[
    int("Id"),
    text("FullName"),
    text("FirstName"),
    text("LastName"),
    text("Email"),
    text("SubscriptionStatus"),
    text("UserProgram_Status"),
    text("UserProgram_CurrentProgramme"),
    time("UserProgram_StartDate"),
    time("UserProgram_PlannedEndDate"),
    // No public description has this column; the shipped manifest assumes it.
    time("UserProgram_CompletionDate"),
    int("UserEmployer_EmployerId"),
    text("UserEmployer_Organization"),
    text("UserEmployer_ManagerName"),
    text("UserEmployer_ManagerEmail"),
    text("UserEmployer_ManagerPhone"),
    text("UserEmployer_MentorName"),
    yes_no("UserEmployer_LevyPayer"),
    text("UserPersonalDetails_ULN"),
    text("UserPersonalDetails_Gender"),
    text("UserPersonalDetails_Address"),
    text("UserPersonalDetails_PostCode"),
    text("UserPersonalDetails_Mobile"),
    int("UserPersonalDetails_OwnerId"),
    text("UserPersonalDetails_OwnerFullName"),
    int("UserILRSummary_PlannedHours"),
    int("UserILRSummary_MinimumRequiredHours"),
    int("UserILRSummary_EmploymentWeeklyHours"),
    int("UserILRSummary_TNPSum"),
    text("UserILRSummary_PrimaryHealthProblem"),
    int("UserLearningPlanSummary_LearningPlanProgress"),
    int("UserLearningPlanSummary_ExpectedLearningPlanProgress"),
    int("UserLearningPlanSummary_ComponentsCount"),
    int("UserLearningPlanSummary_CompletedComponentsCount"),
    yes_no("UserLearningPlanSummary_OnTime"),
    text("UserGroups_GroupLevel0"),
    text("division_code"),
    text("custom_field_123"),
    time("UpdatedDate"),
];

const ORGANIZATIONS: &[Column] = &[
    int("Id"),
    text("Name"),
    text("Phone"),
    text("Address"),
    text("PostCode"),
    text("Website"),
    int("NumberOfEmployees"),
    time("UpdatedDate"),
];

const CONTACTS: &[Column] = &[
    int("Id"),
    int("OrganizationId"),
    text("FirstName"),
    text("LastName"),
    text("Email"),
    text("Phone"),
    text("JobTitle"),
];

const GROUPS: &[Column] = &[int("Id"), text("Name"), time("UpdatedDate")];
const USER_GROUPS: &[Column] = &[int("UserId"), int("GroupId")];

const EPISODES: &[Column] = &[
    int("Id"),
    int("LearnerId"),
    text("ProgrammeName"),
    time("LearnStartDate"),
    time("LearnPlanEndDate"),
    time("LearnActEndDate"),
    int("CompStatus"),
    int("Outcome"),
    time("UpdatedDate"),
];

const REVIEWS: &[Column] = &[
    int("Id"),
    int("LearnerId"),
    text("Name"),
    text("Type"),
    text("Status"),
    yes_no("Completed"),
    time("PlannedDate"),
    time("CompletedDate"),
    time("UpdatedDate"),
    text("OwnerName"),
    text("ProgramName"),
];

const EVIDENCES: &[Column] = &[int("Id"), int("LearnerId"), text("ComponentName"), time("SubmissionDate")];

pub(crate) const SETS: &[Set] = &[
    Set::new("Users", USERS, Rows::Users),
    Set::new("Organizations", ORGANIZATIONS, Rows::Employers),
    Set::new("OrganizationContacts", CONTACTS, Rows::Contacts),
    Set::new("Groups", GROUPS, Rows::Groups),
    Set { keys: &["UserId", "GroupId"], ..Set::new("UserGroups", USER_GROUPS, Rows::PerLearner(1)) },
    Set::new("Episodes", EPISODES, Rows::PerLearner(1)),
    Set::new("Reviews", REVIEWS, Rows::PerLearner(1)),
    Set { ceiling: 5000, ..Set::new("LearningPlanEvidences", EVIDENCES, Rows::PerLearner(3)) },
    Set { ceiling: 5000, ..Set::empty("ReviewResponses") },
    Set::empty("AimWorkPlacements"),
    Set::empty("ApprenticeshipFinancialRecords"),
    Set::empty("AptemCognitiveAssessments"),
    Set::empty("AwardingBodyQualifications"),
    Set::empty("AwardingBodyQualificationsAssessmentHistory"),
    Set::empty("ComplianceDocuments"),
    Set::empty("ComponentDueDateChanges"),
    Set::empty("CrmActivities"),
    Set::empty("DestinationProgressions"),
    Set::empty("EmployerGroups"),
    Set::empty("EPAErrors"),
    Set::empty("IlrAims"),
    Set::empty("IlrLearner"),
    Set::empty("Jobs"),
    Set::empty("LearnerEmployment"),
    Set::empty("LearningPlanComponents"),
    Set::empty("MaximumProgrammeDataFields"),
    Set::empty("Messages"),
    Set::empty("Milestones"),
    Set::empty("Notes"),
    Set::empty("OnboardingResponses"),
    Set::empty("Tasks"),
    Set::empty("Trackers"),
    Set::empty("WithdrawalReasons"),
    Set { only_in_2: true, ..Set::empty("Actions") },
    Set { only_in_2: true, ..Set::empty("CheckpointAssessments") },
];

/// Collections of a user, which come by `$expand` only.
pub(crate) const LEARNER_COLLECTIONS: [&str; 3] =
    ["UserProgram_SubPrograms", "Markers_Markers", "UserComponents_Components"];

const GROUP_COUNT: usize = 20;

/// One entity set as one account's token sees it.
pub(crate) struct View<'a> {
    pub(crate) account: &'a Account,
    pub(crate) set: &'a Set,
    pub(crate) staff: usize,
    /// Whether the token's owner sees only the learners of the first half of the groups.
    pub(crate) one_group: bool,
}

impl Table for View<'_> {
    fn columns(&self) -> &'static [Column] {
        self.set.columns
    }

    fn key(&self) -> &'static str {
        self.set.keys[0]
    }

    fn len(&self) -> usize {
        match self.set.rows {
            Rows::Users => self.staff + self.account.learners.len(),
            Rows::Employers => self.account.employers.len(),
            Rows::Contacts => self.account.contacts.len(),
            Rows::Groups => GROUP_COUNT,
            Rows::PerLearner(each) => self.account.learners.len() * each,
            Rows::Nothing => 0,
        }
    }

    fn shown(&self, row: usize) -> bool {
        let learner = |index: usize| {
            self.account.learners.live(index) && !(self.one_group && index % GROUP_COUNT >= GROUP_COUNT / 2)
        };
        match self.set.rows {
            Rows::Users => row.checked_sub(self.staff).is_none_or(learner),
            Rows::Employers => self.account.employers.live(row),
            Rows::Contacts => self.account.contacts.live(row),
            Rows::PerLearner(each) => learner(row / each),
            Rows::Groups => !(self.one_group && row >= GROUP_COUNT / 2),
            Rows::Nothing => true,
        }
    }

    fn cell(&self, row: usize, column: &str) -> Cell {
        match self.set.name {
            "Users" if row < self.staff => self.staff_member(row, column),
            "Users" => self.learner(row - self.staff, column),
            "Organizations" => self.employer(row, column),
            "OrganizationContacts" => self.contact(row, column),
            "Groups" => self.group(row, column),
            "UserGroups" => match column {
                "UserId" => id(self.account, Kind::Learner, row).into(),
                _ => Cell::Int(group_id(row % GROUP_COUNT)),
            },
            "Episodes" => self.episode(row, column),
            "Reviews" => self.review(row, column),
            "LearningPlanEvidences" => self.evidence(row, column),
            _ => Cell::Null,
        }
    }
}

impl View<'_> {
    /// Returns the key of a row as text.
    pub(crate) fn id(&self, row: usize) -> String {
        let keys = self.set.keys.iter().map(|key| match self.cell(row, key) {
            Cell::Int(number) => number.to_string(),
            _ => String::new(),
        });
        keys.collect::<Vec<_>>().join("/")
    }

    pub(crate) fn collection(&self, row: usize, name: &str) -> Value {
        if name != "UserComponents_Components" || row < self.staff {
            return json!([]);
        }
        json!([
            {"ComponentName": "Induction", "Status": "Completed"},
            {"ComponentName": "Off-the-job log", "Status": "InProgress"},
        ])
    }

    fn staff_member(&self, index: usize, column: &str) -> Cell {
        let person = self.account.staff(index);
        match column {
            "Id" => Cell::Int(staff_id(index)),
            "FullName" => person.full_name().into(),
            "FirstName" => person.first_name().into(),
            "LastName" => person.last_name().into(),
            "Email" => Cell::Text(format!("staff.{}@example.org", person.username())),
            "SubscriptionStatus" => "FullUser".into(),
            "UpdatedDate" => Cell::Time(self.account.until - (index as Ticks + 3) * 11 * DAY),
            _ => Cell::Null,
        }
    }

    fn learner(&self, index: usize, column: &str) -> Cell {
        let account = self.account;
        let person = account.learner(index);
        let employer = || account.employer_of(index);
        let boss = || employer().map(|employer| account.contact(employer));
        let owner = (self.staff > 0).then(|| index % self.staff.max(1));
        let components = 8 + (account.stirred(65, index) % 9) as i64;
        match column {
            "Id" => id(account, Kind::Learner, index).into(),
            "FullName" => person.full_name().into(),
            "FirstName" => person.first_name().into(),
            "LastName" => person.last_name().into(),
            "Email" => person.email().into(),
            "SubscriptionStatus" => "FullUser".into(),
            "UserProgram_Status" => standing(person.standing()).into(),
            "UserProgram_CurrentProgramme" => person.programme().into(),
            "UserProgram_StartDate" => Cell::Time(person.start(account.until)),
            "UserProgram_PlannedEndDate" => Cell::Time(person.planned_end(account.until)),
            "UserProgram_CompletionDate" if matches!(person.standing(), Standing::Completed) => {
                Cell::Time(person.planned_end(account.until))
            }
            "UserEmployer_EmployerId" => employer().map(|employer| id(account, Kind::Employer, employer)).into(),
            "UserEmployer_Organization" => employer().map(|employer| account.employer(employer).name()).into(),
            "UserEmployer_ManagerName" | "UserEmployer_MentorName" => boss().map(|boss| boss.full_name()).into(),
            "UserEmployer_ManagerEmail" => boss().and_then(|boss| boss.email()).into(),
            "UserEmployer_ManagerPhone" => boss().map(|boss| boss.mobile()).into(),
            "UserEmployer_LevyPayer" => employer().map(|employer| account.employer(employer).employees() > 250).into(),
            "UserPersonalDetails_ULN" => person.uln().into(),
            "UserPersonalDetails_Gender" => person.gender().into(),
            "UserPersonalDetails_Address" => {
                let (street, town) = person.address();
                Cell::Text(format!("{street}, {town}"))
            }
            "UserPersonalDetails_PostCode" => person.postcode().into(),
            "UserPersonalDetails_Mobile" => person.mobile().into(),
            "UserPersonalDetails_OwnerId" => owner.map(staff_id).into(),
            "UserPersonalDetails_OwnerFullName" => owner.map(|owner| account.staff(owner).full_name()).into(),
            "UserILRSummary_PlannedHours" => Cell::Int(420),
            "UserILRSummary_MinimumRequiredHours" => Cell::Int(278),
            "UserILRSummary_EmploymentWeeklyHours" => Cell::Int(30 + (index % 11) as i64),
            "UserILRSummary_TNPSum" => Cell::Int(5000 + 500 * (index % 9) as i64),
            "UserLearningPlanSummary_LearningPlanProgress" => person.progress().into(),
            "UserLearningPlanSummary_ExpectedLearningPlanProgress" => Cell::Int((index * 13 % 101) as i64),
            "UserLearningPlanSummary_ComponentsCount" => components.into(),
            "UserLearningPlanSummary_CompletedComponentsCount" => (components * person.progress() / 100).into(),
            "UserLearningPlanSummary_OnTime" => (person.progress() >= (index * 13 % 101) as i64).into(),
            "UserGroups_GroupLevel0" => group_name(index % GROUP_COUNT).into(),
            "division_code" => person.division_code().into(),
            "custom_field_123" => person.custom_text().into(),
            "UpdatedDate" => self.updated(index),
            _ => Cell::Null,
        }
    }

    /// Returns when a learner was changed; a few that nothing has happened to have no date.
    fn updated(&self, index: usize) -> Cell {
        if index % 211 == 7 && self.account.learners.revision(index) == 0 {
            return Cell::Null;
        }
        Cell::Time(self.account.learners.modified(index))
    }

    fn employer(&self, index: usize, column: &str) -> Cell {
        let company = self.account.employer(index);
        match column {
            "Id" => id(self.account, Kind::Employer, index).into(),
            "Name" => company.name().into(),
            "Phone" => company.phone().into(),
            "Address" => Cell::Text(format!("{}, {}", company.street(), company.city())),
            "PostCode" => company.postcode().into(),
            "Website" => Cell::Text(format!("https://{}", company.domain())),
            "NumberOfEmployees" => company.employees().into(),
            _ => Cell::Time(self.account.employers.modified(index)),
        }
    }

    fn contact(&self, index: usize, column: &str) -> Cell {
        let person = self.account.contact(index);
        match column {
            "Id" => id(self.account, Kind::Contact, index).into(),
            "OrganizationId" if index < self.account.employers.len() => id(self.account, Kind::Employer, index).into(),
            "FirstName" => person.first_name().into(),
            "LastName" => person.last_name().into(),
            "Email" => person.email().into(),
            "Phone" => person.mobile().into(),
            "JobTitle" => person.job_title().into(),
            _ => Cell::Null,
        }
    }

    fn group(&self, index: usize, column: &str) -> Cell {
        match column {
            "Id" => Cell::Int(group_id(index)),
            "Name" => group_name(index).into(),
            _ => Cell::Time(self.account.until - (index as Ticks + 1) * 17 * DAY),
        }
    }

    fn episode(&self, index: usize, column: &str) -> Cell {
        let person = self.account.learner(index);
        let done = person.standing() == Standing::Completed;
        match column {
            "Id" => Cell::Int(90_000 + index as i64),
            "LearnerId" => id(self.account, Kind::Learner, index).into(),
            "ProgrammeName" => person.programme().into(),
            "LearnStartDate" => Cell::Time(person.start(self.account.until)),
            "LearnPlanEndDate" => Cell::Time(person.planned_end(self.account.until)),
            "LearnActEndDate" if done => Cell::Time(clock::midnight(self.account.learners.modified(index))),
            "CompStatus" => Cell::Int(match person.standing() {
                Standing::Completed => 2,
                Standing::Withdrawn => 3,
                Standing::OnBreak => 6,
                Standing::Active | Standing::Onboarding => 1,
            }),
            "Outcome" if done => Cell::Int(1),
            "UpdatedDate" => Cell::Time(self.account.learners.modified(index)),
            _ => Cell::Null,
        }
    }

    fn review(&self, index: usize, column: &str) -> Cell {
        let person = self.account.learner(index);
        let done = index.is_multiple_of(3);
        let planned = person.start(self.account.until) + 84 * DAY;
        match column {
            "Id" => Cell::Int(40_000 + index as i64),
            "LearnerId" => id(self.account, Kind::Learner, index).into(),
            "Name" => "12-week review".into(),
            // The trailing space is how such names come.
            "Type" => "Progress Review ".into(),
            "Status" => if done { "Completed" } else { "Scheduled" }.into(),
            "Completed" => done.into(),
            "PlannedDate" => Cell::Time(planned),
            "CompletedDate" if done => Cell::Time(planned + DAY),
            "UpdatedDate" => Cell::Time(self.account.learners.modified(index)),
            "OwnerName" if self.staff > 0 => self.account.staff(index % self.staff).full_name().into(),
            "ProgramName" => person.programme().into(),
            _ => Cell::Null,
        }
    }

    fn evidence(&self, row: usize, column: &str) -> Cell {
        let learner = row / 3;
        match column {
            "Id" => Cell::Int(300_000 + row as i64),
            "LearnerId" => id(self.account, Kind::Learner, learner).into(),
            "ComponentName" => ["Induction", "Functional skills", "Off-the-job log"][row % 3].into(),
            _ => {
                let days = (row as Ticks % 3 + 1) * 20;
                Cell::Time(self.account.learner(learner).start(self.account.until) + days * DAY)
            }
        }
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Onboarding => "Onboarding",
        Standing::Active => "Active",
        Standing::OnBreak => "OnBreak",
        Standing::Withdrawn => "Withdrawn",
        Standing::Completed => "Completed",
    }
}

fn staff_id(index: usize) -> i64 {
    1000 + 7 * index as i64
}

fn group_id(index: usize) -> i64 {
    11 + 5 * index as i64
}

fn group_name(index: usize) -> String {
    format!("Cohort {}", index + 1)
}
