//! `skillsctl`: sets up and keeps running the integrations of a Skills Intelligence platform.

mod base64;
mod config;
mod domain;
mod error;
mod output;
mod secrets;
mod store;
mod yaml;
