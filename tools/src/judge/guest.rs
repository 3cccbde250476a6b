// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running Linux: its console as a shell, QEMU's monitor beside it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long Linux may take to its shell, on a busy host.
const BOOT: Duration = Duration::from_secs(180);
/// What the shell says first.
pub const READY: &str = "=== READY";
const ENDED: &str = "=== RC ";

/// A guest with a shell. Dropping it ends QEMU.
pub struct Guest {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// All that the console and QEMU said.
    pub log: String,
    seen: usize,
    monitor: PathBuf,
}

/// What to boot, and with which devices.
pub struct Setup<'a> {
    /// Where files of this run go.
    pub scratch: &'a Path,
    /// The card's image.
    pub card: &'a Path,
    /// QEMU's netdev arguments, and the ID of the one that the controller gets.
    pub net: Vec<String>,
    /// That ID, with further properties of `pi4-genet`.
    pub genet: String,
    /// Properties of `pi4-emmc2`.
    pub emmc2: &'a str,
    /// A niceness for QEMU: the judge shares its machine.
    pub nice: bool,
}

impl Guest {
    /// Boots Linux to its shell.
    pub fn boot(setup: &Setup) -> Result<Self> {
        Self::boot_with(setup, &[], &[])
    }

    /// [`Self::boot`], with further programs in the guest's `/bin` and arguments for QEMU.
    pub fn boot_with(setup: &Setup, programs: &[&Path], arguments: &[&str]) -> Result<Self> {
        let (initrd, dtb) = super::linux::prepare(setup.scratch, programs)?;
        let image = super::linux::folder().join("Image");
        let mut q = super::qemu(setup, &["-kernel".as_ref(), image.as_os_str()])?;
        q.arg("-initrd").arg(initrd).arg("-dtb").arg(dtb);
        q.args(arguments);
        q.args(["-append", super::linux::COMMAND_LINE]);
        let mut guest = Self::start(q, setup.scratch)?;
        guest.expect(READY, BOOT)?;
        Ok(guest)
    }

    /// Starts QEMU, with its monitor on a socket in `scratch`.
    pub fn start(mut q: Command, scratch: &Path) -> Result<Self> {
        let monitor = scratch.join("monitor");
        q.arg("-monitor").arg(crate::monitor::argument(&monitor));
        q.args(["-accel", "tcg,thread=multi"]);
        let mut child = q
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-aarch64; `make setup` installs it")?;
        let (sender, output) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().context("stdout")?),
            Box::new(child.stderr.take().context("stderr")?),
        ];
        for mut stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if sender.send(buffer[..n].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        let input = child.stdin.take().context("stdin")?;
        Ok(Self {
            child,
            input,
            output,
            log: String::new(),
            seen: 0,
            monitor,
        })
    }

    /// Waits for a text, and returns what came before it.
    pub fn expect(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(at) = self.log[self.seen..].find(pattern) {
                let before = self.log[self.seen..self.seen + at].to_owned();
                self.seen += at + pattern.len();
                return Ok(before);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
                    self.log += &text;
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "no {pattern:?} within {timeout:?}; the end of the log:\n{}",
                        self.tail()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!(
                        "QEMU ended; awaited {pattern:?}; the end of the log:\n{}",
                        self.tail()
                    )
                }
            }
        }
    }

    fn tail(&self) -> String {
        let lines: Vec<_> = self.log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Types a line without waiting.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes())?;
        Ok(self.input.flush()?)
    }

    /// Runs a line in the guest's shell: what it printed and how it ended.
    pub fn shell(&mut self, line: &str, timeout: Duration) -> Result<(String, i32)> {
        self.type_line(line)?;
        let output = self.expect(ENDED, timeout)?;
        let status = self.expect("\n", timeout)?;
        Ok((output, status.trim().parse()?))
    }

    /// Runs a line that must succeed.
    pub fn run(&mut self, line: &str, timeout: Duration) -> Result<String> {
        let (output, status) = self.shell(line, timeout)?;
        ensure!(status == 0, "`{line}` ended with {status}:\n{output}");
        Ok(output)
    }

    /// A quick line that must succeed.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.run(line, Duration::from_secs(60))
    }

    /// One command to QEMU's monitor.
    pub fn monitor(&self, command: &str) -> Result<String> {
        crate::monitor::ask(&self.monitor, command)
    }

    /// The value of a property of a device of the pack.
    pub fn property(&self, device: &str, name: &str) -> Result<String> {
        let answer = self.monitor(&format!("qom-get /machine/peripheral/{device} {name}"))?;
        Ok(answer.trim_matches('"').to_owned())
    }

    /// Has the guest switch itself off, and waits for QEMU's end.
    pub fn power_off(mut self) -> Result<String> {
        self.type_line("sync; poweroff -f")?;
        self.ended(Duration::from_secs(60))?;
        Ok(std::mem::take(&mut self.log))
    }

    /// Waits for QEMU's end.
    pub fn ended(&mut self, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "the guest does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
