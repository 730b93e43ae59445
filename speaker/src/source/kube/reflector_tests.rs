//! Answers of an API server, one after another, and what the reflector makes of them.

use super::*;
use serde_json::json;
use std::time::Duration;

fn services() -> Reflector {
    let watched = Watched {
        path: "/api/v1/services".to_owned(),
        labels: String::new(),
        fields: "spec.type=LoadBalancer".to_owned(),
    };
    let mut reflector = Reflector::new(watched, Span::ms(7));
    assert_eq!(reflector.step(), Step::Wait(Span::ms(7)));
    reflector
}

fn object(name: &str, version: &str) -> Value {
    json!({"metadata": {"namespace": "a", "name": name, "resourceVersion": version}})
}

fn page(names: &[&str], version: &str, more: &str) -> Result<Value, Failure> {
    let items: Vec<Value> = names.iter().map(|name| object(name, "1")).collect();
    Ok(json!({"metadata": {"resourceVersion": version, "continue": more}, "items": items}))
}

fn event(kind: &str, name: &str, version: &str) -> Vec<u8> {
    json!({"type": kind, "object": object(name, version)})
        .to_string()
        .into_bytes()
}

fn refused(code: u16) -> Failure {
    Failure::told(code, String::new(), "no".to_owned(), None)
}

/// What was told, as short text.
fn short(told: &[Told]) -> Vec<String> {
    told.iter()
        .map(|told| match told {
            Told::Put(object) => format!("put {}", text(object, "name")),
            Told::Gone(namespace, name) => format!("gone {namespace}/{name}"),
            Told::Synced => "synced".to_owned(),
        })
        .collect()
}

/// A reflector that watches from version 10, knowing `x` and `y`.
fn watching() -> Reflector {
    let mut reflector = services();
    assert!(matches!(reflector.step(), Step::List(_)));
    assert_eq!(
        short(&reflector.listed(page(&["x", "y"], "10", ""))),
        ["put x", "put y", "synced"]
    );
    reflector
}

#[track_caller]
fn watches_from(reflector: &mut Reflector, version: &str) {
    match reflector.step() {
        Step::Watch(path, _) => assert!(
            path.ends_with(&format!("resourceVersion={version}")),
            "{path}"
        ),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn waits(reflector: &mut Reflector) -> Span {
    match reflector.step() {
        Step::Wait(span) => span,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_are_told_as_they_come_and_synced_at_the_end() {
    let mut reflector = services();
    let first = "/api/v1/services?fieldSelector=spec.type%3DLoadBalancer&limit=500";
    assert_eq!(reflector.step(), Step::List(first.to_owned()));
    assert_eq!(
        short(&reflector.listed(page(&["x"], "9", "t/="))),
        ["put x"]
    );
    let second = format!("{first}&continue=t%2F%3D");
    assert_eq!(reflector.step(), Step::List(second));
    assert_eq!(
        short(&reflector.listed(page(&["y"], "10", ""))),
        ["put y", "synced"]
    );
    let watch = "/api/v1/services?fieldSelector=spec.type%3DLoadBalancer&watch=true&allowWatchBookmarks=true\
                 &timeoutSeconds=290&resourceVersion=10";
    assert_eq!(
        reflector.step(),
        Step::Watch(watch.to_owned(), Span::s(295))
    );
}

#[test]
fn the_next_page_is_known_from_the_text_of_one_and_is_what_comes_next() {
    let mut reflector = services();
    let first = page(&["x"], "9", "t/=").unwrap();
    let ahead = reflector.next_page(first.to_string().as_bytes());
    reflector.listed(Ok(first));
    assert_eq!(ahead.map(Step::List), Some(reflector.step()));
    let last = page(&["y"], "10", "").unwrap();
    assert_eq!(reflector.next_page(last.to_string().as_bytes()), None);
    assert_eq!(reflector.next_page(b"{\"items\": [], \"metada"), None);
    assert_eq!(reflector.next_page(b"[]"), None);
}

#[test]
fn a_watch_is_resumed_where_it_ended() {
    let mut reflector = watching();
    assert!(
        reflector
            .line(&event("ADDED", "z", "11"))
            .unwrap()
            .is_some()
    );
    assert_eq!(reflector.line(&event("BOOKMARK", "", "15")).unwrap(), None);
    reflector.ended(None);
    watches_from(&mut reflector, "15");
    reflector.ended(Some(&Failure::Broken("cut".to_owned())));
    assert_eq!(waits(&mut reflector), Span::ms(100));
    watches_from(&mut reflector, "15");
}

#[test]
fn a_whole_list_takes_away_what_it_lacks() {
    let mut reflector = watching();
    reflector.line(&event("ADDED", "z", "11")).unwrap();
    reflector.line(&event("DELETED", "x", "12")).unwrap();
    reflector.ended(Some(&refused(410)));
    waits(&mut reflector);
    assert!(matches!(reflector.step(), Step::List(_)));
    let told = reflector.listed(page(&["y", "w"], "20", ""));
    assert_eq!(short(&told), ["put y", "put w", "gone a/z", "synced"]);
}

#[test]
fn a_list_that_fails_in_between_takes_nothing_away() {
    let mut reflector = watching();
    reflector.ended(Some(&refused(410)));
    waits(&mut reflector);
    assert_eq!(
        short(&reflector.listed(page(&["y"], "20", "more"))),
        ["put y"]
    );
    assert_eq!(reflector.listed(Err(refused(500))), []);
    waits(&mut reflector);
    let told = reflector.listed(page(&["x", "y"], "21", ""));
    assert_eq!(short(&told), ["put x", "put y", "synced"]);
}

#[test]
fn a_forgotten_place_is_told_as_an_event_or_as_a_status() {
    let gone =
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}});
    let mut reflector = watching();
    let failure = reflector.line(gone.to_string().as_bytes()).unwrap_err();
    for failure in [failure, refused(410)] {
        let mut reflector = watching();
        reflector.ended(Some(&failure));
        assert_eq!(waits(&mut reflector), Span::ms(100));
        assert!(matches!(reflector.step(), Step::List(_)));
    }
}

#[test]
fn pages_that_were_forgotten_are_asked_for_in_one_piece() {
    let mut reflector = services();
    reflector.listed(page(&["x"], "9", "token"));
    reflector.listed(Err(refused(410)));
    waits(&mut reflector);
    let whole = "/api/v1/services?fieldSelector=spec.type%3DLoadBalancer";
    assert_eq!(reflector.step(), Step::List(whole.to_owned()));
}

#[test]
fn a_field_selector_that_is_refused_is_left_out() {
    let mut reflector = services();
    reflector.listed(Err(refused(400)));
    waits(&mut reflector);
    assert_eq!(
        reflector.step(),
        Step::List("/api/v1/services?limit=500".to_owned())
    );
}

#[test]
fn failures_back_off_and_success_forgets_them() {
    let mut reflector = watching();
    let broken = Failure::Broken("refused".to_owned());
    let mut waited = Vec::new();
    for _ in 0..9 {
        reflector.ended(Some(&broken));
        waited.push(waits(&mut reflector).ns() / 1_000_000);
        watches_from(&mut reflector, "10");
    }
    assert_eq!(
        waited,
        [100, 800, 1600, 3200, 6400, 12800, 25600, 25600, 25600]
    );
    assert_eq!(
        reflector.trouble(),
        Some("the API server cannot be reached: refused")
    );
    reflector.line(&event("ADDED", "z", "11")).unwrap();
    assert_eq!(reflector.trouble(), None);
    reflector.ended(Some(&broken));
    assert_eq!(waits(&mut reflector), Span::ms(100));
}

#[test]
fn the_wait_that_the_server_asks_for_is_kept() {
    let mut reflector = services();
    let busy = Failure::told(429, String::new(), "busy".to_owned(), Some(17));
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(17)));
    reflector.listed(Err(busy));
    assert_eq!(waits(&mut reflector), Span::s(17));
}

#[test]
fn a_place_that_is_refused_again_and_again_is_left() {
    let mut reflector = watching();
    for _ in 1..RESUMES_MAX {
        reflector.ended(Some(&refused(500)));
        waits(&mut reflector);
        watches_from(&mut reflector, "10");
    }
    reflector.ended(Some(&refused(500)));
    waits(&mut reflector);
    assert!(matches!(reflector.step(), Step::List(_)));
}

#[test]
fn a_server_restored_from_a_backup_is_noticed() {
    let mut reflector = watching();
    reflector.ended(None);
    let Step::Check(path) = reflector.step() else {
        panic!("a silent watch is worth a question");
    };
    assert!(path.ends_with("&limit=1"), "{path}");
    reflector.checked(&page(&[], "10", ""));
    watches_from(&mut reflector, "10");
    reflector.ended(None);
    reflector.checked(&page(&[], "9", ""));
    assert!(matches!(reflector.step(), Step::List(_)));
}

#[test]
fn half_a_line_and_a_line_of_nonsense_end_the_watch_only() {
    let mut reflector = watching();
    for line in ["{\"type\":\"ADDED\",\"obj", "7", "{}"] {
        assert!(reflector.line(line.as_bytes()).is_err(), "{line}");
    }
    reflector.ended(Some(&Failure::Garbled("x".to_owned())));
    waits(&mut reflector);
    watches_from(&mut reflector, "10");
}
