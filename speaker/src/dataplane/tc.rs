//! Attaching to TC ingress: TCX links from kernel 6.6, clsact filters below.
//!
//! A TCX link is pinned and goes first in the chain; a clsact filter has a priority and a handle of its own. Both
//! are taken over from an earlier process by replacing the program in one step.

use super::attach::StepResult;
use super::facts::{self, Facts, Filter};
use super::pins::{PinnedHook, Pins};
use crate::netlink::Client;
use anyhow::{Context, Result, bail};
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{Link, ProgramError, SchedClassifier, TcAttachType};
use std::fs;
use std::io;
use std::path::Path;

/// The program's name in the object, and that of our clsact filters.
pub(super) const PROGRAM: &str = "heliograph_tc";

/// Attaches to the link's TCX chain, or takes over the pinned link that is there.
pub(super) fn attach_tcx(
    program: &mut SchedClassifier,
    pins: &Pins,
    ifindex: u32,
    facts: &Facts,
) -> Result<(StepResult, String)> {
    let path = pins.link(ifindex, PinnedHook::Tcx);
    let pinned = adopt_tcx(program, &path);
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attached = program.attach_with_options(&facts.name, TcAttachType::Ingress, first);
    let id = match (attached, &pinned) {
        // The chain takes a program once: so the pinned link, which has it by now, is in this very chain.
        (Err(error), Ok(true)) if is_already_there(&error) => {
            return Ok((StepResult::Adopted, String::new()));
        }
        (attached, _) => attached.map_err(explain)?,
    };
    let why = match pinned {
        Ok(false) => String::new(),
        Ok(true) => "the pinned link belongs to another interface".to_owned(),
        Err(error) => format!("the pinned link was dead ({error:#})"),
    };
    let link: FdLink = program.take_link(id)?.try_into()?;
    if path.exists() {
        fs::remove_file(&path)
            .with_context(|| format!("failed to remove the old link {}", path.display()))?;
    }
    link.pin(&path)
        .with_context(|| format!("failed to pin {}", path.display()))?;
    Ok((StepResult::Attached, why))
}

/// Puts the program into the pinned link. `false`: there is none. An error: it leads nowhere any more.
fn adopt_tcx(program: &mut SchedClassifier, path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let pinned = PinnedLink::from_pin(path)?;
    let id = program.attach_to_link(SchedClassifierLink::try_from(FdLink::from(pinned))?)?;
    // Dropping the link closes its descriptor; the pin keeps it attached.
    drop(program.take_link(id)?);
    Ok(true)
}

fn explain(error: ProgramError) -> anyhow::Error {
    let is_unknown = matches!(
        &error,
        ProgramError::SyscallError(error) if error.io_error.kind() == io::ErrorKind::InvalidInput
    );
    let error = anyhow::Error::new(error);
    if is_unknown {
        error.context("the kernel seems to have no TCX (6.6 and later have)")
    } else {
        error
    }
}

fn is_already_there(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.kind() == io::ErrorKind::AlreadyExists)
}

/// Attaches a filter to the link's clsact hook, or replaces the program of our own filter there.
pub(super) fn attach_clsact(
    program: &mut SchedClassifier,
    netlink: &Client,
    ifindex: u32,
    facts: &Facts,
) -> Result<(StepResult, String)> {
    facts::add_clsact(netlink, ifindex).context("failed to add the clsact qdisc")?;
    let filters = facts::filters(netlink, ifindex)?;
    let there = filters.iter().find(|filter| is_at_our_place(filter));
    let (id, result) = match there {
        Some(filter) if filter.name == PROGRAM => {
            let link = our_filter(&facts.name)?;
            (program.attach_to_link(link)?, StepResult::Adopted)
        }
        Some(filter) => bail!(
            "another's filter {:?} has priority {PRIORITY}, handle {HANDLE:#x}",
            filter.name
        ),
        None => {
            let place = NlOptions {
                priority: PRIORITY,
                handle: handle(),
                classid: None,
            };
            let options = TcAttachOptions::Netlink(place);
            let id = program.attach_with_options(&facts.name, TcAttachType::Ingress, options)?;
            (id, StepResult::Attached)
        }
    };
    // Dropping it would detach the filter, which has to outlive the process.
    std::mem::forget(program.take_link(id)?);
    Ok((result, String::new()))
}

/// Removes our clsact filter from a link; `false` if there is none.
pub(super) fn detach_clsact(netlink: &Client, ifindex: u32, name: &str) -> Result<bool> {
    if our_clsact(netlink, ifindex)?.is_none() {
        return Ok(false);
    }
    our_filter(name)?
        .detach()
        .with_context(|| format!("failed to remove the clsact filter from {name}"))?;
    Ok(true)
}

/// Our clsact filter on a link.
pub(super) fn our_clsact(netlink: &Client, ifindex: u32) -> Result<Option<Filter>> {
    let filters = facts::filters(netlink, ifindex)?.into_iter();
    Ok(filters
        .filter(is_at_our_place)
        .find(|filter| filter.name == PROGRAM))
}

fn is_at_our_place(filter: &Filter) -> bool {
    filter.priority == PRIORITY && filter.handle == HANDLE
}

fn our_filter(name: &str) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, handle(), None)
        .with_context(|| format!("failed to find the interface {name}"))
}

fn handle() -> TcHandle {
    TcHandle::from(HANDLE)
}

/// Before every other filter: a request for a VIP must not be answered or dropped by someone else first.
const PRIORITY: u16 = 1;
/// Ours among the filters of that priority; low handles are what others pick.
const HANDLE: u32 = 0x4847;
