// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU to boot: the options of `orthogon-run`, with the files of each run in a folder of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tools::card::Card;
use tools::qemu::{Boot, Gic, Qemu, Slot};

use crate::console::Console;
use crate::corrupt::Corruption;

/// How many QEMUs run at once: each has four cores to emulate.
const SLOTS: usize = 2;
/// How long a test may take, unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(120);
/// In the environment with 1: every test runs the kernel of [`Machine::dma_truth`].
const DMA_TRUTH: &str = "ORTHOGON_DMA_TRUTH";
/// Where QEMU's stub listens, in the run's folder.
pub(crate) const GDB_SOCKET: &str = "gdb";

/// Where its monitor listens, as above.
pub(crate) const MONITOR_SOCKET: &str = "monitor";

/// What to boot, and how. The defaults are the board's: BL31, its kind of GIC, no card, no cable.
#[derive(Debug)]
pub struct Machine {
    qemu: Qemu,
    scratch: TempDir,
    deadline: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// The kernel that `make image` built.
    pub fn new() -> Self {
        let scratch = TempDir::with_prefix("orthogon-").expect("a temporary folder");
        let qemu = Qemu {
            log: scratch.path().join("qemu.log"),
            net: "none".to_owned(),
            ..Qemu::default()
        };
        let machine = Self {
            qemu,
            scratch,
            deadline: DEADLINE,
        };
        match std::env::var(DMA_TRUTH).as_deref() {
            Ok("1") => machine.dma_truth(),
            _ => machine,
        }
    }

    /// Another program than the kernel.
    pub fn kernel(mut self, image: impl Into<PathBuf>) -> Self {
        self.qemu.kernel = image.into();
        self
    }

    /// The kernel in which only cache maintenance joins what CPU and devices see (`kernel/src/dma.rs`).
    pub fn dma_truth(mut self) -> Self {
        self.qemu.kernel.set_file_name("kernel8-dma.img");
        self
    }

    /// Who starts the kernel.
    pub fn boot(mut self, boot: Boot) -> Self {
        self.qemu.boot = boot;
        self
    }

    /// What the interrupt controller is like.
    pub fn gic(mut self, gic: Gic) -> Self {
        self.qemu.gic = gic;
        self
    }

    /// Puts this image into the slot. The kernel may write to it: pass a copy.
    pub fn card(mut self, image: impl Into<PathBuf>) -> Self {
        self.qemu.card = Some(image.into());
        self
    }

    /// Puts a new card of 128 MiB with these files on its boot partition into the slot.
    pub fn card_with(self, card: &Card) -> Self {
        self.card_sized(card, 128)
    }

    /// [`Self::card_with`], of this size: above 2048 MiB it is an SDHC card.
    pub fn card_sized(self, card: &Card, mib: u64) -> Self {
        let image = self.scratch.path().join("card.img");
        card.write(&image, mib).expect("a card for the test");
        self.card(image)
    }

    /// Puts the good card, broken this way, into the slot.
    pub fn card_broken(self, corruption: &Corruption) -> Self {
        let image = self.scratch.path().join("card.img");
        corruption.write(&image).expect("a card for the test");
        self.card(image)
    }

    /// Boots what is on the card, as its config.txt says.
    pub fn from_card(mut self) -> Self {
        self.qemu.from_card = true;
        self
    }

    /// Which controller the card is on.
    pub fn slot(mut self, slot: Slot) -> Self {
        self.qemu.slot = Some(slot);
        self
    }

    /// Has QEMU fail requests for the card's image: rules of blkdebug's (QEMU, docs/devel/testing/blkdebug.rst).
    pub fn blkdebug(mut self, rules: &str) -> Self {
        let file = self.scratch.path().join("blkdebug");
        std::fs::write(&file, rules).expect("a file in the temporary folder");
        self.qemu.blkdebug = Some(file);
        self
    }

    /// A QEMU without the devices of the pack.
    pub fn no_pack(mut self) -> Self {
        self.qemu.no_pack = true;
        self
    }

    /// What GENET's cable leads to: a netdev of QEMU's without its id, a station's `cable=SOCKET`, or `none`.
    pub fn net(mut self, netdev: &str) -> Self {
        self.qemu.net = netdev.to_owned();
        self
    }

    /// A fault of GENET's or the card's: NAME[/EVERY][xTIMES][:MS].
    pub fn fault(mut self, plan: &str) -> Self {
        self.qemu.fault.push(plan.to_owned());
        self
    }

    /// The kernel's command line. With `panic=exit` a panic ends QEMU.
    pub fn cmdline(mut self, cmdline: &str) -> Self {
        self.qemu.cmdline = Some(cmdline.to_owned());
        self
    }

    /// A `panic=exit` that nobody hears.
    pub fn no_semihosting(mut self) -> Self {
        self.qemu.no_semihosting = true;
        self
    }

    /// Another device tree, such as the stock one.
    pub fn dtb(mut self, dtb: impl Into<PathBuf>) -> Self {
        self.qemu.dtb = dtb.into();
        self
    }

    /// Hands these bytes over as they are, without memory and command line filled in.
    pub fn raw_dtb(mut self, dtb: &[u8]) -> Self {
        let file = self.scratch.path().join("raw.dtb");
        std::fs::write(&file, dtb).expect("a file in the temporary folder");
        self.qemu.raw_dtb = true;
        self.dtb(file)
    }

    /// Hands the kernel no device tree (stock boot): QEMU leaves ATAGs at 0x100.
    pub fn no_dtb(mut self) -> Self {
        self.qemu.no_dtb = true;
        self
    }

    /// Another armstub than BL31.
    pub fn armstub(mut self, code: &[u8]) -> Self {
        let file = self.scratch.path().join("armstub.bin");
        std::fs::write(&file, code).expect("a file in the temporary folder");
        self.qemu.bl31 = file;
        self
    }

    /// Loads the kernel at another address.
    pub fn kernel_addr(mut self, address: u64) -> Self {
        self.qemu.kernel_addr = address;
        self
    }

    /// Counts instructions, so that the run repeats exactly.
    pub fn icount(mut self) -> Self {
        self.qemu.icount = true;
        self
    }

    /// Resets when the kernel asks for it, instead of ending QEMU.
    pub fn reboot(mut self) -> Self {
        self.qemu.reboot = true;
        self
    }

    /// Further arguments for QEMU.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.qemu.extra.extend(args.into_iter().map(Into::into));
        self
    }

    /// Has QEMU's stub listen for a debugger; [`Console::debugger`] is one.
    pub fn gdb(mut self) -> Self {
        let socket = self.scratch.path().join(GDB_SOCKET);
        let option = format!("unix:{},server=on,wait=off", socket.display());
        self.qemu.extra.extend(["-gdb".into(), option.into()]);
        self
    }

    /// Has QEMU's monitor listen; [`Console::monitor`] talks to it.
    pub fn monitor(mut self) -> Self {
        let argument = tools::monitor::argument(&self.scratch.path().join(MONITOR_SOCKET));
        self.qemu.extra.extend(["-monitor".into(), argument]);
        self
    }

    /// How long the test may take from `start` to the end.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts QEMU, after waiting for a free place.
    ///
    /// CPUs that go off are parked, unless the command line says otherwise: BL31 loses a CPU_ON that comes before
    /// the core waits for it, and how long that takes is the host's affair.
    pub fn start(mut self) -> Console {
        let place = Place::take();
        let line = self.qemu.cmdline.take().unwrap_or_default();
        if self.qemu.boot == Boot::Bl31 && !self.qemu.no_pack && !line.contains("cpuoff=") {
            self.qemu.cmdline = Some(format!("{line} cpuoff=park").trim().to_owned());
        } else if !line.is_empty() {
            self.qemu.cmdline = Some(line);
        }
        let mut command = self
            .qemu
            .command(self.scratch.path(), "stdio")
            .unwrap_or_else(|e| panic!("cannot compose the QEMU command: {e:#}"));
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot start qemu-system-aarch64; `make setup` installs it");
        Console::new(child, self.scratch, self.deadline, place)
    }
}

/// One of the places for a QEMU, free again on drop.
#[derive(Debug)]
pub(crate) struct Place;

static FREE: Mutex<usize> = Mutex::new(SLOTS);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}
