//! Which link answers: interface selectors, and links on top of others.

use system_tests::lab::{TestLab, tell};
use xtask::lab::Lab;
use xtask::lab::topology::Node;

/// Puts a second link to the switch on every node.
fn second_links(lab: &Lab) {
    for node in &lab.topology().nodes {
        let port = format!("{}b", node.name);
        lab.topology().plug(&node.netns, &port, "eth1").unwrap();
        accept_from_elsewhere(node, "eth1");
    }
}

/// The way back of what comes in by this link is another one, and a link without an address takes nothing while the way
/// back is checked at all.
fn accept_from_elsewhere(node: &Node, link: &str) {
    let number = node.number;
    node.netns
        .ip(&format!("address add 198.51.100.{number}/24 dev {link}"))
        .unwrap();
    node.netns
        .sysctl(&[(&format!("ipv4.conf.{link}.rp_filter"), "2")])
        .unwrap();
}

/// An advertisement that names one link.
fn only_on(link: &str) -> [(&'static str, &'static str, String); 1] {
    let spec = format!("spec:\n  interfaces: [{link}]\n  ipAddressPools:");
    [("pools.yaml", "spec:\n  ipAddressPools:", spec)]
}

#[track_caller]
fn lab_on(link: &str, prepare: impl FnOnce(&Lab)) -> TestLab {
    let changes = only_on(link);
    let changes: Vec<(&str, &str, &str)> = changes
        .iter()
        .map(|(file, from, to)| (*file, *from, to.as_str()))
        .collect();
    TestLab::prepared(&changes, prepare)
}

/// The answer for both addresses of `default/web` is the hardware address of this link of the holder.
#[track_caller]
fn answered_by(lab: &TestLab, link: &str) {
    for web in &lab.frontends_of("default/web") {
        let mac = lab.mac_of(web.vip);
        let links = lab.topology().nodes.iter().filter_map(|node| {
            let links = node.netns.macs().unwrap();
            links.get(link).cloned()
        });
        let links: Vec<String> = links.collect();
        assert!(links.contains(&mac), "{mac} answers, of {links:?}");
        lab.answer(web);
    }
}

#[test]
fn interface_selectors_say_which_link_answers() {
    let lab = lab_on("eth1", second_links);
    answered_by(&lab, "eth1");
}

#[test]
fn two_links_on_one_segment_are_no_strangers_to_each_other() {
    let lab = TestLab::prepared(&[], second_links);
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    lab.eventually("each link has heard the other announce", || {
        let counted = lab.seen(&holder, &["counters"])?;
        if has_foreign(&counted) {
            Ok(())
        } else {
            Err(counted)
        }
    });
    let log = std::fs::read_to_string(lab.folder().join(format!("log/{holder}.log"))).unwrap();
    assert!(!log.contains("vipClaimed"), "{log}");
}

/// Whether the program has counted a claim by hardware that it does not know.
fn has_foreign(counted: &serde_json::Value) -> bool {
    match counted {
        serde_json::Value::Object(fields) => fields.iter().any(|(name, value)| {
            (name == "foreign" && value.as_u64() > Some(0)) || has_foreign(value)
        }),
        serde_json::Value::Array(items) => items.iter().any(has_foreign),
        _ => false,
    }
}

#[test]
fn a_link_that_no_node_has_answers_for_nothing() {
    let lab = lab_on("nosuch0", |_| {});
    let web = &lab.frontends_of("default/web")[0];
    assert_eq!(lab.holder(web.vip), None);
    lab.eventually("the link is named", || {
        let why = lab.said("n1", &["why", "default/web"])?;
        match why.contains("nosuch0") {
            true => Ok(()),
            false => Err(why),
        }
    });
}

#[test]
fn a_link_that_comes_later_answers_at_once() {
    let lab = lab_on("eth1", |_| {});
    let web = &lab.frontends_of("default/web")[0];
    assert_eq!(lab.holder(web.vip), None);
    second_links(&lab);
    answered_by(&lab, "eth1");
}

#[test]
fn a_new_hardware_address_is_answered_with_at_once() {
    let lab = TestLab::sample();
    for (web, new) in lab
        .frontends_of("default/web")
        .iter()
        .zip(["02:00:00:00:00:51", "02:00:00:00:00:52"])
    {
        let holder = lab.holder_of(web.vip);
        lab.netns(&holder)
            .ip(&format!("link set eth0 address {new}"))
            .unwrap();
        lab.eventually("the new address is given", || {
            let mac = lab.resolve(web.vip);
            if mac.as_deref() == Some(new) {
                Ok(())
            } else {
                Err(mac)
            }
        });
        lab.answer(web);
    }
}

#[test]
fn a_link_that_goes_and_comes_answers_again() {
    let lab = lab_on("eth1", second_links);
    answered_by(&lab, "eth1");
    for node in &lab.topology().nodes {
        node.netns.ip("link delete eth1").unwrap();
    }
    let vip = lab.frontends_of("default/web")[0].vip;
    assert_eq!(lab.resolve(vip), None);
    second_links(&lab);
    answered_by(&lab, "eth1");
}

#[test]
fn a_carrier_that_comes_back_is_answered_by_again() {
    let lab = TestLab::sample();
    let web = &lab.frontends_of("default/web")[0];
    let holder = lab.holder_of(web.vip);
    let switch = &lab.topology().switch;
    switch.ip(&format!("link set {holder} down")).unwrap();
    // Another may have it before a slow test has asked.
    assert_ne!(lab.holder(web.vip), Some(holder.clone()));
    switch.ip(&format!("link set {holder} up")).unwrap();
    lab.until_held(web.vip, |now| now == Some(&holder));
}

#[test]
fn a_bridge_answers_for_its_ports() {
    let lab = lab_on("lan0", |lab| {
        for node in &lab.topology().nodes {
            let (v4, v6) = (node.v4(), node.v6());
            node.netns
                .ip(&format!(
                    "link add lan0 type bridge\n\
                     link set lan0 up\n\
                     address flush dev eth0 scope global\n\
                     link set eth0 master lan0\n\
                     address add {v4}/24 dev lan0\n\
                     address add {v6}/64 dev lan0 nodad"
                ))
                .unwrap();
            node.netns
                .ip(&node.routes_to_pods(&lab.topology().nodes))
                .unwrap();
        }
    });
    answered_by(&lab, "lan0");
}

#[test]
fn a_macvlan_answers_with_its_own_address() {
    let lab = lab_on("mac0", |lab| {
        for node in &lab.topology().nodes {
            node.netns
                .ip("link add link eth0 name mac0 type macvlan mode bridge\nlink set mac0 up")
                .unwrap();
            accept_from_elsewhere(node, "mac0");
        }
    });
    answered_by(&lab, "mac0");
}

#[test]
fn a_vlan_device_answers_where_the_kernel_has_them() {
    let lab = TestLab::sample();
    let vlan = "link add link eth0 name eth0.7 type vlan id 7";
    if let Err(error) = lab.netns("n1").ip(vlan) {
        assert!(
            format!("{error:#}").contains("Unknown device type"),
            "{error:#}"
        );
        tell("this kernel has no VLAN devices: the kernel suite tests them in QEMU");
        return;
    }
    for node in ["n1", "n2", "n3"] {
        if node != "n1" {
            lab.netns(node).ip(vlan).unwrap();
        }
        lab.netns(node).ip("link set eth0.7 up").unwrap();
    }
    let client = "link add link eth0 name eth0.7 type vlan id 7\nlink set eth0.7 up";
    lab.client().ip(client).unwrap();
    let web = &lab.frontends_of("default/web")[0];
    let args = ["-c", "1", "-w", "3", "-I", "eth0.7", &web.vip.to_string()];
    let said = lab.client().output("arping", &args).unwrap();
    assert!(said.contains("Unicast reply"), "{said}");
}
