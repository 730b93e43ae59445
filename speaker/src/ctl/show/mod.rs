//! Answers from a snapshot and the kernel's side, as data and as text.
//!
//! Pure but for the reading of the kernel's maps.

mod bfd;
mod bgp;
mod counters;
pub(super) mod drain;
mod facts;
mod flows;
mod links;
mod members;
mod plan;
mod sockets;
mod status;
mod steer;
mod vips;

use super::snapshot::{Sight, Snapshot};
use super::table::table;
use super::wire::Answer;
use super::{Event, Question, SocketSight};
use anyhow::{Context, Result, bail};
use drain::Progress;
use serde::Serialize;
use speaker_core::manifest;
use speaker_core::plan::{Explanation, explain};
use speaker_core::service::ServiceId;
use speaker_proto::Time;

/// What there is to make an answer from.
pub(super) struct Known<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) sight: &'a dyn Sight,
    pub(super) now: Time,
}

/// An answer in both forms.
struct Shown<T> {
    data: T,
    text: String,
}

impl<T: Serialize> Shown<T> {
    fn into_answer(self, as_text: bool) -> Result<Answer> {
        if as_text {
            return Ok(Answer::Text(self.text));
        }
        let data = serde_json::to_value(self.data).context("failed to put the answer into JSON")?;
        Ok(Answer::Data(data))
    }
}

/// Answers a question that one answer is enough for.
pub(super) fn answer(known: &Known<'_>, question: &Question, as_text: bool) -> Result<Answer> {
    match question {
        Question::Status => status::show(known)?.into_answer(as_text),
        Question::Plan => plan::show(known).into_answer(as_text),
        Question::Why { service } => why(known, service)?.into_answer(as_text),
        Question::Vips => vips::show(known)?.into_answer(as_text),
        Question::Links => links::show(known)?.into_answer(as_text),
        Question::Members => members::show(known).into_answer(as_text),
        Question::Bgp { peer, order: None } => {
            bgp::show(known, peer.as_deref())?.into_answer(as_text)
        }
        Question::Bfd { peer } => bfd::show(known, peer.as_deref())?.into_answer(as_text),
        Question::Routes { peer } => bgp::routes(known, peer.as_deref()).into_answer(as_text),
        Question::Steer { vip } => steer::show(known, vip.as_deref())?.into_answer(as_text),
        Question::Flows(wanted) => flows::show(known, wanted)?.into_answer(as_text),
        Question::Maps => maps(known)?.into_answer(as_text),
        Question::Counters => counters::show(known)?.into_answer(as_text),
        Question::Facts => facts::show(known)?.into_answer(as_text),
        Question::Objects => objects(known).into_answer(as_text),
        Question::Metrics
        | Question::Watch
        | Question::Drain { .. }
        | Question::Socket { .. }
        | Question::Bgp { order: Some(_), .. } => {
            bail!("this has no single answer")
        }
    }
}

/// How far a drain is.
pub(super) fn progress(progress: &Progress, as_text: bool) -> Result<Answer> {
    let text = progress.to_string();
    Shown {
        data: progress,
        text,
    }
    .into_answer(as_text)
}

/// Sockets that serve VIPs.
pub(super) fn sockets(there: Vec<SocketSight>, as_text: bool) -> Result<Answer> {
    sockets::show(there).into_answer(as_text)
}

/// A change.
pub(super) fn event(event: Event, as_text: bool) -> Result<Answer> {
    let text = format!("{event}\n");
    Shown { data: event, text }.into_answer(as_text)
}

fn why(known: &Known<'_>, service: &str) -> Result<Shown<Explanation>> {
    let Some((namespace, name)) = service.split_once('/') else {
        bail!("{service:?} is no service: it is asked for as namespace/name");
    };
    let id = ServiceId {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let Snapshot {
        world,
        held,
        alive,
        local,
        ..
    } = known.snapshot;
    let explanation = explain(world, alive, held, local, &id)
        .with_context(|| format!("there is no service {service}{}", near(known.snapshot, &id)))?;
    let plan = &known.snapshot.plan;
    let explanation = explanation
        .with_steering(plan.steering.as_ref())
        .with_sockets(&plan.served)
        .with_options(plan);
    Ok(Shown {
        text: explanation.to_string(),
        data: explanation,
    })
}

/// Services of that name elsewhere.
fn near(snapshot: &Snapshot, id: &ServiceId) -> String {
    let services = snapshot.world.services.keys();
    let same: Vec<String> = services
        .filter(|other| other.name == id.name)
        .take(NEAR_MAX)
        .map(ToString::to_string)
        .collect();
    if same.is_empty() {
        String::new()
    } else {
        format!("; there is {}", same.join(", "))
    }
}

/// The objects in force, without secrets.
fn objects(known: &Known<'_>) -> Shown<Vec<serde_json::Value>> {
    let world = &known.snapshot.world;
    let data: Vec<_> = manifest::write(world)
        .map(manifest::without_secrets)
        .collect();
    let document =
        |object| serde_norway::to_string(object).unwrap_or_else(|why| format!("# {why}\n"));
    let text = data
        .iter()
        .map(|object| format!("---\n{}", document(object)));
    Shown {
        text: text.collect(),
        data,
    }
}

fn maps(known: &Known<'_>) -> Result<Shown<serde_json::Value>> {
    let maps = known.sight.maps()?;
    let rows: Vec<[String; 8]> = maps
        .iter()
        .map(|map| {
            [
                map.name.to_owned(),
                map.id.to_string(),
                map.kind.clone(),
                map.layout.to_string(),
                map.key_bytes.to_string(),
                map.value_bytes.to_string(),
                map.entries_max.to_string(),
                map.memory_bytes
                    .map_or_else(|| "?".to_owned(), |bytes| bytes.to_string()),
            ]
        })
        .collect();
    let head = [
        "MAP",
        "ID",
        "TYPE",
        "LAYOUT",
        "KEY",
        "VALUE",
        "ENTRIES-MAX",
        "MEMORY",
    ];
    let pins = maps
        .first()
        .and_then(|map| map.pin.rsplit_once('/'))
        .map_or("", |(dir, _)| dir);
    let text = format!("pinned in {pins}\n\n{}", table(head, &rows));
    Ok(Shown {
        data: serde_json::json!({ "maps": maps }),
        text,
    })
}

const NEAR_MAX: usize = 5;
