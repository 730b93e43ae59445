//! The router at the top of the lab's rack: FRR with a BGP session to every node, told what a network's operator would tell it.
//!
//! What the nodes announce is theirs to decide; here it is only seen which ways the router has.

mod tour;

pub(super) use tour::tour;

use super::Lab;
use super::proxy::{Frontend, Policy};
use super::router::frr::Frr;
use super::topology::{Node, ROUTER_V4};
use crate::tools::within;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A running top-of-rack router.
#[derive(Debug)]
pub(super) struct Rack {
    pub(super) frr: Frr,
    /// A command that works as the router's vtysh.
    pub(super) shell: PathBuf,
    /// Nodes by each of their addresses: a router prefers link-local next hops where it is told both.
    nodes: BTreeMap<IpAddr, String>,
}

/// Names of nodes by VIP, as the router's kernel sends packets for it.
pub(super) type Ways = BTreeMap<IpAddr, BTreeSet<String>>;

impl Rack {
    /// Starts it, before the speakers: then their first attempt succeeds.
    ///
    /// # Errors
    /// When the lab has no router's namespace, or FRR does not come up.
    pub(super) fn start(lab: &mut Lab) -> Result<Self> {
        let frr = Frr::start(lab, &bgpd(&lab.topology.nodes), BFDD)?;
        let shell = frr.lend_shell(lab)?;
        let mut nodes = BTreeMap::new();
        for node in &lab.topology.nodes {
            let addresses = node.netns.addresses()?.into_iter();
            nodes.extend(addresses.map(|address| (address, node.name.clone())));
        }
        Ok(Self { frr, shell, nodes })
    }

    /// The nodes that the router sends to, for each VIP that it has a route to.
    ///
    /// # Errors
    /// As [`Rack::next_hops`].
    pub(super) fn ways(&self) -> Result<Ways> {
        let hops = self.next_hops()?.into_iter();
        Ok(hops
            .map(|(vip, hops)| (vip, hops.into_values().collect()))
            .collect())
    }

    /// The next hops for each VIP, and whose they are.
    ///
    /// # Errors
    /// When the router does not answer, or has a route that no node announces.
    pub(super) fn next_hops(&self) -> Result<BTreeMap<IpAddr, BTreeMap<IpAddr, String>>> {
        let mut all = BTreeMap::new();
        for (prefix, hops) in self.frr.routes()? {
            let vip = prefix.split('/').next().unwrap_or_default().parse();
            let vip = vip.with_context(|| format!("the router has a route to {prefix}"))?;
            let hops = hops.into_iter().map(|hop| Ok((hop, self.node(hop)?)));
            all.insert(vip, hops.collect::<Result<_>>()?);
        }
        Ok(all)
    }

    fn node(&self, hop: IpAddr) -> Result<String> {
        let node = self.nodes.get(&hop).cloned();
        node.with_context(|| format!("the router sends to {hop}, which is no node"))
    }

    /// Waits until the router sends to every node that can serve, for every VIP.
    ///
    /// # Errors
    /// When that takes too long, with the ways that there are and the speakers' last words.
    pub(super) fn settle(&self, lab: &Lab) -> Result<()> {
        let expected = expected(lab, &lab.frontends()?);
        let seen = within(SETTLED_MAX, || match self.ways() {
            Ok(ways) if ways == expected => Ok(()),
            other => Err(other),
        });
        match seen {
            Ok(()) => Ok(()),
            Err(Err(error)) => Err(error),
            Err(Ok(ways)) => bail!(
                "the router's ways are {ways:?} after {} s, not {expected:?}\n{}",
                SETTLED_MAX.as_secs(),
                lab.speakers_say()
            ),
        }
    }
}

/// Traffic policy Cluster lets every node serve, Local those with a pod.
fn expected(lab: &Lab, frontends: &[Frontend]) -> Ways {
    let mut ways = Ways::new();
    for frontend in frontends {
        let nodes: BTreeSet<String> = match frontend.policy {
            Policy::Cluster if frontend.endpoints.is_empty() => BTreeSet::new(),
            Policy::Cluster => {
                let all = lab.topology.nodes.iter();
                all.map(|node| node.name.clone()).collect()
            }
            Policy::Local => {
                let own = frontend.endpoints.iter();
                own.map(|(_, node)| node.clone()).collect()
            }
        };
        if !nodes.is_empty() {
            ways.entry(frontend.vip).or_default().extend(nodes);
        }
    }
    ways
}

/// One session for each node, which carries both families. A router of another AS takes and gives nothing without a policy (RFC 8212),
/// unless it is told so.
fn bgpd(nodes: &[Node]) -> String {
    let mut text =
        format!("router bgp 64513\n bgp router-id {ROUTER_V4}\n no bgp ebgp-requires-policy\n");
    for node in nodes {
        let at = node.v4();
        text += &format!(
            " neighbor {at} remote-as 64512\n \
             neighbor {at} description {}\n \
             neighbor {at} bfd\n \
             neighbor {at} bfd profile fast\n",
            node.name
        );
    }
    text += " address-family ipv6 unicast\n";
    for node in nodes {
        text += &format!("  neighbor {} activate\n", node.v4());
    }
    text
}

/// As `deploy/samples-bgp` has it: silent for 0.3 s is dead.
const BFDD: &str =
    "bfd\n profile fast\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 3\n";
const SETTLED_MAX: Duration = Duration::from_secs(30);
