//! The shares that nodes have of a VIP that is spread, as bars: told by the speaker that answers for it.

use crate::lab::Lab;
use crate::tools::within;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// A line for each node that has a share of a VIP which this node holds; none unless it is to be spread.
///
/// # Errors
/// When the speaker does not answer, or does not spread in time what it says it will.
pub(super) fn of(lab: &Lab, node: &str, vip: IpAddr) -> Result<Vec<String>> {
    let speaker = lab.speakers().get(node);
    let speaker = speaker.with_context(|| format!("no speaker runs on {node}"))?;
    // It waits a moment for the other nodes to show themselves.
    within(SPREAD_MAX, || lines(&speaker.ctl_json(&["steer"])?, vip))
}

fn lines(told: &Value, vip: IpAddr) -> Result<Vec<String>> {
    let rows = told["vips"].as_array().context("no list of VIPs")?;
    let is_asked = |row: &&Value| row["vip"] == vip.to_string() && row["because"].is_null();
    let spread = rows
        .iter()
        .find(|row| is_asked(row) && row["is_socketed"] == false);
    let Some(row) = spread else {
        return Ok(Vec::new());
    };
    if row["is_spread"] != true {
        bail!("{vip} is not spread yet: {row}");
    }
    let nodes = row["nodes"].as_array().context("no list of nodes")?;
    let sum: u64 = nodes.iter().map(slots).sum();
    let sharing = nodes.iter().filter(|node| slots(node) > 0);
    Ok(sharing.map(|node| line(node, sum)).collect())
}

fn slots(node: &Value) -> u64 {
    node["slots"].as_u64().unwrap_or_default()
}

fn line(node: &Value, sum: u64) -> String {
    let slots = slots(node);
    let bar = (slots * BAR + sum / 2) / sum;
    let bar = "█".repeat(usize::try_from(bar).unwrap_or_default().max(1));
    let name = node["node"].as_str().unwrap_or_default();
    let far = node["beyond"].as_str();
    let far = far.map_or_else(String::new, |at| format!(", at {at} on another segment"));
    format!(
        "{name:<4} {bar} {:.1} %, {} packets so far{far}",
        slots as f64 * 100.0 / sum as f64,
        node["packets"]
    )
}

/// Blocks that all shares of a VIP have together.
const BAR: u64 = 60;
const SPREAD_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(is_spread: bool) -> Value {
        json!({"vips": [
            {"vip": "192.0.2.100", "is_spread": is_spread, "is_socketed": false, "nodes": [
                {"node": "n1", "slots": 12_286, "packets": 8},
                {"node": "n2", "slots": 4_095, "packets": 3, "beyond": "198.18.0.12"},
                {"node": "n3", "slots": 0, "packets": 1},
            ]},
            {"vip": "192.0.2.101", "is_spread": false, "is_socketed": true, "nodes": []},
            {"vip": "192.0.2.102", "is_spread": false, "is_socketed": false, "because": "why", "nodes": []},
        ]})
    }

    #[test]
    fn bars_are_as_long_as_shares_are_big() {
        let lines = lines(&told(true), "192.0.2.100".parse().unwrap()).unwrap();
        let [n1, n2] = &lines[..] else {
            panic!("one for each that has a share: {lines:?}");
        };
        assert_eq!(
            *n1,
            format!("n1   {} 75.0 %, 8 packets so far", "█".repeat(45))
        );
        let far = "25.0 %, 3 packets so far, at 198.18.0.12 on another segment";
        assert_eq!(*n2, format!("n2   {} {far}", "█".repeat(15)));
    }

    #[test]
    fn only_what_is_to_be_spread_has_bars_and_is_waited_for() {
        for other in ["192.0.2.101", "192.0.2.102", "192.0.2.103"] {
            let lines = lines(&told(true), other.parse().unwrap()).unwrap();
            assert_eq!(lines, Vec::<String>::new(), "{other}");
        }
        assert!(lines(&told(false), "192.0.2.100".parse().unwrap()).is_err());
    }
}
