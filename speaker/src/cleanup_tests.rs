//! What cleanup removes, and what it leaves alone.

use super::*;
use crate::dataplane::kernel_tests::tc_hook;
use crate::dataplane::{AnswerRate, AttachMode, Dataplane, Hook, Settings};
use crate::edge::{ArpSetting, Groups};
use crate::testnet::{TestBpf, TestNet};
use std::os::unix::net::UnixListener;

struct Machine {
    net: TestNet,
    bpf: TestBpf,
    run: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            net: TestNet::new(),
            bpf: TestBpf::new(),
            run: tempfile::tempdir().unwrap(),
        }
    }

    fn args(&self, node: Option<&str>) -> CleanupArgs {
        CleanupArgs {
            node_name: node.map(|node| node.parse().unwrap()),
            all: node.is_none(),
            places: Places {
                run_dir: self.run.path().to_owned(),
                bpffs: self.bpf.path().to_owned(),
            },
            output: Format::Text,
        }
    }

    /// A speaker's life, with everything that it leaves.
    fn speaker(&self, node: &str, attach: AttachMode) {
        let ifindex = self.net.here.ifindex("eth0");
        let names = BTreeMap::from([(ifindex, "eth0".to_owned())]);
        let run_dir = self.run.path().join(node);
        fs::create_dir_all(&run_dir).unwrap();
        self.net.here.enter(|| {
            let pin_dir = pin_dir(self.bpf.path(), &node.parse().unwrap());
            let settings = Settings {
                pin_dir,
                attach,
                rate: AnswerRate::default(),
            };
            let mut dataplane = Dataplane::open(&settings).unwrap();
            assert!(dataplane.sync_links(&names)[0].is_attached());
            let vip: Ipv6Addr = "2001:db8::10".parse().unwrap();
            Groups::open()
                .unwrap()
                .sync(&[(vip, ifindex)].into(), &names)
                .unwrap();
            let mut setting = ArpSetting::open(&run_dir).unwrap();
            assert!(setting.apply(&names).is_empty());
        });
    }

    fn remove(&self, args: &CleanupArgs) -> Result<Removed> {
        self.net.here.enter(|| remove(args))
    }

    fn is_clean(&self) -> bool {
        let run = |command| self.net.here.run(command);
        run("tc filter show dev eth0 ingress").is_empty()
            && run("ip -6 neigh show proxy").is_empty()
            && run("cat /proc/sys/net/ipv4/conf/eth0/arp_announce") == "0\n"
            && !run("bpftool net show dev eth0").contains("heliograph")
            && !self.bpf.path().join("heliograph").exists()
            && !self.run.path().exists()
    }
}

#[test]
fn every_trace_goes_and_a_second_run_finds_nothing() {
    for attach in [AttachMode::Tc, AttachMode::Clsact, AttachMode::XdpGeneric] {
        let machine = Machine::new();
        machine.speaker("node-a.example", attach);
        assert!(!machine.is_clean());
        let removed = machine
            .remove(&machine.args(Some("node-a.example")))
            .unwrap();
        crate::testnet::eventually("a machine without traces", || machine.is_clean());
        let remains = &removed.nodes["node-a.example"];
        assert!(remains.pins.len() >= 12, "{removed:?}");
        assert_eq!(remains.arp_announce, ["eth0"]);
        assert_eq!(removed.proxies.len(), 1);
        let is_filter = match attach {
            AttachMode::Tc => tc_hook() == Hook::Clsact,
            other => other == AttachMode::Clsact,
        };
        assert_eq!(removed.filters.len(), usize::from(is_filter));
        let again = machine
            .remove(&machine.args(Some("node-a.example")))
            .unwrap();
        assert_eq!(again.to_string(), "nothing was left to remove\n");
    }
}

#[test]
fn one_node_is_cleaned_or_all_are() {
    let machine = Machine::new();
    machine.speaker("node-a.example", AttachMode::Tc);
    machine.speaker("node-b", AttachMode::XdpGeneric);
    let removed = machine
        .remove(&machine.args(Some("node-a.example")))
        .unwrap();
    assert_eq!(removed.nodes.keys().collect::<Vec<_>>(), ["node-a.example"]);
    assert!(
        machine
            .bpf
            .path()
            .join("heliograph/node-b/hg_vips_v1")
            .exists()
    );
    machine.speaker("node-a.example", AttachMode::Tc);
    let removed = machine.remove(&machine.args(None)).unwrap();
    assert_eq!(
        removed.nodes.keys().collect::<Vec<_>>(),
        ["node-a.example", "node-b"]
    );
    crate::testnet::eventually("a machine without traces", || machine.is_clean());
}

#[test]
fn a_running_speaker_is_left_alone() {
    let machine = Machine::new();
    machine.speaker("node-a", AttachMode::Tc);
    let _alive = UnixListener::bind(machine.run.path().join("node-a/ctl.sock")).unwrap();
    let error = machine.remove(&machine.args(None)).unwrap_err();
    assert!(error.to_string().contains("stop it first"), "{error:#}");
    assert!(
        machine
            .bpf
            .path()
            .join("heliograph/node-a/hg_vips_v1")
            .exists()
    );
}

#[test]
fn the_report_reads_as_sentences() {
    let remains = NodeRemains {
        pins: vec!["a".into(), "b".into()],
        arp_announce: vec!["eth0".into()],
    };
    let removed = Removed {
        nodes: BTreeMap::from([("n1".to_owned(), remains)]),
        filters: vec!["eth1".to_owned()],
        proxies: vec![Proxy {
            vip: "2001:db8::1".parse().unwrap(),
            ifindex: 4,
        }],
        routes: Vec::new(),
    };
    assert_eq!(
        removed.to_string(),
        "n1: removed 2 pinned maps and links\n\
         n1: restored arp_announce of eth0\n\
         removed the clsact filter of eth1\n\
         removed the proxy-neighbour entry 2001:db8::1 of link 4\n"
    );
}
