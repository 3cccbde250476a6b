// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board: memory map, boot, MMU, GIC, timer, PSCI, device tree. The only place with board addresses.
#![no_std]
