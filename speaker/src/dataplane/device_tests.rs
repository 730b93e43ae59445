//! The data plane on devices other than a plain wire: bridges, bonds, VLANs.

use super::kernel_tests::{Node, tc_hook, the_one};
use super::*;

const MAC: &str = "address 02:00:00:00:00:aa";

/// Makes a device in the node's namespace. `false`: the kernel has no such kind, and the output says what was left out.
fn can_add(node: &Node, device: &str) -> bool {
    let added = node
        .net
        .here
        .start(&format!("ip link add {device}"))
        .wait()
        .unwrap();
    if !added.success() {
        println!("left out, as this kernel has no such device: {device}");
    }
    added.success()
}

#[test]
fn a_bridge_answers_on_its_ports() {
    let node = Node::new();
    assert!(can_add(&node, &format!("br0 {MAC} type bridge")));
    node.net.here.run("ip link set eth0 master br0");
    node.net.here.run("ip link set br0 up");
    let node = node.on("br0");
    node.process(AttachMode::Tc, |dataplane, reports| {
        assert_eq!(the_one(reports).hook, Some(tc_hook()), "{reports:?}");
        node.serve(dataplane);
        assert!(node.is_answered_on("eth0"));
    });
    node.process(AttachMode::XdpNative, |_, reports| {
        let report = the_one(reports);
        assert_eq!(report.hook, Some(tc_hook()), "{report:?}");
        assert_eq!(
            report.steps[0].result,
            StepResult::Failed,
            "a bridge has no native XDP"
        );
        assert!(node.is_answered_on("eth0"));
    });
}

#[test]
fn a_vlan_device_answers_in_its_vlan_only() {
    let node = Node::new();
    if !can_add(&node, "link eth0 name eth0.100 type vlan id 100") {
        return;
    }
    node.net.here.run("ip link set eth0.100 up");
    node.net
        .there
        .run("ip link add link eth0 name eth0.100 type vlan id 100");
    node.net.there.run("ip link set eth0.100 up");
    node.net.there.run("ip addr add 192.0.2.2/24 dev eth0.100");
    let parent = node.net.here.ifindex("eth0");
    let node = node.on("eth0.100");
    node.process(AttachMode::Tc, |dataplane, _| {
        let mut both = node.links();
        both.insert(parent, "eth0".to_owned());
        assert!(dataplane.sync_links(&both)[0].is_attached());
        node.serve(dataplane);
        assert!(node.is_answered());
        assert!(
            !node.is_answered_on("eth0"),
            "untagged, it is another network"
        );
    });
}

#[test]
fn a_parent_does_not_answer_what_was_asked_in_a_vlan() {
    let node = Node::new();
    if !can_add(&node, "link eth0 name eth0.100 type vlan id 100") {
        return;
    }
    node.net
        .there
        .run("ip link add link eth0 name eth0.100 type vlan id 100");
    node.net.there.run("ip link set eth0.100 up");
    node.net.there.run("ip addr add 192.0.2.2/24 dev eth0.100");
    node.process(AttachMode::Tc, |dataplane, _| {
        node.serve(dataplane);
        assert!(node.is_answered());
        assert!(!node.is_answered_on("eth0.100"));
    });
    node.process(AttachMode::XdpGeneric, |_, reports| {
        let report = the_one(reports);
        let refused = &report.steps[0];
        assert_eq!(
            (report.hook, refused.result),
            (Some(tc_hook()), StepResult::Refused)
        );
        assert!(refused.why.contains("eth0.100"), "{report:?}");
    });
}

#[test]
fn a_bond_answers_whichever_port_is_active() {
    let node = Node::new();
    if !can_add(&node, &format!("bond0 {MAC} type bond mode active-backup")) {
        return;
    }
    node.net.here.run("ip link set eth0 down");
    node.net.here.run("ip link set eth0 master bond0");
    node.net.here.run("ip link set bond0 up");
    let node = node.on("bond0");
    for mode in [AttachMode::Tc, AttachMode::XdpNative] {
        node.process(mode, |dataplane, reports| {
            let report = the_one(reports);
            assert_eq!(report.hook, Some(tc_hook()), "{report:?}");
            node.serve(dataplane);
            assert!(node.is_answered_on("eth0"));
        });
    }
}

#[test]
fn another_program_ahead_in_the_chain_and_ours_share_a_link() {
    let node = Node::new();
    if tc_hook() != Hook::Tcx {
        println!("left out, as this kernel has one place for our filter: a chain of two");
        return;
    }
    node.process(AttachMode::Tc, |dataplane, _| node.serve(dataplane));
    let mut settings = node.settings(AttachMode::Tc);
    settings.pin_dir.set_file_name("node-b");
    node.net.here.enter(|| {
        let mut other = Dataplane::open(&settings).unwrap();
        let report = other.sync_links(&node.links()).remove(0);
        assert_eq!(report.steps[0].result, StepResult::Attached, "{report:?}");
        assert!(
            node.is_answered(),
            "who comes last is first, and passes on what is not its own"
        );
        let first = Sight::open(&settings.pin_dir).unwrap();
        assert!(first.globals().unwrap()[0].count >= 1, "it saw the request");
    });
}
