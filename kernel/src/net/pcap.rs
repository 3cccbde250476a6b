// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file format that tcpdump and Wireshark read: a header, then a header before each frame.
//!
//! Written with the little end first; the magic number tells the reader. Times are in microseconds: readers of any age
//! know that variant.
//!
//! References: draft-ietf-opsawg-pcap, "PCAP Capture File Format".

/// The most bytes of a frame that are written.
pub const SNAPLEN: usize = 2048;

const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
const LINKTYPE_ETHERNET: u32 = 1;

/// What the file begins with.
pub fn file_header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..6].copy_from_slice(&VERSION[0].to_le_bytes());
    header[6..8].copy_from_slice(&VERSION[1].to_le_bytes());
    header[16..20].copy_from_slice(&(SNAPLEN as u32).to_le_bytes());
    header[20..].copy_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
    header
}

/// What stands before a frame: when it passed, in nanoseconds since 1970, or since boot if nobody knows better; how many
/// of its bytes follow, and how many it had.
pub fn record_header(at_ns: u64, captured_bytes: usize, frame_bytes: usize) -> [u8; 16] {
    let mut header = [0; 16];
    let words = [
        (at_ns / 1_000_000_000) as u32,
        (at_ns % 1_000_000_000 / 1000) as u32,
        captured_bytes as u32,
        frame_bytes as u32,
    ];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that another program wrote: `tcpdump -s 2048 -w`, the first record's header.
    #[test]
    fn as_others_write_it() {
        let header = file_header();
        assert_eq!(
            header,
            *b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\x08\0\0\x01\0\0\0"
        );
        let record = record_header(1_700_000_000_123_456_789, 60, 1514);
        assert_eq!(
            record,
            *b"\0\xf1\x53\x65\x40\xe2\x01\0\x3c\0\0\0\xea\x05\0\0"
        );
    }
}
