//! The other side of many BFD sessions: the machines of the product on a thread of the bench's own, which goes before whoever keeps the
//! CPUs busy.
//!
//! What is measured of their other sides is read from a capture or from what is said here; nothing of it depends on when this thread
//! was let run, except that it must send in time.

use super::place::{Family, peer};
use crate::net::{NODE_IP, Namespace};
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use speaker_proto::bfd::{Input, Output, Packet, Session, Settings, State};
use speaker_proto::{Machine, Span, Time};
use std::net::UdpSocket;
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Something that happened to a session, by the number of its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Up(usize),
    Down(usize, Instant),
    /// It says nothing any more; when it last did.
    Muted(usize, Instant),
}

/// The running thread; it ends when this is dropped.
pub(super) struct Watch {
    orders: Option<Sender<usize>>,
    pub(super) events: Receiver<Event>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watch {
    /// Starts so many sessions, of the first peers.
    pub(super) fn start(namespace: &Namespace, sessions: usize) -> Result<Self> {
        let (orders, taken) = mpsc::channel();
        let (told, events) = mpsc::channel();
        let door = namespace.door()?;
        let thread = std::thread::spawn(move || {
            door.enter()?;
            // Of this thread alone, as Linux has it.
            rustix::process::setpriority_process(None, -20)
                .context("failed to go before other threads")?;
            let base = Instant::now();
            let ends = (0..sessions).map(|number| End::open(number, now(base)));
            let ends = ends.collect::<Result<Vec<_>>>()?;
            run(ends, base, &taken, &told)
        });
        Ok(Self {
            orders: Some(orders),
            events,
            thread: Some(thread),
        })
    }

    /// Waits for so many events of a kind.
    pub(super) fn await_events(
        &self,
        count: usize,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<Vec<Event>> {
        let (start, mut seen) = (Instant::now(), Vec::new());
        while seen.len() < count {
            let left = EVENTS_MAX.saturating_sub(start.elapsed());
            let event = self.events.recv_timeout(left);
            let event = event.with_context(|| {
                format!(
                    "{} of {count} BFD sessions did what they should",
                    seen.len()
                )
            })?;
            seen.extend(Some(event).filter(&is_it));
        }
        Ok(seen)
    }

    /// Has a session say nothing any more, as if its system had died.
    pub(super) fn mute(&self, number: usize) -> Result<()> {
        let orders = self.orders.as_ref().context("it is not stopped")?;
        orders.send(number).context("the thread has ended")
    }

    /// Ends it, with what went wrong in it.
    pub(super) fn stop(mut self) -> Result<()> {
        drop(self.orders.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => bail!("a thread of the bench panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One session and its sockets: RFC 5881 §4 wants a source port from another range than that which is listened at.
struct End {
    session: Session,
    ear: UdpSocket,
    mouth: UdpSocket,
    said: Instant,
    is_muted: bool,
}

impl End {
    fn open(number: usize, now: Time) -> Result<Self> {
        let address = peer(number, Family::V4);
        let ear = UdpSocket::bind((address, PORT))
            .with_context(|| format!("failed to listen at {address}"))?;
        ear.set_nonblocking(true)?;
        let mouth = UdpSocket::bind((address, SOURCE_PORT))?;
        mouth.set_ttl(255)?;
        mouth.connect((NODE_IP, PORT))?;
        let mine = NonZeroU32::MIN.saturating_add(number as u32);
        let session = Session::new(now, mine, settings(), number as u64 * 7919);
        Ok(Self {
            session,
            ear,
            mouth,
            said: Instant::now(),
            is_muted: false,
        })
    }

    fn hear(&mut self, now: Time) {
        let mut datagram = [0; 64];
        while let Ok(count) = self.ear.recv(&mut datagram) {
            if let Ok(packet) = Packet::decode(&datagram[..count]) {
                self.session.input(now, Input::Packet(packet));
            }
        }
    }

    fn act(&mut self, number: usize, told: &Sender<Event>) {
        while let Some(output) = self.session.output() {
            match output {
                Output::Send(_) if self.is_muted => (),
                Output::Send(packet) => {
                    self.said = Instant::now();
                    // What the network does not take is as good as lost on it.
                    let _ = self.mouth.send(&packet.encode());
                }
                Output::Changed(change) => {
                    let event = match change.state {
                        State::Up => Event::Up(number),
                        State::AdminDown | State::Down | State::Init => {
                            Event::Down(number, Instant::now())
                        }
                    };
                    let _ = told.send(event);
                }
                Output::Stretched(_) | Output::Left => (),
            }
        }
    }
}

/// Until there is nobody who could give an order.
fn run(
    mut ends: Vec<End>,
    base: Instant,
    orders: &Receiver<usize>,
    told: &Sender<Event>,
) -> Result<()> {
    loop {
        wait(&ends, now(base))?;
        loop {
            match orders.try_recv() {
                Ok(number) => {
                    let end = ends.get_mut(number).context("no such session")?;
                    end.is_muted = true;
                    let _ = told.send(Event::Muted(number, end.said));
                }
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
        // All that came before any timer: what was read late was not sent late.
        let now = now(base);
        for end in &mut ends {
            end.hear(now);
        }
        for (number, end) in ends.iter_mut().enumerate() {
            end.session.expire(now);
            end.act(number, told);
        }
    }
}

/// Until a packet comes, a timer is due, or an order may have been given.
fn wait(ends: &[End], now: Time) -> Result<()> {
    let deadlines = ends.iter().filter_map(|end| end.session.deadline());
    let next = deadlines.map(|(at, _)| at.since(now)).min();
    let next = next.map_or(ORDERS_EVERY, Duration::from).min(ORDERS_EVERY);
    let mut sockets: Vec<_> = ends
        .iter()
        .map(|end| PollFd::new(&end.ear, PollFlags::IN))
        .collect();
    let next = Timespec::try_from(next).context("a short time")?;
    poll(&mut sockets, Some(&next)).context("failed to wait for packets")?;
    Ok(())
}

fn now(base: Instant) -> Time {
    // A session must not begin at zero: nothing was before that.
    Time::ms(1_000) + Span::from_ns(base.elapsed().as_nanos() as u64)
}

/// 3 × 50 ms.
fn settings() -> Settings {
    Settings {
        transmit: INTERVAL,
        receive: INTERVAL,
        multiplier: NonZeroU8::MIN.saturating_add(2),
        ..Settings::default()
    }
}

/// How long either side may be silent.
pub(super) const DETECTION: Duration = Duration::from_millis(150);
const INTERVAL: Span = Span::ms(50);
/// BFD over one hop.
pub(super) const PORT: u16 = 3784;
const SOURCE_PORT: u16 = 49_152;
const ORDERS_EVERY: Duration = Duration::from_millis(2);
/// Many times what any of them takes: one that was down before is not waited for in vain for long.
const EVENTS_MAX: Duration = Duration::from_secs(20);
