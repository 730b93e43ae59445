//! The thread that keeps BFD sessions: it owns their machines, their sockets and their clock.
//!
//! Who uses it says which sessions are wanted and hears when one comes up or goes down; what for is not known here. The thread takes in
//! what came before it finds anybody late, never logs and waits for nobody. [`table`] is which packet is whose.

mod outbox;
mod quota;
mod table;
mod thread;
mod voice;

pub(crate) use table::{Kept, SessionKey};

use super::wake::Wake;
use outbox::EVENTS_MAX;
use speaker_proto::bfd::{ANSWER_MAX, Change, Counts, Diagnostic, Discard, Peer, Settings, State};
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread as threads;
use std::time::Duration;
use thread::{Ask, Thread};
use tokio::sync::{mpsc, oneshot, watch};

/// What is told of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// It came Up, or it left Up. One that never was Up has not gone down (RFC 5882 §4.3): of it nothing is told.
    Changed(SessionKey, Change),
    /// It was not wanted any more, and the other side was told so.
    Left(SessionKey),
}

/// What the thread shows of itself.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Figures {
    /// Every session that is wanted.
    pub(crate) sessions: BTreeMap<SessionKey, View>,
    /// Packets that were not taken, by cause.
    pub(crate) discarded: BTreeMap<Discard, u64>,
    /// Sessions that are wanted beyond [`SESSIONS_MAX`].
    pub(crate) refused: usize,
    /// Turns of the thread that came later than [`LATE`].
    pub(crate) late_turns: u64,
}

/// What is seen of one session.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct View {
    /// Its state.
    pub(crate) state: State,
    /// Why it last went down.
    pub(crate) diagnostic: Diagnostic,
    /// Since when it is in this state.
    pub(crate) since: Time,
    /// Our discriminator.
    pub(crate) discriminator: NonZeroU32,
    /// What the other side last said.
    pub(crate) peer: Peer,
    /// What is asked for.
    pub(crate) settings: Settings,
    /// Between our packets; `None`: there are no periodic ones.
    pub(crate) interval: Option<Span>,
    /// How long the other side may be silent.
    pub(crate) detection: Span,
    /// What came of it so far.
    pub(crate) counts: Counts,
    /// Packets that the network stack did not take.
    pub(crate) unsent: u64,
    /// Why it has no socket.
    pub(crate) trouble: Option<String>,
}

/// The thread as seen from others. Cheap to clone; when the last one is gone the thread ends, and the sessions with it, silently.
#[derive(Clone)]
pub(crate) struct Handle {
    wants: watch::Sender<Arc<BTreeMap<SessionKey, Settings>>>,
    asks: SyncSender<Ask>,
    wake: Wake,
    /// Less than a whole CPU at any time, and whether that was told.
    quota: Option<String>,
    is_warned: Arc<AtomicBool>,
}

/// Starts the thread in the calling thread's network namespace. A session of `kept` that is wanted is gone on with where it is not too late.
///
/// # Errors
/// When the process can have no more threads or descriptors.
pub(crate) fn start(
    kept: BTreeMap<SessionKey, Kept>,
) -> io::Result<(Handle, mpsc::Receiver<Event>)> {
    let (wants, wanted) = watch::channel(Arc::default());
    let (asks, asked) = sync_channel(ASKS);
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let wake = Wake::new()?;
    let mut thread = Thread::new(kept, wanted, asked, events, wake.clone());
    threads::Builder::new()
        .name("bfd".into())
        .spawn(move || while thread.turn() {})?;
    let handle = Handle {
        wants,
        asks,
        wake,
        quota: quota::read(),
        is_warned: Arc::default(),
    };
    Ok((handle, heard))
}

impl Handle {
    /// These sessions and no others, from now on. Settings of a session that goes on change without taking it down; one that is not
    /// wanted any more is told to be AdminDown until [`Event::Left`]. Never blocks.
    pub(crate) fn want(&self, sessions: BTreeMap<SessionKey, Settings>) {
        self.warn(&sessions);
        self.wants.send_replace(Arc::new(sessions));
        self.wake.ring();
    }

    /// Asks the other sides to bear `grace` without us, and returns those that agreed, for [`start`] of the next process. After that the
    /// handles are to be dropped: the sessions that are kept must not be told anything else.
    pub(crate) async fn stretch(&self, grace: Span) -> BTreeMap<SessionKey, Kept> {
        let answer = self.ask(|done| Ask::Stretch(grace, done));
        let wait = Duration::from(ANSWER_MAX) + ANSWER_WAIT;
        answer.await_for(wait).await.unwrap_or_default()
    }

    /// Wants no session any more, and waits until the other sides were told so for a detection time each, as far as that fits into
    /// [`LEAVE_MAX`].
    pub(crate) async fn leave(&self) {
        self.want(BTreeMap::new());
        let _told_or_late = self.ask(Ask::Leave).await_for(LEAVE_MAX.into()).await;
    }

    /// What the thread shows. `None`: it does not answer.
    pub(crate) async fn figures(&self) -> Option<Figures> {
        self.ask(Ask::Look).await_for(ANSWER_WAIT).await
    }

    fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Answer<T> {
        let (done, answer) = oneshot::channel();
        // A full channel means a thread that hangs: then no answer comes.
        let _asked = self.asks.try_send(ask(done));
        self.wake.ring();
        Answer(answer)
    }

    /// A quota takes the CPU away for longer than a fast session may be silent.
    fn warn(&self, sessions: &BTreeMap<SessionKey, Settings>) {
        let fast = sessions
            .iter()
            .find(|(_, settings)| settings.detection() < QUOTA_BEARS);
        if let (Some(quota), Some((key, settings))) = (&self.quota, fast)
            && !self.is_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                peer = %key.peer, detection = ?settings.detection(), %quota,
                "a CPU limit can make BFD miss its own packets: take the limit away, or use slower timers"
            );
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // So that the thread sees that nobody is left.
        self.wake.ring();
    }
}

/// An answer that may not come.
struct Answer<T>(oneshot::Receiver<T>);

impl<T> Answer<T> {
    async fn await_for(self, wait: Duration) -> Option<T> {
        tokio::time::timeout(wait, self.0).await.ok()?.ok()
    }
}

/// Sessions at most: each costs a socket and up to a hundred packets a second each way.
pub(crate) const SESSIONS_MAX: usize = 256;
/// What a stop waits for AdminDown to be told: thrice a second apart. Who bears silence for longer finds us gone by it, after its BGP
/// session has ended, which then costs nothing.
pub(crate) const LEAVE_MAX: Span = Span::s(3);
/// A turn that comes later than this after it was due is counted.
pub(crate) const LATE: Span = Span::ms(20);
/// Questions that may wait for the thread's next turn.
const ASKS: usize = 8;
/// So long the thread may take for a turn.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// A CPU limit is enforced in periods of 100 ms: what may be silent for three of them bears it.
const QUOTA_BEARS: Span = Span::ms(300);
#[cfg(test)]
mod netns_tests;
#[cfg(test)]
mod routers;
