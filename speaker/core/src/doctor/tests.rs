//! One sound node, and each thing that can be wrong with it.

use super::facts::{
    BpfFsState, DefaultRoute, Kernel, LinkFacts, Listener, OwnAddress, Ports, ProgramFacts,
    SecretFacts, SpeakerFacts,
};
use super::migrate::{ClusterFacts, Workload};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A node with a bond that announces, a bridge and a tunnel of pods, and a speaker that serves.
fn sound() -> Facts {
    let kernel = Kernel {
        release: "6.12.3-amd64".into(),
        has_types: true,
        clock_source: Some("tsc".into()),
        wall_s: 1_800_000_000,
        is_clock_kept: Some(true),
        lacking: BTreeMap::new(),
        bpffs: "/sys/fs/bpf".into(),
        bpffs_state: BpfFsState::Usable,
    };
    let sysctls = [
        ("net/core/bpf_jit_enable", 1),
        ("net/ipv4/ip_forward", 1),
        ("net/ipv6/conf/all/forwarding", 1),
        ("net/ipv4/conf/all/rp_filter", 1),
        ("net/ipv4/conf/bond0/rp_filter", 0),
        ("net/ipv4/conf/bond0/proxy_arp", 0),
        ("net/ipv6/conf/bond0/proxy_ndp", 0),
        ("net/ipv6/conf/bond0/disable_ipv6", 0),
        ("net/bridge/bridge-nf-call-iptables", 1),
        ("net/netfilter/nf_conntrack_count", 10),
        ("net/netfilter/nf_conntrack_max", 1000),
    ];
    Facts {
        kernel,
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value)).into(),
        links: links(),
        addresses: vec![
            address("192.0.2.11", 24, "bond0"),
            address("2001:db8::11", 64, "bond0"),
            address("fe80::1", 64, "bond0"),
            address("10.244.1.1", 24, "cni0"),
        ],
        defaults: vec![DefaultRoute {
            is_v6: false,
            gateway: Some(ip("192.0.2.1")),
            link: "bond0".into(),
        }],
        ports: Ports {
            members: 7946,
            metrics: 9120,
            health: 17472,
        },
        listeners: vec![listener(true, 7946), listener(false, 9120)],
        foreign_pins: Vec::new(),
        secret: Some(SecretFacts {
            place: "/etc/ml_secret_key".into(),
            bytes: Ok(44),
        }),
        lacking_rights: BTreeSet::new(),
        speaker: Some(speaker()),
        cluster: None,
        unseen: BTreeMap::new(),
    }
}

fn links() -> BTreeMap<String, LinkFacts> {
    let bond = LinkFacts {
        kind: "bond".into(),
        announces: true,
        bond_mode: Some("802.3ad".into()),
        programs: vec![program("tcx", "heliograph_tc", true)],
        ..link(1500)
    };
    let bridge = LinkFacts {
        kind: "bridge".into(),
        ..link(1450)
    };
    let tunnel = LinkFacts {
        kind: "vxlan".into(),
        below: Some("bond0".into()),
        ..link(1450)
    };
    let links = [("bond0", bond), ("cni0", bridge), ("flannel.1", tunnel)];
    links.map(|(name, link)| (name.to_owned(), link)).into()
}

fn speaker() -> SpeakerFacts {
    let lan = vec![
        (ip("192.0.2.100"), ip("192.0.2.200")),
        (ip("2001:db8::1:0"), ip("2001:db8::1:ff")),
    ];
    SpeakerFacts {
        version: "0.1.0".into(),
        state: "serving".into(),
        pools: [("lan".to_owned(), lan)].into(),
        nodes: [
            ("n1".to_owned(), vec![ip("192.0.2.11")]),
            ("n2".to_owned(), vec![ip("192.0.2.12")]),
        ]
        .into(),
        vips: [ip("192.0.2.100")].into(),
        ..SpeakerFacts::default()
    }
}

fn link(mtu: u32) -> LinkFacts {
    LinkFacts {
        mtu,
        is_up: true,
        has_carrier: true,
        has_multicast: true,
        ..LinkFacts::default()
    }
}

fn program(hook: &str, name: &str, is_ours: bool) -> ProgramFacts {
    ProgramFacts {
        hook: hook.into(),
        name: name.into(),
        is_ours,
    }
}

fn address(text: &str, bits: u8, link: &str) -> OwnAddress {
    OwnAddress {
        ip: ip(text),
        bits,
        link: link.into(),
    }
}

fn listener(is_udp: bool, port: u16) -> Listener {
    Listener {
        is_udp,
        port,
        process: Some("other".into()),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(facts: &mut Facts, sysctl: &str, value: i64) {
    facts.sysctls.insert(sysctl.to_owned(), value);
}

fn bond(facts: &mut Facts) -> &mut LinkFacts {
    facts.links.get_mut("bond0").unwrap()
}

fn said(facts: &mut Facts) -> &mut SpeakerFacts {
    facts.speaker.as_mut().unwrap()
}

fn pool(facts: &mut Facts, first: &str, last: &str) {
    let ranges = vec![(ip(first), ip(last))];
    said(facts).pools.insert("bad".into(), ranges);
}

fn with_ipvs(facts: &mut Facts) {
    let device = LinkFacts {
        kind: "dummy".into(),
        ..LinkFacts::default()
    };
    facts.links.insert(facts::IPVS.into(), device);
}

/// What is wrong: what of it is said, and how bad.
type Case = (Check, Severity, &'static str, fn(&mut Facts));

use Severity::{Error, Note, Warning};

const KERNEL: &[Case] = &[
    (Check::KernelVersion, Error, "", |f| {
        f.kernel.release = "5.4.0-150-generic".into()
    }),
    (Check::KernelVersion, Note, "", |f| {
        f.kernel.release = "6.1.0-13-amd64".into()
    }),
    (Check::KernelTypes, Warning, "", |f| {
        f.kernel.has_types = false
    }),
    (Check::Jit, Warning, "", |f| {
        set(f, "net/core/bpf_jit_enable", 0)
    }),
    (Check::ClockSource, Warning, "", |f| {
        f.kernel.clock_source = Some("hpet".into())
    }),
    (Check::WallClock, Error, "", |f| f.kernel.wall_s = 12),
    (Check::ClockUnkept, Note, "", |f| {
        f.kernel.is_clock_kept = Some(false)
    }),
    (Check::Capabilities, Error, "CAP_BPF", |f| {
        f.kernel.lacking.insert("CAP_BPF".into(), "load".into());
    }),
    (Check::BpfFs, Error, "/sys/fs/bpf", |f| {
        f.kernel.bpffs_state = BpfFsState::Absent
    }),
    (Check::BpfFs, Error, "/sys/fs/bpf", |f| {
        f.kernel.bpffs_state = BpfFsState::ReadOnly
    }),
    (Check::Conntrack, Warning, "", |f| {
        set(f, "net/netfilter/nf_conntrack_count", 900)
    }),
    (Check::Unseen, Warning, "links", |f| {
        f.unseen.insert("links".into(), "no netlink".into());
    }),
];

const SETTINGS: &[Case] = &[
    (Check::Forwarding, Warning, "", |f| {
        set(f, "net/ipv4/ip_forward", 0)
    }),
    (Check::Forwarding, Warning, "", |f| {
        set(f, "net/ipv6/conf/all/forwarding", 0)
    }),
    (Check::ReversePath, Warning, "bond0", |f| {
        f.defaults[0].link = "eth1".into()
    }),
    (Check::ReversePath, Warning, "bond0", |f| {
        f.links.insert(
            "eth1".into(),
            LinkFacts {
                announces: true,
                ..link(1500)
            },
        );
        set(f, "net/ipv4/conf/eth1/rp_filter", 2);
    }),
    (Check::ArpIgnore, Warning, "bond0", |f| {
        with_ipvs(f);
        set(f, "net/ipv4/conf/bond0/arp_ignore", 0);
    }),
    (Check::ArpAnnounce, Warning, "bond0", |f| {
        with_ipvs(f);
        set(f, "net/ipv4/conf/bond0/arp_announce", 1);
    }),
    (Check::ProxyArp, Warning, "bond0", |f| {
        set(f, "net/ipv4/conf/all/proxy_arp", 1)
    }),
    (Check::ProxyNdp, Note, "bond0", |f| {
        set(f, "net/ipv6/conf/bond0/proxy_ndp", 1)
    }),
    (Check::Ipv6Off, Warning, "bond0", |f| {
        set(f, "net/ipv6/conf/bond0/disable_ipv6", 1)
    }),
    (Check::Ipv6Off, Note, "bond0", |f| {
        set(f, "net/ipv6/conf/bond0/disable_ipv6", 1);
        said(f).pools.clear();
    }),
    (Check::BridgeFilter, Warning, "cni0", |f| {
        set(f, "net/bridge/bridge-nf-call-iptables", 0)
    }),
];

const LINKS: &[Case] = &[
    (Check::NoLink, Warning, "", |f| bond(f).announces = false),
    (Check::LinkDown, Warning, "bond0", |f| {
        bond(f).has_carrier = false
    }),
    (Check::LinkDown, Note, "bond0", |f| bond(f).is_up = false),
    (Check::LinkMulticast, Warning, "bond0", |f| {
        bond(f).has_multicast = false
    }),
    (Check::BondMode, Error, "bond0", |f| {
        bond(f).bond_mode = Some("balance-alb".into())
    }),
    (Check::BondMode, Warning, "bond0", |f| {
        bond(f).bond_mode = Some("balance-rr".into())
    }),
    (Check::BondMode, Warning, "bond0", |f| {
        bond(f).bond_mode = Some("broadcast".into())
    }),
    (Check::Lro, Warning, "bond0", |f| {
        bond(f).features.insert("rx-lro".into());
    }),
    (Check::Mtu, Warning, "bond0", |f| {
        f.links.retain(|name, _| name == "bond0");
        bond(f).mtu = 1200;
    }),
    (Check::Mtu, Warning, "flannel.1", |f| {
        f.links.get_mut("flannel.1").unwrap().mtu = 1451
    }),
    (Check::Mtu, Warning, "cni0", |f| {
        f.links.get_mut("cni0").unwrap().mtu = 9000
    }),
    (Check::OtherProgram, Warning, "bond0", |f| {
        bond(f)
            .programs
            .insert(0, program("xdp", "cil_xdp_entry", false));
    }),
    (Check::OtherProgram, Note, "bond0", |f| {
        bond(f).programs = vec![program("clsact", "", false)];
    }),
];

const OTHERS: &[Case] = &[
    (Check::OtherResponder, Warning, "TCP 7946", |f| {
        f.listeners.push(listener(false, 7946))
    }),
    (Check::OtherResponder, Note, "cilium_l2_responder_v4", |f| {
        f.foreign_pins.push("cilium_l2_responder_v4".into());
    }),
    (Check::OtherBgp, Warning, "TCP 179", |f| {
        f.listeners.push(listener(false, 179));
        said(f).peers.insert("tor".into(), ip("192.0.2.1"));
    }),
    (Check::Secret, Warning, "/etc/ml_secret_key", |f| {
        f.secret.as_mut().unwrap().bytes = Err("there is no such file".into());
    }),
    (Check::Secret, Warning, "/etc/ml_secret_key", |f| {
        f.secret.as_mut().unwrap().bytes = Ok(15)
    }),
];

const SPEAKER: &[Case] = &[
    (Check::Speaker, Error, "waiting", |f| {
        said(f).state = "waiting".into()
    }),
    (Check::Speaker, Error, "silent", |f| {
        said(f).state = "silent".into()
    }),
    (Check::Speaker, Warning, "reading", |f| {
        said(f).state = "reading".into()
    }),
    (Check::Unattached, Error, "bond0", |f| {
        said(f).unattached.insert("bond0".into(), "no hook".into());
    }),
    (Check::Problem, Warning, "", |f| {
        said(f).problems.push("pool lan: not a range".into())
    }),
    (Check::ApiServer, Error, "Node", |f| {
        said(f)
            .api_troubles
            .insert("Node".into(), "403 Forbidden".into());
    }),
    (Check::Rights, Error, "get secrets -n metallb-system", |f| {
        f.lacking_rights
            .insert("get secrets -n metallb-system".into());
    }),
    (Check::MemberUnheard, Warning, "192.0.2.12", |f| {
        said(f).unheard.push("192.0.2.12".into())
    }),
    (Check::MemberSettings, Warning, "n2", |f| {
        said(f).other_rules.push("n2".into())
    }),
    (Check::NameTaken, Error, "", |f| {
        said(f).is_name_taken = true
    }),
    (Check::VipOnLink, Error, "bond0", |f| {
        f.addresses.push(address("192.0.2.100", 32, "bond0"))
    }),
    (Check::PoolCoversNode, Error, "bad", |f| {
        pool(f, "192.0.2.11", "192.0.2.11")
    }),
    (Check::PoolCoversNode, Error, "bad", |f| {
        pool(f, "192.0.2.12", "192.0.2.13")
    }),
    (Check::PoolCoversRouter, Error, "bad", |f| {
        pool(f, "192.0.2.1", "192.0.2.2")
    }),
    (Check::PoolCoversRouter, Error, "bad", |f| {
        pool(f, "192.0.2.5", "192.0.2.6");
        said(f).peers.insert("tor".into(), ip("192.0.2.5"));
    }),
    (Check::PoolCoversPods, Warning, "bad", |f| {
        pool(f, "10.244.1.200", "10.244.1.210");
        said(f).routed_pools.insert("bad".into());
    }),
    (Check::PoolOffSegment, Note, "bad", |f| {
        pool(f, "198.51.100.1", "198.51.100.9")
    }),
];

/// What is wrong where no speaker runs, beside that.
const WITHOUT_SPEAKER: &[Case] = &[
    (Check::PortTaken, Error, "TCP 9120", |f| {
        f.listeners.retain(|l| l.port == 9120)
    }),
    (Check::PortTaken, Error, "UDP 7946", |f| {
        f.listeners.retain(|l| l.port == 7946)
    }),
    (Check::PortTaken, Error, "TCP 17472", |f| {
        f.listeners = vec![listener(false, 17472)]
    }),
    (Check::PortTaken, Warning, "UDP 3784", |f| {
        f.listeners = vec![listener(true, 3784)]
    }),
];

fn cases() -> impl Iterator<Item = &'static Case> {
    [KERNEL, SETTINGS, LINKS, OTHERS, SPEAKER]
        .into_iter()
        .flatten()
}

#[test]
fn a_sound_node_has_nothing_wrong() {
    let found = examine(&sound());
    assert_eq!(found, Findings::default());
    assert_eq!(found.exit_code(), 0);
}

#[test]
fn each_thing_that_is_wrong_is_found_and_nothing_else() {
    for (check, severity, about, spoil) in cases() {
        let mut facts = sound();
        spoil(&mut facts);
        let found = examine(&facts).findings;
        let told: Vec<_> = found
            .iter()
            .map(|found| (found.check, found.severity, found.about.as_str()))
            .collect();
        assert_eq!(told, [(*check, *severity, *about)], "{found:#?}");
        assert!(!found[0].remedy.is_empty() && !found[0].seen.is_empty());
    }
}

#[test]
fn without_a_speaker_its_ports_must_be_free() {
    for (check, severity, about, spoil) in WITHOUT_SPEAKER {
        let mut facts = sound();
        facts.speaker = None;
        spoil(&mut facts);
        let found = examine(&facts).findings;
        let told: Vec<_> = found
            .iter()
            .map(|found| (found.check, found.severity, found.about.as_str()))
            .collect();
        let none = (Check::Speaker, Note, "");
        assert_eq!(told, [(*check, *severity, *about), none], "{found:#?}");
    }
}

#[test]
fn every_check_has_one_row_and_a_case_that_finds_it() {
    let tried: BTreeSet<Check> = cases()
        .chain(WITHOUT_SPEAKER)
        .chain(MIGRATE)
        .map(|case| case.0)
        .chain([Check::MigrateWay])
        .collect();
    let rows: Vec<Check> = CHECKS.iter().map(|row| row.check).collect();
    assert_eq!(rows, tried.into_iter().collect::<Vec<_>>());
    let names: BTreeSet<&str> = CHECKS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    for row in CHECKS {
        assert!(!row.why.ends_with('.'), "{}", row.why);
    }
}

#[test]
fn what_objects_say_is_taken_from_the_world() {
    let mut world = crate::World::default();
    for object in crate::manifest::read("test.yaml", OBJECTS, "metallb-system").objects {
        world.put(object);
    }
    let said = SpeakerFacts::of_world(&world);
    let lan = vec![(ip("192.0.2.100"), ip("192.0.2.109"))];
    assert_eq!(said.pools["lan"], lan);
    assert_eq!(said.routed_pools, BTreeSet::from(["wan".to_owned()]));
    assert_eq!(said.nodes["n1"], [ip("192.0.2.11")]);
    assert_eq!(
        said.peers,
        BTreeMap::from([("tor".to_owned(), ip("192.0.2.1"))])
    );
}

#[test]
fn absent_facts_find_nothing_but_that_the_kernel_is_unknown() {
    let checks: Vec<&str> = examine(&Facts::default())
        .findings
        .iter()
        .map(|found| found.check.name())
        .collect();
    assert_eq!(checks, ["wall-clock", "bpf-fs", "kernel-types", "speaker"]);
}

#[test]
fn strict_reverse_path_is_well_where_there_is_one_way() {
    let mut facts = sound();
    set(&mut facts, "net/ipv4/conf/bond0/rp_filter", 1);
    assert_eq!(examine(&facts), Findings::default());
}

#[test]
fn kube_proxys_own_device_may_have_vips() {
    let mut facts = sound();
    with_ipvs(&mut facts);
    set(&mut facts, "net/ipv4/conf/bond0/arp_ignore", 1);
    set(&mut facts, "net/ipv4/conf/bond0/arp_announce", 2);
    facts
        .addresses
        .push(address("192.0.2.100", 32, facts::IPVS));
    assert_eq!(examine(&facts), Findings::default());
}

#[test]
fn what_is_found_over_and_over_is_counted() {
    let mut facts = sound();
    said(&mut facts).problems = (0..40).map(|n| format!("service {n}")).collect();
    let found = examine(&facts);
    assert_eq!(found.findings.len(), PER_CHECK_MAX);
    assert_eq!(found.left_out, 40 - PER_CHECK_MAX);
    assert!(found.to_string().contains("and 24 more of the same kinds"));
}

#[test]
fn the_worst_comes_first_and_gives_the_exit_code() {
    let mut facts = sound();
    set(&mut facts, "net/ipv6/conf/bond0/proxy_ndp", 1);
    assert_eq!(examine(&facts).exit_code(), 0, "a note is no fault");
    set(&mut facts, "net/ipv4/ip_forward", 0);
    assert_eq!(examine(&facts).exit_code(), 1);
    facts.kernel.bpffs_state = BpfFsState::Absent;
    let found = examine(&facts);
    assert_eq!(found.exit_code(), 2);
    assert_eq!(
        found.to_string(),
        "ERROR bpf-fs (/sys/fs/bpf): no bpf file system is mounted there\n    \
         why: maps and links are pinned there, so that the kernel goes on answering while a speaker restarts\n    \
         do:  mount -t bpf bpf /sys/fs/bpf\n\n\
         WARNING forwarding: net.ipv4.ip_forward is 0\n    \
         why: what comes for a VIP ends on this node in place of going to a pod\n    \
         do:  sysctl -w net/ipv4/ip_forward=1\n\n\
         NOTE proxy-ndp (bond0): proxy_ndp is 1\n    \
         why: the stack would answer for VIPs by itself, so that the speaker joins their groups by sockets, which do not outlive it\n    \
         do:  sysctl -w net/ipv6/conf/bond0/proxy_ndp=0 net/ipv6/conf/all/proxy_ndp=0, if nothing relies on it\n\n\
         errors 1, warnings 1, notes 1, of 48 checks\n"
    );
}

const MIGRATE: &[Case] = &[
    (Check::MigrateKubernetes, Error, "", |f| {
        cluster(f).kubernetes = Some((1, 28))
    }),
    (Check::MigrateSecurity, Error, "metallb-system", |f| {
        cluster(f).pod_security = Some("baseline".into())
    }),
    (Check::MigrateVersion, Warning, "DaemonSet/speaker", |f| {
        cluster(f).workloads[0].images.insert(
            "speaker".into(),
            "quay.io/metallb/speaker:v0.14.9@sha256:0".into(),
        );
    }),
    (Check::MigrateFrr, Warning, "bgpextras", |f| {
        cluster(f).config_maps.insert("bgpextras".into());
    }),
    (Check::MigrateFrr, Warning, "default/mine", |f| {
        cluster(f).frr_configurations.insert("default/mine".into());
    }),
    (Check::MigratePending, Note, "", |f| {
        cluster(f).pending.insert("default/web".into());
    }),
];

/// A cluster where MetalLB runs from manifests, and nothing is in the way.
fn cluster(facts: &mut Facts) -> &mut ClusterFacts {
    let speaker = Workload {
        name: "DaemonSet/speaker".into(),
        images: [(
            "speaker".to_owned(),
            "quay.io/metallb/speaker:v0.16.1".to_owned(),
        )]
        .into(),
        ..Workload::default()
    };
    facts.cluster.get_or_insert_with(|| ClusterFacts {
        namespace: "metallb-system".into(),
        kubernetes: Some((1, 31)),
        pod_security: Some("privileged".into()),
        workloads: vec![speaker],
        ..ClusterFacts::default()
    })
}

#[test]
fn what_stands_in_the_way_of_a_migration_is_found_and_the_way_is_named() {
    for (check, severity, about, spoil) in MIGRATE {
        let mut facts = sound();
        spoil(&mut facts);
        let found = examine(&facts).findings;
        let told: Vec<_> = found
            .iter()
            .filter(|found| found.check != Check::MigrateWay)
            .map(|found| (found.check, found.severity, found.about.as_str()))
            .collect();
        assert_eq!(told, [(*check, *severity, *about)], "{found:#?}");
    }
    let way = |change: fn(&mut ClusterFacts)| {
        let mut facts = sound();
        change(cluster(&mut facts));
        let found = examine(&facts);
        assert_eq!(found.exit_code(), 0);
        found.findings[0].remedy.clone()
    };
    assert!(way(|_| {}).contains("In MetalLB's place"));
    assert!(way(|c| c.workloads[0].is_of_helm = true).contains("With Helm"));
    assert!(way(|c| c.workloads[0].is_of_operator = true).contains("operator.md"));
    assert!(way(|c| c.workloads[0].is_ours = true).starts_with("install"));
}

const OBJECTS: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.0.2.100-192.0.2.109]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: wan, namespace: metallb-system}
spec: {addresses: [198.51.100.0/28]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: wan, namespace: metallb-system}
spec: {ipAddressPools: [wan]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
";
