// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel: threads, interrupts, storage, console. `main.rs` wires it.
//!
//! Modules that touch the machine exist only for the board's target; everything else is also built and
//! tested on the host (`cargo test -p kernel`).
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bio;
pub mod clock;
pub mod cmdline;
pub mod console;
pub mod dma;
pub mod dmesg;
pub mod fs;
pub mod memory;
pub mod net;
pub mod netload;
mod octave;
pub mod panic;
pub mod shares;
pub mod thread;
pub mod trace;

#[cfg(target_os = "none")]
pub mod board;
#[cfg(target_os = "none")]
pub mod callout;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
mod cpu_time;
#[cfg(target_os = "none")]
pub mod ddb;
#[cfg(target_os = "none")]
mod demo;
#[cfg(target_os = "none")]
mod diskload;
#[cfg(target_os = "none")]
mod findings;
#[cfg(target_os = "none")]
mod hang;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(target_os = "none")]
pub mod intr;
#[cfg(target_os = "none")]
mod irqlat;
#[cfg(target_os = "none")]
pub mod klog;
#[cfg(target_os = "none")]
pub mod lock_order;
#[cfg(target_os = "none")]
pub mod machine_off;
#[cfg(target_os = "none")]
mod provoke;
#[cfg(target_os = "none")]
pub mod random;
#[cfg(target_os = "none")]
mod selftest;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod softint;
#[cfg(target_os = "none")]
mod stop;
#[cfg(target_os = "none")]
pub mod storage;
#[cfg(target_os = "none")]
mod stress;
#[cfg(target_os = "none")]
mod torture;
#[cfg(target_os = "none")]
mod trial;
#[cfg(target_os = "none")]
pub mod watchdog;
#[cfg(target_os = "none")]
pub mod xcall;
