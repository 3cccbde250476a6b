// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one way in which a driver waits: asking, with a pause in between, and an end.
use embedded_hal::delay::DelayNs;

/// Asks `done` at once and then every `step_us` until it says yes (true) or `timeout_us` have passed (false).
/// The pauses are counted, not the time that asking takes: the wait may last longer, never shorter.
pub(crate) fn wait_until(
    delay: &mut impl DelayNs,
    timeout_us: u32,
    step_us: u32,
    mut done: impl FnMut() -> bool,
) -> bool {
    let mut waited_us = 0;
    loop {
        if done() {
            return true;
        }
        if waited_us >= timeout_us {
            return false;
        }
        delay.delay_us(step_us);
        waited_us += step_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Clock;

    #[test]
    fn it_asks_once_more_after_the_last_pause_and_then_ends() {
        let clock = Clock::default();
        assert!(wait_until(&mut &clock, 100, 7, || clock.now_us() >= 100));
        assert_eq!(clock.now_us(), 105);
        assert!(!wait_until(&mut &clock, 100, 7, || false));
        assert_eq!(clock.now_us(), 210);
        assert!(wait_until(&mut &clock, 0, 7, || true));
        assert_eq!(clock.now_us(), 210);
    }
}
