//! Secrets in the clear and sealed: the master key wraps a data key per organization, which seals its credentials.
//!
//! ```text
//! MasterKey   32 bytes, never in the database; known there by its `KeyId` and a check value
//!   wraps DataKey      AAD: "skillsctl/dek/v1" | database | organization | version
//!     seals a Secret   AAD: "skillsctl/cred/v1" | database | organization | provider | field
//!                           | credential | version | data key version
//!     seals a token    AAD: "skillsctl/token/v1" | database | organization | provider | basis
//!                           | got at | expires at | data key version
//! ```
//!
//! The associated data (AAD) is authenticated and not stored: it is made again from where the value was found, so
//! a sealed value moved to another row does not open. All of it is AES-256-GCM by ring, with a fresh nonce each time.

mod credential;
pub(crate) mod hex;
mod keys;
mod redact;
mod rsa;
mod sealed;
mod secret;
mod token;

pub(crate) use credential::{CredentialContext, fingerprint, open, seal};
pub(crate) use keys::{DataKey, DekContext, KeyId, MasterKey, Names};
pub(crate) use redact::{holds, redact};
pub(crate) use rsa::sign_rs256;
pub(crate) use sealed::Sealed;
pub(crate) use secret::Secret;
pub(crate) use token::{TokenContext, open_token, seal_token};
