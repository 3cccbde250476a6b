// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts of a whole in tenths of a percent that add up.
use core::fmt::{self, Write};

/// A share in tenths of a percent, written as `12.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut text = heapless::String::<12>::new();
        write!(text, "{}.{}", self.0 / 10, self.0 % 10)?;
        f.pad_integral(true, "", &text)
    }
}

/// Shares of 1000 that are as `parts`, each no further than 1 from exact, and whose sum is 1000. Of nothing, the last
/// has all.
pub fn shares<const N: usize>(parts: [u64; N]) -> [u32; N] {
    let whole: u64 = parts.iter().sum();
    let (mut sum, mut before) = (0, 0);
    let mut shares = parts.map(|part| {
        sum += part;
        // Each ends where the exact sum so far does, rounded.
        let end = (sum * 1000 + whole / 2).checked_div(whole).unwrap_or(0) as u32;
        end - core::mem::replace(&mut before, end)
    });
    if let Some(last) = shares.last_mut().filter(|_| whole == 0) {
        *last = 1000;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_near() {
        assert_eq!(shares([1, 1, 1]), [333, 334, 333]);
        assert_eq!(shares([0, 0, 0, 7]), [0, 0, 0, 1000]);
        assert_eq!(shares([0, 0]), [0, 1000]);
        assert_eq!(shares([1, 0, 1999]), [1, 0, 999]);
        for a in [0, 1, 3, 999, 123_456_789_012] {
            for b in [0, 2, 7, 1_000_000, 5_000_000_000_000] {
                let parts = [a, b, 17, 2_000_000_001];
                let whole: u64 = parts.iter().sum();
                let shares = shares(parts);
                assert_eq!(shares.iter().sum::<u32>(), 1000, "{parts:?}");
                for (part, share) in parts.iter().zip(shares) {
                    let exact = *part as f64 * 1000.0 / whole as f64;
                    assert!(
                        (exact - f64::from(share)).abs() <= 1.0,
                        "{parts:?}: {share}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_percent_has_one_decimal() {
        let text = std::format!("{:>6} {} {}", Percent(7), Percent(1000), Percent(123));
        assert_eq!(text, "   0.7 100.0 12.3");
    }
}
