//! Turns that the thread is held up in.

use super::*;
use crate::testnet::TestNet;
use speaker_proto::bfd::Diagnostic;
use std::net::UdpSocket;
use std::num::NonZeroU8;
use std::sync::mpsc::sync_channel;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn rfc5880_6_8_4_the_detection_time_counts_from_a_packet_that_came_after_its_turn_began() {
    let net = TestNet::new();
    for (namespace, last) in [(&net.here, 1), (&net.there, 2)] {
        namespace.run(&format!("ip addr add 192.0.2.{last}/24 dev eth0"));
    }
    let peer = net.there.enter(|| UdpSocket::bind("192.0.2.2:0").unwrap());
    peer.set_ttl(255).unwrap();
    net.here.enter(|| {
        let (wants, wanted) = watch::channel(Arc::default());
        let (_asks, asked) = sync_channel(1);
        let (events, _heard) = mpsc::channel(8);
        let mut thread = Thread::new(BTreeMap::new(), wanted, asked, events, Wake::new().unwrap());
        wants.send_replace(Arc::new(BTreeMap::from([(key(), settings())])));
        assert!(thread.work(now()));

        let begun = now();
        sleep(HELD_UP);
        let sent = now();
        let packet = packet(thread.table.ids()[0]).encode();
        peer.send_to(&packet, "192.0.2.1:3784").unwrap();
        thread.wake.wait(
            thread
                .ears
                .values()
                .flat_map(|hearing| &hearing.ear)
                .map(AsFd::as_fd),
            now() + Span::s(60),
        );
        assert!(thread.work(begun));
        assert_eq!(state(&thread), State::Up, "it came");
        assert!(thread.work(sent + Span::ms(299)));
        assert_eq!(state(&thread), State::Up, "not before its time is over");
    });
}

fn state(thread: &Thread) -> State {
    thread.table.wanted().next().unwrap().session.state()
}

fn key() -> SessionKey {
    SessionKey {
        peer: [192, 0, 2, 2].into(),
        local: None,
        interface: None,
        vrf: None,
        is_multihop: false,
    }
}

fn settings() -> Settings {
    Settings {
        transmit: Span::ms(100),
        receive: Span::ms(100),
        ..Settings::default()
    }
}

/// What brings the session up.
fn packet(yours: NonZeroU32) -> Packet {
    Packet {
        state: State::Init,
        diagnostic: Diagnostic::NONE,
        is_poll: false,
        is_final: false,
        is_independent: false,
        is_demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        mine: NonZeroU32::MIN,
        yours: Some(yours),
        transmit: Span::ms(100),
        receive: Span::ms(100),
        echo: Span::ms(0),
    }
}

/// Less than half of the detection time, beyond which it would be given again.
const HELD_UP: Duration = Duration::from_millis(55);
