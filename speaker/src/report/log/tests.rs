//! Lines of the log, byte by byte, in both looks.

use super::bound::{LINES_MAX, SAME_MAX};
use super::*;
use std::net::IpAddr;
use std::time::Duration;

/// 2026-01-02T03:04:05.678Z.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

/// What is written while `act` runs.
fn written(level: Level, look: Look, act: impl FnOnce()) -> Vec<String> {
    let (lines, queue) = sync_channel(64);
    let layer = Log {
        level: level.filter(),
        look,
        clock: then,
        lines,
        bound: Mutex::default(),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
    let at = "report/log/tests.rs:";
    queue
        .try_iter()
        .flatten()
        .map(|line| without_number(&line, at))
        .collect()
}

/// The line with `at<number>` as `at0`, so that a test may move.
fn without_number(line: &str, at: &str) -> String {
    let Some((before, after)) = line.split_once(at) else {
        return line.to_owned();
    };
    format!(
        "{before}{at}0{}",
        after.trim_start_matches(|c: char| c.is_ascii_digit())
    )
}

fn check(look: Look, act: impl FnOnce(), expected: &str) {
    assert_eq!(written(Level::All, look, act), [format!("{expected}\n")]);
}

#[test]
fn metallb_2_9_json_keys_are_in_alphabetical_order() {
    let ips = ["192.168.10.3", "fd00::1"];
    check(
        Look::Json,
        || {
            tracing::info!(
                ip = ?ips,
                event = "ipAllocated",
                "IP address assigned by controller"
            )
        },
        r#"{"caller":"report/log/tests.rs:0","event":"ipAllocated","ip":["192.168.10.3","fd00::1"],"level":"info","msg":"IP address assigned by controller","ts":"2026-01-02T03:04:05.678Z"}"#,
    );
}

#[test]
fn numbers_and_booleans_stay_what_they_are_and_a_display_is_a_text() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    check(
        Look::Json,
        || tracing::warn!(n = 3, f = 0.5, negative = -1, is_on = true, %ip, "a \"word\""),
        r#"{"caller":"report/log/tests.rs:0","f":0.5,"ip":"192.0.2.1","is_on":true,"level":"warn","msg":"a \"word\"","n":3,"negative":-1,"ts":"2026-01-02T03:04:05.678Z"}"#,
    );
}

#[test]
fn an_error_is_told_with_its_causes() {
    let error = anyhow::anyhow!("no such file").context("failed to read x");
    let error: &(dyn std::error::Error + 'static) = error.as_ref();
    check(
        Look::Json,
        || tracing::error!(op = "startup", error),
        r#"{"caller":"report/log/tests.rs:0","error":"failed to read x: no such file","level":"error","op":"startup","ts":"2026-01-02T03:04:05.678Z"}"#,
    );
}

#[test]
fn text_is_for_people() {
    let vips = ["192.0.2.1", "192.0.2.2"];
    check(
        Look::Text { coloured: false },
        || {
            tracing::info!(
                vips = ?vips,
                reason = "no link",
                empty = "",
                "vip moved"
            )
        },
        "03:04:05.678Z INFO  vip moved  empty=\"\"  reason=\"no link\"  vips=192.0.2.1,192.0.2.2  report/log/tests.rs:0",
    );
    check(
        Look::Text { coloured: true },
        || tracing::warn!(n = 1, "odd"),
        "\x1b[2m03:04:05.678Z\x1b[0m \x1b[33mWARN \x1b[0m odd  \x1b[2mn=\x1b[0m1  \x1b[2mreport/log/tests.rs:0\x1b[0m",
    );
}

#[test]
fn a_terminal_is_not_steered_by_what_an_object_says() {
    let lines = written(Level::All, Look::Text { coloured: false }, || {
        tracing::info!(name = "a\x1b[2Jb", "one\ntwo");
    });
    assert_eq!(lines.len(), 1);
    assert!(
        !lines[0].trim_end().contains(|c: char| c.is_control()),
        "{lines:?}"
    );
}

#[test]
fn what_an_object_says_is_cut_in_the_log() {
    // A text of letters with two bytes, one byte off.
    let long = format!("k{}", "é".repeat(100_000));
    let lines = written(Level::Info, Look::Json, || {
        let list: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        tracing::warn!(key = long.as_str(), many = ?list, "about {long}");
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let key = line["key"].as_str().unwrap();
    assert!(key.ends_with("é… 195906 more bytes"), "{}", &key[4000..]);
    let message = line["msg"].as_str().unwrap();
    assert!(message.starts_with("about k") && message.ends_with(" more bytes"));
    let many = line["many"].as_array().unwrap();
    assert_eq!((many.len(), &many[64]), (65, &"… 936 more".into()));
    assert!(lines[0].len() < 10_000, "{}", lines[0].len());
}

#[test]
fn levels_cut_off_what_is_less_severe() {
    let all = || {
        tracing::error!("e");
        tracing::warn!("w");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    };
    let levels = [
        Level::None,
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::All,
    ];
    for (lines, level) in levels.into_iter().enumerate() {
        assert_eq!(written(level, Look::Json, all).len(), lines, "{level:?}");
    }
}

#[test]
fn auto_is_text_on_a_terminal_and_json_elsewhere() {
    assert_eq!(
        Look::of(Format::Auto, true, false),
        Look::Text { coloured: true }
    );
    assert_eq!(
        Look::of(Format::Auto, true, true),
        Look::Text { coloured: false }
    );
    assert_eq!(Look::of(Format::Auto, false, false), Look::Json);
    assert_eq!(Look::of(Format::Json, true, false), Look::Json);
    assert_eq!(
        Look::of(Format::Text, false, false),
        Look::Text { coloured: false }
    );
}

#[test]
fn a_storm_of_one_line_is_cut_short_and_told_of_a_second_later() {
    let mut bound = Bound::default();
    let admitted = (0..100)
        .filter(|_| bound.admit(then(), "same").is_in)
        .count();
    assert_eq!(admitted as u64, SAME_MAX);
    assert!(bound.admit(then(), "another").is_in);
    let later = bound.admit(then() + Duration::from_secs(1), "same");
    assert!(later.is_in);
    assert_eq!(later.cut, 100 - SAME_MAX);
    assert_eq!(bound.admit(then() + Duration::from_secs(1), "same").cut, 0);
}

#[test]
fn a_second_holds_so_many_lines_and_no_more() {
    let mut bound = Bound::default();
    let admitted = (0..2 * LINES_MAX)
        .filter(|n| bound.admit(then(), &n.to_string()).is_in)
        .count();
    assert_eq!(admitted as u64, LINES_MAX);
}

#[test]
fn a_full_queue_blocks_nobody() {
    let before = lines_lost();
    let (lines, queue) = sync_channel(1);
    let layer = Log {
        level: LevelFilter::INFO,
        look: Look::Json,
        clock: then,
        lines,
        bound: Mutex::default(),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info!("one");
        tracing::info!("two");
    });
    assert_eq!(queue.try_iter().count(), 1);
    assert!(lines_lost() > before);
}
