//! The thread's turns: hear, obey, let timers fire, say.

use super::outbox::Outbox;
use super::table::{Kept, SessionKey, Table};
use super::voice::{Hearing, Voice, device, index};
use super::{Event, Figures, LATE, View};
use crate::drive::chance;
use crate::drive::clock::now;
use crate::drive::wake::Wake;
use crate::edge::bfd::Range;
use speaker_proto::bfd::{Discard, Input, Output, Packet, Session, Settings, State};
use speaker_proto::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use tokio::sync::{mpsc, oneshot, watch};

/// What the thread is asked.
pub(super) enum Ask {
    /// Have the other sides bear so long without us.
    Stretch(Span, oneshot::Sender<BTreeMap<SessionKey, Kept>>),
    /// Tell when no session is there any more, wanted or leaving.
    Leave(oneshot::Sender<()>),
    /// Show yourself.
    Look(oneshot::Sender<Figures>),
}

/// The thread's own.
pub(super) struct Thread {
    table: Table<Voice>,
    ears: BTreeMap<Range, Hearing>,
    /// When sockets that could not be opened are tried again.
    retry: Time,
    /// Sessions of the last process that were not wanted yet.
    kept: BTreeMap<SessionKey, Kept>,
    wanted: watch::Receiver<Arc<BTreeMap<SessionKey, Settings>>>,
    refused: usize,
    asked: Receiver<Ask>,
    stretching: Option<Stretching>,
    /// Who waits until all have left.
    left: Option<oneshot::Sender<()>>,
    outbox: Outbox,
    wake: Wake,
    discarded: BTreeMap<Discard, u64>,
    late_turns: u64,
}

/// Who waits for sessions to be stretched, and for which.
struct Stretching {
    done: oneshot::Sender<BTreeMap<SessionKey, Kept>>,
    waits_for: BTreeSet<NonZeroU32>,
    kept: BTreeMap<SessionKey, Kept>,
}

impl Thread {
    pub(super) fn new(
        kept: BTreeMap<SessionKey, Kept>,
        wanted: watch::Receiver<Arc<BTreeMap<SessionKey, Settings>>>,
        asked: Receiver<Ask>,
        events: mpsc::Sender<Event>,
        wake: Wake,
    ) -> Self {
        Self {
            table: Table::new(),
            ears: BTreeMap::new(),
            retry: now(),
            kept,
            wanted,
            refused: 0,
            asked,
            stretching: None,
            left: None,
            outbox: Outbox::new(events),
            wake,
            discarded: BTreeMap::new(),
            late_turns: 0,
        }
    }

    /// One turn. `false`: nobody is left who wants anything.
    pub(super) fn turn(&mut self) -> bool {
        let due = self.due();
        let ears = self.ears.values().flat_map(|hearing| &hearing.ear);
        let ears = ears.map(AsFd::as_fd);
        self.wake.wait(ears, due);
        let turn = now();
        self.late_turns += u64::from(turn.since(due) > LATE);
        self.work(turn)
    }

    /// What there is to do in a turn that began then.
    fn work(&mut self, turn: Time) -> bool {
        // What came meanwhile, before anybody is found late.
        self.hear();
        if !self.obey(turn) {
            return false;
        }
        if turn >= self.retry {
            self.retry = turn + RETRY;
            self.open();
        }
        while let Some(id) = self.table.expire(turn) {
            self.drain(turn, id);
        }
        if let Some(done) = self.left.take_if(|_| self.table.is_empty()) {
            let _nobody_waits_any_more = done.send(());
        }
        self.outbox.flush();
        true
    }

    fn due(&self) -> Time {
        let sessions = self.table.deadline();
        // Also without any session, so that an outbox that was full is tried again.
        sessions.map_or(self.retry, |at| at.min(self.retry))
    }

    /// Takes in packets, of each socket in turn, and not for ever.
    fn hear(&mut self) {
        let mut buffer = [0; BUFFER_BYTES];
        let mut left = HEARD_PER_TURN;
        let ranges: Vec<Range> = self.ears.keys().cloned().collect();
        let mut is_more = true;
        while is_more && left > 0 {
            is_more = false;
            for range in &ranges {
                let ear = self
                    .ears
                    .get(range)
                    .and_then(|hearing| hearing.ear.as_ref().ok());
                let Some(heard) = ear.and_then(|ear| ear.hear(&mut buffer)) else {
                    continue;
                };
                is_more = true;
                left = left.saturating_sub(1);
                let packet = buffer.get(..heard.length).unwrap_or(&buffer);
                let packet = Packet::decode(packet);
                let whose = packet
                    .and_then(|packet| Ok((self.table.whose(&heard, range, &packet)?, packet)));
                match whose {
                    Ok((id, packet)) => {
                        // It may have come after the turn began, if the thread was held up since: by then its sender was alive.
                        let heard = now();
                        self.table.input(heard, id, Input::Packet(packet));
                        self.drain(heard, id);
                    }
                    Err(why) => *self.discarded.entry(why).or_default() += 1,
                }
            }
        }
    }

    /// Takes in what other threads want. `false`: there are none any more.
    fn obey(&mut self, turn: Time) -> bool {
        match self.wanted.has_changed() {
            Ok(true) => {
                let wanted = Arc::clone(&self.wanted.borrow_and_update());
                self.want(turn, &wanted);
            }
            Ok(false) => {}
            Err(_) => return false,
        }
        loop {
            match self.asked.try_recv() {
                Ok(Ask::Stretch(grace, done)) => self.stretch(turn, grace, done),
                Ok(Ask::Leave(done)) => self.left = Some(done),
                Ok(Ask::Look(done)) => {
                    let _nobody_waits_any_more = done.send(self.figures());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn want(&mut self, turn: Time, wanted: &BTreeMap<SessionKey, Settings>) {
        self.table.leave(turn, wanted);
        self.refused = 0;
        let mut fresh = Vec::new();
        for (key, settings) in wanted {
            if let Some(id) = self.table.id(key) {
                self.table.input(turn, id, Input::Settings(*settings));
            } else if self.table.has_room() {
                self.begin(turn, key, *settings);
                fresh.extend(self.table.id(key));
            } else {
                self.refused += 1;
            }
        }
        self.open();
        for id in self.table.ids() {
            self.drain(turn, id);
        }
    }

    fn begin(&mut self, turn: Time, key: &SessionKey, settings: Settings) {
        self.table.forget_leaving(key);
        let chance = u64::from_ne_bytes(chance::bytes());
        let kept = self
            .kept
            .remove(key)
            .filter(|kept| self.table.is_free(kept.session.mine));
        let resumed = kept.and_then(|kept| {
            let session = Session::resume(turn, kept.session, settings, chance)?;
            Some((session, Some(kept.port)))
        });
        let (session, port) = resumed.unwrap_or_else(|| {
            (
                Session::new(turn, self.discriminator(), settings, chance),
                None,
            )
        });
        self.table
            .insert(turn, key.clone(), session, Voice::new(port));
    }

    /// One that is free and that nobody can guess.
    fn discriminator(&self) -> NonZeroU32 {
        loop {
            let drawn = NonZeroU32::new(u32::from_ne_bytes(chance::bytes()));
            // Of four thousand million at most some hundred are taken.
            if let Some(id) = drawn.filter(|id| self.table.is_free(*id)) {
                return id;
            }
        }
    }

    /// Opens the sockets that are lacking or whose device was made anew, and closes the ears that nobody needs.
    fn open(&mut self) {
        let ranges: BTreeSet<Range> = self.table.wanted().map(|entry| entry.key.range()).collect();
        self.ears.retain(|range, hearing| {
            let is_sound = hearing.ear.is_ok() && hearing.device == index(range.vrf.as_ref());
            is_sound && ranges.contains(range)
        });
        for range in ranges {
            self.ears.entry(range).or_insert_with_key(Hearing::open);
        }
        let voices = self.table.entries().filter_map(|entry| entry.mouth.port);
        let mut taken: BTreeSet<u16> = voices.collect();
        for entry in self.table.entries() {
            let device = index(device(&entry.key));
            if entry.mouth.mouth.is_none() || entry.mouth.device != device {
                entry.mouth.open(&entry.key, device, &taken);
                entry.ifindex = entry.key.interface.as_ref().and(device);
                taken.extend(entry.mouth.port);
            }
        }
    }

    /// Does what a session wants done.
    fn drain(&mut self, turn: Time, id: NonZeroU32) {
        while let Some((entry, output)) = self.table.output(id) {
            match output {
                Output::Send(packet) => entry.mouth.say(&packet),
                Output::Changed(change) => {
                    entry.since = turn;
                    if entry.mouth.changed(change) {
                        self.outbox.changed(entry.key.clone(), change);
                    }
                }
                Output::Stretched(saved) => {
                    let kept = saved.zip(entry.mouth.port);
                    let kept = kept.map(|(session, port)| Kept { session, port });
                    let key = entry.key.clone();
                    self.stretched(id, key, kept);
                }
                Output::Left => {
                    if let Some(entry) = self.table.remove(id) {
                        self.outbox.left(entry.key);
                    }
                }
            }
        }
    }

    fn stretch(
        &mut self,
        turn: Time,
        grace: Span,
        done: oneshot::Sender<BTreeMap<SessionKey, Kept>>,
    ) {
        let up = self
            .table
            .wanted()
            .filter(|entry| entry.session.state() == State::Up);
        let waits_for: BTreeSet<NonZeroU32> =
            up.map(|entry| entry.session.discriminator()).collect();
        let ids = waits_for.clone();
        self.stretching = Some(Stretching {
            done,
            waits_for,
            kept: BTreeMap::new(),
        });
        for id in ids {
            self.table.input(turn, id, Input::Stretch(grace));
            self.drain(turn, id);
        }
        self.end_stretch();
    }

    fn stretched(&mut self, id: NonZeroU32, key: SessionKey, kept: Option<Kept>) {
        if let Some(stretching) = &mut self.stretching {
            stretching.waits_for.remove(&id);
            stretching.kept.extend(kept.map(|kept| (key, kept)));
        }
        self.end_stretch();
    }

    /// Answers once every session has.
    fn end_stretch(&mut self) {
        let is_over = |stretching: &mut Stretching| stretching.waits_for.is_empty();
        if let Some(stretching) = self.stretching.take_if(is_over) {
            let _nobody_waits_any_more = stretching.done.send(stretching.kept);
        }
    }

    fn figures(&self) -> Figures {
        let views = self.table.wanted().map(|entry| {
            let session = &entry.session;
            let deaf = self.ears.get(&entry.key.range());
            let deaf = deaf.and_then(|hearing| hearing.ear.as_ref().err());
            let view = View {
                state: session.state(),
                diagnostic: session.diagnostic(),
                since: entry.since,
                discriminator: session.discriminator(),
                peer: *session.peer(),
                settings: *session.settings(),
                interval: session.interval(),
                detection: session.detection(),
                counts: session.counts(),
                unsent: entry.mouth.unsent,
                trouble: deaf.or(entry.mouth.trouble.as_ref()).cloned(),
            };
            (entry.key.clone(), view)
        });
        Figures {
            sessions: views.collect(),
            discarded: self.discarded.clone(),
            refused: self.refused,
            late_turns: self.late_turns,
        }
    }
}

/// What could not be opened is tried again after this long, and an outbox that was full.
const RETRY: Span = Span::s(1);
/// Packets in one turn at most: more than fast sessions send in a second, and little enough to bear a flood.
const HEARD_PER_TURN: usize = 4096;
/// No packet that is taken is longer than 24 bytes; those with authentication have up to 52.
const BUFFER_BYTES: usize = 128;

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
