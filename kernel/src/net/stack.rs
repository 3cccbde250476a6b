// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP/IP: `smoltcp`'s interface and sockets under one lock, and who turns its crank.
//!
//! # Theory
//! The lock is a thread's (adaptive), not an interrupt's: a turn may take long, and neither the Net interrupt nor any other
//! has to wait for it. Packets come in by the soft interrupt, up to [`BURST`] in a turn; a thread that has
//! written, or made room by reading, turns the sending side itself, as it has the lock already.
//!
//! After each turn those sockets are looked at for which somebody waits. Their condition variables are signalled when the lock has
//! been left: who wakes up with it held only comes to wait for it. One callout has the soft interrupt run when
//! a timer of `smoltcp`'s is due; it is brought forward only, never put off.
//!
//! # Contexts
//! [`with`]: threads. [`soft`]: the soft interrupt of class SoftNet.
//!
//! # Lock order
//! The stack's lock; inside it, one at a time: a packet queue, the pool, the controller. No lock of the Bio domain.
use super::address::Addresses;
use super::device;
use super::port::Port;
use super::socket::listener::Backlogs;
use crate::callout::{self, CalloutId};
use crate::cpu::CPUS;
use crate::lock_order::{NetAbandoned, NetPool, NetQueue, NetStack};
use crate::net::mbuf::Pool;
use crate::net::queue::Queue;
use crate::random;
use crate::softint::{self, Softint};
use crate::thread::{self, Kernel, ThreadCx};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::cpu::index;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU64, Ordering};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::{Socket, tcp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress};
use spin::Once;
use sync::domain::{Before, Cx, Interrupt, MaySleep, MayWake, Sched};
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

/// Packets that come in between two looks at what is to go.
const BURST: usize = 64;
/// Closed connections that see their end through at most; then the oldest is cut.
const LINGERING: usize = 64;
/// How long a connection that is over waits for what of it comes late, as `smoltcp` has it.
const TIME_WAIT: Duration = Duration::from_secs(10);
/// How long it is looked at for what it has to say itself: more than an acknowledgement may be delayed.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a datagram waits for its receiver's station: three questions.
const UNSENT: Duration = Duration::from_secs(3);
/// How soon a timer may come again: what the stack wants at once waits for the controller.
const SOONEST: Duration = Duration::from_millis(1);
/// How late it may come if `smoltcp` does not say.
const LATEST: Duration = Duration::from_secs(1);

/// Turns in a row after which a reader that waits for this CPU is offered another: two thirds of a stream's window.
const PATIENT_TURNS: u32 = 8;

/// Ports for who does not care (RFC 6335).
const EPHEMERAL: core::ops::Range<u16> = 49152..65535;

/// Free packet buffers.
pub static POOL: KMutex<Pool, NetPool> = KMutex::new(Pool::new());
/// Packets between interrupt and soft interrupt, by CPU.
pub static QUEUES: [KMutex<Queue, NetQueue>; CPUS] = [const { KMutex::new(Queue::new()) }; CPUS];
static STACK: KMutex<Option<Box<Stack>>, NetStack> = KMutex::new(None);
/// What was dropped where no lock could be entered.
static ABANDONED: KMutex<heapless::Vec<Abandoned, 64>, NetAbandoned> =
    KMutex::new(heapless::Vec::new());
static SOFT: Once<Softint> = Once::new();
/// When the callout comes. ORDERING: Relaxed: written with the stack's lock held, or by the callout, which then has the
/// soft interrupt look again.
static TIMER_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// What a thread waits for at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Something to read, or the end.
    Read,
    /// Room to write, or the end.
    Write,
    /// That a connection is made, or refused.
    Connect,
}

/// A socket that somebody has.
pub struct Open {
    /// Its number in the set.
    pub handle: SocketHandle,
    wake: Arc<KCondvar<Kernel>>,
    /// What is waited for since the last look.
    wants: heapless::Vec<Want, 4>,
    /// Bytes of datagrams that have not left, and since when.
    unsent: (usize, Instant),
}

/// A connection that no thread has any more.
struct Lingering {
    handle: SocketHandle,
    /// Both ends have closed it, seen then.
    over_since: Option<Instant>,
}

/// Interface, sockets, and who has them.
pub struct Stack {
    /// `smoltcp`'s.
    pub iface: Box<Interface>,
    /// All sockets.
    pub sockets: SocketSet<'static>,
    /// Frames in and out.
    pub port: Port,
    /// Those that threads have.
    pub open: Vec<Open>,
    /// Closed by their threads, not yet by their peers, or just now; oldest first.
    lingering: Vec<Lingering>,
    /// Ports where connections are accepted.
    pub backlogs: Backlogs,
    /// Addresses, and where they come from.
    pub addresses: Addresses,
    /// A name server may have answered: for who has set `asking`.
    pub answered: Arc<KCondvar<Kernel>>,
    /// Somebody waits for an answer.
    pub asking: bool,
    /// A frame was seen: for who listens in.
    pub tap_came: Arc<KCondvar<Kernel>>,
    /// Where ports come from for sockets that do not care: who does not see them must not guess them (RFC 6056).
    ports: ChaCha20Rng,
    /// To be woken when the lock has been left.
    woken: Vec<Arc<KCondvar<Kernel>>>,
    /// Among them is one that reads.
    reader_woken: bool,
    /// What comes at `TIMER_NS`, or came last.
    timer: Option<CalloutId>,
    /// When a packet came or went, or a thread did something.
    moved: Instant,
    /// Turns of the crank.
    pub turns: u64,
    /// Times that datagrams were given up whose receiver's station does not answer.
    pub datagrams_given_up: u64,
}

/// The time, for `smoltcp`.
pub fn instant() -> Instant {
    Instant::from_micros((now_ns() / 1000) as i64)
}

/// Makes the stack of station `mac`. Once.
///
/// # Errors
/// There is no soft interrupt left.
pub fn start(cx: &mut ThreadCx, mac: [u8; 6]) -> Result<(), softint::SoftintError> {
    let soft = softint::establish(cx, sync::ipl::Ipl::SoftNet, soft, 0)?;
    SOFT.call_once(|| soft);
    let mac = EthernetAddress(mac);
    let mut port = Port::new(mac);
    let iface = interface(&mut port, random::number(cx));
    let ports = random::generator(cx);
    let mut sockets = SocketSet::new(Vec::new());
    let addresses = Addresses::new(&mut sockets);
    let stack = Box::new(Stack {
        iface,
        sockets,
        port,
        open: Vec::new(),
        lingering: Vec::new(),
        backlogs: Backlogs::new(),
        addresses,
        answered: Arc::new(KCondvar::new()),
        asking: false,
        tap_came: Arc::new(KCondvar::new()),
        ports,
        woken: Vec::new(),
        reader_woken: false,
        timer: None,
        moved: Instant::ZERO,
        turns: 0,
        datagrams_given_up: 0,
    });
    *STACK.enter(cx).0 = Some(stack);
    Ok(())
}

/// On a stack frame of its own: it is large before it is in its box.
#[inline(never)]
fn interface(port: &mut Port, seed: u64) -> Box<Interface> {
    let mut config = Config::new(port.sender.mac.into());
    config.random_seed = seed;
    config.slaac = true;
    Box::new(Interface::new(config, port, instant()))
}

/// Has the soft interrupt run on this CPU. Any context.
pub fn schedule() {
    if let Some(soft) = SOFT.get() {
        softint::schedule(soft);
    }
}

/// What a thread forgot to give up.
#[derive(Clone, Copy, Debug)]
pub enum Abandoned {
    /// A socket.
    Socket(SocketHandle),
    /// A port where it accepted connections.
    Port(u16),
}

/// Gives it up from where the stack's lock cannot be entered. Any context.
pub fn abandon(what: Abandoned) {
    let _lost_if_so_many = ABANDONED.enter_leaf().push(what);
    schedule();
}

/// Lets a thread at the stack, if there is one; what it changed is sent on, and who waits for it is woken.
pub fn with<K: Before<NetStack> + MaySleep + MayWake, R>(
    cx: &mut Cx<K>,
    act: impl FnOnce(&mut Stack, &mut Cx<NetStack>) -> R,
) -> Option<R> {
    let (result, woken) = {
        let (mut guard, mut cx) = STACK.enter(cx);
        let stack = guard.as_mut()?;
        let result = act(stack, &mut cx);
        (result, core::mem::take(&mut stack.woken))
    };
    wake(cx, &woken);
    Some(result)
}

fn wake<K: MayWake>(cx: &mut Cx<K>, woken: &[Arc<KCondvar<Kernel>>]) {
    for waiter in woken {
        waiter.broadcast(cx);
    }
}

/// Waits until `act` has a result, and gives it; looks again whenever `condition` was signalled.
///
/// # Errors
/// [`Ended`]: `deadline_ns` passed, the thread was cancelled, or there is no stack.
pub fn wait<K: Before<NetStack> + MaySleep + MayWake, R>(
    cx: &mut Cx<K>,
    condition: &Arc<KCondvar<Kernel>>,
    deadline_ns: Option<u64>,
    mut act: impl FnMut(&mut Stack, &mut Cx<NetStack>) -> Option<R>,
) -> Result<R, Ended> {
    use sync::kcondvar::Wakeup;
    let mut ended = None;
    loop {
        let (mut guard, mut inner) = STACK.enter(cx);
        let Some(stack) = guard.as_mut() else {
            return Err(Ended::Down);
        };
        if let Some(result) = act(stack, &mut inner) {
            let woken = core::mem::take(&mut stack.woken);
            drop(guard);
            wake(cx, &woken);
            return Ok(result);
        }
        if let Some(ended) = ended {
            return Err(ended);
        }
        let woken = core::mem::take(&mut stack.woken);
        wake(&mut inner, &woken);
        let wakeup = match deadline_ns {
            Some(at) => condition.timed_wait_sig(&mut guard, &mut inner, at),
            None => condition.wait_sig(&mut guard, &mut inner),
        };
        // Whatever ended it, what came meanwhile counts.
        ended = match wakeup {
            Wakeup::Signalled => None,
            Wakeup::TimedOut => Some(Ended::TimedOut),
            Wakeup::Cancelled => Some(Ended::Cancelled),
        };
    }
}

/// Why a wait ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time passed.
    TimedOut,
    /// The thread was cancelled.
    Cancelled,
    /// There is no stack.
    Down,
}

/// The soft interrupt.
fn soft(cx: &mut ThreadCx, _: usize) {
    // Turns for which a reader has waited that was woken.
    let mut waited = 0;
    loop {
        let reader_woken = with(cx, |stack, cx| {
            stack.turn(cx);
            core::mem::take(&mut stack.reader_woken)
        });
        // The controller is quiet until it is told that all was taken.
        if !device::look_again(cx) {
            return;
        }
        // Whom this woke waits for this CPU. A stream's reader does as long as a window lasts, for elsewhere the two would
        // only wait for each other at the lock; but a flood has no end.
        if waited > 0 || reader_woken == Some(true) {
            waited += 1;
        }
        if waited == 0 || waited >= PATIENT_TURNS {
            thread::offer();
        }
    }
}

fn due(_: &mut Cx<Interrupt<Sched>>, _: usize) {
    TIMER_NS.store(u64::MAX, Ordering::Relaxed);
    schedule();
}

impl Stack {
    /// Takes in what this CPU's queue has, and sends what there is.
    fn turn(&mut self, cx: &mut Cx<NetStack>) {
        self.turns += 1;
        let now = instant();
        QUEUES[index()].enter(cx).0.drain_into(&mut self.port.inbox);
        self.iface.poll_maintenance(now);
        loop {
            self.refill(cx);
            let mut taken = 0;
            while taken < BURST {
                let polled = self
                    .iface
                    .poll_ingress_single(now, &mut self.port, &mut self.sockets);
                if polled == PollIngressSingleResult::None {
                    let Some(called) = self.port.resting.called() else {
                        break;
                    };
                    let handle = self.sockets.add(called);
                    self.linger(handle);
                    continue;
                }
                taken += 1;
                if core::mem::take(&mut self.port.asked_to_connect) {
                    self.backlogs.replenish(&mut self.sockets);
                }
            }
            self.send(cx);
            if taken == 0 {
                break;
            }
            self.moved = now;
        }
        self.look_after(cx);
    }

    /// Sends what sockets have, and takes note of who can go on. For a thread that changed something.
    pub fn send_now(&mut self, cx: &mut Cx<NetStack>) {
        self.moved = instant();
        self.refill(cx);
        self.send(cx);
        self.look_after(cx);
    }

    fn send(&mut self, cx: &mut Cx<NetStack>) {
        let now = instant();
        loop {
            // A poll makes a frame of each socket at most; the controller is told of all at once.
            let polled = loop {
                let polled = self
                    .iface
                    .poll_egress(now, &mut self.port, &mut self.sockets);
                if polled == PollResult::None || !self.port.sender.has_room() {
                    break polled;
                }
            };
            let queued = self.port.sender.outbox.len();
            if queued > 0 {
                self.moved = now;
                device::transmit(cx, &mut self.port);
                self.refill(cx);
            }
            // Nothing left, or nothing goes.
            if polled == PollResult::None || self.port.sender.outbox.len() == queued && queued > 0 {
                break;
            }
        }
    }

    /// Changes used buffers for fresh ones.
    fn refill(&mut self, cx: &mut Cx<NetStack>) {
        let mut wanting = self.port.wanting();
        while wanting > 0
            && let Some(mbuf) = self.port.spent.pop()
        {
            self.port.sender.fresh.push(mbuf);
            wanting -= 1;
        }
        if wanting == 0 && self.port.spent.is_empty() {
            return;
        }
        let (mut pool, _) = POOL.enter(cx);
        for mbuf in self.port.spent.drain(..) {
            pool.give_back(mbuf);
        }
        self.port
            .sender
            .fresh
            .extend((0..wanting).map_while(|_| pool.take()));
    }

    /// Ends what is over, sees to addresses and backlogs, marks who is to wake, and sets the timer.
    fn look_after(&mut self, cx: &mut Cx<NetStack>) {
        let (iface, sockets) = (&mut self.iface, &mut self.sockets);
        if self.addresses.look(iface, sockets, instant()) {
            self.port.sender.own.clear();
            let own = self.iface.ip_addrs().iter().map(|cidr| cidr.address());
            self.port.sender.own.extend(own.take(8));
            device::filter_changed();
        }
        let abandoned = core::mem::take(&mut *ABANDONED.enter_leaf());
        for what in abandoned {
            match what {
                Abandoned::Socket(handle) => {
                    if let Some(socket) = self.connection(handle) {
                        socket.abort();
                    }
                    self.leave(handle);
                }
                Abandoned::Port(port) => self.backlogs.close(port, &mut self.sockets),
            }
        }
        let now = instant();
        self.see_ends(now);
        // With room for frames, only a question for a station keeps a datagram back.
        let has_room = self.port.sender.has_room() && self.port.sender.outbox.is_empty();
        for open in &mut self.open {
            if has_room && give_up_unsent(&mut self.sockets, open, now) {
                self.datagrams_given_up += 1;
            }
            if !open.wants.is_empty() && is_ready(&self.sockets, open.handle, &open.wants) {
                self.reader_woken |= open.wants.contains(&Want::Read);
                open.wants.clear();
                self.woken.push(open.wake.clone());
            }
        }
        self.backlogs.replenish(&mut self.sockets);
        self.backlogs.look(&mut self.woken);
        if core::mem::take(&mut self.asking) {
            self.woken.push(self.answered.clone());
        }
        if let Some(tap) = &self.port.sender.tap
            && tap.is_ready()
        {
            self.woken.push(self.tap_came.clone());
        }
        self.set_timer(cx);
    }

    /// Forgets connections that are over; those that only wait for what comes late do that where nobody looks at them.
    fn see_ends(&mut self, now: Instant) {
        let (sockets, resting) = (&mut self.sockets, &mut self.port.resting);
        resting.expire(now);
        self.lingering.retain_mut(|lingering| {
            let socket = sockets.get::<tcp::Socket>(lingering.handle);
            // One that was cut still has its peer to tell.
            if socket.state() == tcp::State::Closed && socket.remote_endpoint().is_none() {
                sockets.remove(lingering.handle);
                return false;
            }
            if socket.state() != tcp::State::TimeWait {
                return true;
            }
            let since = *lingering.over_since.get_or_insert(now);
            // Its last acknowledgement has been sent by then.
            let may_rest = now >= since + LAST_WORDS;
            if may_rest && let Socket::Tcp(socket) = sockets.remove(lingering.handle) {
                resting.put(socket, since + TIME_WAIT, LINGERING);
            }
            !may_rest
        });
    }

    /// `smoltcp` 0.14 does not say when a socket's timer is due if it was never answered by an IPv6 router (it says for ever that
    /// it is time to ask, and does not), and says nothing if the router has nothing to offer. So it is asked again
    /// and again: the longer all has been quiet, the less often, and a timer comes late by a quarter of its time at most.
    fn set_timer(&mut self, cx: &mut Cx<NetStack>) {
        let now = instant();
        let at = match self.iface.poll_at(now, &self.sockets) {
            Some(at) if at > now => at,
            Some(_) => now + ((now - self.moved) / 4).min(LATEST),
            None => now + LATEST,
        };
        let at = self.port.resting.next().map_or(at, |next| next.min(at));
        let at_ns = at.max(now + SOONEST).total_micros() as u64 * 1000;
        if at_ns < TIMER_NS.load(Ordering::Relaxed) {
            TIMER_NS.store(at_ns, Ordering::Relaxed);
            if let Some(later) = self.timer.take() {
                callout::cancel(cx, later);
            }
            self.timer = Some(callout::schedule(cx, at_ns, due, 0));
        }
    }

    /// Puts a socket into the set, for a thread.
    pub fn add(
        &mut self,
        socket: impl smoltcp::socket::AnySocket<'static>,
    ) -> (SocketHandle, Arc<KCondvar<Kernel>>) {
        let handle = self.sockets.add(socket);
        (handle, self.adopt(handle))
    }

    /// A thread has that socket from now on.
    pub fn adopt(&mut self, handle: SocketHandle) -> Arc<KCondvar<Kernel>> {
        let wake = Arc::new(KCondvar::new());
        self.open.push(Open {
            handle,
            wake: wake.clone(),
            wants: heapless::Vec::new(),
            unsent: (0, Instant::ZERO),
        });
        wake
    }

    /// A thread waits for this.
    pub fn want(&mut self, handle: SocketHandle, want: Want) {
        let open = self.open.iter_mut().find(|open| open.handle == handle);
        if let Some(open) = open
            && !open.wants.contains(&want)
        {
            let _four_kinds_at_most = open.wants.push(want);
        }
    }

    /// The stations' groups that the interface listens to: those of its IPv6 addresses, all nodes, all systems.
    pub fn groups(&self) -> heapless::Vec<[u8; 6], 16> {
        let mut groups = heapless::Vec::new();
        let _room = groups.push([0x33, 0x33, 0, 0, 0, 1]);
        let _room = groups.push([1, 0, 0x5e, 0, 0, 1]);
        for cidr in self.iface.ip_addrs() {
            if let IpAddress::Ipv6(address) = cidr.address() {
                // RFC 4291, 2.7.1, and RFC 2464, 7.
                let [.., a, b, c] = address.octets();
                let group = [0x33, 0x33, 0xff, a, b, c];
                if !groups.contains(&group) {
                    let _room = groups.push(group);
                }
            }
        }
        groups
    }

    /// A port that no socket has.
    pub fn ephemeral_port(&mut self) -> u16 {
        loop {
            let place = self.ports.next_u32() % EPHEMERAL.len() as u32;
            let port = EPHEMERAL.start + place as u16;
            if !self.has_tcp_port(port) && !self.has_udp_port(port) {
                return port;
            }
        }
    }

    fn has_tcp_port(&self, port: u16) -> bool {
        let connections = self.sockets.iter().filter_map(|(_, socket)| match socket {
            Socket::Tcp(socket) => Some(socket),
            _ => None,
        });
        connections
            .chain(self.port.resting.sockets())
            .filter_map(tcp::Socket::local_endpoint)
            .any(|local| local.port == port)
    }

    /// True if a socket gets that port's datagrams.
    pub fn has_udp_port(&self, port: u16) -> bool {
        self.sockets.iter().any(|(_, socket)| match socket {
            Socket::Udp(socket) => socket.endpoint().port == port,
            _ => false,
        })
    }

    /// The socket, if it is a connection.
    fn connection(&mut self, handle: SocketHandle) -> Option<&mut tcp::Socket<'static>> {
        self.sockets
            .iter_mut()
            .find_map(|(one, socket)| match socket {
                Socket::Tcp(socket) if one == handle => Some(socket),
                _ => None,
            })
    }

    /// The thread gives the socket up; a connection sees its end through.
    pub fn leave(&mut self, handle: SocketHandle) {
        self.open.retain(|open| open.handle != handle);
        if self.connection(handle).is_none() {
            self.sockets.remove(handle);
            return;
        }
        self.linger(handle);
    }

    fn linger(&mut self, handle: SocketHandle) {
        self.lingering.push(Lingering {
            handle,
            over_since: None,
        });
        if self.lingering.len() > LINGERING {
            let oldest = self.lingering.remove(0);
            self.sockets.remove(oldest.handle);
        }
    }
}

/// A datagram to a station that does not answer stands before all others of its socket: after [`UNSENT`] they are given up,
/// and with them, for `smoltcp` clears both at once, what has not been read.
fn give_up_unsent(sockets: &mut SocketSet, open: &mut Open, now: Instant) -> bool {
    let found = sockets.iter_mut().find(|(one, _)| *one == open.handle);
    let Some((_, Socket::Udp(socket))) = found else {
        return false;
    };
    let bytes = socket.send_queue();
    if bytes == 0 || bytes < open.unsent.0 || open.unsent.0 == 0 {
        open.unsent = (bytes, now);
        return false;
    }
    if now < open.unsent.1 + UNSENT {
        return false;
    }
    open.unsent = (0, now);
    let endpoint = socket.endpoint();
    socket.close();
    let _it_was_bound_to_it = socket.bind(endpoint);
    true
}

/// Can who waits for one of these go on?
fn is_ready(sockets: &SocketSet, handle: SocketHandle, wants: &[Want]) -> bool {
    let found = sockets.iter().find(|(one, _)| *one == handle);
    let Some((_, socket)) = found else {
        return true;
    };
    wants.iter().any(|want| match (socket, want) {
        (Socket::Tcp(socket), Want::Read) => socket.can_recv() || !socket.may_recv(),
        // Not at each acknowledgement: a writer that wakes up for a segment's room writes a segment.
        (Socket::Tcp(socket), Want::Write) => {
            let room = socket.send_capacity() - socket.send_queue();
            room >= socket.send_capacity() / 2 || !socket.may_send()
        }
        (Socket::Tcp(socket), Want::Connect) => !matches!(
            socket.state(),
            tcp::State::SynSent | tcp::State::SynReceived
        ),
        (Socket::Udp(socket), Want::Read) => socket.can_recv(),
        // As above; the ring has enough meanwhile.
        (Socket::Udp(socket), _) => socket.send_queue() == 0,
        (Socket::Icmp(socket), Want::Read) => socket.can_recv(),
        (Socket::Icmp(socket), _) => socket.can_send(),
        _ => true,
    })
}
