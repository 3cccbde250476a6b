// SPDX-License-Identifier: MIT OR Apache-2.0
//! What needs a running kernel: the harness for tests in QEMU, and cards that are broken.
//!
//! A test says what it claims with [`claim`], boots a [`Machine`], and talks to the console:
//!
//! ```no_run
//! use qemu_tests::{Machine, claim};
//!
//! claim("four cores come up by PSCI");
//! let mut console = Machine::new().start();
//! assert!(console.command("cpus").contains("psci"));
//! ```
#![forbid(unsafe_code)]

pub mod armstub;
pub mod chrome;
mod console;
pub mod corrupt;
mod cpus;
pub mod disk_bench;
pub mod disk_path;
pub mod domains_bench;
pub mod gdb;
pub mod image;
mod machine;
pub mod net_bench;
pub mod net_soak;
pub mod oracle;
pub mod reference;
pub mod soak_plot;
pub mod trace;

pub use console::{Console, PROMPT};
pub use cpus::Cpu;
pub use machine::Machine;
pub use tools::qemu::{Boot, Gic, Slot};

use std::io::Write;

/// Says at once, also when the test passes, what it shows. (The test runner captures what
/// `println!` prints, and shows it of failing tests only.)
pub fn claim(text: &str) {
    say("claim", text);
}

/// Says which case of its claim the test is at, or what it measured.
pub fn case(text: &str) {
    say("  case", text);
}

fn say(what: &str, text: &str) {
    // The runner names each test's thread after it.
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    let _ = writeln!(std::io::stderr(), "{what} {name}: {text}");
}
