// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-genet`: the model as a device of QEMU's, with a network card's end for a netdev.
//!
//! # Theory
//! QEMU calls in from a CPU's thread (registers) and from the main loop (frames, time, reset), each
//! time with its big lock held. The model is behind a mutex all the same: not against other
//! threads but against itself: a descriptor may point at GENET's own registers. An access that
//! comes while the model is at work is refused.
//!
//! Frames that leave for a netdev are sent from a bottom half, in the main loop. A netdev may answer a frame
//! before the sending returns, which must not find the model at work; and the user network looks
//! at its sockets only when the main loop goes round, which a frame from a CPU's thread does not
//! make it do. The big lock is given up after a few frames: a CPU that waits for it at a register often
//! holds a lock of the driver's, for which another CPU of the guest's spins, with a thread of the host's.
//!
//! # Rejected
//! Sending at once, from the CPU's thread: the user network then answers each frame of TCP with an
//! acknowledgement and an interrupt of its own, where the main loop lets several come together; Linux
//! took half as much time again for the same bytes.
//!
//! # Back pressure
//! With `backpressure=on`, the default, a frame waits in QEMU while no descriptor is free, as if
//! the partner obeyed pause frames at once. With `off` it comes in and is discarded and counted,
//! as on a wire whose other end does not.

mod cable;
mod options;

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use genet_model::{BusError, Counter, Genet, Line, Outside, Plan, Stray, map};

use crate::board::{self, Board};
use crate::qemu::{
    self, CLOCK_VIRTUAL, Errp, MemoryRegion, MemoryRegionOps, NET_CLIENT_NIC, NIC_STATE_BYTES,
    NetClient, NetClientInfo, NicConf, Object, ReentrancyGuard, Timer, qemu,
};
use cable::Cable;
use options::options;

pub use options::DEVICE as TYPE;

const ADDRESS: u64 = 0xfd58_0000;
const SPIS: [c_int; 2] = [157, 158];
/// Frames that are sent before the CPUs get the big lock. With all that wait, Linux's TCP took twice the
/// host's time, with one a fifth more.
const BURST: usize = 8;
/// How many may wait for their turn after that: a driver that queues faster than the netdev takes frames
/// waits for the lock itself.
const WAITING: usize = 64;
/// What `info network` shows; the address that counts is the driver's.
const SHOWN_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x57];

/// The device; there is one, and it stays as long as QEMU does.
struct Device {
    state: Mutex<State>,
    irqs: [*mut c_void; 2],
    nic: *mut NetClient,
    /// Instead of a netdev.
    cable: Option<Cable>,
    timer: *mut Timer,
    /// Frames on their way to the netdev, and the bottom half that takes them there.
    leaving: Mutex<VecDeque<Vec<u8>>>,
    send: *mut c_void,
    backpressure: bool,
    /// A frame waits in QEMU for a free descriptor.
    starved: AtomicBool,
}

struct State {
    genet: Genet,
    /// What the timer is set to.
    armed_ns: Option<u64>,
}

// SAFETY: the pointers are to objects of QEMU's that stay; they are used only in calls from QEMU,
// which hold its big lock.
unsafe impl Send for Device {}
// SAFETY: as above; what changes is behind the mutex.
unsafe impl Sync for Device {}

static DEVICE: OnceLock<Device> = OnceLock::new();

/// The guest around the model during one call.
struct Guest<'a> {
    device: &'a Device,
    sent: Vec<Vec<u8>>,
}

impl Outside for Guest<'_> {
    fn now_ns(&mut self) -> u64 {
        // SAFETY: asks a clock.
        let now_ns = unsafe { (qemu().qemu_clock_get_ns)(CLOCK_VIRTUAL) };
        u64::try_from(now_ns).unwrap_or_default()
    }

    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        // SAFETY: the slice is valid for writing, of that length.
        let read = unsafe { qemu::guest_memory(address, into.as_mut_ptr(), into.len(), false) };
        if read { Ok(()) } else { Err(BusError) }
    }

    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        // SAFETY: the slice is valid, of that length, and QEMU only reads it.
        let written =
            unsafe { qemu::guest_memory(address, from.as_ptr().cast_mut(), from.len(), true) };
        if written { Ok(()) } else { Err(BusError) }
    }

    fn transmit(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }

    fn interrupt(&mut self, line: Line, level: bool) {
        // SAFETY: the interrupt controller's inputs stay.
        unsafe { (qemu().qemu_set_irq)(self.device.irqs[line as usize], level.into()) };
    }
}

impl Device {
    /// Works with the model, then sees to what it asked for: frames to send, the next time, frames
    /// that wait. Nothing happens if the model is at work already.
    fn with<R>(&self, work: impl FnOnce(&mut Genet, &mut Guest) -> R) -> Option<R> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let mut guest = Guest {
            device: self,
            sent: Vec::new(),
        };
        let result = work(&mut state.genet, &mut guest);
        self.arm(&mut state);
        let fed = self.starved.load(Ordering::SeqCst) && state.genet.has_room();
        if fed {
            self.starved.store(false, Ordering::SeqCst);
        }
        drop(state);
        if guest.sent.is_empty() {
            // As in most calls.
        } else if let Some(cable) = &self.cable {
            cable.send(&guest.sent);
        } else {
            self.leaving().extend(guest.sent);
            // SAFETY: the bottom half was made when the device was realized, and stays.
            unsafe { (qemu().qemu_bh_schedule)(self.send) };
        }
        if let (true, Some(cable)) = (fed, &self.cable) {
            cable.resume();
        } else if fed {
            // SAFETY: as above. It comes back through `receive`, with the model free, until that has no room.
            unsafe { (qemu().qemu_flush_queued_packets)(self.nic) };
        }
        Some(result)
    }

    /// Whether a frame may come in now. If not, it is asked for when one may.
    fn has_room(&self) -> bool {
        let free = match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let room = free.is_some_and(|state| !self.backpressure || state.genet.has_room());
        if !room {
            self.starved.store(true, Ordering::SeqCst);
        }
        room
    }

    fn leaving(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arm(&self, state: &mut State) {
        let deadline_ns = state.genet.deadline_ns();
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
    let value = device.and_then(|d| d.with(|g, guest| g.read(at as u32, bytes, guest)));
    value.unwrap_or_default().into()
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, value: u64, bytes: u32) {
    let device = DEVICE.get();
    device.and_then(|d| d.with(|g, guest| g.write(at as u32, bytes, value as u32, guest)));
}

static OPS: MemoryRegionOps = MemoryRegionOps::of_any_width(read, write);

unsafe extern "C" fn can_receive(_: *mut NetClient) -> bool {
    DEVICE.get().is_none_or(Device::has_room)
}

/// 0: the frame waits, and those behind it, until they are asked for. QEMU asks `can_receive` for a
/// frame that comes, and not again for those that waited.
unsafe extern "C" fn receive(_: *mut NetClient, frame: *const u8, bytes: usize) -> isize {
    // SAFETY: QEMU hands a frame of that length, which stays during the call.
    let frame = unsafe { std::slice::from_raw_parts(frame, bytes) };
    if let Some(device) = DEVICE.get() {
        if !device.has_room() {
            return 0;
        }
        device.with(|genet, guest| genet.receive(frame, guest));
    }
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// A frame from the card's own cable; whether there was room for it.
fn take(frame: &[u8]) -> bool {
    let Some(device) = DEVICE.get() else {
        return false;
    };
    device.has_room()
        && device
            .with(|genet, guest| genet.receive(frame, guest))
            .is_some()
}

fn with_cable(work: impl FnOnce(&Cable)) {
    if let Some(cable) = DEVICE.get().and_then(|device| device.cable.as_ref()) {
        work(cable);
    }
}

unsafe extern "C" fn link_status_changed(card: *mut NetClient) {
    // SAFETY: QEMU hands the card, and its link does not change during the call.
    let plugged = unsafe { (*card).link_down == 0 };
    if let Some(device) = DEVICE.get() {
        device.with(|genet, guest| genet.set_cable(plugged, guest));
    }
}

static CARD: NetClientInfo = NetClientInfo {
    kind: NET_CLIENT_NIC,
    size: NIC_STATE_BYTES,
    receive,
    receive_iov: std::ptr::null(),
    can_receive,
    start: std::ptr::null(),
    load: std::ptr::null(),
    stop: std::ptr::null(),
    cleanup: std::ptr::null(),
    link_status_changed,
    others: [std::ptr::null(); 24],
};

unsafe extern "C" fn timer(_: *mut c_void) {
    if let Some(device) = DEVICE.get() {
        device.with(|genet, guest| genet.advance(guest));
    }
}

unsafe extern "C" fn send(_: *mut c_void) {
    let Some(device) = DEVICE.get() else { return };
    let burst = BURST.max(device.leaving().len().saturating_sub(WAITING));
    for _ in 0..burst {
        let Some(frame) = device.leaving().pop_front() else {
            return; // the lock is free again while the frame is sent
        };
        let bytes = c_int::try_from(frame.len()).unwrap_or_default();
        // SAFETY: the card is QEMU's and stays; QEMU copies the frame or is done with it.
        unsafe { (qemu().qemu_send_packet)(device.nic, frame.as_ptr(), bytes) };
    }
    // SAFETY: this bottom half, which stays.
    unsafe { (qemu().qemu_bh_schedule)(device.send) };
}

unsafe extern "C" fn reset(_: *mut c_void) {
    if let Some(device) = DEVICE.get() {
        device.with(|genet, guest| genet.reset(guest));
    }
}

/// Builds the device when QEMU has read its options.
///
/// # Safety
/// QEMU calls it, with a device of this type and a place for an error.
unsafe extern "C" fn realize(device: *mut Object, errp: Errp) {
    if DEVICE.get().is_some() {
        return qemu::fail(errp, "the board has one GENET, and it is there already");
    }
    if let Err(message) = insert(device) {
        qemu::fail(errp, &message);
    }
}

fn insert(owner: *mut Object) -> Result<(), String> {
    let q = qemu();
    let board = Board::find()?;
    let options = options().clone();
    let mut conf = Box::new(NicConf {
        mac: SHOWN_MAC,
        peers: [std::ptr::null_mut(); 1024],
        queues: 1,
        bootindex: -1,
    });
    if let Some(id) = &options.netdev {
        // SAFETY: the ID is a C string.
        conf.peers[0] = unsafe { (q.qemu_find_netdev)(id.as_ptr()) };
        if conf.peers[0].is_null() {
            return Err(format!("there is no netdev {}", id.to_string_lossy()));
        }
    }
    if options.netdev.is_some() && options.cable.is_some() {
        return Err("a netdev and a cable: GENET has one port".into());
    }
    let cable = options.cable.as_deref().map(Cable::connect).transpose()?;
    let plugged = options.netdev.is_some() || cable.is_some();
    let mut genet = Genet::new(&options.faults);
    genet.on_stray(Box::new(|stray| {
        // A netdev may speak before there is a driver; that is nobody's fault.
        if stray != Stray::RxOff {
            qemu::log_guest_error(&format!("pi4-genet: {stray}\n"));
        }
    }));
    let region = Box::leak(Box::new(MemoryRegion::new()));
    let timer_room = Box::leak(Box::new(Timer::new()));
    // SAFETY: the region, the timer and the card's connections are never freed; names are constants;
    // the owner is QEMU's new device. The machine's lock is held.
    let (nic, send) = unsafe {
        let nothing = std::ptr::null_mut();
        (q.memory_region_init_io)(
            region,
            owner,
            &OPS,
            nothing,
            c"pi4-genet".as_ptr(),
            map::WINDOW.into(),
        );
        // Times are given in nanoseconds: a scale of one.
        (q.timer_init_full)(timer_room, nothing, CLOCK_VIRTUAL, 1, 0, timer, nothing);
        let name = c"pi4-genet".as_ptr();
        let conf = Box::leak(conf);
        let guard: *mut ReentrancyGuard = Box::leak(Box::new(ReentrancyGuard::new()));
        let nic = (q.qemu_new_nic)(&CARD, conf, name, name, guard, nothing);
        let card = (q.qemu_get_queue)(nic);
        (q.qemu_format_nic_info_str)(card, SHOWN_MAC.as_ptr());
        (card, (q.qemu_bh_new_full)(send, nothing, name, nothing))
    };
    let device = DEVICE.get_or_init(|| Device {
        state: Mutex::new(State {
            genet,
            armed_ns: None,
        }),
        irqs: SPIS.map(|spi| board.spi(spi)),
        nic,
        cable,
        timer: timer_room,
        leaving: Mutex::new(VecDeque::new()),
        send,
        backpressure: options.backpressure,
        starved: AtomicBool::new(false),
    });
    device.with(|genet, guest| genet.set_cable(plugged, guest));
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
        device.with(|genet, _| genet.set_faults(plans));
    }
}

fn look<R: Default>(at: impl FnOnce(&Genet) -> R) -> R {
    DEVICE.get().map_or_else(R::default, |device| {
        let state = device.state.lock();
        at(&state.unwrap_or_else(PoisonError::into_inner).genet)
    })
}

/// The counters that are not zero, one after the other.
fn counters() -> String {
    look(|genet| {
        let counted = Counter::ALL.iter().map(|c| (c, genet.counter(*c)));
        let shown = counted.filter(|(_, n)| *n != 0);
        let shown: Vec<_> = shown.map(|(c, n)| format!("{c:?}={n}")).collect();
        shown.join(" ")
    })
}

/// What the driver did that is not known.
fn strays() -> String {
    look(|genet| {
        let strays = genet.strays().iter();
        let shown: Vec<_> = strays.map(|(what, n)| format!("{what} ({n})")).collect();
        shown.join("; ")
    })
}
