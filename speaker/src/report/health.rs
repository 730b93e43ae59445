//! Whether the speaker lives, and whether it serves: `/healthz` and `/readyz`.
//!
//! Living is what a restart could mend; serving is what traffic may rely on. A node without any VIP serves.

use serde::Serialize;

/// What health is judged by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    /// Milliseconds since the deciding thread finished a turn; `None`: it has not yet.
    pub(crate) decided_ms_ago: Option<u64>,
    /// Kinds of which not every object has been seen.
    pub(crate) kinds_missing: Vec<String>,
    /// Whether a deadline is in force.
    pub(crate) is_armed: bool,
    /// Where the members' secret is looked for, while it is missing.
    pub(crate) secret_missing: Option<String>,
    /// Links that may announce, and whether the program is on each.
    pub(crate) links: Vec<(String, bool)>,
}

/// The answer to one question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Health {
    /// Whether every check passed.
    pub(super) ok: bool,
    /// What was looked at.
    pub(super) checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Check {
    /// What was looked at.
    pub(crate) name: &'static str,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// What is so, or what is missing.
    pub(crate) why: String,
}

/// Whether a restart could mend something.
pub(super) fn live(facts: &Facts) -> Health {
    Health::of(vec![decides(facts)])
}

/// Whether it can be relied upon.
pub(super) fn ready(facts: &Facts) -> Health {
    Health::of(vec![
        decides(facts),
        has_secret(facts),
        has_read(facts),
        is_armed(facts),
        is_attached(facts),
    ])
}

impl Health {
    /// Good if every check is.
    pub(super) fn of(checks: Vec<Check>) -> Self {
        Self {
            ok: checks.iter().all(|check| check.ok),
            checks,
        }
    }
}

fn decides(facts: &Facts) -> Check {
    let (ok, why) = match facts.decided_ms_ago {
        Some(ms) => (
            ms <= DECIDED_MS_MAX,
            format!("the deciding thread finished a turn {ms} ms ago"),
        ),
        // Starting takes a while; whoever asks waits, or gives up.
        None => (true, "the deciding thread is starting".to_owned()),
    };
    Check {
        name: "decides",
        ok,
        why,
    }
}

fn has_secret(facts: &Facts) -> Check {
    let why = match &facts.secret_missing {
        Some(place) => format!("WaitingForSecret: the members' secret is not in {place}"),
        None => "the members' secret is there, or not asked for".to_owned(),
    };
    Check {
        name: "secret",
        ok: facts.secret_missing.is_none(),
        why,
    }
}

fn has_read(facts: &Facts) -> Check {
    let missing = &facts.kinds_missing;
    let why = if missing.is_empty() {
        "every kind of object has been read".to_owned()
    } else {
        format!("not read yet: {}", missing.join(", "))
    };
    Check {
        name: "config",
        ok: missing.is_empty(),
        why,
    }
}

fn is_armed(facts: &Facts) -> Check {
    let why = if facts.is_armed {
        "a deadline is in force"
    } else {
        "no deadline is in force: nothing is answered"
    };
    Check {
        name: "deadline",
        ok: facts.is_armed,
        why: why.to_owned(),
    }
}

fn is_attached(facts: &Facts) -> Check {
    let without: Vec<&str> = facts
        .links
        .iter()
        .filter(|(_, is_attached)| !is_attached)
        .map(|(link, _)| link.as_str())
        .collect();
    let (ok, why) = match (facts.links.is_empty(), without.is_empty()) {
        (true, _) => (false, "this node has no link that may announce".to_owned()),
        (false, true) => (
            true,
            format!("the program is on {} links", facts.links.len()),
        ),
        (false, false) => (
            false,
            format!("the program is not on {}", without.join(", ")),
        ),
    };
    Check {
        name: "program",
        ok,
        why,
    }
}

const DECIDED_MS_MAX: u64 = 5000; // the deadline has long made it silent; a restart is due

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Facts {
        Facts {
            decided_ms_ago: Some(20),
            kinds_missing: Vec::new(),
            is_armed: true,
            secret_missing: None,
            links: vec![("eth0".to_owned(), true)],
        }
    }

    /// The checks that fail when one fact is another.
    fn failing(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
        let mut facts = sound();
        change(&mut facts);
        let health = ready(&facts);
        assert_eq!(health.ok, health.checks.iter().all(|check| check.ok));
        health
            .checks
            .iter()
            .filter(|check| !check.ok)
            .map(|check| check.name)
            .collect()
    }

    #[test]
    fn a_sound_speaker_is_ready() {
        assert!(live(&sound()).ok);
        assert_eq!(failing(|_| ()), [] as [&str; 0]);
    }

    #[test]
    fn each_lack_has_its_name() {
        assert_eq!(
            failing(|facts| facts.decided_ms_ago = Some(6000)),
            ["decides"]
        );
        assert_eq!(
            failing(|facts| facts.kinds_missing = vec!["Node".into()]),
            ["config"]
        );
        assert_eq!(
            failing(|facts| facts.secret_missing = Some("/s".into())),
            ["secret"]
        );
        assert_eq!(failing(|facts| facts.is_armed = false), ["deadline"]);
        assert_eq!(failing(|facts| facts.links.clear()), ["program"]);
        assert_eq!(failing(|facts| facts.links[0].1 = false), ["program"]);
    }

    #[test]
    fn a_speaker_that_only_starts_lives_and_is_not_ready() {
        let starting = Facts::default();
        assert!(live(&starting).ok);
        assert!(!ready(&starting).ok);
    }
}
