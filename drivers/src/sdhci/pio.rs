// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data by the CPU, through the buffer port, block by block (§3.7.2).
use super::Sdhci;
use super::command::{DATA_TIMEOUT_US, Event, Transfer};
use super::regs::{BLOCK, BUFFER_DATA_PORT, COMMAND, INT};
use crate::Io;
use crate::sd::{BLOCK_BYTES, Command, HostError, Response};
use embedded_hal::delay::DelayNs;
use tock_registers::fields::FieldValue;

impl<I: Io, D: DelayNs> Sdhci<I, D> {
    pub(super) fn read_by_pio(
        &mut self,
        command: Command,
        block_bytes: usize,
        data: &mut [u8],
    ) -> Result<Response, HostError> {
        let transfer = describe(data.len(), block_bytes, COMMAND::DIRECTION::Read)?;
        let response = self.run(command, Some(transfer))?;
        for block in data.chunks_exact_mut(block_bytes) {
            self.wait_for_data(INT::BUFFER_READ_READY::SET)?;
            for bytes in block.chunks_exact_mut(4) {
                bytes.copy_from_slice(&BUFFER_DATA_PORT.read(&self.io).get().to_le_bytes());
            }
        }
        self.wait_for_data(INT::TRANSFER_COMPLETE::SET)?;
        Ok(response)
    }

    pub(super) fn write_by_pio(
        &mut self,
        command: Command,
        data: &[u8],
    ) -> Result<Response, HostError> {
        let transfer = describe(data.len(), BLOCK_BYTES, COMMAND::DIRECTION::Write)?;
        let response = self.run(command, Some(transfer))?;
        for block in data.chunks_exact(BLOCK_BYTES) {
            self.wait_for_data(INT::BUFFER_WRITE_READY::SET)?;
            let (words, _) = block.as_chunks();
            for &word in words {
                // The data port needs no pause.
                self.io
                    .write32(BUFFER_DATA_PORT.offset, u32::from_le_bytes(word));
            }
        }
        self.wait_for_data(INT::TRANSFER_COMPLETE::SET)?;
        Ok(response)
    }

    fn wait_for_data(&mut self, event: Event) -> Result<(), HostError> {
        self.wait_for(event, DATA_TIMEOUT_US, HostError::DataTimeout)
    }
}

/// What the controller is told of data of so many bytes.
fn describe(
    bytes: usize,
    block_bytes: usize,
    direction: FieldValue<u32, COMMAND::Register>,
) -> Result<Transfer, HostError> {
    let whole = (4..=2048).contains(&block_bytes)
        && block_bytes.is_multiple_of(4)
        && bytes.is_multiple_of(block_bytes);
    let count = match u16::try_from(bytes / block_bytes.max(1)) {
        Ok(count @ 1..) if whole => u32::from(count),
        _ => return Err(HostError::Length { bytes }),
    };
    let one = COMMAND::DATA_PRESENT::SET + direction;
    let several =
        COMMAND::MULTI_BLOCK::SET + COMMAND::BLOCK_COUNT_ENABLE::SET + COMMAND::AUTO_CMD::Cmd12;
    Ok(Transfer {
        block: BLOCK::SIZE.val(block_bytes as u32) + BLOCK::COUNT.val(count),
        mode: if count == 1 { one } else { one + several },
    })
}
