//! What may be: a provider's shape, who is there, what happens between and during syncs. All by chance, from one seed.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// What a request for the details of one person may be refused with.
const REFUSALS: [u16; 3] = [404, 400, 403];

/// A world, and all that happens in it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// One for each stream.
    pub(super) shapes: Vec<Shape>,
    /// How many values the loop has; `0` for no loop.
    pub(super) values: usize,
    /// Whether answers have a `Date`.
    pub(super) dated: bool,
    /// Whether the manifest says how to ask what is in sight.
    pub(super) scoped: bool,
    pub(super) people: Vec<Newcomer>,
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// Returns whether there is such a fault in it.
    pub(super) fn has(&self, such: fn(&Fault) -> bool) -> bool {
        let mut happenings = self.steps.iter().flat_map(|step| &step.sync.at);
        happenings.any(|(_, happening)| matches!(happening, Happening::Fault(fault) if such(fault)))
    }
}

/// How a stream is served, and how its manifest says it is read.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) size: usize,
    /// Whether tokens and links stand for a place among the keys; else for one among the rows, which shift.
    pub(super) by_key: bool,
    pub(super) newest_first: bool,
    /// Whether the last of the pages that lead says so; else it just leads nowhere.
    pub(super) tells_end: bool,
    /// Whether pages say how many records there are, and of counted ones whether a short one is the last.
    pub(super) total: bool,
    pub(super) short: bool,
    /// Whether counted or keyed pages say that there are more.
    pub(super) more: bool,
    pub(super) changes: Option<Changes>,
    pub(super) detail: Option<Detail>,
    /// In hours.
    pub(super) every: Option<u32>,
    pub(super) sweep: Sweep,
    pub(super) after: u32,
    /// Whether there is a list of who is gone.
    pub(super) feed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Token,
    Header,
    Next,
    Link,
    Number,
    Offset,
    Keyset,
}

impl Kind {
    /// Returns whether a page tells the place of the next one.
    pub(super) fn leads(self) -> bool {
        matches!(self, Kind::Token | Kind::Header | Kind::Next | Kind::Link)
    }

    /// Returns whether it does so in its body.
    pub(super) fn leads_in_body(self) -> bool {
        matches!(self, Kind::Token | Kind::Next)
    }

    pub(super) fn is_counted(self) -> bool {
        matches!(self, Kind::Number | Kind::Offset)
    }
}

/// Minutes and seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    pub(super) overlap: i64,
    pub(super) settle: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Detail {
    pub(super) missing_ok: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    Always,
    Weekly,
    Never,
}

/// Somebody new, in a stream and a value of the loop; `wide` are seen with one of the two credentials only.
#[derive(Debug, Clone)]
pub(super) struct Newcomer {
    pub(super) stream: usize,
    pub(super) value: usize,
    pub(super) wide: bool,
}

/// What happens between two syncs, and then a sync.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// In minutes.
    pub(super) pass: i64,
    pub(super) before: Vec<Event>,
    pub(super) sync: Sync,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sync {
    pub(super) full: bool,
    /// What happens at which request, or at the next one it can happen to.
    pub(super) at: Vec<(usize, Happening)>,
    /// At which point it is killed.
    pub(super) kill: Option<u32>,
    pub(super) clocks: Clocks,
}

/// By how many minutes clocks are wrong for the length of a sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) ours: i64,
    /// That of the header `Date`.
    pub(super) date: i64,
    /// That of the times at which records say they changed.
    pub(super) stamps: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Happening {
    Event(Event),
    Fault(Fault),
    /// Somebody asks for the end of the run.
    Stop,
}

/// What happens to people; `who` counts among all there ever were. What is `late` says that it changed so many minutes ago.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Come(Newcomer, i64),
    Go {
        who: usize,
    },
    Return {
        who: usize,
    },
    Change {
        who: usize,
        late: i64,
    },
    Move {
        who: usize,
        value: usize,
    },
    Merge {
        who: usize,
        into: usize,
    },
    Hide {
        who: usize,
    },
    Show {
        who: usize,
    },
    /// From now on their details are refused.
    Refuse {
        who: usize,
        status: u16,
    },
    /// A credential is set: one that sees all, or one that does not.
    Credential {
        wide: bool,
    },
}

/// What is wrong with one answer, or from one on.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// A row of an earlier page in the place of one of this page.
    RepeatRow,
    /// The rows of the page before.
    RepeatPage,
    /// From now on each page has an order of its own.
    Shuffle(u64),
    /// An empty page that says how to go on, rightly.
    EmptyPromised,
    /// An empty page that says nothing of more.
    EmptyEnd,
    /// An empty page whose next one is an empty text.
    EmptyNext,
    ErrorIn200(usize),
    /// A page that has others behind it, without the place where it says so.
    NoNext,
    /// A row is left out.
    CutRow,
    Status(u16),
    /// The connection ends within the answer.
    Broken,
    /// The answer ends within the JSON.
    Torn,
    /// All places told so far are refused from now on.
    Expire(u16),
    /// The next page is at another host.
    Foreign,
    /// The next page is one that was read already.
    LoopBack,
    /// A row without a key in the place of another.
    Keyless,
    /// A row with a byte that is no text.
    Garbled,
    WrongTotal(i64),
    /// Come back much later.
    Park,
    Detail(DetailFault),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum DetailFault {
    Status(u16),
    /// The answer is somebody else.
    Other,
    ErrorIn200,
}

/// Returns worlds by chance.
pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let shapes = prop_oneof![3 => vec(shape(), 1), 2 => vec(shape(), 2)];
    let values = prop_oneof![3 => Just(0_usize), 3 => 1..=3_usize];
    let steps = vec(step(), 1..9);
    let answers = (prop::bool::weighted(0.7), prop::bool::weighted(0.25));
    (shapes, values, answers, vec(newcomer(), 0..12), steps).prop_map(|(shapes, values, answers, people, steps)| {
        let (dated, scoped) = answers;
        Plan { shapes, values, dated, scoped, people, steps }
    })
}

/// Returns a world with one full read whose pages each have an order of their own, by chance one in which a page passes over
/// some and the next one contradicts itself.
pub(super) fn of_one_disordered_read(seed: u64) -> Plan {
    let shape = Shape {
        kind: Kind::Keyset,
        size: 2,
        by_key: true,
        newest_first: false,
        tells_end: true,
        total: false,
        short: false,
        more: false,
        changes: Some(Changes { overlap: 5, settle: 0 }),
        detail: None,
        every: None,
        sweep: Sweep::Weekly,
        after: 1,
        feed: false,
    };
    let step = |full, at| Step { pass: 15, before: Vec::new(), sync: Sync { full, at, ..Sync::default() } };
    let disorder = vec![(0, Happening::Fault(Fault::Shuffle(seed)))];
    let steps = vec![step(false, Vec::new()), step(true, disorder), step(false, Vec::new())];
    let people = vec![Newcomer { stream: 0, value: 0, wide: false }; 8];
    Plan { shapes: vec![shape], values: 0, dated: true, scoped: false, people, steps }
}

fn shape() -> impl Strategy<Value = Shape> {
    let kinds = [Kind::Token, Kind::Header, Kind::Next, Kind::Link, Kind::Number, Kind::Offset, Kind::Keyset];
    let kind = prop_oneof![1 => Just(Kind::Single), 12 => select(kinds.to_vec())];
    let yes = any::<bool>;
    let tells_end = prop::bool::weighted(0.75);
    let served = (kind, 2..=3_usize, yes(), yes(), tells_end, (yes(), prop::bool::weighted(0.25), yes()));
    let detail = prop_oneof![3 => Just(None), 1 => yes().prop_map(|missing_ok| Some(Detail { missing_ok }))];
    let changes =
        (select(vec![0, 5, 10]), select(vec![0, 60])).prop_map(|(overlap, settle)| Changes { overlap, settle });
    let sweep = select(vec![Sweep::Always, Sweep::Weekly, Sweep::Weekly, Sweep::Never]);
    let deletes = (sweep, 1..=3_u32, prop::bool::weighted(0.2));
    let read = (option::weighted(0.75, changes), detail, option::weighted(0.2, Just(3_u32)), deletes);
    (served, read).prop_map(|(served, read)| {
        let (kind, size, by_key, newest_first, tells_end, (total, short, more)) = served;
        let (changes, detail, every, (sweep, after, feed)) = read;
        Shape {
            kind,
            size,
            by_key,
            newest_first: newest_first && kind != Kind::Keyset,
            tells_end,
            total: total && !matches!(kind, Kind::Single | Kind::Keyset),
            short: short && kind.is_counted(),
            more: more && (kind.is_counted() || kind == Kind::Keyset),
            changes,
            detail,
            every,
            sweep,
            after,
            feed,
        }
    })
}

fn newcomer() -> impl Strategy<Value = Newcomer> {
    (0..2_usize, 0..3_usize, prop::bool::weighted(0.25)).prop_map(|(stream, value, wide)| Newcomer {
        stream,
        value,
        wide,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let pass = select(vec![1, 4, 15, 15, 40, 130, 260, 1500, 11_520]);
    (pass, vec(event(), 0..4), sync()).prop_map(|(pass, before, sync)| Step { pass, before, sync })
}

fn sync() -> impl Strategy<Value = Sync> {
    let clock = || prop_oneof![8 => Just(0_i64), 1 => Just(60), 1 => Just(-30)];
    let clocks = prop_oneof![
        4 => Just(Clocks::default()),
        1 => (clock(), clock(), clock()).prop_map(|(ours, date, stamps)| {
            // Two clocks that are wrong in the same way are right to everybody.
            Clocks { ours: if ours == date { 0 } else { ours }, date, stamps }
        }),
    ];
    let happening = prop_oneof![
        5 => event().prop_map(Happening::Event),
        5 => fault().prop_map(Happening::Fault),
        1 => Just(Happening::Stop),
    ];
    let at = prop_oneof![2 => Just(Vec::new()), 5 => vec((0..8_usize, happening), 1..4)];
    (prop::bool::weighted(0.15), at, option::weighted(0.15, 1..30_u32), clocks)
        .prop_map(|(full, at, kill, clocks)| Sync { full, at, kill, clocks })
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..16_usize;
    let late = || prop_oneof![4 => Just(0_i64), 1 => 1..12_i64];
    prop_oneof![
        4 => (newcomer(), late()).prop_map(|(newcomer, late)| Event::Come(newcomer, late)),
        4 => who().prop_map(|who| Event::Go { who }),
        1 => who().prop_map(|who| Event::Return { who }),
        4 => (who(), late()).prop_map(|(who, late)| Event::Change { who, late }),
        1 => (who(), 0..3_usize).prop_map(|(who, value)| Event::Move { who, value }),
        1 => (who(), who()).prop_map(|(who, into)| Event::Merge { who, into }),
        1 => who().prop_map(|who| Event::Hide { who }),
        1 => who().prop_map(|who| Event::Show { who }),
        1 => (who(), select(REFUSALS.to_vec())).prop_map(|(who, status)| Event::Refuse { who, status }),
        1 => any::<bool>().prop_map(|wide| Event::Credential { wide }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let gone = || select(vec![400, 404, 410]);
    let status = select(vec![400, 403, 404, 410, 204, 500, 503]);
    let detail = prop_oneof![
        4 => prop_oneof![3 => select(vec![204, 500]), 5 => select(REFUSALS.to_vec())].prop_map(DetailFault::Status),
        1 => Just(DetailFault::Other),
        1 => Just(DetailFault::ErrorIn200),
    ];
    prop_oneof![
        3 => Just(Fault::RepeatRow),
        3 => Just(Fault::RepeatPage),
        2 => any::<u64>().prop_map(Fault::Shuffle),
        2 => Just(Fault::EmptyPromised),
        1 => Just(Fault::EmptyEnd),
        2 => Just(Fault::EmptyNext),
        3 => (0..3_usize).prop_map(Fault::ErrorIn200),
        2 => Just(Fault::NoNext),
        1 => Just(Fault::CutRow),
        2 => status.prop_map(Fault::Status),
        1 => Just(Fault::Broken),
        1 => Just(Fault::Torn),
        2 => gone().prop_map(Fault::Expire),
        1 => Just(Fault::Foreign),
        2 => Just(Fault::LoopBack),
        1 => Just(Fault::Keyless),
        1 => Just(Fault::Garbled),
        1 => select(vec![-1, 1]).prop_map(Fault::WrongTotal),
        1 => Just(Fault::Park),
        3 => detail.prop_map(Fault::Detail),
    ]
}
