//! The log: one line per event on standard output, as JSON with MetalLB's keys or as text for people.
//!
//! Writing never blocks whoever logs: lines go through a bounded queue to a thread of their own, and what does
//! not fit is counted. A storm of equal lines is cut short ([`bound`]). `docs/metallb.md` lists the keys and the
//! events that MetalLB's users look for. Knows nothing of what an event means.

mod bound;
mod line;

#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use bound::Bound;
use caps::CapSet;
use clap::ValueEnum;
use line::Line;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The least severe line that is written; MetalLB's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Level {
    /// Everything, also what happens per frame.
    All,
    /// Decisions.
    Debug,
    /// Changes that an operator may want to see.
    #[default]
    Info,
    /// What someone should look at.
    Warn,
    /// Broken promises.
    Error,
    /// Nothing.
    None,
}

impl Level {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::All => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::None => LevelFilter::OFF,
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// Addresses or names as one field, which JSON shows as a list: `info!(ip = list(&ips))`.
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> tracing::field::DebugValue<Vec<String>> {
    tracing::field::debug(items.iter().map(ToString::to_string).collect())
}

/// Lines that did not reach the log since the start: cut short as a storm, or past the queue's length.
pub(crate) fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Starts the log of this process. Dropping the guard writes what is queued.
///
/// # Errors
/// When there is a log already, or no thread can be started.
pub(crate) fn init(level: Level, format: Format, clock: Clock) -> Result<Guard> {
    let look = Look::of(
        format,
        std::io::stdout().is_terminal(),
        std::env::var_os("NO_COLOR").is_some(),
    );
    let (lines, queue) = sync_channel(QUEUE_LINES_MAX);
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            give_up_capabilities();
            write_all(&queue);
        })
        .context("failed to start the log's thread")?;
    let layer = Log {
        level: level.filter(),
        look,
        clock,
        lines: lines.clone(),
        bound: Mutex::default(),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .context("failed to start the log")?;
    Ok(Guard {
        lines,
        writer: Some(writer),
    })
}

/// Keeps the log's thread until the last line is written.
#[derive(Debug)]
pub(crate) struct Guard {
    lines: SyncSender<Option<String>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let is_told = self.lines.send(None).is_ok();
        if let Some(writer) = self.writer.take().filter(|_| is_told) {
            drop(writer.join());
        }
    }
}

/// Where the time of a line comes from.
pub(crate) type Clock = fn() -> SystemTime;

/// How lines look here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Json,
    Text { coloured: bool },
}

impl Look {
    const fn of(format: Format, is_terminal: bool, no_colour: bool) -> Self {
        match format {
            Format::Auto if is_terminal => Self::Text {
                coloured: !no_colour,
            },
            Format::Auto | Format::Json => Self::Json,
            Format::Text => Self::Text {
                coloured: is_terminal && !no_colour,
            },
        }
    }
}

/// The subscriber's one layer.
struct Log {
    level: LevelFilter,
    look: Look,
    clock: Clock,
    /// `None` ends the writer.
    lines: SyncSender<Option<String>>,
    bound: Mutex<Bound>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: LayerContext<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let now = (self.clock)();
        let line = Line::of(event);
        let admitted = self
            .bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(now, &line.identity());
        if admitted.cut > 0 {
            LOST.fetch_add(admitted.cut, Ordering::Relaxed);
            self.queue(now, &Line::cut_short(admitted.cut));
        }
        if admitted.is_in {
            self.queue(now, &line);
        }
    }
}

impl Log {
    fn queue(&self, now: SystemTime, line: &Line) {
        let text = match self.look {
            Look::Json => line.json(now),
            Look::Text { coloured } => line.text(now, coloured),
        };
        if self.lines.try_send(Some(text)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread starts before the others have given up theirs, and needs none.
fn give_up_capabilities() {
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        eprintln!("speaker: the log's thread could gain privileges: {error}");
    }
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        if let Err(error) = caps::clear(None, set) {
            eprintln!("speaker: the log's thread keeps its {set:?} capabilities: {error}");
        }
    }
}

fn write_all(queue: &Receiver<Option<String>>) {
    while let Ok(Some(line)) = queue.recv() {
        let mut out = std::io::stdout().lock();
        // A closed standard output leaves nobody to tell.
        drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
    }
}

static LOST: AtomicU64 = AtomicU64::new(0);

const QUEUE_LINES_MAX: usize = 8192; // a burst of every service of a large cluster
