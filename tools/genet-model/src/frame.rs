// SPDX-License-Identifier: MIT OR Apache-2.0
//! What GENET reads in a frame: addresses, pause frames, ones-complement sums, the check sequence.

/// Bytes of the frame check sequence on the wire.
pub(crate) const FCS_BYTES: usize = 4;
/// A frame's shortest length without its check sequence.
pub(crate) const MIN_BYTES: usize = 60;
const HEADER_BYTES: usize = 14;
const PAUSE_ADDRESS: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 1];
const TYPE_CONTROL: u16 = 0x8808;
const OPCODE_PAUSE: u16 = 1;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Who a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    Unicast,
    Multicast,
    Broadcast,
}

/// The destination address; short frames are filled up with zeros.
pub(crate) fn destination(frame: &[u8]) -> [u8; 6] {
    let mut address = [0; 6];
    let there = frame.len().min(6);
    address[..there].copy_from_slice(&frame[..there]);
    address
}

pub(crate) fn cast(frame: &[u8]) -> Cast {
    let to = destination(frame);
    match to {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Cast::Broadcast,
        _ if to[0] & 1 != 0 => Cast::Multicast,
        _ => Cast::Unicast,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([two[0], two[1]]))
}

/// Whether this is a MAC control frame, whatever its opcode.
pub(crate) fn is_control(frame: &[u8]) -> bool {
    be16(frame, 12) == Some(TYPE_CONTROL)
}

/// Whether it carries a VLAN tag.
pub(crate) fn is_tagged(frame: &[u8]) -> bool {
    be16(frame, 12) == Some(0x8100)
}

/// A pause frame's time in units of 512 bit times.
pub(crate) fn pause_quanta(frame: &[u8]) -> Option<u16> {
    let pause = is_control(frame) && be16(frame, 14) == Some(OPCODE_PAUSE);
    if pause { be16(frame, 16) } else { None }
}

/// A pause frame, without padding.
pub(crate) fn pause(source: [u8; 6], quanta: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(MIN_BYTES);
    frame.extend(PAUSE_ADDRESS);
    frame.extend(source);
    frame.extend(TYPE_CONTROL.to_be_bytes());
    frame.extend(OPCODE_PAUSE.to_be_bytes());
    frame.extend(quanta.to_be_bytes());
    frame.resize(MIN_BYTES, 0);
    frame
}

/// The ones-complement sum of big-endian 16-bit words; an odd byte counts as the upper half.
pub(crate) fn ones_sum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    // Two words at a time: what goes over into the upper one comes back below.
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    sum += u64::from(u32::from_be_bytes(last));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

/// The sum that the receiver reports: over everything behind the Ethernet header.
pub(crate) fn rx_sum(frame: &[u8]) -> u16 {
    ones_sum(frame.get(HEADER_BYTES..).unwrap_or_default())
}

/// Whether the IPv4 or IPv6 TCP or UDP checksum is there and right.
pub(crate) fn checksum_is_good(frame: &[u8]) -> bool {
    transport(frame).is_some_and(|(pseudo, segment)| {
        let parts = u32::from(ones_sum(&pseudo)) + u32::from(ones_sum(segment));
        let sum = (parts & 0xffff) + (parts >> 16);
        sum == 0xffff
    })
}

/// The pseudo header and the TCP or UDP segment of an unfragmented IP packet.
fn transport(frame: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let packet = frame.get(HEADER_BYTES..)?;
    let mut pseudo = Vec::with_capacity(40);
    let (protocol, segment) = match be16(frame, 12)? {
        TYPE_IPV4 => {
            let header = usize::from(packet.first()? & 0xf) * 4;
            let total = usize::from(be16(packet, 2)?);
            if be16(packet, 6)? & 0x3fff != 0 {
                return None;
            }
            pseudo.extend(packet.get(12..20)?);
            (*packet.get(9)?, packet.get(header..total)?)
        }
        TYPE_IPV6 => {
            let bytes = usize::from(be16(packet, 4)?);
            pseudo.extend(packet.get(8..40)?);
            (*packet.get(6)?, packet.get(40..40 + bytes)?)
        }
        _ => return None,
    };
    let bytes = u16::try_from(segment.len()).ok()?;
    pseudo.extend([0, protocol]);
    pseudo.extend(bytes.to_be_bytes());
    (protocol == TCP || protocol == UDP).then_some((pseudo, segment))
}

/// CRC-32 as Ethernet sends it, in the order of the wire.
pub(crate) fn fcs(frame: &[u8]) -> [u8; FCS_BYTES] {
    let mut crc = u32::MAX;
    for byte in frame {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 & carry.wrapping_neg());
        }
    }
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sequence_is_the_known_crc() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(fcs(b"123456789"), 0xcbf4_3926_u32.to_le_bytes());
    }

    #[test]
    fn sums_fold_and_take_odd_bytes() {
        // The worked example of RFC 1071, section 3.
        assert_eq!(
            ones_sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
        assert_eq!(ones_sum(&[0x12]), 0x1200);
        assert_eq!(ones_sum(&[0xff; 4000]), 0xffff);
    }

    #[test]
    fn pause_frames_are_recognised() {
        let frame = pause([2, 0, 0, 0, 0, 1], 0x1234);
        assert_eq!(frame.len(), MIN_BYTES);
        assert_eq!(pause_quanta(&frame), Some(0x1234));
        assert_eq!(pause_quanta(&[0; MIN_BYTES]), None);
        assert_eq!(pause_quanta(&frame[..16]), None);
    }

    #[test]
    fn a_broken_udp_checksum_is_seen() {
        let mut frame = vec![0; 14];
        frame[12..14].copy_from_slice(&TYPE_IPV4.to_be_bytes());
        frame.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, UDP, 0, 0]);
        frame.extend([10, 0, 2, 15, 10, 0, 2, 2]);
        frame.extend([0, 7, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4]);
        let (pseudo, segment) = transport(&frame).unwrap();
        let sum = ones_sum(&[pseudo, segment.to_vec()].concat());
        frame[40..42].copy_from_slice(&(!sum).to_be_bytes());
        assert!(checksum_is_good(&frame));
        frame[45] ^= 1;
        assert!(!checksum_is_good(&frame));
    }
}
