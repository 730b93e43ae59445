//! The status of each pool: how many of its addresses are in use. A machine without I/O.
//!
//! Written when it differs from what the object says, whoever changed it, and no more than once a second for a pool. Pools
//! that are at fault keep what they say. Knows neither clock nor connection.

use crate::api::Failure;
use serde_json::{Value, json};
use speaker_core::allocator::Usage;
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;

/// The statuses of all pools.
#[derive(Default)]
pub(super) struct PoolStatuses {
    pools: BTreeMap<String, Status>,
    wanted: BTreeMap<String, Usage>,
}

struct Status {
    /// The object as the API server has it, without `managedFields`.
    object: Value,
    not_before: Time,
    failures: u32,
    is_asked: bool,
    /// Whether the watch has told of it since the request that is under way was begun.
    is_told: bool,
}

impl PoolStatuses {
    /// Takes a pool as it is.
    pub(super) fn put(&mut self, object: &Value) {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        object["apiVersion"] = json!("metallb.io/v1beta1");
        object["kind"] = json!("IPAddressPool");
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let status = self.pools.entry(name.to_owned()).or_insert(Status {
            object: Value::Null,
            not_before: Time::default(),
            failures: 0,
            is_asked: false,
            is_told: false,
        });
        status.object = object;
        status.is_told = true;
    }

    /// A pool is gone.
    pub(super) fn gone(&mut self, name: &str) {
        self.pools.remove(name);
    }

    /// What the pools must say from now on; those that are not named keep what they say.
    pub(super) fn want(&mut self, usage: BTreeMap<String, Usage>) {
        self.wanted = usage;
    }

    /// The next write: the pool's name and the object.
    pub(super) fn next(&mut self, now: Time) -> Option<(String, Value)> {
        for (name, usage) in &self.wanted {
            let Some(status) = self.pools.get_mut(name) else {
                continue;
            };
            if status.is_asked || now < status.not_before || status.says(usage) {
                continue;
            }
            status.is_asked = true;
            status.is_told = false;
            let mut object = status.object.clone();
            object["status"] = json!(usage);
            return Some((name.clone(), object));
        }
        None
    }

    /// When the next write is due.
    pub(super) fn due(&self) -> Option<Time> {
        let open = self.wanted.iter().filter_map(|(name, usage)| {
            let status = self.pools.get(name)?;
            (!status.is_asked && !status.says(usage)).then_some(status.not_before)
        });
        open.min()
    }

    /// Takes the answer to a write. The text is what to log, for the first failure of a row.
    pub(super) fn wrote(
        &mut self,
        now: Time,
        name: &str,
        answer: Result<Value, Failure>,
    ) -> Option<String> {
        let status = self.pools.get_mut(name)?;
        status.is_asked = false;
        status.not_before = now + PERIOD;
        match answer {
            Ok(object) => {
                status.failures = 0;
                // What the watch told since then is this write, or came after it.
                if !status.is_told {
                    self.put(&object);
                }
                None
            }
            // The watch brings what it is now, or that it is gone.
            Err(failure) if failure.is_conflict() || failure.is_not_found() => None,
            Err(failure) => {
                let doubled = PERIOD.ns() << status.failures.min(DOUBLINGS_MAX);
                let asked = failure.retry_after().unwrap_or_default().as_nanos();
                let wait = doubled.max(u64::try_from(asked).unwrap_or(u64::MAX));
                status.not_before = now + Span::from_ns(wait);
                status.failures += 1;
                (status.failures == 1).then(|| failure.to_string())
            }
        }
    }
}

impl Status {
    fn says(&self, usage: &Usage) -> bool {
        self.object["status"] == json!(usage)
    }
}

/// A pool from which services get addresses one after the other is written once a second.
const PERIOD: Span = Span::s(1);
const DOUBLINGS_MAX: u32 = 5; // 32 s

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(version: &str, status: Value) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "metallb-system", "resourceVersion": version, "managedFields": []},
            "spec": {"addresses": ["192.0.2.0/30"], "later": true},
            "status": status,
        })
    }

    fn usage(v4: i64) -> Usage {
        Usage {
            assigned_v4: v4,
            available_v4: 4 - v4,
            ..Usage::default()
        }
    }

    fn wanting(v4: i64) -> BTreeMap<String, Usage> {
        BTreeMap::from([("p".to_owned(), usage(v4))])
    }

    #[test]
    fn a_status_is_written_once_over_the_whole_object() {
        let mut pools = PoolStatuses::default();
        pools.put(&pool("1", Value::Null));
        assert_eq!(pools.next(Time::ms(1)), None, "nothing is decided yet");
        pools.want(wanting(1));
        let (name, object) = pools.next(Time::ms(1)).unwrap();
        assert_eq!(name, "p");
        assert_eq!(object["spec"]["later"], json!(true));
        assert_eq!(object["metadata"]["resourceVersion"], json!("1"));
        assert_eq!(
            object["status"],
            json!({"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 3, "availableIPv6": 0})
        );
        assert_eq!(pools.next(Time::ms(2)), None, "it is under way");
        assert_eq!(pools.wrote(Time::ms(3), "p", Ok(object)), None);
        assert_eq!((pools.next(Time::ms(9000)), pools.due()), (None, None));
    }

    #[test]
    fn a_hand_edit_is_put_right_but_not_more_than_once_a_second() {
        let mut pools = PoolStatuses::default();
        pools.want(wanting(1));
        pools.put(&pool("1", json!(usage(1))));
        assert_eq!(pools.next(Time::ms(1)), None);
        pools.put(&pool("2", json!(usage(3))));
        let (_, object) = pools.next(Time::ms(1)).unwrap();
        pools.wrote(Time::ms(2), "p", Ok(object));
        pools.put(&pool("4", json!(usage(2))));
        assert_eq!(pools.next(Time::ms(1001)), None);
        assert_eq!(pools.due(), Some(Time::ms(1002)));
        assert!(pools.next(Time::ms(1002)).is_some());
    }

    #[test]
    fn a_hand_edit_that_is_seen_before_the_answer_to_our_write_is_put_right() {
        let mut pools = PoolStatuses::default();
        pools.want(wanting(1));
        pools.put(&pool("1", Value::Null));
        let (_, mut ours) = pools.next(Time::ms(1)).unwrap();
        ours["metadata"]["resourceVersion"] = json!("2");
        pools.put(&ours);
        pools.put(&pool("3", json!(usage(3))));
        pools.wrote(Time::ms(2), "p", Ok(ours));
        let (_, again) = pools.next(Time::ms(1002)).unwrap();
        assert_eq!(again["metadata"]["resourceVersion"], json!("3"));
    }

    #[test]
    fn failures_are_told_once_and_tried_ever_more_rarely() {
        let mut pools = PoolStatuses::default();
        pools.want(wanting(1));
        pools.put(&pool("1", Value::Null));
        let mut now = Time::ms(0);
        let mut told = 0;
        for _ in 0..10 {
            now = pools.due().unwrap().max(now);
            assert!(pools.next(now).is_some());
            let broken = Err(Failure::Broken("reset".into()));
            told += pools.wrote(now, "p", broken).iter().count();
        }
        assert_eq!(told, 1);
        assert_eq!(pools.due(), Some(now + Span::s(32)));
    }
}
