//! Why a session ends by decision, and how: stops for good, pauses, resets, changes of settings, and BFD (RFC 4486, RFC 8326, RFC 8538,
//! RFC 9003, RFC 9384).
//!
//! A drain tells the peer three things in turn: that routes are about to go, that they are gone, and that the session is.

use super::cause::{BFD_DOWN, CEASE, CONFIG_CHANGE, Cause, PEER_DECONFIGURED};
use super::connection::Connection;
use super::machine::{Session, Wait};
use super::open;
use super::{DRAIN_ANNOUNCE, DRAIN_WITHDRAW, Negotiated, Reset, Settings, Side, Stop};
use crate::bgp::{Family, Notification};
use crate::{Span, Time};
use std::sync::Arc;

/// What is wanted of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Intent {
    /// Nothing yet.
    New,
    /// That it is up.
    Run,
    /// That it is down, until the operator wants it again.
    Paused,
    /// That it ends for good, once it is drained.
    Draining(Stop, Stage),
    /// That it has ended.
    Stopped,
}

/// Where a drain stands, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Routes are announced with the worst of attributes.
    Announce(Time),
    /// They are withdrawn.
    Withdraw(Time),
}

impl Session {
    pub(super) fn stop(&mut self, stop: Stop) {
        let stage = match self.intent {
            Intent::Stopped => return,
            Intent::Draining(_, stage) => Some(stage),
            Intent::New | Intent::Run | Intent::Paused => None,
        };
        let keeps_routes = self.negotiated(|negotiated| negotiated.has_graceful_restart);
        let told: u32 = self.up.iter().flat_map(|up| up.sent.counts()).sum();
        let must_drain = match &stop {
            Stop::Restart => !keeps_routes,
            Stop::Drain(_) => true,
            Stop::Deconfigured => false,
        };
        if told > 0 && must_drain {
            self.stop_dialling();
            let stage = stage.unwrap_or_else(|| self.begin_drain());
            self.intent = Intent::Draining(stop, stage);
            return;
        }
        self.intent = Intent::Stopped;
        if let Some(up) = &self.up
            && stop == Stop::Restart
            && keeps_routes
        {
            // RFC 4724 §4.2: the peer keeps routes over a connection that closes, and none over a NOTIFICATION.
            self.drop_connection(up.side);
        }
        self.end_all(&self.parting(&stop));
        self.finish();
    }

    fn begin_drain(&mut self) -> Stage {
        if let Some(up) = &mut self.up {
            for family in Family::ALL {
                up.sent.again(family);
            }
        }
        Stage::Announce(self.now + DRAIN_ANNOUNCE)
    }

    /// What is said last.
    fn parting(&self, stop: &Stop) -> Notification {
        match stop {
            Stop::Restart => Notification::reset("restart"),
            Stop::Drain(text) => self.hardened(Notification::shutdown(text)),
            Stop::Deconfigured => self.hardened(Notification::new(CEASE, PEER_DECONFIGURED)),
        }
    }

    /// RFC 8538 §3: where both sides said N, a peer keeps routes over anything but a hard reset.
    fn hardened(&self, notification: Notification) -> Notification {
        if self.negotiated(|negotiated| negotiated.has_hard_reset) {
            notification.hard()
        } else {
            notification
        }
    }

    fn negotiated(&self, is: impl FnOnce(&Negotiated) -> bool) -> bool {
        let connection = self
            .up
            .as_ref()
            .and_then(|up| self.connections.get(&up.side));
        connection.and_then(Connection::negotiated).is_some_and(is)
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.intent, Intent::Draining(..))
    }

    pub(super) fn is_withdrawing(&self) -> bool {
        matches!(self.intent, Intent::Draining(_, Stage::Withdraw(_)))
    }

    /// When the next stage of a drain begins.
    pub(super) fn stop_at(&self) -> Option<Time> {
        match self.intent {
            Intent::Draining(_, Stage::Announce(until) | Stage::Withdraw(until)) => Some(until),
            Intent::New | Intent::Run | Intent::Paused | Intent::Stopped => None,
        }
    }

    pub(super) fn expire_stop(&mut self) {
        if self.stop_at().is_none_or(|at| at > self.now) {
            return;
        }
        let Intent::Draining(stop, stage) = self.intent.clone() else {
            return;
        };
        match stage {
            Stage::Announce(_) => {
                if let Some(up) = &mut self.up {
                    up.sent.want(&Arc::default());
                }
                let until = self.now + DRAIN_WITHDRAW;
                self.intent = Intent::Draining(stop, Stage::Withdraw(until));
            }
            Stage::Withdraw(_) => {
                self.end_all(&self.parting(&stop));
                self.finish();
            }
        }
    }

    /// A session that ends for good has no connection any more.
    pub(super) fn finish_if_stopping(&mut self) {
        if self.is_draining() && self.connections.is_empty() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.intent = Intent::Stopped;
        self.note(Cause::Stopped);
        self.push_stopped();
    }

    /// Ends whatever is there or under way.
    fn end_all(&mut self, notification: &Notification) {
        for side in [Side::Dialled, Side::Accepted] {
            if self.connections.contains_key(&side) {
                self.send_notification(side, notification);
                self.drop_connection(side);
            }
        }
        self.stop_dialling();
        self.wait = None;
    }

    pub(super) fn pause(&mut self, text: &str) {
        match self.intent {
            Intent::New | Intent::Run => {
                self.intent = Intent::Paused;
                self.end_all(&self.hardened(Notification::shutdown(text)));
                self.note(Cause::Paused);
            }
            Intent::Paused | Intent::Draining(..) | Intent::Stopped => {}
        }
    }

    pub(super) fn resume(&mut self) {
        if self.intent == Intent::Paused {
            self.intent = Intent::Run;
            self.begin_anew();
        }
    }

    pub(super) fn reset(&mut self, reset: Reset) {
        match reset {
            Reset::Transport => self.end_and_begin(
                &Notification::new(CEASE, CONFIG_CHANGE),
                "how to reach the peer",
            ),
            Reset::Operator => {
                self.end_and_begin(&Notification::reset(""), "the operator asked for it");
            }
        }
    }

    fn end_and_begin(&mut self, notification: &Notification, what: &'static str) {
        if self.intent == Intent::Run {
            self.end_all(notification);
            self.note(Cause::Reset(what));
            self.begin_anew();
        }
    }

    /// Takes new settings, live where that is possible.
    pub(super) fn configure(&mut self, settings: Settings) {
        match self.intent {
            // What is still to be said, is said as it was begun.
            Intent::Draining(..) | Intent::Stopped => return,
            Intent::New | Intent::Run | Intent::Paused => {}
        }
        let change = self.settings.needs_new_session(&settings);
        self.settings = settings;
        // A dial that is under way will say the new OPEN.
        let has_begun = !self.connections.is_empty() || !self.is_dialling;
        match change {
            Some(what) if has_begun => {
                self.end_and_begin(&Notification::new(CEASE, CONFIG_CHANGE), what);
            }
            Some(_) | None => self.adapt(),
        }
    }

    fn adapt(&mut self) {
        let now = self.now;
        for connection in self.connections.values_mut() {
            if let Some(negotiated) = connection.negotiated_mut() {
                negotiated.keepalive = open::keepalive(&self.settings, negotiated.hold);
                let latest = now + negotiated.keepalive;
                connection.keepalive_at = connection.keepalive_at.map(|at| at.min(latest));
            }
        }
        if let Some(Wait::Retry(until)) = &mut self.wait {
            *until = (*until).min(now + self.settings.connect_retry);
        }
    }

    /// BFD lost the peer. A session that is not up yet does not depend on it (RFC 5882 §4.3).
    pub(super) fn bfd_down(&mut self, is_peer_anew: bool, detection: Span) {
        let Some(up) = &self.up else {
            return;
        };
        // Some peers make their BFD session twice: first when they are configured, and again when BGP comes up.
        let is_young = self.now.since(up.since).ns() < 2 * detection.ns();
        if !(is_peer_anew && is_young) {
            let notification = self.hardened(Notification::new(CEASE, BFD_DOWN));
            self.fail(up.side, notification);
        }
    }
}
