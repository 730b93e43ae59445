//! The task of one session: it owns the machine, the connection and the clock between them.
//!
//! It waits for whatever comes first, hands it to the machine, and does what the machine wants until it wants no more.

use super::line::{Happened, Line, Lines};
use super::sessions::Done;
use super::sight::Told;
use super::target::{Change, Target};
use crate::drive::chance;
use crate::drive::clock::now;
use crate::edge::bgp::{Dial, DialError, Strangers, change_key, next_hops};
use speaker_core::plan::PeerName;
use speaker_proto::Machine;
use speaker_proto::bgp::session::{
    Input, NextHops, Output, Reset, Session, Side, Start, Status, Stop,
};
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a session is told beside its target.
#[derive(Debug)]
pub(super) enum Order {
    /// End it for good; the task ends with it.
    Stop(Stop),
    /// Have none, and tell the peer this.
    Pause(String, Done),
    /// Have one again.
    Resume(Done),
    /// The peer dialled this.
    Accepted(TcpStream),
    /// BFD has the peer up.
    BfdUp,
    /// BFD lost the peer.
    BfdDown {
        /// The peer's discriminator is another one than before.
        is_peer_anew: bool,
        /// The detection time.
        detection: speaker_proto::Span,
    },
}

/// What the task of a session is given.
pub(super) struct Ends {
    /// The name of its peer.
    pub(super) name: PeerName,
    /// The newest target.
    pub(super) target: watch::Receiver<Target>,
    /// Orders.
    pub(super) orders: mpsc::Receiver<Order>,
    /// It begins paused, and why.
    pub(super) paused: Option<String>,
    /// Who is told of changes; what does not fit is lost, as the status is still seen.
    pub(super) told: mpsc::Sender<Told>,
    /// Whether another process of the node had the peer when it was last to be dialled.
    pub(super) is_taken: Arc<AtomicBool>,
    /// Where other processes' connections are asked for.
    pub(super) strangers: Strangers,
}

/// Which process this is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    /// It follows one that announced the same.
    pub(super) is_restarting: bool,
    /// What that one left in the kernel was adopted.
    pub(super) kept_forwarding: bool,
}

type Dialling = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send>>;

/// A session's task.
pub(super) struct Task {
    machine: Session,
    ends: Ends,
    status: watch::Sender<Status>,
    /// A dial under way, and how.
    dialling: Option<(Dialling, Dial)>,
    /// The last dial was none, for want of something.
    is_lacking: bool,
    lines: Lines,
    /// What the peer dialled while an earlier one that it dialled is there.
    newcomer: Option<Line>,
    /// Connections that are saying their last words.
    closing: JoinSet<()>,
    has_stopped: bool,
}

/// What the task waited for.
enum Woken {
    Due,
    Target,
    Order(Option<Order>),
    Dialled(Result<TcpStream, DialError>),
    Line(Side, Happened),
}

impl Task {
    /// The task, and where its status is seen.
    pub(super) fn new(mut ends: Ends, birth: Birth) -> (Self, watch::Receiver<Status>) {
        let machine = machine(&ends.target.borrow_and_update(), birth);
        let (status, seen) = watch::channel(machine.status());
        let task = Self {
            machine,
            ends,
            status,
            dialling: None,
            is_lacking: false,
            lines: Lines::default(),
            newcomer: None,
            closing: JoinSet::new(),
            has_stopped: false,
        };
        (task, seen)
    }

    /// Runs until the session has stopped for good and its last words are said.
    pub(super) async fn run(mut self) {
        let paused = self.ends.paused.take();
        self.feed(paused.map_or(Input::Start, Input::Pause));
        self.tell_routes();
        self.flush();
        while !self.has_stopped {
            match self.wait().await {
                Woken::Due => self.expire(),
                Woken::Target => self.aim(),
                Woken::Order(order) => self.obey(order),
                Woken::Dialled(result) => self.dialled(result),
                Woken::Line(side, happened) => self.happened(side, happened),
            }
            self.flush();
            drop(self.closing.try_join_next());
        }
        while self.closing.join_next().await.is_some() {}
    }

    async fn wait(&mut self) -> Woken {
        let due = self.machine.deadline();
        let due = due.map(|(at, _)| Duration::from(at.since(now())));
        let dialling = async {
            match &mut self.dialling {
                Some((dialling, _)) => dialling.await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => Woken::Due,
            Ok(()) = self.ends.target.changed() => Woken::Target,
            order = self.ends.orders.recv() => Woken::Order(order),
            result = dialling => Woken::Dialled(result),
            (side, happened) = self.lines.next() => Woken::Line(side, happened),
        }
    }

    /// Lets time pass, after what has come meanwhile: a speaker that did not run for a while must not take its peer for dead.
    fn expire(&mut self) {
        for side in [Side::Dialled, Side::Accepted] {
            if let Some(happened) = self.lines.get(side).and_then(Line::read) {
                self.happened(side, happened);
                // What came on one may be the end of the other.
                self.flush();
            }
        }
        self.machine.expire(now());
    }

    fn feed(&mut self, input: Input) {
        self.machine.input(now(), input);
    }

    /// Does what the machine wants until it wants no more.
    fn flush(&mut self) {
        while let Some(output) = self.machine.output() {
            match output {
                Output::Connect => self.dial(),
                Output::Send(side, bytes) => {
                    if let Some(line) = self.lines.slot(side) {
                        line.give(bytes);
                    }
                }
                Output::Close(side) => self.close(side),
                Output::Refuse(bytes) => self.refuse(bytes),
                Output::Changed(status) => {
                    let told = Told::Changed(self.ends.name.clone(), status);
                    let _who_is_late_sees_the_status = self.ends.told.try_send(told);
                }
                Output::Stopped => self.has_stopped = true,
            }
        }
        self.status.send_replace(self.machine.status());
    }

    fn dial(&mut self) {
        let dial = self.ends.target.borrow().dial.clone();
        self.is_lacking = dial.is_err();
        match dial {
            Ok(dial) => {
                let (how, strangers) = (dial.clone(), self.ends.strangers.clone());
                let dialling = Box::pin(async move { dial.connect(&strangers).await });
                self.dialling = Some((dialling, how));
            }
            Err(why) => self.feed(Input::ConnectFailed(why)),
        }
    }

    fn dialled(&mut self, result: Result<TcpStream, DialError>) {
        let Some((_, dial)) = self.dialling.take() else {
            return;
        };
        let is_taken = matches!(result, Err(DialError::Taken));
        self.ends.is_taken.store(is_taken, Ordering::Relaxed);
        let connected = result.map_err(|error| error.to_string());
        match connected.and_then(|stream| Ok((names(&stream)?, stream))) {
            Ok((next_hops, stream)) => {
                *self.lines.slot(Side::Dialled) = Some(Line::new(stream, dial));
                self.feed(Input::Connected {
                    side: Side::Dialled,
                    next_hops,
                });
            }
            Err(why) => self.feed(Input::ConnectFailed(why)),
        }
    }

    /// The peer dialled. What is not as its session wants it is closed without a word.
    fn accepted(&mut self, stream: TcpStream) {
        let Ok(dial) = self.ends.target.borrow().dial.clone() else {
            return;
        };
        let fit = dial.adopt(&stream).map_err(|error| error.to_string());
        let next_hops = match fit.and_then(|()| names(&stream)) {
            Ok(next_hops) => next_hops,
            Err(error) => {
                tracing::debug!(peer = %self.ends.name, error, "failed to take a connection that the peer dialled");
                return;
            }
        };
        let line = Some(Line::new(stream, dial));
        match self.lines.slot(Side::Accepted) {
            Some(_) => self.newcomer = line,
            free @ None => *free = line,
        }
        self.feed(Input::Connected {
            side: Side::Accepted,
            next_hops,
        });
    }

    /// Turns away what was accepted last.
    fn refuse(&mut self, last_words: Vec<u8>) {
        let last = self.newcomer.take();
        if let Some(mut line) = last.or_else(|| self.lines.slot(Side::Accepted).take()) {
            line.give(last_words);
            self.closing.spawn(line.close());
        }
    }

    fn close(&mut self, side: Side) {
        let after = match side {
            Side::Dialled => {
                self.dialling = None;
                None
            }
            Side::Accepted => self.newcomer.take(),
        };
        if let Some(line) = std::mem::replace(self.lines.slot(side), after) {
            self.closing.spawn(line.close());
        }
    }

    fn happened(&mut self, side: Side, happened: Happened) {
        let input = match happened {
            Happened::Read(bytes) => Input::Received(side, bytes),
            Happened::Wrote(length) => Input::Written(side, length),
            Happened::Ended(why) => {
                *self.lines.slot(side) = None;
                Input::Closed(side, why)
            }
        };
        self.feed(input);
    }

    /// Takes the newest target.
    fn aim(&mut self) {
        let target = self.ends.target.borrow_and_update().clone();
        self.feed(Input::Settings(Box::new(target.settings)));
        self.flush();
        // What was there and is not any more is no reason to end what stands.
        if let Ok(after) = &target.dial {
            self.redial(after);
        }
        self.flush();
        self.tell_routes();
    }

    /// The peer is to be dialled so from now on: what stands is changed, or begun anew where it cannot be.
    fn redial(&mut self, after: &Dial) {
        let dialling = self.dialling.as_ref().map(|(_, dial)| dial);
        let lines = [Side::Dialled, Side::Accepted].map(|side| self.lines.get(side));
        let stands = lines.into_iter().flatten().map(Line::dial);
        let changes: Vec<Change> = stands.map(|before| Change::of(before, after)).collect();
        // A dial under way keeps the key that it has.
        let is_late = dialling.is_some_and(|before| Change::of(before, after) != Change::None);
        // What was waited for is there: no reason to wait on.
        let is_found = self.is_lacking && dialling.is_none() && changes.is_empty();
        let mut is_anew = is_late || is_found || changes.contains(&Change::Connection);
        if !is_anew
            && changes.contains(&Change::Key)
            && let Err(error) = self.change_key(after)
        {
            tracing::warn!(peer = %self.ends.name, %error, "failed to change the password of a session; it begins anew");
            is_anew = true;
        }
        if is_anew {
            self.feed(Input::Reset(Reset::Transport));
        }
    }

    fn change_key(&mut self, after: &Dial) -> io::Result<()> {
        for side in [Side::Dialled, Side::Accepted] {
            if let (Some(line), Some(key)) = (self.lines.slot(side), &after.key) {
                change_key(line.stream(), after.to, key)?;
                line.became(after.clone());
            }
        }
        Ok(())
    }

    fn tell_routes(&mut self) {
        let (routes, is_complete) = {
            let target = self.ends.target.borrow();
            (target.routes.clone(), target.is_complete)
        };
        self.feed(Input::Routes {
            routes,
            is_complete,
        });
    }

    fn obey(&mut self, order: Option<Order>) {
        let (input, done) = match order {
            Some(Order::Stop(stop)) => (Input::Stop(stop), None),
            Some(Order::Pause(text, done)) => (Input::Pause(text), Some(done)),
            Some(Order::Resume(done)) => (Input::Resume, Some(done)),
            Some(Order::Accepted(stream)) => return self.accepted(stream),
            Some(Order::BfdUp) => (Input::BfdUp, None),
            Some(Order::BfdDown {
                is_peer_anew,
                detection,
            }) => {
                let down = Input::BfdDown {
                    is_peer_anew,
                    detection,
                };
                (down, None)
            }
            // Whoever gives orders is gone, and with it the process.
            None => (Input::Stop(Stop::Restart), None),
        };
        self.feed(input);
        self.flush();
        if let Some(done) = done {
            let _nobody_may_wait_any_more = done.send(Ok(()));
        }
    }
}

/// What routes are to name on a connection.
fn names(stream: &TcpStream) -> Result<NextHops, String> {
    let own = stream.local_addr().map_err(|error| error.to_string())?;
    next_hops(own).map_err(|error| format!("{error:#}"))
}

fn machine(target: &Target, birth: Birth) -> Session {
    Session::new(Start {
        settings: target.settings.clone(),
        is_restarting: birth.is_restarting,
        kept_forwarding: birth.kept_forwarding,
        seed: u64::from_le_bytes(chance::bytes()),
        now: now(),
    })
}
