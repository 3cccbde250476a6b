// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proof that a cluster chain can be followed, before anyone does.
//!
//! # Theory
//!
//! Each cluster has one successor, so a chain that comes back to a cluster it has left never ends. Brent's
//! method finds that with two numbers of memory: a marker is set at steps 1, 3, 7, 15 ... and a loop of `n`
//! clusters meets it once the marker is inside and at least `n` steps pass before it moves. If the first `n`
//! clusters of a chain repeat, that has happened within `3 n` steps. A chain that has gone on for `4 n` is
//! therefore good for the `n` that are needed, wherever its tail may lead.
//!
//! A chain longer than its file is not an error, even if it breaks off there: a power cut between extending
//! the chain and writing the size leaves one. (If it is seen to loop there, it is refused all the same.) Two files that share clusters are not found out; that takes a look at every chain.
//!
//! # Rejected
//!
//! - Counting steps up to the volume's cluster count, as the crate does: a loop inside a file then yields the
//!   same clusters again and again, as data.
//! - A bit for each cluster: 256 KiB for a large card, for every file opened.
//!
//! # References
//!
//! R. P. Brent, An improved Monte Carlo factorization algorithm, BIT 20 (1980), §2.

use core::fmt;

/// What is wrong with a chain: the medium is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// It begins at a cluster that does not exist.
    Begins {
        /// That cluster.
        at: u32,
        /// The highest there is.
        last: u32,
    },
    /// It ends before its file does.
    EndsEarly {
        /// Its last cluster.
        at: u32,
        /// How many clusters it has.
        has: u32,
        /// How many the file's size takes.
        needs: u32,
    },
    /// It comes back to a cluster.
    Loops {
        /// One of the clusters in the loop.
        at: u32,
    },
    /// A cluster's entry says it is free, reserved, or leads to one that does not exist.
    Leads {
        /// The cluster.
        from: u32,
        /// What its entry says.
        to: u32,
    },
    /// A cluster's entry marks it bad.
    Bad {
        /// The cluster.
        from: u32,
    },
    /// A directory is longer than 65,536 entries.
    TooLong,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins { at, last } => {
                write!(
                    f,
                    "damaged: it begins at cluster {at}, but clusters are 2 to {last}"
                )
            }
            Self::EndsEarly { at, has, needs } => {
                write!(
                    f,
                    "damaged: its chain ends at cluster {at}, after {has} of {needs} clusters"
                )
            }
            Self::Loops { at } => write!(f, "damaged: its chain of clusters loops at {at}"),
            Self::Leads { from, to: 0 } => {
                write!(f, "damaged: cluster {from} of it is marked free")
            }
            Self::Leads { from, to } => {
                write!(
                    f,
                    "damaged: cluster {from} leads to {to}, which does not exist"
                )
            }
            Self::Bad { from } => write!(f, "damaged: cluster {from} of it is marked bad"),
            Self::TooLong => f.write_str("damaged: the directory has more than 65536 entries"),
        }
    }
}

impl core::error::Error for ChainError {}

/// How much of a chain must be good.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// So many clusters from its beginning, at least 1.
    AtLeast(u32),
    /// All of it, which must be at most so many clusters.
    ToTheEnd(u32),
}

/// Checks that what is needed of the chain from `first` on is there, and different clusters. `next` tells a
/// cluster's successor, or none at the end.
///
/// # Errors
/// [`ChainError`] as the chain deserves, or what `next` fails with.
pub(super) fn check<E: From<ChainError>>(
    first: u32,
    needs: Needs,
    mut next: impl FnMut(u32) -> Result<Option<u32>, E>,
) -> Result<(), E> {
    let (mut marker, mut marked_at, mut lap) = (first, 1, 2);
    let (mut at, mut has) = (first, 1u32);
    let (Needs::AtLeast(length) | Needs::ToTheEnd(length)) = needs;
    while has < length.saturating_mul(4) {
        let successor = match (next(at), needs) {
            (Err(_) | Ok(None), Needs::AtLeast(needs)) if has >= needs => return Ok(()),
            (Ok(None), Needs::AtLeast(needs)) => {
                return Err(ChainError::EndsEarly { at, has, needs }.into());
            }
            (Ok(None), Needs::ToTheEnd(most)) if has <= most => return Ok(()),
            (Ok(None), Needs::ToTheEnd(_)) => return Err(ChainError::TooLong.into()),
            (result, _) => result?.unwrap_or(at),
        };
        if successor == marker {
            return Err(ChainError::Loops { at: successor }.into());
        }
        (at, has) = (successor, has + 1);
        if has - marked_at == lap {
            (marker, marked_at, lap) = (at, has, lap * 2);
        }
    }
    match needs {
        Needs::AtLeast(_) => Ok(()),
        Needs::ToTheEnd(_) => Err(ChainError::TooLong.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn run(successors: &[u32], needs: Needs) -> (Result<(), ChainError>, u32) {
        let mut steps = 0;
        let result = check(0, needs, |at| {
            steps += 1;
            Ok(successors.get(at as usize).copied())
        });
        (result, steps)
    }

    /// A chain of `tail` clusters into a loop of `lap`: 0, 1, 2 ... and back to `tail`.
    fn rho(tail: u32, lap: u32) -> Vec<u32> {
        let mut successors: Vec<u32> = (1..tail + lap).collect();
        successors.push(tail);
        successors
    }

    #[test]
    fn a_loop_among_the_needed_is_always_found() {
        for (tail, lap) in (0..40).flat_map(|tail| (1..40).map(move |lap| (tail, lap))) {
            for length in 1..=100 {
                let (result, steps) = run(&rho(tail, lap), Needs::AtLeast(length));
                assert!(steps < 4 * length);
                if tail + lap < length {
                    assert!(
                        matches!(result, Err(ChainError::Loops { .. })),
                        "{tail} {lap} {length}"
                    );
                }
                let (result, steps) = run(&rho(tail, lap), Needs::ToTheEnd(length));
                assert!(steps < 4 * length);
                assert!(result.is_err());
            }
        }
    }

    #[test]
    fn a_straight_chain_is_good_up_to_its_length() {
        for (has, length) in (1..60).flat_map(|has| (1..80).map(move |length| (has, length))) {
            let chain: Vec<u32> = (1..has).collect();
            let (at, needs) = (has - 1, length);
            let enough = if has >= length {
                Ok(())
            } else {
                Err(ChainError::EndsEarly { at, has, needs })
            };
            assert_eq!(run(&chain, Needs::AtLeast(length)).0, enough);
            let fits = if has <= length {
                Ok(())
            } else {
                Err(ChainError::TooLong)
            };
            assert_eq!(run(&chain, Needs::ToTheEnd(length)).0, fits);
        }
    }
}
