// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's wiring: what comes up in which order, and what the machine calls.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a kernel for the Raspberry Pi 4: `make run` starts it in QEMU");
}

#[cfg(target_os = "none")]
mod boot {
    use bsp::fdt::Method;
    use bsp::start::Boot;
    use bsp::trap::Fault;
    use core::mem::MaybeUninit;
    use kernel::console::{shell, tty};
    use kernel::cpu::CpuSet;
    use kernel::net::config::Config;
    use kernel::thread::{IdleCx, Kernel, ThreadCx};
    use kernel::{board, heap, intr, klog, net, panic, random, smp, storage, thread, watchdog};
    use log::{error, info, warn};
    use sync::lockstat::{self, Watcher};

    #[unsafe(no_mangle)]
    fn kernel_main(boot: Boot) -> ! {
        first_cpu(thread::start_cpu(), &boot)
    }

    #[inline(never)]
    fn first_cpu(mut cx: IdleCx, boot: &Boot) -> ! {
        bsp::cpu::instructions_start();
        bsp::timer::start();
        tty::init();
        klog::init();
        info!(
            "Orthogon {} on CPU {}",
            env!("CARGO_PKG_VERSION"),
            bsp::cpu::index()
        );
        board::init(boot);
        let options = board::options();
        lockstat::set_watching::<Kernel>(Watcher::Lockdebug, options.lockdebug);
        lockstat::set_watching::<Kernel>(Watcher::Lockstat, options.lockstat);
        let board = board::get();
        if let Some(complaint) = &board.complaint {
            warn!("{complaint}");
        }
        let mib: usize = board
            .memory
            .as_slice()
            .iter()
            .map(|ram| ram.len() >> 20)
            .sum();
        let method = board.method.as_ref().map_or("none", |m| m.name());
        info!("{}, {mib} MiB", board.model);
        info!("entered at EL{}; CPUs start by {method}", boot.entry_el);
        if let Some(Method::Psci(conduit)) = board.method
            && let Some((major, minor)) = bsp::power::psci_version(conduit)
        {
            info!("PSCI {major}.{minor}");
        }
        init_memory();
        if let Err(error) = intr::init(options.spl) {
            error!("{error}");
            panic!("{error}");
        }
        thread::paint_stacks();
        smp::come_online(boot.entry_el);
        bsp::cpu::irq_enable();
        let started = klog::start(&mut cx).and_then(|()| {
            thread::spawn(&mut cx, "shell", thread::PRIORITY_NORMAL, CpuSet::ALL, init)
        });
        if let Err(error) = started {
            panic!("no first thread: {error}");
        }
        thread::idle_loop(cx, smp::leave)
    }

    #[unsafe(no_mangle)]
    fn kernel_secondary(_: usize, entry_el: u8) -> ! {
        other_cpu(thread::start_cpu(), entry_el)
    }

    #[inline(never)]
    fn other_cpu(cx: IdleCx, entry_el: u8) -> ! {
        bsp::cpu::instructions_start();
        smp::come_online(entry_el);
        bsp::cpu::irq_enable();
        thread::idle_loop(cx, smp::leave)
    }

    #[unsafe(no_mangle)]
    fn kernel_interrupt() {
        intr::interrupt();
    }

    #[unsafe(no_mangle)]
    fn kernel_fault(fault: &Fault) -> ! {
        panic::fault(fault)
    }

    /// Maps all RAM and gives the heap the largest free piece of the first GiB.
    fn init_memory() {
        let board = board::get();
        for ram in board.memory.as_slice() {
            // SAFETY: the firmware says that it is RAM; no other CPU runs.
            unsafe { bsp::mmu::map_ram(ram.clone()) };
        }
        let end = bsp::mmu::symbol::end();
        let free = kernel::memory::largest_gap(
            board.memory.as_slice(),
            board.reserved.as_slice(),
            bsp::map::KERNEL_LIMIT.max(end)..1 << 30,
        );
        assert!(
            free.len() >= 1 << 20,
            "no MiB of memory is free for the heap: {free:x?}"
        );
        info!(
            "heap: {:#x} to {:#x}, {} MiB",
            free.start,
            free.end,
            free.len() >> 20
        );
        // SAFETY: mapped RAM that the firmware did not reserve, above the kernel: nobody's.
        heap::init(unsafe {
            core::slice::from_raw_parts_mut(free.start as *mut MaybeUninit<u8>, free.len())
        });
    }

    /// The first thread: the rest of the boot, where waiting is allowed; then it is the shell.
    fn init(cx: &mut ThreadCx) {
        board::ask_firmware(cx);
        watchdog::start();
        random::seed(cx);
        let uart_hz = board::mailbox(cx, |m| m.clock_rate_hz(drivers::mailbox::Clock::Uart));
        if let Some(hz) = uart_hz {
            tty::set_clock(cx, hz);
        }
        if let Err(error) = tty::start(cx) {
            error!("console: {error}: no input"); // and none of the commands below
        }
        if board::get().method.is_some() {
            for cpu in 1..board::options().cpus {
                if let Err(error) = smp::start(cx, cpu) {
                    error!("{error}");
                }
            }
        }
        if let Err(error) = board::watch::start(cx) {
            error!("board: {error}");
        }
        match storage::mount_boot(cx) {
            Ok(mounted) => info!("{mounted}"),
            Err(reason) => error!("{reason}"),
        }
        let line = board::get().command_line;
        let config = Config::parse(line, |word, error| warn!("command line: {word}: {error}"));
        if let Err(error) = net::start(cx, config) {
            error!("net: {error}");
        }
        shell::run(cx)
    }
}
