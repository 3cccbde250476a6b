// SPDX-License-Identifier: MIT OR Apache-2.0
//! The QEMU command line, and the files that stand in for the Pi's firmware.
//!
//! With `Boot::Bl31` QEMU gets no `-kernel`: all four cores start at 0 in EL3, where a copy of
//! BL31 lies whose header words are filled in as the Pi's firmware does it. The device tree is
//! a copy, too, with memory and command line. With `Boot::Stock` QEMU loads the kernel itself
//! and parks the other cores in its spin-table; the command line goes by `-append`.
//!
//! The first serial port is the PL011, the kernel's console. BL31 logs there, too: it takes the
//! mini UART, the second port, only if the firmware gave GPIO 14 to it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{dtb, from_card, kimage, number, pack, read, write};

/// Where the device tree lies for BL31, as in the card's config.txt.
pub const DTB_ADDRESS: u32 = 0x0800_0000;
/// Of the Pi's firmware, had it asked QEMU: the emulated board's Ethernet address.
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x57];
/// Words in BL31's header: a magic that the firmware clears, the DTB's and the kernel's address.
const BL31_MAGIC: usize = 0xf0;
const BL31_MAGIC_VALUE: u32 = 0x5afe_570b;
const BL31_DTB: usize = 0xf8;
const BL31_KERNEL: usize = 0xfc;

/// Who starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Boot {
    /// Trusted Firmware-A as armstub, as on the card: PSCI
    Bl31,
    /// QEMU's own loader: spin-table
    Stock,
}

/// What the interrupt controller is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gic {
    /// As on the board: security extensions, 5 priority bits
    Board,
    /// As QEMU has it by default
    Plain,
}

/// Which controller the card is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Slot {
    /// The old controller at 0xfe300000: QEMU's default, and ours without the pack
    Arasan,
    /// The board's microSD slot, 0xfe340000: with DMA from the pack, without DMA from QEMU
    Emmc2,
}

/// What to run, and how.
#[derive(Args, Clone, Debug)]
pub struct Qemu {
    /// The kernel image
    #[arg(long, default_value_os_t = Qemu::default().kernel)]
    pub kernel: PathBuf,
    /// The device tree
    #[arg(long, default_value_os_t = Qemu::default().dtb)]
    pub dtb: PathBuf,
    /// Hand the device tree over as it is: no memory, no command line filled in
    #[arg(long)]
    pub raw_dtb: bool,
    /// Hand no device tree over: the kernel gets ATAGs (--boot stock)
    #[arg(long)]
    pub no_dtb: bool,
    /// Trusted Firmware-A for --boot bl31, or another armstub
    #[arg(long, default_value_os_t = Qemu::default().bl31)]
    pub bl31: PathBuf,
    /// Who starts the kernel
    #[arg(long, value_enum, default_value_t = Boot::Bl31)]
    pub boot: Boot,
    /// The interrupt controller
    #[arg(long, value_enum, default_value_t = Gic::Board)]
    pub gic: Gic,
    /// The SD card image; without this option the slot is empty
    #[arg(long)]
    pub card: Option<PathBuf>,
    /// Boot what is on the card, as its config.txt says, instead of what `make` built (--boot bl31)
    #[arg(long, requires = "card", conflicts_with_all = ["kernel", "dtb", "bl31", "kernel_addr"])]
    pub from_card: bool,
    /// Where the card is [default: emmc2; with --no-pack arasan]
    #[arg(long, value_enum)]
    pub slot: Option<Slot>,
    /// Have QEMU fail requests for the card's image by the rules of this file (QEMU's blkdebug)
    #[arg(long, requires = "card")]
    pub blkdebug: Option<PathBuf>,
    /// Leave out what QEMU lacks: GENET, EMMC2 with DMA, cores that BL31 can restart
    #[arg(long)]
    pub no_pack: bool,
    /// The other end of GENET's cable: a netdev of QEMU's without its id, `cable=SOCKET`, or `none`
    #[arg(long, default_value_t = Qemu::default().net)]
    pub net: String,
    /// A fault of GENET's or the card's, NAME[/EVERY][xTIMES][:MS], again for more; `help` lists them
    #[arg(long, conflicts_with = "no_pack")]
    pub fault: Vec<String>,
    /// The kernel's command line
    #[arg(long, overrides_with = "cmdline")]
    pub cmdline: Option<String>,
    /// Load the kernel at another address (--boot bl31)
    #[arg(long, value_parser = number, default_value = "0x80000")]
    pub kernel_addr: u64,
    /// Count instructions: byte-identical runs, 1 ns an instruction
    #[arg(long)]
    pub icount: bool,
    /// Reset the machine when the kernel asks for it, instead of ending QEMU
    #[arg(long)]
    pub reboot: bool,
    /// Do not listen when a kernel with panic=exit on its command line asks to end QEMU
    #[arg(long)]
    pub no_semihosting: bool,
    /// QEMU's warnings about the kernel: guest errors and unimplemented registers
    #[arg(long, default_value_os_t = Qemu::default().log)]
    pub log: PathBuf,
    /// Further arguments for QEMU, after --
    #[arg(last = true)]
    pub extra: Vec<OsString>,
}

impl Default for Qemu {
    fn default() -> Self {
        let out = crate::out_dir();
        Self {
            kernel: out.join("kernel8.img"),
            dtb: out.join("orthogon-rpi4.dtb"),
            raw_dtb: false,
            no_dtb: false,
            bl31: crate::firmware_dir().join("bl31.bin"),
            boot: Boot::Bl31,
            gic: Gic::Board,
            card: None,
            from_card: false,
            slot: None,
            blkdebug: None,
            no_pack: false,
            net: "user".to_owned(),
            fault: Vec::new(),
            cmdline: None,
            kernel_addr: kimage::LOAD_ADDRESS,
            icount: false,
            reboot: false,
            no_semihosting: false,
            log: out.join("qemu.log"),
            extra: Vec::new(),
        }
    }
}

impl Qemu {
    /// The command, after writing the prepared BL31 and device tree to the folder `scratch`.
    /// `console` is QEMU's `-serial` argument for the PL011.
    pub fn command(&self, scratch: &Path, console: &str) -> Result<Command> {
        if let (true, Some(card)) = (self.from_card, &self.card) {
            return self.with_files_of(card, scratch)?.command(scratch, console);
        }
        if !self.kernel.exists() {
            bail!(
                "there is no kernel {}; `make kernel` builds it",
                self.kernel.display()
            );
        }
        let mut q = Command::new("qemu-system-aarch64");
        q.args(["-M", "raspi4b", "-display", "none", "-monitor", "none"]);
        q.args(["-serial", console]);
        // QEMU counts at 62.5 MHz whatever the firmware writes to CNTFRQ; 54 MHz is the board's.
        q.args(["-global", "cortex-a72-arm-cpu.cntfrq=54000000"]);
        if self.gic == Gic::Board {
            q.args(["-global", "arm_gic.has-security-extensions=on"]);
            q.args(["-global", "arm_gic.num-priority-bits=5"]);
        }
        if self.icount {
            q.args(["-icount", "shift=0,sleep=off"]);
        } else {
            q.args(["-accel", "tcg,thread=multi"]);
        }
        if !self.reboot {
            q.arg("-no-reboot");
        }
        // Semihosting reaches the host's files: on only where the kernel is told to use it.
        let cmdline = self.cmdline.as_deref().unwrap_or_default();
        if cmdline.contains("panic=exit") && !self.no_semihosting {
            q.args(["-semihosting-config", "enable=on,target=native"]);
        }
        q.args(["-d", "guest_errors,unimp", "-D"]).arg(&self.log);
        if !self.no_pack {
            self.pack_args(&mut q)?;
        }
        self.card_args(&mut q)?;
        match self.boot {
            Boot::Bl31 => self.bl31_args(&mut q, scratch)?,
            Boot::Stock => self.stock_args(&mut q)?,
        }
        q.args(&self.extra);
        Ok(q)
    }

    /// The same, with kernel, armstub, device tree and command line as the card has them.
    fn with_files_of(&self, card: &Path, scratch: &Path) -> Result<Self> {
        ensure!(
            self.boot == Boot::Bl31,
            "--from-card needs --boot bl31: the card has an armstub"
        );
        let boot = from_card::Boot::read(card)?;
        let mut own = Self {
            from_card: false,
            kernel_addr: boot.kernel_address,
            cmdline: self.cmdline.clone().or(Some(boot.cmdline)),
            ..self.clone()
        };
        for (place, name, bytes) in [
            (&mut own.kernel, "card-kernel.img", &boot.kernel),
            (&mut own.bl31, "card-armstub.bin", &boot.armstub),
            (&mut own.dtb, "card-board.dtb", &boot.device_tree),
        ] {
            *place = scratch.join(name);
            write(place, bytes)?;
        }
        Ok(own)
    }

    fn slot(&self) -> Slot {
        self.slot.unwrap_or(match self.no_pack {
            true => Slot::Arasan,
            false => Slot::Emmc2,
        })
    }

    fn pack_args(&self, q: &mut Command) -> Result<()> {
        q.env("LD_PRELOAD", pack::object()?);
        let mut genet = "pi4-genet,id=genet".to_owned();
        if self.net.starts_with("cable=") {
            genet += &format!(",{}", self.net);
        } else if self.net != "none" {
            q.args(["-netdev", &format!("{},id=net", self.net)]);
            genet += ",netdev=net";
        }
        let faults = pack::Faults::of(&self.fault)?;
        if !faults.genet.is_empty() {
            genet += &format!(",faults={}", faults.genet.join("+"));
        }
        q.args(["-device", &genet]);
        if self.slot() == Slot::Emmc2 {
            let mut emmc2 = "pi4-emmc2,id=emmc2".to_owned();
            if !faults.emmc2.is_empty() {
                emmc2 += &format!(",faults={}", faults.emmc2.join("+"));
            }
            q.args(["-device", &emmc2]);
        } else if !faults.emmc2.is_empty() {
            bail!("faults of the card need --slot emmc2");
        }
        let rng = match self.icount {
            true => "pi4-rng,id=rng,seed=1", // the run repeats, the random numbers with it
            false => "pi4-rng,id=rng",
        };
        for device in ["pi4-cpus,id=cpus", "pi4-pm,id=pm", "pi4-avs,id=avs", rng] {
            q.args(["-device", device]);
        }
        Ok(())
    }

    /// What the kernel cannot see from inside, and takes QEMU for one without: with the pack, BL31 starts a core
    /// again that it switched off, and the watchdog counts.
    fn cmdline(&self) -> Option<String> {
        let given = self.cmdline.as_deref();
        if self.no_pack {
            return given.map(str::to_owned);
        }
        let mut words = Vec::from_iter(given);
        if self.boot == Boot::Bl31 && !given.is_some_and(|line| line.contains("cpuoff=")) {
            words.push("cpuoff=psci");
        }
        if !given.is_some_and(|line| line.contains("hwwatchdog=")) {
            words.push("hwwatchdog=on");
        }
        Some(words.join(" "))
    }

    fn card_args(&self, q: &mut Command) -> Result<()> {
        let Some(card) = &self.card else {
            return Ok(());
        };
        if !card.exists() {
            bail!(
                "there is no card {}; `make image` builds one",
                card.display()
            );
        }
        // The pack's controller takes over the card that QEMU put on the old one.
        let own = self.no_pack && self.slot() == Slot::Emmc2;
        let kind = if own { "if=none,id=card" } else { "if=sd" };
        let mut drive = OsString::from(format!("{kind},format=raw,file="));
        if let Some(rules) = &self.blkdebug {
            // A write has not ended before its flush has: so a flush that fails is the writer's to know of.
            drive = joined("cache=writethrough,", drive);
            drive.push("blkdebug:");
            drive.push(escaped(rules));
            drive.push(":");
        }
        drive.push(escaped(card));
        q.arg("-drive").arg(drive);
        if own {
            q.args(["-device", "sd-card,bus=/generic-sdhci/sd-bus,drive=card"]);
        }
        Ok(())
    }

    fn bl31_args(&self, q: &mut Command, scratch: &Path) -> Result<()> {
        ensure!(!self.no_dtb, "--no-dtb needs --boot stock");
        let bl31 = scratch.join("bl31.bin");
        write(&bl31, &self.patched_bl31()?)?;
        let dtb = scratch.join("board.dtb");
        let mut tree = read(&self.dtb, "`make image` builds it")?;
        if !self.raw_dtb {
            let cmdline = self.cmdline();
            tree = dtb::as_firmware_would(&tree, &dtb::QEMU_MEMORY, cmdline.as_deref(), MAC)?;
        }
        write(&dtb, &tree)?;
        for (file, address) in [
            (bl31, 0),
            (dtb, DTB_ADDRESS.into()),
            (self.kernel.clone(), self.kernel_addr),
        ] {
            q.arg("-device").arg(loader(&file, address));
        }
        Ok(())
    }

    /// BL31 with its header filled in as the Pi's firmware does it.
    pub fn patched_bl31(&self) -> Result<Vec<u8>> {
        let mut bl31 = read(&self.bl31, "`make setup` fetches it")?;
        ensure!(
            bl31.get(BL31_MAGIC..BL31_MAGIC + 4) == Some(&BL31_MAGIC_VALUE.to_le_bytes()),
            "{} is no BL31 for the Pi 4: no armstub header at {BL31_MAGIC:#x}",
            self.bl31.display()
        );
        let kernel = u32::try_from(self.kernel_addr)?;
        for (at, value) in [
            (BL31_MAGIC, 0),
            (BL31_DTB, DTB_ADDRESS),
            (BL31_KERNEL, kernel),
        ] {
            bl31[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        Ok(bl31)
    }

    fn stock_args(&self, q: &mut Command) -> Result<()> {
        ensure!(
            self.kernel_addr == kimage::LOAD_ADDRESS,
            "--kernel-addr needs --boot bl31: QEMU's loader takes the address from the kernel's header"
        );
        q.arg("-kernel").arg(&self.kernel);
        if !self.no_dtb {
            q.arg("-dtb").arg(&self.dtb);
        }
        if let Some(cmdline) = self.cmdline() {
            q.args(["-append", &cmdline]);
        }
        Ok(())
    }
}

/// The argument of `-device` that puts a file into memory before the cores start.
pub fn loader(file: &Path, address: u64) -> OsString {
    let mut loader = joined("loader,force-raw=on,file=", escaped(file));
    loader.push(format!(",addr={address:#x}"));
    loader
}

fn joined(front: &str, rest: impl AsRef<OsStr>) -> OsString {
    let mut text = OsString::from(front);
    text.push(rest);
    text
}

/// QEMU's option lists end at a comma; two stand for one.
fn escaped(path: &Path) -> OsString {
    path.to_string_lossy().replace(',', ",,").into()
}
