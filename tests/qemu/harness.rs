// SPDX-License-Identifier: MIT OR Apache-2.0
//! The harness itself: what must fail does fail, and shows the console.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use qemu_tests::{Machine, claim};

/// What a test that fails says.
fn failure(test: impl FnOnce()) -> Option<String> {
    let said = catch_unwind(AssertUnwindSafe(test)).err()?;
    said.downcast_ref::<String>().cloned()
}

#[test]
fn what_qemu_warns_of_fails_the_test() {
    claim("a run in which the kernel does what QEMU warns of is a failure that shows the warning");
    let provoke = |allow: bool| {
        let mut console = Machine::new().no_pack().start();
        if allow {
            console.allow_warnings("bcm2835_powermgt_write: ");
        }
        assert_eq!(console.command("mw 0xfe100024 0x5a000000"), "");
    };
    let said = failure(|| provoke(false)).expect("a failure");
    assert!(said.contains("bcm2835_powermgt_write: WDOG"), "{said}");
    assert_eq!(failure(|| provoke(true)), None, "unless the test allows it");
}

#[test]
fn a_hang_fails_the_test_and_shows_the_console() {
    claim("a console that does not say what is awaited is a failure that shows what it said");
    let said = failure(|| {
        let mut console = Machine::new().start();
        console.prompt();
        console.expect("what it never says", Duration::from_millis(500));
    });
    let said = said.expect("a failure");
    assert!(
        said.contains("no \"what it never says\" within 500ms"),
        "{said}"
    );
    assert!(said.contains("Type help for the commands"), "{said}");
}

#[test]
fn the_end_of_qemu_fails_the_test() {
    claim("a QEMU that ends before it says what is awaited is a failure");
    let said = failure(|| {
        let mut console = Machine::new().args(["-no-such-option"]).start();
        console.prompt();
    });
    assert!(said.expect("a failure").contains("QEMU ended"));
}
