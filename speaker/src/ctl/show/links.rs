//! Links that may announce, where the program is on each, and what was tried.

use super::super::table::table;
use super::{Known, Shown};
use crate::dataplane::{AttachReport, LinkSight, Step};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Links<'a> {
    links: Vec<Link<'a>>,
    /// Other links that exist: excluded, down, enslaved.
    others: Vec<String>,
    /// Where the kernel says that the program is.
    attached: Vec<LinkSight>,
}

#[derive(Serialize)]
struct Link<'a> {
    link: String,
    ifindex: u32,
    mac: String,
    up: bool,
    carrier: bool,
    arp: bool,
    ndp: bool,
    hook: Option<String>,
    steps: &'a [Step],
}

pub(super) fn show<'a>(known: &Known<'a>) -> Result<Shown<Links<'a>>> {
    let snapshot = known.snapshot;
    let report = |ifindex| {
        snapshot
            .attached
            .iter()
            .find(|report| report.ifindex == ifindex)
    };
    let links = snapshot.local.links.iter().map(|(name, link)| {
        let report: Option<&AttachReport> = report(link.ifindex);
        Link {
            link: name.to_string(),
            ifindex: link.ifindex,
            mac: link.mac.to_string(),
            up: link.is_up,
            carrier: link.has_carrier,
            arp: link.has_arp,
            ndp: link.has_ndp,
            hook: report
                .and_then(|report| report.hook)
                .map(|hook| hook.to_string()),
            steps: report.map_or(&[], |report| &report.steps),
        }
    });
    let data = Links {
        links: links.collect(),
        others: snapshot
            .local
            .other_links
            .iter()
            .map(ToString::to_string)
            .collect(),
        attached: known.sight.links()?,
    };
    Ok(Shown {
        text: text(&data),
        data,
    })
}

fn text(data: &Links<'_>) -> String {
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let program = |link: &Link<'_>| {
        let own = data
            .attached
            .iter()
            .find(|sight| sight.ifindex == link.ifindex);
        own.and_then(|sight| sight.program)
            .map_or_else(String::new, |id| id.to_string())
    };
    let rows: Vec<[String; 9]> = data
        .links
        .iter()
        .map(|link| {
            [
                link.link.clone(),
                link.ifindex.to_string(),
                link.mac.clone(),
                word(link.up),
                word(link.carrier),
                word(link.arp),
                word(link.ndp),
                link.hook.clone().unwrap_or_else(|| "none".to_owned()),
                program(link),
            ]
        })
        .collect();
    let head = [
        "LINK", "INDEX", "MAC", "UP", "CARRIER", "ARP", "NDP", "HOOK", "PROGRAM",
    ];
    let mut text = table(head, &rows);
    let steps = data
        .links
        .iter()
        .flat_map(|link| link.steps.iter().map(move |step| (link, step)));
    for (i, (link, step)) in steps.enumerate() {
        let head = if i == 0 { "\nwhat was tried\n" } else { "" };
        let Step { tried, result, why } = step;
        let colon = if why.is_empty() { "" } else { ": " };
        writeln!(text, "{head}  {}: {tried} {result}{colon}{why}", link.link)
            .expect("a String takes all text");
    }
    if !data.others.is_empty() {
        writeln!(
            text,
            "\nothers, which do not announce: {}",
            data.others.join(" ")
        )
        .expect("a String takes all text");
    }
    text
}
