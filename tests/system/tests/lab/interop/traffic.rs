//! A thousand datagrams a second through FRR, while routes of others come and go. What a drain, a killed speaker and a dead node cost is
//! counted by the tour (`super::rack`).

use super::frr::{announced_by_all, bgpd};
use super::{POOL, peer, service};
use crate::restart::echo_until;
use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::router::frr::Frr;

#[test]
fn services_that_come_and_go_cost_another_service_no_datagram() {
    let manifest = format!("{POOL}{}", peer("router", "192.0.2.1", ""));
    let into_pool = "  annotations:\n    metallb.io/address-pool: routed\n";
    let of = |name: &str| format!("  name: {name}\n  namespace: default\n  annotations:\n");
    let within = |name: &str| of(name).replace("  annotations:\n", into_pool);
    let [tcp, udp] = ["echo-tcp", "echo-udp"].map(|name| (of(name), within(name)));
    let mut lab = TestLab::routed(&[
        ("bgp.yaml", "", &manifest),
        ("echo.yaml", &tcp.0, &tcp.1),
        ("echo.yaml", &udp.0, &udp.1),
    ]);
    let config = bgpd(&lab, "");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    let echo = lab.frontends_of("default/echo-udp").remove(0);
    announced_by_all(&lab, &frr, echo.vip);
    let router = lab.topology().router.clone().unwrap();
    lab.eventually("one datagram is answered", || {
        let asked = || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(echo.address())?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            socket.send(b"?")?;
            socket.recv(&mut [0; 8])
        };
        router
            .enter(asked)
            .unwrap()
            .map_err(|error| error.to_string())
    });
    let stop = AtomicBool::new(false);
    let (sent, lost) = thread::scope(|scope| {
        let traffic = scope.spawn(|| router.enter(|| echo_until(echo.address(), &stop)).unwrap());
        for round in 0..ROUNDS {
            let name = format!("late-{round}");
            lab.edit(&format!("{name}.yaml"), "", &service(&name));
            let late = lab.frontends_of(&format!("default/{name}"))[0].vip;
            announced_by_all(&lab, &frr, late);
            fs::remove_file(lab.manifests().join(format!("{name}.yaml"))).unwrap();
            lab.eventually("nobody announces it", || {
                let hops = super::frr::next_hops(&frr, late);
                if hops.is_empty() { Ok(()) } else { Err(hops) }
            });
        }
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    });
    tell(&format!(
        "{ROUNDS} services came and went under 1 kpps of UDP echo through the router: {lost} lost of {sent}"
    ));
    assert_eq!(lost, 0, "of {sent}");
}

const ROUNDS: usize = 5;
