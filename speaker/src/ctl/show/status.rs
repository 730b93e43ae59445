//! How the speaker is.

use super::super::snapshot::ApiState;
use super::super::table::{pairs, table};
use super::{Known, Shown};
use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use speaker_core::Problem;
use speaker_core::plan::Outcome;
use speaker_proto::Time;
use std::collections::{BTreeMap, BTreeSet};

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    node: &'a str,
    version: &'static str,
    started: String,
    /// `waiting` without the members' secret, `reading` before every kind was seen, `silent` without a deadline, else `serving`.
    state: &'static str,
    deadline_left_ms: u64,
    allocates: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a ApiState>,
    services: usize,
    announced: usize,
    /// VIPs that the kernel answers for.
    vips: usize,
    links: BTreeMap<&'a str, String>,
    settings: &'a BTreeMap<&'static str, String>,
    work: &'a BTreeMap<&'static str, u64>,
    problems: BTreeSet<&'a Problem>,
}

pub(super) fn show<'a>(known: &Known<'a>) -> Result<Shown<Status<'a>>> {
    let snapshot = known.snapshot;
    let outcomes = snapshot.plan.outcomes.values();
    let answering = known
        .sight
        .slots()?
        .into_iter()
        .filter(|slot| slot.mode == "answer");
    let vips: BTreeSet<_> = answering.map(|slot| slot.vip).collect();
    let status = Status {
        node: snapshot.local.node.as_str(),
        version: env!("HELIOGRAPH_VERSION"),
        started: Timestamp::try_from(snapshot.started)
            .map_or_else(|_| "?".into(), |at| format!("{at:.0}")),
        state: snapshot.state(),
        deadline_left_ms: Time::from_ns(known.sight.deadline_ns()?)
            .since(known.now)
            .ns()
            / 1_000_000,
        allocates: snapshot.allocates,
        api: snapshot.api.as_ref(),
        services: snapshot.plan.outcomes.len(),
        announced: outcomes
            .filter(|outcome| matches!(outcome, Outcome::Announced(_)))
            .count(),
        vips: vips.len(),
        links: links(known),
        settings: &snapshot.settings,
        work: &snapshot.work,
        problems: snapshot.all_problems(),
    };
    Ok(Shown {
        text: text(&status),
        data: status,
    })
}

fn links<'a>(known: &Known<'a>) -> BTreeMap<&'a str, String> {
    let hook =
        |hook: Option<_>| hook.map_or_else(|| "not attached".to_owned(), |hook| format!("{hook}"));
    let reports = known.snapshot.attached.iter();
    reports
        .map(|report| (report.link.as_str(), hook(report.hook)))
        .collect()
}

fn text(status: &Status<'_>) -> String {
    let settings = status.settings.iter();
    let settings: Vec<_> = settings
        .map(|(name, value)| (*name, value.clone()))
        .collect();
    format!(
        "{}\nsettings\n{}\n{}",
        head(status),
        indented(&pairs(&settings)),
        problems(&status.problems)
    )
}

fn head(status: &Status<'_>) -> String {
    let links = status
        .links
        .iter()
        .map(|(name, hook)| format!("{name} ({hook})"));
    let work = status
        .work
        .iter()
        .map(|(name, count)| format!("{name} {count}"));
    let services = format!(
        "{} announced from here, of {}",
        status.announced, status.services
    );
    let addresses = match (status.api, status.allocates) {
        (Some(_), _) => "as the status of each service has them",
        (None, true) => "given by this speaker",
        (None, false) => "read from the speaker that gives them",
    };
    let mut head = vec![
        ("node", status.node.to_owned()),
        ("version", status.version.to_owned()),
        ("started", status.started.clone()),
        ("state", state(status)),
        ("services", services),
        ("vips", format!("{} answered by this kernel", status.vips)),
        ("links", list(links)),
        ("addresses", addresses.to_owned()),
    ];
    head.extend(status.api.map(|state| ("api", api(state))));
    head.push(("work", list(work)));
    pairs(&head)
}

/// How the API server is followed, what matters most first.
fn api(state: &ApiState) -> String {
    let mut text = match state.stale_s {
        Some(age) => format!("objects kept from {age:.0} s ago are in force until it answers"),
        None if state.troubles.is_empty() => "followed".to_owned(),
        None => "what was seen last stays in force".to_owned(),
    };
    match state.ages_s.values().copied().reduce(f64::max) {
        Some(age) => text.push_str(&format!("; the quietest kind was heard of {age:.0} s ago")),
        None => text.push_str("; nothing was heard of it yet"),
    }
    let mut by_cause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, why) in &state.troubles {
        by_cause.entry(why).or_default().push(kind);
    }
    for (why, kinds) in by_cause {
        text.push_str(&format!("; {}: {why}", kinds.join(", ")));
    }
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

fn problems(problems: &BTreeSet<&Problem>) -> String {
    let row = |p: &&Problem| {
        [
            p.origin.clone(),
            p.object.to_string(),
            p.field.clone(),
            p.why.clone(),
        ]
    };
    let rows: Vec<[String; 4]> = problems.iter().map(row).collect();
    let count = match rows.len() {
        0 => return "no problems\n".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let table = table(["FILE", "OBJECT", "FIELD", "WHY"], &rows);
    format!("{count}\n{}", indented(&table))
}

fn state(status: &Status<'_>) -> String {
    match status.state {
        "waiting" => {
            "waiting: WaitingForSecret: the members' secret is missing, so nothing is answered"
                .to_owned()
        }
        "reading" => {
            "reading: not every kind has been seen whole, so nothing is changed".to_owned()
        }
        "silent" => "silent: no deadline is in force, so nothing is answered".to_owned(),
        state => format!("{state}, deadline in {} ms", status.deadline_left_ms),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_said_once_for_all_kinds() {
        let why = "refused".to_owned();
        let mut state = ApiState {
            stale_s: None,
            ages_s: BTreeMap::from([("Node", 2.0), ("Service", 7.4)]),
            troubles: BTreeMap::new(),
        };
        let sound = "followed; the quietest kind was heard of 7 s ago";
        assert_eq!(api(&state), sound);
        state.troubles = BTreeMap::from([("Node", why.clone()), ("Service", why)]);
        let away = "what was seen last stays in force; the quietest kind was heard of 7 s ago; \
                    Node, Service: refused";
        assert_eq!(api(&state), away);
        state.stale_s = Some(90.0);
        state.ages_s.clear();
        let kept = "objects kept from 90 s ago are in force until it answers; nothing was heard of it yet; \
                    Node, Service: refused";
        assert_eq!(api(&state), kept);
    }
}
