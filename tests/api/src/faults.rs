//! Faults on purpose: which requests go wrong, how, and how often.
//!
//! Rules are asked in order, each counts what it did, and chance comes from a seed, so that a failure can be had again. What a
//! fault does to a connection is up to [`super::listen`].

use serde::{Deserialize, Serialize};

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Such as `PUT`; empty for all.
    pub method: String,
    /// A part of the path with its query; empty for all.
    pub path: String,
    /// Whose requests; empty for all.
    pub user: String,
    /// Requests that fit and pass unharmed first.
    pub skip: u32,
    /// Requests that go wrong, then the rule rests. 0 means no end.
    pub times: u32,
    /// Of a hundred fitting requests, how many go wrong; 0 means all.
    pub percent: u32,
    /// What happens.
    pub fault: Fault,
}

/// What can go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The request lies in the socket for so long before it is carried out.
    Before {
        /// Milliseconds.
        millis: u64,
    },
    /// It is carried out, and the answer comes so much later.
    After {
        /// Milliseconds.
        millis: u64,
    },
    /// It is carried out, half of the answer comes, and the rest so much later.
    Within {
        /// Milliseconds.
        millis: u64,
    },
    /// It is not carried out.
    Refuse {
        /// HTTP status, such as 429 or 500.
        code: u16,
        /// Seconds to wait, 0 for none.
        retry_after: u32,
    },
    /// The connection is closed before it is carried out.
    Drop,
    /// It is carried out and the connection closed before the answer.
    Swallow,
    /// The answer breaks off in the middle; a watch after so many events, within a line.
    Cut {
        /// Events that come through.
        after: u32,
    },
    /// A watch ends with an ERROR of 410 after so many events.
    Expire {
        /// Events that come through.
        after: u32,
    },
    /// A watch says nothing more after so many events, and does not close.
    Stall {
        /// Events that come through.
        after: u32,
    },
    /// Each event of a watch comes twice.
    Repeat,
    /// A list shows the state of so many revisions ago.
    Stale {
        /// Revisions.
        revisions: u64,
    },
}

/// Rules at work.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<(Rule, u32)>,
    chance: u64,
}

impl Faults {
    /// Takes the place of all rules before; chance begins anew from `seed`.
    pub(crate) fn set(&mut self, rules: Vec<Rule>, seed: u64) {
        self.rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        self.chance = seed | 1;
    }

    /// What befalls a request.
    pub(crate) fn befall(&mut self, method: &str, path: &str, user: &str) -> Fault {
        for at in 0..self.rules.len() {
            let roll = self.roll();
            let (rule, count) = &mut self.rules[at];
            let fits = (rule.method.is_empty() || rule.method == method)
                && path.contains(&rule.path)
                && (rule.user.is_empty() || rule.user == user);
            if !fits || (rule.percent > 0 && roll % 100 >= u64::from(rule.percent)) {
                continue;
            }
            *count += 1;
            let is_on = *count > rule.skip && (rule.times == 0 || *count <= rule.skip + rule.times);
            if is_on {
                return rule.fault.clone();
            }
        }
        Fault::None
    }

    /// Xorshift: chance that can be had again.
    fn roll(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance >> 16
    }
}
