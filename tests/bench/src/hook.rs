//! The three ways in which a program of ours is on the node's link.

use crate::net::NODE_LINK;
use crate::object::Subject;
use anyhow::{Context, Result};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, XdpMode};
use std::fmt;

/// Where the program is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Hook {
    /// At TC ingress.
    Tc,
    /// At XDP, after the packet has its buffer.
    GenericXdp,
    /// At XDP in the driver.
    NativeXdp,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tc => "TC",
            Self::GenericXdp => "generic XDP",
            Self::NativeXdp => "native XDP",
        })
    }
}

impl Subject {
    /// Attaches the program to the node's link, in whose namespace this thread is.
    pub(crate) fn attach(&mut self, hook: Hook) -> Result<()> {
        let mode = match hook {
            Hook::Tc => return attach_tc(self.tc()?),
            Hook::GenericXdp => XdpMode::Skb,
            Hook::NativeXdp => XdpMode::Driver,
        };
        self.xdp()?.attach(NODE_LINK, mode)?;
        Ok(())
    }
}

/// Attaches at TC ingress of the node's link by TCX.
pub(crate) fn attach_tc(program: &mut SchedClassifier) -> Result<()> {
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    program
        .attach_with_options(NODE_LINK, TcAttachType::Ingress, order)
        .context("failed to attach by TCX (Linux 6.6 and later can)")?;
    Ok(())
}
