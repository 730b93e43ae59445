//! Tokens and authorities that are replaced while a controller runs.

use super::site::{Site, TOKEN, pool, service};
use crate::cluster::{CONTROLLER, pause};
use api_tests::{Fault, Rule};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_token_that_ends_is_replaced_by_the_one_in_the_file() {
    let mut site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    site.put(&pool("p", "192.0.2.0/29"));
    site.put(&service("stays"));
    let begun = Instant::now();
    let mut controller = site.controller_by_files(folder.path(), "c-0");
    site.until("an address", || site.holds("stays") == ["192.0.2.0"]);
    site.put(&service("goes"));
    site.until("an address", || site.holds("goes") == ["192.0.2.1"]);
    let before = site.service("stays");

    fs::write(folder.path().join("token"), "second").unwrap();
    site.double.add_user("second", CONTROLLER, &[]);
    site.double.remove_token(TOKEN);
    // A server looks at tokens when a request comes: with the connections every watch asks anew.
    site.double.stop();
    site.double.resume().unwrap();
    site.delete_service("goes");
    site.put(&service("comes"));
    site.until("the address that is free", || {
        site.holds("comes") == ["192.0.2.1"]
    });
    assert!(begun.elapsed() < READ_ANYWAY, "{:?}", begun.elapsed());
    let requests = site.double.requests();
    assert!(
        requests.iter().any(|request| request.code == 401),
        "the first token was not refused"
    );
    assert_eq!(site.service("stays"), before);
    assert_eq!(site.events("stays").len(), 1);
    site.until("the event", || site.events("comes").len() == 1);
    assert!(controller.ended().is_none());
    assert_eq!(site.lease()["leaseTransitions"], 0);
}

#[test]
fn an_event_that_meets_the_end_of_a_token_is_told_all_the_same() {
    let site = Site::new();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller("c-0", &[]);
    controller.until_it_says("allocationBegins");
    let refused = Rule {
        method: "POST".into(),
        path: "/events".into(),
        times: 1,
        fault: Fault::Refuse {
            code: 401,
            retry_after: 0,
        },
        ..Rule::default()
    };
    site.double.faults(vec![refused], 1);
    site.put(&service("web"));
    site.until("the event", || site.events("web").len() == 1);
    let requests = site.double.requests();
    let codes = requests.iter().filter(|r| r.path.ends_with("/events"));
    assert!(codes.map(|r| r.code).eq([401, 201]));
}

#[test]
fn an_authority_that_is_replaced_is_read_from_its_file() {
    let mut site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let mut controller = site.controller_by_files(folder.path(), "c-0");
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let before = site.service("web");

    site.double.stop();
    site.double.renew_authority().unwrap();
    site.double.write_authority(folder.path()).unwrap();
    site.double.resume().unwrap();
    site.put(&service("new"));
    site.until("an address", || site.holds("new") == ["192.0.2.1"]);
    assert_eq!(site.service("web"), before);
    assert!(controller.ended().is_none());
    assert_eq!(site.lease()["leaseTransitions"], 0);
}

#[test]
fn a_server_of_a_strange_authority_is_told_nothing() {
    let mut site = Site::new();
    let folder = tempfile::tempdir().unwrap();
    site.put(&pool("p", "192.0.2.0/30"));
    let controller = site.controller_by_files(folder.path(), "c-0");
    controller.until_it_says("allocationBegins");
    site.double.stop();
    site.double.renew_authority().unwrap();
    site.double.forget_requests();
    site.double.resume().unwrap();
    site.put(&service("web"));
    site.until("the reason in the log", || {
        let told = controller.lines_of("watch").into_iter();
        let mut reasons = told.filter_map(|line| Some(line["error"].as_str()?.to_owned()));
        reasons.any(|why| why.contains("invalid peer certificate"))
    });
    pause(3000);
    assert_eq!(site.double.requests().len(), 0);
}

/// The client reads a file of a token once a minute, less ten seconds: what comes sooner was read because it was refused.
const READ_ANYWAY: Duration = Duration::from_secs(45);
