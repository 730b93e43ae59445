//! The task of one session: it owns the machine, the connection and the clock between them.
//!
//! It waits for whatever comes first, hands it to the machine, and does what the machine wants until it wants no more.

use super::line::{Happened, Line};
use super::sessions::Done;
use super::sight::Told;
use super::target::{Change, Target};
use crate::drive::chance;
use crate::drive::clock::now;
use crate::edge::bgp::{Dial, DialError, change_key, next_hops};
use speaker_core::plan::PeerName;
use speaker_proto::Machine;
use speaker_proto::bgp::session::{Input, Output, Reset, Session, Side, Start, Status, Stop};
use std::future::pending;
use std::pin::Pin;
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
    /// A dial under way.
    dialling: Option<Dialling>,
    /// How the connection was dialled, or the dial under way.
    dialled: Option<Dial>,
    /// The last dial was none, for want of something.
    is_lacking: bool,
    line: Option<Line>,
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
    Line(Happened),
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
            dialled: None,
            is_lacking: false,
            line: None,
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
                Woken::Line(happened) => self.happened(happened),
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
                Some(dialling) => dialling.await,
                None => pending().await,
            }
        };
        let line = async {
            match &mut self.line {
                Some(line) => line.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => Woken::Due,
            Ok(()) = self.ends.target.changed() => Woken::Target,
            order = self.ends.orders.recv() => Woken::Order(order),
            result = dialling => Woken::Dialled(result),
            happened = line => Woken::Line(happened),
        }
    }

    /// Lets time pass, after what has come meanwhile: a speaker that did not run for a while must not take its peer for dead.
    fn expire(&mut self) {
        if let Some(happened) = self.line.as_ref().and_then(Line::read) {
            self.happened(happened);
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
                Output::Send(Side::Dialled, bytes) => {
                    if let Some(line) = &mut self.line {
                        line.give(bytes);
                    }
                }
                Output::Close(Side::Dialled) => self.close(),
                Output::Changed(status) => {
                    let told = Told::Changed(self.ends.name.clone(), status);
                    let _who_is_late_sees_the_status = self.ends.told.try_send(told);
                }
                Output::Stopped => self.has_stopped = true,
                // Nothing is accepted, so nothing is said there.
                Output::Send(Side::Accepted, _)
                | Output::Close(Side::Accepted)
                | Output::Refuse(_) => {}
            }
        }
        self.status.send_replace(self.machine.status());
    }

    fn dial(&mut self) {
        let dial = self.ends.target.borrow().dial.clone();
        self.is_lacking = dial.is_err();
        match dial {
            Ok(dial) => {
                self.dialled = Some(dial.clone());
                self.dialling = Some(Box::pin(async move { dial.connect().await }));
            }
            Err(why) => self.feed(Input::ConnectFailed(why)),
        }
    }

    fn dialled(&mut self, result: Result<TcpStream, DialError>) {
        self.dialling = None;
        let connected = result
            .map_err(|error| error.to_string())
            .and_then(|stream| {
                let own = stream.local_addr().map_err(|error| error.to_string())?;
                let next_hops = next_hops(own).map_err(|error| format!("{error:#}"))?;
                Ok((stream, next_hops))
            });
        match connected {
            Ok((stream, next_hops)) => {
                self.line = Some(Line::new(stream));
                self.feed(Input::Connected {
                    side: Side::Dialled,
                    next_hops,
                });
            }
            Err(why) => {
                self.dialled = None;
                self.feed(Input::ConnectFailed(why));
            }
        }
    }

    fn close(&mut self) {
        self.dialling = None;
        self.dialled = None;
        if let Some(line) = self.line.take() {
            self.closing.spawn(line.close());
        }
    }

    fn happened(&mut self, happened: Happened) {
        let input = match happened {
            Happened::Read(bytes) => Input::Received(Side::Dialled, bytes),
            Happened::Wrote(length) => Input::Written(Side::Dialled, length),
            Happened::Ended(why) => {
                self.line = None;
                self.dialled = None;
                Input::Closed(Side::Dialled, why)
            }
        };
        self.feed(input);
    }

    /// Takes the newest target.
    fn aim(&mut self) {
        let target = self.ends.target.borrow_and_update().clone();
        self.feed(Input::Settings(Box::new(target.settings)));
        self.flush();
        match (&self.dialled, &target.dial) {
            (Some(before), Ok(after)) => match Change::of(before, after) {
                Change::None => {}
                Change::Key => self.change_key(after.clone()),
                Change::Connection => self.feed(Input::Reset(Reset::Transport)),
            },
            // What was waited for is there: no reason to wait on.
            (None, Ok(_)) if self.is_lacking => self.feed(Input::Reset(Reset::Transport)),
            (None, Ok(_)) => {}
            // What was there and is not any more is no reason to end what stands.
            (_, Err(_)) => {}
        }
        self.flush();
        self.tell_routes();
    }

    fn change_key(&mut self, after: Dial) {
        if let (Some(line), Some(key)) = (&self.line, &after.key)
            && let Err(error) = change_key(line.stream(), after.to, key)
        {
            tracing::warn!(peer = %self.ends.name, %error, "failed to change the password of a session; it begins anew");
            self.feed(Input::Reset(Reset::Transport));
            return;
        }
        // A dial under way has the old one.
        if self.dialling.is_some() {
            self.feed(Input::Reset(Reset::Transport));
        } else {
            self.dialled = Some(after);
        }
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

fn machine(target: &Target, birth: Birth) -> Session {
    Session::new(Start {
        settings: target.settings.clone(),
        is_restarting: birth.is_restarting,
        kept_forwarding: birth.kept_forwarding,
        seed: u64::from_le_bytes(chance::bytes()),
        now: now(),
    })
}
