// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver against the register model.
mod bench;
mod bringup;
mod chaos;
mod checksums;
mod faults;
mod frames;
mod interrupts;
mod phy;
mod rig;
mod watchdog;
