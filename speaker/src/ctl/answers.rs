//! What each question is answered with: facts of the deciding thread, the links' task and the kernel's maps.

use super::table::table;
use super::{Answer, Request};
use crate::dataplane::{Sight, SlotSight};
use crate::drive::clock::now;
use crate::drive::decide::View;
use crate::drive::links::Attached;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use speaker_core::local::Link;
use speaker_core::plan::{self, Outcome, Plan};
use speaker_core::service::ServiceId;
use speaker_core::{Kind, Problem};
use speaker_proto::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Where the answers come from.
pub(crate) struct State {
    /// What does not change: name of the node, version, directory, hooks.
    pub(crate) settings: BTreeMap<&'static str, String>,
    /// When the speaker started.
    pub(crate) started: Time,
    /// What the deciding thread did last.
    pub(crate) views: watch::Receiver<Option<Arc<View>>>,
    /// Where the program is attached.
    pub(crate) attached: watch::Receiver<Attached>,
    /// Whether this speaker allocates.
    pub(crate) allocates: watch::Receiver<bool>,
    /// Changes, for `watch`.
    pub(crate) changes: broadcast::Sender<Answer>,
    /// The kernel's maps.
    pub(crate) sight: Sight,
}

impl State {
    pub(super) fn changes(&self) -> broadcast::Receiver<Answer> {
        self.changes.subscribe()
    }

    /// Answers everything but `watch`, which has no end.
    pub(super) fn answer(&self, request: &Request) -> Result<Answer> {
        match request {
            Request::Status => self.status(),
            Request::Plan => Ok(plan_answer(&self.view()?.plan)),
            Request::Why { service } => self.why(service),
            Request::Vips => self.vips(),
            Request::Links => self.links(),
            Request::Maps => self.maps(),
            Request::Counters => self.counters(),
            Request::Watch => bail!("watch has answers without end"),
        }
    }

    fn view(&self) -> Result<Arc<View>> {
        self.views.borrow().clone().context("the deciding thread has not finished its first turn")
    }

    fn status(&self) -> Result<Answer> {
        let view = self.view()?;
        let deadline = self.sight.deadline_ns()?;
        let slack_ms = deadline.saturating_sub(now().ns()) / 1_000_000;
        let waits_for: Vec<&str> =
            Kind::ALL.iter().filter(|kind| !view.world.synced.contains(kind)).map(|k| k.as_str()).collect();
        let announced = view.plan.outcomes.values().filter(|o| matches!(o, Outcome::Announced(_))).count();
        let attached = self.attached.borrow().values().filter(|report| report.is_attached()).count();
        let problems = problems(&view);
        let data = json!({
            "settings": self.settings,
            "uptime_s": now().since(self.started).ns() / 1_000_000_000,
            "deadline": { "armed": slack_ms > 0, "slack_ms": slack_ms },
            "waits_for": waits_for,
            "allocates": *self.allocates.borrow(),
            "services": { "total": view.plan.outcomes.len(), "announced": announced },
            "groups_held": view.held.len(),
            "entries": view.tables.vips.len(),
            "links": { "announcing": view.local.links.len(), "attached": attached },
            "decided": {
                "age_ms": now().since(view.at).ns() / 1_000_000,
                "plans": view.work.plans,
                "writes": view.work.writes,
                "last_us": view.work.last.ns() / 1_000,
                "repairs": view.work.repairs,
                "failures": view.work.failures,
                "events_lost": view.work.events_lost,
            },
            "problems": problems,
        });
        Ok(Answer { text: status_text(&data, &problems), data })
    }

    fn why(&self, service: &str) -> Result<Answer> {
        let (namespace, name) =
            service.split_once('/').with_context(|| format!("{service:?} is not namespace/name"))?;
        let id = ServiceId { namespace: namespace.to_owned(), name: name.to_owned() };
        let view = self.view()?;
        let members = view.world.nodes.keys().cloned().collect();
        let story = plan::explain(&view.world, &members, &view.held, &view.local, &id)
            .with_context(|| format!("there is no service {id}"))?;
        let data = serde_json::to_value(&story).context("failed to write the explanation")?;
        Ok(Answer { text: story.to_string(), data })
    }

    fn slots(&self) -> Result<Vec<(String, SlotSight)>> {
        let view = self.view()?;
        let names: BTreeMap<u32, String> =
            view.local.links.iter().map(|(name, link)| (link.ifindex, name.to_string())).collect();
        let named = |slot: SlotSight| {
            let link = names.get(&slot.ifindex).cloned();
            (link.unwrap_or_else(|| format!("#{}", slot.ifindex)), slot)
        };
        Ok(self.sight.slots()?.into_iter().map(named).collect())
    }

    fn vips(&self) -> Result<Answer> {
        let slots = self.slots()?;
        let rows: Vec<_> = slots
            .iter()
            .map(|(link, slot)| {
                [
                    slot.vip.to_string(),
                    link.clone(),
                    slot.mode.to_owned(),
                    slot.epoch.to_string(),
                    if slot.is_fenced { "yes" } else { "no" }.to_owned(),
                    slot.outcomes.get("answered").copied().unwrap_or(0).to_string(),
                    slot.packets.to_string(),
                    slot.bytes.to_string(),
                ]
            })
            .collect();
        let text = table(["VIP", "LINK", "MODE", "EPOCH", "FENCED", "ANSWERED", "PACKETS", "BYTES"], &rows);
        Ok(Answer { text, data: slots_data(&slots)? })
    }

    fn counters(&self) -> Result<Answer> {
        let slots = self.slots()?;
        let globals = self.sight.globals()?;
        let mut rows: Vec<[String; 4]> = Vec::new();
        for (link, slot) in &slots {
            for (name, count) in slot.outcomes.iter().filter(|(_, count)| **count > 0) {
                rows.push([slot.vip.to_string(), link.clone(), (*name).to_owned(), count.to_string()]);
            }
        }
        for global in &globals {
            rows.push(["-".into(), "-".into(), global.name.to_owned(), global.count.to_string()]);
        }
        let text = table(["VIP", "LINK", "COUNTER", "FRAMES"], &rows);
        let globals: BTreeMap<_, _> = globals.iter().map(|g| (g.name, g.count)).collect();
        Ok(Answer { text, data: json!({ "vips": slots_data(&slots)?, "node": globals }) })
    }

    fn links(&self) -> Result<Answer> {
        let view = self.view()?;
        let attached = self.attached.borrow().clone();
        let mut rows = Vec::new();
        let mut data = Vec::new();
        for (name, link) in &view.local.links {
            let report = attached.get(&link.ifindex);
            let report = serde_json::to_value(report).context("failed to write the report")?;
            let hook = report["hook"].as_str().unwrap_or("none").to_owned();
            rows.push([name.to_string(), link.mac.to_string(), state(link).to_owned(), hook, steps(&report)]);
            data.push(json!({
                "link": name.to_string(),
                "ifindex": link.ifindex,
                "mac": link.mac.to_string(),
                "up": link.is_up,
                "carrier": link.has_carrier,
                "arp": link.has_arp,
                "ndp": link.has_ndp,
                "program": report,
            }));
        }
        let mut text = table(["LINK", "MAC", "STATE", "HOOK", "STEPS"], &rows);
        let others: Vec<String> = view.local.other_links.iter().map(ToString::to_string).collect();
        if !others.is_empty() {
            let _never_fails = writeln!(text, "not announcing: {}", others.join(", "));
        }
        Ok(Answer { text, data: json!({ "links": data, "others": others }) })
    }

    fn maps(&self) -> Result<Answer> {
        let maps = self.sight.maps()?;
        let rows: Vec<_> = maps
            .iter()
            .map(|map| {
                [
                    map.name.to_owned(),
                    map.id.to_string(),
                    map.kind.clone(),
                    format!("{}/{}", map.key_bytes, map.value_bytes),
                    map.entries_max.to_string(),
                    map.memory_bytes.map_or_else(|| "?".into(), |bytes| bytes.to_string()),
                    map.pin.clone(),
                ]
            })
            .collect();
        let text = table(["MAP", "ID", "TYPE", "KEY/VALUE", "ENTRIES", "MEMORY", "PIN"], &rows);
        Ok(Answer { text, data: serde_json::to_value(&maps).context("failed to write the maps")? })
    }
}

fn slots_data(slots: &[(String, SlotSight)]) -> Result<Value> {
    let with_name = |(link, slot): &(String, SlotSight)| {
        let mut value = serde_json::to_value(slot).context("failed to write a VIP")?;
        value["link"] = json!(link);
        Ok(value)
    };
    slots.iter().map(with_name).collect::<Result<Vec<_>>>().map(Value::from)
}

fn plan_answer(plan: &Plan) -> Answer {
    let entries: Vec<Value> = plan
        .l2
        .iter()
        .map(|((vip, link), entry)| {
            json!({
                "vip": vip.to_string(),
                "link": link.to_string(),
                "mode": format!("{:?}", entry.mode).to_lowercase(),
                "epoch": entry.epoch.0,
                "group": entry.group.to_string(),
            })
        })
        .collect();
    let outcomes: Vec<Value> = plan
        .outcomes
        .iter()
        .map(|(service, outcome)| {
            let reason = match outcome {
                Outcome::Announced(_) => None,
                Outcome::Silent(reason) => Some(reason.metallb_name()),
            };
            json!({
                "service": service.to_string(),
                "announced": reason.is_none(),
                "reason": reason,
                "because": outcome.to_string(),
            })
        })
        .collect();
    let data = json!({ "complete": plan.is_complete, "entries": entries, "outcomes": outcomes });
    Answer { text: plan.to_string(), data }
}

/// Everything that is wrong: with objects, between them, and with what did not fit.
pub(crate) fn problems(view: &View) -> BTreeSet<Problem> {
    let objects = view.world.problems.values();
    objects.chain(&view.plan.problems).chain(&view.problems).cloned().collect()
}

fn status_text(data: &Value, problems: &BTreeSet<Problem>) -> String {
    let settings = &data["settings"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deadline = match data["deadline"]["armed"].as_bool() {
        Some(true) => format!("in force, {} ms left", data["deadline"]["slack_ms"]),
        Some(false) | None => "not in force: nothing is answered".to_owned(),
    };
    let waits: Vec<String> = data["waits_for"].as_array().into_iter().flatten().map(word).collect();
    let rows = [
        ("node", word(&settings["node"])),
        ("version", word(&settings["version"])),
        ("manifests", word(&settings["manifests"])),
        ("up for", format!("{} s", data["uptime_s"])),
        ("deadline", deadline),
        ("waits for", if waits.is_empty() { "nothing".into() } else { waits.join(", ") }),
        ("allocates", if data["allocates"] == true { "yes".into() } else { "no, another speaker does".into() }),
        ("services", format!("{} announced of {}", data["services"]["announced"], data["services"]["total"])),
        ("groups held", data["groups_held"].to_string()),
        ("entries", format!("{} in the kernel's table", data["entries"])),
        ("links", format!("{} attached of {}", data["links"]["attached"], data["links"]["announcing"])),
        (
            "plans",
            format!(
                "{} applied, {} writes, {} repaired, {} failed; the last took {} µs",
                data["decided"]["plans"],
                data["decided"]["writes"],
                data["decided"]["repairs"],
                data["decided"]["failures"],
                data["decided"]["last_us"]
            ),
        ),
        ("problems", problems.len().to_string()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _never_fails = writeln!(text, "{name:12} {value}");
    }
    for problem in problems {
        let _never_fails = writeln!(text, "  {problem}");
    }
    text
}

fn state(link: &Link) -> &'static str {
    match (link.is_up, link.has_carrier) {
        (true, true) => "up",
        (true, false) => "no carrier",
        (false, true | false) => "down",
    }
}

/// The rungs of the ladder in a line.
fn steps(report: &Value) -> String {
    let step = |step: &Value| {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        match text("why").as_str() {
            "" => format!("{} {}", text("tried"), text("result")),
            why => format!("{} {}: {why}", text("tried"), text("result")),
        }
    };
    let steps: Vec<String> = report["steps"].as_array().into_iter().flatten().map(step).collect();
    steps.join("; ")
}
