//! Who else is on this node: programs on our ports, responders, BGP speakers; the secret that ours share, and what the API server lets them do.

use super::facts::{Facts, Listener};
use super::{Check, Findings, Severity};

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    if facts.speaker.is_none() {
        ports(facts, found);
    }
    responders(facts, found);
    bgp(facts, found);
    secret(facts, found);
    rights(facts, found);
}

fn rights(facts: &Facts, found: &mut Findings) {
    for right in &facts.lacking_rights {
        found.add(
            Severity::Error,
            Check::Rights,
            right,
            "the API server refuses it",
            "apply the rights of this version: kubectl apply --server-side -f deploy/manifests/2-speaker-rights.yaml, or upgrade the chart",
        );
    }
}

/// Where no speaker runs nobody should have its ports. One that runs would have ended without them.
fn ports(facts: &Facts, found: &mut Findings) {
    let ports = facts.ports;
    let wanted = [
        (
            true,
            ports.members,
            "other speakers",
            "--ml-bindport, the same on every node",
            Severity::Error,
        ),
        (false, ports.metrics, "metrics", "--port", Severity::Error),
        (
            false,
            ports.health,
            "health",
            "--health-probe-port",
            Severity::Error,
        ),
        (
            true,
            BFD_PORT,
            "BFD",
            "none: end the other one, if BFD is wanted",
            Severity::Warning,
        ),
    ];
    for (is_udp, port, what, flag, severity) in wanted {
        let taken = |listener: &&Listener| listener.is_udp == is_udp && listener.port == port;
        let Some(listener) = facts.listeners.iter().find(taken) else {
            continue;
        };
        let protocol = if is_udp { "UDP" } else { "TCP" };
        found.add(
            severity,
            Check::PortTaken,
            &format!("{protocol} {port}"),
            format!("{} has it, which is for {what}", holder(listener)),
            format!("end that, or choose another port: {flag}"),
        );
    }
}

fn holder(listener: &Listener) -> &str {
    listener.process.as_deref().unwrap_or("another process")
}

fn responders(facts: &Facts, found: &mut Findings) {
    // Ours hears other speakers by UDP alone; MetalLB's memberlist by TCP as well.
    let members = facts
        .listeners
        .iter()
        .find(|listener| !listener.is_udp && listener.port == facts.ports.members);
    if let Some(listener) = members
        && facts.ports.members != 0
    {
        found.add(
            Severity::Warning,
            Check::OtherResponder,
            &format!("TCP {}", listener.port),
            format!(
                "{} listens there, as MetalLB's speaker does",
                holder(listener)
            ),
            "kubectl -n metallb-system get pods -o wide, and delete MetalLB's DaemonSet, if it is that",
        );
    }
    for pin in &facts.foreign_pins {
        found.add(
            Severity::Note,
            Check::OtherResponder,
            pin,
            "Cilium's table of addresses that it answers for is there",
            "see that no CiliumL2AnnouncementPolicy selects services that have their addresses from here",
        );
    }
}

fn bgp(facts: &Facts, found: &mut Findings) {
    let has_peers = facts
        .speaker
        .as_ref()
        .is_some_and(|speaker| !speaker.peers.is_empty());
    let listens = |listener: &&Listener| !listener.is_udp && listener.port == BGP_PORT;
    if let Some(listener) = facts.listeners.iter().find(listens)
        && has_peers
    {
        found.add(
            Severity::Warning,
            Check::OtherBgp,
            &format!("TCP {BGP_PORT}"),
            format!(
                "{} listens there, and BGPPeers are configured here",
                holder(listener)
            ),
            "give the two other peers, or another address here (spec.sourceAddress), or leave BGP to the other one",
        );
    }
}

fn secret(facts: &Facts, found: &mut Findings) {
    let Some(secret) = &facts.secret else {
        return;
    };
    match &secret.bytes {
        Err(why) => found.add(
            Severity::Warning,
            Check::Secret,
            &secret.place,
            why.clone(),
            "let the controller make the Secret memberlist, or write 32 random bytes there: openssl rand -base64 32",
        ),
        Ok(bytes) if *bytes < SECRET_BYTES_MIN => found.add(
            Severity::Warning,
            Check::Secret,
            &secret.place,
            format!("it has {bytes} bytes only"),
            "replace it: openssl rand -base64 32; speakers take a new one without a restart",
        ),
        Ok(_) => {}
    }
}

/// RFC 5881 §4.
const BFD_PORT: u16 = 3784;
/// RFC 4271 §8.
const BGP_PORT: u16 = 179;
/// What MetalLB's shortest has, less the loss of base64.
const SECRET_BYTES_MIN: usize = 16;
