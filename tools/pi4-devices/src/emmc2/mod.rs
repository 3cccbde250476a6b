// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-emmc2`: the card's controller with DMA, at the board's address, with the card in it.
//!
//! # Theory
//! QEMU's raspi4b has an SDHCI at this address, too, without DMA; and it puts the card on the older
//! controller. Here is the model instead, mapped over the first, with a card of its own on the
//! drive that QEMU's card has. That card is moved to the controller under the window, where
//! no driver reaches it.
//!
//! QEMU calls in from a CPU's thread (registers) and from the main loop (time, reset), each time
//! with its big lock held. The model is behind a mutex all the same, against itself: a table may
//! lead the controller's DMA to its own registers. Such an access is refused.
//!
//! A transfer begins in the access that asks for it, with its first slice; the others follow from
//! a timer that is due at once, and let processors and other devices in between.
//!
//! # Bus addresses
//! What the controller's DMA sees depends on the stepping: memory where the cores see it (C0), or
//! the first GiB at 0xc0000000 (B0). A device tree says which, and both are common with QEMU. It has no
//! memory up there, so here the controller sees both at once.
//!
//! # Interrupt
//! The interrupt goes to EMMC2's input of the gate that joins both controllers to SPI 126: on its
//! own input, so that the older controller cannot pull the line down.

mod drive;
mod options;

use std::ffi::c_void;
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};

use sdhci_model::{BusError, Card, Outside, Plan, Sdhci, regs};

use crate::board::{self, Board};
use crate::qemu::{self, CLOCK_VIRTUAL, Errp, MemoryRegion, MemoryRegionOps, Object, Timer, qemu};
use drive::Drive;
use options::options;

pub use options::DEVICE as TYPE;

const ADDRESS: u64 = 0xfe34_0000;
/// Where the older stepping's bus has the first GiB of memory.
const BUS_MEMORY: u64 = 0xc000_0000;

/// The device; there is one, and it stays as long as QEMU does.
struct Device {
    state: Mutex<State>,
    irq: *mut c_void,
    timer: *mut Timer,
}

struct State {
    sdhci: Sdhci,
    /// What the timer is set to.
    armed_ns: Option<u64>,
}

// SAFETY: the pointers are to objects of QEMU's that stay; they are used only in calls from QEMU,
// which hold its big lock.
unsafe impl Send for Device {}
// SAFETY: as above; what changes is behind the mutex.
unsafe impl Sync for Device {}

static DEVICE: OnceLock<Device> = OnceLock::new();

/// A bus address as the cores see it.
fn physical(bus: u64) -> u64 {
    bus.checked_sub(BUS_MEMORY).unwrap_or(bus)
}

/// The guest around the model during one call.
struct Guest<'a>(&'a Device);

impl Outside for Guest<'_> {
    fn now_ns(&mut self) -> u64 {
        // SAFETY: asks a clock.
        let now_ns = unsafe { (qemu().qemu_clock_get_ns)(CLOCK_VIRTUAL) };
        u64::try_from(now_ns).unwrap_or_default()
    }

    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        // SAFETY: the slice is valid for writing, of that length.
        let read =
            unsafe { qemu::guest_memory(physical(address), into.as_mut_ptr(), into.len(), false) };
        if read { Ok(()) } else { Err(BusError) }
    }

    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        // SAFETY: the slice is valid, of that length, and QEMU only reads it.
        let written = unsafe {
            qemu::guest_memory(
                physical(address),
                from.as_ptr().cast_mut(),
                from.len(),
                true,
            )
        };
        if written { Ok(()) } else { Err(BusError) }
    }

    fn interrupt(&mut self, level: bool) {
        // SAFETY: the gate's input stays.
        unsafe { (qemu().qemu_set_irq)(self.0.irq, level.into()) };
    }
}

impl Device {
    /// Works with the model, then sets the timer to what it asks for. Nothing happens if the model is
    /// at work already.
    fn with<R>(&self, work: impl FnOnce(&mut State, &mut Guest) -> R) -> Option<R> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let result = work(&mut state, &mut Guest(self));
        self.arm(&mut state);
        Some(result)
    }

    fn arm(&self, state: &mut State) {
        let deadline_ns = state.sdhci.deadline_ns();
        if deadline_ns == state.armed_ns {
            return;
        }
        state.armed_ns = deadline_ns;
        // SAFETY: the timer was initialised when the device was realized, and stays; QEMU called.
        unsafe { qemu::set_timer(self.timer, deadline_ns) };
    }
}

unsafe extern "C" fn read(_: *mut c_void, at: u64, bytes: u32) -> u64 {
    let device = DEVICE.get();
    let value = device.and_then(|d| d.with(|s, guest| s.sdhci.read(at as u32, bytes, guest)));
    value.unwrap_or_default().into()
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, value: u64, bytes: u32) {
    let device = DEVICE.get();
    device.and_then(|d| d.with(|s, guest| s.sdhci.write(at as u32, bytes, value as u32, guest)));
}

static OPS: MemoryRegionOps = MemoryRegionOps::of_any_width(read, write);

unsafe extern "C" fn timer(_: *mut c_void) {
    if let Some(device) = DEVICE.get() {
        device.with(|state, guest| {
            // It has fired: even the same time has to be set again.
            state.armed_ns = None;
            state.sdhci.advance(guest);
        });
    }
}

unsafe extern "C" fn reset(_: *mut c_void) {
    if let Some(device) = DEVICE.get() {
        device.with(|state, guest| state.sdhci.reset(guest));
    }
}

/// Builds the device when QEMU has read its options.
///
/// # Safety
/// QEMU calls it, with a device of this type and a place for an error.
unsafe extern "C" fn realize(device: *mut Object, errp: Errp) {
    if DEVICE.get().is_some() {
        return qemu::fail(errp, "the board has one EMMC2, and it is there already");
    }
    if let Err(message) = insert(device) {
        qemu::fail(errp, &message);
    }
}

fn insert(owner: *mut Object) -> Result<(), String> {
    let q = qemu();
    // The version is looked at before anything of QEMU's layout is used.
    Board::find()?;
    let find = |path| board::object(path).ok_or("this raspi4b is not the one that this pack knows");
    let gpio = find(c"/machine/soc/peripherals/gpio")?;
    let gate = find(c"/machine/soc/peripherals/mmc_irq_orgate")?;
    let hidden = find(c"/machine/soc/peripherals/emmc2")?;
    let options = options().clone();
    let mut sdhci = Sdhci::new(&options.faults);
    sdhci.set_rate(options.rate);
    sdhci.on_stray(Box::new(|stray| {
        qemu::log_guest_error(&format!("pi4-emmc2: {stray}\n"));
    }));
    if let Some(drive) = Drive::find() {
        let drive = Box::new(drive);
        let card = match options.emmc {
            true => Card::emmc(drive),
            false => Card::sd(drive),
        };
        sdhci.insert(Some(card));
    }
    let region = Box::leak(Box::new(MemoryRegion::new()));
    let timer_room = Box::leak(Box::new(Timer::new()));
    // SAFETY: the region and the timer are never freed; names are constants; the owner is QEMU's new
    // device, the others are the machine's and stay. The machine's lock is held.
    let irq = unsafe {
        let nothing = std::ptr::null_mut();
        let name = c"pi4-emmc2".as_ptr();
        let window = regs::WINDOW.into();
        (q.memory_region_init_io)(region, owner, &OPS, nothing, name, window);
        // Times are given in nanoseconds: a scale of one.
        (q.timer_init_full)(timer_room, nothing, CLOCK_VIRTUAL, 1, 0, timer, nothing);
        // Until the first reset the card is on the GPIO's own bus. From now on the GPIO finds none
        // there, and its moves between the older controllers do nothing.
        (q.sdbus_reparent_card)(
            (q.qdev_get_child_bus)(gpio, c"sd-bus".as_ptr()),
            (q.qdev_get_child_bus)(hidden, c"sd-bus".as_ptr()),
        );
        (q.qdev_get_gpio_in)(gate, 0)
    };
    DEVICE.get_or_init(|| Device {
        state: Mutex::new(State {
            sdhci,
            armed_ns: None,
        }),
        irq,
        timer: timer_room,
    });
    // SAFETY: the region is initialised and stays, and the device is there to answer.
    unsafe {
        board::map(region, ADDRESS);
        (q.qemu_register_reset)(reset, std::ptr::null_mut());
    }
    Ok(())
}

/// Another plan of faults for a device that runs already.
fn set_faults(plans: &[Plan]) {
    if let Some(device) = DEVICE.get() {
        device.with(|state, _| state.sdhci.set_faults(plans));
    }
}

/// Another rate of the wire for a device that runs already.
fn set_rate(bytes_per_s: u64) {
    if let Some(device) = DEVICE.get() {
        device.with(|state, _| state.sdhci.set_rate(bytes_per_s));
    }
}

fn look<R: Default>(at: impl FnOnce(&Sdhci) -> R) -> R {
    DEVICE.get().map_or_else(R::default, |device| {
        let state = device.state.lock();
        at(&state.unwrap_or_else(PoisonError::into_inner).sdhci)
    })
}

/// What the controller did.
fn counters() -> String {
    look(|sdhci| {
        let c = sdhci.counters();
        format!(
            "commands={} blocks_read={} blocks_written={} descriptors={} slices={} interrupts={} \
             flushes={}",
            c.commands,
            c.blocks_read,
            c.blocks_written,
            c.descriptors,
            c.slices,
            c.interrupts,
            c.flushes
        )
    })
}

/// What the driver did that the specification does not allow.
fn strays() -> String {
    look(|sdhci| {
        let strays = sdhci.strays().iter();
        let shown: Vec<_> = strays.map(|(what, n)| format!("{what} ({n})")).collect();
        shown.join("; ")
    })
}
