//! The data plane against a real kernel: namespaces, a bpf file system, and clients that ask.

use super::*;
use crate::privileges::NEEDS;
use crate::testnet::{TestBpf, TestNet};
use aya::util::KernelVersion;
use caps::CapSet;
use speaker_core::diff::Change;
use speaker_core::tables::TableChange;
use speaker_ebpf::abi::{Entry, LinkValue, MAPS, MacAddr, Mode, VipKey};
use speaker_proto::Vip;
use std::collections::BTreeSet;
use std::net::IpAddr;

const VIP: &str = "192.0.2.10";

/// A node with one link, and a client at its other end.
pub(super) struct Node {
    pub(super) net: TestNet,
    bpf: TestBpf,
    pub(super) ifindex: u32,
    /// The link that announces, and the client's of the same name.
    link: &'static str,
}

impl Node {
    pub(super) fn new() -> Self {
        let net = TestNet::new();
        net.here.run("ip link set eth0 address 02:00:00:00:00:aa");
        net.there.run("ip addr add 192.0.2.1/24 dev eth0");
        let ifindex = net.here.ifindex("eth0");
        Self {
            net,
            bpf: TestBpf::new(),
            ifindex,
            link: "eth0",
        }
    }

    /// The same node announcing on another of its links.
    pub(super) fn on(mut self, link: &'static str) -> Self {
        self.ifindex = self.net.here.ifindex(link);
        self.link = link;
        self
    }

    pub(super) fn settings(&self, attach: AttachMode) -> Settings {
        let pin_dir = pin_dir(self.bpf.path(), &"node-a.example".parse().unwrap());
        Settings {
            pin_dir,
            attach,
            rate: AnswerRate::default(),
        }
    }

    pub(super) fn links(&self) -> BTreeMap<u32, String> {
        BTreeMap::from([(self.ifindex, self.link.to_owned())])
    }

    /// One process's life: opens, attaches, does `work`, ends.
    pub(super) fn process<R: Send>(
        &self,
        attach: AttachMode,
        work: impl FnOnce(&mut Dataplane, &[AttachReport]) -> R + Send,
    ) -> R {
        self.net.here.enter(|| {
            let mut dataplane = Dataplane::open(&self.settings(attach)).unwrap();
            keep_only_what_the_speaker_keeps();
            let reports = dataplane.sync_links(&self.links());
            work(&mut dataplane, &reports)
        })
    }

    /// Has the VIP answered for from now on.
    pub(super) fn serve(&self, dataplane: &Dataplane) {
        let mut tables = dataplane.tables().unwrap();
        let key = VipKey::new(VIP.parse::<IpAddr>().unwrap().into(), self.ifindex);
        let (word, bit) = key.addr().filter_bit();
        let mac = LinkValue::new(MacAddr([2, 0, 0, 0, 0, 0xaa]));
        for change in [
            TableChange::Link(Change::Put(self.ifindex, mac)),
            TableChange::Filter(Change::Put(word, bit)),
            TableChange::ResetSlot(7),
            TableChange::Vip(Change::Put(key, Entry::new(Mode::Answer, 1, 7))),
        ] {
            tables.apply(&change).unwrap();
        }
        dataplane.deadline().unwrap().store(u64::MAX);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.is_answered_on(self.link)
    }

    /// Whether the client gets an answer when it asks on this link of its own.
    pub(super) fn is_answered_on(&self, link: &str) -> bool {
        let arping = format!("arping -c 1 -w 1 -f -I {link} {VIP}");
        let output = self.net.there.start(&arping).wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .to_lowercase()
            .contains("02:00:00:00:00:aa")
    }
}

/// Of this thread's capabilities; commands that it starts have all of root's again.
fn keep_only_what_the_speaker_keeps() {
    let kept = NEEDS
        .iter()
        .filter(|need| need.kept)
        .map(|need| need.cap)
        .collect();
    caps::set(None, CapSet::Effective, &kept).unwrap();
}

/// Where the mode `tc` ends up on this kernel.
pub(crate) fn tc_hook() -> Hook {
    let has_tcx = KernelVersion::current().unwrap() >= KernelVersion::new(6, 6, 0);
    if has_tcx { Hook::Tcx } else { Hook::Clsact }
}

/// A mode whose first rung is a link that can be pinned.
fn pinning_mode() -> AttachMode {
    match tc_hook() {
        Hook::Tcx => AttachMode::Tc,
        Hook::Clsact | Hook::XdpNative | Hook::XdpGeneric => AttachMode::XdpGeneric,
    }
}

pub(super) fn last_step(reports: &[AttachReport]) -> &Step {
    the_one(reports).steps.last().unwrap()
}

pub(super) fn the_one(reports: &[AttachReport]) -> &AttachReport {
    let [report] = reports else {
        panic!("one link, one report: {reports:?}")
    };
    report
}

#[test]
fn a_vip_is_answered_and_a_new_process_adopts_everything() {
    let node = Node::new();
    node.process(AttachMode::Tc, |dataplane, reports| {
        assert_eq!(the_one(reports).hook, Some(tc_hook()), "{reports:?}");
        assert!(dataplane.replaced.is_empty());
        assert!(!node.is_answered(), "nothing is in the tables yet");
        node.serve(dataplane);
        assert!(node.is_answered());
        assert!(
            dataplane.sync_links(&node.links()).is_empty(),
            "nothing is left to do"
        );
    });
    assert!(node.is_answered(), "the program outlives its process");
    node.process(AttachMode::Tc, |dataplane, reports| {
        assert_eq!(
            last_step(reports).result,
            StepResult::Adopted,
            "{reports:?}"
        );
        assert!(dataplane.replaced.is_empty());
        let tables = dataplane.tables().unwrap().read().unwrap();
        assert_eq!(
            tables.vips.values().map(Entry::slot).collect::<Vec<_>>(),
            [7]
        );
        assert_eq!(
            (tables.slots, tables.links.len(), tables.filter.len()),
            ([7].into(), 1, 1)
        );
        assert_eq!(dataplane.deadline().unwrap().load(), u64::MAX);
        assert!(node.is_answered());
    });
}

#[test]
fn sight_sees_what_the_program_counted() {
    let node = Node::new();
    node.process(AttachMode::Tc, |dataplane, _| {
        node.serve(dataplane);
        assert!(node.is_answered());
        let sight = Sight::open(&node.settings(AttachMode::Tc).pin_dir).unwrap();
        let slots = sight.slots().unwrap();
        assert_eq!(
            (slots[0].vip, slots[0].mode, slots[0].slot),
            (VIP.parse().unwrap(), "answer", 7)
        );
        assert!(slots[0].outcomes["answered"] >= 1, "{slots:?}");
        assert!(!slots[0].is_fenced);
        let globals = sight.globals().unwrap();
        assert!(
            globals
                .iter()
                .any(|global| global.name == "arp" && global.count >= 1),
            "{globals:?}"
        );
        let links = sight.links().unwrap();
        assert_eq!(
            (links.len(), links[0].hook, links[0].name.as_str()),
            (1, tc_hook(), "eth0")
        );
        let maps = sight.maps().unwrap();
        assert_eq!(maps.len(), MAPS.len());
        let measured = maps.iter().filter(|map| map.memory_bytes.is_some());
        assert!(
            measured.count() >= MAPS.len() - 1,
            "all but the ring on older kernels: {maps:?}"
        );
        let asked = BTreeSet::from([(Vip(VIP.parse().unwrap()), node.ifindex)]);
        let askers = dataplane.askers().unwrap().of(&asked).unwrap();
        assert_eq!(
            askers.first().unwrap().client,
            "192.0.2.1".parse::<IpAddr>().unwrap()
        );
        assert!(
            dataplane
                .askers()
                .unwrap()
                .of(&BTreeSet::new())
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn maps_of_another_layout_or_shape_are_replaced_and_reported() {
    let node = Node::new();
    let dir = node.settings(AttachMode::Tc).pin_dir;
    node.process(AttachMode::Tc, |dataplane, _| node.serve(dataplane));
    let pin = |file: &str| dir.join(file).display().to_string();
    fs::rename(dir.join("hg_links_v1"), dir.join("hg_links_v0")).unwrap();
    fs::remove_file(dir.join("hg_vips_v1")).unwrap();
    node.net.here.run(&format!(
        "bpftool map create {} type hash key 4 value 4 entries 8 name hg_vips",
        pin("hg_vips_v1")
    ));
    node.process(AttachMode::Tc, |dataplane, _| {
        let [links, vips] = dataplane.replaced.as_slice() else {
            panic!("{:?}", dataplane.replaced)
        };
        assert_eq!(
            (links.map.as_str(), vips.map.as_str()),
            ("hg_links_v0", "hg_vips_v1")
        );
        assert!(links.why.contains("layout 1"), "{links:?}");
        assert!(
            vips.why.contains("key 4 B") && vips.why.contains("key 20 B"),
            "{vips:?}"
        );
        let tables = dataplane.tables().unwrap().read().unwrap();
        assert!(tables.vips.is_empty() && tables.links.is_empty());
        assert_eq!(tables.slots, [7].into(), "what fits is kept");
    });
}

#[test]
fn a_pinned_link_whose_device_is_gone_is_replaced() {
    let node = Node::new();
    node.process(pinning_mode(), |dataplane, _| node.serve(dataplane));
    let here = &node.net.here;
    here.run("ip link del eth0");
    let ifindex = node.ifindex;
    here.run(&format!(
        "ip link add name eth0 index {ifindex} address 02:00:00:00:00:aa type bridge"
    ));
    node.process(pinning_mode(), |_, reports| {
        let step = &the_one(reports).steps[0];
        assert_eq!(step.result, StepResult::Attached);
        assert!(step.why.contains("pinned link"), "{step:?}");
    });
    node.process(pinning_mode(), |_, reports| {
        assert_eq!(the_one(reports).steps[0].result, StepResult::Adopted);
    });
}

#[test]
fn a_pinned_link_of_another_namespace_is_replaced() {
    let node = Node::new();
    node.process(pinning_mode(), |dataplane, _| node.serve(dataplane));
    let other = TestNet::new();
    assert_eq!(
        other.here.ifindex("eth0"),
        node.ifindex,
        "the same index, another link"
    );
    other.here.enter(|| {
        let mut dataplane = Dataplane::open(&node.settings(pinning_mode())).unwrap();
        let reports = dataplane.sync_links(&node.links());
        let step = &the_one(&reports).steps[0];
        assert_eq!(step.result, StepResult::Attached);
        assert!(step.why.contains("another interface"), "{step:?}");
    });
}

#[test]
fn links_that_are_no_longer_wanted_lose_the_program() {
    let node = Node::new();
    node.process(AttachMode::Tc, |dataplane, _| {
        node.serve(dataplane);
        assert!(node.is_answered());
        assert!(dataplane.sync_links(&BTreeMap::new()).is_empty());
        assert!(dataplane.attached().is_empty());
        assert!(!node.is_answered());
        assert!(dataplane.sync_links(&node.links())[0].is_attached());
        assert!(node.is_answered());
    });
    node.net.here.enter(|| {
        let mut dataplane = Dataplane::open(&node.settings(AttachMode::Tc)).unwrap();
        dataplane.sync_links(&BTreeMap::new());
    });
    assert!(!node.is_answered(), "also those of an earlier process");
}

#[test]
fn clsact_works_survives_and_is_adopted() {
    let node = Node::new();
    node.process(AttachMode::Clsact, |dataplane, reports| {
        assert_eq!(the_one(reports).hook, Some(Hook::Clsact), "{reports:?}");
        node.serve(dataplane);
        assert!(node.is_answered());
    });
    assert!(node.is_answered());
    node.process(AttachMode::Clsact, |_, reports| {
        assert_eq!(
            the_one(reports).steps[0].result,
            StepResult::Adopted,
            "{reports:?}"
        );
        assert!(node.is_answered());
        let sight = Sight::open(&node.settings(AttachMode::Tc).pin_dir).unwrap();
        assert_eq!(sight.links().unwrap()[0].hook, Hook::Clsact);
    });
    node.process(AttachMode::XdpGeneric, |_, reports| {
        assert_eq!(the_one(reports).hook, Some(Hook::XdpGeneric));
        assert_eq!(
            node.net.here.run("tc filter show dev eth0 ingress"),
            "",
            "the old hook is left"
        );
        assert!(node.is_answered());
    });
}

#[test]
fn a_strangers_filter_in_our_place_is_left_alone() {
    let node = Node::new();
    let pin = node.bpf.path().join("stranger").display().to_string();
    node.process(AttachMode::Tc, |dataplane, _| {
        let pin_dir = node.settings(AttachMode::Tc).pin_dir;
        let links = Sight::open(&pin_dir).unwrap().links().unwrap();
        let program = links[0].program.unwrap();
        node.net
            .here
            .run(&format!("bpftool prog pin id {program} {pin}"));
        dataplane.sync_links(&BTreeMap::new());
    });
    node.net.here.run("tc qdisc replace dev eth0 clsact");
    node.net.here.run(&format!(
        "tc filter add dev eth0 ingress pref 1 protocol all handle 0x4847 bpf da object-pinned {pin}"
    ));
    node.process(AttachMode::Clsact, |_, reports| {
        let report = the_one(reports);
        assert_eq!(
            (report.hook, report.steps[0].result),
            (None, StepResult::Failed)
        );
        assert!(report.steps[0].why.contains("another"), "{report:?}");
    });
    assert!(
        node.net
            .here
            .run("tc filter show dev eth0 ingress")
            .contains("stranger")
    );
}

#[test]
fn generic_xdp_answers_and_is_adopted_in_its_mode() {
    let node = Node::new();
    node.process(AttachMode::XdpGeneric, |dataplane, reports| {
        assert_eq!(the_one(reports).hook, Some(Hook::XdpGeneric), "{reports:?}");
        node.serve(dataplane);
        assert!(node.is_answered());
    });
    node.process(AttachMode::XdpGeneric, |_, reports| {
        assert_eq!(
            the_one(reports).steps[0].result,
            StepResult::Adopted,
            "{reports:?}"
        );
    });
    node.process(AttachMode::XdpNative, |_, reports| {
        let report = the_one(reports);
        assert_eq!(report.hook, Some(Hook::XdpNative), "{report:?}");
        assert!(report.steps[0].why.contains("other XDP mode"), "{report:?}");
    });
    node.process(AttachMode::Auto, |_, reports| {
        let report = the_one(reports);
        assert_eq!(report.hook, Some(tc_hook()), "{report:?}");
        assert_eq!(
            report.steps[0].result,
            StepResult::Refused,
            "a veth loses native replies"
        );
        assert!(
            !node.net.here.run("ip link show eth0").contains("xdp"),
            "the old hook is left"
        );
        assert!(node.is_answered());
    });
}

#[test]
fn a_strangers_xdp_program_stays_and_tc_is_taken() {
    let stranger = Node::new();
    stranger.net.here.enter(|| {
        let mut other = Dataplane::open(&stranger.settings(AttachMode::XdpGeneric)).unwrap();
        assert!(other.sync_links(&stranger.links())[0].is_attached());
        let mut settings = stranger.settings(AttachMode::XdpGeneric);
        settings.pin_dir = stranger.bpf.path().join("heliograph/node-b");
        let mut dataplane = Dataplane::open(&settings).unwrap();
        let report = dataplane.sync_links(&stranger.links()).remove(0);
        assert_eq!(report.hook, Some(tc_hook()), "{report:?}");
        assert_eq!(report.steps[0].result, StepResult::Failed);
        assert!(report.steps[0].why.contains("left alone"), "{report:?}");
        assert!(
            stranger
                .net
                .here
                .run("ip link show eth0")
                .contains("xdpgeneric")
        );
    });
}

#[test]
fn the_kernel_says_whether_vlan_tags_are_taken_off() {
    let net = TestNet::new();
    let ifindex = net.here.ifindex("eth0");
    for (word, strips) in [("on", true), ("off", false)] {
        net.here.run(&format!("ethtool -K eth0 rxvlan {word}"));
        assert_eq!(
            net.here.enter(|| offload::strips_vlan(ifindex)),
            Some(strips)
        );
    }
    assert_eq!(net.here.enter(|| offload::strips_vlan(4711)), None);
}

#[test]
fn without_a_bpf_file_system_the_error_has_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let settings = Settings {
        pin_dir: dir.path().join("heliograph/node-a"),
        attach: AttachMode::Tc,
        rate: AnswerRate::default(),
    };
    let Err(error) = Dataplane::open(&settings) else {
        panic!("it is no bpf file system")
    };
    assert!(
        error
            .to_string()
            .contains(&format!("mount -t bpf bpf {root}")),
        "{error:#}"
    );
}

#[test]
fn a_claim_reaches_the_agent() {
    let node = Node::new();
    node.process(AttachMode::Tc, |dataplane, _| {
        node.serve(dataplane);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let mut claims = dataplane.claims().unwrap();
        node.net.there.run("ip addr add 192.0.2.10/24 dev eth0");
        node.net
            .there
            .start("arping -c 1 -U -I eth0 192.0.2.10")
            .wait()
            .unwrap();
        let batch = runtime.block_on(async {
            let second = std::time::Duration::from_secs(1);
            tokio::time::timeout(second, claims.next_batch())
                .await
                .expect("a claim")
                .unwrap()
        });
        assert_eq!(
            IpAddr::from(batch[0].vip.addr()),
            VIP.parse::<IpAddr>().unwrap()
        );
        assert_eq!(batch[0].slot, 7);
    });
}
