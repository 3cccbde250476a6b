// SPDX-License-Identifier: MIT OR Apache-2.0
//! One ring: its registers and the arithmetic of its indices.
//!
//! # Theory
//! Two 16-bit indices run freely, modulo 65536 and not modulo the ring's size: the producer's
//! and the consumer's. Their difference is how many descriptors are in the consumer's hands.
//! The driver owns one of them (TX: producer, RX: consumer), the device the other.
//! Which descriptor an index means is settled when the ring starts: the index modulo the ring's
//! size. From then on the device goes one descriptor further each time and from the end back to
//! the start, so a ring whose size does not divide 65536 stays in step when the index wraps.
//! The pointer registers follow, in words. Drivers that leave indices as they found them (U-Boot)
//! and drivers that reset everything to zero (Linux) both get what they expect.
//!
//! `fetched` runs ahead of the device's index by what is fetched but not yet reported: nothing,
//! unless completions are delayed.

/// Descriptors in each direction.
pub const DESCRIPTORS: usize = 256;
/// Words in a descriptor: length and status, address low, address high.
pub const DESCRIPTOR_WORDS: usize = 3;

const DEVICE_PTR: u32 = 0x00;
const DEVICE_PTR_HIGH: u32 = 0x04;
const DEVICE_INDEX: u32 = 0x08;
const DRIVER_INDEX: u32 = 0x0c;
const BUF_SIZE: u32 = 0x10;
const START: u32 = 0x14;
const START_HIGH: u32 = 0x18;
const END: u32 = 0x1c;
const END_HIGH: u32 = 0x20;
const THRESHOLD: u32 = 0x24;
const FLOW: u32 = 0x28;
const DRIVER_PTR: u32 = 0x2c;
const DRIVER_PTR_HIGH: u32 = 0x30;

/// What a write to a ring asks of the block around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing but the register changed.
    Kept,
    /// The driver moved its index.
    Moved,
}

/// A ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    device_ptr: [u32; 2],
    driver_ptr: [u32; 2],
    /// TX: consumer index. RX: producer index.
    pub(crate) device_index: u16,
    /// TX: producer index. RX: consumer index.
    pub(crate) driver_index: u16,
    /// RX: frames that found no descriptor, in the upper half of the producer index.
    pub(crate) discards: u16,
    buf_size: u32,
    start: [u32; 2],
    end: [u32; 2],
    threshold: u32,
    /// RX: XOFF threshold in the upper half, XON in the lower. TX: flow period, kept only.
    pub(crate) flow: u32,

    /// Enabled, with bounds that make a ring.
    running: bool,
    first: usize,
    size: usize,
    slot: usize,
    fetched: u16,
    /// Finished descriptors since the last threshold interrupt, and when the first one was.
    pub(crate) done: u32,
    pub(crate) done_since_ns: Option<u64>,
    /// RX: the partner was told to pause.
    pub(crate) paused_partner: bool,
    /// TX: by a fault, the device's index no longer moves.
    pub(crate) stalled: bool,
}

/// Why a ring cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Start and end are no ring inside the descriptors.
    Bounds,
    /// It runs, but the size in RING_BUF_SIZE is another one.
    Size,
}

impl Ring {
    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        Some(match register {
            DEVICE_PTR => self.device_ptr[0],
            DEVICE_PTR_HIGH => self.device_ptr[1],
            DEVICE_INDEX => u32::from(self.discards) << 16 | u32::from(self.device_index),
            DRIVER_INDEX => self.driver_index.into(),
            BUF_SIZE => self.buf_size,
            START => self.start[0],
            START_HIGH => self.start[1],
            END => self.end[0],
            END_HIGH => self.end[1],
            THRESHOLD => self.threshold,
            FLOW => self.flow,
            DRIVER_PTR => self.driver_ptr[0],
            DRIVER_PTR_HIGH => self.driver_ptr[1],
            _ => return None,
        })
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<Written> {
        let [.., high, low] = halves(value);
        match register {
            DEVICE_PTR => self.device_ptr[0] = value,
            DEVICE_PTR_HIGH => self.device_ptr[1] = value,
            DEVICE_INDEX => {
                self.discards = high;
                // A running ring's index is the device's; only the count of discards is taken.
                if !self.running {
                    self.device_index = low;
                    self.fetched = low;
                }
            }
            DRIVER_INDEX => {
                self.pull_back(low);
                self.driver_index = low;
                return Some(Written::Moved);
            }
            BUF_SIZE => self.buf_size = value,
            START => self.start[0] = value,
            START_HIGH => self.start[1] = value,
            END => self.end[0] = value,
            END_HIGH => self.end[1] = value,
            THRESHOLD => self.threshold = value & 0x1ff,
            FLOW => self.flow = value,
            DRIVER_PTR => self.driver_ptr[0] = value,
            DRIVER_PTR_HIGH => self.driver_ptr[1] = value,
            _ => return None,
        }
        Some(Written::Kept)
    }

    /// TX: a producer that the driver moves back behind what is fetched gives up those frames.
    fn pull_back(&mut self, to: u16) {
        let ahead = self.fetched.wrapping_sub(self.device_index);
        let kept = to.wrapping_sub(self.device_index);
        if self.running && kept < ahead {
            let back = usize::from(ahead - kept) % self.size;
            self.slot = (self.slot + self.size - back) % self.size;
            self.fetched = to;
            self.stalled = false;
        }
    }

    /// Starts or stops the ring. Starting fixes the bounds and the slot of the index.
    pub(crate) fn run(&mut self, enable: bool) -> Result<(), Unfit> {
        if !enable {
            self.running = false;
            self.stalled = false;
            self.fetched = self.device_index;
            self.done = 0;
            self.done_since_ns = None;
            return Ok(());
        }
        if self.running {
            return Ok(());
        }
        let words = DESCRIPTOR_WORDS as u64;
        let first = u64::from(self.start[0]) / words;
        let end = (u64::from(self.end[0]) + 1) / words;
        let inside = self.start[1] == 0 && self.end[1] == 0 && end <= DESCRIPTORS as u64;
        if !inside || first >= end {
            return Err(Unfit::Bounds);
        }
        self.first = first as usize;
        self.size = (end - first) as usize;
        self.slot = usize::from(self.device_index) % self.size;
        self.fetched = self.device_index;
        self.running = true;
        if self.buf_size >> 16 == self.size as u32 {
            Ok(())
        } else {
            Err(Unfit::Size)
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// How many descriptors it has, while it runs.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of each receive buffer.
    pub(crate) fn buffer_bytes(&self) -> usize {
        (self.buf_size & 0xffff) as usize
    }

    /// TX: descriptors that the driver queued and the device has not fetched.
    pub(crate) fn queued(&self) -> usize {
        usize::from(self.driver_index.wrapping_sub(self.fetched))
    }

    /// RX: descriptors that the device may fill.
    pub(crate) fn room(&self) -> usize {
        let filled = usize::from(self.device_index.wrapping_sub(self.driver_index));
        self.size.saturating_sub(filled)
    }

    /// The descriptor `ahead` of the next one.
    pub(crate) fn descriptor(&self, ahead: usize) -> usize {
        self.first + (self.slot + ahead) % self.size
    }

    /// Fetches so many descriptors.
    pub(crate) fn fetch(&mut self, descriptors: usize) {
        self.slot = (self.slot + descriptors) % self.size;
        self.fetched = self.fetched.wrapping_add(descriptors as u16);
        self.device_ptr = [((self.first + self.slot) * DESCRIPTOR_WORDS) as u32, 0];
    }

    /// The index up to which descriptors are fetched.
    pub(crate) fn fetched(&self) -> u16 {
        self.fetched
    }

    /// Reports everything up to `index` to the driver; whether the threshold is reached.
    pub(crate) fn report(&mut self, index: u16, now_ns: u64) -> bool {
        if self.stalled {
            return false;
        }
        self.done += u32::from(index.wrapping_sub(self.device_index));
        self.device_index = index;
        self.done_since_ns.get_or_insert(now_ns);
        self.done >= self.threshold.max(1)
    }

    /// The threshold interrupt was raised: counting begins anew.
    pub(crate) fn signalled(&mut self) {
        self.done = 0;
        self.done_since_ns = None;
    }
}

fn halves(value: u32) -> [u16; 2] {
    [(value >> 16) as u16, value as u16]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring in the plainest form: a list of descriptors, and no index at all.
    struct Reference {
        first: usize,
        size: usize,
        next: usize,
        queued: usize,
    }

    fn ring(first: usize, size: usize, index: u16) -> Ring {
        let mut ring = Ring::default();
        ring.write(START, (first * 3) as u32);
        ring.write(END, ((first + size) * 3 - 1) as u32);
        ring.write(BUF_SIZE, (size as u32) << 16 | 2048);
        ring.write(DEVICE_INDEX, index.into());
        ring.write(DRIVER_INDEX, index.into());
        ring.run(true).unwrap();
        ring
    }

    #[test]
    fn agrees_with_a_list_whatever_the_size_and_the_index() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let size = random.usize(1..=DESCRIPTORS);
            let first = random.usize(0..=DESCRIPTORS - size);
            let index = random.u16(..);
            let mut ring = ring(first, size, index);
            let mut list = Reference {
                first,
                size,
                next: usize::from(index) % size,
                queued: 0,
            };
            // Enough steps that the index wraps whatever it started at.
            let mut producer = index;
            let mut moved = 0;
            while moved < 70_000 {
                let more = random.usize(0..=size - list.queued);
                producer = producer.wrapping_add(more as u16);
                ring.write(DRIVER_INDEX, producer.into());
                list.queued += more;
                assert_eq!(ring.queued(), list.queued);
                let take = random.usize(0..=list.queued);
                for ahead in 0..take {
                    let expected = list.first + (list.next + ahead) % list.size;
                    assert_eq!(ring.descriptor(ahead), expected);
                }
                ring.fetch(take);
                let fetched = ring.fetched();
                ring.report(fetched, 0);
                ring.signalled();
                list.next = (list.next + take) % list.size;
                list.queued -= take;
                moved += take.max(1);
                let pointer = ring.read(DEVICE_PTR).unwrap() as usize;
                assert_eq!(pointer, (list.first + list.next) * DESCRIPTOR_WORDS);
                assert_eq!(ring.device_index, fetched);
            }
        }
    }

    #[test]
    fn room_is_what_the_driver_gave_back() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..100 {
            let size = random.usize(1..=DESCRIPTORS);
            let index = random.u16(..);
            let mut ring = ring(0, size, index);
            let (mut filled, mut consumer) = (0, index);
            for _ in 0..2000 {
                let take = random.usize(0..=ring.room());
                ring.fetch(take);
                let fetched = ring.fetched();
                ring.report(fetched, 0);
                filled += take;
                let give = random.usize(0..=filled);
                consumer = consumer.wrapping_add(give as u16);
                ring.write(DRIVER_INDEX, consumer.into());
                filled -= give;
                assert_eq!(ring.room(), size - filled);
            }
        }
    }

    #[test]
    fn a_running_ring_keeps_its_index() {
        let mut ring = ring(0, 16, 7);
        ring.discards = 9;
        ring.write(DEVICE_INDEX, 0);
        assert_eq!(
            ring.read(DEVICE_INDEX),
            Some(7),
            "only discards are cleared"
        );
        ring.run(false).unwrap();
        ring.write(DEVICE_INDEX, 0);
        assert_eq!(ring.read(DEVICE_INDEX), Some(0));
    }

    #[test]
    fn a_ring_outside_the_descriptors_does_not_start() {
        for (start, end) in [(0, 770), (30, 29), (0, 1), (u32::MAX, u32::MAX)] {
            let mut ring = Ring::default();
            ring.write(START, start);
            ring.write(END, end);
            assert_eq!(ring.run(true), Err(Unfit::Bounds), "{start}..{end}");
            assert!(!ring.is_running());
        }
        let mut ring = Ring::default();
        ring.write(END, 767);
        assert_eq!(ring.run(true), Err(Unfit::Size));
        assert!(ring.is_running());
    }

    #[test]
    fn a_producer_pulled_back_gives_up_what_was_fetched() {
        let mut ring = ring(32, 8, 65533);
        ring.write(DRIVER_INDEX, 2);
        ring.fetch(5);
        ring.stalled = true;
        ring.report(2, 0);
        assert_eq!(ring.device_index, 65533);
        let before = usize::from(65533_u16) % 8;
        ring.write(DRIVER_INDEX, 65533);
        assert_eq!(ring.queued(), 0);
        assert_eq!(ring.descriptor(0), 32 + before);
        assert!(!ring.stalled);
    }

    #[test]
    fn threshold_counts_what_is_reported() {
        let mut ring = ring(0, 16, 0);
        ring.write(THRESHOLD, 3);
        ring.fetch(2);
        assert!(!ring.report(2, 5));
        assert_eq!(ring.done_since_ns, Some(5));
        ring.fetch(1);
        assert!(ring.report(3, 9));
        assert_eq!(
            ring.done_since_ns,
            Some(5),
            "the time-out runs from the first"
        );
        ring.signalled();
        assert_eq!(ring.done_since_ns, None);
    }
}
