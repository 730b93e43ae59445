//! Connections against a real kernel, between namespaces.

use super::neighbours::Neighbours;
use super::*;
use crate::testnet::{self, Namespace, TestNet, eventually};
use speaker_proto::bgp::unnumbered::Whom;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

fn net() -> TestNet {
    let net = TestNet::new();
    net.here.run("ip addr add 192.0.2.1/24 dev eth0");
    net.here.run("ip addr add 192.0.2.9/24 dev eth0");
    net.here.run("ip addr add 2001:db8::1/64 dev eth0 nodad");
    net.there.run("ip addr add 192.0.2.2/24 dev eth0");
    net.there.run("ip addr add 2001:db8::2/64 dev eth0 nodad");
    net
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn dial(to: &str) -> Dial {
    Dial {
        to: SocketAddr::new(ip(to), 179),
        from: None,
        vrf: None,
        key: None,
        reach: Reach::Link,
        requires_ttl_255: false,
        dials_anyway: false,
        patience: PATIENCE,
    }
}

/// A listener there, which signs what it says to `peer` if there is a key.
fn listen(there: &Namespace, on: &str, key: Option<(&str, &Key)>) -> TcpListener {
    there.enter(|| {
        let listener = TcpListener::bind((ip(on), 179)).unwrap();
        if let Some((peer, key)) = key {
            change_key(&listener, SocketAddr::new(ip(peer), 0), key).unwrap();
        }
        listener
    })
}

/// Dials here, for at most half a second: none when nothing came of it by then.
fn connect(here: &Namespace, dial: &Dial) -> Option<Result<TcpStream, DialError>> {
    connect_for(Duration::from_millis(500), here, dial)
}

/// Why dialling here comes to nothing.
#[track_caller]
fn refused(here: &Namespace, dial: &Dial) -> DialError {
    let said = connect_for(PATIENCE, here, dial).expect("an end in time");
    said.expect_err("a refusal")
}

fn connect_for(
    time: Duration,
    here: &Namespace,
    dial: &Dial,
) -> Option<Result<TcpStream, DialError>> {
    let runtime = runtime();
    here.enter(|| {
        runtime.block_on(async {
            tokio::time::timeout(time, dial.connect(&Strangers::default()))
                .await
                .ok()
        })
    })
}

/// For what comes at once, but for the work that a machine may have besides.
const PATIENCE: Duration = Duration::from_secs(30);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text.as_bytes()).unwrap()
}

#[test]
fn it_speaks_from_the_address_it_is_told() {
    let net = net();
    let listener = listen(&net.there, THERE, None);
    let from = Dial {
        from: Some(ip("192.0.2.9")),
        ..dial(THERE)
    };
    let stream = within(&net.here, &from);
    assert_eq!(listener.accept().unwrap().1.ip(), ip("192.0.2.9"));
    drop(stream);
}

#[test]
fn rfc2385_who_dials_must_sign_by_its_password_and_others_must_not() {
    let net = net();
    let runtime = runtime();
    let post = Post::of(&dial(THERE));
    let mut listener = net.here.enter(|| {
        let open = async { Listener::open(&post, 179).unwrap() };
        runtime.block_on(open)
    });
    let secret = PeerKeys::from([(ip(THERE), key("secret"))]);
    let signed = |text| Dial {
        key: Some(key(text)),
        ..dial(HERE)
    };
    listener.want(&secret).unwrap();
    within(&net.there, &signed("secret"));
    assert!(connect(&net.there, &signed("other")).is_none());
    assert!(connect(&net.there, &dial(HERE)).is_none());
    let other = PeerKeys::from([(ip(THERE), key("other"))]);
    listener.want(&other).unwrap();
    within(&net.there, &signed("other"));
    listener.want(&PeerKeys::new()).unwrap();
    within(&net.there, &dial(HERE));
    assert!(connect(&net.there, &signed("other")).is_none());
}

#[test]
fn who_dials_is_known_by_its_address_link_and_the_address_it_dialled() {
    let from = Dial {
        from: Some(ip("192.0.2.9")),
        ..dial(THERE)
    };
    let port = |text: &str| SocketAddr::new(ip(text), 40_000);
    assert!(dial(THERE).fits(port(THERE), ip(HERE)));
    assert!(!dial(THERE).fits(port(HERE), ip(HERE)));
    assert!(from.fits(port(THERE), ip("192.0.2.9")));
    assert!(!from.fits(port(THERE), ip(HERE)));
    let on_link = |link| SocketAddrV6::new("fe80::2".parse().unwrap(), 179, 0, link).into();
    let near = Dial {
        to: on_link(3),
        ..dial(THERE)
    };
    assert!(near.fits(on_link(3), ip("fe80::1")));
    assert!(!near.fits(on_link(4), ip("fe80::1")));
}

/// A connection that stands.
fn within(here: &Namespace, dial: &Dial) -> std::net::TcpStream {
    let runtime = runtime();
    here.enter(|| {
        runtime.block_on(async {
            dial.connect(&Strangers::default())
                .await
                .unwrap()
                .into_std()
                .unwrap()
        })
    })
}

#[test]
fn what_is_not_there_yet_is_named() {
    let net = net();
    let nobody = refused(&net.here, &dial(THERE));
    assert!(nobody.to_string().contains("nothing listens"), "{nobody}");
    let from = Dial {
        from: Some(ip("192.0.2.77")),
        ..dial(THERE)
    };
    let error = refused(&net.here, &from);
    assert_eq!(error, DialError::NoSource(ip("192.0.2.77")));
    let vrf = Dial {
        vrf: Some("red".into()),
        ..dial(THERE)
    };
    let error = refused(&net.here, &vrf);
    assert_eq!(error, DialError::NoVrf("red".into()));
}

#[test]
fn a_peer_that_another_process_speaks_with_is_left_to_it_unless_told_otherwise() {
    let net = net();
    let listener = listen(&net.there, THERE, None);
    let mut other = net.here.enter(|| {
        Command::new("bash")
            .args(["-c", "exec 3<>/dev/tcp/192.0.2.2/179; read -r"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let theirs = listener.accept().unwrap();
    assert_eq!(refused(&net.here, &dial(THERE)), DialError::Taken);
    // A session from another address is another session.
    let elsewhere = Dial {
        from: Some(ip("192.0.2.9")),
        ..dial(THERE)
    };
    drop(within(&net.here, &elsewhere));
    let anyway = Dial {
        dials_anyway: true,
        ..dial(THERE)
    };
    let own = within(&net.here, &anyway);
    drop(theirs);
    other.kill().unwrap();
    other.wait().unwrap();
    // What this process has is its own affair.
    drop(within(&net.here, &dial(THERE)));
    drop(own);
}

#[test]
fn rfc2385_both_sides_need_the_same_password_and_the_kernel_counts_those_without() {
    for (here, there) in [(HERE, THERE), ("2001:db8::1", "2001:db8::2")] {
        let net = net();
        let counts = || net.there.enter(|| Md5Counts::read().unwrap());
        let right = key("right");
        let listener = listen(&net.there, there, Some((here, &right)));
        // On a machine with much to do half a second may be over before anything was sent.
        eventually("one without is counted", || {
            assert!(connect(&net.here, &dial(there)).is_none(), "without one");
            counts().missing > 0
        });
        let wrong = Dial {
            key: Some(key("wrong")),
            ..dial(there)
        };
        eventually("another is counted", || {
            assert!(connect(&net.here, &wrong).is_none(), "with another");
            counts().wrong > 0
        });
        let with = Dial {
            key: Some(right),
            from: Some(ip(here)),
            ..dial(there)
        };
        let _stream = within(&net.here, &with);
        listener.accept().unwrap();
    }
}

#[test]
fn a_password_changes_on_a_connection_that_stands() {
    let net = net();
    let (first, second) = (key("first"), key("second"));
    let listener = listen(&net.there, THERE, Some((HERE, &first)));
    let with = Dial {
        key: Some(first),
        from: Some(ip(HERE)),
        ..dial(THERE)
    };
    let stream = within(&net.here, &with);
    let (mut theirs, from) = listener.accept().unwrap();
    change_key(&stream, with.to, &second).unwrap();
    stream.set_nonblocking(false).unwrap();
    let failures = || net.there.enter(|| Md5Counts::read().unwrap().wrong);
    let before = failures();
    std::io::Write::write_all(&mut &stream, b"new").unwrap();
    eventually("the old key fails", || failures() > before);
    change_key(&theirs, from, &second).unwrap();
    let mut said = [0; 3];
    theirs.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"new");
}

#[test]
fn rfc5082_3_what_comes_from_further_than_the_link_is_dropped_if_that_is_asked_for() {
    let net = net();
    let listener = listen(&net.there, THERE, None);
    // The other side answers as from two hops away.
    net.there
        .enter(|| socket2::SockRef::from(&listener).set_ttl_v4(253).unwrap());
    let strict = Dial {
        requires_ttl_255: true,
        ..dial(THERE)
    };
    assert!(connect(&net.here, &strict).is_none());
    net.there
        .enter(|| socket2::SockRef::from(&listener).set_ttl_v4(255).unwrap());
    drop(within(&net.here, &strict));
}

#[test]
fn a_peer_on_the_link_is_sent_ttl_255_and_one_further_away_64() {
    let net = net();
    for (reach, ttl) in [(Reach::Link, 255), (Reach::Far, 64)] {
        for to in [THERE, "2001:db8::2"] {
            let _listener = listen(&net.there, to, None);
            let stream = within(&net.here, &Dial { reach, ..dial(to) });
            let socket = socket2::SockRef::from(&stream);
            let (sent, class) = match to {
                THERE => (socket.ttl_v4().unwrap(), socket.tos_v4().unwrap()),
                _ => (
                    socket.unicast_hops_v6().unwrap(),
                    socket.tclass_v6().unwrap(),
                ),
            };
            assert_eq!((sent, class), (ttl, 0xc0), "{to}");
        }
    }
}

fn link_local(namespace: &Namespace) -> Ipv6Addr {
    let shown = namespace.run("ip -o -6 addr show dev eth0 scope link");
    let words = shown.split_whitespace().nth(3).unwrap().to_owned();
    words.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_router_that_does_not_advertise_itself_is_a_neighbour_once_it_is_stirred_and_a_host_is_not() {
    let net = net();
    for namespace in [&net.here, &net.there] {
        let delay = "/proc/sys/net/ipv6/neigh/eth0/delay_first_probe_time";
        namespace.write(delay, "1");
    }
    let index = net.here.ifindex("eth0");
    let routers = || net.here.enter(|| neighbours(index).unwrap()).routers;
    let runtime = runtime();
    let stir = |whom| {
        net.here.enter(|| {
            runtime.block_on(async { Routers::open().unwrap().stir(index, whom).unwrap() });
        });
    };
    // It says of itself that it is no router, and nothing where routers are asked.
    let host = BTreeSet::from([link_local(&net.there)]);
    testnet::within(Duration::from_secs(30), "it is known as a host", || {
        stir(Whom::Everybody);
        net.here.enter(|| neighbours(index).unwrap()).others == host
    });
    assert_eq!(routers(), BTreeSet::new());
    net.there
        .write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    // Who still knew the other would not ask for it.
    for namespace in [&net.here, &net.there] {
        namespace.run("ip -6 neigh flush dev eth0");
    }
    // Each side waits for a second before it asks the other, and a busy machine for longer.
    testnet::within(Duration::from_secs(30), "it is known as a router", || {
        stir(Whom::Routers);
        routers() == host
    });
    let elsewhere = net.here.enter(|| neighbours(index + 1).unwrap());
    assert_eq!(elsewhere, Neighbours::default());
}

#[test]
fn a_link_local_peer_is_dialled_on_its_link() {
    let net = net();
    let (theirs, index) = (link_local(&net.there), net.here.ifindex("eth0"));
    let _listener = net.there.enter(|| TcpListener::bind("[::]:179").unwrap());
    let to = std::net::SocketAddrV6::new(theirs, 179, 0, index);
    let on_link = Dial {
        to: to.into(),
        ..dial(THERE)
    };
    let stream = within(&net.here, &on_link);
    let own = stream.local_addr().unwrap();
    let hops = net.here.enter(|| next_hops(own).unwrap());
    assert_eq!(hops.link_local.map(IpAddr::from), Some(own.ip()));
    assert_eq!(hops.v6.map(IpAddr::from), Some(ip("2001:db8::1")));
    assert_eq!(hops.v4.map(IpAddr::from), Some(ip(HERE)));
}
