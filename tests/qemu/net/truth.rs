// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel whose DMA buffers have two copies: each call of cache maintenance that is left out is missed.

use std::time::Duration;

use qemu_tests::{Machine, case, claim};

use super::Net;

/// Echo requests with a call left out, of a size that takes several cache lines.
const PINGS: u32 = 20;
const PING_BYTES: usize = 1000;
/// So often at most, until only so few are answered.
const ROUNDS: usize = 40;
const FEW: usize = PINGS as usize / 2;

#[test]
fn a_call_that_is_left_out_is_missed() {
    claim("cache maintenance left out, one call at a time: echoes do not come back");
    for call in ["prewrite", "preread", "postread"] {
        let mut net = Net::start(Machine::new().dma_truth(), "");
        assert_eq!(net.console.command(&format!("dmaomit {call}")), "");
        // Buffers that were made ready before are used up first; and only those that were sent from are dirty.
        let mut rounds = Vec::new();
        while rounds.len() < ROUNDS && rounds.last().is_none_or(|answered| *answered > FEW) {
            let trips = net
                .station
                .ping(PINGS, PING_BYTES, Duration::from_millis(100));
            rounds.push(trips.expect("the station").iter().flatten().count());
        }
        case(&format!("{call}: of {PINGS} each: {rounds:?}"));
        assert!(rounds.len() < ROUNDS, "{call} is not missed: {rounds:?}");
    }
}
