//! An operator pauses one session: FRR hears why, and the other session goes on.

use super::frr::{announced_by_all, established, next_hops, up};
use serde_json::Value;
use system_tests::lab::TestLab;

#[test]
fn rfc9003_2_a_session_that_is_paused_stays_down_until_it_is_resumed() {
    let (mut lab, frr) = up("", "", "");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let pause = ["bgp", "pause", "router-v4", "--say", "new optics at noon"];
    let said = lab.speakers()["n1"].ctl(&pause).unwrap();
    assert!(said.contains("bgp resume router-v4"), "{said}");
    let heard = lab.eventually("FRR was told why, and drops the route", || {
        let heard = frr.neighbour("192.0.2.11").unwrap();
        let is_told = heard["lastShutdownDescription"] == "new optics at noon";
        let is_gone = next_hops(&frr, web).len() == 2;
        match is_told && is_gone && heard["bgpState"] != "Established" {
            true => Ok(heard),
            false => Err(heard),
        }
    });
    assert_eq!(
        heard["lastNotificationReason"], "Cease/Administrative Shutdown",
        "{heard}"
    );
    // Neither what changes of it nor a drain begins it again.
    lab.edit(
        "bgp.yaml",
        "peerASN: 64513\n",
        "peerASN: 64513\n  holdTime: 30s\n",
    );
    lab.speakers()["n1"].ctl(&["drain"]).unwrap();
    lab.eventually("the other session ends, drained", || {
        let heard = frr.neighbour("2001:db8::11").unwrap();
        match heard["bgpState"] == "Established" {
            true => Err(heard),
            false => Ok(()),
        }
    });
    lab.speakers()["n1"].ctl(&["drain", "--undo"]).unwrap();
    established(&lab, &frr, "2001:db8::11");
    assert_eq!(session(&lab)["because"], "paused by the operator");
    let page = lab.netns("n1");
    let page = page.output("curl", &["-sS", "http://127.0.0.1:7472/metrics"]);
    let page = page.unwrap();
    for line in [
        r#"heliograph_bgp_session_paused{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"heliograph_bgp_session_paused{peer="[2001:db8::1]:179",vrf="default"} 0"#,
    ] {
        assert!(page.contains(line), "{page}");
    }
    lab.speakers()["n1"]
        .ctl(&["bgp", "resume", "router-v4"])
        .unwrap();
    announced_by_all(&lab, &frr, web);
    assert_eq!(session(&lab)["paused"], Value::Null);
    // A new process knows nothing of a pause.
    lab.speakers()["n1"]
        .ctl(&["bgp", "pause", "router-v4"])
        .unwrap();
    lab.speaker("n1").unwrap().stop().unwrap();
    lab.start_speaker("n1").unwrap();
    lab.speaker("n1").unwrap().wait_until_ready().unwrap();
    announced_by_all(&lab, &frr, web);
}

fn session(lab: &TestLab) -> Value {
    let mut seen = lab.speakers()["n1"]
        .ctl_json(&["bgp", "router-v4"])
        .unwrap();
    seen["peers"][0].take()
}
