//! What the peer says, by the state in which it says it (RFC 4271 §8.2.2, RFC 6608).
//!
//! How bytes become messages is the codec's; a message that has no place in the state is refused before its content is looked at.

use super::Side;
use super::cause::{COLLIDED, Cause};
use super::collide::survivor;
use super::connection::Connection;
use super::machine::Session;
use super::open::negotiate;
use super::status::State;
use crate::bgp::wire::{self, Kind};
use crate::bgp::{Message, Notification, Open, Update};

impl Session {
    pub(super) fn receive(&mut self, side: Side, mut bytes: &[u8]) {
        while let Some(connection) = self.connections.get_mut(&side) {
            match next_message(connection, &mut bytes) {
                Ok(Some(message)) => self.take(side, message),
                Ok(None) => return,
                Err(notification) => self.fail(side, notification),
            }
        }
    }

    fn take(&mut self, side: Side, message: Message) {
        match message {
            Message::Open(open) => {
                self.received().open += 1;
                self.take_open(side, open);
            }
            Message::Keepalive => {
                self.received().keepalive += 1;
                self.take_keepalive(side);
            }
            Message::Update(update) => {
                self.received().update += 1;
                self.take_update(side, &update);
            }
            Message::RouteRefresh(family) => {
                self.received().refresh += 1;
                self.take_refresh(family);
            }
            Message::Notification(notification) => {
                self.received().notification += 1;
                self.note_received(&notification);
                self.note(Cause::Received(notification.clone()));
                self.end(side, Some(&notification));
            }
        }
    }

    fn take_open(&mut self, side: Side, peer: Open) {
        let negotiated = match negotiate(&self.settings, &peer) {
            Ok(negotiated) => negotiated,
            Err(notification) => {
                self.record.peer = Some(peer);
                self.fail(side, notification);
                return;
            }
        };
        // RFC 4271 §6.8: only now is it known that both connections are with the same peer.
        let other = other(side);
        let is_rivalled =
            (self.connections.get(&other)).is_some_and(|other| other.state() == State::OpenConfirm);
        let loser = is_rivalled.then(|| self::other(survivor(&self.settings, &peer)));
        if let Some(loser) = loser {
            self.send_notification(loser, &COLLIDED);
            self.drop_connection(loser);
        }
        self.record.peer = Some(peer);
        if let Some(connection) = self.connections.get_mut(&side) {
            connection.confirm(self.now, negotiated, &mut self.chance);
            self.send_keepalive(side);
        }
    }

    fn take_keepalive(&mut self, side: Side) {
        let Some(connection) = self.connections.get_mut(&side) else {
            return;
        };
        connection.heard(self.now);
        if connection.state() == State::OpenConfirm {
            self.come_up(side);
        }
    }

    fn take_update(&mut self, side: Side, update: &Update) {
        if let Some(connection) = self.connections.get_mut(&side) {
            connection.heard(self.now);
        }
        let counters = &mut self.counters;
        for family in 0..2 {
            counters.announced[family] += u64::from(update.announced[family]);
            counters.withdrawn[family] += u64::from(update.withdrawn[family]);
        }
        if update.forgiven.is_some() {
            counters.forgiven += 1;
            self.record.last_forgiven = update.forgiven;
        }
    }
}

/// The other connection.
pub(super) const fn other(side: Side) -> Side {
    match side {
        Side::Dialled => Side::Accepted,
        Side::Accepted => Side::Dialled,
    }
}

fn next_message(
    connection: &mut Connection,
    bytes: &mut &[u8],
) -> Result<Option<Message>, Notification> {
    let state = connection.state();
    let Some(frame) = connection.reader.take(bytes)? else {
        return Ok(None);
    };
    if let Some(subcode) = misplaced(state, frame.kind()) {
        return Err(Notification::new(STATE_MACHINE_ERROR, subcode));
    }
    wire::decode(frame, &connection.context).map(Some)
}

/// The subcode of RFC 6608 §3 for a message that has no place in a state.
fn misplaced(state: State, kind: Kind) -> Option<u8> {
    match (state, kind) {
        (_, Kind::Notification)
        | (State::OpenSent, Kind::Open)
        | (State::OpenConfirm, Kind::Keepalive)
        | (State::Established, Kind::Keepalive | Kind::Update | Kind::RouteRefresh) => None,
        (State::OpenSent, Kind::Keepalive | Kind::Update | Kind::RouteRefresh) => Some(1),
        (State::OpenConfirm, Kind::Open | Kind::Update | Kind::RouteRefresh) => Some(2),
        (State::Established, Kind::Open) => Some(3),
        // Without a connection there is nobody to say it.
        (
            State::Idle | State::Connect | State::Active,
            Kind::Open | Kind::Keepalive | Kind::Update | Kind::RouteRefresh,
        ) => Some(0),
    }
}

/// RFC 4271 §6.6.
const STATE_MACHINE_ERROR: u8 = 5;
