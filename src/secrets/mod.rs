//! Secrets in the clear and sealed: the master key wraps a data key per organization, which seals its credentials.
//!
//! ```text
//! MasterKey   32 bytes, never in the database; known there by its `KeyId` and a check value
//!   wraps DataKey      AAD: "skillsctl/dek/v1" | database | organization | version
//!     seals a Secret   AAD: "skillsctl/cred/v1" | database | organization | provider | field
//!                           | credential | version | data key version
//!     seals a token    AAD: "skillsctl/token/v1" | database | organization | provider | basis
//!                           | got at | expires at | data key version
//!   wraps OpeningKey   AAD: "skillsctl/opening-key/v1" | database | sealing key
//!     opens a deposit  info: "skillsctl/deposit/v1" | database | organization | provider | field | deposit
//!                           | credential it replaces | by | at
//!     seals an ErasureKey   AAD: "skillsctl/erasures/v1" | database | organization | data key version
//! ```
//!
//! The associated data (AAD) is authenticated and not stored: it is made again from where the value was found, so
//! a sealed value moved to another row does not open. All of it is AES-256-GCM by ring, with a fresh nonce each time, but for
//! deposits: those are sealed by who cannot open them, with HPKE (RFC 9180) to the `SealingKey` of the database.

mod credential;
mod deposit;
mod erasure;
pub(crate) mod hex;
mod keys;
mod redact;
mod rsa;
mod sealed;
mod secret;
mod token;

pub(crate) use credential::{CredentialContext, fingerprint, open, seal};
pub(crate) use deposit::{DepositContext, OpeningKey, SealingKey, open_deposit, seal_deposit, unreadable};
pub(crate) use erasure::{ErasureContext, ErasureKey, PersonHash};
pub(crate) use keys::{DataKey, DekContext, KeyId, MasterKey, Names};
pub(crate) use redact::{holds, redact};
pub(crate) use rsa::sign_rs256;
pub(crate) use sealed::{AssociatedData, Sealed};
pub(crate) use secret::Secret;
pub(crate) use token::{TokenContext, open_token, seal_token};
