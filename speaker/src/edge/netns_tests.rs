//! The edge against a real kernel, in namespaces of its own.

use super::*;
use crate::testnet::{TestNet, eventually};
use speaker_core::LinkName;
use speaker_proto::announce::{Answered, Asker};
use speaker_proto::probe::Probe;
use speaker_proto::{Epoch, GroupKey, Mac, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

fn vip6() -> Ipv6Addr {
    "2001:db8::10".parse().unwrap()
}

fn eth0() -> LinkName {
    LinkName("eth0".into())
}

/// Runs `script` beside a watch of the namespace's links; `script` gets a function that waits for a condition and
/// returns how long that took.
fn watching(
    net: &TestNet,
    script: impl FnOnce(&dyn Fn(&str, &dyn Fn(&Links) -> bool) -> Duration) + Send,
) {
    net.here.enter(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let (watch, links) = LinkWatch::open(Exclude::from_yaml("{}").unwrap()).unwrap();
        drop(guard);
        runtime.spawn(watch.run());
        script(&|what, is_so| {
            let begun = Instant::now();
            eventually(what, || is_so(&links.borrow()));
            begun.elapsed()
        });
    });
}

#[test]
fn links_are_followed_by_events_within_milliseconds() {
    let net = TestNet::new();
    watching(&net, |wait| {
        let link = |links: &Links| links.announcing.get(&eth0()).cloned();
        wait("carrier and a link-local address", &|links| {
            link(links).is_some_and(|link| link.is_usable() && link.has_arp && link.has_ndp)
        });
        net.there.run("ip link set eth0 down");
        wait("carrier loss", &|links| {
            link(links).is_some_and(|link| !link.has_carrier)
        });
        net.there.run("ip link set eth0 up");
        wait("carrier", &|links| {
            link(links).is_some_and(|link| link.is_usable())
        });
        net.here.run("ip link set eth0 address 02:00:00:00:00:77");
        let mac = Mac([2, 0, 0, 0, 0, 0x77]);
        wait("a new hardware address", &|links| {
            link(links).is_some_and(|link| link.mac == mac)
        });
        net.here.run("ip link add br0 type bridge");
        net.here.run("ip link set eth0 master br0");
        wait("a port of a bridge", &|links| {
            links.others.contains(&eth0()) && links.announcing.contains_key(&LinkName("br0".into()))
        });
        net.here.run("ip link set eth0 nomaster");
        wait("leaving the bridge", &|links| {
            links.announcing.contains_key(&eth0())
        });
        // Older kernels rename only what is down.
        net.here.run("ip link set eth0 down");
        net.here.run("ip link set eth0 name lan0");
        net.here.run("ip link set lan0 up");
        wait("a new name", &|links| {
            links.announcing.contains_key(&LinkName("lan0".into())) && link(links).is_none()
        });
        // An event tells within milliseconds, looking would take a second. One of some times the machine has nothing else to do.
        let took = (0..20).map(|_| {
            net.here.run("ip link set lan0 up");
            wait("up", &|links| {
                let lan0 = links.announcing.get(&LinkName("lan0".into()));
                lan0.is_some_and(|link| link.is_up && link.has_ndp)
            });
            net.here.run("ip link set lan0 down");
            wait("down", &|links| {
                let lan0 = links.announcing.get(&LinkName("lan0".into()));
                lan0.is_some_and(|link| !link.is_up && !link.has_ndp)
            })
        });
        let mut took = took;
        let is_soon = took.any(|took| took < Duration::from_millis(100));
        assert!(is_soon, "never within 100 ms");
        net.here.run("ip link del lan0");
        wait("deletion", &|links| {
            !links.announcing.contains_key(&LinkName("lan0".into()))
        });
    });
}

#[test]
fn a_flood_of_events_ends_in_a_true_picture() {
    let net = TestNet::new();
    watching(&net, |wait| {
        let batch: String = (0..400)
            .map(|n| format!("link add b{n} type bridge\nlink set b{n} up\n"))
            .chain((0..399).map(|n| format!("link del b{n}\n")))
            .collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, batch.as_bytes()).unwrap();
        net.here
            .run(&format!("ip -batch {}", file.path().display()));
        let last = LinkName("b399".into());
        wait("only the last bridge", &|links| {
            links.announcing.contains_key(&last) && links.announcing.len() == 2
        });
    });
}

fn groups_of(net: &TestNet) -> String {
    net.here.run("ip -6 maddr show dev eth0")
}

const GROUP: &str = "ff02::1:ff00:10";

#[test]
fn l6_6_the_kernel_listens_for_a_vip_and_does_not_answer_itself() {
    let net = TestNet::new();
    let ifindex = net.here.ifindex("eth0");
    let names = BTreeMap::from([(ifindex, "eth0".to_owned())]);
    let wanted = BTreeSet::from([(vip6(), ifindex)]);
    net.there
        .run("ip -6 addr add 2001:db8::1/64 dev eth0 nodad");
    net.here.enter(|| {
        // A stranger's entry, which must be left alone.
        net.here.run("ip -6 neigh add proxy 2001:db8::99 dev eth0");
        let mut groups = Groups::open().unwrap();
        assert!(groups.sync(&wanted, &names).unwrap().is_empty());
        assert!(groups_of(&net).contains(GROUP));
        drop(groups);
        assert!(groups_of(&net).contains(GROUP), "it survives the process");
        net.here
            .write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        let asked = net
            .there
            .start("ndisc6 -1 -r 2 -w 300 2001:db8::10 eth0")
            .wait()
            .unwrap();
        assert!(!asked.success(), "nobody answers for the VIP");

        net.here.run("ip link set eth0 down");
        net.here.run("ip link set eth0 up");
        let mut groups = Groups::open().unwrap();
        assert!(groups.sync(&wanted, &names).unwrap().is_empty());
        eventually("the group on the link that came back", || {
            groups_of(&net).contains(GROUP)
        });

        net.here.run("ip -6 neigh add proxy 2001:db8::99 dev eth0");
        assert!(groups.sync(&BTreeSet::new(), &names).unwrap().is_empty());
        assert!(!groups_of(&net).contains(GROUP));
        groups.sync(&wanted, &names).unwrap();
        assert_eq!(clean_groups().unwrap(), [(vip6(), ifindex)]);
        assert!(clean_groups().unwrap().is_empty());
        let strangers = net.here.run("ip -6 neigh show proxy");
        assert!(strangers.contains("2001:db8::99"), "{strangers}");
    });
}

#[test]
fn l6_6_where_the_kernel_answers_for_proxies_a_socket_joins_instead() {
    let net = TestNet::new();
    let ifindex = net.here.ifindex("eth0");
    let names = BTreeMap::from([(ifindex, "eth0".to_owned())]);
    let wanted: BTreeSet<Member> = (0..100)
        .map(|n| (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n), ifindex))
        .collect();
    net.here
        .write("/proc/sys/net/ipv6/conf/eth0/proxy_ndp", "1");
    net.here.enter(|| {
        let mut groups = Groups::open().unwrap();
        assert!(groups.sync(&wanted, &names).unwrap().is_empty());
        assert!(groups_of(&net).contains("ff02::1:ff00:63"));
        assert_eq!(net.here.run("ip -6 neigh show proxy"), "");
        assert!(groups.sync(&BTreeSet::new(), &names).unwrap().is_empty());
        assert!(!groups_of(&net).contains("ff02::1:ff00:63"));
    });
}

#[test]
fn gratuitous_frames_change_what_a_client_knows() {
    let net = TestNet::new();
    net.there.run("ip addr add 192.0.2.1/24 dev eth0");
    net.there
        .run("ip -6 addr add 2001:db8::1/64 dev eth0 nodad");
    let old = "02:00:00:00:00:55";
    net.there.run(&format!(
        "ip neigh add 192.0.2.10 lladdr {old} nud stale dev eth0"
    ));
    net.there.run(&format!(
        "ip neigh add 2001:db8::10 lladdr {old} nud stale dev eth0"
    ));
    let answered = Answered {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        epoch: Epoch(1),
    };
    let place = |ip: &str| (Vip(ip.parse().unwrap()), net.here.ifindex("eth0"));
    net.here.enter(|| {
        let sender = FrameSender::open().unwrap();
        assert_eq!(sender.gratuitous(place("192.0.2.10"), answered).unwrap(), 2);
        assert_eq!(
            sender.gratuitous(place("2001:db8::10"), answered).unwrap(),
            1
        );
    });
    for vip in ["192.0.2.10", "2001:db8::10"] {
        eventually("the new hardware address", || {
            net.there
                .run(&format!("ip neigh show {vip}"))
                .contains("02:00:00:00:00:07")
        });
    }
}

#[test]
fn l6_5_a_client_that_is_asked_by_unicast_learns_the_address() {
    let net = TestNet::new();
    net.there.run("ip link set eth0 address 02:00:00:00:00:99");
    net.there.run("ip addr add 192.0.2.1/24 dev eth0");
    net.there
        .run("ip -6 addr add 2001:db8::1/64 dev eth0 nodad");
    let answered = Answered {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        epoch: Epoch(1),
    };
    let ifindex = net.here.ifindex("eth0");
    let pairs = [("192.0.2.10", "192.0.2.1"), ("2001:db8::10", "2001:db8::1")];
    net.here.enter(|| {
        let sender = FrameSender::open().unwrap();
        for (vip, client) in pairs {
            let asker = Asker {
                place: (Vip(vip.parse().unwrap()), ifindex),
                client: client.parse().unwrap(),
                mac: Mac([2, 0, 0, 0, 0, 0x99]),
            };
            sender.tell(asker, answered).unwrap();
        }
    });
    for (vip, _) in pairs {
        eventually("the VIP among the client's neighbours", || {
            net.there
                .run(&format!("ip neigh show {vip}"))
                .contains("02:00:00:00:00:07")
        });
    }
}

#[test]
fn a_frame_on_a_link_that_is_gone_is_an_error_and_no_more() {
    let net = TestNet::new();
    let answered = Answered {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        epoch: Epoch(1),
    };
    net.here.enter(|| {
        let sender = FrameSender::open().unwrap();
        let place = (Vip("192.0.2.10".parse().unwrap()), 4711);
        assert_eq!(
            sender
                .gratuitous(place, answered)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ENXIO)
        );
    });
}

#[test]
fn ears_hear_claims_of_others_and_nothing_else() {
    let net = TestNet::new();
    let (here, there) = (net.here.ifindex("eth0"), net.there.ifindex("eth0"));
    let answered = |last| Answered {
        mac: Mac([2, 0, 0, 0, 0, last]),
        epoch: Epoch(1),
    };
    let vips = ["192.0.2.10", "2001:db8::10"].map(|ip| Vip(ip.parse().unwrap()));
    let speak = |ifindex, answered: Answered, is_claim: bool| {
        let sender = FrameSender::open().unwrap();
        for vip in vips {
            let place = (vip, ifindex);
            if is_claim {
                sender.gratuitous(place, answered).unwrap();
                sender.claim_to(place, answered, Mac([0xff; 6])).unwrap();
                continue;
            }
            let asker = Asker {
                place,
                client: match vip.0 {
                    IpAddr::V4(_) => [192, 0, 2, 1].into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                },
                mac: Mac([0xff; 6]),
            };
            sender.tell(asker, answered).unwrap();
            let probe = Probe {
                group: GroupKey(vip.0),
                place,
                from: answered.mac,
                to: None,
            };
            sender.probe(&probe).unwrap();
        }
    };
    net.here.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let mut ears = Ears::open().unwrap();
        net.there.enter(|| speak(there, answered(7), true));
        for vip in vips {
            ears.listen(vip.0).unwrap();
        }
        net.there.enter(|| speak(there, answered(8), false));
        speak(here, answered(9), true);
        net.there.enter(|| speak(there, answered(7), true));
        let mut heard = Vec::new();
        runtime.block_on(async {
            let longest = Duration::from_secs(30);
            while heard.len() < 5 {
                let batch = tokio::time::timeout(longest, ears.next_batch()).await;
                heard.extend(batch.expect("five claims").unwrap());
            }
        });
        let claims = [0, 0, 0, 1, 1].map(|vip| ((vips[vip], here), answered(7).mac));
        heard.sort_unstable();
        assert_eq!(heard, claims);
        let counts = EarCounts {
            claims: 5,
            malformed: 0,
            lost: 0,
        };
        assert_eq!(ears.counts(), counts);
    });
}

#[test]
fn l3_1c_what_came_and_was_not_read_yet_is_found_without_waiting() {
    let net = TestNet::new();
    let (here, there) = (net.here.ifindex("eth0"), net.there.ifindex("eth0"));
    let answered = Answered {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        epoch: Epoch(1),
    };
    let vips = ["192.0.2.10", "2001:db8::10"].map(|ip| Vip(ip.parse().unwrap()));
    net.here.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let mut ears = Ears::open().unwrap();
        assert_eq!(ears.unread().unwrap(), [], "nothing is listened to");
        for vip in vips {
            ears.listen(vip.0).unwrap();
        }
        net.there.enter(|| {
            let sender = FrameSender::open().unwrap();
            for _ in 0..100 {
                for vip in vips {
                    sender.gratuitous((vip, there), answered).unwrap();
                }
            }
        });
        let mut heard = Vec::new();
        eventually("all are read", || {
            heard.extend(ears.unread().unwrap());
            heard.len() == 300
        });
        assert!(heard.contains(&((vips[1], here), answered.mac)));
        assert_eq!(ears.unread().unwrap(), []);
    });
}

#[test]
fn frames_that_nobody_reads_in_time_are_counted() {
    let net = TestNet::new();
    let there = net.there.ifindex("eth0");
    let answered = Answered {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        epoch: Epoch(1),
    };
    let vip = Vip("192.0.2.10".parse().unwrap());
    net.here.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let mut ears = Ears::open().unwrap();
        ears.listen(vip.0).unwrap();
        net.there.enter(|| {
            let sender = FrameSender::open().unwrap();
            for _ in 0..5000 {
                sender.gratuitous((vip, there), answered).unwrap();
            }
        });
        eventually("all are read or counted", || {
            let moment = Duration::from_millis(10);
            while let Ok(batch) =
                runtime.block_on(async { tokio::time::timeout(moment, ears.next_batch()).await })
            {
                assert!(batch.unwrap().len() <= 64);
            }
            let counts = ears.counts();
            counts.lost > 0 && counts.claims + counts.lost == 10_000
        });
    });
}
