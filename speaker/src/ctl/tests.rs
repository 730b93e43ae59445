//! Answers as people and programs see them, over a real socket.

use super::client::ask;
use super::order::{Obeyed, PeerOrder};
use super::peers::{
    BfdSessionSight, BfdSideSight, BfdSight, BgpPeerSight, BgpSight, NegotiatedSight,
};
use super::server::{DrainOrders, Orders, Server, States};
use super::snapshot::{MemberSight, MembersSight, Sight, Snapshot};
use super::wire::Request;
use super::{Event, FlowsWanted, Form, Kind, Question};
use crate::dataplane::{
    AttachReport, FlowSight, FlowsSight, GlobalCount, Hook, LinkSight, MapSight, ShareSight,
    SlotSight, Step, StepResult,
};
use anyhow::Result;
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use speaker_core::doctor::facts::SpeakerFacts;
use speaker_core::plan::{Held, Hold, Holding, Memo, plan};
use speaker_core::tables::SteeringContent;
use speaker_core::{Kind as ObjectKind, Link, Local, ObjectKey, Problem, World, manifest};
use speaker_proto::{Epoch, GroupKey, Mac, NodeName, Time};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

const MANIFESTS: &str = r"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  clusterIPs: [10.0.0.1]
  ports: [{port: 80}]
status: {loadBalancer: {ingress: [{ip: 192.0.2.10}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], nodeName: n1}]
---
apiVersion: v1
kind: Service
metadata: {name: idle, namespace: default}
spec:
  type: LoadBalancer
  clusterIPs: [10.0.0.2]
  ports: [{port: 80}]
status: {loadBalancer: {ingress: [{ip: 192.0.2.11}]}}
";

/// One that is heard, and an address where nobody is.
fn others() -> MembersSight {
    let heard = MemberSight {
        name: "n2".to_owned(),
        standing: "alive",
        addresses: vec!["192.0.2.2:7946".to_owned(), "[2001:db8::2]:7946".to_owned()],
        heard_ms_ago: Some(42),
        sent: 120,
        heard: 118,
        is_reachable: true,
        held: 3,
        links: vec!["eth0".to_owned()],
        version: "0.1.0".to_owned(),
        has_other_rules: true,
        key: Some("2c".to_owned()),
        has_other_key: true,
        ..MemberSight::default()
    };
    let silent = MemberSight {
        standing: "unknown",
        addresses: vec!["192.0.2.3:7946".to_owned()],
        is_unheard: true,
        ..MemberSight::default()
    };
    MembersSight {
        secret: Some("/etc/ml_secret_key".to_owned()),
        key: Some("91".to_owned()),
        is_settled: true,
        observers: 1,
        members: vec![heard, silent],
        ..MembersSight::default()
    }
}

/// One peer that is up, and one that cannot be reached.
fn router() -> BgpSight {
    let up = BgpPeerSight {
        name: "router".to_owned(),
        remote: "192.0.2.1:179".to_owned(),
        my_asn: 64512,
        peer_asn: "64513".to_owned(),
        router_id: "192.0.2.11".to_owned(),
        state: Some("Established"),
        for_ms: 61_500,
        negotiated: Some(NegotiatedSight {
            peer_router_id: "192.0.2.1".to_owned(),
            families: vec!["ipv4"],
            hold_s: 90,
            keepalive_s: 30,
            has_graceful_restart: true,
            has_v4_over_v6_next_hop: false,
        }),
        password_bytes: Some(6),
        told: BTreeMap::from([("ipv4", 2), ("ipv6", 0)]),
        wanted: 3,
        messages: [7, 8],
        ups_downs: [1, 0],
        ..BgpPeerSight::default()
    };
    let down = BgpPeerSight {
        name: "spine".to_owned(),
        remote: "192.0.2.5:179".to_owned(),
        peer_asn: "64513".to_owned(),
        state: Some("Active"),
        because: Some("cannot connect: refused".to_owned()),
        times: 4,
        retry_ms: Some(1500),
        ..BgpPeerSight::default()
    };
    BgpSight {
        peers: vec![up, down],
        md5_drops: BTreeMap::from([("wrongly signed", 8)]),
    }
}

/// One session that is up, and one whose peer is silent.
fn watchman() -> BfdSight {
    let side = |discriminator| BfdSideSight {
        discriminator,
        state: "up".to_owned(),
        transmit_ms: 100,
        receive_ms: 50,
        multiplier: 3,
    };
    let up = BfdSessionSight {
        peers: vec!["router".to_owned()],
        address: "192.0.2.1".to_owned(),
        local: "192.0.2.11".to_owned(),
        state: "up".to_owned(),
        for_ms: 60_500,
        interval_ms: Some(100),
        detection_ms: 300,
        ours: side(7),
        theirs: Some(side(8)),
        packets: [600, 599],
        ups_downs: [1, 0],
        ..BfdSessionSight::default()
    };
    let down = BfdSessionSight {
        peers: vec!["spine".to_owned()],
        address: "192.0.2.5".to_owned(),
        link: "eth1".to_owned(),
        state: "down".to_owned(),
        because: Some("the peer was not heard yet".to_owned()),
        interval_ms: Some(1000),
        ..BfdSessionSight::default()
    };
    BfdSight {
        sessions: vec![up, down],
        discarded: BTreeMap::from([("ttl", 3), ("unknown-peer", 5)]),
        refused: 0,
        late_turns: 2,
    }
}

/// A speaker on `n1` that holds 192.0.2.10.
fn snapshot() -> Snapshot {
    snapshot_of(MANIFESTS)
}

/// `n1` with one link.
fn local() -> Local {
    let mut local = Local::new("n1".parse().unwrap());
    let link = Link {
        ifindex: 2,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        is_up: true,
        has_carrier: true,
        has_arp: true,
        has_ndp: true,
        below: None,
    };
    local.links.insert("eth0".into(), link);
    local.other_links.insert("lo".into());
    local
}

fn snapshot_of(manifests: &str) -> Snapshot {
    let mut world = World::default();
    for object in manifest::read("all.yaml", manifests, "metallb-system").objects {
        world.put(object);
    }
    for kind in ObjectKind::ALL {
        world.synced(kind);
    }
    let local = local();
    let members = world.nodes.keys().cloned().collect();
    let group = GroupKey("192.0.2.10".parse().unwrap());
    let held = Held::from([(
        group,
        Holding {
            hold: Hold::Holding,
            epoch: Epoch(7),
        },
    )]);
    let plan = plan(&world, &members, &held, &local, &mut Memo::default());
    let step = |tried, result, why: &str| Step {
        tried,
        result,
        why: why.to_owned(),
    };
    Snapshot {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045),
        settings: BTreeMap::from([
            ("attach", "tc".to_owned()),
            ("election", "sha256".to_owned()),
        ]),
        world: Arc::new(world),
        plan: Arc::new(plan),
        alive: members,
        local,
        held,
        steering: SteeringContent::default(),
        numbers: BTreeMap::new(),
        problems: vec![Problem {
            object: ObjectKey::new(ObjectKind::Pool, "metallb-system", "broken"),
            origin: "all.yaml#9".to_owned(),
            field: "spec.addresses[0]".to_owned(),
            why: "not a range".to_owned(),
        }],
        is_armed: true,
        allocates: false,
        attached: vec![AttachReport {
            link: "eth0".to_owned(),
            ifindex: 2,
            hook: Some(Hook::Clsact),
            steps: vec![
                step(Hook::Tcx, StepResult::Failed, "the kernel has no TCX"),
                step(Hook::Clsact, StepResult::Attached, ""),
            ],
        }],
        api: None,
        members: others(),
        bgp: router(),
        bfd: watchman(),
        work: BTreeMap::from([("plans", 3), ("writes", 4)]),
    }
}

/// A kernel that answers for 192.0.2.10 and knows 192.0.2.11.
struct Kernel;

impl Sight for Kernel {
    fn deadline_ns(&self) -> Result<u64> {
        Ok(Time::ms(1_480).ns())
    }

    fn slots(&self) -> Result<Vec<SlotSight>> {
        let slot = |vip: &str, mode, outcomes: &[(&'static str, u64)], packets| SlotSight {
            vip: vip.parse().unwrap(),
            ifindex: 2,
            mode,
            epoch: 7,
            deadline_ns: 0,
            slot: 1,
            is_fenced: false,
            is_moving: false,
            is_steered: false,
            row: 0,
            is_socketed: false,
            outcomes: outcomes.iter().copied().collect(),
            packets,
            bytes: packets * 100,
        };
        Ok(vec![
            slot(
                "192.0.2.10",
                "answer",
                &[("answered", 5), ("limited", 2), ("fenced", 0)],
                12,
            ),
            slot(
                "192.0.2.11",
                "known",
                &[("answered", 0), ("not_owner", 9)],
                0,
            ),
        ])
    }

    fn globals(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![
            GlobalCount {
                name: "arp",
                count: 16,
            },
            GlobalCount {
                name: "ndp",
                count: 3,
            },
        ])
    }

    fn passages(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![GlobalCount {
            name: "forwarded",
            count: 4,
        }])
    }

    fn steered(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![GlobalCount {
            name: "sent",
            count: 6,
        }])
    }

    fn tunnelled(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![GlobalCount {
            name: "wrapped",
            count: 5,
        }])
    }

    fn listening(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![GlobalCount {
            name: "given",
            count: 8,
        }])
    }

    fn opted(&self) -> Result<Vec<GlobalCount>> {
        Ok(vec![GlobalCount {
            name: "rejected",
            count: 3,
        }])
    }

    fn flows(&self) -> Result<FlowsSight> {
        let flow = |client: &str, protocol, node| FlowSight {
            vip: "192.0.2.10:80".parse().unwrap(),
            ifindex: 2,
            client: client.parse().unwrap(),
            protocol,
            node,
            seen_ns: Time::ms(10).ns(),
        };
        Ok(FlowsSight {
            flows: vec![
                flow("192.0.2.77:40000", 6, 0),
                flow("192.0.2.78:40001", 17, 7),
            ],
            is_all: false,
        })
    }

    fn shares(&self) -> Result<Vec<ShareSight>> {
        Ok(vec![ShareSight {
            slot: 0,
            node: 0,
            packets: 3,
            bytes: 300,
        }])
    }

    fn maps(&self) -> Result<Vec<MapSight>> {
        Ok(vec![MapSight {
            name: "hg_vips",
            id: 42,
            kind: "Hash".to_owned(),
            layout: 1,
            key_bytes: 20,
            value_bytes: 24,
            entries_max: 65536,
            memory_bytes: Some(4096),
            pin: "/sys/fs/bpf/heliograph/n1/vips_v1".to_owned(),
        }])
    }

    fn links(&self) -> Result<Vec<LinkSight>> {
        Ok(vec![LinkSight {
            ifindex: 2,
            name: "eth0".to_owned(),
            hook: Hook::Clsact,
            program: None,
        }])
    }
}

/// Nobody takes an order.
fn deaf() -> Orders {
    let refuse = |order: PeerOrder| -> Obeyed {
        let peer = order.peer().to_owned();
        Box::pin(async move { Err(format!("this node has no BGPPeer {peer}")) })
    };
    Orders {
        drain: Arc::new(|_| false),
        peers: Arc::new(refuse),
        sockets: None,
    }
}

/// A server on a socket of its own.
struct Bench {
    runtime: Runtime,
    dir: TempDir,
    changes: broadcast::Sender<Event>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Arc::new(|| Some(snapshot())))
    }

    fn with(states: States) -> Self {
        Self::obeying(states, Arc::new(|_| false))
    }

    fn obeying(states: States, drain: DrainOrders) -> Self {
        Self::ordered(states, Orders { drain, ..deaf() })
    }

    fn ordered(states: States, orders: Orders) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (changes, _) = broadcast::channel(4);
        let bench = Self {
            runtime,
            dir: TempDir::new().unwrap(),
            changes,
        };
        let server = bench.open(states, orders).unwrap();
        bench.runtime.spawn(server.run());
        bench
    }

    fn open(&self, states: States, orders: Orders) -> Result<Server> {
        let _in_runtime = self.runtime.enter();
        Server::open(
            &self.path(),
            states,
            orders,
            Arc::new(Kernel),
            self.changes.clone(),
            || Time::ms(1_000),
        )
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ctl.sock")
    }

    fn ask(&self, question: Question, form: Form) -> Result<String> {
        let mut out = Vec::new();
        ask(&self.path(), &question, form, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn check(&self, question: Question, expected: &str) {
        let text = self.ask(question, Form::Table).unwrap();
        assert_eq!(text, expected.trim_start_matches('\n'), "\n{text}");
    }

    fn refusal(&self, question: Question) -> String {
        format!("{:#}", self.ask(question, Form::Table).unwrap_err())
    }
}

#[test]
fn status_tells_what_matters_and_what_is_wrong() {
    Bench::new().check(
        Question::Status,
        r#"
node       n1
version    0.1.0
started    2026-01-02T03:04:05Z
state      serving, deadline in 480 ms
services   1 announced from here, of 2
vips       1 answered by this kernel
links      eth0 (clsact)
addresses  read from the speaker that gives them
work       plans 3, writes 4

settings
  attach    tc
  election  sha256

1 problem
  FILE        OBJECT                               FIELD              WHY
  all.yaml#9  IPAddressPool metallb-system/broken  spec.addresses[0]  not a range
"#,
    );
}

#[test]
fn vips_are_named_with_their_links_and_services() {
    Bench::new().check(
        Question::Vips,
        "
VIP         LINK  MODE    EPOCH  ANSWERED  PACKETS  BYTES  SERVICES
192.0.2.10  eth0  answer      7         5       12   1200  default/web
192.0.2.11  eth0  known       7         0        0      0  default/idle
",
    );
}

#[test]
fn links_tell_what_was_tried() {
    Bench::new().check(
        Question::Links,
        "
LINK  INDEX  MAC                UP   CARRIER  ARP  NDP  HOOK    PROGRAM
eth0      2  02:00:00:00:00:01  yes  yes      yes  yes  clsact

what was tried
  eth0: tcx failed: the kernel has no TCX
  eth0: clsact attached

others, which do not announce: lo
",
    );
}

#[test]
fn bgp_tells_of_each_peer_whether_there_is_a_session_and_why_not() {
    let bench = Bench::new();
    let about = |peer: Option<&str>| Question::Bgp {
        peer: peer.map(str::to_owned),
        order: None,
    };
    bench.check(
        about(None),
        "\
PEER    REMOTE            AS  STATE        FOR  TOLD  NOTE
router  192.0.2.1:179  64513  Established  61s  2/3
spine   192.0.2.5:179  64513  Active       0ns  0/0   cannot connect: refused
",
    );
    let text = bench.ask(about(Some("router")), Form::Table).unwrap();
    for said in ["64512 to 64513", "hold 90 s", "6 bytes", "wrongly signed 8"] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let why = bench.ask(about(Some("leaf")), Form::Table).unwrap_err();
    assert_eq!(why.to_string(), "this node has no BGPPeer leaf");
}

#[test]
fn a_peer_that_is_paused_says_so_until_it_is_resumed() {
    let paused: Arc<Mutex<Option<String>>> = Arc::default();
    let seen = Arc::clone(&paused);
    let states = move || {
        let mut snapshot = snapshot();
        snapshot.bgp.peers[0].paused = seen.lock().unwrap().clone();
        Some(snapshot)
    };
    let peers = move |order: PeerOrder| -> Obeyed {
        let mut paused = paused.lock().unwrap();
        *paused = match order {
            PeerOrder::Pause { say, .. } => Some(say),
            PeerOrder::Resume { .. } => None,
        };
        Box::pin(async { Ok(()) })
    };
    let orders = Orders {
        drain: Arc::new(|_| false),
        peers: Arc::new(peers),
        sockets: None,
    };
    let bench = Bench::ordered(Arc::new(states), orders);
    let order = |order| Question::Bgp {
        peer: None,
        order: Some(order),
    };
    let pause = PeerOrder::Pause {
        peer: "router".to_owned(),
        say: "new optics".to_owned(),
    };
    let said = bench.ask(order(pause.clone()), Form::Table).unwrap();
    let until =
        r#""new optics", until `speaker ctl bgp resume router` or until this speaker starts anew"#;
    assert!(said.contains(until), "{said}");
    let all = Question::Bgp {
        peer: None,
        order: None,
    };
    let line = bench.ask(all.clone(), Form::Table).unwrap();
    assert!(
        line.contains("paused until `speaker ctl bgp resume router`"),
        "{line}"
    );
    let resume = PeerOrder::Resume {
        peer: "router".to_owned(),
    };
    let said = bench.ask(order(resume), Form::Json).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["peers"][0]["paused"], serde_json::Value::Null);
    let why = Bench::new().refusal(order(pause));
    assert_eq!(why, "this node has no BGPPeer router");
}

#[test]
fn rfc9003_2_a_peer_is_told_at_most_128_bytes() {
    let request = |say: &str| {
        let question = Question::Bgp {
            peer: None,
            order: Some(PeerOrder::Pause {
                peer: "router".to_owned(),
                say: say.to_owned(),
            }),
        };
        let request = Request::new(&question, true);
        request.question().map(|asked| asked == question)
    };
    assert_eq!(request(&"x".repeat(128)), Ok(true));
    assert_eq!(
        request(&"x".repeat(129)),
        Err("129 bytes, not 1 to 128".to_owned())
    );
    assert_eq!(request(""), Err("0 bytes, not 1 to 128".to_owned()));
}

#[test]
fn bfd_tells_of_each_session_whether_it_is_up_and_what_was_not_taken() {
    let bench = Bench::new();
    let about = |peer: Option<&str>| Question::Bfd {
        peer: peer.map(str::to_owned),
    };
    bench.check(
        about(None),
        "\
PEER    ADDRESS    LINK  STATE  FOR  INTERVAL  DETECTION  NOTE
router  192.0.2.1  -     up     60s  100ms     300ms
spine   192.0.2.5  eth1  down   0ns  1s        0ns        the peer was not heard yet

packets not taken  ttl 3, unknown-peer 5
held up ourselves  2 times
",
    );
    bench.check(
        about(Some("192.0.2.1")),
        "\
peer                  router
address               192.0.2.1, over one hop
state                 up for 60s
from                  192.0.2.11
we send every         100ms
it may be silent for  300ms
we say                up, discriminator 0x00000007, sends every 100ms, takes every 50ms, multiplier 3
it says               up, discriminator 0x00000008, sends every 100ms, takes every 50ms, multiplier 3
packets               600 sent, 599 received
came up               1 times, went down 0
",
    );
    let silent = bench.ask(about(Some("spine")), Form::Table).unwrap();
    assert!(
        silent.contains("it says               not heard"),
        "{silent}"
    );
    let json = bench.ask(about(Some("router")), Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sessions"][0]["theirs"]["discriminator"], 8);
    assert_eq!(json["discarded"]["ttl"], 3);
    let why = bench.ask(about(Some("leaf")), Form::Table).unwrap_err();
    assert_eq!(why.to_string(), "no BFD session of this node is with leaf");
}

#[test]
fn members_tell_who_is_heard_and_who_is_not() {
    let bench = Bench::new();
    bench.check(
        Question::Members,
        "\
secret     91, from /etc/ml_secret_key
settled    yes
observers  1

NAME  STANDING  ADDRESS                            LAST-HEARD  SENT  HEARD  HELD  KEY  VERSION  NOTE
n2    alive     192.0.2.2:7946,[2001:db8::2]:7946  42ms         120    118     3  2c   0.1.0    other settings: elects other nodes; another newest secret than here
-     unknown   192.0.2.3:7946                     -              0      0     0  -    -        sent, never heard: is UDP let through?
",
    );
}

#[test]
fn a_speaker_that_waits_for_its_secret_says_so() {
    let mut waiting = snapshot();
    waiting.members = MembersSight {
        secret: Some("/s".to_owned()),
        is_waiting: true,
        ..MembersSight::default()
    };
    let bench = Bench::with(Arc::new(move || Some(waiting.clone())));
    let text = bench.ask(Question::Members, Form::Table).unwrap();
    assert!(text.contains("WaitingForSecret: it is not in /s"), "{text}");
    assert!(text.ends_with("no other speaker is known\n"), "{text}");
    let text = bench.ask(Question::Status, Form::Table).unwrap();
    assert!(text.contains("waiting: WaitingForSecret: "), "{text}");
}

#[test]
fn maps_are_told_with_the_numbers_that_bpftool_takes() {
    Bench::new().check(
        Question::Maps,
        "
pinned in /sys/fs/bpf/heliograph/n1

MAP      ID  TYPE  LAYOUT  KEY  VALUE  ENTRIES-MAX  MEMORY
hg_vips  42  Hash       1   20     24        65536    4096
",
    );
}

#[test]
fn counters_tell_why_frames_were_not_answered() {
    Bench::new().check(
        Question::Counters,
        "
VIP         LINK  ANSWERED  PACKETS  BYTES  NOT ANSWERED
192.0.2.10  eth0         5       12   1200  limited 2
192.0.2.11  eth0         0        0      0  not_owner 9

whole node
arp  16
ndp  3

packets of VIPs that move
forwarded  4

packets of VIPs that are spread
sent  6

packets to and from other segments
wrapped  5

packets by option
rejected  3

connections and datagrams for sockets
given  8
",
    );
}

fn flows(vip: Option<&str>, to: Option<&str>, limit: u32) -> Question {
    Question::Flows(FlowsWanted {
        vip: vip.map(str::to_owned),
        to: to.map(str::to_owned),
        limit,
    })
}

#[test]
fn flows_are_told_with_whose_they_are() {
    let bench = Bench::new();
    bench.check(
        flows(None, None, 50),
        "
PROTOCOL  CLIENT            VIP            LINK  NODE  LAST-SEEN
TCP       192.0.2.77:40000  192.0.2.10:80  eth0  n1    0s
UDP       192.0.2.78:40001  192.0.2.10:80  eth0  #7    0s
2 looked at: there are more
",
    );
    let json = bench.ask(flows(None, Some("n1"), 50), Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["flows"].as_array().unwrap().len(), 1);
    assert_eq!(json["flows"][0]["protocol"], "TCP");
    assert_eq!(json["is_all"], false);
    let one = bench.ask(flows(Some("192.0.2.10"), None, 1), Form::Table);
    assert!(!one.unwrap().contains("UDP"));
    let none = bench.ask(flows(Some("192.0.2.11"), None, 1), Form::Table);
    assert!(none.unwrap().starts_with("no such flow"));
    let refused = bench.ask(flows(Some("web"), None, 1), Form::Table);
    assert!(refused.unwrap_err().to_string().contains("no address"));
}

#[test]
fn that_nobody_asks_to_be_spread_is_said() {
    Bench::new().check(
        Question::Steer { vip: None },
        "
no service asks for its packets to be spread (annotation heliograph.io/steering)
",
    );
    let refused = Bench::new().ask(
        Question::Steer {
            vip: Some("192.0.2.10".to_owned()),
        },
        Form::Table,
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no packets of 192.0.2.10"), "{refused}");
}

#[test]
fn a_plan_is_shown_in_its_one_text_form() {
    let text = Bench::new().ask(Question::Plan, Form::Table).unwrap();
    assert_eq!(text, snapshot().plan.to_string());
}

#[test]
fn a_plan_says_which_entries_routes_bring_packets_for_too() {
    for (is_routed, mode) in [(false, "answer"), (true, "answer, routed")] {
        let states = move || {
            let mut snapshot = snapshot();
            let plan = Arc::make_mut(&mut snapshot.plan);
            if is_routed {
                let entries = plan.l2.iter();
                let entries = entries.map(|(place, entry)| (place.clone(), entry.routed()));
                plan.l2 = entries.collect();
            }
            Some(snapshot)
        };
        let bench = Bench::with(Arc::new(states));
        let text = bench.ask(Question::Plan, Form::Table).unwrap();
        let row = text.lines().find(|line| line.starts_with("192.0.2.10 "));
        let cells: Vec<&str> = row.unwrap().split("  ").map(str::trim).collect();
        assert!(cells.contains(&mode), "{text}");
        let json = bench.ask(Question::Plan, Form::Json).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["entries"][0]["mode"], "answer");
        assert_eq!(json["entries"][0]["is_routed"], is_routed);
    }
}

#[test]
fn a_plan_as_data_has_peers_routes_and_what_became_of_services_in_bgp() {
    const BGP: &str = "---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.254, bfdProfile: later}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec: {localPref: 7}
";
    let manifests = format!("{MANIFESTS}{BGP}");
    let bench = Bench::with(Arc::new(move || Some(snapshot_of(&manifests))));
    let json = bench.ask(Question::Plan, Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let peer = serde_json::json!([{
        "peer": "tor",
        "session": "waits: spec.bfdProfile: there is no BFDProfile later yet",
        "waits": true,
        "routes": [{"prefix": "192.0.2.10/32", "attributes": "local-pref 7"}],
    }]);
    assert_eq!(json["peers"], peer);
    assert_eq!(json["bgp_services"][0]["reason"], "noEndpoints");
    assert_eq!(json["bgp_services"][1]["because"], "192.0.2.10/32 to tor");
    let why = Question::Why {
        service: "default/web".to_owned(),
    };
    let json = bench.ask(why, Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["bgp"]["announced"], true);
    assert_eq!(json["bgp"]["advertisements"][0]["applies"], true);
    let told = "192.0.2.10/32 (local-pref 7)";
    assert_eq!(json["bgp"]["peers"][0]["routes"][0], told);
}

#[test]
fn why_names_the_deciding_fact_and_what_would_change_it() {
    let bench = Bench::new();
    let why = |service: &str| Question::Why {
        service: service.to_owned(),
    };
    let text = bench.ask(why("default/idle"), Form::Table).unwrap();
    assert!(
        text.starts_with("default/idle is not announced by n1: no endpoint can serve\n"),
        "{text}"
    );
    assert!(
        text.contains("what would change it: let a pod behind it become ready"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&bench.ask(why("default/web"), Form::Json).unwrap()).unwrap();
    assert_eq!(json["announced"], true, "{json}");
    assert_eq!(
        bench.refusal(why("web")),
        "\"web\" is no service: it is asked for as namespace/name"
    );
    assert_eq!(
        bench.refusal(why("other/web")),
        "there is no service other/web; there is default/web"
    );
}

/// A speaker that obeys, gives its group away at the next look, and whose connections have had their time at the one after that.
fn obedient() -> Bench {
    let looks = Arc::new(AtomicUsize::new(0));
    let ordered = Arc::clone(&looks);
    let states = move || {
        let mut snapshot = snapshot();
        let look = match looks.load(Ordering::Relaxed) {
            0 => 0,
            _drained => looks.fetch_add(1, Ordering::Relaxed),
        };
        snapshot.local.is_draining = look > 0;
        if snapshot.local.is_draining {
            let nobody_is_fit = std::iter::empty::<NodeName>();
            snapshot.alive = nobody_is_fit.collect();
        }
        match look {
            0 | 1 => {}
            2 => snapshot
                .held
                .values_mut()
                .for_each(|holding| holding.hold = Hold::Draining),
            _later => snapshot.held.clear(),
        }
        Some(snapshot)
    };
    let orders = move |drains| {
        ordered.store(usize::from(drains), Ordering::Relaxed);
        true
    };
    Bench::obeying(Arc::new(states), Arc::new(orders))
}

const DRAIN: Question = Question::Drain {
    undo: false,
    wait: false,
};
const DRAIN_AND_WAIT: Question = Question::Drain {
    undo: false,
    wait: true,
};
const UNDRAIN: Question = Question::Drain {
    undo: true,
    wait: false,
};

#[test]
fn a_drain_that_is_waited_for_tells_each_step_and_ends() {
    obedient().check(
        DRAIN_AND_WAIT,
        "
n1 is drained: 1 still held, 0 given away with connections that may go on here
no other node can announce default/web: nobody answers for it
n1 is drained: 0 still held, 1 given away with connections that may go on here
no other node can announce default/web: nobody answers for it
n1 is drained: 0 still held, 0 given away with connections that may go on here
no other node can announce default/web: nobody answers for it
",
    );
}

#[test]
fn a_drain_is_told_of_once_it_is_obeyed_and_can_be_taken_back() {
    let bench = obedient();
    let said = bench.ask(DRAIN, Form::Json).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "node": "n1", "is_draining": true, "held": ["192.0.2.10"], "given": [], "orphans": ["default/web"],
    });
    assert_eq!(said, expected);
    bench.check(UNDRAIN, "n1 is not drained\n");
}

#[test]
fn a_drain_that_nobody_hears_of_is_refused() {
    let refusal = Bench::new().refusal(DRAIN);
    assert_eq!(refusal, "the speaker has too much to do: try again");
}

#[test]
fn json_is_one_object_on_one_line_and_yaml_says_the_same() {
    let bench = Bench::new();
    for question in [
        Question::Status,
        Question::Plan,
        Question::Vips,
        Question::Links,
        Question::Maps,
        Question::Counters,
    ] {
        let json = bench.ask(question.clone(), Form::Json).unwrap();
        assert_eq!(json.lines().count(), 1, "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json.is_object(), "{json}");
        let yaml = bench.ask(question, Form::Yaml).unwrap();
        let yaml: serde_json::Value = serde_norway::from_str(&yaml).unwrap();
        assert_eq!(yaml, json);
    }
}

#[test]
fn programs_find_states_in_the_status() {
    let json = Bench::new().ask(Question::Status, Form::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "serving");
    assert_eq!(json["announced"], 1);
    assert_eq!(json["deadline_left_ms"], 480);
    assert_eq!(json["problems"][0]["field"], "spec.addresses[0]");
}

/// Whatever is written, as it comes.
struct Said(std::sync::mpsc::Sender<String>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(text).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn watching_tells_changes_until_the_speaker_ends() {
    let bench = Bench::new();
    let (path, changes) = (bench.path(), bench.changes.clone());
    let (said, out) = std::sync::mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let end = ask(&path, &Question::Watch, Form::Json, &mut Said(said)).unwrap_err();
        end.to_string()
    });
    while changes.receiver_count() == 0 {
        std::thread::yield_now();
    }
    changes
        .send(Event::new(
            Kind::Claim,
            "192.0.2.10",
            "a stranger claims it",
        ))
        .unwrap();
    changes
        .send(Event::new(Kind::Link, "eth0", "lost its carrier"))
        .unwrap();
    // Both arrived before the speaker ends.
    let expected = "{\"because\":\"a stranger claims it\",\"event\":\"claim\",\"subject\":\"192.0.2.10\"}\n\
         {\"because\":\"lost its carrier\",\"event\":\"link\",\"subject\":\"eth0\"}\n";
    let mut told = String::new();
    while told.len() < expected.len() {
        told += &out.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    assert_eq!(told, expected);
    drop(bench);
    let end = watcher.join().unwrap();
    assert!(end.contains("has ended"), "{end}");
}

#[test]
fn a_speaker_that_has_decided_nothing_says_so() {
    let bench = Bench::with(Arc::new(|| None));
    assert_eq!(
        bench.refusal(Question::Status),
        "the speaker has decided nothing yet: try again"
    );
}

/// What a stream of bytes is answered with.
fn raw(bench: &Bench, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(bench.path()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    // A server that stops reading may reset what it has not read.
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    let bench = Bench::new();
    assert!(raw(&bench, b"hello\n").contains("cannot be read"));
    assert!(raw(&bench, b"{\"ask\":\"dance\",\"as_text\":true}\n").contains("cannot be asked"));
    assert!(raw(&bench, b"{\"ask\":\"why\",\"as_text\":true}\n").contains("cannot be asked"));
    assert!(raw(&bench, b"").contains("no line"));
    assert!(raw(&bench, &[b'x'; 5000]).contains("no line"));
    assert!(raw(&bench, b"\xff\xfe\n").contains("cannot be read"));
}

#[test]
fn someone_else_is_refused() {
    let bench = Bench::new();
    std::fs::set_permissions(bench.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(bench.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let path = bench.path();
    let refusal = std::thread::spawn(move || {
        let nobody = Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).expect("the tests of this package run as root");
        ask(&path, &Question::Status, Form::Table, &mut Vec::new())
            .unwrap_err()
            .to_string()
    });
    assert_eq!(
        refusal.join().unwrap(),
        "user 65534 may not ask: only root and user 0 may"
    );
}

#[test]
fn the_socket_is_closed_to_others() {
    let bench = Bench::new();
    let mode = std::fs::metadata(bench.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn more_clients_than_there_are_seats_are_told() {
    let bench = Bench::new();
    let clients: Vec<_> = (0..33)
        .map(|_| UnixStream::connect(bench.path()).unwrap())
        .collect();
    // Which of them comes last is the runtime's choice; the others wait in silence for their question.
    let told = (0..400).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        clients.iter().find_map(|mut client| {
            client.set_nonblocking(true).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).ok().map(|_| answer)
        })
    });
    let why = r#"{"error":"32 clients are being served: try again later"}"#;
    assert_eq!(told.as_deref().map(str::trim_end), Some(why));
}

#[test]
fn a_socket_that_nobody_answers_on_is_replaced_and_a_living_one_is_not() {
    let bench = Bench::new();
    let error = bench.open(Arc::new(|| None), deaf()).err().unwrap();
    assert!(
        error.to_string().contains("another speaker answers on"),
        "{error:#}"
    );
    let dir = TempDir::new().unwrap();
    let stale = dir.path().join("ctl.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let _in_runtime = bench.runtime.enter();
    let (changes, _) = broadcast::channel(1);
    let server = Server::open(
        &stale,
        Arc::new(|| None),
        deaf(),
        Arc::new(Kernel),
        changes,
        || Time::ms(0),
    )
    .unwrap();
    drop(server);
    assert!(
        !stale.exists(),
        "a speaker that ends takes its socket along"
    );
    std::fs::write(&stale, "").unwrap();
    let (changes, _) = broadcast::channel(1);
    let error = Server::open(
        &stale,
        Arc::new(|| None),
        deaf(),
        Arc::new(Kernel),
        changes,
        || Time::ms(0),
    )
    .err()
    .unwrap();
    assert!(
        error.to_string().contains("no socket: remove it"),
        "{error:#}"
    );
}

#[test]
fn the_doctor_is_told_what_only_the_speaker_knows() {
    let bench = Bench::new();
    let facts = bench.ask(Question::Facts, Form::Json).unwrap();
    let facts: SpeakerFacts = serde_json::from_str(&facts).unwrap();
    assert_eq!(facts.state, "serving");
    assert_eq!(facts.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(facts.secret.as_deref(), Some("/etc/ml_secret_key"));
    assert_eq!(facts.unheard, ["192.0.2.3:7946"]);
    assert_eq!(facts.other_rules, ["n2"]);
    assert_eq!(facts.problems.len(), 1);
    let vips = ["192.0.2.10", "192.0.2.11"].map(|vip| vip.parse().unwrap());
    assert_eq!(facts.vips, vips.into());
    assert_eq!(facts.pools.keys().collect::<Vec<_>>(), ["lan"]);
    assert!(facts.unattached.is_empty());

    let mut state = snapshot();
    state.attached[0].hook = None;
    let bench = Bench::with(Arc::new(move || Some(state.clone())));
    let facts = bench.ask(Question::Facts, Form::Json).unwrap();
    let facts: SpeakerFacts = serde_json::from_str(&facts).unwrap();
    assert!(facts.unattached.contains_key("eth0"));
}

#[test]
fn objects_are_shown_without_secrets() {
    let peer = "
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, password: hunter2}
";
    let state = snapshot_of(&format!("{MANIFESTS}{peer}"));
    let bench = Bench::with(Arc::new(move || Some(state.clone())));
    for form in [Form::Table, Form::Json, Form::Yaml] {
        let text = bench.ask(Question::Objects, form).unwrap();
        assert!(
            text.contains("BGPPeer") && !text.contains("hunter2"),
            "{text}"
        );
    }
    let refusal = bench.refusal(Question::Metrics);
    assert_eq!(refusal, "this speaker has no metrics");
}
