//! Sessions over real links, between threads of ours and with FRR and BIRD.

use super::routers::{Bird, Frr};
use super::*;
use crate::drive::clock::now;
use crate::testnet::{Namespace, TestNet};
use speaker_proto::bfd::TTL_MIN_MULTIHOP;
use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

/// Waits until `is_so`, a minute at most: handshakes take seconds, and daemons start slowly on a busy machine.
#[track_caller]
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what} did not come to be"
        );
        threads::sleep(Duration::from_millis(5));
    }
}

/// A thread of ours in a namespace.
struct Speaker {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    runtime: tokio::runtime::Runtime,
}

impl Speaker {
    fn start(net: &Namespace) -> Self {
        Self::resume(net, BTreeMap::new())
    }

    fn resume(net: &Namespace, kept: BTreeMap<SessionKey, Kept>) -> Self {
        let (handle, events) = net.enter(|| start(kept)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        Self {
            handle,
            events,
            runtime,
        }
    }

    fn want(&self, key: &SessionKey, settings: Settings) {
        self.handle.want(BTreeMap::from([(key.clone(), settings)]));
    }

    fn figures(&self) -> Figures {
        // One that gets no processor answers too late for this asking.
        let mut asked = None;
        until("an answer of the thread", || {
            asked = self.runtime.block_on(self.handle.figures());
            asked.is_some()
        });
        asked.expect("it was waited for")
    }

    fn view(&self, key: &SessionKey) -> View {
        self.figures().sessions[key].clone()
    }

    #[track_caller]
    fn event(&mut self) -> Event {
        let wait = Duration::from_secs(60);
        let event = async { tokio::time::timeout(wait, self.events.recv()).await };
        let event = self.runtime.block_on(event).expect("an event in time");
        event.expect("the thread lives")
    }

    /// The next change, which must be of this session.
    #[track_caller]
    fn change(&mut self, key: &SessionKey) -> Change {
        match self.event() {
            Event::Changed(of, change) if of == *key => change,
            event => panic!("{event:?}"),
        }
    }

    #[track_caller]
    fn comes_up(&mut self, key: &SessionKey) {
        let change = self.change(key);
        assert_eq!(change.state, State::Up, "{change:?} {:?}", self.figures());
    }

    /// Waits until the intervals are those that both sides agree on.
    #[track_caller]
    fn settles(&self, key: &SessionKey, interval: u64, detection: u64) {
        until("the intervals", || {
            let view = self.view(key);
            view.interval == Some(Span::ms(interval)) && view.detection == Span::ms(detection)
        });
    }

    /// Nothing was told since, and the session never went down.
    #[track_caller]
    fn stayed_up(&mut self, key: &SessionKey) {
        let view = self.view(key);
        assert_eq!((view.state, view.counts.downs), (State::Up, 0), "{view:?}");
        assert!(self.events.try_recv().is_err());
    }
}

fn settings(interval: u64) -> Settings {
    Settings {
        transmit: Span::ms(interval),
        receive: Span::ms(interval),
        ..Settings::default()
    }
}

fn pause(ms: u64) {
    threads::sleep(Duration::from_millis(ms));
}

/// Two namespaces with addresses: 192.0.2.1 and 2001:db8::1 here, 192.0.2.2 and 2001:db8::2 there.
fn net() -> TestNet {
    let net = TestNet::new();
    for (namespace, last) in [(&net.here, 1), (&net.there, 2)] {
        namespace.run(&format!("ip addr add 192.0.2.{last}/24 dev eth0"));
        namespace.run(&format!(
            "ip -6 addr add 2001:db8::{last}/64 dev eth0 nodad"
        ));
    }
    net
}

/// From the namespace `here` to the other.
fn key() -> SessionKey {
    SessionKey {
        peer: [192, 0, 2, 2].into(),
        local: Some([192, 0, 2, 1].into()),
        interface: None,
        vrf: None,
        is_multihop: false,
    }
}

/// The other way round.
fn back(key: &SessionKey) -> SessionKey {
    SessionKey {
        peer: key.local.expect("the test says from where"),
        local: Some(key.peer),
        ..key.clone()
    }
}

fn frr(interval: u64, more: &str) -> String {
    format!(
        " peer 192.0.2.1 local-address 192.0.2.2 interface eth0\n  detect-multiplier 3\n  receive-interval {interval}\n  transmit-interval {interval}\n{more}"
    )
}

fn bird(interval: u64, more: &str) -> String {
    format!(
        "interface \"eth0\" {{ min rx interval {interval} ms; min tx interval {interval} ms; multiplier 3; {more} }};\nneighbor 192.0.2.1 dev \"eth0\" local 192.0.2.2;"
    )
}

/// A peer that is killed is missed after the detection time.
#[track_caller]
fn misses(speaker: &mut Speaker, detection: u64, kill: impl FnOnce()) {
    assert_eq!(speaker.view(&key()).detection, Span::ms(detection));
    let killed = now();
    kill();
    let dead = now();
    let change = speaker.change(&key());
    let told = (change.state, change.diagnostic);
    assert_eq!(told, (State::Down, Diagnostic::TIMED_OUT));
    let view = speaker.view(&key());
    // A turn that was late by half of it is as late as can be without giving the whole time once more.
    let patience = detection * (1 + view.counts.late) + detection / 2;
    assert!(view.since > killed);
    let took = view.since.since(dead);
    assert!(took <= Span::ms(patience), "{took:?}");
    println!("missed {took:?} after its end, {detection} ms allowed");
}

#[test]
fn frr_and_we_come_up_and_miss_each_other_in_time() {
    for interval in [50, 300] {
        let net = net();
        let mut router = Frr::start(&net.there, &frr(interval, ""));
        let mut speaker = Speaker::start(&net.here);
        speaker.want(&key(), settings(interval));
        speaker.comes_up(&key());
        speaker.settles(&key(), interval, 3 * interval);
        until("FRR's view", || router.session()["status"] == "up");
        pause(20 * interval);
        speaker.stayed_up(&key());
        assert_eq!(router.session()["remote-transmit-interval"], interval);
        misses(&mut speaker, 3 * interval, || router.kill());
    }
}

#[test]
fn bird_and_we_come_up_and_miss_each_other_in_time() {
    for interval in [50, 300] {
        let net = net();
        let mut router = Bird::start(&net.there, &bird(interval, ""));
        let mut speaker = Speaker::start(&net.here);
        speaker.want(&key(), settings(interval));
        speaker.comes_up(&key());
        speaker.settles(&key(), interval, 3 * interval);
        until("BIRD's view", || router.session().contains(" Up "));
        pause(20 * interval);
        speaker.stayed_up(&key());
        misses(&mut speaker, 3 * interval, || router.kill());
    }
}

#[test]
fn rfc5880_6_8_3_timers_change_on_either_side_and_the_session_stays_up() {
    let net = net();
    let router = Frr::start(&net.there, &frr(300, ""));
    let mut speaker = Speaker::start(&net.here);
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
    speaker.settles(&key(), 300, 900);
    for (ours, interval, detection) in [(100, 300, 900), (1000, 1000, 3000), (300, 300, 900)] {
        speaker.want(&key(), settings(ours));
        speaker.settles(&key(), interval, detection);
        until("FRR's view", || {
            router.session()["remote-transmit-interval"] == ours
        });
        pause(1000);
    }
    let peer = "peer 192.0.2.1 local-address 192.0.2.2 interface eth0";
    for (theirs, agreed) in [(1000, 1000), (100, 300)] {
        let transmit = format!("transmit-interval {theirs}");
        let receive = format!("receive-interval {theirs}");
        router.configure(&[peer, &transmit, &receive]);
        speaker.settles(&key(), agreed, 3 * agreed);
        pause(1000);
    }
    speaker.stayed_up(&key());
    assert_eq!(router.session()["status"], "up");
}

#[test]
fn rfc5880_6_8_3_bird_changes_its_timers_and_the_session_stays_up() {
    let net = net();
    let router = Bird::start(&net.there, &bird(300, ""));
    let mut speaker = Speaker::start(&net.here);
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
    for (theirs, agreed) in [(1000, 1000), (300, 300)] {
        router.configure(&bird(theirs, ""));
        speaker.settles(&key(), agreed, 3 * agreed);
        pause(1000);
    }
    speaker.want(&key(), settings(1000));
    speaker.settles(&key(), 1000, 3000);
    pause(2000);
    speaker.stayed_up(&key());
}

#[test]
fn rfc5880_6_1_either_side_may_be_passive() {
    let net = net();
    let passive = Settings {
        is_passive: true,
        ..settings(300)
    };
    let router = Frr::start(&net.there, &frr(300, "  passive-mode\n"));
    let mut speaker = Speaker::start(&net.here);
    speaker.want(&key(), passive);
    pause(3000);
    assert_eq!(speaker.view(&key()).counts.sent, 0);
    assert_eq!(speaker.view(&key()).counts.received, 0);
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
    drop(router);
    assert_eq!(speaker.change(&key()).state, State::Down);
    speaker.want(&key(), passive);
    let _router = Bird::start(&net.there, &bird(300, ""));
    speaker.comes_up(&key());
}

#[test]
fn rfc5880_6_8_16_admin_down_is_told_and_understood_both_ways() {
    let net = net();
    let router = Frr::start(&net.there, &frr(300, ""));
    let mut speaker = Speaker::start(&net.here);
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
    let peer = "peer 192.0.2.1 local-address 192.0.2.2 interface eth0";
    router.configure(&[peer, "shutdown"]);
    let change = speaker.change(&key());
    assert_eq!((change.state, change.peer), (State::Down, State::AdminDown));
    router.configure(&[peer, "no shutdown"]);
    speaker.comes_up(&key());
    until("FRR's view", || router.session()["status"] == "up");

    speaker.handle.want(BTreeMap::new());
    assert_eq!(speaker.change(&key()).state, State::AdminDown);
    until("FRR's view", || {
        let session = router.session();
        session["status"] == "down" && session["remote-diagnostic"] == "administratively down"
    });
    assert_eq!(speaker.event(), Event::Left(key()));
    assert!(speaker.figures().sessions.is_empty());
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
}

#[test]
fn who_leaves_has_told_so_and_is_not_waited_for_when_there_is_nobody() {
    let net = net();
    let router = Frr::start(&net.there, &frr(300, ""));
    let mut speaker = Speaker::start(&net.here);
    speaker.runtime.block_on(speaker.handle.leave());
    speaker.want(&key(), settings(300));
    speaker.comes_up(&key());
    until("FRR's view", || router.session()["status"] == "up");
    let asked = now();
    speaker.runtime.block_on(speaker.handle.leave());
    let took = now().since(asked);
    assert!(
        took >= Span::ms(900),
        "a detection time was given: {took:?}"
    );
    assert_eq!(speaker.change(&key()).state, State::AdminDown);
    assert_eq!(speaker.event(), Event::Left(key()), "it is over by now");
    let session = router.session();
    assert_eq!(session["remote-diagnostic"], "administratively down");
}

#[test]
fn rfc5883_sessions_over_several_hops_come_up() {
    let net = net();
    let far = SessionKey {
        is_multihop: true,
        ..key()
    };
    let several = Settings {
        ttl_min: TTL_MIN_MULTIHOP,
        ..settings(300)
    };
    let mut speaker = Speaker::start(&net.here);
    let config = " peer 192.0.2.1 multihop local-address 192.0.2.2\n  minimum-ttl 250\n";
    let router = Frr::start(&net.there, config);
    speaker.want(&far, several);
    speaker.comes_up(&far);
    drop(router);
    assert_eq!(speaker.change(&far).state, State::Down);
    let config = "multihop { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };\nneighbor 192.0.2.1 local 192.0.2.2 multihop;";
    let _router = Bird::start(&net.there, config);
    // BIRD sends over several hops with the system's TTL, which a minimum for 255 refuses.
    until("packets with too small a TTL", || {
        speaker.figures().discarded.contains_key(&Discard::Ttl)
    });
    let from_bird = Settings {
        ttl_min: 64,
        ..several
    };
    speaker.want(&far, from_bird);
    speaker.comes_up(&far);
}

#[test]
fn ipv6_sessions_come_up_with_link_local_addresses_and_global_ones() {
    let net = net();
    let link_local = |namespace: &Namespace| -> IpAddr {
        let shown = namespace.run("ip -6 -o addr show dev eth0 scope link");
        let word = shown.split_whitespace().nth(3).unwrap();
        word.split('/').next().unwrap().parse().unwrap()
    };
    let (ours, theirs) = (link_local(&net.here), link_local(&net.there));
    let near = SessionKey {
        peer: theirs,
        local: Some(ours),
        interface: Some("eth0".into()),
        ..key()
    };
    let mut speaker = Speaker::start(&net.here);
    let router = Frr::start(
        &net.there,
        &format!(" peer {ours} local-address {theirs} interface eth0\n"),
    );
    speaker.want(&near, settings(300));
    speaker.comes_up(&near);
    drop(router);
    assert_eq!(speaker.change(&near).state, State::Down);

    let global = SessionKey {
        peer: "2001:db8::2".parse().unwrap(),
        local: None,
        ..key()
    };
    let config = "interface \"eth0\" { interval 300 ms; multiplier 3; };\nneighbor 2001:db8::1 dev \"eth0\" local 2001:db8::2;";
    let _router = Bird::start(&net.there, config);
    speaker.want(&global, settings(300));
    loop {
        match speaker.event() {
            Event::Left(of) => assert_eq!(of, near),
            Event::Changed(of, change) => {
                assert_eq!((of, change.state), (global, State::Up));
                break;
            }
        }
    }
}

#[test]
fn a_restart_within_the_grace_is_not_noticed_by_frr_or_bird() {
    let net = net();
    let frr_router = Frr::start(&net.there, &frr(50, ""));
    restart(&net, |_| frr_router.session()["status"] == "up");
    drop(frr_router);
    let bird_router = Bird::start(&net.there, &bird(50, ""));
    restart(&net, |_| bird_router.session().contains(" Up "));
}

/// Two seconds without us, of which the router must notice nothing.
#[track_caller]
fn restart(net: &TestNet, is_up: impl Fn(&str) -> bool) {
    let mut before = Speaker::start(&net.here);
    before.want(&key(), settings(50));
    before.comes_up(&key());
    before.settles(&key(), 50, 150);
    let kept = before.runtime.block_on(before.handle.stretch(Span::s(10)));
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&key()]);
    let discriminator = before.view(&key()).discriminator;
    drop(before);
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_secs(2) {
        assert!(is_up("without us"));
        pause(100);
    }
    let port = kept[&key()].port;
    let mut after = Speaker::resume(&net.here, kept);
    after.want(&key(), settings(50));
    after.comes_up(&key());
    after.settles(&key(), 50, 150);
    assert!(port >= 49_152);
    assert_eq!(after.view(&key()).discriminator, discriminator);
    pause(1000);
    after.stayed_up(&key());
    assert!(is_up("afterwards"));
}

#[test]
fn rfc5881_4_packets_leave_as_the_standard_has_them_and_none_else_is_taken() {
    let net = net();
    let hears =
        |namespace: &Namespace| namespace.enter(|| UdpSocket::bind("192.0.2.2:3784").unwrap());
    let socket = hears(&net.there);
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let dump = net.there.start("tcpdump -i eth0 -v -n -c 1 udp port 3784");
    let speaker = Speaker::start(&net.here);
    speaker.want(&key(), settings(50));
    let mut buffer = [0; 64];
    let ports: Vec<u16> = (0..3)
        .map(|_| {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!((length, from.ip()), (24, [192, 0, 2, 1].into()));
            from.port()
        })
        .collect();
    assert!(
        ports
            .iter()
            .all(|port| *port >= 49_152 && *port == ports[0]),
        "{ports:?}"
    );
    let seen = String::from_utf8(dump.wait_with_output().unwrap().stdout).unwrap();
    assert!(seen.contains("tos 0xc0, ttl 255"), "{seen}");

    let answer: Vec<u8> = [&[0x20, 0x40, 3, 24, 0, 0, 0, 9], [0; 16].as_slice()].concat();
    socket.set_ttl(254).unwrap();
    socket.send_to(&answer, "192.0.2.1:3784").unwrap();
    socket.send_to(&answer[..20], "192.0.2.1:3784").unwrap();
    until("what is not taken", || {
        speaker.figures().discarded.len() == 2
    });
    let expected = BTreeMap::from([(Discard::Ttl, 1), (Discard::Length, 1)]);
    assert_eq!(speaker.figures().discarded, expected);
    socket.set_ttl(255).unwrap();
    socket.send_to(&answer, "192.0.2.1:3784").unwrap();
    until("a packet that is taken", || {
        speaker.view(&key()).state == State::Init
    });
}

#[test]
fn addresses_and_links_that_come_later_are_waited_for() {
    let net = TestNet::new();
    let through = SessionKey {
        interface: Some("lan0".into()),
        ..key()
    };
    let mut here = Speaker::start(&net.here);
    let mut there = Speaker::start(&net.there);
    here.want(&through, settings(300));
    there.want(&back(&key()), settings(300));
    until("the reason", || here.view(&through).trouble.is_some());
    for (namespace, last) in [(&net.here, 1), (&net.there, 2)] {
        namespace.run(&format!("ip addr add 192.0.2.{last}/24 dev eth0"));
    }
    net.here.run("ip link set eth0 down");
    net.here.run("ip link set eth0 name lan0");
    net.here.run("ip link set lan0 up");
    here.comes_up(&through);
    there.comes_up(&back(&key()));
    assert_eq!(here.view(&through).trouble, None);
}

#[test]
fn a_link_that_is_made_anew_is_used_again() {
    let net = net();
    let through = SessionKey {
        interface: Some("eth0".into()),
        vrf: Some("eth0".into()),
        ..key()
    };
    let mut here = Speaker::start(&net.here);
    let there = Speaker::start(&net.there);
    here.want(&through, settings(300));
    there.want(&back(&key()), settings(300));
    here.comes_up(&through);
    net.here.run("ip link del eth0");
    assert_eq!(here.change(&through).state, State::Down);
    let far = net.there.name();
    let link = format!("ip link add eth0 type veth peer name eth0 netns {far}");
    net.here.run(&link);
    for (namespace, last) in [(&net.here, 1), (&net.there, 2)] {
        namespace.run("ip link set eth0 up");
        namespace.run(&format!("ip addr add 192.0.2.{last}/24 dev eth0"));
    }
    here.comes_up(&through);
    assert_eq!(here.view(&through).trouble, None);
}

#[test]
fn a_port_that_another_process_has_is_named_and_taken_once_it_is_free() {
    let net = net();
    let other = net.here.enter(|| UdpSocket::bind("0.0.0.0:3784").unwrap());
    let mut here = Speaker::start(&net.here);
    let there = Speaker::start(&net.there);
    here.want(&key(), settings(300));
    there.want(&back(&key()), settings(300));
    until("the reason", || {
        let trouble = here.view(&key()).trouble;
        trouble.is_some_and(|why| why.contains("3784") && why.contains("another process"))
    });
    drop(other);
    here.comes_up(&key());
}

#[test]
fn a_socket_that_is_bound_to_a_device_hears_and_speaks_there() {
    // A VRF is a device to a socket; kernels without VRF still show this.
    let net = net();
    let in_vrf = SessionKey {
        vrf: Some("eth0".into()),
        ..key()
    };
    let mut here = Speaker::start(&net.here);
    let there = Speaker::start(&net.there);
    here.want(&in_vrf, settings(300));
    there.want(&back(&key()), settings(300));
    here.comes_up(&in_vrf);
}

#[test]
fn sessions_beyond_the_bound_are_refused_and_counted() {
    let net = net();
    let speaker = Speaker::start(&net.here);
    let many = (0..SESSIONS_MAX + 10).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        let key = SessionKey {
            peer: [10, 0, high, low].into(),
            local: None,
            ..key()
        };
        (key, settings(300))
    });
    speaker.handle.want(many.collect());
    until("the sessions", || {
        speaker.figures().sessions.len() == SESSIONS_MAX
    });
    assert_eq!(speaker.figures().refused, 10);
}

/// A hundred sessions of 3 x 50 ms beside as much other work as there are CPUs. While none of the threads is late no session may go down. A machine
/// that has more work than that may keep the thread of one side from sending for the 150 ms, and then the other side is right: that shows nothing, and is tried
/// again.
#[test]
fn a_hundred_fast_sessions_bear_a_busy_machine() {
    let net = TestNet::new();
    let pair = |number: u8| SessionKey {
        peer: [10, 9, 2, number].into(),
        local: Some([10, 9, 1, number].into()),
        ..key()
    };
    for (namespace, side) in [(&net.here, 1), (&net.there, 2)] {
        let batch: String = (1..=100)
            .map(|number| format!("addr add 10.9.{side}.{number}/16 dev eth0\n"))
            .collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, batch.as_bytes()).unwrap();
        namespace.run(&format!("ip -batch {}", file.path().display()));
    }
    let keys: Vec<SessionKey> = (1..=100).map(pair).collect();
    let here = Speaker::start(&net.here);
    let there = Speaker::start(&net.there);
    here.handle
        .want(keys.iter().map(|key| (key.clone(), settings(50))).collect());
    there
        .handle
        .want(keys.iter().map(|key| (back(key), settings(50))).collect());
    let all_up = |speaker: &Speaker| {
        let figures = speaker.figures();
        figures.sessions.len() == 100
            && figures
                .sessions
                .values()
                .all(|view| view.state == State::Up)
    };
    for round in 1..=10 {
        until("all sessions", || all_up(&here) && all_up(&there));
        let before = [&here, &there].map(Sum::of);
        work_on_all_cpus();
        let after = [&here, &there].map(Sum::of);
        for (name, cpu) in cpu_of_bfd_threads() {
            println!("thread {name}: {cpu} ns of CPU");
        }
        println!("round {round}: {before:?} {after:?}");
        let has_none = |which: fn(&Sum) -> u64| {
            let mut sides = before.iter().zip(&after);
            sides.all(|(before, after)| which(before) == which(after))
        };
        if has_none(|sum| sum.downs) {
            return;
        }
        assert!(
            !has_none(|sum| sum.late),
            "down although no thread was late"
        );
    }
    panic!("in no round all sessions stayed up");
}

/// What a thread counted for all of its sessions.
#[derive(Debug)]
struct Sum {
    downs: u64,
    late: u64,
}

impl Sum {
    fn of(speaker: &Speaker) -> Self {
        let figures = speaker.figures();
        let counts = figures.sessions.values().map(|view| view.counts.downs);
        Self {
            downs: counts.sum(),
            late: figures.late_turns,
        }
    }
}

fn work_on_all_cpus() {
    let begun = Instant::now();
    let cpus = threads::available_parallelism().map_or(2, usize::from);
    threads::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| {
                let mut number = 1u64;
                while begun.elapsed() < Duration::from_secs(4) {
                    number = std::hint::black_box(number.wrapping_mul(3));
                }
            });
        }
    });
}

/// What the scheduler counted for each thread of that name in this process.
fn cpu_of_bfd_threads() -> Vec<(String, String)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let threads = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let spent = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let spent = spent.split_whitespace().next()?.to_owned();
        (name.trim() == "bfd").then(|| (path.display().to_string(), spent))
    });
    threads.collect()
}
