//! Everything that is looked for, by name, and why each matters.
//!
//! One table: the findings, `docs/reference/doctor.md` and the tests go through it, so that none of them can leave one out.

use serde::{Serialize, Serializer};

/// One thing that is looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// The kernel's version.
    KernelVersion,
    /// The kernel's type information.
    KernelTypes,
    /// The compiler of BPF programs.
    Jit,
    /// What the kernel reads time from.
    ClockSource,
    /// The date.
    WallClock,
    /// Whether something keeps the date.
    ClockUnkept,
    /// Capabilities.
    Capabilities,
    /// The bpf file system.
    BpfFs,
    /// The table of connections.
    Conntrack,
    /// Forwarding.
    Forwarding,
    /// The check of the way back.
    ReversePath,
    /// What the stack answers with VIPs on a device of kube-proxy's.
    ArpIgnore,
    /// What the stack asks with VIPs on a device of kube-proxy's.
    ArpAnnounce,
    /// Answers for addresses beyond.
    ProxyArp,
    /// The same for IPv6.
    ProxyNdp,
    /// IPv6 that is turned off.
    Ipv6Off,
    /// Bridges and netfilter.
    BridgeFilter,
    /// No link that can announce.
    NoLink,
    /// A link that does not carry.
    LinkDown,
    /// A link without multicast.
    LinkMulticast,
    /// How a bond spreads.
    BondMode,
    /// Large receive offload.
    Lro,
    /// Sizes of packets.
    Mtu,
    /// Programs of others on our links.
    OtherProgram,
    /// Ports that somebody else has.
    PortTaken,
    /// Somebody else who answers for VIPs.
    OtherResponder,
    /// Somebody else who speaks BGP.
    OtherBgp,
    /// The members' secret.
    Secret,
    /// Whether a speaker runs, and is well.
    Speaker,
    /// Links that the program is not on.
    Unattached,
    /// What the speaker calls wrong.
    Problem,
    /// The way to the API server.
    ApiServer,
    /// What the API server lets a speaker do.
    Rights,
    /// Speakers that are not heard.
    MemberUnheard,
    /// Speakers with other settings.
    MemberSettings,
    /// Two speakers of one name.
    NameTaken,
    /// A VIP on an interface.
    VipOnLink,
    /// A pool with a node's address in it.
    PoolCoversNode,
    /// A pool with a router's address in it.
    PoolCoversRouter,
    /// A pool with addresses of pods in it.
    PoolCoversPods,
    /// A pool that no link's network has.
    PoolOffSegment,
    /// Of a migration: Kubernetes' version.
    MigrateKubernetes,
    /// Of a migration: what pods the namespace admits.
    MigrateSecurity,
    /// Of a migration: how MetalLB was installed.
    MigrateWay,
    /// Of a migration: MetalLB's version.
    MigrateVersion,
    /// Of a migration: what is configured of FRR alone.
    MigrateFrr,
    /// Of a migration: services without addresses.
    MigratePending,
    /// What could not be looked at.
    Unseen,
}

/// What there is to say of a check whatever it finds.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The check.
    pub check: Check,
    /// Its name, as it is printed.
    pub name: &'static str,
    /// Why it matters, as a sentence without its stop.
    pub why: &'static str,
}

impl Check {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Why it matters, as a sentence without its stop.
    pub fn why(self) -> &'static str {
        self.row().why
    }

    fn row(self) -> &'static Row {
        let row = CHECKS.iter().find(|row| row.check == self);
        row.expect("each check has a row, as a test shows")
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// All of them, in the order of the reference.
pub const CHECKS: &[Row] = &[
    Row {
        check: Check::KernelVersion,
        name: "kernel-version",
        why: "the program needs 5.10; from 6.6 on it attaches by TCX, before the filters of others",
    },
    Row {
        check: Check::KernelTypes,
        name: "kernel-types",
        why: "without the kernel's types (BTF) nobody has tried the program, and bpftool shows bytes in place of fields",
    },
    Row {
        check: Check::Jit,
        name: "jit",
        why: "without the compiler each packet is interpreted, at ten times the cost",
    },
    Row {
        check: Check::ClockSource,
        name: "clock-source",
        why: "each answer reads the clock once, and one that is not the processor's costs a microsecond or more",
    },
    Row {
        check: Check::WallClock,
        name: "wall-clock",
        why: "certificates and tokens count by the date, and seem not to be valid yet; deadlines do not",
    },
    Row {
        check: Check::ClockUnkept,
        name: "clock-unkept",
        why: "clocks that drift apart make logs and events of nodes hard to put in order, and at last certificates and tokens invalid",
    },
    Row {
        check: Check::Capabilities,
        name: "capabilities",
        why: "the speaker ends at its start without them",
    },
    Row {
        check: Check::BpfFs,
        name: "bpf-fs",
        why: "maps and links are pinned there, so that the kernel goes on answering while a speaker restarts",
    },
    Row {
        check: Check::Conntrack,
        name: "conntrack",
        why: "when the table is full, new connections to services are dropped",
    },
    Row {
        check: Check::Forwarding,
        name: "forwarding",
        why: "what comes for a VIP ends on this node in place of going to a pod",
    },
    Row {
        check: Check::ReversePath,
        name: "reverse-path",
        why: "a packet for a VIP is dropped if the way back to its client is another link",
    },
    Row {
        check: Check::ArpIgnore,
        name: "arp-ignore",
        why: "kube-proxy in IPVS mode has all VIPs on a device, and every node's stack answers for them wherever our program is not",
    },
    Row {
        check: Check::ArpAnnounce,
        name: "arp-announce",
        why: "a node that has VIPs on a device of kube-proxy's asks its neighbours with a VIP as its own address, which claims it",
    },
    Row {
        check: Check::ProxyArp,
        name: "proxy-arp",
        why: "the stack answers for whatever it routes by another link, which are addresses of others too",
    },
    Row {
        check: Check::ProxyNdp,
        name: "proxy-ndp",
        why: "the stack would answer for VIPs by itself, so that the speaker joins their groups by sockets, which do not outlive it",
    },
    Row {
        check: Check::Ipv6Off,
        name: "ipv6-off",
        why: "nothing can be announced by IPv6 on that link",
    },
    Row {
        check: Check::BridgeFilter,
        name: "bridge-filter",
        why: "pods on one bridge that reach each other by a service get answers that were not translated",
    },
    Row {
        check: Check::NoLink,
        name: "no-link",
        why: "without a link that may announce, this node can be elected for nothing at layer 2",
    },
    Row {
        check: Check::LinkDown,
        name: "link-down",
        why: "a link that does not carry announces nothing",
    },
    Row {
        check: Check::LinkMulticast,
        name: "link-multicast",
        why: "questions for IPv6 VIPs come by multicast",
    },
    Row {
        check: Check::BondMode,
        name: "bond-mode",
        why: "ARP replies have to leave as they were made, once, by a port that the switch expects",
    },
    Row {
        check: Check::Lro,
        name: "lro",
        why: "packets that were put together by the card cannot be forwarded",
    },
    Row {
        check: Check::Mtu,
        name: "mtu",
        why: "packets that do not fit are lost: small requests work, large answers do not come",
    },
    Row {
        check: Check::OtherProgram,
        name: "other-program",
        why: "a program that runs before ours can take the questions away or change them",
    },
    Row {
        check: Check::PortTaken,
        name: "port-taken",
        why: "the speaker cannot listen there",
    },
    Row {
        check: Check::OtherResponder,
        name: "other-responder",
        why: "two that answer for one address send clients here and there",
    },
    Row {
        check: Check::OtherBgp,
        name: "other-bgp",
        why: "most routers take one session from one address, and the two end each other's",
    },
    Row {
        check: Check::Secret,
        name: "secret",
        why: "speakers share it; without it none of them announces anything, and one that can be guessed lets everybody in",
    },
    Row {
        check: Check::Speaker,
        name: "speaker",
        why: "without a speaker that serves, this node announces nothing",
    },
    Row {
        check: Check::Unattached,
        name: "unattached",
        why: "on a link without the program nothing is answered",
    },
    Row {
        check: Check::Problem,
        name: "problem",
        why: "the speaker calls it wrong, and goes on without it",
    },
    Row {
        check: Check::ApiServer,
        name: "api-server",
        why: "changes do not arrive; what was seen last stays in force",
    },
    Row {
        check: Check::Rights,
        name: "rights",
        why: "a speaker goes without what it may not read, and what it may not write is not there",
    },
    Row {
        check: Check::MemberUnheard,
        name: "member-unheard",
        why: "nodes that do not hear each other elect each for itself",
    },
    Row {
        check: Check::MemberSettings,
        name: "member-settings",
        why: "nodes with other rules come to other results about one VIP",
    },
    Row {
        check: Check::NameTaken,
        name: "name-taken",
        why: "two speakers of one name hold nothing, either of them",
    },
    Row {
        check: Check::VipOnLink,
        name: "vip-on-link",
        why: "the stack itself answers for a VIP that is an interface's address, on every node that has it",
    },
    Row {
        check: Check::PoolCoversNode,
        name: "pool-covers-node",
        why: "a service that gets a node's address takes the node off the network",
    },
    Row {
        check: Check::PoolCoversRouter,
        name: "pool-covers-router",
        why: "a service that gets a router's address takes its segment off the network",
    },
    Row {
        check: Check::PoolCoversPods,
        name: "pool-covers-pods",
        why: "a VIP among the addresses of pods is routed to the pods' network and reaches nobody else",
    },
    Row {
        check: Check::PoolOffSegment,
        name: "pool-off-segment",
        why: "nobody asks by ARP or NDP for an address that is in no network of the segment, unless a router has a route onto the link",
    },
    Row {
        check: Check::MigrateKubernetes,
        name: "migrate-kubernetes",
        why: "the resources' validation rules need 1.29",
    },
    Row {
        check: Check::MigrateSecurity,
        name: "migrate-security",
        why: "speakers need capabilities and folders of the node that only the level privileged admits",
    },
    Row {
        check: Check::MigrateWay,
        name: "migrate-way",
        why: "each way of installing MetalLB has its own way from there",
    },
    Row {
        check: Check::MigrateVersion,
        name: "migrate-version",
        why: "nobody has tried taking the place of an older MetalLB",
    },
    Row {
        check: Check::MigrateFrr,
        name: "migrate-frr",
        why: "no FRR runs here, so that what is written for it alone has no effect",
    },
    Row {
        check: Check::MigratePending,
        name: "migrate-pending",
        why: "the new controller finds addresses in statuses, and gives one to whoever has none",
    },
    Row {
        check: Check::Unseen,
        name: "unseen",
        why: "what was not looked at may be wrong",
    },
];
