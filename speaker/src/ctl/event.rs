//! A change, as `speaker ctl watch` tells it.

use serde::Serialize;
use speaker_core::agent;
use speaker_core::plan::{BgpOutcome, Outcome, Reason};
use std::fmt;

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Event {
    /// What kind of change.
    pub(crate) event: Kind,
    /// What it is about: a service, an object, a VIP, a link.
    pub(crate) subject: String,
    /// What happened, for people.
    pub(crate) because: String,
    /// What MetalLB calls the reason, where it has a word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
}

/// The kinds of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A service is announced from here, or in another way than before.
    Announced,
    /// A service that was announced from here is not any more.
    Withdrawn,
    /// A service that was not announced from here is not for another reason, or there is a new one.
    Silent,
    /// A service is gone.
    Gone,
    /// An object became faulty.
    Problem,
    /// An object is sound again.
    Resolved,
    /// Everything was released because the deadline passed.
    Lapsed,
    /// A plan could not be written.
    NotApplied,
    /// A pool, advertisement or community was read anew, or is gone.
    Config,
    /// A link changed.
    Link,
    /// Someone else claims a VIP.
    Claim,
    /// A group of VIPs was taken, given, contested.
    Hold,
    /// A member came, went, or is not what it says.
    Member,
    /// This node is drained, or not any more.
    Drain,
    /// A BGP session came up, went down, or is not up for another reason.
    Session,
}

impl Event {
    /// A change that is told in plain words.
    pub(crate) fn new(event: Kind, subject: impl Into<String>, because: impl Into<String>) -> Self {
        Self {
            event,
            subject: subject.into(),
            because: because.into(),
            reason: None,
        }
    }
}

impl From<&agent::Event> for Event {
    fn from(event: &agent::Event) -> Self {
        match event {
            agent::Event::Outcome {
                service,
                before,
                after,
                ..
            } => outcome(&service.to_string(), before.as_ref(), after.as_ref()),
            agent::Event::BgpOutcome {
                service,
                before,
                after,
                ..
            } => bgp_outcome(&service.to_string(), before.as_ref(), after.as_ref()),
            agent::Event::Problem(problem) => Self::new(
                Kind::Problem,
                problem.object.to_string(),
                problem.to_string(),
            ),
            agent::Event::Resolved(key) => {
                Self::new(Kind::Resolved, key.to_string(), "sound again")
            }
            agent::Event::Lapsed {
                groups,
                deadline,
                seen,
            } => {
                let late = std::time::Duration::from(seen.since(*deadline));
                let why =
                    format!("the deadline passed {late:?} ago: {groups} groups are taken anew");
                Self::new(Kind::Lapsed, "node", why)
            }
            agent::Event::Hold { event, with, why } => {
                let story = agent::story(event, with.as_ref(), *why);
                Self::new(Kind::Hold, story.group.to_string(), story.because)
            }
            agent::Event::Seen { group, with, seen } => {
                let story = agent::seen_story(*group, with.as_ref(), *seen);
                Self::new(Kind::Hold, story.group.to_string(), story.because)
            }
            agent::Event::NameTaken(is_taken) => {
                Self::new(Kind::Member, "node", name_taken(*is_taken))
            }
            agent::Event::Drain(is_draining) => {
                Self::new(Kind::Drain, "node", draining(*is_draining))
            }
            agent::Event::NotApplied(why) => Self::new(Kind::NotApplied, "node", why.clone()),
        }
    }
}

/// What it means that another process uses this node's name, or does not any more.
pub(crate) const fn name_taken(is_taken: bool) -> &'static str {
    if is_taken {
        "another speaker runs under this node's name: neither holds anything until one is gone"
    } else {
        "no other speaker runs under this node's name any more"
    }
}

/// What a drain means, or its end.
pub(crate) const fn draining(is_draining: bool) -> &'static str {
    if is_draining {
        "this node is drained: it gives away what it holds and takes nothing"
    } else {
        "this node is not drained any more"
    }
}

fn outcome(service: &str, before: Option<&Outcome>, after: Option<&Outcome>) -> Event {
    let was_announced = matches!(before, Some(Outcome::Announced(_)));
    let Some(after) = after else {
        return Event::new(Kind::Gone, service, "the service is gone");
    };
    let because = after.to_string();
    let (event, reason) = match after {
        Outcome::Announced(_) => (Kind::Announced, None),
        Outcome::Silent(reason) if was_announced => (Kind::Withdrawn, Some(reason)),
        Outcome::Silent(reason) => (Kind::Silent, Some(reason)),
    };
    let reason = reason.map(Reason::metallb_name);
    Event {
        event,
        subject: service.to_owned(),
        because,
        reason,
    }
}

fn bgp_outcome(service: &str, before: Option<&BgpOutcome>, after: Option<&BgpOutcome>) -> Event {
    let was_announced = matches!(before, Some(BgpOutcome::Announced(_)));
    let Some(after) = after else {
        return Event::new(Kind::Gone, service, "by BGP: the service is gone");
    };
    let (event, reason) = match after {
        BgpOutcome::Announced(_) => (Kind::Announced, None),
        BgpOutcome::Silent(reason) if was_announced => (Kind::Withdrawn, Some(reason)),
        BgpOutcome::Silent(reason) => (Kind::Silent, Some(reason)),
    };
    Event {
        reason: reason.map(Reason::metallb_name),
        ..Event::new(event, service, format!("by BGP: {after}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<11} {:<28} {}",
            self.event.as_str(),
            self.subject,
            self.because
        )
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Withdrawn => "withdrawn",
            Self::Silent => "silent",
            Self::Gone => "gone",
            Self::Problem => "problem",
            Self::Resolved => "resolved",
            Self::Lapsed => "lapsed",
            Self::NotApplied => "not-applied",
            Self::Config => "config",
            Self::Link => "link",
            Self::Claim => "claim",
            Self::Hold => "hold",
            Self::Member => "member",
            Self::Drain => "drain",
            Self::Session => "session",
        }
    }
}
