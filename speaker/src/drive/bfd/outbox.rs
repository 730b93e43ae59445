//! What is told of sessions and not yet taken by who listens. Bounded, and what must be known is never lost.

use super::{Event, SessionKey};
use speaker_proto::bfd::{Change, State};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc::Sender;

/// Events on their way.
#[derive(Debug)]
pub(super) struct Outbox {
    to: Sender<Event>,
    /// What there was no room for.
    changes: BTreeMap<SessionKey, Waiting>,
    left: BTreeSet<SessionKey>,
}

/// Of many changes of a session only these two say anything: that it went down, and that it is up again.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    down: Option<Change>,
    up: Option<Change>,
}

impl Outbox {
    pub(super) const fn new(to: Sender<Event>) -> Self {
        Self {
            to,
            changes: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }

    pub(super) fn changed(&mut self, key: SessionKey, change: Change) {
        let waiting = self.changes.entry(key).or_default();
        if change.state == State::Up {
            waiting.up = Some(change);
        } else {
            *waiting = Waiting {
                down: Some(change),
                up: None,
            };
        }
    }

    pub(super) fn left(&mut self, key: SessionKey) {
        self.left.insert(key);
    }

    /// Hands over what there is room for. Never blocks.
    pub(super) fn flush(&mut self) {
        while let Some(mut first) = self.changes.first_entry() {
            let key = first.key().clone();
            let waiting = first.get_mut();
            let change = if waiting.down.is_some() {
                &mut waiting.down
            } else {
                &mut waiting.up
            };
            if let Some(told) = *change {
                if self.to.try_send(Event::Changed(key, told)).is_err() {
                    return;
                }
                *change = None;
            }
            if waiting.down.is_none() && waiting.up.is_none() {
                first.remove();
            }
        }
        while let Some(key) = self.left.first().cloned() {
            if self.to.try_send(Event::Left(key.clone())).is_err() {
                return;
            }
            self.left.remove(&key);
        }
    }
}

/// Events that may wait to be taken: a turn of every session, twice.
pub(super) const EVENTS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::bfd::Diagnostic;
    use tokio::sync::mpsc::channel;

    fn key(last: u8) -> SessionKey {
        SessionKey {
            peer: [192, 0, 2, last].into(),
            local: None,
            interface: None,
            vrf: None,
            is_multihop: false,
        }
    }

    const fn change(state: State) -> Change {
        Change {
            state,
            diagnostic: Diagnostic::NONE,
            peer: State::Down,
            is_new_peer: false,
        }
    }

    #[test]
    fn who_does_not_listen_still_learns_that_a_session_went_down() {
        let (to, mut heard) = channel(1);
        let mut outbox = Outbox::new(to);
        outbox.changed(key(1), change(State::Up));
        outbox.flush();
        for _ in 0..1000 {
            outbox.changed(key(1), change(State::Down));
            outbox.flush();
            outbox.changed(key(1), change(State::Up));
            outbox.flush();
        }
        outbox.left(key(2));
        let mut told = Vec::new();
        while let Ok(event) = heard.try_recv() {
            told.push(event);
            outbox.flush();
        }
        let expected =
            [State::Up, State::Down, State::Up].map(|state| Event::Changed(key(1), change(state)));
        assert_eq!(told[..3], expected);
        assert_eq!(told[3..], [Event::Left(key(2))]);
    }
}
