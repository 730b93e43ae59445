use super::server::may_ask;
use super::table::table;
use super::{Answer, Reply, Request};
use serde_json::json;

#[test]
fn a_table_is_as_wide_as_its_cells() {
    let rows = [
        ["192.0.2.1".to_owned(), "eth0".to_owned()],
        ["::1".to_owned(), "é".to_owned()],
    ];
    assert_eq!(
        table(["VIP", "LINK"], &rows),
        "VIP        LINK\n192.0.2.1  eth0\n::1        é\n"
    );
}

#[test]
fn a_table_without_rows_says_so() {
    assert_eq!(table(["VIP"], &[]), "none\n");
}

#[test]
fn requests_are_one_flat_object() {
    for (request, wire) in [
        (Request::Status, json!({ "verb": "status" })),
        (
            Request::Why {
                service: "a/b".into(),
            },
            json!({ "verb": "why", "service": "a/b" }),
        ),
    ] {
        assert_eq!(serde_json::to_value(&request).unwrap(), wire);
        assert_eq!(serde_json::from_value::<Request>(wire).unwrap(), request);
    }
}

#[test]
fn replies_survive_the_socket() {
    for reply in [
        Reply::Ok(Answer {
            text: "a\n".into(),
            data: json!([1]),
        }),
        Reply::Error("no".into()),
    ] {
        let line = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
    }
}

#[test]
fn only_root_and_the_speaker_itself_may_ask() {
    assert!(may_ask(0, 1000));
    assert!(may_ask(1000, 1000));
    assert!(!may_ask(1001, 1000));
    assert!(!may_ask(1000, 0));
}
