//! A speaker whose way to the API server changes: tokens and authorities that are replaced, watches that hang.

use super::one_node::{ACCOUNT, OneNode};
use api_tests::{Fault, Rule};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_token_is_replaced_and_nothing_is_withdrawn() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.serve("gone", ip(101));
    let begun = Instant::now();
    cluster.start();
    cluster.until("both are answered", |cluster| {
        cluster.is_answered(ip(100)) && cluster.is_answered(ip(101))
    });
    cluster.replace_token();
    // A server looks at tokens when a request comes: with the connections every watch asks anew.
    cluster.api_goes();
    cluster.api_returns();
    let gone = "/api/v1/namespaces/default/services/gone";
    assert_eq!(cluster.double.delete(gone), 200);
    cluster.serve("new", ip(102));
    cluster.until("what changed is followed", |cluster| {
        assert!(cluster.is_answered(ip(100)));
        cluster.is_answered(ip(102)) && !cluster.is_answered(ip(101))
    });
    assert!(begun.elapsed() < READ_ANYWAY, "{:?}", begun.elapsed());
    let requests = cluster.double.requests();
    assert!(
        requests.iter().any(|request| request.code == 401),
        "the first token was not refused"
    );
}

#[test]
fn an_authority_that_its_file_has_late_withdraws_nothing() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.start();
    cluster.until("the VIP is answered", |cluster| {
        cluster.is_answered(ip(100))
    });
    cluster.api_goes();
    cluster.double.renew_authority().unwrap();
    cluster.double.forget_requests();
    cluster.api_returns();
    cluster.serve("new", ip(101));
    cluster.until("the certificate is refused", |cluster| {
        cluster.log().contains("invalid peer certificate")
    });
    for _ in 0..5 {
        thread::sleep(Duration::from_secs(1));
        assert!(cluster.is_answered(ip(100)));
    }
    assert!(!cluster.is_answered(ip(101)));
    assert_eq!(cluster.double.requests().len(), 0, "it is told nothing");
    cluster.tell_authority();
    cluster.until("what changed is followed", |cluster| {
        assert!(cluster.is_answered(ip(100)));
        cluster.is_answered(ip(101))
    });
}

#[test]
fn watches_that_hang_withdraw_nothing() {
    let mut cluster = OneNode::new();
    cluster.serve("web", ip(100));
    cluster.serve("gone", ip(101));
    cluster.start();
    cluster.until("both are answered", |cluster| {
        cluster.is_answered(ip(100)) && cluster.is_answered(ip(101))
    });
    let hang = Rule {
        path: "watch=true".to_owned(),
        user: ACCOUNT.to_owned(),
        fault: Fault::Stall { after: 0 },
        ..Rule::default()
    };
    cluster.double.faults(vec![hang], 1);
    cluster.double.forget_requests();
    cluster.api_goes();
    cluster.api_returns();
    cluster.until("services are watched again", |cluster| {
        let requests = cluster.double.requests().into_iter();
        let mut watches = requests.filter(|request| request.verb == "watch");
        watches.any(|request| request.path == "/api/v1/services" && request.code == 200)
    });
    let gone = "/api/v1/namespaces/default/services/gone";
    assert_eq!(cluster.double.delete(gone), 200);
    cluster.serve("new", ip(102));
    for _ in 0..5 {
        thread::sleep(Duration::from_secs(1));
        assert!(cluster.is_answered(ip(100)));
        assert!(cluster.is_answered(ip(101)), "nobody said that it is gone");
        assert!(!cluster.is_answered(ip(102)));
    }
    cluster.double.faults(Vec::new(), 1);
    cluster.api_goes();
    cluster.api_returns();
    cluster.until("what was missed is caught up", |cluster| {
        assert!(cluster.is_answered(ip(100)));
        cluster.is_answered(ip(102)) && !cluster.is_answered(ip(101))
    });
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// The client reads a file of a token once a minute, less ten seconds: what comes sooner was read because it was refused.
const READ_ANYWAY: Duration = Duration::from_secs(45);
