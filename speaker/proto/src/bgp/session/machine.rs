//! The machine: what it keeps, when it wakes, and to which part each thing that happens belongs.

use super::cause::Cause;
use super::connection::Connection;
use super::established::Up;
use super::open::{self, Restarted};
use super::status::{Counters, Messages, State, Status};
use super::stop::Intent;
use super::timers::{Backoff, Chance};
use super::{Input, Output, Settings, Side, Start};
use crate::bgp::wire::{self, Refresh};
use crate::bgp::{Family, Notification, Open, Routes};
use crate::{Machine, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One session with one peer.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Settings,
    pub(super) intent: Intent,
    /// Where OPEN was said.
    pub(super) connections: BTreeMap<Side, Connection>,
    /// A dial is under way.
    pub(super) is_dialling: bool,
    pub(super) wait: Option<Wait>,
    /// Which connection is Established, and what the peer was told on it.
    pub(super) up: Option<Up>,
    pub(super) routes: Arc<Routes>,
    pub(super) is_complete: bool,
    pub(super) restarted: Restarted,
    pub(super) chance: Chance,
    /// Waits after sessions that failed.
    pub(super) idle_backoff: Backoff,
    /// Waits after connections that failed.
    pub(super) dial_backoff: Backoff,
    /// When it was started or asked for anew: soon after that it dials more often.
    pub(super) started: Time,
    /// When the last thing happened: outputs are made later, and not by a clock.
    pub(super) now: Time,
    pub(super) counters: Counters,
    pub(super) record: Record,
    /// It has ended, and that is still to be said.
    is_end_unsaid: bool,
    outputs: VecDeque<Output>,
}

/// What a session without a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Until an error is far enough back (IdleHoldTimer). Nothing is accepted meanwhile.
    Idle(Time),
    /// Until it is time to dial, or to give up dialling and begin again (ConnectRetryTimer).
    Retry(Time),
}

impl Wait {
    pub(super) const fn until(self) -> Time {
        match self {
            Self::Idle(until) | Self::Retry(until) => until,
        }
    }
}

/// What is only kept to be told.
#[derive(Debug)]
pub(super) struct Record {
    state: State,
    since: Time,
    cause: Cause,
    cause_count: u64,
    pub(super) peer: Option<Open>,
    last_sent: Option<(Time, Notification)>,
    last_received: Option<(Time, Notification)>,
    pub(super) last_forgiven: Option<&'static str>,
    is_changed: bool,
}

impl Session {
    /// One that waits for [`Input::Start`].
    pub fn new(start: Start) -> Self {
        Self {
            settings: start.settings,
            intent: Intent::New,
            connections: BTreeMap::new(),
            is_dialling: false,
            wait: None,
            up: None,
            routes: Arc::default(),
            is_complete: false,
            restarted: Restarted {
                is_restarting: start.is_restarting,
                kept_forwarding: start.kept_forwarding,
            },
            chance: Chance::new(start.seed),
            idle_backoff: Backoff::default(),
            dial_backoff: Backoff::default(),
            started: start.now,
            now: start.now,
            counters: Counters::default(),
            record: Record {
                state: State::Idle,
                since: start.now,
                cause: Cause::New,
                cause_count: 0,
                peer: None,
                last_sent: None,
                last_received: None,
                last_forgiven: None,
                is_changed: false,
            },
            is_end_unsaid: false,
            outputs: VecDeque::new(),
        }
    }

    /// The state, by RFC 4271 §8.2.2; of two connections that which has come further.
    pub fn state(&self) -> State {
        let furthest = self.connections.values().map(Connection::state).max();
        let without = match (self.is_dialling, self.wait) {
            (true, _) => State::Connect,
            (false, Some(Wait::Retry(_))) => State::Active,
            (false, Some(Wait::Idle(_)) | None) => State::Idle,
        };
        furthest.unwrap_or(without)
    }

    /// What can be said of the session now.
    pub fn status(&self) -> Status {
        let record = &self.record;
        let connection = (self.up.as_ref()).and_then(|up| self.connections.get(&up.side));
        Status {
            state: record.state,
            since: record.since,
            cause: record.cause.clone(),
            cause_count: record.cause_count,
            retry_at: (self.connections.is_empty() && !self.is_dialling)
                .then(|| self.wait.map(Wait::until))
                .flatten(),
            peer: record.peer.clone(),
            negotiated: connection.and_then(Connection::negotiated).cloned(),
            last_sent: record.last_sent.clone(),
            last_received: record.last_received.clone(),
            last_forgiven: record.last_forgiven,
            prefixes: self.up.as_ref().map_or([0; 2], |up| up.sent.counts()),
            is_in_sync: self.up.as_ref().is_some_and(|up| up.sent.is_done()),
            without_next_hop: self.without_next_hop(),
            counters: self.counters,
        }
    }

    pub(super) fn push_output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// To be said after all else.
    pub(super) const fn push_stopped(&mut self) {
        self.is_end_unsaid = true;
    }

    /// Gives the driver one message for a connection.
    pub(super) fn send(&mut self, side: Side, bytes: Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&side) {
            connection.gave(self.now, bytes.len());
            self.outputs.push_back(Output::Send(side, bytes));
        }
    }

    pub(super) fn send_open(&mut self, side: Side) {
        let mut bytes = Vec::new();
        wire::open(&mut bytes, &open::ours(&self.settings, self.restarted));
        self.counters.sent.open += 1;
        self.send(side, bytes);
    }

    pub(super) fn send_keepalive(&mut self, side: Side) {
        let mut bytes = Vec::new();
        wire::keepalive(&mut bytes);
        self.counters.sent.keepalive += 1;
        self.spoke(side);
        self.send(side, bytes);
    }

    pub(super) fn send_update(&mut self, side: Side, bytes: Vec<u8>) {
        self.counters.sent.update += 1;
        self.spoke(side);
        self.send(side, bytes);
    }

    /// RFC 4271 §8.2.2: KEEPALIVE and UPDATE restart the KeepaliveTimer.
    fn spoke(&mut self, side: Side) {
        if let Some(connection) = self.connections.get_mut(&side) {
            connection.spoke(self.now, &mut self.chance);
        }
    }

    pub(super) fn send_refresh(&mut self, side: Side, family: Family, refresh: Refresh) {
        let mut bytes = Vec::new();
        wire::route_refresh(&mut bytes, family, refresh);
        self.counters.sent.refresh += 1;
        self.send(side, bytes);
    }

    pub(super) fn send_notification(&mut self, side: Side, notification: &Notification) {
        let bytes = self.notification(notification);
        self.send(side, bytes);
    }

    /// The bytes of a NOTIFICATION that is sent now.
    pub(super) fn notification(&mut self, notification: &Notification) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::notification(&mut bytes, notification);
        self.counters.sent.notification += 1;
        self.record.last_sent = Some((self.now, notification.clone()));
        bytes
    }

    pub(super) fn received(&mut self) -> &mut Messages {
        &mut self.counters.received
    }

    pub(super) fn note_received(&mut self, notification: &Notification) {
        self.record.last_received = Some((self.now, notification.clone()));
    }

    /// Why the session is not up.
    pub(super) fn note(&mut self, cause: Cause) {
        let record = &mut self.record;
        if record.cause == cause {
            record.cause_count += 1;
        } else {
            record.cause = cause;
            record.cause_count = 1;
            record.is_changed = true;
        }
    }

    /// After each thing that happened: whether the state is another one.
    fn settle(&mut self) {
        let state = self.state();
        if state != self.record.state {
            self.record.state = state;
            self.record.since = self.now;
            self.record.is_changed = true;
        }
    }

    /// The next time at which something is due, and what.
    fn next(&self) -> Option<(Time, &'static str)> {
        let wait = self.wait.map(|wait| match wait {
            Wait::Idle(until) => (until, "idle hold"),
            Wait::Retry(until) => (until, "connect retry"),
        });
        let stop = self.stop_at().map(|at| (at, "drain"));
        let connections = self.connections.values().flat_map(|connection| {
            [
                connection.hold_at.map(|at| (at, "hold")),
                connection.send_hold_at().map(|at| (at, "send hold")),
                connection.keepalive_at.map(|at| (at, "keepalive")),
            ]
        });
        connections.chain([wait, stop]).flatten().min()
    }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        self.now = now;
        match input {
            Input::Start => self.start(),
            Input::Stop(stop) => self.stop(stop),
            Input::Pause(text) => self.pause(&text),
            Input::Resume => self.resume(),
            Input::Reset(reset) => self.reset(reset),
            Input::Connected { side, next_hops } => self.connected(side, next_hops),
            Input::ConnectFailed(text) => self.connect_failed(text),
            Input::Received(side, bytes) => self.receive(side, &bytes),
            Input::Written(side, bytes) => {
                if let Some(connection) = self.connections.get_mut(&side) {
                    connection.wrote(now, bytes);
                }
            }
            Input::Closed(side, text) => self.closed(side, text),
            Input::BfdDown {
                is_peer_anew,
                detection,
            } => self.bfd_down(is_peer_anew, detection),
            Input::BfdUp => self.bfd_up(),
            Input::Routes {
                routes,
                is_complete,
            } => self.set_routes(routes, is_complete),
            Input::Settings(settings) => self.configure(*settings),
        }
        self.settle();
    }

    fn expire(&mut self, now: Time) {
        self.now = now;
        for side in [Side::Dialled, Side::Accepted] {
            self.expire_connection(side);
        }
        self.expire_wait();
        self.expire_stop();
        self.settle();
    }

    /// Routes come last, one message each time, while the connection has room for them.
    fn output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if std::mem::take(&mut self.record.is_changed) {
            return Some(Output::Changed(Box::new(self.status())));
        }
        if std::mem::take(&mut self.is_end_unsaid) {
            return Some(Output::Stopped);
        }
        self.say_routes();
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        self.next()
    }
}
