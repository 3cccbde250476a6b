// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files from a TFTP server.
pub mod protocol;

#[cfg(target_os = "none")]
mod get;

#[cfg(target_os = "none")]
pub use get::get;
