//! `skillsctl`: sets up and keeps running the integrations of a Skills Intelligence platform.

mod error;
mod output;
