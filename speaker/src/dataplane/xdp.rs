//! Attaching to XDP, native or generic, by links that are pinned.
//!
//! A link has one program and no other can take its place, so an occupied hook is left to its owner.

use super::attach::StepResult;
use super::facts;
use super::pins::{PinnedHook, Pins};
use crate::netlink::Client;
use anyhow::{Context, Result, bail, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use std::fs;
use std::path::Path;

/// The program's name in the object.
pub(super) const PROGRAM: &str = "heliograph_xdp";

/// Attaches to the link's XDP hook, or takes over the pinned link that is there.
pub(super) fn attach(
    program: &mut Xdp,
    pins: &Pins,
    netlink: &Client,
    ifindex: u32,
    is_native: bool,
) -> Result<(StepResult, String)> {
    let path = pins.link(ifindex, PinnedHook::Xdp);
    let why = match adopt(program, &path, netlink, ifindex, is_native) {
        Ok(true) => return Ok((StepResult::Adopted, String::new())),
        Ok(false) => String::new(),
        Err(error) => {
            fs::remove_file(&path)
                .with_context(|| format!("failed to remove the old link {}", path.display()))?;
            format!("the pinned link could not be kept ({error:#})")
        }
    };
    if let Some(other) = occupant(netlink, ifindex, program.info()?.id())? {
        bail!("another's XDP program (id {other}) is attached; it is left alone");
    }
    let mode = if is_native {
        XdpMode::Driver
    } else {
        XdpMode::Skb
    };
    let id = program
        .attach_to_if_index(ifindex, mode)
        .map_err(without_detour)?;
    let link = FdLink::try_from(program.take_link(id)?);
    let link = link.context("the kernel gives no XDP link that could be pinned")?;
    link.pin(&path)
        .with_context(|| format!("failed to pin {}", path.display()))?;
    Ok((StepResult::Attached, why))
}

/// Puts the program into the pinned link. `false`: there is none. An error: it is not what is wanted here.
fn adopt(
    program: &mut Xdp,
    path: &Path,
    netlink: &Client,
    ifindex: u32,
    is_native: bool,
) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let pinned = PinnedLink::from_pin(path)?;
    let id = program.attach_to_link(XdpLink::try_from(FdLink::from(pinned))?)?;
    // Dropping the link closes its descriptor; the pin keeps it attached.
    drop(program.take_link(id)?);
    let there = facts::of(netlink, ifindex)?.and_then(|facts| facts.xdp);
    let there = there.context("it belongs to another interface")?;
    ensure!(
        there.id == program.info()?.id(),
        "it belongs to another interface"
    );
    ensure!(there.is_native == is_native, "it is of the other XDP mode");
    Ok(true)
}

/// The program on the hook, if any. Ours may still be there after its pin was removed: the kernel lets go of it in the
/// background within milliseconds, so it is looked for again for a while.
fn occupant(netlink: &Client, ifindex: u32, ours: u32) -> Result<Option<u32>> {
    let look = || Ok::<_, anyhow::Error>(facts::of(netlink, ifindex)?.and_then(|facts| facts.xdp));
    for _ in 0..LOOKS_MAX {
        match look()? {
            Some(there) if there.id == ours => std::thread::yield_now(),
            there => return Ok(there.map(|there| there.id)),
        }
    }
    bail!("the old link is still attached")
}

/// A look is a request to the kernel of some 50 µs: half a second in all.
const LOOKS_MAX: usize = 10_000;

/// The system call's own words instead of those of the library's fall-back.
fn without_detour(error: ProgramError) -> anyhow::Error {
    match error {
        ProgramError::SyscallError(syscall) => anyhow::Error::new(syscall.io_error),
        other => other.into(),
    }
}
