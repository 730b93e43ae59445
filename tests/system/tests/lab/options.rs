//! What a holder does with packets of a VIP by option (`docs/options.md`), as a client's own kernel and tools see it.

use serde_json::Value;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use system_tests::lab::TestLab;

/// What makes the one advertisement ask for it.
fn asking(annotations: &str) -> (&'static str, &'static str, String) {
    let head = "kind: L2Advertisement\nmetadata:\n";
    let with = format!("{head}  annotations: {{{annotations}}}\n");
    ("pools.yaml", head, with)
}

#[test]
fn closed_ports_are_refused_and_pings_answered_by_the_holder() {
    let (file, from, to) = asking("heliograph.io/closed-port: reject, heliograph.io/echo: 'true'");
    let lab = TestLab::with(&[(file, from, &to)]);
    // A packet of a virtual link comes without its checksum, one of a wire does not.
    for offload in ["on", "off"] {
        let switched = lab
            .client()
            .output("ethtool", &["-K", "eth0", "tx", offload]);
        switched.unwrap();
        for web in lab.frontends_of("default/web") {
            let closed = SocketAddr::new(web.vip, CLOSED);
            let refused = |what: &str, tried: &dyn Fn() -> io::Error| {
                lab.eventually(what, || match tried() {
                    why if why.kind() == ErrorKind::ConnectionRefused => Ok(()),
                    why => Err(why),
                });
            };
            refused("a connection is refused", &|| opened(&lab, closed));
            refused("a datagram is refused", &|| sent(&lab, closed));
            lab.eventually("a ping is answered", || ping(&lab, web.vip));
            lab.answer(&web);
        }
    }
    let counted = counted(&lab);
    assert!(
        counted("rejected") >= 8 && counted("echoed") >= 4,
        "{}",
        counted("echoed")
    );
    let why = told(&lab, &["why", "default/web"]);
    assert!(
        why.contains("closed ports are refused; pings are answered"),
        "{why}"
    );
}

#[test]
fn packets_to_closed_ports_are_dropped_and_others_served() {
    let (file, from, to) = asking("heliograph.io/closed-port: drop");
    let lab = TestLab::with(&[(file, from, &to)]);
    for web in lab.frontends_of("default/web") {
        lab.answer(&web);
        let closed = SocketAddr::new(web.vip, CLOSED);
        lab.eventually("a connection is not answered, and that is counted", || {
            let before = counted(&lab)("closed");
            let why = opened(&lab, closed);
            let is_counted = counted(&lab)("closed") > before;
            match why.kind() {
                ErrorKind::TimedOut if is_counted => Ok(()),
                _ => Err(why),
            }
        });
        lab.answer(&web);
    }
}

/// The lab's service proxy knows nothing of sources, so that nobody but the program can keep one out.
#[test]
fn a_source_outside_the_ranges_is_kept_out_by_the_program() {
    let spec = "spec:\n  type: LoadBalancer\n  externalTrafficPolicy: Cluster\n";
    let ranges = |ranges: &str| format!("{spec}  loadBalancerSourceRanges: [{ranges}]\n");
    let (elsewhere, here) = (
        ranges("203.0.113.0/24, \"2001:db8:9::/48\""),
        ranges("192.0.2.0/24, \"2001:db8::/64\""),
    );
    let name = "metadata:\n  name: web\n  namespace: default\n";
    let asking = format!("{name}  annotations: {{heliograph.io/source-ranges: program}}\n");
    let pool = "kind: IPAddressPool\nmetadata:\n";
    let letting = format!("{pool}  annotations: {{heliograph.io/allow-service: source-ranges}}\n");
    let lab = TestLab::with(&[
        ("web.yaml", spec, &elsewhere),
        (
            "web.yaml",
            &format!("kind: Service\n{name}"),
            &format!("kind: Service\n{asking}"),
        ),
        ("pools.yaml", pool, &letting),
    ]);
    let webs = lab.frontends_of("default/web");
    for web in &webs {
        lab.until_held(web.vip, |holder| holder.is_some());
        lab.eventually("nobody is served, and that is counted", || {
            let before = counted(&lab)("refused");
            let why = opened(&lab, web.address());
            let is_counted = counted(&lab)("refused") > before;
            match why.kind() {
                ErrorKind::TimedOut if is_counted => Ok(()),
                _ => Err(why),
            }
        });
    }
    lab.edit("web.yaml", &elsewhere, &here);
    for web in &webs {
        lab.answer(web);
    }
}

/// What a connection ends with; an error of another kind if it was opened.
fn opened(lab: &TestLab, at: SocketAddr) -> io::Error {
    let tried = lab.in_client(|| TcpStream::connect_timeout(&at, BRIEFLY));
    tried.map_or_else(|why| why, |_| io::Error::other("opened"))
}

/// What a datagram ends with.
fn sent(lab: &TestLab, at: SocketAddr) -> io::Error {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let tried = lab.in_client(|| {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(BRIEFLY))?;
        socket.connect(at)?;
        socket.send(b"anybody?")?;
        socket.recv(&mut [0; 16])
    });
    tried.map_or_else(|why| why, |_| io::Error::other("answered"))
}

fn ping(lab: &TestLab, vip: IpAddr) -> Result<(), String> {
    let vip = vip.to_string();
    let words = ["-n", "-c", "2", "-W", "2", &vip];
    let told = lab.client().output("ping", &words);
    told.map(drop).map_err(|why| format!("{why:?}"))
}

/// What all nodes did by options.
fn counted(lab: &TestLab) -> impl Fn(&str) -> u64 + use<> {
    let all = lab.speakers().values();
    let all: Vec<Value> = all
        .filter_map(|speaker| speaker.ctl_json(&["counters"]).ok())
        .collect();
    move |outcome| {
        let counts = all
            .iter()
            .filter_map(|told| told["options"][outcome].as_u64());
        counts.sum()
    }
}

fn told(lab: &TestLab, words: &[&str]) -> String {
    let mut speakers = lab.speakers().values();
    let speaker = speakers.next().expect("the lab has speakers");
    speaker.ctl(words).expect("it answers")
}

const CLOSED: u16 = 81;
const BRIEFLY: Duration = Duration::from_millis(700);
