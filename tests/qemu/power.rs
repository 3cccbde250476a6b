// SPDX-License-Identifier: MIT OR Apache-2.0
//! `poweroff` and `reboot`, by PSCI and by the watchdog block.

use std::time::Duration;

use qemu_tests::{Boot, Console, Machine, PROMPT, case, claim};

/// How long the machine may take to end or to come back.
const PATIENCE: Duration = Duration::from_secs(60);
const BOOTS: [(Boot, &str); 2] = [(Boot::Bl31, "psci"), (Boot::Stock, "spin-table")];

fn start(machine: Machine) -> Console {
    let mut console = machine.start();
    // QEMU has the block, but logs every write to two of its registers.
    console.allow_warnings("bcm2835_powermgt_write: ");
    console.prompt();
    console
}

#[test]
fn poweroff_ends_qemu() {
    claim("poweroff ends QEMU with status 0");
    for (boot, _) in BOOTS {
        case(&format!("{boot:?}"));
        let mut console = start(Machine::new().boot(boot).reboot());
        console.send_line("poweroff");
        assert_eq!(console.wait_exit(PATIENCE).code(), Some(0));
        assert!(
            console.log().contains("\npowering off\n"),
            "the farewell is on the line"
        );
    }
}

#[test]
fn reboot_comes_back() {
    claim("reboot comes back with four CPUs, twice");
    for (boot, method) in BOOTS {
        case(&format!("{boot:?}"));
        let mut console = start(Machine::new().boot(boot).reboot());
        for _ in 0..2 {
            console.send_line("reboot");
            console.expect("\nrebooting\n", PATIENCE);
            console.expect(&format!("\n{PROMPT}"), PATIENCE);
            console.assert_four("2->1", method);
        }
    }
}

#[test]
fn power_commands_work_with_cpus_off_and_under_load() {
    claim("poweroff works under load with a CPU off");
    for (boot, _) in BOOTS {
        case(&format!("{boot:?}"));
        let mut console = start(Machine::new().boot(boot).reboot());
        console.command("stress start");
        console.command("cpu off 1");
        console.send_line("poweroff");
        assert_eq!(console.wait_exit(PATIENCE).code(), Some(0));
    }
}
