// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host without a controller, for the protocol's tests: it speaks to the card model, and fails when told to.
use super::model::CardModel;
use super::{BLOCK_BYTES, Command, Host, HostError, Response, ResponseKind, Speed};
use crate::testing::Clock;
use core::cell::RefCell;
use embedded_hal::delay::DelayNs;
use std::vec;
use std::vec::Vec;

/// A host in a few lines: errors to come, by command, and how much of the data gets through before.
pub(super) struct FakeHost<'a> {
    pub(super) card: &'a CardModel,
    pub(super) clock: &'a Clock,
    pub(super) errors: RefCell<Vec<(u8, HostError, usize)>>,
    pub(super) power_up: Result<(), HostError>,
    pub(super) high_speed: bool,
    pub(super) speed_error: Option<Speed>,
}

impl<'a> FakeHost<'a> {
    pub(super) fn new(card: &'a CardModel, clock: &'a Clock) -> Self {
        let errors = RefCell::default();
        Self {
            card,
            clock,
            errors,
            power_up: Ok(()),
            high_speed: true,
            speed_error: None,
        }
    }

    /// The next time that command `index` comes, `blocks` of its data get through, and then `error` happens.
    pub(super) fn failing(self, times: usize, index: u8, error: HostError, blocks: usize) -> Self {
        self.errors
            .borrow_mut()
            .extend(vec![(index, error, blocks); times]);
        self
    }

    fn fault(&self, index: u8) -> Option<(HostError, usize)> {
        let mut errors = self.errors.borrow_mut();
        let at = errors.iter().position(|(i, ..)| *i == index)?;
        let (_, error, blocks) = errors.remove(at);
        Some((error, blocks))
    }

    fn respond(&self, command: Command) -> Result<Response, HostError> {
        let response = self.card.command(command.index, command.argument);
        match (command.response, response) {
            (ResponseKind::None, _) => Ok(Response::default()),
            (_, Some(bits)) => command.check(Response(bits)),
            (_, None) => Err(HostError::NoResponse),
        }
    }
}

impl Host for FakeHost<'_> {
    fn power_up(&mut self) -> Result<(), HostError> {
        self.power_up
    }
    fn command(&mut self, command: Command) -> Result<Response, HostError> {
        match self.fault(command.index) {
            Some((error, _)) => Err(error),
            None => self.respond(command),
        }
    }
    fn read(
        &mut self,
        command: Command,
        block_bytes: usize,
        data: &mut [u8],
    ) -> Result<Response, HostError> {
        let fault = self.fault(command.index);
        let response = self.respond(command)?;
        let multiple = data.len() > block_bytes;
        for (number, block) in data.chunks_mut(block_bytes).enumerate() {
            if let Some((error, _)) = fault.filter(|(_, blocks)| *blocks == number) {
                return Err(error);
            }
            block.copy_from_slice(&self.card.send_block(multiple));
        }
        if multiple {
            self.card.command(12, 0);
        }
        fault.map_or(Ok(response), |(error, _)| Err(error))
    }
    fn write(&mut self, command: Command, data: &[u8]) -> Result<Response, HostError> {
        let fault = self.fault(command.index);
        let response = self.respond(command)?;
        let multiple = data.len() > BLOCK_BYTES;
        for (number, block) in data.chunks(BLOCK_BYTES).enumerate() {
            if let Some((error, _)) = fault.filter(|(_, blocks)| *blocks == number) {
                return Err(error);
            }
            self.card.take_block(block, multiple);
        }
        if multiple {
            self.card.command(12, 0);
        }
        fault.map_or(Ok(response), |(error, _)| Err(error))
    }
    fn set_four_lines(&mut self) {
        assert!(self.card.four_lines());
    }
    fn has_high_speed(&self) -> bool {
        self.high_speed
    }
    fn set_speed(&mut self, speed: Speed) -> Result<u32, HostError> {
        if self.speed_error == Some(speed) {
            return Err(HostError::ClockStuck);
        }
        Ok(if speed == Speed::High {
            50_000_000
        } else {
            25_000_000
        })
    }
    fn delay_us(&mut self, us: u32) {
        (&mut &*self.clock).delay_us(us);
    }
}
