//! A watch as the body of an answer: one line an event, until one side has enough.

use super::Shared;
use crate::call::Stop;
use crate::faults::Fault;
use crate::post;
use crate::read::metadata_only;
use crate::route::Form;
use crate::schema;
use crate::table;
use crate::watch::{Event, Watch};
use futures_util::{Stream, stream};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Lines of a watch.
pub(super) fn frames(
    shared: Arc<Shared>,
    watch: Watch,
    fault: Fault,
) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> {
    let feed = Feed {
        changed: shared.subscribe(),
        shared,
        watch,
        fault,
        pending: VecDeque::new(),
        sent: 0,
        is_over: false,
    };
    stream::unfold(feed, |mut feed| async move {
        let next = feed.next().await?;
        Some((next, feed))
    })
}

/// The end of a connection that breaks, once what was sent before is on its way.
pub(super) async fn broken() -> Result<Frame<Bytes>, io::Error> {
    tokio::time::sleep(FLUSHED_AFTER).await;
    Err(io::ErrorKind::ConnectionReset.into())
}

struct Feed {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    watch: Watch,
    fault: Fault,
    pending: VecDeque<Value>,
    /// Events so far.
    sent: u32,
    is_over: bool,
}

impl Feed {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, io::Error>> {
        loop {
            match &self.fault {
                Fault::Expire { after } if self.sent >= *after && !self.is_over => {
                    let event = self.watch.expire(&self.shared.store());
                    self.is_over = true;
                    self.pending.clear();
                    return Some(Ok(line(&written(&self.watch, &event, None))));
                }
                Fault::Stall { after } if self.sent >= *after => std::future::pending().await,
                Fault::Cut { after } if self.sent > *after => return Some(broken().await),
                _other => {}
            }
            if let Some(event) = self.pending.pop_front() {
                self.sent += 1;
                if matches!(self.fault, Fault::Cut { after } if self.sent > after) {
                    let whole = event.to_string();
                    let half = whole.as_bytes()[..whole.len() / 2].to_vec();
                    return Some(Ok(Frame::data(Bytes::from(half))));
                }
                return Some(Ok(line(&event)));
            }
            if self.is_over {
                return None;
            }
            self.fill().await;
        }
    }

    /// Waits for events.
    async fn fill(&mut self) {
        self.changed.mark_unchanged();
        let now = Timestamp::now();
        let poll = self.watch.poll(&self.shared.store(), now);
        self.is_over = poll.is_over;
        if poll.events.is_empty() {
            if !poll.is_over {
                let wait = poll.wake.map_or(FOREVER, |wake| {
                    let wait = wake.duration_since(now);
                    Duration::try_from(wait).unwrap_or_default()
                });
                // Whichever comes first: what was missed is found by the next poll.
                let _ = tokio::time::timeout(wait, self.changed.changed()).await;
            }
            return;
        }
        let lines = self.convert(poll.events).await;
        for event in lines {
            if self.fault == Fault::Repeat {
                self.pending.push_back(event.clone());
            }
            self.pending.push_back(event);
        }
    }

    /// Events in the version of the watch, written. What cannot be converted is left out, as the server's cache does not have it
    /// either.
    async fn convert(&self, events: Vec<Event>) -> Vec<Value> {
        let watch = &self.watch;
        let wanted = watch.kind.api_version(&watch.version);
        let is_strange = |event: &&Event| {
            watch.kind.is_custom() && event.kind != "ERROR" && event.object["apiVersion"] != wanted
        };
        let strange = events.iter().filter(is_strange);
        let strange: Vec<_> = strange.map(|event| (*event.object).clone()).collect();
        let converted = self.converted(&strange).await;
        let mut converted = converted.unwrap_or_default().into_iter();
        let lines = events.iter().filter_map(|event| {
            let new = match is_strange(&event) {
                true => Some(converted.next()?),
                false => None,
            };
            Some(written(watch, event, new))
        });
        lines.collect()
    }

    async fn converted(&self, strange: &[Value]) -> Option<Vec<Value>> {
        let identity = self.shared.store().identity();
        let mut replies = Vec::new();
        loop {
            match self.watch.converted(strange, &identity, &replies) {
                Ok(converted) => return Some(converted),
                Err(Stop::Refused(_)) => return None,
                Err(Stop::Ask(question)) => {
                    let places = self.shared.places().clone();
                    let reply = post::ask(&question, &places).await;
                    replies.push((*question, reply));
                }
            }
        }
    }
}

/// An event as its line has it. `converted` takes the place of the stored object.
fn written(watch: &Watch, event: &Event, converted: Option<Value>) -> Value {
    let mut object = converted.unwrap_or_else(|| (*event.object).clone());
    let is_whole = event.kind != "ERROR" && event.kind != "BOOKMARK";
    if is_whole && let Some(version) = watch.kind.version(&watch.version) {
        if watch.kind.is_custom() {
            schema::complete(&version.schema, &mut object);
        }
        object = match watch.form {
            Form::Whole => object,
            Form::Metadata => metadata_only(&object),
            Form::Table => table::event(watch, &object),
        };
    }
    json!({"type": event.kind, "object": object})
}

fn line(event: &Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{event}\n")))
}

/// On the loopback bytes are gone long before.
const FLUSHED_AFTER: Duration = Duration::from_millis(20);

/// A watch without an end is only woken by changes; this is longer than any test.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
