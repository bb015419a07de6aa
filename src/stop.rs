//! Ctrl-C and SIGTERM: the first asks everything to end soon, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Exit;

/// Watches for signals for the rest of the process.
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Begins to watch.
    pub(crate) fn watch() -> Result<Self> {
        let stop = Stop { asked: Arc::default(), signal: Arc::default() };
        for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            // In this order: the second signal finds the flag set by the first and ends the process.
            flag::register_conditional_shutdown(signal, i32::from(exit as u8), Arc::clone(&stop.asked))?;
            flag::register(signal, Arc::clone(&stop.asked))?;
            flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize)?;
        }
        Ok(stop)
    }

    /// Returns the flag that is set once the end is asked for.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// Returns the exit code of the signal that came, if one did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        if !self.asked.load(Ordering::Relaxed) {
            return None;
        }
        Some(if self.signal.load(Ordering::Relaxed) == SIGTERM as usize { Exit::Terminated } else { Exit::Interrupted })
    }
}
