// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the console's reference from what the kernel says of its commands (`make doc`): docs/guide/console.md.

use std::process::ExitCode;

use qemu_tests::{Machine, reference};

fn main() -> ExitCode {
    let page = reference::page(&mut Machine::new().start());
    let file = tools::root().join("docs/guide/console.md");
    tools::exit("reference", tools::write(&file, page.as_bytes()))
}
