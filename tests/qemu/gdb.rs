// SPDX-License-Identifier: MIT OR Apache-2.0
//! A debugger's view of the kernel: the helpers that `make debug` loads, and the options of `make run`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use qemu_tests::{Machine, claim};

/// How long the threads of a deadlock may take to get stuck.
const STUCK: Duration = Duration::from_secs(2);

#[test]
fn gdb_shows_threads_locks_and_the_log() {
    claim("gdb with tools/gdb/orthogon.py shows CPUs, threads, a deadlock's locks, and the log");
    let gdb = ["gdb-multiarch", "aarch64-linux-gnu-gdb"]
        .into_iter()
        .find(|gdb| Command::new(gdb).arg("--version").output().is_ok());
    let Some(gdb) = gdb else {
        println!("not tested: no gdb for arm64 is installed, and nothing else needs one");
        return;
    };
    let image = tools::out_dir().join("kernel8-gdb.img");
    let symbols = tools::root().join("target/aarch64-unknown-none-softfloat/gdb/kernel");
    let mut console = Machine::new().kernel(image).gdb().start();
    assert_eq!(console.command("provoke deadlock"), "");
    let first = console.command("threads");
    std::thread::sleep(STUCK);
    let said = ask(gdb, &symbols, &console.scratch().join("gdb"));
    let row = |part: &str| {
        let row = said.lines().find(|row| row.contains(part));
        row.unwrap_or_else(|| panic!("no {part:?}:\n{said}"))
    };
    let id = |name: &str| {
        let row = first
            .lines()
            .find(|row| row.contains(name))
            .expect("listed");
        row.split_whitespace().next().expect("a number").to_owned()
    };
    let (left, right) = (id("left "), id("right "));
    for (class, owner, waiter) in [
        (
            "ProvokeLeft",
            format!("{left} left"),
            format!("{right} right"),
        ),
        (
            "ProvokeRight",
            format!("{right} right"),
            format!("{left} left"),
        ),
    ] {
        let row = row(class);
        let (before, after) = row.split_once(&owner).unwrap_or_else(|| panic!("{row}"));
        assert!(
            before.contains("adaptive") && after.trim() == waiter,
            "{row}"
        );
    }
    assert!(row(&format!("{left}  left ")).contains("blocked"), "{said}");
    assert!(row("idle/0").contains('1'), "{said}");
    assert!(
        said.contains("stands in") && said.contains("idle_loop"),
        "{said}"
    );
    assert!(said.contains("boot: Orthogon "), "no log:\n{said}");
    // It goes on where it was stopped.
    assert_eq!(console.command("provoke stop"), "2 threads ended");
}

/// What the helpers say, all of them.
fn ask(gdb: &str, symbols: &Path, socket: &Path) -> String {
    let helpers = tools::root().join("tools/gdb/orthogon.py");
    let target = format!("target remote {}", socket.display());
    let mut command = Command::new(gdb);
    command.args(["-q", "-batch", "-x"]).arg(helpers);
    for line in [
        &*target,
        "cpus",
        "ps",
        "locks",
        "dmesg",
        "thread-bt 5",
        "detach",
    ] {
        command.args(["-ex", line]);
    }
    let output = command.arg(symbols).output().expect("gdb runs");
    let (said, errors) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(errors)
    );
    String::from_utf8_lossy(said).into_owned()
}

#[test]
fn the_command_line_limits_the_cpus() {
    claim("cpus=2 starts two CPUs, and cpu on starts the others");
    let mut console = Machine::new().cmdline("cpus=2").start();
    let boot = console.prompt();
    assert!(boot.contains(" 2 CPUs; prompt "), "{boot}");
    let states = |console: &mut qemu_tests::Console| {
        let cpus = console.cpus();
        cpus.iter()
            .map(|cpu| cpu.state == "online")
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&mut console), [true, true, false, false]);
    assert_eq!(console.command("cpu on 3"), "CPU 3 is online");
    assert_eq!(states(&mut console), [true, true, false, true]);
}
