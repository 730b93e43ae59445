//! Answers on a wire: the tools and the stack of another namespace ask, and each hook must satisfy them.
//!
//! Nothing here has the VIPs on an interface, so whatever answers is the program.

use crate::net::{Wire, eventually};
use crate::program::{Program, boot_ns};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use aya::programs::xdp::XdpMode;
use aya::programs::{TcAttachType, Xdp};
use speaker_ebpf::abi::{
    Addr, Entry, LinkValue, MacAddr, MacKey, MemberValue, Mode, Outcome, VipKey,
};
use speaker_ebpf::model::{Limit, Tables};
use std::net::IpAddr;
use xtask::tools;

#[test]
fn tcx_answers() {
    answers(Hook::Tcx);
}

#[test]
fn a_clsact_filter_answers() {
    answers(Hook::Clsact);
}

#[test]
fn generic_xdp_answers() {
    answers(Hook::GenericXdp);
}

#[test]
fn native_xdp_answers() {
    answers(Hook::NativeXdp);
}

#[test]
fn l4_2_a_lapsed_program_is_silent_and_so_is_the_stack_behind_it() {
    on_wire(Hook::Tcx, |site| {
        // The address on the node's own loopback: its stack would answer for it.
        site.node.run("ip addr add 192.0.2.10/32 dev lo");
        site.program.write(&tables(boot_ns() - SECOND), 0);
        let (is_answered, output) = site.client.attempt("arping -c 1 -w 1 -I eth0 192.0.2.10");
        assert!(!is_answered, "{output}");
        assert_eq!(site.program.outcome(SLOT4, Outcome::Lapsed), 1);
    });
}

#[test]
fn l4_1_an_address_that_is_not_in_the_table_is_left_to_the_stack() {
    on_wire(Hook::Tcx, |site| {
        site.node.run("ip addr add 192.0.2.5/24 dev eth0");
        site.client.run("arping -c 1 -w 1 -I eth0 192.0.2.5");
    });
}

#[test]
fn l5_2_a_members_announcement_on_the_wire_silences_the_vip() {
    on_wire(Hook::Tcx, |site| {
        site.client
            .run("ip link set eth0 address 02:00:00:00:00:22");
        site.client.run("ip addr add 192.0.2.10/32 dev eth0");
        site.client
            .attempt("arping -U -c 1 -w 1 -I eth0 192.0.2.10");
        let program = &mut site.program;
        eventually("the claim is counted", || {
            program.outcome(SLOT4, Outcome::Claimed) > 0
        });
        site.client.run("ip addr del 192.0.2.10/32 dev eth0");
        let (is_answered, output) = site.client.attempt("arping -c 1 -w 1 -I eth0 192.0.2.10");
        assert!(!is_answered, "{output}");
        assert_eq!(site.program.outcome(SLOT4, Outcome::Fenced), 1);
    });
}

#[test]
fn a_tagged_request_is_not_answered_untagged() {
    on_wire(Hook::Tcx, |site| {
        site.send_tagged_request();
        // What is sent later arrives later: once this is answered, the tagged request has been seen.
        site.client.run("arping -c 1 -w 2 -I eth0 192.0.2.10");
        assert_eq!(site.program.outcome(SLOT4, Outcome::Answered), 1);
    });
}

#[test]
fn a_program_behind_ours_gets_what_is_not_ours() {
    on_wire(Hook::Tcx, |site| {
        let mut behind = site.node.enter(|| {
            let mut behind = Program::load(Limit::default());
            let mut tables = tables(boot_ns() + 600 * SECOND);
            let key = VipKey::new(Addr::v4([192, 0, 2, 11]), LINK);
            tables.put_vip(key, Entry::new(Mode::Answer, 1, SLOT11));
            behind.write(&tables, 0);
            let options = TcAttachOptions::TcxOrder(LinkOrder::last());
            behind
                .tc()
                .attach_with_options("eth0", TcAttachType::Ingress, options)
                .unwrap();
            behind
        });
        site.client.run("arping -c 1 -w 2 -I eth0 192.0.2.11");
        assert_eq!(behind.outcome(SLOT11, Outcome::Answered), 1);
        site.client.run("arping -c 1 -w 2 -I eth0 192.0.2.10");
        assert_eq!(behind.outcome(SLOT4, Outcome::Answered), 0);
        assert_eq!(site.program.outcome(SLOT4, Outcome::Answered), 1);
    });
}

#[test]
fn jumbo_packets_are_counted_whole() {
    on_wire(Hook::Tcx, |site| {
        for end in [&site.node, &site.client] {
            end.run("ip link set eth0 mtu 9000");
        }
        site.client
            .attempt("ping -c 1 -W 1 -M do -s 8000 192.0.2.10");
        let traffic = site.program.traffic(SLOT4);
        assert_eq!((traffic.packets, traffic.bytes), (1, 14 + 20 + 8 + 8000));
    });
}

#[test]
fn fragments_are_counted_each() {
    on_wire(Hook::Tcx, |site| {
        site.client.attempt("ping -c 1 -W 1 -s 4000 192.0.2.10");
        assert_eq!(site.program.traffic(SLOT4).packets, 3);
    });
}

/// Everything that a client may ask, at one hook.
fn answers(hook: Hook) {
    on_wire(hook, |site| {
        let asked = |site: &mut Site, command: &str| {
            let output = site.client.run(command);
            assert!(
                output.to_lowercase().contains("02:00:00:00:00:11"),
                "{hook:?}: {command}: {output}"
            );
        };
        asked(site, "arping -c 1 -w 2 -I eth0 192.0.2.10");
        site.probed_before_use();
        asked(site, "ndisc6 -1 -w 2000 2001:db8::10 eth0");
        site.detected_as_duplicate();
        site.confirmed_by_unicast("192.0.2.10", SLOT4);
        site.confirmed_by_unicast("2001:db8::10", SLOT6);
    });
}

struct Site {
    wire: Wire,
    program: Program,
}

impl std::ops::Deref for Site {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl Site {
    /// RFC 5227: an address that somebody answers for is not taken.
    fn probed_before_use(&mut self) {
        let (is_free, output) = self
            .client
            .attempt("arping -D -c 1 -w 2 -I eth0 192.0.2.10");
        assert!(!is_free, "the probe went unanswered: {output}");
    }

    /// RFC 4862: the stack of the client gives the address up.
    fn detected_as_duplicate(&mut self) {
        self.client.run("ip -6 addr add 2001:db8::10/128 dev eth0");
        eventually("the address is found to be a duplicate", || {
            self.client
                .run("ip -6 addr show dev eth0")
                .contains("dadfailed")
        });
        self.client.run("ip -6 addr del 2001:db8::10/128 dev eth0");
    }

    /// The stack of the client asks by unicast whether the neighbour that it knows is still there.
    fn confirmed_by_unicast(&mut self, vip: &str, slot: u32) {
        let before = self.program.outcome(slot, Outcome::Answered);
        self.client.run(&format!(
            "ip neigh replace {vip} dev eth0 lladdr 02:00:00:00:00:11 nud probe"
        ));
        eventually("the neighbour is reachable", || {
            let shown = self.client.run(&format!("ip neigh show {vip} dev eth0"));
            shown.contains("REACHABLE")
        });
        assert!(self.program.outcome(slot, Outcome::Answered) > before);
    }

    /// A request for the VIP with a tag of VLAN 5 in the frame.
    fn send_tagged_request(&self) {
        tools::ensure_packages(&["socat"], "sending raw frames").unwrap();
        let frame = "ffffffffffff0200000000cc8100000508060001080006040001\
                     0200000000ccc000024d000000000000c000020a";
        let hex: String = frame
            .as_bytes()
            .chunks(2)
            .map(|byte| format!("\\x{}", String::from_utf8_lossy(byte)))
            .collect();
        let script = format!("printf '{hex}' | socat -u - INTERFACE:eth0");
        let mut send = std::process::Command::new("ip");
        send.args(["netns", "exec", &self.client.name, "bash", "-c", &script]);
        tools::run(&mut send).unwrap();
    }
}

fn on_wire(hook: Hook, work: impl FnOnce(&mut Site) + Send) {
    tools::ensure_packages(
        &["iputils-arping", "iputils-ping", "ndisc6"],
        "asking for neighbours",
    )
    .unwrap();
    let wire = Wire::new(LINK, OWN);
    for end in [&wire.node, &wire.client] {
        end.write("net/ipv6/conf/eth0/disable_ipv6", "0");
    }
    wire.client.run("ip addr add 192.0.2.77/24 dev eth0");
    wire.client
        .run("ip -6 addr add 2001:db8::77/64 dev eth0 nodad");
    let program = wire.node.enter(|| {
        let mut program = Program::load(Limit::default());
        program.write(&tables(boot_ns() + 600 * SECOND), 0);
        hook.attach(&mut program);
        program
    });
    // A native XDP reply reaches the other end of a veth only if that has a program, too.
    let _passing = (hook == Hook::NativeXdp).then(|| {
        wire.client.enter(|| {
            let mut other = Program::load(Limit::default());
            other.xdp().attach("eth0", XdpMode::Driver).unwrap();
            other
        })
    });
    work(&mut Site { wire, program });
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    Tcx,
    Clsact,
    GenericXdp,
    NativeXdp,
}

impl Hook {
    pub(crate) fn attach(self, program: &mut Program) {
        let xdp = |xdp: &mut Xdp, mode| {
            xdp.attach("eth0", mode).unwrap();
        };
        match self {
            Self::Tcx => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                program
                    .tc()
                    .attach_with_options("eth0", TcAttachType::Ingress, options)
                    .unwrap();
            }
            Self::Clsact => {
                qdisc_add_clsact("eth0").unwrap();
                let options = TcAttachOptions::Netlink(NlOptions::default());
                program
                    .tc()
                    .attach_with_options("eth0", TcAttachType::Ingress, options)
                    .unwrap();
            }
            Self::GenericXdp => xdp(program.xdp(), XdpMode::Skb),
            Self::NativeXdp => xdp(program.xdp(), XdpMode::Driver),
        }
    }
}

/// Both VIPs answered until `deadline`; a member that may claim them.
fn tables(deadline_ns: u64) -> Tables {
    let mut tables = Tables {
        node_deadline_ns: deadline_ns,
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(MacAddr(OWN)));
    let member = MacKey::new(MacAddr([2, 0, 0, 0, 0, 0x22]));
    let armed = MemberValue {
        disarmed_until_ns: 0,
    };
    tables.members.insert(member, armed);
    for (vip, slot) in [("192.0.2.10", SLOT4), ("2001:db8::10", SLOT6)] {
        let vip: IpAddr = vip.parse().unwrap();
        let key = VipKey::new(Addr::from(vip), LINK);
        tables.put_vip(key, Entry::new(Mode::Answer, 1, slot));
    }
    tables
}

const LINK: u32 = 42;
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const SLOT4: u32 = 1;
const SLOT6: u32 = 2;
const SLOT11: u32 = 3;
const SECOND: u64 = 1_000_000_000;
