// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console: keys to lines, lines to words, words to commands; and the serial line that carries it.

pub mod complete;
pub mod history;
pub mod keys;
pub mod line;
pub mod plain;
pub mod words;

#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
pub mod shell;
#[cfg(target_os = "none")]
pub mod terminal;
#[cfg(target_os = "none")]
pub mod tty;
