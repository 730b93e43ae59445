//! Idle, Connect and Active: when to dial, what to accept, and how long to wait (RFC 4271 §8.2.2).
//!
//! Two waits: IdleHold after a session that failed or was refused, and ConnectRetry between dials. Both begin at a second and double; the first
//! ends at a minute, the second at what is configured. Where the RFC goes to Idle because a dial failed, this goes to
//! Active as with its DelayOpen, so that a peer which dials meanwhile is not turned away.

use super::cause::{ADMIN_SHUTDOWN, CEASE, COLLIDED, Cause, REJECTED};
use super::connection::Connection;
use super::machine::{Session, Wait};
use super::open::BAD_PEER_AS;
use super::stop::Intent;
use super::{NextHops, Output, Side};
use crate::Span;
use crate::bgp::Notification;

impl Session {
    pub(super) fn start(&mut self) {
        if self.intent == Intent::New {
            self.intent = Intent::Run;
            self.begin_anew();
        }
    }

    /// Dials at once, as if nothing had ever failed.
    pub(super) fn begin_anew(&mut self) {
        self.started = self.now;
        self.idle_backoff.reset();
        self.dial_backoff.reset();
        self.dial();
    }

    fn dial(&mut self) {
        self.stop_dialling();
        self.is_dialling = true;
        self.push_output(Output::Connect);
        let retry = self.chance.jitter(self.settings.connect_retry);
        self.wait = Some(Wait::Retry(self.now + retry));
    }

    /// Who was waited for is there. A dial that is under way began before that, and its next packet may be long in coming.
    pub(super) fn bfd_up(&mut self) {
        if self.connections.is_empty() && matches!(self.wait, Some(Wait::Retry(_))) {
            self.dial();
        }
    }

    /// Gives up a dial that is under way.
    pub(super) fn stop_dialling(&mut self) {
        if std::mem::take(&mut self.is_dialling) {
            self.push_output(Output::Close(Side::Dialled));
        }
    }

    pub(super) fn connect_failed(&mut self, text: String) {
        if std::mem::take(&mut self.is_dialling) {
            self.note(Cause::ConnectFailed(text));
            self.retry_later();
        }
    }

    /// To Active, unless another connection is there.
    fn retry_later(&mut self) {
        if !self.connections.is_empty() {
            self.wait = None;
            return;
        }
        let wait = if self.now < self.started + EAGER {
            EAGER_RETRY.min(self.settings.connect_retry)
        } else {
            self.dial_backoff.next(self.settings.connect_retry)
        };
        self.wait = Some(Wait::Retry(self.now + self.chance.jitter(wait)));
    }

    pub(super) fn connected(&mut self, side: Side, next_hops: NextHops) {
        match side {
            Side::Dialled => {
                if !std::mem::take(&mut self.is_dialling) {
                    return;
                }
            }
            Side::Accepted => {
                if let Some(refusal) = self.refusal() {
                    self.counters.refused += 1;
                    let bytes = self.notification(&refusal);
                    self.push_output(Output::Refuse(bytes));
                    return;
                }
                self.make_room_for_accepted();
            }
        }
        if !self.is_dialling {
            self.wait = None;
        }
        let connection = Connection::new(self.now, next_hops);
        self.connections.insert(side, connection);
        self.send_open(side);
    }

    /// Why a connection that was accepted is not wanted now.
    fn refusal(&self) -> Option<Notification> {
        let is_idle = matches!(self.wait, Some(Wait::Idle(_)));
        if self.intent != Intent::Run || is_idle {
            return Some(Notification::new(CEASE, REJECTED));
        }
        // RFC 4271 §6.8: beside a session that is up a new connection is closed. RFC 4724 §5: but a peer that keeps routes over its restart
        // would not dial if it still had the old one, unless both dialled when this one came up.
        let up = self.up.as_ref()?;
        let negotiated = self.connections.get(&up.side)?.negotiated()?;
        let is_old = self.now.since(up.since) >= CROSSING;
        (!(negotiated.has_graceful_restart && is_old)).then_some(COLLIDED)
    }

    /// Of a session that is up, and of one that was accepted before, the peer knows nothing any more.
    fn make_room_for_accepted(&mut self) {
        if let Some(up) = &self.up {
            let side = up.side;
            self.note(Cause::Closed("the peer connected anew".to_owned()));
            self.drop_connection(side);
        }
        if self.connections.contains_key(&Side::Accepted) {
            self.send_notification(Side::Accepted, &COLLIDED);
            self.drop_connection(Side::Accepted);
        }
    }

    /// The connection broke.
    pub(super) fn closed(&mut self, side: Side, text: String) {
        let Some(connection) = self.connections.remove(&side) else {
            // The dial ended as if it had failed.
            if side == Side::Dialled {
                self.connect_failed(text);
            }
            return;
        };
        let had_open = connection.negotiated().is_some();
        self.note(Cause::Closed(text));
        if had_open {
            self.went_down(side, None);
        } else if !self.is_dialling {
            // RFC 4271 §8.2.2, OpenSent: to Active.
            self.retry_later();
        }
        self.finish_if_stopping();
    }

    /// Ends a connection with a NOTIFICATION, because of an error or by decision.
    pub(super) fn fail(&mut self, side: Side, notification: Notification) {
        self.send_notification(side, &notification);
        self.note(Cause::Sent(notification.clone()));
        self.end(side, Some(&notification));
    }

    /// Ends a connection that the peer ended with a NOTIFICATION, or we with the one that was just sent.
    pub(super) fn end(&mut self, side: Side, notification: Option<&Notification>) {
        if self.connections.remove(&side).is_some() {
            self.push_output(Output::Close(side));
            self.went_down(side, notification);
            self.finish_if_stopping();
        }
    }

    /// Closes a connection beside which another goes on.
    pub(super) fn drop_connection(&mut self, side: Side) {
        if self.connections.remove(&side).is_some() {
            self.push_output(Output::Close(side));
            self.leave_established(side);
        }
    }

    /// After a connection: to Idle for a while, unless another one is there or under way. After one that the peer turned away to Active for
    /// as long: the peer waits as we would, and two that turned each other away while they wait would do so for ever.
    fn went_down(&mut self, side: Side, notification: Option<&Notification>) {
        self.leave_established(side);
        if self.intent != Intent::Run || !self.connections.is_empty() || self.is_dialling {
            return;
        }
        let wait = self.chance.jitter(self.idle_backoff.next(IDLE_HOLD_MAX));
        let wait = match notification {
            Some(notification) if wants_patience(notification) => wait.max(IDLE_HOLD_PATIENT),
            Some(_) | None => wait,
        };
        let until = self.now + wait;
        self.wait = Some(match notification {
            Some(notification) if is_rejection(notification) => Wait::Retry(until),
            Some(_) | None => Wait::Idle(until),
        });
    }

    pub(super) fn expire_wait(&mut self) {
        if self.wait.is_some_and(|wait| wait.until() <= self.now) {
            if self.is_dialling {
                self.note(Cause::ConnectFailed("no answer in time".to_owned()));
            }
            self.dial();
        }
    }

    pub(super) fn expire_connection(&mut self, side: Side) {
        let now = self.now;
        let is_due = |at: Option<crate::Time>| at.is_some_and(|at| at <= now);
        let Some(connection) = self.connections.get_mut(&side) else {
            return;
        };
        if connection.is_dead(now) {
            self.fail(side, HOLD_EXPIRED);
        } else if is_due(connection.send_hold_at()) {
            self.fail(side, SEND_HOLD_EXPIRED);
        } else if is_due(connection.keepalive_at) {
            self.keep_alive(side);
        }
    }
}

/// Errors that only people mend.
fn wants_patience(notification: &Notification) -> bool {
    let codes = [notification.code, notification.subcode];
    codes == [CEASE, ADMIN_SHUTDOWN] || codes == [BAD_PEER_AS.code, BAD_PEER_AS.subcode]
}

/// RFC 4486 §4: the peer takes no connection now. Whoever is told so is to try less and less often.
fn is_rejection(notification: &Notification) -> bool {
    [notification.code, notification.subcode] == [CEASE, REJECTED]
}

/// RFC 4271 §6.5.
const HOLD_EXPIRED: Notification = Notification::new(4, 0);
/// RFC 9687 §3.
const SEND_HOLD_EXPIRED: Notification = Notification::new(8, 0);
/// For so long after the start dials are close together: the peer may wait for us with stale routes (RFC 4724).
const EAGER: Span = Span::s(10);
const EAGER_RETRY: Span = Span::ms(200);
/// Dials that cross each other cross within this.
const CROSSING: Span = Span::s(10);
/// The longest wait after a session that failed: an operator who mended something waits no longer.
const IDLE_HOLD_MAX: Span = Span::s(60);
/// The shortest wait after an error that only people mend.
const IDLE_HOLD_PATIENT: Span = Span::s(30);
