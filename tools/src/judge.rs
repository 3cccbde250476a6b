// SPDX-License-Identifier: MIT OR Apache-2.0
//! The judge: other people's drivers on the device pack.
//!
//! A model that its own author tests agrees with its author. So Debian's Linux, unmodified, with
//! its own modules for GENET and the card's controller, is booted on QEMU with the pack, and
//! made to do what a user would: get a lease, ping, move files both ways, switch the
//! interface off and on, read and write the card. Each check compares what Linux says, what the
//! model counted, and what the host saw. U-Boot, whose driver nobody here wrote either, goes another
//! way through the same registers; and random accesses must do no harm.

pub mod card;
pub mod card_faults;
pub mod chaos;
pub mod cpus;
pub mod faults;
pub mod flood;
pub mod guest;
pub mod linux;
pub mod network;
pub mod peer;
pub mod server;
pub mod soc;
pub mod throughput;
pub mod uboot;

use std::ffi::OsStr;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use guest::Setup;

/// What was judged, and how it came out.
#[derive(Default)]
pub struct Verdict {
    passed: u32,
    failed: u32,
}

impl Verdict {
    /// Makes one check and prints its outcome: a figure worth knowing, or what is wrong.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) {
        let began = Instant::now();
        let outcome = check();
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                println!("ok      {name}: {seen} ({seconds:.1} s)");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}: {error:#} ({seconds:.1} s)");
            }
        }
    }

    /// The line that sums it up, and whether all is well.
    pub fn end(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

/// QEMU with the pack, a card and a network.
pub fn qemu(setup: &Setup, boot: &[&OsStr]) -> Result<Command> {
    let mut q = if setup.nice {
        let mut nice = Command::new("nice");
        nice.args(["-n", "5", "env"]);
        nice
    } else {
        Command::new("env")
    };
    let mut preload = std::ffi::OsString::from("LD_PRELOAD=");
    preload.push(crate::pack::object()?);
    q.arg(preload).arg("qemu-system-aarch64");
    q.args(["-M", "raspi4b", "-display", "none", "-serial", "stdio"]);
    q.arg("-no-reboot").args(boot);
    for net in &setup.net {
        q.args(["-netdev", net]);
    }
    q.arg("-device")
        .arg(format!("pi4-genet,id=genet,{}", setup.genet));
    q.arg("-device")
        .arg(format!("pi4-emmc2,id=emmc2,{}", setup.emmc2));
    q.arg("-drive");
    q.arg(crate::pack::drive(setup.card));
    Ok(q)
}
