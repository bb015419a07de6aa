//! Key commands that are real key managers, where this machine has them.
