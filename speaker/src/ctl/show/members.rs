//! The other speakers, and whether they are heard.

use super::super::snapshot::{MemberSight, MembersSight};
use super::super::table::{pairs, table};
use super::{Known, Shown};
use std::time::Duration;

pub(super) fn show<'a>(known: &Known<'a>) -> Shown<&'a MembersSight> {
    let data = &known.snapshot.members;
    Shown {
        text: text(data),
        data,
    }
}

fn text(data: &MembersSight) -> String {
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut head = vec![("secret", secret(data))];
    if data.is_name_taken {
        let why = "another process uses this node's name: nothing is held until it is gone";
        head.push(("name", why.to_owned()));
    }
    head.push(("settled", word(data.is_settled)));
    head.push(("observers", data.observers.to_string()));
    let rows: Vec<[String; 10]> = data.members.iter().map(row).collect();
    if rows.is_empty() {
        return format!("{}\nno other speaker is known\n", pairs(&head));
    }
    let columns = [
        "NAME",
        "STANDING",
        "ADDRESS",
        "LAST-HEARD",
        "SENT",
        "HEARD",
        "HELD",
        "KEY",
        "VERSION",
        "NOTE",
    ];
    format!("{}\n{}", pairs(&head), table(columns, &rows))
}

fn secret(data: &MembersSight) -> String {
    match (&data.secret, data.is_waiting) {
        (None, _) => "none (--insecure-gossip): whatever comes is believed".to_owned(),
        (Some(place), true) => format!("WaitingForSecret: it is not in {place}"),
        (Some(place), false) => match &data.key {
            Some(key) => format!("{key}, from {place}"),
            None => format!("from {place}"),
        },
    }
}

fn row(member: &MemberSight) -> [String; 10] {
    let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    [
        or_dash(&member.name),
        member.standing.to_owned(),
        or_dash(&member.addresses.join(",")),
        member.heard_ms_ago.map_or_else(|| "-".to_owned(), ago),
        member.sent.to_string(),
        member.heard.to_string(),
        member.held.to_string(),
        or_dash(member.key.as_deref().unwrap_or_default()),
        or_dash(&member.version),
        or_dash(&note(member)),
    ]
}

fn ago(ms: u64) -> String {
    format!("{:?}", Duration::from_millis(ms))
}

fn note(member: &MemberSight) -> String {
    let notes = [
        (member.is_unheard, "sent, never heard: is UDP let through?"),
        (member.has_other_rules, "other settings: elects other nodes"),
        (member.is_draining, "draining"),
        (member.is_stale, "its view is stale"),
        (member.has_other_key, "another newest secret than here"),
    ];
    let notes = notes.iter().filter(|(is_so, _)| *is_so);
    notes.map(|(_, note)| *note).collect::<Vec<_>>().join("; ")
}
