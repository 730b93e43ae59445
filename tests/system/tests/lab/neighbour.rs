//! The forms in which a client asks for a neighbour, asked by a real kernel and by the usual tools.

use std::net::IpAddr;
use std::process::Output;
use system_tests::lab::TestLab;
use xtask::lab::proxy::Frontend;

#[test]
fn an_arp_probe_is_answered() {
    let lab = TestLab::sample();
    let vip = lab.frontends_of("default/web")[0].vip;
    lab.until_held(vip, |holder| holder.is_some());
    let output = arping(&lab, &["-D", "-c", "2", "-w", "3"], vip);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Unicast reply"), "{said}");
    assert_eq!(
        output.status.code(),
        Some(1),
        "1 says that the address is in use: {said}"
    );
}

#[test]
fn one_node_alone_answers_an_arp_request() {
    let lab = TestLab::sample();
    for service in ["default/web", "default/web-local", "default/echo-tcp"] {
        let vip = lab.frontends_of(service)[0].vip;
        lab.until_held(vip, |holder| holder.is_some());
        let output = arping(&lab, &["-c", "2", "-b"], vip);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Received 2 response(s)"), "{said}");
    }
}

#[test]
fn an_address_that_is_no_vip_is_not_answered() {
    let lab = TestLab::sample();
    for (of_vip, other) in [(0, "192.0.2.119"), (1, "2001:db8::119")] {
        let vip = lab.frontends_of("default/web")[of_vip].vip;
        lab.until_held(vip, |holder| holder.is_some());
        assert_eq!(lab.resolve(other.parse().unwrap()), None);
    }
}

#[test]
fn rfc4862_5_4_a_client_that_tries_to_take_a_vip_is_refused() {
    let lab = TestLab::sample();
    let vip = lab.frontends_of("default/web")[1].vip;
    lab.until_held(vip, |holder| holder.is_some());
    lab.client()
        .sysctl(&[
            ("ipv6.conf.all.accept_dad", "1"),
            ("ipv6.conf.eth0.accept_dad", "1"),
        ])
        .unwrap();
    lab.client()
        .ip(&format!("address add {vip}/128 dev eth0"))
        .unwrap();
    lab.eventually("duplicate address detection fails", || {
        let addresses = lab
            .client()
            .output("ip", &["-6", "address", "show", "dev", "eth0"])
            .unwrap();
        if addresses.contains("dadfailed") {
            Ok(())
        } else {
            Err(addresses)
        }
    });
}

#[test]
fn rfc4861_7_3_a_client_that_checks_a_vip_finds_it_reachable() {
    let lab = TestLab::sample();
    for (frontend, family) in lab
        .frontends_of("default/echo-udp")
        .iter()
        .zip(["ipv4", "ipv6"])
    {
        let holder = lab.holder_of(frontend.vip);
        let first_probe = format!("{family}.neigh.eth0.delay_first_probe_time");
        lab.client().sysctl(&[(&first_probe, "1")]).unwrap();
        let before = lab.speakers()[&holder].answered().unwrap();
        lab.client()
            .ip(&format!("neigh change {} dev eth0 nud stale", frontend.vip))
            .unwrap();
        // An answer by UDP confirms nothing: after a second the kernel asks the address it knows, by unicast.
        lab.answer(frontend);
        lab.eventually("the neighbour is reachable", || {
            let state = state(&lab, frontend);
            if state.contains("REACHABLE") {
                Ok(())
            } else {
                Err(state)
            }
        });
        assert!(
            lab.speakers()[&holder].answered().unwrap() > before,
            "the program was asked"
        );
    }
}

#[test]
fn l6_6_a_switch_that_filters_multicast_lets_solicitations_through() {
    let lab = TestLab::prepared(&[], |lab| {
        let soon = "mcast_query_response_interval 50 mcast_startup_query_interval 50";
        let filter = format!("link set br0 type bridge mcast_snooping 1 mcast_querier 1 {soon}");
        lab.topology().switch.ip(&filter).unwrap();
    });
    let vip = lab.frontends_of("default/web")[1].vip;
    let holder = lab.holder_of(vip);
    lab.eventually("the switch knows that the holder listens", || {
        let groups = lab
            .topology()
            .switch
            .output("bridge", &["mdb", "show"])
            .unwrap();
        let wanted = format!("port {holder} grp {}", solicited_node(vip));
        if groups.contains(&wanted) {
            Ok(())
        } else {
            Err(groups)
        }
    });
    // With a querier around, a group without a listener is not forwarded at all.
    lab.until_held(vip, |now| now == Some(&holder));
}

/// The multicast group of those who are asked for an address (RFC 4291 §2.7.1).
fn solicited_node(vip: IpAddr) -> String {
    let IpAddr::V6(vip) = vip else {
        panic!("{vip} is no IPv6 address");
    };
    let [_, _, _, _, _, _, high, low] = vip.segments();
    format!("ff02::1:ff{:02x}:{low:x}", high & 0xff)
}

#[test]
fn a_takeover_reaches_clients_that_do_not_ask() {
    let lab = TestLab::sample();
    for frontend in lab.frontends_of("default/web") {
        lab.until_held(frontend.vip, |holder| holder.is_some());
        lab.answer(&frontend);
    }
    let vips: Vec<IpAddr> = lab
        .frontends_of("default/web")
        .iter()
        .map(|f| f.vip)
        .collect();
    let holder = lab.holder_of(vips[0]);
    let old = lab.netns(&holder).macs().unwrap()["eth0"].clone();
    lab.exclude(&holder);
    for vip in vips {
        lab.eventually(
            &format!("the client has heard of the new holder of {vip}"),
            || {
                let known = lab.client().neighbours().unwrap().remove(&vip);
                if known.as_ref().is_some_and(|mac| *mac != old) {
                    Ok(())
                } else {
                    Err(known)
                }
            },
        );
    }
}

fn arping(lab: &TestLab, options: &[&str], vip: IpAddr) -> Output {
    let mut command = lab.client().command("arping");
    command
        .args(options)
        .args(["-I", "eth0", &vip.to_string()])
        .output()
        .unwrap()
}

fn state(lab: &TestLab, frontend: &Frontend) -> String {
    let vip = frontend.vip.to_string();
    lab.client()
        .output("ip", &["neigh", "show", &vip, "dev", "eth0"])
        .unwrap()
}
