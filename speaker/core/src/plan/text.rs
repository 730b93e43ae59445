//! The one text form of a plan: golden tests, `ctl plan` and failures of a simulator show it alike.

use super::{Announced, L2Entry, Outcome, Plan, bgp};
use crate::link::LinkName;
use crate::steering::Place;
use speaker_ebpf::abi::Mode;
use std::fmt;

impl L2Entry {
    /// The word for its mode.
    pub const fn mode_word(&self) -> &'static str {
        match self.mode {
            Mode::Answer => "answer",
            Mode::Draining => "draining",
            Mode::Known => "known",
            Mode::Passive => "passive",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_complete {
            f.write_str("incomplete: what was in force stays in force\n")?;
        }
        let entries = self.l2.iter().map(|((vip, link), entry)| {
            let routed = if entry.is_routed { ", routed" } else { "" };
            [
                vip.to_string(),
                link.to_string(),
                format!("{}{routed}", entry.mode_word()),
                entry.epoch.to_string(),
                entry.group.to_string(),
            ]
        });
        section(
            f,
            ["VIP", "LINK", "MODE", "EPOCH", "GROUP"],
            entries.collect(),
        )?;
        steering(f, self)?;
        served(f, self)?;
        options(f, self)?;
        let outcomes = self.outcomes.iter().map(|(service, outcome)| {
            let state = match outcome {
                Outcome::Announced(_) => "announced",
                Outcome::Silent(_) => "silent",
            };
            [service.to_string(), state.to_owned(), outcome.to_string()]
        });
        f.write_str("\n")?;
        section(f, ["SERVICE", "STATE", "BECAUSE"], outcomes.collect())?;
        bgp::sections(f, self)?;
        if !self.problems.is_empty() {
            f.write_str("\n")?;
            let problems = self.problems.iter().map(|p| [p.to_string()]);
            section(f, ["PROBLEM"], problems.collect())?;
        }
        Ok(())
    }
}

/// How packets are spread; nothing where none are.
fn steering(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    let Some(steering) = plan.steering.as_ref() else {
        return Ok(());
    };
    let place = |place: &Place| [place.0.to_string(), place.1.to_string()];
    let rows = steering.rows.iter().map(|(at, spread)| {
        let [vip, link] = place(at);
        let weights = spread.share.weights.iter();
        let weights: Vec<_> = weights
            .map(|(node, weight)| format!("{node}:{weight}"))
            .collect();
        [vip, link, weights.join(" ")]
    });
    let not = steering.unspread.iter().map(|(at, why)| {
        let [vip, link] = place(at);
        [vip, link, format!("not: {why}")]
    });
    let rows: Vec<_> = rows.chain(not).collect();
    if rows.is_empty() {
        return Ok(());
    }
    f.write_str("\n")?;
    section(f, ["VIP", "LINK", "SPREAD"], rows)
}

/// What sockets serve; nothing where none are asked for.
fn served(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    let row = |(vip, link): &Place, state| [vip.to_string(), link.to_string(), state];
    let rows = plan.served.rows.iter();
    let rows = rows.map(|place| row(place, "yes".to_owned()));
    let not = plan.served.not.iter();
    let not = not.map(|(place, why)| row(place, format!("not: {why}")));
    let rows: Vec<_> = rows.chain(not).collect();
    if rows.is_empty() {
        return Ok(());
    }
    f.write_str("\n")?;
    section(f, ["VIP", "LINK", "BY SOCKETS"], rows)
}

/// What else is done with packets; nothing where nobody asks for it.
fn options(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    if plan.options.is_empty() {
        return Ok(());
    }
    let rows = plan.options.iter();
    let rows = rows.map(|(vip, options)| [vip.to_string(), options.to_string()]);
    f.write_str("\n")?;
    section(f, ["VIP", "OPTIONS"], rows.collect())
}

/// Columns as wide as their widest cell; the last one is not filled up.
pub(super) fn section<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let rows = std::iter::once(head.map(str::to_owned)).chain(rows);
    for row in rows {
        let filled = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = filled.collect::<Vec<_>>().join("  ");
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced(announced) => announced.fmt(f),
            Self::Silent(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (vip, links)) in self.vips.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{vip} on {}", names(links))?;
        }
        if !self.missing.is_empty() {
            write!(f, "; not on this node: {}", names(&self.missing))?;
        }
        Ok(())
    }
}

fn names(links: &[LinkName]) -> String {
    if links.is_empty() {
        return "no link".into();
    }
    let names: Vec<_> = links.iter().map(ToString::to_string).collect();
    names.join(" ")
}
