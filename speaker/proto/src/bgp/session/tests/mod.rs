//! Sessions on a virtual clock: one by itself, and two that talk to each other in bytes.

mod collision;
mod decisions;
mod histories;
mod pair;
mod rules;
mod segments;
mod table;

use super::*;
use crate::Machine;
use crate::bgp::wire;
use crate::bgp::{
    Attributes, Capabilities, Family, GracefulRestart, Message, Notification, Open, Prefix,
    RouterId,
};
use pair::Pair;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) fn router_id(last: u8) -> RouterId {
    RouterId::new(Ipv4Addr::new(10, 0, 0, last)).expect("it begins with 10")
}

pub(super) fn settings() -> Settings {
    Settings {
        asn: 64_500,
        peer_asn: PeerAsn::External,
        router_id: router_id(1),
        hold_seconds: 90,
        keepalive_seconds: 30,
        connect_retry: CONNECT_RETRY,
        families: BTreeSet::from(Family::ALL),
        has_v4_over_v6_next_hop: false,
        graceful_restart: None,
        drain_prepends: 0,
    }
}

/// What a peer of [`settings`] says.
pub(super) fn open() -> Open {
    Open {
        asn: 64_501,
        hold_seconds: 30,
        router_id: router_id(2),
        capabilities: Capabilities {
            families: BTreeSet::from(Family::ALL),
            has_route_refresh: true,
            has_four_byte_as: true,
            ..Capabilities::default()
        },
    }
}

fn graceful(has_notification: bool) -> Graceful {
    Graceful {
        seconds: 120,
        has_notification,
    }
}

fn start(settings: Settings) -> Start {
    Start {
        settings,
        is_restarting: false,
        kept_forwarding: false,
        seed: 7,
        now: Time::ms(0),
    }
}

fn hops() -> NextHops {
    NextHops {
        v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
        v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        link_local: None,
    }
}

/// So many routes of each family.
fn routes(v4: u32, v6: u32) -> Arc<Routes> {
    let attributes = Arc::new(Attributes::default());
    let v4 = (0..v4).map(|n| IpAddr::V4(Ipv4Addr::from_bits(0xcb00_7100 + n)));
    let v6 = (0..v6).map(|n| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n))));
    let prefixes = v4.chain(v6).map(|ip| Prefix::of(ip, 128));
    Arc::new(
        prefixes
            .map(|prefix| (prefix, Arc::clone(&attributes)))
            .collect(),
    )
}

/// What the machine wants done, in short.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Did {
    Connect,
    Said(Side, &'static str),
    Notified(Side, u8, u8),
    Closed(Side),
    Refused(u8, u8),
    Stopped,
}

/// One session, with what it did.
struct One {
    session: Session,
    now: Time,
}

impl One {
    fn new(settings: Settings) -> Self {
        Self {
            session: Session::new(start(settings)),
            now: Time::ms(0),
        }
    }

    /// One that has come so far, on the connection that it dialled, with [`open`] as its peer.
    fn at(settings: Settings, state: State) -> Self {
        let mut one = Self::new(settings);
        if state > State::Idle {
            one.input(Input::Start);
        }
        if state == State::Active {
            one.input(Input::ConnectFailed("refused".to_owned()));
        }
        if state > State::Active {
            one.connect(Side::Dialled);
        }
        if state > State::OpenSent {
            one.hear_open(Side::Dialled, &open());
        }
        if state > State::OpenConfirm {
            one.hear_keepalive(Side::Dialled);
        }
        assert_eq!(one.session.state(), state);
        one
    }

    fn input(&mut self, input: Input) -> Vec<Did> {
        self.session.input(self.now, input);
        self.did()
    }

    fn connect(&mut self, side: Side) -> Vec<Did> {
        let next_hops = hops();
        self.input(Input::Connected { side, next_hops })
    }

    fn hear(&mut self, side: Side, write: impl FnOnce(&mut Vec<u8>)) -> Vec<Did> {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.input(Input::Received(side, bytes))
    }

    fn hear_open(&mut self, side: Side, open: &Open) -> Vec<Did> {
        self.hear(side, |bytes| wire::open(bytes, open))
    }

    fn hear_keepalive(&mut self, side: Side) -> Vec<Did> {
        self.hear(side, wire::keepalive)
    }

    fn hear_notification(&mut self, side: Side, code: u8, subcode: u8) -> Vec<Did> {
        let notification = Notification::new(code, subcode);
        self.hear(side, |bytes| wire::notification(bytes, &notification))
    }

    /// Lets time pass up to the next thing that is due, and says what that is.
    fn wake(&mut self) -> (&'static str, Vec<Did>) {
        let (at, why) = self.session.deadline().expect("something is due");
        self.now = at.max(self.now);
        self.session.expire(self.now);
        (why, self.did())
    }

    fn pass(&mut self, span: Span) -> Vec<Did> {
        let until = self.now + span;
        let mut did = Vec::new();
        while self.session.deadline().is_some_and(|(at, _)| at <= until) {
            did.extend(self.wake().1);
        }
        self.now = until;
        did
    }

    fn did(&mut self) -> Vec<Did> {
        let mut did = Vec::new();
        while let Some(output) = self.session.output() {
            match output {
                Output::Connect => did.push(Did::Connect),
                Output::Send(side, bytes) => {
                    did.push(said(side, &bytes));
                    let written = Input::Written(side, bytes.len());
                    self.session.input(self.now, written);
                }
                Output::Close(side) => did.push(Did::Closed(side)),
                Output::Refuse(bytes) => {
                    let Did::Notified(_, code, subcode) = said(Side::Accepted, &bytes) else {
                        panic!("a refusal is a NOTIFICATION");
                    };
                    did.push(Did::Refused(code, subcode));
                }
                Output::Changed(status) => assert_eq!(status.state, self.session.state()),
                Output::Stopped => did.push(Did::Stopped),
            }
        }
        did
    }

    fn status(&self) -> Status {
        self.session.status()
    }
}

fn message(bytes: &[u8]) -> Message {
    let frame = wire::Frame::of(bytes).expect("a right header");
    let context = wire::Context {
        has_four_byte_as: true,
        is_ebgp: true,
        families: BTreeSet::from(Family::ALL),
    };
    wire::decode(frame.expect("one message"), &context).expect("a right message")
}

fn said(side: Side, bytes: &[u8]) -> Did {
    Did::Said(
        side,
        match message(bytes) {
            Message::Open(_) => "open",
            Message::Update(update) if update.end_of_rib.is_some() => "end",
            Message::Update(update) if update.withdrawn != [0, 0] => "withdraw",
            Message::Update(_) => "announce",
            Message::Keepalive => "keepalive",
            Message::RouteRefresh(_) => "refresh",
            Message::Notification(Notification { code, subcode, .. }) => {
                return Did::Notified(side, code, subcode);
            }
        },
    )
}
