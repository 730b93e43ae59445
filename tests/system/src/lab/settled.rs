//! When a lab has come to rest: speakers that begin one after the other move VIPs until all have heard of all.
//!
//! Asks the speakers themselves, who alone know whom they elect; what the network sees is up to the tests.

use super::TestLab;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl TestLab {
    /// Waits until every speaker hears all others, and those elected hold what they were elected for.
    #[track_caller]
    pub fn settle(&self) {
        self.eventually("the speakers agree on who answers for what", || {
            let mut views = BTreeMap::new();
            for node in self.speakers().keys() {
                self.hears_all(node)?;
                let plan = self.seen(node, &["plan"])?;
                views.insert(node.as_str(), plan);
            }
            match disagreement(&views) {
                None => Ok(()),
                Some(what) => Err(what),
            }
        });
    }

    fn hears_all(&self, node: &str) -> Result<(), String> {
        let seen = self.seen(node, &["members"])?;
        let others = seen["members"].as_array().into_iter().flatten();
        let alive = others.filter(|member| member["standing"] == "alive");
        match seen["is_settled"] == true && alive.count() + 1 == self.speakers().len() {
            true => Ok(()),
            false => Err(format!("{node}: {seen}")),
        }
    }

    /// The hardware address that the client is given for an address, once somebody answers.
    #[track_caller]
    pub fn mac_of(&self, vip: IpAddr) -> String {
        self.eventually(&format!("somebody answers for {vip}"), || {
            self.resolve(vip).ok_or("nobody")
        })
    }

    /// The node that answers the client for an address, once one does.
    #[track_caller]
    pub fn holder_of(&self, vip: IpAddr) -> String {
        let held = self.until_held(vip, |holder| holder.is_some());
        held.expect("it was waited for")
    }

    /// Waits until the program of a node has answered so many more requests for an address.
    #[track_caller]
    pub fn until_answered(&self, node: &str, vip: IpAddr, times: u64) {
        let answered = || -> Result<u64, String> {
            let seen = self.seen(node, &["vips"])?;
            let slots = seen["vips"].as_array().into_iter().flatten();
            let own = slots.filter(|slot| slot["vip"] == vip.to_string());
            Ok(own.filter_map(|slot| slot["answered"].as_u64()).sum())
        };
        let before = self.eventually("the node tells what it answered", answered);
        self.eventually(&format!("{node} answers for {vip}"), || match answered()? {
            now if now >= before + times => Ok(()),
            now => Err(format!("{now} after {before}")),
        });
    }
}

/// A service that more than one is meant to hold, or that nobody holds who is meant to.
fn disagreement(plans: &BTreeMap<&str, Value>) -> Option<String> {
    let mut meant: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut held: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (node, plan) in plans {
        for row in plan["services"].as_array().into_iter().flatten() {
            let service = row["service"].as_str().unwrap_or_default();
            let because = row["because"].as_str().unwrap_or_default();
            if row["announced"] == true {
                held.entry(service).or_default().insert(node);
                meant.entry(service).or_default().insert(node);
            } else if let Some((owner, _)) = because.split_once(" is elected") {
                meant.entry(service).or_default().insert(owner);
            } else if because.starts_with("elected, but ") {
                meant.entry(service).or_default().insert(node);
            }
        }
    }
    let none = BTreeSet::new();
    let mut all = meant.iter();
    let unlike = all.find(|(service, owners)| {
        owners.len() > 1 || held.get(*service).unwrap_or(&none) != *owners
    });
    unlike.map(|(service, owners)| format!("{service} is for {owners:?}, of {held:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(plans: &[(&'static str, bool, &str)]) -> Option<String> {
        let plan = |announced: bool, because: &str| json!({"services": [{"service": "default/web", "announced": announced, "because": because}]});
        let plans = plans
            .iter()
            .map(|(node, announced, because)| (*node, plan(*announced, because)));
        disagreement(&plans.collect())
    }

    #[test]
    fn all_agree_when_the_one_that_all_elect_holds_it() {
        assert_eq!(
            of(&[("n1", true, "eth0"), ("n2", false, "n1 is elected")]),
            None
        );
        let nobody = "no endpoint can serve";
        assert_eq!(of(&[("n1", false, nobody), ("n2", false, nobody)]), None);
        assert_eq!(of(&[("n1", true, "eth0"), ("n2", false, nobody)]), None);
    }

    #[test]
    fn a_move_that_is_still_to_come_is_seen() {
        let other = "n2 is elected";
        assert!(of(&[("n1", true, "eth0"), ("n2", true, "eth0")]).is_some());
        let waits = "elected, but n1 holds it";
        assert!(of(&[("n1", true, "eth0"), ("n2", false, waits)]).is_some());
        assert!(of(&[("n1", false, other), ("n2", false, waits)]).is_some());
        assert!(of(&[("n1", false, other), ("n2", false, "no endpoint can serve")]).is_some());
    }
}
