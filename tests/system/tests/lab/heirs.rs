//! Holders that are alive and do not answer, and others that answer for what a member holds (L6.7).

use std::fs;
use std::net::IpAddr;
use system_tests::lab::{TestLab, tell};

/// Waits until some node but `holder` has logged this event about `vip`, and returns the line.
#[track_caller]
fn heir_says(lab: &TestLab, holder: &str, event: &str, vip: IpAddr) -> String {
    let nodes = lab.topology().nodes.iter();
    let heirs: Vec<_> = nodes.filter(|node| node.name != holder).collect();
    lab.eventually(&format!("an heir says {event}"), || {
        let logs = heirs.iter().map(|node| {
            let path = lab.folder().join(format!("log/{}.log", node.name));
            fs::read_to_string(path).unwrap_or_default()
        });
        let logs: Vec<String> = logs.collect();
        let mut lines = logs.iter().flat_map(|log| log.lines());
        let is_it = |line: &&str| line.contains(event) && line.contains(&vip.to_string());
        lines.find(is_it).map(ToOwned::to_owned).ok_or(())
    })
}

#[test]
fn l6_7_what_a_holder_that_is_alive_cannot_answer_for_moves_to_its_heir() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    lab.eventually("its heirs have seen it answer", || {
        let nodes = lab.topology().nodes.iter();
        let heirs = nodes.filter(|node| node.name != holder);
        let mut heard = heirs.map(|node| {
            let page = ["-sS", "http://127.0.0.1:7472/metrics"];
            let metrics = node.netns.output("curl", &page).unwrap_or_default();
            let line = metrics
                .lines()
                .find(|line| line.contains("outcome=\"watch_answered\""));
            let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            count.unwrap_or_default()
        });
        if heard.all(|count| count >= 2) {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    // The path of the VIP's requests to the holder ends at the switch; everything else still gets there.
    let switch = &lab.topology().switch;
    let rules = format!(
        "add table bridge grey; add chain bridge grey pass {{ type filter hook forward priority 0; }}; \
         add rule bridge grey pass oifname \"{holder}\" arp daddr ip {} drop",
        web.vip
    );
    switch.output("nft", &[&rules]).unwrap();
    let heir = lab.until_held(web.vip, |now| now.is_some_and(|now| now != holder));
    let line = heir_says(&lab, &holder, "vipUnanswered", web.vip);
    assert!(line.contains("others come first"), "{line}");
    lab.eventually("the holder says why it gave it away", || {
        let log = fs::read_to_string(lab.folder().join(format!("log/{holder}.log"))).unwrap();
        match log.contains("vipUnheard") && log.contains("vipGiven") {
            true => Ok(()),
            false => Err(log),
        }
    });
    lab.answer(&web);
    tell(&format!(
        "{} went from {holder}, which it could not reach, to {heir:?}",
        web.vip
    ));
}

#[test]
fn l6_7_a_stranger_that_answers_for_what_is_held_is_named_by_an_heir() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web").remove(0);
    let holder = lab.holder_of(web.vip);
    let client = lab.client();
    client
        .ip(&format!("address add {}/32 dev eth0", web.vip))
        .unwrap();
    let line = heir_says(&lab, &holder, "vipConflict", web.vip);
    let mac = client.macs().unwrap()["eth0"].clone();
    assert!(line.contains(&mac), "{line}");
}

#[test]
fn l6_6_only_who_may_have_to_answer_listens_to_an_ipv6_vips_group() {
    let lab = TestLab::sample();
    let web = lab.frontends_of("default/web");
    let vip = web.iter().find(|web| web.vip.is_ipv6()).unwrap().vip;
    let holder = lab.holder_of(vip);
    let listening = |is_so: &dyn Fn(&str) -> bool| {
        let nodes = &lab.topology().nodes;
        let lists = nodes.iter().map(|node| {
            let shown = ["-6", "neigh", "show", "proxy"];
            let shown = node.netns.output("ip", &shown).unwrap();
            let listens = shown.contains(&format!("{vip} dev eth0"));
            (node.name.clone(), listens)
        });
        let lists: Vec<_> = lists.collect();
        let is_well = lists.iter().all(|(node, listens)| is_so(node) == *listens);
        if is_well { Ok(()) } else { Err(lists) }
    };
    lab.eventually("the holder and its two heirs listen", || {
        listening(&|_| true)
    });
    let nodes = &lab.topology().nodes;
    let other = nodes.iter().find(|node| node.name != holder).unwrap();
    lab.exclude(&other.name);
    lab.eventually("who is no heir any more does not", || {
        listening(&|node| node != other.name)
    });
}
