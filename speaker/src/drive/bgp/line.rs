//! The connections of a session: bytes out in order, bytes in as they come, and an end that the other side can read.

use crate::edge::bgp::Dial;
use speaker_proto::Span;
use speaker_proto::bgp::session::{CLOSE_FLUSH, Side};
use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The connections that a peer has with us: at most the one that we dialled, and one that it did.
#[derive(Debug, Default)]
pub(super) struct Lines {
    dialled: Option<Line>,
    accepted: Option<Line>,
}

impl Lines {
    pub(super) const fn get(&self, side: Side) -> Option<&Line> {
        match side {
            Side::Dialled => self.dialled.as_ref(),
            Side::Accepted => self.accepted.as_ref(),
        }
    }

    pub(super) const fn slot(&mut self, side: Side) -> &mut Option<Line> {
        match side {
            Side::Dialled => &mut self.dialled,
            Side::Accepted => &mut self.accepted,
        }
    }

    /// Waits until something happens on one. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Side, Happened) {
        tokio::select! {
            happened = next(&mut self.dialled) => (Side::Dialled, happened),
            happened = next(&mut self.accepted) => (Side::Accepted, happened),
        }
    }
}

async fn next(line: &mut Option<Line>) -> Happened {
    match line {
        Some(line) => line.next().await,
        None => pending().await,
    }
}

/// A connection and what it is still to be given.
#[derive(Debug)]
pub(super) struct Line {
    /// As the peer would be dialled, or was, when this was made.
    dial: Dial,
    stream: TcpStream,
    /// At most what the machine gives at a time, [`speaker_proto::bgp::session::IN_FLIGHT_MAX`].
    unsent: VecDeque<Vec<u8>>,
    /// Bytes of the first message that are gone already.
    gone: usize,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Happened {
    /// These bytes came.
    Read(Vec<u8>),
    /// So many went.
    Wrote(usize),
    /// It ended, in words.
    Ended(String),
}

impl Line {
    pub(super) const fn new(stream: TcpStream, dial: Dial) -> Self {
        Self {
            dial,
            stream,
            unsent: VecDeque::new(),
            gone: 0,
        }
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) const fn dial(&self) -> &Dial {
        &self.dial
    }

    /// It is now as if it had been made in this way.
    pub(super) fn became(&mut self, dial: Dial) {
        self.dial = dial;
    }

    /// To be written after all that was given before.
    pub(super) fn give(&mut self, bytes: Vec<u8>) {
        self.unsent.push_back(bytes);
    }

    /// Waits until something happens. Cancel-safe.
    pub(super) async fn next(&mut self) -> Happened {
        loop {
            let interest = match self.unsent.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = match self.stream.ready(interest).await {
                Ok(ready) => ready,
                Err(error) => return Happened::Ended(error.to_string()),
            };
            // What the peer says comes first: it may be why nothing can be written.
            if ready.is_readable()
                && let Some(happened) = self.read()
            {
                return happened;
            }
            if ready.is_writable()
                && let Some(happened) = self.write()
            {
                return happened;
            }
        }
    }

    /// What has come already; `None`: nothing.
    pub(super) fn read(&self) -> Option<Happened> {
        let mut buffer = vec![0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Some(Happened::Ended("closed by the peer".to_owned())),
            Ok(length) => {
                buffer.truncate(length);
                Some(Happened::Read(buffer))
            }
            Err(error) => not_yet(error),
        }
    }

    fn write(&mut self) -> Option<Happened> {
        let first = self.unsent.front()?;
        match self.stream.try_write(&first[self.gone..]) {
            Ok(length) => {
                self.gone += length;
                if self.gone == first.len() {
                    self.unsent.pop_front();
                    self.gone = 0;
                }
                Some(Happened::Wrote(length))
            }
            Err(error) => not_yet(error),
        }
    }

    /// Writes what is left and closes. What still comes in is read and dropped: closing with unread bytes would send a reset, over which
    /// the other side may lose our last word.
    pub(super) async fn close(mut self) {
        let flush = async {
            let mut skip = self.gone;
            for bytes in &self.unsent {
                self.stream.write_all(&bytes[skip..]).await?;
                skip = 0;
            }
            self.stream.shutdown().await?;
            let mut buffer = vec![0; READ_BYTES];
            while self.stream.read(&mut buffer).await? > 0 {}
            io::Result::Ok(())
        };
        // One that does not read has no claim to our last word.
        drop(timeout(duration(CLOSE_FLUSH), flush).await);
    }
}

fn not_yet(error: io::Error) -> Option<Happened> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => None,
        ErrorKind::TimedOut => Some(Happened::Ended(
            "the peer acknowledged nothing for the hold time".to_owned(),
        )),
        _ => Some(Happened::Ended(error.to_string())),
    }
}

fn duration(span: Span) -> Duration {
    span.into()
}

/// Two full messages: a peer whose routes we do not keep has little to say.
const READ_BYTES: usize = 8192;
