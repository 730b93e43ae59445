//! Many peers at once, each with its BGP session and its BFD session, until all have both and nothing has happened for a while.
//!
//! Each takes whatever connection comes, and the next one when that is over: FRR makes its BFD session anew when BGP comes up, and on a
//! busy machine ends BGP for that. All of it has one bound; who is not up by then is not waited for.

use super::peer::{Listening, Session};
use super::place::progress;
use super::sender::Sender;
use super::watch::{Event, Watch};
use anyhow::{Result, bail, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sessions of all these peers, in their order, each with its route.
///
/// # Errors
/// If not all are up, and stay up, within [`UP_MAX`]: how many are.
pub(super) fn establish(
    listening: &[Listening],
    sender: &mut Sender<'_>,
    watch: &Watch,
) -> Result<Vec<Session>> {
    let hold = sender.hold_seconds();
    let is_up: Vec<_> = listening.iter().map(|_| AtomicBool::new(false)).collect();
    let is_over = AtomicBool::new(false);
    let sessions = std::thread::scope(|scope| {
        let peers = listening.iter().zip(&is_up);
        let threads: Vec<_> = peers
            .map(|(peer, is_up)| scope.spawn(|| keep(peer, hold, is_up, &is_over)))
            .collect();
        let settled = settle(&is_up, sender, watch);
        is_over.store(true, Ordering::Relaxed);
        let mut sessions = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(session) => sessions.extend(session),
                Err(_) => bail!("a thread of the bench panicked"),
            }
        }
        settled.map(|()| sessions)
    })?;
    ensure!(
        sessions.len() == listening.len(),
        "a session ended at the last moment"
    );
    Ok(sessions)
}

/// One peer, until all of it is over.
fn keep(peer: &Listening, hold: u16, is_up: &AtomicBool, is_over: &AtomicBool) -> Option<Session> {
    let mut held = None;
    while !is_over.load(Ordering::Relaxed) {
        held = match held {
            None => take(peer, hold),
            Some(session) => still(session),
        };
        is_up.store(held.is_some(), Ordering::Relaxed);
    }
    held
}

/// The next session that comes up, if one does soon. A connection that fails is followed by another.
fn take(peer: &Listening, hold: u16) -> Option<Session> {
    let Ok(Some(mut session)) = peer.glance() else {
        std::thread::sleep(GLANCE);
        return None;
    };
    session.patience(ROUTE_MAX).ok()?;
    session.open(hold).ok()?;
    session.collect(1, Instant::now()).ok()?;
    Some(session)
}

fn still(mut session: Session) -> Option<Session> {
    session.patience(GLANCE).ok()?;
    session.is_open().then_some(session)
}

/// Waits until all are up and nothing happens any more.
fn settle(is_up: &[AtomicBool], sender: &mut Sender<'_>, watch: &Watch) -> Result<()> {
    let (start, mut seen) = (Instant::now(), vec![false; is_up.len()]);
    let (mut quiet, mut told) = (start, start);
    while quiet.elapsed() < SETTLED {
        sender.check()?;
        let event = watch.events.recv_timeout(Duration::from_millis(50)).ok();
        match event {
            Some(Event::Up(number)) => seen[number] = true,
            Some(Event::Down(number, _)) => seen[number] = false,
            Some(Event::Muted(..)) => bail!("nobody was muted"),
            None => (),
        }
        let up = is_up.iter().filter(|up| up.load(Ordering::Relaxed)).count();
        let heard = seen.iter().filter(|is_up| **is_up).count();
        if event.is_some() || up < is_up.len() || heard < is_up.len() {
            quiet = Instant::now();
        }
        let all = is_up.len();
        let stand = format!("{up} of {all} BGP sessions and {heard} of {all} BFD sessions are up");
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            progress(&format!("{stand} after {} s", start.elapsed().as_secs()));
        }
        ensure!(
            start.elapsed() < UP_MAX,
            "did not establish: {stand} after {} s",
            UP_MAX.as_secs()
        );
    }
    Ok(())
}

/// Nothing happens for so long: all are at their fast intervals.
const SETTLED: Duration = Duration::from_secs(3);
/// For all of them. FRR dials each second, and a second time where its BFD ends the first session.
const UP_MAX: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(20);
/// From OPEN to the one route there is.
const ROUTE_MAX: Duration = Duration::from_secs(10);
const TOLD_EVERY: Duration = Duration::from_secs(10);
