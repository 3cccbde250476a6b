// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic on address ranges: what of the RAM is free.
use core::ops::Range;

/// The largest range inside `within` that lies in one of `ram` and touches none of `reserved`; 2 MiB aligned, as the
/// page tables map it.
pub fn largest_gap(
    ram: &[Range<usize>],
    reserved: &[Range<usize>],
    within: Range<usize>,
) -> Range<usize> {
    const BLOCK: usize = 2 << 20;
    let mut best = 0..0;
    for region in ram {
        let region = region.start.max(within.start)..region.end.min(within.end);
        // A gap begins where the region or a reservation's end is, and ends where the next reservation begins.
        let starts = reserved
            .iter()
            .map(|r| r.end)
            .chain([region.start])
            .filter(|at| region.contains(at));
        for start in starts {
            if reserved.iter().any(|r| r.contains(&start)) {
                continue;
            }
            let end = reserved
                .iter()
                .map(|r| r.start)
                .filter(|at| *at > start)
                .min();
            let end = end.unwrap_or(region.end).min(region.end) & !(BLOCK - 1);
            let start = start.next_multiple_of(BLOCK);
            if end > start && end - start > best.len() {
                best = start..end;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    const M: usize = 1 << 20;

    #[test]
    fn reservations_split_the_ram() {
        let ram = [0..0x3B4 * M, 0x400 * M..0x800 * M];
        assert_eq!(largest_gap(&ram, &[], 8 * M..1024 * M), 8 * M..0x3B4 * M);
        let reserved = [0..512 * 1024, 100 * M..101 * M];
        assert_eq!(
            largest_gap(&ram, &reserved, 8 * M..1024 * M),
            102 * M..0x3B4 * M
        );
        let reserved = [300 * M..0x3B4 * M, 8 * M..9 * M];
        assert_eq!(
            largest_gap(&ram, &reserved, 8 * M..1024 * M),
            10 * M..300 * M
        );
    }

    #[test]
    fn nothing_free_is_an_empty_range() {
        assert!(largest_gap(&[], &[], 0..1024 * M).is_empty());
        let (ram, all, tail) = (0..64 * M, 0..64 * M, 1..usize::MAX);
        let gap = |reserved: &Range<usize>| {
            largest_gap(
                core::slice::from_ref(&ram),
                core::slice::from_ref(reserved),
                8 * M..1024 * M,
            )
        };
        assert!(gap(&all).is_empty());
        assert!(gap(&tail).is_empty());
    }
}
