// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cards on the bench: the protocol, through the controller's driver, against the register model.
mod chaos;
mod identification;
mod recovery;
mod takeover;
mod transfers;

use super::Error;
use crate::sdhci::Error as Cause;
use crate::sdhci::bench::{Bench, Card, Host};

/// The card that comes up.
fn up(host: Host<'_>) -> Card<'_> {
    super::Card::init(host)
        .map_err(|(error, _)| error)
        .expect("comes up")
}

/// Why none does.
fn init_error(bench: &Bench) -> Error {
    match super::Card::init(bench.host()) {
        Ok(card) => panic!("came up: {:?}", card.info()),
        Err((error, _)) => error,
    }
}

const fn bus(command: u8, cause: Cause) -> Error {
    Error::Bus { command, cause }
}
