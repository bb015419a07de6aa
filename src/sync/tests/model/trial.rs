//! Plays one world: its syncs, one after the other, and after each what must hold of what is stored.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::line::Line;
use super::people::Provider;
use super::plan::{Changes, Plan, Step, Sweep, Sync};
use super::shape::STREAMS;
use super::{ENDLESS, World};
use crate::config::played::Playing;
use crate::secrets::Secret;
use crate::store::runs::Outcome;
use crate::store::{Keep, providers};
use crate::sync::run::Ended;
use crate::sync::{Engine, Options};

/// When all worlds begin: a Monday.
const BEGIN: i64 = 1_780_272_000;
const MINUTE: i64 = 60;

/// A rule that is broken, and how.
type Broken = (Rule, String);

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// Nobody is marked as deleted whom not as many clean full reads as the manifest says have missed.
    NoneLostToAFault,
    /// A run that is `ok` without a warning has stored what there was when it began.
    OkIsEqual,
    /// `--full` begins at the beginning.
    FullBegins,
    /// Two syncs after the faults end know all that a client can.
    TwoSyncsHeal,
    /// Some weeks later all is as it is at the provider.
    AllIsWellInTheEnd,
    /// No run asks without end, or panics.
    RunsEnd,
}

/// Why a world is not as it must be, and all that happened in it.
pub(super) struct Wrong {
    pub(super) rule: Rule,
    pub(super) why: String,
    pub(super) journal: Vec<String>,
}

/// What was played.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) worlds: u64,
    pub(super) syncs: u64,
    pub(super) killed: u64,
    pub(super) requests: u64,
    /// Streams of runs that were `ok` without a warning, and so had to be equal.
    pub(super) proved_equal: u64,
    pub(super) marked_deleted: u64,
    pub(super) faults: BTreeMap<String, u64>,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.worlds += other.worlds;
        self.syncs += other.syncs;
        self.killed += other.killed;
        self.requests += other.requests;
        self.proved_equal += other.proved_equal;
        self.marked_deleted += other.marked_deleted;
        other.faults.into_iter().for_each(|(fault, times)| *self.faults.entry(fault).or_default() += times);
    }
}

/// What is stored, by stream and key: the name, and whether it is live.
type Stored = BTreeMap<(usize, u32), (String, bool)>;

/// A world under way.
struct Trial<'p> {
    plan: &'p Plan,
    world: World,
    provider: Arc<Mutex<Provider>>,
    playing: Playing,
    /// Whether another credential was set.
    credentials: u32,
    figures: Figures,
}

/// What a sync was, and what came of it.
struct Course {
    /// After how many happenings it began, and when by the clock that windows end by.
    began: u64,
    at: i64,
    before: Stored,
    after: Stored,
    ended: Option<Ended>,
}

/// Plays a world. Returns what was played, or what is wrong.
pub(super) fn play(plan: &Plan, line: &Line, mutant: Option<&'static str>) -> Result<Figures, Wrong> {
    let playing = Playing::begin(mutant);
    playing.played.set(BEGIN);
    let world = World::beside(line.server(), &plan.manifest(), &plan.settings());
    let number_from =
        format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('integration_sync_logs', {})", playing.before);
    world.engine.store().read().execute(&number_from, []).unwrap();
    let provider = Provider::new(plan, BEGIN, (Arc::clone(&playing.played), world.engine.stop));
    let provider = Arc::new(Mutex::new(provider));
    line.answer_for(&provider);
    let mut trial = Trial { plan, world, provider, playing, credentials: 0, figures: Figures::default() };
    let played = catch_unwind(AssertUnwindSafe(|| trial.steps().and_then(|()| trial.calm())));
    let broken = match played {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => Some((Rule::RunsEnd, format!("it panics: {}", words_of(&*panic)))),
    };
    let mut provider = trial.provider();
    let (journal, faults) = (std::mem::take(&mut provider.journal), std::mem::take(&mut provider.spoiled));
    drop(provider);
    match broken {
        None => Ok(Figures { worlds: 1, faults, ..trial.figures }),
        Some((rule, why)) => Err(Wrong { rule, why, journal }),
    }
}

/// Returns what a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

impl Trial<'_> {
    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.provider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steps(&mut self) -> Result<(), Broken> {
        let plan = self.plan;
        for Step { pass, before, sync } in &plan.steps {
            {
                let mut provider = self.provider();
                provider.pass(pass * MINUTE);
                provider.journal.push(format!("{pass} minutes pass"));
                before.iter().for_each(|event| provider.happen(event));
            }
            let course = self.sync(sync)?;
            self.check(sync, &course)?;
        }
        Ok(())
    }

    /// Lets the faults end. Soon after, two syncs must know all that a client can; some weeks after, all there is.
    fn calm(&mut self) -> Result<(), Broken> {
        let every = self.plan.shapes.iter().any(|shape| shape.every.is_some());
        for last in [false, true] {
            let course = self.later(if every { 240 } else { 11 }, false)?;
            let Some(ended) = &course.ended else { continue };
            let refused = self.provider().people.values().any(|person| person.refused.is_some());
            let well = ended.outcome == Outcome::Ok || (refused && ended.outcome == Outcome::Partial);
            if !well && self.provider().may_shut_out() {
                continue;
            }
            if last && !well {
                let why = format!("the second sync without a fault ends {:?}: {:?}", ended.outcome, ended.error);
                return Err((Rule::TwoSyncsHeal, why));
            }
            if last {
                let equal = |stream| self.equal(stream, &course, false).map_err(|why| (Rule::TwoSyncsHeal, why));
                (0..self.plan.shapes.len()).try_for_each(equal)?;
            }
        }
        self.provider().people.values_mut().for_each(|person| person.refused = None);
        let most = self.plan.shapes.iter().map(|shape| shape.after).max().unwrap_or(1);
        let by_hand = self.plan.shapes.iter().any(|shape| shape.sweep == Sweep::Never);
        for left in (0..=most + 1).rev() {
            let course = self.later(8 * 24 * 60, by_hand)?;
            if left > 0 {
                continue;
            }
            let Some(ended) = &course.ended else { continue };
            let is_odd = |stream| {
                let provider = self.provider();
                provider.seen_of(stream).is_empty() || !provider.ledgers[stream].are_proved(1)
            };
            let kept = (0..self.plan.shapes.len()).any(is_odd);
            if ended.outcome != Outcome::Ok || !(ended.warnings.is_empty() || kept) {
                let why = format!("in the end a sync is {:?}, with {:?}", ended.outcome, ended.warnings);
                return Err((Rule::AllIsWellInTheEnd, why));
            }
            (0..self.plan.shapes.len())
                .try_for_each(|stream| self.equal(stream, &course, true))
                .and_then(|()| self.gone_are_marked(&course.after))
                .map_err(|why| (Rule::AllIsWellInTheEnd, why))?;
        }
        Ok(())
    }

    /// Makes a sync without a fault after some minutes.
    fn later(&mut self, minutes: i64, full: bool) -> Result<Course, Broken> {
        {
            let mut provider = self.provider();
            provider.journal.push(format!("{minutes} minutes pass without a fault"));
            provider.pass(minutes * MINUTE);
        }
        let sync = Sync { full, ..Sync::default() };
        let course = self.sync(&sync)?;
        self.check(&sync, &course)?;
        Ok(course)
    }

    /// Makes a sync.
    fn sync(&mut self, sync: &Sync) -> Result<Course, Broken> {
        let before = self.stored();
        let credential = self.provider().credential.take();
        if let Some(wide) = credential {
            self.log_in(wide);
        }
        let (began, at) = {
            let mut provider = self.provider();
            provider.clocks = sync.clocks;
            if !provider.dated {
                provider.clocks.date = 0;
            }
            provider.pass(0);
            provider.asked = 0;
            provider.first.clear();
            provider.due = sync.at.iter().cloned().collect();
            let ours = if provider.dated { 0 } else { provider.clocks.ours };
            let at = provider.now + provider.clocks.date.min(ours).min(0) * MINUTE;
            let full = if sync.full { " of everything" } else { "" };
            let kill = sync.kill.map_or(String::new(), |point| format!(", killed at point {point}"));
            let clocks = if sync.clocks == super::plan::Clocks::default() {
                String::new()
            } else {
                format!(", {:?}", sync.clocks)
            };
            let line = format!("a sync{full} at {}{clocks}{kill}", provider.now - BEGIN);
            provider.journal.push(line);
            (provider.happened, at)
        };
        self.world.engine.options.full = sync.full;
        self.playing.played.begin_run(sync.kill);
        let world = &self.world;
        let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
        let was_killed = self.playing.played.end_run();
        let ended = match ended {
            Ok(ended) => Some(ended),
            Err(_) if was_killed => None,
            Err(panic) => resume_unwind(panic),
        };
        if ended.is_none() {
            self.restart();
        }
        let after = self.stored();
        let mut provider = self.provider();
        let line = match &ended {
            Some(ended) => format!(
                "  -> {:?} {:?} {:?}",
                ended.outcome,
                ended.warnings,
                ended.error.as_ref().map(|error| (error.code, &error.message))
            ),
            None => "  -> killed".to_owned(),
        };
        provider.journal.push(line);
        let shown: Vec<String> = after
            .iter()
            .map(|((_, key), (name, live))| format!("{key}={name}{}", if *live { "" } else { " (deleted)" }))
            .collect();
        provider.journal.push(format!("  stored: {}", shown.join(", ")));
        Ok(Course { began, at, before, after, ended })
    }

    /// Begins anew with what is stored, as after the end of the process.
    fn restart(&mut self) {
        let engine = &self.world.engine;
        let (vault, stop, options): (_, _, Options) = (engine.vault, engine.stop, engine.options.clone());
        let empty = crate::store::tests::memory();
        let broken = std::mem::replace(&mut *engine.store(), empty);
        self.world.engine = Engine::new(broken, vault, stop, options, &|_| ()).unwrap();
    }

    /// Sets a credential.
    fn log_in(&mut self, wide: bool) {
        self.credentials += 1;
        let mut provider = self.provider();
        provider.log_in(wide);
        provider.journal.push(format!("a credential is set that sees {}", if wide { "all" } else { "a part" }));
        drop(provider);
        let World { engine, organization, .. } = &self.world;
        let provider = providers::by_slug(engine.store().read(), "x").unwrap();
        let secret = Secret::from(format!("{}{}", if wide { "wide" } else { "narrow" }, self.credentials));
        let put = |tx: &crate::store::Connection| {
            let by = ("test", crate::config::now());
            engine.vault.set(tx, (organization, &provider), &"key".parse().unwrap(), &secret, by)
        };
        engine.store().change(Keep::Yes, put).unwrap();
    }

    fn stored(&self) -> Stored {
        let mut stored = Stored::new();
        let sql = "SELECT 0, external_key, coalesce(last_name, ''), deleted_at IS NULL FROM learners
                   UNION ALL SELECT 1, external_key, coalesce(name, ''), deleted_at IS NULL FROM employers";
        let store = self.world.engine.store();
        let mut statement = store.read().prepare_cached(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let key: String = row.get(1).unwrap();
            let key = (usize::from(row.get::<_, u8>(0).unwrap()), key.parse().unwrap_or(0));
            stored.insert(key, (row.get(2).unwrap(), row.get(3).unwrap()));
        }
        stored
    }

    /// What holds after every sync.
    fn check(&mut self, sync: &Sync, course: &Course) -> Result<(), Broken> {
        let asked = self.provider().asked;
        self.figures.syncs += 1;
        self.figures.requests += asked as u64;
        self.figures.killed += u64::from(course.ended.is_none());
        if asked > ENDLESS {
            return Err((Rule::RunsEnd, "a sync asks without end".to_owned()));
        }
        let read: Vec<(usize, (usize, bool))> = self.provider().first.clone().into_iter().collect();
        if let Some((stream, (value, _))) = read.iter().find(|(_, first)| sync.full && *first != (0, true)) {
            let why = format!("{} begins at value {}, not at its beginning", STREAMS[*stream], value + 1);
            return Err((Rule::FullBegins, why));
        }
        self.figures.marked_deleted += self.none_is_lost(course).map_err(|why| (Rule::NoneLostToAFault, why))?;
        self.provider().end_sync(course.ended.is_none());
        if course.ended.as_ref().is_some_and(|ended| ended.outcome == Outcome::Ok && ended.warnings.is_empty()) {
            self.figures.proved_equal += read.len() as u64;
            read.iter()
                .try_for_each(|(stream, _)| self.equal(*stream, course, false))
                .map_err(|why| (Rule::OkIsEqual, why))?;
        }
        Ok(())
    }

    /// Proves that whoever was marked as deleted was missed often enough. Returns how many that were.
    fn none_is_lost(&self, course: &Course) -> Result<u64, String> {
        let provider = self.provider();
        let mut marked = 0;
        for ((stream, key), (_, live)) in &course.after {
            if *live || !course.before.get(&(*stream, *key)).is_some_and(|(_, live)| *live) {
                continue;
            }
            let (missed, shape) = (provider.ledgers[*stream].missed(*key), &provider.shapes[*stream]);
            let swept = missed >= shape.after && shape.sweep != Sweep::Never;
            if !swept && !provider.told_gone.contains(key) {
                return Err(format!("{key} is marked as deleted, missed by {missed} of {} clean reads", shape.after));
            }
            marked += 1;
        }
        Ok(marked)
    }

    /// Proves that whoever was there and the same from before a sync is stored as it is. `wholly` has no excuse.
    fn equal(&self, stream: usize, course: &Course, wholly: bool) -> Result<(), String> {
        let provider = self.provider();
        let settle = provider.shapes[stream].changes.map_or(0, |Changes { settle, .. }| settle);
        for (key, person) in provider.people.iter().filter(|(_, person)| person.stream == stream) {
            let known = person.touched <= course.began && person.stamp <= course.at - settle;
            let excused = person.refused.is_some() || (!wholly && person.excuse.is_some());
            if !provider.is_seen(person) || !known || excused {
                continue;
            }
            let name = format!("N{key}.{}", person.content);
            match course.after.get(&(stream, *key)) {
                Some((stored, true)) if *stored == name => {}
                stored => return Err(format!("{key} is {name}, and stored is {stored:?}")),
            }
        }
        Ok(())
    }

    /// Proves that in the end whoever is gone is marked so, where deletes are looked for.
    fn gone_are_marked(&self, stored: &Stored) -> Result<(), String> {
        let provider = self.provider();
        for ((stream, key), (_, live)) in stored {
            let is_there = provider.people.get(key).is_some_and(|person| provider.is_seen(person));
            let shape = &provider.shapes[*stream];
            // Full last pages that say nothing of more are a doubt for good.
            let swept = shape.sweep != Sweep::Never && provider.ledgers[*stream].are_proved(shape.after);
            if *live && !is_there && swept {
                return Err(format!("{key} is gone, and still live after all clean reads"));
            }
        }
        Ok(())
    }
}
