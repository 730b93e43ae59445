//! What a query of Prometheus names: metrics, labels and their values.
//!
//! Words only. Whether the query is one, promtool says (`cargo xtask check alerts`).

use std::collections::BTreeSet;

/// The names in one query.
#[derive(Default, Debug)]
pub(super) struct Query {
    /// Metrics, and what their selectors say.
    pub(super) metrics: Vec<(String, Vec<Matcher>)>,
    /// Labels that aggregations keep.
    pub(super) by: BTreeSet<String>,
    /// Labels that aggregations drop.
    pub(super) without: BTreeSet<String>,
    /// Labels by which series are matched with each other.
    pub(super) matched: BTreeSet<String>,
}

/// One condition of a selector.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Matcher {
    pub(super) label: String,
    /// The alternatives, where it is a pattern.
    pub(super) values: Vec<String>,
}

pub(super) fn parse(text: &str) -> Query {
    let mut query = Query::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '[' => rest = &rest[rest.find(']').unwrap()..],
            c if c.is_ascii_digit() => {
                rest = rest.trim_start_matches(|c: char| c.is_alphanumeric())
            }
            c if c.is_ascii_alphabetic() => rest = word(&mut query, rest),
            c => rest = &rest[c.len_utf8()..],
        }
    }
    query
}

/// Takes the word at the beginning and what belongs to it; returns what follows.
fn word<'a>(query: &mut Query, text: &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = rest.trim_start();
    let list = match word {
        "by" => &mut query.by,
        "without" => &mut query.without,
        "on" | "ignoring" => &mut query.matched,
        "and" | "or" | "unless" => return rest,
        _ if ["(", "by ", "without "]
            .iter()
            .any(|next| rest.starts_with(next)) =>
        {
            return rest;
        }
        _ => return metric(query, word, rest),
    };
    let (labels, rest) = rest.trim_start_matches('(').split_once(')').unwrap();
    list.extend(labels.split(',').map(|label| label.trim().to_owned()));
    rest
}

fn metric<'a>(query: &mut Query, name: &str, rest: &'a str) -> &'a str {
    let (matchers, rest) = match rest.strip_prefix('{') {
        Some(selector) => selector.split_once('}').unwrap(),
        None => ("", rest),
    };
    let matchers = matchers.split("\",").filter(|matcher| !matcher.is_empty());
    let matchers = matchers.map(|matcher| {
        let (label, value) = matcher.trim().split_once(['=', '!']).unwrap();
        let value = value
            .trim_start_matches(['=', '~', '"'])
            .trim_end_matches('"');
        Matcher {
            label: label.to_owned(),
            values: value.split('|').map(str::to_owned).collect(),
        }
    });
    query.metrics.push((name.to_owned(), matchers.collect()));
    rest
}

#[test]
fn a_query_is_taken_apart_into_its_names() {
    let query = parse(
        r#"sum by (ip, job) (rate(a_total{ip=~"$ip", outcome=~"x|y"}[5m])) > 1e3 and on (job) max without (kind) (b) or c - time() < 14 * 24"#,
    );
    let matcher = |label: &str, values: &[&str]| Matcher {
        label: label.to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    let selected = vec![matcher("ip", &["$ip"]), matcher("outcome", &["x", "y"])];
    let metrics = [("a_total", selected), ("b", vec![]), ("c", vec![])];
    assert_eq!(
        query.metrics,
        metrics.map(|(name, matchers)| (name.to_owned(), matchers))
    );
    let labels = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect();
    assert_eq!(query.by, labels(&["ip", "job"]));
    assert_eq!(query.without, labels(&["kind"]));
    assert_eq!(query.matched, labels(&["job"]));
}
