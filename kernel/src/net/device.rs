// SPDX-License-Identifier: MIT OR Apache-2.0
//! GENET in the kernel: its interrupt, its lock, and the thread that looks after the link.
//!
//! # Theory
//! The interrupt's handler is a thread of class Net: under the controller's lock it takes frames from the ring into the
//! queue of its CPU, and has the soft interrupt run. Then the controller is quiet: the soft interrupt, when it has
//! nothing left, asks it for more ([`look_again`]), and only when there is none may it interrupt again. So a flood costs
//! one interrupt, and what comes too fast is dropped in the ring, where it costs least.
//!
//! What takes time is the *keeper*'s, a thread: it asks the PHY for the link each second, or when the controller says that
//! it changed; and when the controller has stalled, it takes it out of the lock, resets it, and puts it back. What
//! was on the rings comes back as buffers, and was lost as on a wire.
//!
//! # Contexts
//! [`transmit`], [`look_again`]: threads, soft interrupts. [`attach`], [`keep`]: a thread, once.
//!
//! # Lock order
//! NetDevice, then the CPU's NetQueue, then NetPool.
use super::mbuf::{BUFFERS, Mbuf, Packet};
use super::port::{Outgoing, Port};
use super::stack::{self, POOL, QUEUES};
use crate::board;
use crate::intr::{self, Handler};
use crate::lock_order::{NetDevice, NetStack, Phy as PhyClass};
use crate::thread::{Kernel, ThreadCx, ThreadDelay};
use crate::trace::{self, Class, Event};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bsp::cpu::index;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use drivers::genet::{Counters, Error, Genet, Halted, Link, Phy, PhyMode, PhyView, RING};
use log::{debug, info, warn};
use sync::domain::{Before, Cx, MayWake, Net};
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;

/// Who delays the clocks: the device tree's `phy-mode` of every Pi 4.
const MODE: PhyMode = PhyMode::RgmiiRxId;
/// Frames that are taken from the ring with the lock held once.
const BUDGET: usize = 64;
/// How often the keeper looks whether the controller stalls: an interrupt that was lost is found at the second look.
const LOOK_NS: u64 = 250_000_000;
/// How often it asks the PHY, and adds up the MAC's counters.
const LINK_NS: u64 = 1_000_000_000;

type Controller = Genet<Mmio, Mbuf>;

struct State {
    /// None before it is attached, and while the keeper has it.
    genet: Option<Box<Controller>>,
    link: Option<Link>,
    /// When it last changed.
    link_changed_ns: u64,
    /// It interrupts no more until the soft interrupt has found nothing left.
    quiet: bool,
    figures: Figures,
}

/// What the kernel counts of the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Times that it interrupted.
    pub interrupts: u64,
    /// Frames that were to go while there was no link.
    pub dropped_no_link: u64,
    /// Times that the ring was full.
    pub ring_full: u64,
    /// Times that it was reset after a stall.
    pub restarts: u64,
    /// Times that the link came or went.
    pub link_changes: u64,
}

static DEVICE: KMutex<State, NetDevice> = KMutex::new(State {
    genet: None,
    link: None,
    link_changed_ns: 0,
    quiet: false,
    figures: Figures {
        interrupts: 0,
        dropped_no_link: 0,
        ring_full: 0,
        restarts: 0,
        link_changes: 0,
    },
});
static PHY: KMutex<Option<Phy<Mmio>>, PhyClass> = KMutex::new(None);
/// There is something for the keeper.
static WORK: KCondvar<Kernel> = KCondvar::new();
/// ORDERING: Relaxed: the keeper then asks for the addresses under the stack's lock.
static FILTER_CHANGED: AtomicBool = AtomicBool::new(false);
/// The user wants the interface up. ORDERING: Relaxed: the keeper is signalled after it was set.
static WANTED_UP: AtomicBool = AtomicBool::new(true);

/// The board's station number: the firmware's, or else one of this project's own making, locally administered.
pub fn mac(cx: &mut ThreadCx) -> [u8; 6] {
    let told = board::get().mac;
    let asked = told.or_else(|| board::mailbox(cx, |mailbox| mailbox.mac_address()));
    asked
        .filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6])
        .unwrap_or([0x02, 0, 0, 0, 0, 0x01])
}

/// Finds the controller, resets it, connects its interrupt, and finds its PHY.
///
/// # Errors
/// A sentence.
pub fn attach(cx: &mut ThreadCx, mac: [u8; 6]) -> Result<String, String> {
    // Where there is none, the access faults.
    if bsp::trap::read(map::GENET, 4).is_err() {
        return Err("no Ethernet controller".into());
    }
    POOL.enter(cx)
        .0
        .grow(BUFFERS)
        .map_err(|_| "no memory for packet buffers")?;
    let mut genet = controller();
    let failed = |error: Error| error.to_string();
    genet.reset(mac, MODE, &mut ThreadDelay).map_err(failed)?;
    let phy = find_phy().map_err(failed)?;
    let [a, b, c, d, e, f] = mac;
    let found = format!(
        "GENET v5, {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}, PHY {:#010x} at {}",
        phy.id(),
        phy.address()
    );
    *PHY.enter(cx).0 = Some(phy);
    with_buffers(cx, |mut fresh, mut give_back| {
        genet.start(&mut fresh, &mut give_back)
    })
    .map_err(failed)?;
    install(cx, genet);
    let handler = Handler::<Net>::Threaded(interrupt);
    let _cookie = intr::establish(cx, map::IRQ_GENET, "genet", handler, 0)
        .map_err(|error| error.to_string())?;
    Ok(found)
}

/// On a stack frame of its own: it is large before it is in its box.
#[inline(never)]
fn controller() -> Box<Controller> {
    // SAFETY: GENET's block, and this the only driver.
    Box::new(Genet::new(unsafe { Mmio::new(map::GENET) }))
}

fn find_phy() -> Result<Phy<Mmio>, Error> {
    // SAFETY: GENET's block; the registers that the PHY's half uses, the other does not.
    Phy::attach(unsafe { Mmio::new(map::GENET) }, MODE, &mut ThreadDelay)
}

/// Buffers for a ring, and those that come back from it, while no lock is held.
fn with_buffers<R>(
    cx: &mut ThreadCx,
    act: impl FnOnce(&mut dyn FnMut() -> Option<Mbuf>, &mut dyn FnMut(Mbuf)) -> R,
) -> R {
    let fresh: Vec<Mbuf> = {
        let (mut pool, _) = POOL.enter(cx);
        (0..RING).map_while(|_| pool.take()).collect()
    };
    let buffers = RefCell::new(fresh);
    let result = act(&mut || buffers.borrow_mut().pop(), &mut |mbuf| {
        buffers.borrow_mut().push(mbuf);
    });
    let (mut pool, _) = POOL.enter(cx);
    for mbuf in buffers.into_inner() {
        pool.give_back(mbuf);
    }
    result
}

/// Puts the controller under the lock; its frames interrupt from now on.
fn install(cx: &mut ThreadCx, genet: Box<Controller>) {
    let (mut device, _) = DEVICE.enter(cx);
    device.quiet = device.genet.insert(genet).rearm();
    if device.quiet {
        stack::schedule();
    }
}

/// The controller's interrupt.
fn interrupt(cx: &mut ThreadCx, _: usize) {
    let wanted = {
        let (mut device, mut cx) = DEVICE.enter(cx);
        let device = &mut *device;
        let Some(genet) = &mut device.genet else {
            return;
        };
        let causes = genet.interrupt();
        if !causes.is_none() {
            intr::note_work(map::IRQ_GENET);
        }
        device.figures.interrupts += 1;
        if causes.link {
            WORK.signal(&mut cx);
        }
        if causes.receive || causes.transmit {
            device.quiet = true;
        }
        if causes.receive {
            harvest(genet, &mut cx);
        }
        device.quiet
    };
    if wanted {
        stack::schedule();
    }
}

/// Takes frames into this CPU's queue; how many.
fn harvest(genet: &mut Controller, cx: &mut Cx<NetDevice>) -> usize {
    let (mut queue, mut cx) = QUEUES[index()].enter(cx);
    let (pool, _) = POOL.enter(&mut cx);
    let pool = RefCell::new(pool);
    let taken = genet.receive(
        BUDGET,
        &mut || pool.borrow_mut().take(),
        &mut |mbuf, received| {
            let packet = Packet {
                mbuf,
                start: received.start as u16,
                bytes: received.bytes as u16,
                sum: received.sum,
            };
            if let Some(mbuf) = queue.put(packet) {
                pool.borrow_mut().give_back(mbuf);
            }
        },
    );
    if taken > 0 {
        trace::event(Class::Net, || Event::Receive {
            frames: taken as u32,
        });
    }
    genet.adapt(now_ns());
    taken
}

/// The stack has taken all that there was: is there more? If there is not, the controller may interrupt again.
pub fn look_again<K: Before<NetDevice>>(cx: &mut Cx<K>) -> bool {
    let (mut device, mut cx) = DEVICE.enter(cx);
    let device = &mut *device;
    let Some(genet) = device.genet.as_mut().filter(|_| device.quiet) else {
        return false;
    };
    device.quiet = genet.rearm();
    if device.quiet {
        harvest(genet, &mut cx);
    }
    device.quiet
}

/// Puts the stack's frames on the ring, as many as there is room for. What was sent is taken back when the ring is half
/// full, for asking how much that is costs as much as sending.
pub fn transmit(cx: &mut Cx<NetStack>, port: &mut Port) {
    let (mut device, _) = DEVICE.enter(cx);
    let device = &mut *device;
    let Some(genet) = device.genet.as_mut().filter(|genet| genet.link().is_some()) else {
        device.figures.dropped_no_link += port.sender.outbox.len() as u64;
        let lost = port.sender.outbox.drain(..);
        port.spent.extend(lost.map(|outgoing| outgoing.mbuf));
        return;
    };
    if genet.tx_free() < RING / 2 {
        let spent = &mut port.spent;
        genet.reclaim(&mut |mbuf| spent.push(mbuf));
    }
    let waiting = port.sender.outbox.len();
    while let Some(Outgoing {
        mbuf,
        bytes,
        checksum,
    }) = port.sender.outbox.pop_front()
    {
        if let Err(mbuf) = genet.transmit(mbuf, bytes, checksum) {
            port.sender.outbox.push_front(Outgoing {
                mbuf,
                bytes,
                checksum,
            });
            break;
        }
    }
    let frames = (waiting - port.sender.outbox.len()) as u32;
    if frames > 0 {
        trace::event(Class::Net, || Event::Transmit { frames });
    }
    genet.kick();
    if !port.sender.outbox.is_empty() {
        device.figures.ring_full += 1;
        // What was sent meanwhile makes room at the next turn.
        if genet.want_room() {
            stack::schedule();
        }
    }
}

/// The addresses have changed: so have the groups that the controller is to let through.
pub fn filter_changed() {
    FILTER_CHANGED.store(true, Ordering::Relaxed);
}

/// Has the keeper stop the controller, or start it again.
pub fn set_up<K: Before<NetDevice> + MayWake>(cx: &mut Cx<K>, up: bool) {
    WANTED_UP.store(up, Ordering::Relaxed);
    let (_device, mut cx) = DEVICE.enter(cx);
    WORK.signal(&mut cx);
}

/// Does the user want it up?
pub fn is_wanted_up() -> bool {
    WANTED_UP.load(Ordering::Relaxed)
}

/// The keeper.
pub fn keep(cx: &mut ThreadCx) -> ! {
    let mut link_due_ns = 0;
    loop {
        if is_wanted_up() {
            look_at_health(cx);
        } else {
            stop(cx);
        }
        if now_ns() >= link_due_ns {
            look_at_link(cx);
            link_due_ns = now_ns() + LINK_NS;
        }
        if FILTER_CHANGED.swap(false, Ordering::Relaxed) {
            set_filter(cx);
        }
        let (mut device, mut cx) = DEVICE.enter(cx);
        if WORK.timed_wait(&mut device, &mut cx, now_ns() + LOOK_NS) == Wakeup::Signalled {
            link_due_ns = 0;
        }
    }
}

fn look_at_link(cx: &mut ThreadCx) {
    let polled = {
        let (mut phy, _) = PHY.enter(cx);
        phy.as_mut().map(|phy| phy.poll(&mut ThreadDelay))
    };
    let link = match polled {
        Some(Ok(_)) if !is_wanted_up() => None,
        Some(Ok(link)) => link,
        Some(Err(error)) => {
            debug!(target: "net", "{error}");
            // It may have been reset: it is made ready again.
            *PHY.enter(cx).0 = find_phy().ok();
            return;
        }
        None => {
            *PHY.enter(cx).0 = find_phy().ok();
            return;
        }
    };
    let now_ns = now_ns();
    let as_it_was_for_ns = {
        let (mut device, _) = DEVICE.enter(cx);
        let device = &mut *device;
        let Some(genet) = &mut device.genet else {
            return;
        };
        genet.update_mib();
        if device.link == link {
            return;
        }
        genet.set_link(link, &mut bsp::timer::Spin);
        device.link = link;
        device.figures.link_changes += 1;
        now_ns - core::mem::replace(&mut device.link_changed_ns, now_ns)
    };
    match link {
        Some(link) => {
            info!(target: "net", "link up, {link}");
            stack::with(cx, |stack, cx| {
                (stack.addresses).link_came(&mut stack.sockets, as_it_was_for_ns);
                stack.send_now(cx);
            });
        }
        None => warn!(target: "net", "link down"),
    }
}

fn look_at_health(cx: &mut ThreadCx) {
    let stall = {
        let (mut device, mut cx) = DEVICE.enter(cx);
        let device = &mut *device;
        let Some(genet) = &mut device.genet else {
            return;
        };
        let (mut pool, _) = POOL.enter(&mut cx);
        genet.reclaim(&mut |mbuf| pool.give_back(mbuf));
        match genet.is_running() {
            true => genet.watchdog(now_ns()).map(Some),
            false => Some(None),
        }
    };
    match stall {
        None => {}
        Some(None) => recover(cx), // the last time it did not come up again
        Some(Some(stall)) if stall.needs_recovery() => {
            warn!(target: "net", "{stall:?} stalls; the controller is reset");
            recover(cx);
        }
        Some(Some(_)) => {
            DEVICE.enter(cx).0.quiet = true;
            stack::schedule();
        }
    }
}

/// Takes the controller out of its lock; it does not interrupt from here on.
fn take_out(
    cx: &mut ThreadCx,
    is_to_take: impl FnOnce(&Controller) -> bool,
) -> Option<Box<Controller>> {
    let (mut device, _) = DEVICE.enter(cx);
    let mut genet = device.genet.take_if(|genet| is_to_take(genet))?;
    genet.silence();
    Some(genet)
}

/// Stops the controller, if it runs.
fn stop(cx: &mut ThreadCx) {
    let Some(mut genet) = take_out(cx, |genet| genet.is_running()) else {
        return;
    };
    let stopped = with_buffers(cx, |_, mut give_back| {
        genet.stop(&mut give_back, &mut ThreadDelay)
    });
    if let Err(error) = stopped {
        warn!(target: "net", "{error}");
    }
    install(cx, genet);
}

/// Resets the controller and starts it again.
fn recover(cx: &mut ThreadCx) {
    let Some(mut genet) = take_out(cx, |_| true) else {
        return;
    };
    let recovered = with_buffers(cx, |mut fresh, mut give_back| {
        genet.recover(&mut fresh, &mut give_back, &mut ThreadDelay)
    });
    if let Err(error) = recovered {
        // It stands still; the next look finds it so.
        warn!(target: "net", "{error}");
    }
    install(cx, genet);
    DEVICE.enter(cx).0.figures.restarts += 1;
    stack::schedule();
}

fn set_filter(cx: &mut ThreadCx) {
    let groups = stack::with(cx, |stack, _| stack.groups());
    let (mut device, _) = DEVICE.enter(cx);
    if let (Some(groups), Some(genet)) = (groups, &mut device.genet) {
        genet.set_filter(&groups, false);
    }
}

/// What there is to tell of the PHY; `None` while there is none.
pub fn phy(cx: &mut ThreadCx) -> Option<PhyView> {
    let (phy, _) = PHY.enter(cx);
    phy.as_ref().map(Phy::view)
}

/// What is not known of the chip until somebody looks at a board.
#[derive(Clone, Copy, Debug)]
pub struct Unknowns {
    /// RGMII_OOB_CTRL.
    pub rgmii_oob: u32,
    /// The PHY's two registers with clock delays, if it has them and answers.
    pub delays: Option<[u16; 2]>,
    /// The rings' indices when the DMA was last disabled.
    pub halted: Halted,
}

/// Looks at them; `None` while there is no controller.
pub fn unknowns(cx: &mut ThreadCx) -> Option<Unknowns> {
    let delays = {
        let (phy, _) = PHY.enter(cx);
        phy.as_ref()
            .and_then(|phy| phy.delays(&mut ThreadDelay).ok().flatten())
    };
    let (device, _) = DEVICE.enter(cx);
    device.genet.as_ref().map(|genet| Unknowns {
        rgmii_oob: genet.rgmii_oob(),
        delays,
        halted: genet.halted(),
    })
}

/// Everything that there is to see of the controller.
#[derive(Clone, Debug)]
pub struct View {
    /// The kernel's counts.
    pub figures: Figures,
    /// The driver's.
    pub counters: Counters,
    /// The MAC's.
    pub mib: drivers::genet::Mib,
    /// The link.
    pub link: Option<Link>,
    /// Frames in the transmit ring.
    pub tx_queued: usize,
    /// When received frames interrupt.
    pub coalescing: drivers::genet::Coalescing,
}

/// What there is to see; `None` while there is no controller.
pub fn view<K: Before<NetDevice>>(cx: &mut Cx<K>) -> Option<View> {
    let (mut device, _) = DEVICE.enter(cx);
    let (figures, link) = (device.figures, device.link);
    let genet = device.genet.as_mut()?;
    genet.update_mib();
    Some(View {
        figures,
        counters: *genet.counters(),
        mib: *genet.mib(),
        link,
        tx_queued: genet.tx_queued(),
        coalescing: genet.coalescing(),
    })
}
