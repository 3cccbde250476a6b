// SPDX-License-Identifier: MIT OR Apache-2.0
//! ADMA2's descriptors (§1.13).
//!
//! # Theory
//! A descriptor of two words tells one stretch of memory: attributes and length, then the address. The controller
//! fetches them from memory, so the table is cleaned before the controller is told of it.
use super::Error;
use crate::DmaBuffer;
use crate::sd::Segment;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    /// The first word.
    DESCRIPTOR [
        VALID OFFSET(0) NUMBITS(1) [],
        END OFFSET(1) NUMBITS(1) [],
        ACT OFFSET(4) NUMBITS(2) [ Transfer = 2 ],
        /// In bytes; 0 is 65,536.
        LENGTH OFFSET(16) NUMBITS(16) []
    ]
}

const DESCRIPTOR_WORDS: usize = 2;
/// The most that a descriptor tells.
const BYTES_MAX: u32 = 65_536;

/// How many descriptors `table` has room for.
pub(super) fn room(table: &mut impl DmaBuffer) -> usize {
    table.words().len() / DESCRIPTOR_WORDS
}

/// Describes `segments`, `bytes` in all, and cleans the table.
pub(super) fn describe(
    table: &mut impl DmaBuffer,
    segments: impl Iterator<Item = Segment>,
    bytes: u32,
) -> Result<(), Error> {
    let transfer = DESCRIPTOR::VALID::SET + DESCRIPTOR::ACT::Transfer;
    let (descriptors, _) = table.words().as_chunks_mut::<DESCRIPTOR_WORDS>();
    let (mut used, mut told_bytes) = (0, 0_u32);
    for mut segment in segments {
        if !(segment.bus_address | segment.bytes).is_multiple_of(4) {
            let bus_address = segment.bus_address;
            return Err(Error::Unaligned { bus_address });
        }
        told_bytes = told_bytes.saturating_add(segment.bytes);
        while segment.bytes != 0 {
            let Some(descriptor) = descriptors.get_mut(used) else {
                let room = descriptors.len();
                return Err(Error::TooManySegments { room });
            };
            let bytes = segment.bytes.min(BYTES_MAX);
            let told = transfer + DESCRIPTOR::LENGTH.val(bytes % BYTES_MAX);
            *descriptor = [told.value, segment.bus_address];
            segment.bus_address = segment.bus_address.wrapping_add(bytes);
            segment.bytes -= bytes;
            used += 1;
        }
    }
    if told_bytes != bytes || used == 0 {
        let bytes = told_bytes as usize;
        return Err(Error::Length { bytes });
    }
    descriptors[used - 1][0] |= DESCRIPTOR::END::SET.value;
    table.clean_front(used * DESCRIPTOR_WORDS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn descriptors_are_as_the_standard_has_them_and_the_last_one_says_so() {
        let memory = Memory::at(0xc000_0000);
        let mut table = memory.buffer(8);
        let segment = |bus_address, bytes| Segment { bus_address, bytes };
        let segments = [segment(0x1000, 512), segment(0x8000, 65_536 + 1024)];
        assert_eq!(describe(&mut table, segments.into_iter(), 67_072), Ok(()));
        let mut words = [0; 24];
        assert!(memory.device_reads(0xc000_0000, &mut words));
        let (words, _) = words.as_chunks();
        assert_eq!(
            words
                .iter()
                .map(|w| u32::from_le_bytes(*w))
                .collect::<std::vec::Vec<_>>(),
            [
                0x0200_0021,
                0x1000,
                0x0000_0021,
                0x8000,
                0x0400_0023,
                0x1_8000
            ]
        );
    }
}
