//! Probing between two real kernels: what the program answers, what a stranger answers, and what nobody does. And fences, as the
//! deciding thread lowers them.

use super::*;
use crate::dataplane::{self, AnswerRate, AttachMode, Dataplane, pin_dir};
use crate::drive::hands::{Fences, Hands};
use crate::testnet::{Namespace, TestBpf, TestNet, eventually};
use speaker_core::diff::Change;
use speaker_core::link::Link;
use speaker_core::tables::TableChange;
use speaker_core::{LinkName, Local};
use speaker_ebpf::abi::{Entry, LinkValue, MacAddr, MacKey, MemberValue, Mode, VipKey};
use speaker_proto::Epoch;
use speaker_proto::Vip;
use speaker_proto::announce::Answered;
use speaker_proto::watch::{PROMISE_INTERVAL, Watched};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Instant;

const HERE: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
const THERE: Mac = Mac([2, 0, 0, 0, 0, 0xbb]);
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const VIPS: [&str; 2] = ["192.0.2.10", "2001:db8::10"];

fn vip(text: &str) -> Vip {
    Vip(text.parse().unwrap())
}

fn group() -> GroupKey {
    GroupKey(vip(VIPS[0]).0)
}

/// Two nodes on a wire, each with its program and the VIPs in its table.
struct Segment {
    net: TestNet,
    ours: TestBpf,
    theirs: TestBpf,
    attach: AttachMode,
}

impl Segment {
    /// Here they are another's, there they are answered for once there is a deadline.
    fn new(attach: AttachMode) -> Self {
        let segment = Self {
            net: TestNet::new(),
            ours: TestBpf::new(),
            theirs: TestBpf::new(),
            attach,
        };
        let (here, there) = (&segment.net.here, &segment.net.there);
        here.run(&format!("ip link set eth0 address {HERE}"));
        there.run(&format!("ip link set eth0 address {THERE}"));
        segment.serve(here, &segment.ours, HERE, Mode::Known);
        segment.serve(there, &segment.theirs, THERE, Mode::Answer);
        segment
    }

    fn dataplane(&self, bpf: &TestBpf) -> Dataplane {
        Dataplane::open(&dataplane::Settings {
            pin_dir: pin_dir(bpf.path(), &"node".parse().unwrap()),
            attach: self.attach,
            rate: AnswerRate::default(),
        })
        .unwrap()
    }

    fn serve(&self, side: &Namespace, bpf: &TestBpf, mac: Mac, mode: Mode) {
        let ifindex = side.ifindex("eth0");
        side.enter(|| {
            let mut dataplane = self.dataplane(bpf);
            let mut tables = dataplane.tables().unwrap();
            let link = LinkValue::new(MacAddr(mac.0));
            tables
                .apply(&TableChange::Link(Change::Put(ifindex, link)))
                .unwrap();
            for (slot, text) in (0..).zip(VIPS) {
                let key = VipKey::new(vip(text).0.into(), ifindex);
                let (word, bit) = key.addr().filter_bit();
                for change in [
                    TableChange::Filter(Change::Put(word, bit)),
                    TableChange::ResetSlot(slot),
                    TableChange::Vip(Change::Put(key, Entry::new(mode, 1, slot))),
                ] {
                    tables.apply(&change).unwrap();
                }
            }
            let reports = dataplane.sync_links(&BTreeMap::from([(ifindex, "eth0".to_owned())]));
            assert!(reports[0].is_attached(), "{reports:?}");
            dataplane.deadline().unwrap().store(1);
        });
    }

    /// Has the other node's program answer, or not.
    fn answers(&self, is_so: bool) {
        self.net.there.enter(|| {
            let deadline = self.dataplane(&self.theirs).deadline().unwrap();
            deadline.store(if is_so { u64::MAX } else { 1 });
        });
    }

    /// Runs `script` beside a prober.
    fn probing(&self, script: impl FnOnce(&mut Desk) + Send) {
        let ifindex = self.net.here.ifindex("eth0");
        self.net.here.enter(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let _guard = runtime.enter();
            let (hands, ends) = Hands::new();
            let (found_in, found) = std_mpsc::channel();
            let (shown, counts) = newest::channel(Counts::default());
            let prober = Prober::new(
                FrameSender::open().unwrap(),
                Ears::open().unwrap(),
                move |finding| found_in.send(finding).is_ok(),
                shown,
            );
            runtime.spawn(prober.run(ends.probe));
            let link = Link {
                ifindex,
                mac: HERE,
                is_up: true,
                has_carrier: true,
                has_arp: true,
                has_ndp: true,
                below: None,
            };
            let mut local = Local::new("node".parse().unwrap());
            local.links.insert("eth0".into(), link);
            script(&mut Desk {
                hands,
                found,
                counts,
                local,
                nonce: 0,
            });
        });
    }
}

/// Where findings come in.
struct Desk {
    hands: Hands,
    found: std_mpsc::Receiver<Finding>,
    counts: newest::Receiver<Counts>,
    local: Local,
    nonce: u64,
}

impl Desk {
    fn next(&self) -> Finding {
        let longest = Duration::from_secs(30);
        self.found.recv_timeout(longest).expect("a finding")
    }

    /// Asks for these VIPs; who answered, and after how long.
    fn ask(&mut self, vips: &[&str], only: Option<Mac>) -> (Option<Mac>, Duration) {
        self.nonce += 1;
        let link = LinkName::from("eth0");
        let places: Vec<_> = vips.iter().map(|v| (vip(v), link.clone())).collect();
        let begun = Instant::now();
        let asking = (group(), self.nonce);
        self.hands.probe(&self.local, asking, only, &places);
        let Finding::Probed {
            group: of,
            nonce,
            answered,
        } = self.next()
        else {
            panic!("nothing is watched")
        };
        assert_eq!((of, nonce), asking);
        (answered, begun.elapsed())
    }
}

#[test]
fn l3_1c_nobody_answers_for_what_two_kernels_know_and_neither_holds() {
    let segment = Segment::new(AttachMode::Tc);
    segment.probing(|desk| {
        let (answered, took) = desk.ask(&VIPS, None);
        assert_eq!(answered, None);
        assert!(took >= Duration::from_millis(100), "{took:?}");
        assert_eq!(desk.counts.borrow_and_update().sent, 4);
    });
}

#[test]
fn l3_1c_a_holder_s_program_answers_probes_of_both_families() {
    for attach in [AttachMode::Tc, AttachMode::XdpGeneric] {
        let segment = Segment::new(attach);
        segment.answers(true);
        segment.probing(|desk| {
            for vip in VIPS {
                assert_eq!(desk.ask(&[vip], None).0, Some(THERE), "{vip}");
                assert_eq!(desk.ask(&[vip], Some(THERE)).0, Some(THERE), "{vip}");
                assert_eq!(desk.ask(&[vip], Some(NOBODY)).0, None, "{vip}");
            }
            segment.answers(false);
            assert_eq!(desk.ask(&VIPS, None).0, None, "its deadline passed");
            // A finding is told before it is shown.
            eventually("all are counted", || {
                let probes = desk.counts.borrow().probes;
                (probes.answered, probes.unanswered) == (4, 3)
            });
            let ears = desk.counts.borrow().ears;
            assert_eq!((ears.malformed, ears.lost), (0, 0));
        });
    }
}

#[test]
fn l3_3_a_stranger_that_has_the_address_answers() {
    for (vip, bits) in [(VIPS[0], "24"), (VIPS[1], "64 nodad")] {
        let segment = Segment::new(AttachMode::Tc);
        segment.net.there.enter(|| {
            let mut dataplane = segment.dataplane(&segment.theirs);
            dataplane.sync_links(&BTreeMap::new());
        });
        let there = &segment.net.there;
        there.run(&format!("ip addr add {vip}/{bits} dev eth0"));
        segment.probing(|desk| {
            assert_eq!(desk.ask(&VIPS, None).0, Some(THERE), "{vip}");
        });
    }
}

#[test]
fn what_cannot_be_asked_is_never_called_unanswered() {
    let segment = Segment::new(AttachMode::Tc);
    segment.probing(|desk| {
        desk.local.links.get_mut(&"eth0".into()).unwrap().ifindex = 4711;
        let places = [(vip(VIPS[0]), "eth0".into())];
        desk.hands.probe(&desk.local, (group(), 1), None, &places);
        let other = GroupKey(vip(VIPS[1]).0);
        desk.hands.probe(&desk.local, (other, 2), None, &[]);
        eventually("both given up", || desk.counts.borrow().probes.unsent == 2);
        assert!(desk.found.try_recv().is_err());
    });
}

#[test]
fn l6_7_a_holder_that_falls_silent_is_missing_until_it_answers_again() {
    let segment = Segment::new(AttachMode::Tc);
    segment.answers(true);
    let ifindex = segment.net.here.ifindex("eth0");
    let places = VIPS.map(|v| ((vip(v), ifindex), HERE));
    let watched = |holder| Watched {
        places: places.into(),
        holder: BTreeSet::from([holder]),
        only: None,
        interval: PROMISE_INTERVAL,
    };
    segment.probing(|desk| {
        desk.hands
            .watch(Arc::new([(group(), watched(THERE))].into()));
        eventually("answers", || desk.counts.borrow().watch.answered >= 4);
        segment.answers(false);
        let missing = Finding::Missing {
            group: group(),
            is_certain: false,
        };
        assert_eq!(desk.next(), missing);
        segment.answers(true);
        assert_eq!(desk.next(), Finding::Answering(group()));
        desk.hands
            .watch(Arc::new([(group(), watched(NOBODY))].into()));
        let unexpected = Finding::Unexpected {
            group: group(),
            mac: THERE,
        };
        assert_eq!(desk.next(), unexpected);
    });
}

#[test]
fn l5_2_a_fence_goes_as_far_as_the_agent_was_told_and_wholly_before_a_taking() {
    let segment = Segment::new(AttachMode::Tc);
    segment.answers(true);
    let (here, there) = (&segment.net.here, &segment.net.there);
    let (ours, theirs) = (here.ifindex("eth0"), there.ifindex("eth0"));
    let contested = vip(VIPS[0]);
    let vips = BTreeSet::from([contested]);
    let claim = || {
        let answered = Answered {
            mac: HERE,
            epoch: Epoch(1),
        };
        here.enter(|| {
            let frames = FrameSender::open().unwrap();
            assert_eq!(frames.gratuitous((contested, ours), answered).unwrap(), 2);
        });
    };
    there.enter(|| {
        let mut kernel = segment.dataplane(&segment.theirs).tables().unwrap();
        let member = MemberValue {
            disarmed_until_ns: 0,
        };
        let key = MacKey::new(MacAddr(HERE.0));
        kernel
            .apply(&TableChange::Member(Change::Put(key, member)))
            .unwrap();
        let mut tables = kernel.read().unwrap();
        let mut fences = Fences::default();
        claim();
        fences.note(&kernel, &tables, contested).unwrap();
        claim();
        fences.lower(&mut kernel, &tables, &vips).unwrap();
        assert_eq!(kernel.fenced([0]).unwrap(), BTreeMap::from([(0, 4)]));
        fences.lower(&mut kernel, &tables, &vips).unwrap();
        assert_eq!(kernel.fenced([0]).unwrap().len(), 1, "nobody was told");
        let key = VipKey::new(contested.0.into(), theirs);
        let known = TableChange::Vip(Change::Put(key, Entry::new(Mode::Known, 0, 0)));
        kernel.apply(&known).unwrap();
        tables.apply(&known);
        fences.lower(&mut kernel, &tables, &vips).unwrap();
        assert!(kernel.fenced([0]).unwrap().is_empty());
    });
}

#[test]
fn l5_4_a_claim_to_one_station_silences_its_kernel_and_nobody_hears_of_it() {
    let segment = Segment::new(AttachMode::Tc);
    segment.answers(true);
    let (here, there) = (&segment.net.here, &segment.net.there);
    let ours = here.ifindex("eth0");
    let kernel = there.enter(|| {
        let mut kernel = segment.dataplane(&segment.theirs).tables().unwrap();
        let member = MemberValue {
            disarmed_until_ns: 0,
        };
        let key = MacKey::new(MacAddr(HERE.0));
        kernel
            .apply(&TableChange::Member(Change::Put(key, member)))
            .unwrap();
        kernel
    });
    segment.probing(|desk| {
        for vip in VIPS {
            // One by one: an answer that is still to be read would answer the next asking.
            assert_eq!(desk.ask(&[vip], None).0, Some(THERE), "{vip}");
        }
        let answered = Answered {
            mac: HERE,
            epoch: Epoch(2),
        };
        let frames = FrameSender::open().unwrap();
        for text in VIPS {
            frames.claim_to((vip(text), ours), answered, THERE).unwrap();
        }
        let fences = kernel.fenced([0, 1]).unwrap();
        assert_eq!(fences, BTreeMap::from([(0, 1), (1, 1)]));
        assert_eq!(desk.ask(&VIPS, None).0, None);
    });
}
