//! Named moments at which a test kills the process, and faults that a test puts in to prove that it would notice them.
//!
//! Only the feature `mutants` brings this to life: a shipped program has neither, as every call is then empty. In tests
//! beside the code it is what one of them plays to its own runs.

#[cfg(test)]
pub(crate) use crate::config::played::{on, point};
#[cfg(not(any(feature = "mutants", test)))]
pub(crate) use asleep::{on, point};
#[cfg(all(feature = "mutants", not(test)))]
pub(crate) use awake::{on, point};

#[cfg(not(any(feature = "mutants", test)))]
mod asleep {
    /// Marks a moment at which a test may kill the process.
    #[inline(always)]
    pub(crate) const fn point(_name: &'static str) {}

    /// Returns whether a fault is put in.
    #[inline(always)]
    pub(crate) const fn on(_mutant: &'static str) -> bool {
        false
    }
}

#[cfg(all(feature = "mutants", not(test)))]
mod awake {
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use crate::config::Environment;

    /// What the environment asks for.
    struct Orders {
        /// Gets a line for each point that is reached.
        trace: Option<File>,
        /// The point to die at, and at which time of reaching it.
        kill: Option<(String, usize)>,
        reached: AtomicUsize,
        mutant: Option<String>,
    }

    fn orders() -> &'static Orders {
        static ORDERS: OnceLock<Orders> = OnceLock::new();
        ORDERS.get_or_init(|| {
            let environment = Environment::of_process();
            let text = |name| environment.text(name).expect("a test sets texts");
            let open = |path| OpenOptions::new().append(true).create(true).open(path).expect("a trace can be written");
            let kill = text("SKILLSCTL_TEST_KILL").map(|order| {
                let (name, time) = order.split_once(':').expect("NAME:TIME");
                (name.to_owned(), time.parse().expect("a number"))
            });
            Orders {
                trace: environment.path("SKILLSCTL_TEST_TRACE").map(open),
                kill,
                reached: AtomicUsize::new(0),
                mutant: text("SKILLSCTL_TEST_MUTANT"),
            }
        })
    }

    /// Marks a moment at which a test may kill the process: nothing is dropped, flushed or written after it.
    pub(crate) fn point(name: &'static str) {
        let orders = orders();
        if let Some(mut trace) = orders.trace.as_ref() {
            // One write, so that lines of two threads do not mix.
            trace.write_all(format!("{name}\n").as_bytes()).expect("a trace can be written");
        }
        if let Some((wanted, time)) = &orders.kill
            && wanted == name
            && orders.reached.fetch_add(1, Ordering::SeqCst) + 1 == *time
        {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            loop {
                std::thread::park();
            }
        }
    }

    /// Returns whether a fault is put in.
    pub(crate) fn on(mutant: &'static str) -> bool {
        orders().mutant.as_deref() == Some(mutant)
    }
}
