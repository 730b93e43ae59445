//! Every state × every event (RFC 4271 §8.2.2): what is done, and the state after it.

use super::*;

/// Something that happens, by what the table calls it.
fn event(name: &str, one: &mut One) -> Vec<Did> {
    let dialled = Side::Dialled;
    let text = || "a reason".to_owned();
    match name {
        "start" => one.input(Input::Start),
        "stop to restart" => one.input(Input::Stop(Stop::Restart)),
        "stop to drain" => one.input(Input::Stop(Stop::Drain(text()))),
        "stop, deconfigured" => one.input(Input::Stop(Stop::Deconfigured)),
        "pause" => one.input(Input::Pause(text())),
        "resume" => one.input(Input::Resume),
        "reset of the transport" => one.input(Input::Reset(Reset::Transport)),
        "reset by the operator" => one.input(Input::Reset(Reset::Operator)),
        "dialled" => one.connect(dialled),
        "accepted" => one.connect(Side::Accepted),
        "dial failed" => one.input(Input::ConnectFailed(text())),
        "closed" => one.input(Input::Closed(dialled, text())),
        "OPEN" => one.hear_open(dialled, &open()),
        "OPEN of another AS" => {
            let asn = settings().asn;
            one.hear_open(dialled, &Open { asn, ..open() })
        }
        "KEEPALIVE" => one.hear_keepalive(dialled),
        "UPDATE" => one.hear(dialled, |bytes| wire::end_of_rib(bytes, Family::V4)),
        "ROUTE-REFRESH" => one.hear(dialled, |bytes| {
            wire::route_refresh(bytes, Family::V4, wire::Refresh::Request);
        }),
        "NOTIFICATION" => one.hear_notification(dialled, 6, 4),
        "no marker" => one.input(Input::Received(dialled, vec![0; 19])),
        "half a message" => one.input(Input::Received(dialled, vec![0xff; 16])),
        "written" => one.input(Input::Written(dialled, 19)),
        "BFD down" => one.input(Input::BfdDown {
            is_peer_anew: false,
            detection: Span::ms(900),
        }),
        "BFD up" => one.input(Input::BfdUp),
        "routes" => one.input(Input::Routes {
            routes: routes(2, 0),
            is_complete: true,
        }),
        "other router id" => one.input(Input::Settings(Box::new(Settings {
            router_id: router_id(9),
            ..settings()
        }))),
        "other connect time" => one.input(Input::Settings(Box::new(Settings {
            connect_retry: Span::s(5),
            ..settings()
        }))),
        "next timer" if one.session.deadline().is_some() => one.wake().1,
        "next timer" => Vec::new(),
        "hold time" => one.pass(Span::s(31)),
        name => panic!("no event {name}"),
    }
}

/// What was done, in words.
fn words(did: &[Did]) -> String {
    let side = |side: &Side| match side {
        Side::Dialled => "",
        Side::Accepted => " accepted",
    };
    let words = did.iter().map(|did| match did {
        Did::Connect => "dial".to_owned(),
        Did::Said(on, what) => format!("{what}{}", side(on)),
        Did::Notified(on, code, subcode) => format!("{code}/{subcode}{}", side(on)),
        Did::Closed(on) => format!("close{}", side(on)),
        Did::Refused(code, subcode) => format!("refuse {code}/{subcode}"),
        Did::Stopped => "stopped".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn rfc4271_8_2_2_every_event_in_every_state() {
    let names: Vec<&str> = TABLE
        .lines()
        .filter(|line| !line.starts_with(' '))
        .collect();
    let mut table = String::new();
    for name in names {
        table += name;
        table += "\n";
        for state in State::ALL {
            let mut one = One::at(settings(), state);
            let did = words(&event(name, &mut one));
            let line = format!(
                "  {:11} → {:11} {did}",
                state.as_str(),
                one.session.state().as_str()
            );
            table += line.trim_end();
            table += "\n";
        }
    }
    assert_eq!(table, TABLE, "as it is now:\n{table}");
}

const TABLE: &str = "\
start
  Idle        → Connect     dial
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
stop to restart
  Idle        → Idle        stopped
  Connect     → Idle        close, stopped
  Active      → Idle        stopped
  OpenSent    → Idle        6/4, close, stopped
  OpenConfirm → Idle        6/4, close, stopped
  Established → Idle        6/4, close, stopped
stop to drain
  Idle        → Idle        stopped
  Connect     → Idle        close, stopped
  Active      → Idle        stopped
  OpenSent    → Idle        6/2, close, stopped
  OpenConfirm → Idle        6/2, close, stopped
  Established → Idle        6/2, close, stopped
stop, deconfigured
  Idle        → Idle        stopped
  Connect     → Idle        close, stopped
  Active      → Idle        stopped
  OpenSent    → Idle        6/3, close, stopped
  OpenConfirm → Idle        6/3, close, stopped
  Established → Idle        6/3, close, stopped
pause
  Idle        → Idle
  Connect     → Idle        close
  Active      → Idle
  OpenSent    → Idle        6/2, close
  OpenConfirm → Idle        6/2, close
  Established → Idle        6/2, close
resume
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
reset of the transport
  Idle        → Idle
  Connect     → Connect     close, dial
  Active      → Connect     dial
  OpenSent    → Connect     6/6, close, dial
  OpenConfirm → Connect     6/6, close, dial
  Established → Connect     6/6, close, dial
reset by the operator
  Idle        → Idle
  Connect     → Connect     close, dial
  Active      → Connect     dial
  OpenSent    → Connect     6/4, close, dial
  OpenConfirm → Connect     6/4, close, dial
  Established → Connect     6/4, close, dial
dialled
  Idle        → Idle
  Connect     → OpenSent    open
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
accepted
  Idle        → Idle        refuse 6/5
  Connect     → OpenSent    open accepted
  Active      → OpenSent    open accepted
  OpenSent    → OpenSent    open accepted
  OpenConfirm → OpenConfirm open accepted
  Established → Established refuse 6/7
dial failed
  Idle        → Idle
  Connect     → Active
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
closed
  Idle        → Idle
  Connect     → Active
  Active      → Active
  OpenSent    → Active
  OpenConfirm → Idle
  Established → Idle
OPEN
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenConfirm keepalive
  OpenConfirm → Idle        5/2, close
  Established → Idle        5/3, close
OPEN of another AS
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        2/2, close
  OpenConfirm → Idle        5/2, close
  Established → Idle        5/3, close
KEEPALIVE
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        5/1, close
  OpenConfirm → Established
  Established → Established
UPDATE
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        5/1, close
  OpenConfirm → Idle        5/2, close
  Established → Established
ROUTE-REFRESH
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        5/1, close
  OpenConfirm → Idle        5/2, close
  Established → Established
NOTIFICATION
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        close
  OpenConfirm → Idle        close
  Established → Idle        close
no marker
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → Idle        1/1, close
  OpenConfirm → Idle        1/1, close
  Established → Idle        1/1, close
half a message
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
written
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
BFD down
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Idle        6/10, close
BFD up
  Idle        → Idle
  Connect     → Connect     close, dial
  Active      → Connect     dial
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
routes
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established announce, end, end
other router id
  Idle        → Idle
  Connect     → Connect
  Active      → Connect     dial
  OpenSent    → Connect     6/6, close, dial
  OpenConfirm → Connect     6/6, close, dial
  Established → Connect     6/6, close, dial
other connect time
  Idle        → Idle
  Connect     → Connect
  Active      → Active
  OpenSent    → OpenSent
  OpenConfirm → OpenConfirm
  Established → Established
next timer
  Idle        → Idle
  Connect     → Connect     close, dial
  Active      → Connect     dial
  OpenSent    → Idle        4/0, close
  OpenConfirm → OpenConfirm keepalive
  Established → Established keepalive
hold time
  Idle        → Idle
  Connect     → Connect     close, dial
  Active      → Connect     dial, close, dial
  OpenSent    → OpenSent
  OpenConfirm → Connect     keepalive, keepalive, keepalive, 4/0, close, dial
  Established → Connect     keepalive, keepalive, keepalive, 4/0, close, dial
";
