// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random numbers that nobody can guess, as far as the machine has any.
//!
//! # Theory
//! ChaCha20 makes the numbers from a key of 256 bits. The key is the SHA-256 of all that there is: what ChaCha20 would
//! have given next, 1024 bits of RNG200, the bytes that the firmware put into the device tree, times of register
//! reads to the timer's tick, addresses, revisions. So a source can be bad, or known to somebody, without making the key
//! worse than the others make it; and a key that was found out is of use until the next seeding only.
//!
//! [`seed`] comes at boot and then every five minutes (`board::watch`). Without RNG200, that is in QEMU without the
//! device pack, the rest must do: under `-icount` it repeats from run to run, and elsewhere nobody has measured how much
//! of it can be guessed. [`sources`] says what there is; `random` and `hwreport` show it.
//!
//! # Contexts
//! Threads.
//!
//! # Rejected
//! Numbers straight from RNG200: some ten microseconds a word, and a generator that fails would stop the network.
//!
//! # References
//! RFC 6528 and 6056 (what TCP and UDP need them for), RFC 4086 §5 (mixing).
use crate::board;
use crate::lock_order;
use crate::thread::ThreadDelay;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::{now_ns, ticks};
use bsp::trap;
use drivers::rng::{Error, Rng as Hardware};
use log::warn;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use sync::domain::{Before, Cx, MaySleep};
use sync::kmutex::KMutex;

/// Words of RNG200 in a key: four times as many as the key has.
const HARDWARE_WORDS: usize = 32;
/// Register reads whose times go into a key.
const TIMED_READS: usize = 64;
/// Of the PL011, its flag register: a read has no effect, and takes the bus's time.
const UART_FLAGS: usize = map::UART0 + 0x18;

/// What keys are made of.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// RNG200, and how the last seeding with it went; `None`: there is none.
    pub hardware: Option<Result<(), Error>>,
    /// How often RNG200's own tests made a reset necessary.
    pub restarts: u32,
    /// Bytes from the firmware.
    pub firmware_bytes: usize,
    /// Keys so far.
    pub seeds: u64,
}

struct State {
    hardware: Option<Hardware<Mmio>>,
    generator: Option<ChaCha20Rng>,
    last: Result<(), Error>,
    seeds: u64,
}

static STATE: KMutex<State, lock_order::Random> = KMutex::new(State {
    hardware: None,
    generator: None,
    last: Ok(()),
    seeds: 0,
});

/// Where there is none, as in QEMU without the device pack, the access faults.
fn find() -> Option<Hardware<Mmio>> {
    trap::read(map::RNG, 4).ok()?;
    // SAFETY: the generator's block; the lock around it makes this the only user.
    Some(Hardware::start(unsafe { Mmio::new(map::RNG) }))
}

impl State {
    fn seed(&mut self) {
        let mut key = Sha256::new();
        match &mut self.generator {
            Some(generator) => {
                let mut next = [0; 32];
                generator.fill_bytes(&mut next);
                key.update(next);
            }
            None => self.hardware = find(),
        }
        if let Some(hardware) = &mut self.hardware {
            let mut words = [0; HARDWARE_WORDS];
            let result = hardware.fill(&mut words, &mut ThreadDelay);
            if let (Err(error), Ok(())) = (result, self.last) {
                warn!("random numbers: {error}");
            }
            self.last = result;
            words.iter().for_each(|word| key.update(word.to_le_bytes()));
        }
        for _ in 0..TIMED_READS {
            let _ = trap::read(UART_FLAGS, 4);
            key.update(ticks().to_le_bytes());
        }
        let board = board::get();
        key.update(board.rng_seed);
        key.update(board.mac.unwrap_or_default());
        key.update(board.model);
        key.update(now_ns().to_le_bytes());
        self.generator = Some(ChaCha20Rng::from_seed(key.finalize().into()));
        self.seeds += 1;
    }
}

/// Makes a new key. After [`board::ask_firmware`].
pub fn seed<K: Before<lock_order::Random> + MaySleep>(cx: &mut Cx<K>) {
    STATE.enter(cx).0.seed();
}

/// Fills `bytes`.
pub fn fill<K: Before<lock_order::Random> + MaySleep>(cx: &mut Cx<K>, bytes: &mut [u8]) {
    let (mut state, _) = STATE.enter(cx);
    if state.generator.is_none() {
        state.seed();
    }
    if let Some(generator) = &mut state.generator {
        generator.fill_bytes(bytes);
    }
}

/// Any number.
pub fn number<K: Before<lock_order::Random> + MaySleep>(cx: &mut Cx<K>) -> u64 {
    let mut bytes = [0; 8];
    fill(cx, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// A generator of the caller's own, for numbers under locks.
pub fn generator<K: Before<lock_order::Random> + MaySleep>(cx: &mut Cx<K>) -> ChaCha20Rng {
    let mut key = [0; 32];
    fill(cx, &mut key);
    ChaCha20Rng::from_seed(key)
}

/// What keys are made of here.
pub fn sources<K: Before<lock_order::Random> + MaySleep>(cx: &mut Cx<K>) -> Sources {
    let (state, _) = STATE.enter(cx);
    Sources {
        hardware: state.hardware.as_ref().map(|_| state.last),
        restarts: state.hardware.as_ref().map_or(0, Hardware::restarts),
        firmware_bytes: board::get().rng_seed.len(),
        seeds: state.seeds,
    }
}
