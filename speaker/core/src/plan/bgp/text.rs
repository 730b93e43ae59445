//! The one text form of what BGP is to do: sessions, routes, and what became of services.

use super::peer::{BfdSettings, PasswordFrom, PeerPlan, PeerSettings};
use crate::crd::PeerAsn;
use crate::plan::text::section;
use crate::plan::{BgpAnnounced, BgpOutcome, Plan};
use std::fmt;

/// The sections of a plan that are about BGP, each after an empty line; nothing while BGP is not used.
pub(in crate::plan) fn sections(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    if !plan.bgp.is_empty() {
        let peers = plan.bgp.iter();
        let peers = peers.map(|(name, peer)| [name.to_string(), peer.to_string()]);
        f.write_str("\n")?;
        section(f, ["PEER", "SESSION"], peers.collect())?;
    }
    let routes = plan.bgp.iter().flat_map(|(name, peer)| {
        let routes = peer.routes.iter();
        routes.map(|(prefix, told)| [name.to_string(), prefix.to_string(), told.to_string()])
    });
    let routes: Vec<_> = routes.collect();
    if !routes.is_empty() {
        f.write_str("\n")?;
        section(f, ["PEER", "PREFIX", "ATTRIBUTES"], routes)?;
    }
    if !plan.bgp_outcomes.is_empty() {
        let outcomes = plan.bgp_outcomes.iter().map(|(service, outcome)| {
            let state = match outcome {
                BgpOutcome::Announced(_) => "announced",
                BgpOutcome::Silent(_) => "silent",
            };
            [service.to_string(), state.to_owned(), outcome.to_string()]
        });
        f.write_str("\n")?;
        section(f, ["SERVICE", "BGP", "BECAUSE"], outcomes.collect())?;
    }
    Ok(())
}

impl fmt::Display for PeerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settings {
            Ok(settings) => settings.fmt(f),
            Err(obstacle) => write!(f, "waits: {}: {obstacle}", obstacle.field()),
        }
    }
}

impl fmt::Display for PeerSettings {
    /// In one line; of a password only where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families: Vec<_> = self.families.iter().map(|family| family.as_str()).collect();
        write!(f, "{} port {}", self.remote, self.port)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if let Some(vrf) = &self.vrf {
            write!(f, " in vrf {vrf}")?;
        }
        write!(f, ", as {} to {}", self.my_asn, Asn(self.peer_asn))?;
        write!(f, ", {}, router id {}", families.join(" "), self.router_id)?;
        write!(
            f,
            ", hold {}s keepalive {}s",
            self.hold_seconds, self.keepalive_seconds
        )?;
        if let Some(seconds) = self.connect_seconds {
            write!(f, " connect {seconds}s")?;
        }
        match &self.password {
            None => {}
            Some(PasswordFrom::Peer(_)) => f.write_str(", password")?,
            Some(PasswordFrom::Secret { namespace, name }) => {
                write!(f, ", password of secret {namespace}/{name}")?;
            }
        }
        self.bfd.map_or(Ok(()), |bfd| write!(f, ", bfd {bfd}"))?;
        let also = [
            (self.graceful_restart, "graceful restart"),
            (self.multi_hop, "multi-hop"),
            (self.requires_ttl_255, "ttl 255 required"),
            (self.dials_anyway, "dials beside other speakers"),
        ];
        also.iter()
            .filter(|(is, _)| *is)
            .try_for_each(|(_, what)| write!(f, ", {what}"))?;
        match self.drain_prepends {
            0 => Ok(()),
            count => write!(f, ", prepends {count} while drained"),
        }
    }
}

impl fmt::Display for BfdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            receive_ms,
            transmit_ms,
            multiplier,
            is_passive,
            wants_echo: _,
            minimum_ttl,
        } = self;
        write!(
            f,
            "receive {receive_ms}ms transmit {transmit_ms}ms multiplier {multiplier}"
        )?;
        write!(f, " minimum ttl {minimum_ttl}")?;
        f.write_str(if *is_passive { " passive" } else { "" })
    }
}

/// The AS of a peer.
struct Asn(PeerAsn);

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            PeerAsn::Number(number) => number.fmt(f),
            PeerAsn::Internal => f.write_str("the same"),
            PeerAsn::External => f.write_str("any other"),
        }
    }
}

impl fmt::Display for BgpOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced(announced) => announced.fmt(f),
            Self::Silent(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for BgpAnnounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
        let prefixes = words(&mut self.prefixes.iter().map(ToString::to_string));
        let peers = words(&mut self.peers.iter().map(ToString::to_string));
        write!(f, "{prefixes} to {peers}")?;
        if !self.left_out.is_empty() {
            let left_out = words(&mut self.left_out.iter().map(ToString::to_string));
            write!(f, "; to no peer: {left_out}")?;
        }
        Ok(())
    }
}
