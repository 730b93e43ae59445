//! Figures of BGP and BFD, by the names of MetalLB's FRR mode, which are those of its own mode and some more.

use super::Page;
use crate::report::{BfdFigures, BgpFigures, Figures};
use anyhow::Result;

type Figure = fn(&BgpFigures) -> u64;

impl Page {
    /// Sessions with routers, and with `has_frr_k8s_names` the same by the names of frr-k8s.
    pub(super) fn sessions(&self, figures: &Figures) -> Result<()> {
        let (bgp, bfd) = (&figures.bgp, &figures.bfd);
        let own = "heliograph_bgp";
        self.bgp("metallb_bgp", bgp, |peer| &peer.peer)?;
        self.bfd("metallb_bfd", bfd)?;
        if figures.has_frr_k8s_names {
            self.bgp("frrk8s_bgp", bgp, |peer| &peer.address)?;
            self.bfd("frrk8s_bfd", bfd)?;
        }
        let discarded = self.counters(
            "heliograph_bfd_discarded_packets_total",
            "BFD packets that were not taken, by cause; absent where no peer has a BFD profile",
            &["cause"],
        )?;
        for (cause, count) in &figures.bfd_discarded {
            discarded.with_label_values(&[*cause]).inc_by(*count);
        }
        let unwelcome = self.counters(
            "heliograph_bgp_unwelcome_connections_total",
            "Connections to the port for BGP peers that were closed at once: of a stranger, who is no peer, or for overload, more than 64 at a time; absent without --bgp-listen-port",
            &["cause"],
        )?;
        for (cause, count) in &figures.bgp_unwelcome {
            unwelcome.with_label_values(&[*cause]).inc_by(*count);
        }
        let foreign = self.gauges(
            "heliograph_bgp_peer_foreign",
            "1 while a BGPPeer is left to another speaker of this node: a process with a connection to the peer, or an FRRConfiguration of others that names it",
            &["name"],
        )?;
        for (name, is_foreign) in &figures.bgp_foreign {
            let gauge = foreign.with_label_values(&[name.as_str()]);
            gauge.set((*is_foreign).into());
        }
        self.gauged(own, OWN_GAUGES, bgp, |peer| &peer.peer)?;
        self.counted(own, OWN, bgp, |peer| &peer.peer)
    }

    fn bgp(&self, prefix: &str, peers: &[BgpFigures], label: Label) -> Result<()> {
        self.gauged(prefix, GAUGES, peers, label)?;
        self.counted(prefix, COUNTERS, peers, label)
    }

    fn gauged(
        &self,
        prefix: &str,
        figures: &[(&str, &str, Figure)],
        peers: &[BgpFigures],
        label: Label,
    ) -> Result<()> {
        for (name, help, figure) in figures {
            let gauges = self.gauges(&format!("{prefix}_{name}"), help, LABELS)?;
            for peer in peers {
                let value = i64::try_from(figure(peer)).unwrap_or(i64::MAX);
                gauges
                    .with_label_values(&[label(peer), &peer.vrf])
                    .set(value);
            }
        }
        Ok(())
    }

    fn counted(
        &self,
        prefix: &str,
        figures: &[(&str, &str, Figure)],
        peers: &[BgpFigures],
        label: Label,
    ) -> Result<()> {
        for (name, help, figure) in figures {
            let counters = self.counters(&format!("{prefix}_{name}"), help, LABELS)?;
            for peer in peers {
                let counter = counters.with_label_values(&[label(peer), &peer.vrf]);
                counter.inc_by(figure(peer));
            }
        }
        Ok(())
    }

    fn bfd(&self, prefix: &str, sessions: &[BfdFigures]) -> Result<()> {
        let up = self.gauges(
            &format!("{prefix}_session_up"),
            "1 while the BFD session is up; sessions with the same peer and VRF are up together, and count together",
            LABELS,
        )?;
        for session in sessions {
            let labels = [session.peer.as_str(), session.vrf.as_str()];
            up.with_label_values(&labels).set(session.is_up.into());
        }
        for (name, help, figure) in BFD {
            let counters = self.counters(&format!("{prefix}_{name}"), help, LABELS)?;
            for session in sessions {
                let labels = [session.peer.as_str(), session.vrf.as_str()];
                counters.with_label_values(&labels).inc_by(figure(session));
            }
        }
        Ok(())
    }
}

/// How a peer is named.
type Label = fn(&BgpFigures) -> &str;
type BfdFigure = fn(&BfdFigures) -> u64;

const BFD: &[(&str, &str, BfdFigure)] = &[
    (
        "control_packet_input",
        "BFD control packets received",
        |session| session.received,
    ),
    (
        "control_packet_output",
        "BFD control packets sent",
        |session| session.sent,
    ),
    (
        "session_up_events",
        "How often a BFD session came up",
        |session| session.ups,
    ),
    (
        "session_down_events",
        "How often a BFD session went down",
        |session| session.downs,
    ),
    // No echo is sent or taken, and BGP stands where FRR has zebra.
    (
        "echo_packet_input",
        "Always 0: no BFD echo packet is taken",
        |_| 0,
    ),
    (
        "echo_packet_output",
        "Always 0: no BFD echo packet is sent",
        |_| 0,
    ),
    (
        "zebra_notifications",
        "Changes of BFD sessions that BGP was told of; it stands where FRR has zebra",
        |session| session.ups + session.downs,
    ),
];

const LABELS: &[&str] = &["peer", "vrf"];

const GAUGES: &[(&str, &str, Figure)] = &[
    (
        "session_up",
        "1 while the BGP session is up; peer is address and port, of frrk8s_… the address alone",
        |peer| peer.is_up.into(),
    ),
    (
        "announced_prefixes_total",
        "Prefixes that the peer was told and that stand",
        |peer| peer.announced,
    ),
    (
        "pending_prefixes_total",
        "Prefixes that the peer is still to be told",
        |peer| peer.pending,
    ),
    (
        "received_prefixes_total",
        "Prefixes that the peer announced; none is used",
        |peer| peer.received,
    ),
];

const COUNTERS: &[(&str, &str, Figure)] = &[
    ("opens_sent", "BGP OPEN messages sent", |peer| {
        peer.sent.open
    }),
    ("opens_received", "BGP OPEN messages received", |peer| {
        peer.got.open
    }),
    (
        "notifications_sent",
        "BGP NOTIFICATION messages sent",
        |peer| peer.sent.notification,
    ),
    ("updates_total", "BGP UPDATE messages sent", |peer| {
        peer.sent.update
    }),
    (
        "updates_total_received",
        "BGP UPDATE messages received",
        |peer| peer.got.update,
    ),
    ("keepalives_sent", "BGP KEEPALIVE messages sent", |peer| {
        peer.sent.keepalive
    }),
    (
        "keepalives_received",
        "BGP KEEPALIVE messages received",
        |peer| peer.got.keepalive,
    ),
    (
        "route_refresh_sent",
        "BGP ROUTE-REFRESH messages sent",
        |peer| peer.sent.refresh,
    ),
    ("total_sent", "BGP messages sent, of every type", |peer| {
        peer.sent.total()
    }),
    (
        "total_received",
        "BGP messages received, of every type",
        |peer| peer.got.total(),
    ),
];

const OWN_GAUGES: &[(&str, &str, Figure)] = &[(
    "session_paused",
    "1 while an operator has the BGP session paused (speaker ctl bgp pause)",
    |peer| peer.is_paused.into(),
)];

const OWN: &[(&str, &str, Figure)] = &[
    (
        "session_losses_total",
        "How often the BGP session went down",
        |peer| peer.dropped,
    ),
    (
        "forgiven_updates_total",
        "BGP UPDATE messages with an error that the session survived (RFC 7606)",
        |peer| peer.forgiven,
    ),
];
