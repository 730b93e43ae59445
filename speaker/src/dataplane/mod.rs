//! The kernel's side: program, maps, pins.
//!
//! [`Dataplane::open`] loads the object and adopts what an earlier process pinned; [`Dataplane::sync_links`] brings the
//! program to the links that announce; [`KernelTables`] is the only way into the maps; [`DeadlineCell`] is the one word
//! outside of them; [`Sight`] reads everything and writes nothing. Knows nothing of services, elections or which
//! entries are right. `docs/layer2.md` says what the tables mean.
//!
//! Order at start: `open`, read the tables, write the difference, then `sync_links`: a program that
//! is not attached yet cannot answer from a half-written table.

mod askers;
mod attach;
mod chooser;
mod claims;
pub(crate) mod deadline;
mod facts;
mod flows;
mod load;
mod maps;
mod offload;
mod pins;
mod sight;
mod survey;
mod tables;
mod tc;
mod xdp;

pub(crate) use askers::Askers;
pub(crate) use attach::{AttachMode, AttachReport, Hook, Step, StepResult};
pub(crate) use chooser::Chooser;
pub(crate) use claims::Claims;
use deadline::DeadlineCell;
pub(crate) use flows::{FlowSight, FlowsSight};
pub(crate) use offload::active as active_features;
pub(crate) use pins::{all_pins, pin_dir, pinned_nodes};
pub(crate) use sight::{GlobalCount, LinkSight, MapSight, ShareSight, Sight, SlotSight};
pub(crate) use survey::{Hooked, programs as programs_on};
pub(crate) use tables::KernelTables;

use crate::netlink::Client;
use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::{SchedClassifier, SkLookup, Xdp};
use pins::{PinnedHook, Pins};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How the data plane is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// Where maps and links are pinned: [`pin_dir`].
    pub(crate) pin_dir: PathBuf,
    /// Which hooks to try.
    pub(crate) attach: AttachMode,
    /// Answers per VIP, link and CPU.
    pub(crate) rate: AnswerRate,
}

/// The token bucket of a VIP on a link and CPU (`docs/layer2.md`, L4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnswerRate {
    /// Answers per second in the long run; 0: no limit.
    pub(crate) per_second: u32,
    /// Answers at once after a quiet time.
    pub(crate) burst: u32,
}

impl Default for AnswerRate {
    fn default() -> Self {
        Self {
            per_second: 1000,
            burst: 2000,
        }
    }
}

impl AnswerRate {
    /// Nanoseconds of credit that one answer costs; 0: none.
    fn interval_ns(self) -> u64 {
        1_000_000_000_u64
            .checked_div(u64::from(self.per_second))
            .unwrap_or(0)
    }

    /// Nanoseconds of credit at most.
    fn burst_ns(self) -> u64 {
        self.interval_ns()
            .saturating_mul(u64::from(self.burst.max(1)))
    }
}

/// A pinned map that could not be kept; what it held is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Replaced {
    /// The pin's file name.
    pub(crate) map: String,
    /// What was wrong with it.
    pub(crate) why: String,
}

/// The loaded program and its pinned maps and links.
pub(crate) struct Dataplane {
    ebpf: Ebpf,
    pins: Pins,
    netlink: Client,
    mode: AttachMode,
    attached: BTreeMap<u32, AttachReport>,
    /// Whether the program that chooses sockets is there, or why not.
    chooser: Result<(), String>,
    /// Maps that were replaced at the start; to be reported loudly.
    pub(crate) replaced: Vec<Replaced>,
}

impl Dataplane {
    /// Loads the object into the calling thread's network namespace, keeping what is pinned and usable.
    ///
    /// Fails when there is no bpf file system, the kernel refuses the program, or a privilege is missing.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let pins = Pins::new(&settings.pin_dir);
        let (mut ebpf, replaced) = load::load(&pins, settings)?;
        tc_program(&mut ebpf)?
            .load()
            .context("the kernel's verifier refused heliograph_tc")?;
        // Loading needs capabilities that are dropped later; what no rung of the ladder needs is not verified at all.
        if settings.attach.ladder().iter().any(|hook| hook.is_xdp()) {
            let program = xdp_program(&mut ebpf)?;
            program
                .load()
                .context("the kernel's verifier refused heliograph_xdp")?;
        }
        let chooser = load_chooser(&mut ebpf, &pins).map_err(|error| format!("{error:#}"));
        let netlink = Client::open()?;
        let attached = BTreeMap::new();
        Ok(Self {
            ebpf,
            pins,
            netlink,
            mode: settings.attach,
            attached,
            chooser,
            replaced,
        })
    }

    /// The tables, to be read, compared and changed. One owner: the deciding loop.
    pub(crate) fn tables(&self) -> Result<KernelTables> {
        KernelTables::open(&self.pins)
    }

    /// The node-wide deadline. One owner: the pulse thread.
    pub(crate) fn deadline(&self) -> Result<DeadlineCell> {
        DeadlineCell::open(&self.pins)
    }

    /// Sockets that serve VIPs. One owner; for the calling thread's network namespace.
    pub(crate) fn sockets(&self) -> Result<Chooser> {
        Chooser::open(&self.pins, &self.chooser)
    }

    /// The claims that the program saw. One owner; call it inside the async runtime.
    pub(crate) fn claims(&self) -> Result<Claims> {
        Claims::open(&self.pins)
    }

    /// Who asked for which VIP.
    pub(crate) fn askers(&self) -> Result<Askers> {
        Askers::open(&self.pins)
    }

    /// Brings the program to exactly these links (index to name): attaches or adopts where it is not yet, retries where it
    /// failed, and takes it off every other link. Reports the links where something was done.
    pub(crate) fn sync_links(&mut self, wanted: &BTreeMap<u32, String>) -> Vec<AttachReport> {
        self.attached
            .retain(|ifindex, _| wanted.contains_key(ifindex));
        if let Err(error) = self.detach_all_but(wanted) {
            tracing::warn!(
                error = format!("{error:#}"),
                "failed to detach from a former link"
            );
        }
        let mut reports = Vec::new();
        for (&ifindex, name) in wanted {
            if self
                .attached
                .get(&ifindex)
                .is_some_and(AttachReport::is_attached)
            {
                continue;
            }
            let report = self.attach(ifindex, name);
            self.attached.insert(ifindex, report.clone());
            reports.push(report);
        }
        reports
    }

    /// Where the program is, by interface index.
    pub(crate) fn attached(&self) -> &BTreeMap<u32, AttachReport> {
        &self.attached
    }

    fn attach(&mut self, ifindex: u32, name: &str) -> AttachReport {
        let mut report = AttachReport {
            link: name.to_owned(),
            ifindex,
            hook: None,
            steps: Vec::new(),
        };
        for &hook in self.mode.ladder() {
            let (result, why) = self
                .try_hook(hook, ifindex)
                .unwrap_or_else(|error| (StepResult::Failed, format!("{error:#}")));
            report.steps.push(Step {
                tried: hook,
                result,
                why,
            });
            if matches!(result, StepResult::Attached | StepResult::Adopted) {
                report.hook = Some(hook);
                break;
            }
        }
        if let Some(hook) = report.hook
            && let Err(error) = self.detach_hooks_but(hook, ifindex, name)
        {
            tracing::warn!(
                link = name,
                error = format!("{error:#}"),
                "failed to leave another hook"
            );
        }
        report
    }

    fn try_hook(&mut self, hook: Hook, ifindex: u32) -> Result<(StepResult, String)> {
        let facts = facts::of(&self.netlink, ifindex)?.context("the interface is gone")?;
        if let Some(why) = self.mode.refusal(hook, &facts) {
            return Ok((StepResult::Refused, why));
        }
        let Self {
            ebpf,
            pins,
            netlink,
            ..
        } = self;
        match hook {
            Hook::Tcx => tc::attach_tcx(tc_program(ebpf)?, pins, ifindex, &facts),
            Hook::Clsact => tc::attach_clsact(tc_program(ebpf)?, netlink, ifindex, &facts),
            Hook::XdpNative => xdp::attach(xdp_program(ebpf)?, pins, netlink, ifindex, true),
            Hook::XdpGeneric => xdp::attach(xdp_program(ebpf)?, pins, netlink, ifindex, false),
        }
    }

    /// Leaves the hooks that an earlier process used under another mode; the new one is in place by now.
    fn detach_hooks_but(&self, kept: Hook, ifindex: u32, name: &str) -> Result<()> {
        if !kept.is_xdp() {
            remove_pin(&self.pins.link(ifindex, PinnedHook::Xdp))?;
        }
        if kept != Hook::Tcx {
            remove_pin(&self.pins.link(ifindex, PinnedHook::Tcx))?;
        }
        if kept != Hook::Clsact {
            tc::detach_clsact(&self.netlink, ifindex, name)?;
        }
        Ok(())
    }

    fn detach_all_but(&self, wanted: &BTreeMap<u32, String>) -> Result<()> {
        for ((ifindex, _), path) in self
            .pins
            .links()
            .context("failed to list the pinned links")?
        {
            if !wanted.contains_key(&ifindex) {
                remove_pin(&path)?;
            }
        }
        for (ifindex, name) in facts::links(&self.netlink)? {
            if !wanted.contains_key(&ifindex) {
                tc::detach_clsact(&self.netlink, ifindex, &name)?;
            }
        }
        Ok(())
    }
}

/// Removes every pin under `pin_dir`, and with the links the programs; their paths. Idempotent.
pub(crate) fn clean_pins(pin_dir: &Path) -> Result<Vec<String>> {
    let files = Pins::new(pin_dir).files();
    let files = files.with_context(|| format!("failed to list {}", pin_dir.display()))?;
    let mut removed = Vec::new();
    for path in files.into_values() {
        remove_pin(&path)?;
        removed.push(path.display().to_string());
    }
    if pin_dir.exists() {
        fs::remove_dir(pin_dir)
            .with_context(|| format!("failed to remove {}", pin_dir.display()))?;
    }
    Ok(removed)
}

/// Removes our clsact filters in the calling thread's network namespace; the names of their links. Idempotent. The
/// qdisc stays: it does nothing without filters, and others may use it.
pub(crate) fn clean_filters() -> Result<Vec<String>> {
    let netlink = Client::open()?;
    let mut removed = Vec::new();
    for (ifindex, name) in facts::links(&netlink)? {
        if tc::detach_clsact(&netlink, ifindex, &name)? {
            removed.push(name);
        }
    }
    Ok(removed)
}

fn remove_pin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("failed to remove {}", path.display())),
    }
}

/// Loads and pins the program that chooses sockets, which the speaker can do without.
fn load_chooser(ebpf: &mut Ebpf, pins: &Pins) -> Result<()> {
    let program = ebpf.program_mut(chooser::PROGRAM);
    let program = program.context("the object has no heliograph_sk")?;
    let program: &mut SkLookup = program.try_into().context("heliograph_sk is no lookup")?;
    program
        .load()
        .context("the kernel's verifier refused heliograph_sk")?;
    let path = pins.socket_program();
    remove_pin(&path)?;
    program
        .pin(&path)
        .with_context(|| format!("failed to pin {}", path.display()))
}

fn tc_program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let program = ebpf
        .program_mut(tc::PROGRAM)
        .context("the object has no heliograph_tc")?;
    program.try_into().context("heliograph_tc is no classifier")
}

fn xdp_program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf
        .program_mut(xdp::PROGRAM)
        .context("the object has no heliograph_xdp")?;
    program
        .try_into()
        .context("heliograph_xdp is no XDP program")
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
pub(crate) mod kernel_tests;
