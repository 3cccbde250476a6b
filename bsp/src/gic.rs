// SPDX-License-Identifier: MIT OR Apache-2.0
//! GIC-400 (GICv2), driven from the non-secure side as on the board, or from QEMU's GIC without security extensions.
//!
//! # Theory
//! The register blocks are `arm-gic`'s, taken as a map (`offset_of!`). Its `GicV2` is gone around where it is wrong
//! for this board or offers nothing, each with a test below: a priority write replaces one byte, not a word;
//! ITARGETSR has an accessor; the source CPU of an SGI stays in the acknowledged word until the end; IAR and EOIR
//! are used and not the aliased ones, which do not exist in the non-secure view.
//!
//! Both views work alike through bit 0 of CTLR: with security extensions it enables Group 1 (all that the
//! non-secure side has), without it Group 0, into which everything is then put back, for TF-A has moved it to
//! Group 1. EOImode is split: EOIR drops the priority, DIR deactivates.
//!
//! # Contexts
//! [`CpuInterface`]: any, its registers are banked per core. [`Distributor`]: a word of priorities or targets is
//! shared by four interrupts and read-modify-written: `&mut self`, the owner locks.
//!
//! References: ARM IHI 0048B.b (GICv2); ARM DDI 0471B (GIC-400).
use arm_gic::IntId;
use arm_gic::gicv2::Typer;
use arm_gic::gicv2::registers::{Gicc, Gicd};
use core::mem::offset_of;
use drivers::Io;
use sync::priority::PriorityMap;

/// Identifiers from here on are not interrupts: 1022 belongs to the other group, 1023 to nobody.
const FIRST_SPECIAL: u32 = 1020;
/// CTLR bit 9 in both views: EOIR only drops the priority.
const GICC_CTLR_EOIMODE: u32 = 1 << 9;
const ENABLE: u32 = 1;
/// CTLR: the pins by which a legacy interrupt controller would reach the core past a stopped interface. The firmware
/// knows whether there is one, and has closed them.
const GICC_CTLR_BYPASS: u32 = 0x1E0;
/// GICC_APR0: active priorities (this view's). `arm-gic` has it among the reserved words.
const GICC_APR: usize = 0xD0;

const _: () =
    assert!(offset_of!(Gicd, ipriorityr) == 0x400 && offset_of!(Gicd, itargetsr) == 0x800);
const _: () = assert!(offset_of!(Gicd, sgir) == 0xF00 && offset_of!(Gicc, dir) == 0x1000);

/// An acknowledged interrupt: the whole IAR word, as EOIR and DIR want it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged(u32);

impl Acknowledged {
    /// What acknowledging shared interrupt `intid` returned.
    pub fn shared(intid: IntId) -> Self {
        Acknowledged(intid.into())
    }

    /// The interrupt.
    pub fn intid(self) -> u32 {
        self.0 & 0x3FF
    }

    /// For an SGI: the interface number of the CPU that sent it.
    pub fn source_cpu(self) -> u32 {
        self.0 >> 10 & 7
    }
}

/// The distributor: one for all CPUs, but what concerns SGIs and PPIs (0..32) is banked per CPU.
pub struct Distributor<I: Io> {
    io: I,
}

impl<I: Io> Distributor<I> {
    /// The distributor at `io`.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    fn typer(&self) -> Typer {
        zerocopy::transmute!(self.io.read32(offset_of!(Gicd, typer)))
    }

    /// Number of interrupt identifiers implemented, a multiple of 32.
    pub fn lines(&self) -> u32 {
        self.typer().num_irqs()
    }

    /// True if the GIC has two security states (the board; QEMU with `has-security-extensions=on`).
    pub fn has_security_extension(&self) -> bool {
        self.typer().has_security_extension()
    }

    /// Every shared interrupt off, inactive, level-sensitive, at the lowest priority and to no CPU; then the distributor on. Once,
    /// before any CPU's part.
    pub fn init(&mut self) {
        self.io.write32(offset_of!(Gicd, ctlr), 0);
        for word in (4..self.lines() as usize / 8).step_by(4) {
            self.io.write32(offset_of!(Gicd, icenabler) + word, !0);
            self.io.write32(offset_of!(Gicd, icpendr) + word, !0);
            self.io.write32(offset_of!(Gicd, icactiver) + word, !0);
            if !self.has_security_extension() {
                self.io.write32(offset_of!(Gicd, igroupr) + word, 0);
            }
        }
        for word in (8..self.lines() as usize / 4).step_by(4) {
            self.io.write32(offset_of!(Gicd, icfgr) + word, 0);
        }
        for word in (32..self.lines() as usize).step_by(4) {
            self.io.write32(offset_of!(Gicd, ipriorityr) + word, !0);
            self.io.write32(offset_of!(Gicd, itargetsr) + word, 0);
        }
        self.io.write32(offset_of!(Gicd, ctlr), ENABLE);
    }

    /// Writes ones to a priority and returns the bits that stuck. Before [`init_cpu`](Self::init_cpu), which sets
    /// the SGI's priority again.
    pub fn probe_priority_bits(&mut self) -> u8 {
        self.io.write32(offset_of!(Gicd, ipriorityr), !0);
        self.io.read32(offset_of!(Gicd, ipriorityr)) as u8
    }

    /// This CPU's private interrupts: SGIs on, PPIs off, all inactive.
    pub fn init_cpu(&mut self) {
        self.io.write32(offset_of!(Gicd, icenabler), !0xFFFF);
        self.io.write32(offset_of!(Gicd, icactiver), !0);
        if !self.has_security_extension() {
            self.io.write32(offset_of!(Gicd, igroupr), 0);
        }
        self.io.write32(offset_of!(Gicd, isenabler), 0xFFFF);
    }

    /// This CPU's interface number as a target bit: the read-only ITARGETSR0 says it.
    pub fn own_target(&self) -> u8 {
        match self.io.read32(offset_of!(Gicd, itargetsr)) as u8 {
            0 => 1, // a uniprocessor GIC: the registers read as zero
            bit => bit,
        }
    }

    /// The CPU interfaces (bits) that SPI `intid` goes to.
    pub fn target(&self, intid: IntId) -> u8 {
        self.byte(offset_of!(Gicd, itargetsr), intid)
    }

    /// Sends SPI `intid` to the CPU interfaces `targets` (bits).
    pub fn set_target(&mut self, intid: IntId, targets: u8) {
        self.set_byte(offset_of!(Gicd, itargetsr), intid, targets);
    }

    /// The priority of `intid`, as far as it is implemented.
    pub fn priority(&self, intid: IntId) -> u8 {
        self.byte(offset_of!(Gicd, ipriorityr), intid)
    }

    /// Sets the priority of `intid` and of no other. For SGIs and PPIs: this CPU's.
    pub fn set_priority(&mut self, intid: IntId, priority: u8) {
        self.set_byte(offset_of!(Gicd, ipriorityr), intid, priority);
    }

    /// Enables or disables `intid`. For SGIs and PPIs: on this CPU.
    pub fn enable(&mut self, intid: IntId, enable: bool) {
        let base = if enable {
            offset_of!(Gicd, isenabler)
        } else {
            offset_of!(Gicd, icenabler)
        };
        self.set_bit(base, intid);
    }

    /// Forgets that SPI `intid` is pending, unless its device still asserts it.
    pub fn clear_pending(&mut self, intid: IntId) {
        self.set_bit(offset_of!(Gicd, icpendr), intid);
    }

    /// True if a CPU has acknowledged SPI `intid` and not deactivated it.
    pub fn is_active(&self, intid: IntId) -> bool {
        let n = u32::from(intid);
        let word = self
            .io
            .read32(offset_of!(Gicd, isactiver) + n as usize / 32 * 4);
        word & 1 << (n % 32) != 0
    }

    /// Deactivates SPI `intid`, whichever CPU acknowledged it: that CPU itself has [`CpuInterface::deactivate`].
    pub fn clear_active(&mut self, intid: IntId) {
        self.set_bit(offset_of!(Gicd, icactiver), intid);
    }

    /// Makes SPI `intid` pending, as its device would. Needs no lock: the register takes ones only.
    pub fn set_pending(&self, intid: IntId) {
        self.set_bit(offset_of!(Gicd, ispendr), intid);
    }

    /// True if SPI `intid` is pending. Needs no lock.
    pub fn is_pending(&self, intid: IntId) -> bool {
        let intid = u32::from(intid);
        let word = offset_of!(Gicd, ispendr) + 4 * (intid as usize / 32);
        self.io.read32(word) >> (intid % 32) & 1 != 0
    }

    /// Sends SGI `intid` to the CPU interfaces `targets` (bits). The caller issues the DSB that makes what the
    /// receiver is to see visible first.
    pub fn send_sgi(&self, intid: u32, targets: u8) {
        self.io.write32(
            offset_of!(Gicd, sgir),
            u32::from(targets) << 16 | intid & 15,
        );
    }

    /// Writes the bit of `intid` in a bank of registers that take ones only.
    fn set_bit(&self, base: usize, intid: IntId) {
        let n = u32::from(intid);
        self.io.write32(base + n as usize / 32 * 4, 1 << (n % 32));
    }

    fn byte(&self, base: usize, intid: IntId) -> u8 {
        let n = u32::from(intid) as usize;
        self.io.read32(base + (n & !3)).to_le_bytes()[n & 3]
    }

    fn set_byte(&mut self, base: usize, intid: IntId, value: u8) {
        let n = u32::from(intid) as usize;
        let mut bytes = self.io.read32(base + (n & !3)).to_le_bytes();
        bytes[n & 3] = value;
        self.io.write32(base + (n & !3), u32::from_le_bytes(bytes));
    }
}

/// The CPU interface of whichever CPU uses it.
pub struct CpuInterface<I: Io> {
    io: I,
}

impl<I: Io> CpuInterface<I> {
    /// The CPU interface at `io`.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    /// Opens this CPU's mask to all of `map`'s classes and starts delivery, end of interrupt split. Priorities that
    /// were active when the machine was reset, or when a boot loader left, are forgotten: they would mask ours.
    pub fn init(&self, map: &PriorityMap) {
        for word in 0..4 {
            self.io.write32(GICC_APR + 4 * word, 0);
        }
        self.io.write32(offset_of!(Gicc, bpr), 0); // the least: every level preempts
        self.io.write32(offset_of!(Gicc, pmr), map.open().into());
        self.set_control(ENABLE | GICC_CTLR_EOIMODE);
    }

    /// Masks what is not more urgent than `priority`: an interrupt of just that priority does not come.
    #[inline]
    pub fn set_mask(&self, priority: u8) {
        self.io.write32(offset_of!(Gicc, pmr), priority.into());
    }

    /// The mask as it is.
    pub fn mask(&self) -> u8 {
        self.io.read32(offset_of!(Gicc, pmr)) as u8
    }

    /// Stops delivery to this CPU: before it goes off.
    pub fn stop(&self) {
        self.set_control(0);
    }

    fn set_control(&self, bits: u32) {
        let bypass = self.io.read32(offset_of!(Gicc, ctlr)) & GICC_CTLR_BYPASS;
        self.io.write32(offset_of!(Gicc, ctlr), bypass | bits);
    }

    /// Takes the highest-priority pending interrupt, or nothing. Every `Some` is owed an [`end`](Self::end) and a
    /// [`deactivate`](Self::deactivate).
    ///
    /// This orders no memory: before what another CPU wrote ahead of its SGI is read, there must be an ISB (behind the
    /// branch on this) or a load barrier.
    #[inline]
    pub fn acknowledge(&self) -> Option<Acknowledged> {
        let iar = self.io.read32(offset_of!(Gicc, iar));
        (iar & 0x3FF < FIRST_SPECIAL).then_some(Acknowledged(iar))
    }

    /// Drops the running priority; the interrupt stays active until [`deactivate`](Self::deactivate).
    #[inline]
    pub fn end(&self, interrupt: Acknowledged) {
        self.io.write32(offset_of!(Gicc, eoir), interrupt.0);
    }

    /// Lets the interrupt fire again.
    #[inline]
    pub fn deactivate(&self, interrupt: Acknowledged) {
        self.io.write32(offset_of!(Gicc, dir), interrupt.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// Registers that keep what is written, and a log of the accesses.
    #[derive(Default)]
    struct Words {
        words: RefCell<BTreeMap<usize, u32>>,
        writes: RefCell<Vec<(usize, u32)>>,
        implemented: Option<u32>,
    }

    impl Io for &Words {
        fn read32(&self, offset: usize) -> u32 {
            self.words.borrow().get(&offset).copied().unwrap_or(0)
        }
        fn write32(&self, offset: usize, value: u32) {
            let kept = if (0x400..0x800).contains(&offset) {
                value & self.implemented.unwrap_or(!0)
            } else {
                value
            };
            self.words.borrow_mut().insert(offset, kept);
            self.writes.borrow_mut().push((offset, value));
        }
    }

    // arm-gic 0.10: set_interrupt_priority writes the whole word and zeroes three neighbours.
    #[test]
    fn a_priority_write_leaves_its_neighbours() {
        let words = Words::default();
        words.words.borrow_mut().insert(0x400 + 152, 0xA0A0_A0A0);
        let mut gicd = Distributor::new(&words);
        gicd.set_priority(IntId::spi(121), 0x60);
        assert_eq!(words.words.borrow()[&(0x400 + 152)], 0xA0A0_60A0);
        assert_eq!(gicd.priority(IntId::spi(121)), 0x60);
    }

    // arm-gic 0.10 has no accessor for ITARGETSR.
    #[test]
    fn targets_are_set_byte_by_byte() {
        let words = Words::default();
        let mut gicd = Distributor::new(&words);
        gicd.set_target(IntId::spi(121), 0b0001);
        gicd.set_target(IntId::spi(122), 0b0100);
        assert_eq!(words.words.borrow()[&(0x800 + 152)], 0x0004_0100);
        assert_eq!(gicd.target(IntId::spi(122)), 0b0100);
    }

    // arm-gic 0.10 takes the sender's CPU number (bits 12:10) for a part of the interrupt number.
    #[test]
    fn an_sgi_keeps_its_sender_until_the_end() {
        let words = Words::default();
        words.words.borrow_mut().insert(0x0C, 3 << 10 | 2);
        let gicc = CpuInterface::new(&words);
        let taken = gicc.acknowledge().unwrap();
        assert_eq!((taken.intid(), taken.source_cpu()), (2, 3));
        gicc.end(taken);
        gicc.deactivate(taken);
        assert_eq!(
            *words.writes.borrow(),
            [(0x10, 3 << 10 | 2), (0x1000, 3 << 10 | 2)]
        );
    }

    // arm-gic 0.10 reads the aliased registers (0x20) for Group 1; the non-secure view has none.
    #[test]
    fn special_identifiers_are_no_interrupts() {
        for special in 1020..1024 {
            let words = Words::default();
            words.words.borrow_mut().insert(0x0C, special);
            assert_eq!(CpuInterface::new(&words).acknowledge(), None);
            assert!(words.writes.borrow().is_empty());
        }
    }

    #[test]
    fn a_cpu_interface_starts_with_no_active_priority() {
        let words = Words::default();
        CpuInterface::new(&words).init(&PriorityMap::new(0xF0).unwrap());
        let writes = words.writes.borrow();
        let at = |offset| writes.iter().position(|write| *write == offset).unwrap();
        assert!(at((GICC_APR, 0)) < at((0, ENABLE | GICC_CTLR_EOIMODE)));
        assert!(writes.contains(&(offset_of!(Gicc, pmr), 0xF0)));
    }

    #[test]
    fn the_firmwares_bypass_bits_stay() {
        let words = Words::default();
        words.words.borrow_mut().insert(0, 0x1E0 | 0x400);
        let gicc = CpuInterface::new(&words);
        gicc.init(&PriorityMap::new(0xF0).unwrap());
        assert_eq!(words.words.borrow()[&0], 0x1E0 | 0x201);
        gicc.stop();
        assert_eq!(words.words.borrow()[&0], 0x1E0);
    }

    #[test]
    fn priority_bits_are_what_sticks() {
        for mask in [0xF0F0_F0F0, 0xF8F8_F8F8, 0xFFFF_FFFF] {
            let words = Words {
                implemented: Some(mask),
                ..Words::default()
            };
            assert_eq!(Distributor::new(&words).probe_priority_bits(), mask as u8);
        }
    }

    #[test]
    fn groups_are_put_back_only_without_security_extension() {
        for (typer, expected) in [(0x0000_0066, true), (0x0000_0466, false)] {
            let words = Words::default();
            words.words.borrow_mut().insert(4, typer);
            let mut gicd = Distributor::new(&words);
            assert_eq!(gicd.lines(), 224);
            gicd.init();
            gicd.init_cpu();
            let writes = words.writes.borrow();
            let groups = writes
                .iter()
                .filter(|(offset, _)| (0x80..0x100).contains(offset))
                .count();
            assert_eq!(groups, if expected { 7 } else { 0 });
            assert_eq!(words.words.borrow()[&0], ENABLE);
        }
    }
}
