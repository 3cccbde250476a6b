// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs with nothing around them on the emulated board: what the emulator itself can do, at best.
//!
//! A program is one loop on CPU 0: no threads, no handlers, no cache maintenance, which an emulator does not need. It
//! waits for a device in WFI, since each register that it reads meanwhile would keep the emulator from the device. The board's start code is the kernel's, so is the way in (BL31, the same loaders and options); the other CPUs are
//! started and put to sleep at once, since in BL31's own waiting loop each of them would take a host CPU.
//!
//! A program of this package is a file of `src/bin` with [`program!`] in it; it prints with [`say!`], reads its orders
//! with [`line`], and says `ready` when it waits for one.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
pub use machine::*;

/// The program's entry: `program!(work)`, `work` a `fn()` that never returns. On the host there is none to run.
#[macro_export]
macro_rules! program {
    ($work:path) => {
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        fn kernel_main(_: $crate::Boot) -> ! {
            $crate::start();
            $work()
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            eprintln!("this runs on the Raspberry Pi 4 that QEMU emulates");
        }
    };
}

/// Prints a line on the console.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes all.
        let _ = writeln!($crate::Console, $($argument)*);
    }};
}
