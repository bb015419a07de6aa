//! The made-up people and companies: every field is worked out from a seed and an index when it is asked for.

use super::clock::{self, DAY, Ticks};

/// First names as shown, and as an e-mail address spells them.
const FIRST: [(&str, &str); 40] = [
    ("Aisha", "aisha"),
    ("Tom", "tom"),
    ("Siân", "sian"),
    ("Łukasz", "lukasz"),
    ("Chloé", "chloe"),
    ("Mohammed", "mohammed"),
    ("Zoë", "zoe"),
    ("Priya", "priya"),
    ("Callum", "callum"),
    ("Nia", "nia"),
    ("Björn", "bjorn"),
    ("Grace", "grace"),
    ("Oluwaseun", "oluwaseun"),
    ("Maeve", "maeve"),
    ("Rhys", "rhys"),
    ("Ines", "ines"),
    ("Jack", "jack"),
    ("Fatima", "fatima"),
    ("Ewan", "ewan"),
    ("Mei", "mei"),
    ("Darragh", "darragh"),
    ("Ruth", "ruth"),
    ("Kwame", "kwame"),
    ("Amélie", "amelie"),
    ("Dylan", "dylan"),
    ("Sadia", "sadia"),
    ("Harry", "harry"),
    ("Yusuf", "yusuf"),
    ("Beth", "beth"),
    ("Iain", "iain"),
    ("Sofia", "sofia"),
    ("Ravi", "ravi"),
    ("Holly", "holly"),
    ("Tomasz", "tomasz"),
    ("Eilidh", "eilidh"),
    ("Ben", "ben"),
    ("Leila", "leila"),
    ("Owen", "owen"),
    ("Martha", "martha"),
    ("Andrei", "andrei"),
];

const LAST: [(&str, &str); 40] = [
    ("Khan", "khan"),
    ("O'Brien", "obrien"),
    ("Smith", "smith"),
    ("Ó Súilleabháin", "osuilleabhain"),
    ("Patel", "patel"),
    ("D'Souza", "dsouza"),
    ("Jones", "jones"),
    ("Müller", "muller"),
    ("Nowak", "nowak"),
    ("Adeyemi", "adeyemi"),
    ("Campbell", "campbell"),
    ("García-Lewis", "garcia-lewis"),
    ("Evans", "evans"),
    ("Begum", "begum"),
    ("Wilkinson", "wilkinson"),
    ("MacDonald", "macdonald"),
    ("Chen", "chen"),
    ("Taylor", "taylor"),
    ("Åkesson", "akesson"),
    ("Hughes", "hughes"),
    ("Hussain", "hussain"),
    ("Walker", "walker"),
    ("Mensah", "mensah"),
    ("Robinson", "robinson"),
    ("O'Neill", "oneill"),
    ("Ahmed", "ahmed"),
    ("Davies", "davies"),
    ("Green", "green"),
    ("Popescu", "popescu"),
    ("Fraser", "fraser"),
    ("Singh", "singh"),
    ("Clarke", "clarke"),
    ("Kowalski", "kowalski"),
    ("Bell", "bell"),
    ("Osei", "osei"),
    ("Thomas", "thomas"),
    ("Ali", "ali"),
    ("Stewart", "stewart"),
    ("Brown", "brown"),
    ("Lloyd", "lloyd"),
];

const PROGRAMMES: [&str; 10] = [
    "Business Administrator L3",
    "Team Leader L3",
    "Adult Care Worker L2",
    "Software Developer L4",
    "Early Years Educator L3",
    "Engineering Technician L3",
    "Customer Service Practitioner L2",
    "Data Analyst L4",
    "Commis Chef L2",
    "Operations Manager L5",
];

const TRADES: [&str; 16] = [
    "Care",
    "Engineering",
    "Foods",
    "Logistics",
    "Dental",
    "Joinery",
    "Software",
    "Nurseries",
    "Plumbing & Heating",
    "Accountants",
    "Motors",
    "Textiles",
    "Hospitality",
    "Electrical",
    "Housing",
    "Print",
];

/// Towns with the area of their postcodes.
const TOWNS: [(&str, &str); 12] = [
    ("Leeds", "LS"),
    ("Cardiff", "CF"),
    ("Hull", "HU"),
    ("Derby", "DE"),
    ("Exeter", "EX"),
    ("Belfast", "BT"),
    ("Perth", "PH"),
    ("Preston", "PR"),
    ("Norwich", "NR"),
    ("Swindon", "SN"),
    ("Dudley", "DY"),
    ("Truro", "TR"),
];

/// How a company signs itself; a change moves it on by one.
const FORMS: [&str; 3] = ["Ltd", "Group Ltd", "Holdings Ltd"];

const JOBS: [&str; 6] =
    ["HR Manager", "Apprenticeship Lead", "Office Manager", "Director", "L&D Partner", "Line Manager"];

pub(crate) const ACCOUNT_MANAGERS: [&str; 6] =
    ["Jo Fletcher", "Sam O'Connor", "Dee Rahman", "Huw Price", "Ana Beltrán", "Kit Marlow"];

/// Returns a well-stirred number for a seed, a purpose and an index.
pub(crate) fn stir(seed: u64, purpose: u64, index: usize) -> u64 {
    let mut x = seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Returns a number for a name (FNV-1a), the same on every machine.
pub(crate) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Where a learner stands; each service has its own words for these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Onboarding,
    Active,
    OnBreak,
    Withdrawn,
    Completed,
}

const STANDINGS: [Standing; 5] =
    [Standing::Active, Standing::OnBreak, Standing::Completed, Standing::Onboarding, Standing::Withdrawn];

/// One learner, or one employer's contact, as of a revision: each change shows.
#[derive(Clone, Copy)]
pub(crate) struct Person {
    pub(crate) seed: u64,
    pub(crate) index: usize,
    pub(crate) revision: u32,
}

impl Person {
    fn draw(&self, purpose: u64, below: usize) -> usize {
        (stir(self.seed, purpose, self.index) % below as u64) as usize
    }

    pub(crate) fn first_name(&self) -> &'static str {
        FIRST[self.draw(1, FIRST.len())].0
    }

    pub(crate) fn last_name(&self) -> &'static str {
        LAST[self.draw(2, LAST.len())].0
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{} {}", self.first_name(), self.last_name())
    }

    /// Returns a log-in name that nobody else in the account has.
    pub(crate) fn username(&self) -> String {
        format!("{}.{}{}", FIRST[self.draw(1, FIRST.len())].1, LAST[self.draw(2, LAST.len())].1, self.index)
    }

    /// Returns the e-mail address; a few have none, but nobody lacks both this and a ULN.
    pub(crate) fn email(&self) -> Option<String> {
        if self.draw(3, 97) == 0 && self.has_own_uln() {
            return None;
        }
        let host = if self.draw(4, 3) == 0 { "example.com" } else { "example.org" };
        Some(format!("{}@{host}", self.username()))
    }

    fn has_own_uln(&self) -> bool {
        self.draw(5, 40) > 1
    }

    /// Returns the ULN: a few have none, a few the placeholder, the others one that passes the checksum.
    pub(crate) fn uln(&self) -> Option<String> {
        match self.draw(5, 40) {
            0 => None,
            1 => Some("9999999999".to_owned()),
            _ => Some(self.own_uln()),
        }
    }

    fn own_uln(&self) -> String {
        // A step coprime to the range gives each index a pair of its own, and never both numbers of a pair have
        // a remainder of 0.
        let pair =
            (self.seed % 450_000_000 + (self.index as u64).wrapping_mul(179_424_673) % 450_000_000) % 450_000_000;
        let even = 100_000_000 + 2 * pair;
        let nine = if uln_remainder(even) == 0 { even + 1 } else { even };
        format!("{nine}{}", 10 - uln_remainder(nine))
    }

    pub(crate) fn programme(&self) -> &'static str {
        PROGRAMMES[(self.draw(6, PROGRAMMES.len()) + self.revision as usize) % PROGRAMMES.len()]
    }

    pub(crate) fn standing(&self) -> Standing {
        // Most learners are active until something changes.
        let first = self.draw(7, 12).saturating_sub(7);
        STANDINGS[(first + self.revision as usize) % STANDINGS.len()]
    }

    /// Returns the percentage done.
    pub(crate) fn progress(&self) -> i64 {
        ((self.draw(8, 101) + 7 * self.revision as usize) % 101) as i64
    }

    pub(crate) fn start(&self, until: Ticks) -> Ticks {
        clock::midnight(until) - (30 + self.draw(9, 600) as Ticks) * DAY
    }

    pub(crate) fn planned_end(&self, until: Ticks) -> Ticks {
        self.start(until) + (365 + 30 * self.draw(10, 12) as Ticks) * DAY
    }

    pub(crate) fn born(&self) -> Ticks {
        // From the first day of 1968 over 38 years.
        (self.draw(11, 38 * 365) as Ticks - 2 * 365) * DAY
    }

    /// Returns a number from the range kept for fiction.
    pub(crate) fn mobile(&self) -> String {
        format!("07700900{:03}", (self.draw(12, 1000) + self.revision as usize) % 1000)
    }

    pub(crate) fn postcode(&self) -> String {
        postcode(self.draw(13, TOWNS.len()), self.draw(14, 4000))
    }

    pub(crate) fn address(&self) -> (String, &'static str) {
        (format!("{} High Street", 1 + self.draw(15, 240)), TOWNS[self.draw(13, TOWNS.len())].0)
    }

    pub(crate) fn employer(&self, employers: usize) -> Option<usize> {
        (employers > 0).then(|| self.draw(16, employers))
    }

    pub(crate) fn gender(&self) -> &'static str {
        ["Female", "Male", "Prefer not to say"][self.draw(17, 9) / 4]
    }

    pub(crate) fn division_code(&self) -> String {
        format!("DIV-{:02}", 1 + self.draw(18, 12))
    }

    pub(crate) fn custom_text(&self) -> &'static str {
        ["North", "Midlands", "South", "Wales"][self.draw(19, 4)]
    }

    pub(crate) fn job_title(&self) -> &'static str {
        JOBS[(self.draw(20, JOBS.len()) + self.revision as usize) % JOBS.len()]
    }

    /// Returns the reference a management information system would use; a few have none.
    pub(crate) fn mis_id(&self) -> Option<String> {
        (self.draw(21, 30) > 0).then(|| format!("L{:07}", self.index + 1))
    }

    pub(crate) fn account_manager(&self) -> &'static str {
        ACCOUNT_MANAGERS[self.draw(22, ACCOUNT_MANAGERS.len())]
    }
}

/// One employer, as of a revision.
#[derive(Clone, Copy)]
pub(crate) struct Company {
    pub(crate) seed: u64,
    pub(crate) index: usize,
    pub(crate) revision: u32,
}

impl Company {
    fn draw(&self, purpose: u64, below: usize) -> usize {
        (stir(self.seed, purpose, self.index) % below as u64) as usize
    }

    fn stem(&self) -> (usize, usize, usize) {
        // Counting through the words, from a start of the account's own, makes every name a different one.
        let at = self.index + (self.seed % 1009) as usize;
        let (names, trades) = (LAST.len(), TRADES.len());
        (at % names, at / names % trades, at / (names * trades))
    }

    pub(crate) fn name(&self) -> String {
        let (name, trade, round) = self.stem();
        let form = FORMS[self.revision as usize % FORMS.len()];
        let number = if round > 0 { format!(" {round}") } else { String::new() };
        format!("{} {}{number} {form}", LAST[name].0, TRADES[trade])
    }

    pub(crate) fn domain(&self) -> String {
        format!("{}{}.example.com", LAST[self.stem().0].1, self.index)
    }

    /// Returns a number from the range kept for fiction.
    pub(crate) fn phone(&self) -> String {
        format!("01632 960{:03}", (self.draw(31, 1000) + self.revision as usize) % 1000)
    }

    pub(crate) fn street(&self) -> String {
        format!("Unit {}, Station Road", 1 + self.draw(32, 90))
    }

    pub(crate) fn city(&self) -> &'static str {
        TOWNS[self.draw(33, TOWNS.len())].0
    }

    pub(crate) fn postcode(&self) -> String {
        postcode(self.draw(33, TOWNS.len()), self.draw(34, 4000))
    }

    pub(crate) fn employees(&self) -> i64 {
        3 + self.draw(35, 900) as i64
    }

    pub(crate) fn account_manager(&self) -> &'static str {
        ACCOUNT_MANAGERS[self.draw(36, ACCOUNT_MANAGERS.len())]
    }

    pub(crate) fn industry(&self) -> &'static str {
        TRADES[self.stem().1]
    }
}

fn postcode(town: usize, number: usize) -> String {
    let area = TOWNS[town].1;
    let letters = b"ABDEFGHJLNPQRSTUWXYZ";
    let pick = |n: usize| char::from(letters[n % letters.len()]);
    format!("{area}{} {}{}{}", 1 + number % 20, number / 400, pick(number), pick(number / 20))
}

/// Returns the remainder mod 11 of a ULN's first nine digits under the weights 10 to 2.
fn uln_remainder(nine: u64) -> u64 {
    let mut rest = nine;
    let mut sum = 0;
    for weight in 2..=10 {
        sum += rest % 10 * weight;
        rest /= 10;
    }
    sum % 11
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn passes(uln: &str) -> bool {
        let digits: Vec<u64> = uln.bytes().map(|byte| u64::from(byte - b'0')).collect();
        let sum: u64 = digits.iter().zip((1..=10).rev()).map(|(digit, weight)| digit * weight).sum();
        digits.len() == 10 && digits[0] != 0 && sum % 11 == 10
    }

    #[test]
    fn ulns_are_unique_and_pass_the_checksum() {
        assert!(passes("1000000043") && passes("9276308686") && !passes("1000000063") && !passes("9999999999"));
        let people: Vec<_> = (0..20_000).map(|index| Person { seed: 77, index, revision: 0 }).collect();
        let ulns: HashSet<_> = people.iter().map(Person::own_uln).collect();
        assert_eq!(ulns.len(), people.len());
        assert!(ulns.iter().all(|uln| passes(uln)));
        let missing = people.iter().filter(|person| person.uln().is_none()).count();
        let placeholders = people.iter().filter(|person| person.uln().as_deref() == Some("9999999999")).count();
        assert!((200..1200).contains(&missing) && (200..1200).contains(&placeholders));
        assert!(people.iter().all(|person| person.email().is_some() || person.uln().is_some_and(|uln| passes(&uln))));
    }

    #[test]
    fn people_follow_from_the_seed_alone() {
        let person = |seed, index| Person { seed, index, revision: 0 }.username();
        assert_eq!(person(1, 5), person(1, 5));
        assert!((0..50).any(|index| person(1, index) != person(2, index)));
    }

    #[test]
    fn every_change_shows() {
        for index in 0..200 {
            for revision in 0..4 {
                let (old, new) =
                    (Person { seed: 3, index, revision }, Person { seed: 3, index, revision: revision + 1 });
                assert_ne!((old.programme(), old.progress()), (new.programme(), new.progress()));
                assert_eq!((old.uln(), old.email()), (new.uln(), new.email()));
                let (old, new) =
                    (Company { seed: 3, index, revision }, Company { seed: 3, index, revision: revision + 1 });
                assert_ne!(old.name(), new.name());
                assert_ne!(old.phone(), new.phone());
            }
        }
    }

    #[test]
    fn company_names_differ() {
        let names: HashSet<_> = (0..5000).map(|index| Company { seed: 9, index, revision: 0 }.name()).collect();
        assert_eq!(names.len(), 5000);
    }
}
