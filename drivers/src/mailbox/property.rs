// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's properties: one function a tag.
//!
//! Each may fail with the errors of the exchange itself, and with [`Error::Unanswered`] where the firmware does not
//! know the tag.
use super::{Error, Mailbox};
use crate::{DmaBuffer, Io};
use embedded_hal::delay::DelayNs;

/// A clock of the VideoCore's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Clock {
    /// The legacy SD host's (Arasan).
    Emmc = 1,
    /// The PL011s'.
    Uart = 2,
    /// The CPUs'.
    Arm = 3,
    /// The VideoCore's own; the mini UART's, too.
    Core = 4,
    /// The microSD slot's host. Known to firmware from July 2019 on.
    Emmc2 = 12,
}

/// A part that the firmware powers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PowerDomain {
    /// The SD host.
    SdCard = 0,
}

/// A pin of the GPIO expander, which hangs on a bus of the VideoCore's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExpanderPin {
    /// VDD_SD_IO_SEL: high puts the card's signals on 1.8 V, low on 3.3 V.
    SdIoSel1V8 = 132,
    /// SD_PWR_ON: the card's supply.
    SdPowerOn = 134,
}

/// A stretch of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// First address, as the ARM sees it.
    pub base: u32,
    /// Length in bytes.
    pub bytes: u32,
}

impl<I: Io, B: DmaBuffer, D: DelayNs> Mailbox<I, B, D> {
    /// When the firmware was built, in seconds since 1970.
    ///
    /// # Errors
    /// See the module.
    pub fn firmware_revision(&mut self) -> Result<u32, Error> {
        self.ask::<1>(0x0000_0001, &[], 4).map(|[time]| time)
    }

    /// The board's revision word, a [`BoardRevision`](super::BoardRevision).
    ///
    /// # Errors
    /// See the module.
    pub fn board_revision(&mut self) -> Result<u32, Error> {
        self.ask::<1>(0x0001_0002, &[], 4)
            .map(|[revision]| revision)
    }

    /// The board's serial number. QEMU logs the tag as not implemented, and answers 0.
    ///
    /// # Errors
    /// See the module.
    pub fn board_serial(&mut self) -> Result<u64, Error> {
        let [low, high] = self.ask::<2>(0x0001_0004, &[], 8)?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// The Ethernet address.
    ///
    /// # Errors
    /// See the module.
    pub fn mac_address(&mut self) -> Result<[u8; 6], Error> {
        let [first, last] = self.ask::<2>(0x0001_0003, &[], 6)?;
        let ([a, b, c, d], [e, f, _, _]) = (first.to_le_bytes(), last.to_le_bytes());
        Ok([a, b, c, d, e, f])
    }

    /// The ARM's memory within the first GiB. What lies above is told by the device tree only.
    ///
    /// # Errors
    /// See the module.
    pub fn arm_memory(&mut self) -> Result<Memory, Error> {
        self.ask::<2>(0x0001_0005, &[], 8)
            .map(|[base, bytes]| Memory { base, bytes })
    }

    /// The rate in Hz at which `clock` runs. QEMU's are not the board's: 3 MHz for the UART, 700 MHz for EMMC2.
    ///
    /// # Errors
    /// [`Error::NoClock`] for a rate of zero, which old firmware tells for EMMC2; and see the module.
    pub fn clock_rate_hz(&mut self, clock: Clock) -> Result<u32, Error> {
        self.rate_hz(0x0003_0002, clock)
    }

    /// The greatest rate in Hz at which the firmware lets `clock` run.
    ///
    /// # Errors
    /// As [`Self::clock_rate_hz`].
    pub fn max_clock_rate_hz(&mut self, clock: Clock) -> Result<u32, Error> {
        self.rate_hz(0x0003_0004, clock)
    }

    /// The least rate in Hz.
    ///
    /// # Errors
    /// As [`Self::clock_rate_hz`].
    pub fn min_clock_rate_hz(&mut self, clock: Clock) -> Result<u32, Error> {
        self.rate_hz(0x0003_0007, clock)
    }

    fn rate_hz(&mut self, tag: u32, clock: Clock) -> Result<u32, Error> {
        match self.ask::<2>(tag, &[clock as u32, 0], 8)? {
            [_, 0] => Err(Error::NoClock {
                clock: clock as u32,
            }),
            [_, rate_hz] => Ok(rate_hz),
        }
    }

    /// The chip's temperature in thousandths of a degree Celsius.
    ///
    /// # Errors
    /// See the module.
    pub fn temperature_millidegrees(&mut self) -> Result<u32, Error> {
        self.ask::<2>(0x0003_0006, &[0, 0], 8)
            .map(|[_, temperature]| temperature)
    }

    /// The temperature, in thousandths of a degree, at which the firmware slows the chip down.
    ///
    /// # Errors
    /// See the module.
    pub fn max_temperature_millidegrees(&mut self) -> Result<u32, Error> {
        self.ask::<2>(0x0003_000a, &[0, 0], 8)
            .map(|[_, temperature]| temperature)
    }

    /// What slows the chip down, a [`Throttled`](super::Throttled).
    ///
    /// # Errors
    /// See the module.
    pub fn throttled(&mut self) -> Result<u32, Error> {
        self.ask::<1>(0x0003_0046, &[0], 4).map(|[bits]| bits)
    }

    /// Switches a part on, and waits until its supply is stable.
    ///
    /// # Errors
    /// [`Error::PowerRefused`]; and see the module.
    pub fn power_on(&mut self, domain: PowerDomain) -> Result<(), Error> {
        const ON: u32 = 1;
        const WAIT: u32 = 1 << 1;
        let domain = domain as u32;
        match self.ask::<2>(0x0002_8001, &[domain, ON | WAIT], 8)? {
            [_, state] if state & 0b11 == ON => Ok(()),
            [_, state] => Err(Error::PowerRefused { domain, state }),
        }
    }

    /// Sets an output of the GPIO expander. QEMU logs the tag as unhandled.
    ///
    /// # Errors
    /// [`Error::ExpanderRefused`]; and see the module: under QEMU always [`Error::Unanswered`].
    pub fn set_expander_pin(&mut self, pin: ExpanderPin, high: bool) -> Result<(), Error> {
        // The firmware overwrites the pin's number with zero for success.
        match self.ask::<2>(0x0003_8041, &[pin as u32, high.into()], 4)? {
            [0, _] => Ok(()),
            _ => Err(Error::ExpanderRefused { pin: pin as u32 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BUFFER_WORDS;
    use super::super::model::{Fault, Firmware};
    use super::*;
    use crate::testing::{Clock as TestClock, TwoCopies};

    fn mailbox<'a>(
        firmware: &'a Firmware,
        clock: &'a TestClock,
    ) -> Mailbox<&'a Firmware, TwoCopies<'a>, &'a TestClock> {
        Mailbox::new(firmware, firmware.buffer(BUFFER_WORDS), clock)
    }

    #[test]
    fn each_tag_gives_its_values() {
        let (firmware, clock) = (Firmware::new(Fault::None), TestClock::default());
        let mut mailbox = mailbox(&firmware, &clock);
        assert_eq!(mailbox.firmware_revision(), Ok(0x6650_0000));
        assert_eq!(mailbox.board_revision(), Ok(0x00b0_3115));
        assert_eq!(mailbox.board_serial(), Ok(0x1000_0000_89ab_cdef));
        assert_eq!(
            mailbox.mac_address(),
            Ok([0xdc, 0xa6, 0x32, 0x01, 0x02, 0x03])
        );
        assert_eq!(
            mailbox.arm_memory(),
            Ok(Memory {
                base: 0,
                bytes: 0x3b40_0000
            })
        );
        assert_eq!(mailbox.clock_rate_hz(Clock::Uart), Ok(48_000_000));
        assert_eq!(
            mailbox.clock_rate_hz(Clock::Emmc2),
            Err(Error::NoClock { clock: 12 })
        );
        assert_eq!(mailbox.min_clock_rate_hz(Clock::Arm), Ok(600_000_000));
        assert_eq!(mailbox.max_clock_rate_hz(Clock::Arm), Ok(1_500_000_000));
        assert_eq!(mailbox.temperature_millidegrees(), Ok(41_868));
        assert_eq!(mailbox.max_temperature_millidegrees(), Ok(85_000));
        assert_eq!(mailbox.throttled(), Ok(0x5_0005));
    }

    #[test]
    fn power_and_pins_are_set_or_the_refusal_is_told() {
        let (firmware, clock) = (Firmware::new(Fault::None), TestClock::default());
        assert_eq!(
            mailbox(&firmware, &clock).power_on(PowerDomain::SdCard),
            Ok(())
        );
        let set = mailbox(&firmware, &clock).set_expander_pin(ExpanderPin::SdIoSel1V8, false);
        assert_eq!(set, Ok(()));
        let firmware = Firmware::new(Fault::Refuses);
        assert_eq!(
            mailbox(&firmware, &clock).power_on(PowerDomain::SdCard),
            Err(Error::PowerRefused {
                domain: 0,
                state: 2
            })
        );
        assert_eq!(
            mailbox(&firmware, &clock).set_expander_pin(ExpanderPin::SdPowerOn, true),
            Err(Error::ExpanderRefused { pin: 134 })
        );
    }

    #[test]
    fn qemu_answers_the_expanders_tags_with_nothing() {
        let (firmware, clock) = (Firmware::new(Fault::TagEmpty), TestClock::default());
        let set = mailbox(&firmware, &clock).set_expander_pin(ExpanderPin::SdPowerOn, true);
        assert_eq!(set, Err(Error::Unanswered { tag: 0x38041 }));
    }
}
