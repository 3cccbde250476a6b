// SPDX-License-Identifier: MIT OR Apache-2.0
//! A debugger for the emulated CPUs: GDB's remote protocol, as far as a test needs it.
//!
//! All CPUs stop together, and only then are there answers to anything but a stop.
//!
//! References: GDB manual, appendix E; QEMU, docs/system/gdb.rst (the `Qqemu.` packets).

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a CPU may run until it stops.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bit of PSTATE: IRQ is masked.
const PSTATE_I: u8 = 1 << 7;

/// A CPU's general registers, as the stub writes them: 16 hexadecimal digits each, lowest byte first, PSTATE 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers(String);

/// Digits of a register.
const DIGITS: usize = 16;

impl Registers {
    /// Register of the first argument, where it has a result: x0.
    pub const X0: usize = 0;
    /// Register that holds the address to return to: x30.
    pub const LINK: usize = 30;
    /// The stack pointer.
    pub const SP: usize = 31;
    /// Address of the instruction that comes next.
    pub const PC: usize = 32;
    /// Flags, masks and mode.
    const PSTATE: usize = 33;

    /// One register.
    pub fn get(&self, register: usize) -> u64 {
        word(&self.0[register * DIGITS..][..DIGITS])
    }

    /// Sets one register.
    pub fn set(&mut self, register: usize, value: u64) {
        let digits = format!("{:016x}", value.swap_bytes());
        let at = register * DIGITS;
        self.0.replace_range(at..at + DIGITS, &digits);
    }

    /// True if IRQ is masked.
    pub fn irq_masked(&self) -> bool {
        self.low_pstate() & PSTATE_I != 0
    }

    /// Masks IRQ.
    pub fn mask_irq(&mut self) {
        let digits = format!("{:02x}", self.low_pstate() | PSTATE_I);
        let at = Self::PSTATE * DIGITS;
        self.0.replace_range(at..at + 2, &digits);
    }

    fn low_pstate(&self) -> u8 {
        let at = Self::PSTATE * DIGITS;
        u8::from_str_radix(&self.0[at..at + 2], 16).expect("digits")
    }
}

/// A number as the stub writes it.
fn word(digits: &str) -> u64 {
    let number = u64::from_str_radix(digits, 16);
    number
        .unwrap_or_else(|_| panic!("no number: {digits}"))
        .swap_bytes()
}

/// What runs until the next stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// All CPUs, until one comes to a breakpoint.
    All,
    /// CPU 0 alone, until it comes to a breakpoint.
    Cpu0,
    /// One instruction of CPU 0, which takes no interrupt and lets no time pass.
    Step,
    /// One instruction of CPU 0, or the way into the interrupt that comes before it.
    StepOrInterrupt,
}

/// A connection to QEMU's stub; while it lasts, the machine is stopped unless it is told to run.
#[derive(Debug)]
pub struct Gdb {
    stream: UnixStream,
    /// Not yet sent.
    outgoing: String,
    /// Orders whose answer is still to come.
    owed: usize,
    /// Received, and not yet a packet.
    rest: Vec<u8>,
    step_flags: u8,
    /// What the stub would answer.
    registers: Option<Registers>,
}

impl Gdb {
    /// Stops the machine whose stub listens at this socket.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("QEMU's stub listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time-out is no zero");
        let mut gdb = Self {
            stream,
            outgoing: String::new(),
            owed: 0,
            rest: Vec::new(),
            step_flags: 0,
            registers: None,
        };
        let stopped = gdb.ask("?");
        assert!(stopped.starts_with('T'), "{stopped}");
        gdb
    }

    /// The registers of the CPU that stopped.
    #[track_caller]
    pub fn registers(&mut self) -> Registers {
        if let Some(registers) = &self.registers {
            return registers.clone();
        }
        let registers = Registers(self.ask("g"));
        self.registers.insert(registers).clone()
    }

    /// Sets the registers of the CPU that stopped.
    pub fn set_registers(&mut self, registers: &Registers) {
        self.order(&format!("G{}", registers.0));
        self.registers = Some(registers.clone());
    }

    /// Address of the instruction that the CPU which stopped comes to next.
    #[track_caller]
    pub fn pc(&mut self) -> u64 {
        match &self.registers {
            Some(registers) => registers.get(Registers::PC),
            None => word(&self.ask(&format!("p{:x}", Registers::PC))),
        }
    }

    /// A 64-bit word of memory, as the CPU that stopped sees it.
    #[track_caller]
    pub fn read(&mut self, address: u64) -> u64 {
        word(&self.ask(&format!("m{address:x},8")))
    }

    /// Stops whoever comes to the instruction at `address`.
    pub fn break_at(&mut self, address: u64) {
        self.order(&format!("Z1,{address:x},4"));
    }

    /// Takes a breakpoint away.
    pub fn unbreak(&mut self, address: u64) {
        self.order(&format!("z1,{address:x},4"));
    }

    /// Lets the machine run until CPU 0 stops.
    #[track_caller]
    pub fn run(&mut self, run: Run) {
        self.go(run);
        self.wait();
    }

    /// Lets the machine run.
    #[track_caller]
    pub fn go(&mut self, run: Run) {
        // Bits: step at all; take no interrupts; let no time pass.
        let flags = match run {
            Run::Step => 7,
            Run::StepOrInterrupt => 1,
            Run::All | Run::Cpu0 => self.step_flags,
        };
        if flags != self.step_flags {
            self.order(&format!("Qqemu.sstep={flags:x}"));
            self.step_flags = flags;
        }
        self.registers = None;
        self.send(match run {
            Run::All => "vCont;c",
            Run::Cpu0 => "vCont;c:1",
            Run::Step | Run::StepOrInterrupt => "vCont;s:1",
        });
        self.flush().expect("QEMU listens");
    }

    /// Waits until CPU 0 stops.
    #[track_caller]
    pub fn wait(&mut self) {
        let stopped = self.receive();
        assert!(stopped.starts_with("T05thread:01;"), "{stopped}");
    }

    /// Sends a packet with the next one that has an answer worth waiting for.
    fn order(&mut self, packet: &str) {
        self.send(packet);
        self.owed += 1;
    }

    #[track_caller]
    fn ask(&mut self, packet: &str) -> String {
        self.send(packet);
        self.receive()
    }

    /// A packet, after the acknowledgement of what was received.
    fn send(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.outgoing, "+${packet}#{sum:02x}").expect("a String takes all");
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let sent = self.stream.write_all(self.outgoing.as_bytes());
        self.outgoing.clear();
        sent
    }

    #[track_caller]
    fn receive(&mut self) -> String {
        self.flush().expect("QEMU listens");
        for _ in 0..std::mem::take(&mut self.owed) {
            assert_eq!(self.packet(), "OK", "to an order");
        }
        self.packet()
    }

    #[track_caller]
    fn packet(&mut self) -> String {
        loop {
            // After acknowledgements: $, the text, #, two digits.
            let start = self.rest.iter().position(|b| *b == b'$');
            let end = self.rest.iter().position(|b| *b == b'#');
            if let (Some(start), Some(end)) = (start, end)
                && self.rest.len() >= end + 3
            {
                let text = String::from_utf8_lossy(&self.rest[start + 1..end]).into_owned();
                self.rest.drain(..end + 3);
                return text;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(n @ 1..) => self.rest.extend_from_slice(&buffer[..n]),
                Ok(_) => panic!("QEMU has left the debugger"),
                Err(error) => panic!("no answer within {PATIENCE:?}: {error}"),
            }
        }
    }
}

impl Drop for Gdb {
    /// Lets the machine go on alone.
    fn drop(&mut self) {
        self.send("D");
        let _ = self.flush();
    }
}
