//! Which programs see what comes in on a link, whoever attached them.
//!
//! For those who look at a node from outside; nothing here attaches or decides.

use super::facts;
use super::{tc, xdp};
use crate::netlink::Client;
use anyhow::{Context, Result};
use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use std::collections::BTreeMap;

/// A program on a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hooked {
    /// `xdp`, `tcx` or `clsact`.
    pub(crate) hook: &'static str,
    /// Its name; empty: it has none.
    pub(crate) name: String,
    /// By its name it is ours.
    pub(crate) is_ours: bool,
}

/// The programs on a link's way in, in the order in which they run.
///
/// # Errors
/// When the kernel lists its links, filters or programs to nobody without privileges, of which this process is one.
pub(crate) fn programs(ifindex: u32, link: &str) -> Result<Vec<Hooked>> {
    let netlink = Client::open()?;
    let mut found = Vec::new();
    if let Some(xdp) = facts::of(&netlink, ifindex)?.and_then(|facts| facts.xdp) {
        let name = names()?.remove(&xdp.id).unwrap_or_default();
        found.push(hooked("xdp", name, xdp::PROGRAM));
    }
    // A kernel before 6.6 knows no TCX, which is as good as none there.
    if let Ok((_, programs)) = SchedClassifier::query_tcx(link, TcAttachType::Ingress) {
        let names = programs
            .iter()
            .map(|program| program.name_as_str().unwrap_or_default().to_owned());
        found.extend(names.map(|name| hooked("tcx", name, tc::PROGRAM)));
    }
    let mut filters = facts::filters(&netlink, ifindex)?;
    filters.retain(|filter| filter.program.is_some());
    filters.sort_by_key(|filter| filter.priority);
    let names = filters.into_iter().map(|filter| filter.name);
    found.extend(names.map(|name| hooked("clsact", name, tc::PROGRAM)));
    Ok(found)
}

fn hooked(hook: &'static str, name: String, ours: &str) -> Hooked {
    Hooked {
        hook,
        is_ours: name == ours,
        name,
    }
}

/// Names of loaded programs by the kernel's number.
fn names() -> Result<BTreeMap<u32, String>> {
    loaded_programs()
        .map(|program| {
            let program = program?;
            let name = program.name_as_str().unwrap_or_default().to_owned();
            Ok((program.id(), name))
        })
        .collect::<Result<_>>()
        .context("failed to list the loaded programs")
}
