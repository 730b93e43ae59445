//! What a MetalLB resource says of the installation, in `status.conditions`; types and reasons are those of MetalLB's operator.

use serde_json::{Value, json};

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All pods are there in their newest form.
    RolledOut {
        /// What was asked for and has no effect, in sentences; may be empty.
        notes: String,
        /// What is wrong all the same.
        lacks: Option<Condition>,
    },
    /// Something is on its way.
    Progressing(String),
    /// It cannot be done as it stands. What was deployed before stays in force.
    Degraded(Condition),
}

/// Why something is so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The word for machines: letters, digits, `_`, `,` and `:`.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
}

/// The conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It runs.
    Available,
    /// The operator may be exchanged.
    Upgradeable,
    /// Something is on its way.
    Progressing,
    /// Somebody has to look.
    Degraded,
}

impl Kind {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 4] = [
        Self::Available,
        Self::Upgradeable,
        Self::Progressing,
        Self::Degraded,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Upgradeable => "Upgradeable",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
        }
    }
}

/// The conditions of a state, for an object of that generation that had `before`. `now` is the calendar's time as objects have it; a
/// condition that stays as it is keeps the time of its last change.
pub fn conditions(state: &State, generation: u64, before: &Value, now: &str) -> Value {
    let condition = |kind: Kind| {
        let (is_so, reason, message) = said(kind, state);
        let (name, status) = (kind.as_str(), if is_so { "True" } else { "False" });
        let last = before.as_array().into_iter().flatten();
        let last = last
            .filter(|last| last["type"] == name && last["status"] == status)
            .find_map(|last| last["lastTransitionTime"].as_str());
        json!({
            "type": name, "status": status, "reason": reason,
            "message": message.chars().take(MESSAGE_CHARS_MAX).collect::<String>(),
            "lastTransitionTime": last.unwrap_or(now), "observedGeneration": generation,
        })
    };
    Kind::ALL.map(condition).into_iter().collect()
}

/// Whether a condition holds, its reason, which is its own name where there is none to tell, and the text.
fn said(kind: Kind, state: &State) -> (bool, &str, &str) {
    let plain = |is_so| (is_so, kind.as_str(), "");
    match (kind, state) {
        (Kind::Available, State::RolledOut { notes, .. }) => (true, kind.as_str(), notes),
        (Kind::Upgradeable, State::RolledOut { .. }) => plain(true),
        (Kind::Progressing, State::Progressing(what)) => (true, kind.as_str(), what),
        (
            Kind::Degraded,
            State::Degraded(why)
            | State::RolledOut {
                lacks: Some(why), ..
            },
        ) => (true, why.reason, &why.message),
        (
            Kind::Available | Kind::Upgradeable | Kind::Progressing | Kind::Degraded,
            State::RolledOut { .. } | State::Progressing(_) | State::Degraded(_),
        ) => plain(false),
    }
}

const MESSAGE_CHARS_MAX: usize = 32768; // meta/v1 Condition

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(conditions: &Value) -> String {
        let conditions = conditions.as_array().unwrap().iter();
        let shown = conditions.map(|one| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            [
                text("type"),
                text("status"),
                text("reason"),
                text("message"),
                text("lastTransitionTime"),
            ]
            .join(" ")
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn metallb_1_8_one_condition_holds_beside_upgradeable() {
        let done = State::RolledOut {
            notes: String::new(),
            lacks: None,
        };
        let first = conditions(
            &State::Progressing("waits".to_owned()),
            1,
            &Value::Null,
            "t1",
        );
        let expected = "Available False Available  t1\nUpgradeable False Upgradeable  t1\n\
                        Progressing True Progressing waits t1\nDegraded False Degraded  t1";
        assert_eq!(shown(&first), expected);
        let then = conditions(&done, 1, &first, "t2");
        let expected = "Available True Available  t2\nUpgradeable True Upgradeable  t2\n\
                        Progressing False Progressing  t2\nDegraded False Degraded  t1";
        assert_eq!(shown(&then), expected);
        assert_eq!(conditions(&done, 1, &then, "t3"), then, "nothing changed");
        assert_eq!(
            conditions(&done, 2, &then, "t3")[0]["observedGeneration"],
            2
        );
    }

    #[test]
    fn what_runs_can_lack_something() {
        let why = || Condition {
            reason: "Why",
            message: "because".to_owned(),
        };
        let lacks = State::RolledOut {
            notes: "x has no effect".to_owned(),
            lacks: Some(why()),
        };
        let expected = "Available True Available x has no effect t\nUpgradeable True Upgradeable  t\n\
                        Progressing False Progressing  t\nDegraded True Why because t";
        assert_eq!(shown(&conditions(&lacks, 1, &Value::Null, "t")), expected);
        let degraded = conditions(&State::Degraded(why()), 1, &Value::Null, "t");
        let expected = "Available False Available  t\nUpgradeable False Upgradeable  t\n\
                        Progressing False Progressing  t\nDegraded True Why because t";
        assert_eq!(shown(&degraded), expected);
    }
}
