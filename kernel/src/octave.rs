// SPDX-License-Identifier: MIT OR Apache-2.0
//! Latencies sorted by powers of two, the one rule of the histograms that the console shows. Any context.

/// The bucket of `ns` among so many: n has what is below 2^n us and not below half of that; the last has all that is longer.
#[inline]
pub const fn octave(ns: u64, buckets: usize) -> usize {
    let octave = (u64::BITS - (ns / 1_000).leading_zeros()) as usize;
    if octave < buckets {
        octave
    } else {
        buckets - 1
    }
}

#[cfg(test)]
mod tests {
    use super::octave;

    #[test]
    fn each_bucket_ends_below_its_power_of_two() {
        for (ns, bucket) in [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (2_000, 2),
            (7_999, 3),
        ] {
            assert_eq!(octave(ns, 19), bucket, "{ns}");
        }
        for n in 1..18 {
            assert_eq!(octave((1_000 << n) - 1, 19), n);
            assert_eq!(octave(1_000 << n, 19), n + 1);
        }
        assert_eq!([octave(1_000 << 18, 19), octave(u64::MAX, 19)], [18; 2]);
    }
}
