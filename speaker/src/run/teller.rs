//! What this node does about a service: counted, and told as events on the service, in the words of MetalLB's speaker.
//! What happens to its group is counted by the name that it has in the log.
//!
//! MetalLB repeats `nodeAssigned` at every look; here it is told when a node begins to announce, and no more.

use crate::report::events::{EventSender, Subject};
use speaker_core::LinkName;
use speaker_core::agent::{Event, STORIES, seen_story, story};
use speaker_core::events;
use speaker_core::plan::{BgpOutcome, Outcome, Reason};
use speaker_core::service::ServiceId;
use speaker_proto::hold::{self, Ground};
use speaker_proto::{GroupKey, NodeName, Span};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Services that this node began and ceased to announce in layer 2, and what happened to groups.
#[derive(Debug, Default)]
pub(super) struct Elections {
    /// Begun.
    pub(super) won: AtomicU64,
    /// Ceased.
    pub(super) lost: AtomicU64,
    /// By the event's name in the log.
    groups: Mutex<BTreeMap<&'static str, u64>>,
    /// Takings by their ground: how many, and how long all of them took.
    takings: Mutex<BTreeMap<&'static str, (u64, Span)>>,
}

impl Elections {
    /// What happened to groups, by the event's name in the log; what never happened is there too, with 0.
    pub(super) fn groups(&self) -> BTreeMap<&'static str, u64> {
        let mut groups: BTreeMap<_, _> = STORIES.map(|name| (name, 0)).into();
        groups.extend(&*self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        groups
    }

    /// Takings by their ground, with the seconds that all of them took; what never happened is there too, with 0.
    pub(super) fn takings(&self) -> BTreeMap<&'static str, (u64, f64)> {
        let known = self.takings.lock().unwrap_or_else(PoisonError::into_inner);
        let takings = Ground::ALL.map(|ground| {
            let (count, took) = known.get(ground.as_str()).copied().unwrap_or_default();
            (ground.as_str(), (count, took.ns() as f64 / 1e9))
        });
        takings.into()
    }

    fn count(&self, event: &Event) {
        let story = match event {
            Event::Hold { event, with, why } => {
                self.count_taking(event);
                story(event, with.as_ref(), *why)
            }
            Event::Seen { group, with, seen } => seen_story(*group, with.as_ref(), *seen),
            Event::Outcome { .. }
            | Event::BgpOutcome { .. }
            | Event::Problem(_)
            | Event::Resolved(_)
            | Event::Lapsed { .. }
            | Event::NotApplied(_)
            | Event::NameTaken(_)
            | Event::Drain(_) => return,
        };
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        *groups.entry(story.event).or_default() += 1;
    }

    fn count_taking(&self, event: &hold::Event) {
        if let hold::Event::Taken { ground, took, .. } = event {
            let mut takings = self.takings.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, all) = takings.entry(ground.as_str()).or_default();
            *count += 1;
            *all = Span::from_ns(all.ns().saturating_add(took.ns()));
        }
    }
}

/// Tells events of one node.
pub(super) struct Teller {
    /// The node.
    pub(super) node: NodeName,
    /// Where events on objects go; `None`: there is no API server.
    pub(super) events: Option<EventSender>,
    /// The counts.
    pub(super) elections: Arc<Elections>,
    /// How the groups were taken of which no service was told yet.
    pub(super) moved: Moved,
}

/// What is to be told of groups that another node held, by group; at most [`MOVED_MAX`]: of a node with more that begins at once the rest go
/// without.
pub(super) type Moved = Mutex<BTreeMap<GroupKey, String>>;

/// What is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said {
    reason: &'static events::Reason,
    message: String,
}

impl Teller {
    /// Tells of a change, if a service's owner wants to hear of it.
    pub(super) fn tell(&self, event: &Event) {
        self.elections.count(event);
        self.note(event);
        match event {
            Event::Outcome {
                service,
                uid,
                before,
                after,
                pool: _,
            } => {
                self.count(before.as_ref(), after.as_ref());
                let mut said = said(&self.node, before.as_ref(), after.as_ref());
                said.extend(self.moved(before.as_ref(), after.as_ref()));
                self.say(service, uid, said);
            }
            Event::BgpOutcome {
                service,
                uid,
                before,
                after,
                pool: _,
            } => {
                let is_begun = !is_routed(before.as_ref()) && is_routed(after.as_ref());
                let said = is_begun.then(|| assigned(&self.node, "bgp"));
                self.say(service, uid, said);
            }
            Event::Problem(_)
            | Event::Resolved(_)
            | Event::Lapsed { .. }
            | Event::NotApplied(_)
            | Event::Hold { .. }
            | Event::Seen { .. }
            | Event::NameTaken(_)
            | Event::Drain(_) => {}
        }
    }

    /// A group came from another node, or goes.
    fn note(&self, event: &Event) {
        let Event::Hold { event, with, why } = event else {
            return;
        };
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            hold::Event::Taken {
                group,
                from: Some(_),
                ..
            } if moved.len() < MOVED_MAX => {
                let told = story(event, with.as_ref(), *why).because;
                moved.insert(*group, told);
            }
            hold::Event::Taken { group, .. } | hold::Event::Given { group, .. } => {
                moved.remove(group);
            }
            hold::Event::Disagree { .. }
            | hold::Event::Stranger { .. }
            | hold::Event::Contest { .. }
            | hold::Event::Spoofed { .. }
            | hold::Event::MovesSpent { .. } => {}
        }
    }

    /// How a service came to be announced from here, if its group came from another node.
    fn moved(&self, before: Option<&Outcome>, after: Option<&Outcome>) -> Option<Said> {
        let Some(Outcome::Announced(announced)) = after.filter(|_| !announces(before)) else {
            return None;
        };
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Said {
            reason: &events::VIP_TAKEN,
            message: moved.get(&announced.group)?.clone(),
        })
    }

    fn count(&self, before: Option<&Outcome>, after: Option<&Outcome>) {
        match (announces(before), announces(after)) {
            (false, true) => self.elections.won.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.elections.lost.fetch_add(1, Ordering::Relaxed),
            (false, false) | (true, true) => 0,
        };
    }

    fn say(&self, service: &ServiceId, uid: &str, said: impl IntoIterator<Item = Said>) {
        let Some(events) = &self.events else {
            return;
        };
        let ServiceId { namespace, name } = service;
        for said in said {
            let subject = Subject::service(namespace, name, uid);
            events.tell(subject, said.reason, said.message);
        }
    }
}

fn said(node: &NodeName, before: Option<&Outcome>, after: Option<&Outcome>) -> Vec<Said> {
    let Some(after) = after else {
        return Vec::new();
    };
    let mut told = Vec::new();
    if announces(Some(after)) && !announces(before) {
        told.push(assigned(node, "layer2"));
    }
    let lacking = missing(after);
    if !lacking.is_empty() && before.map(missing) != Some(lacking) {
        let names: Vec<String> = lacking.iter().map(|link| format!("\"{link}\"")).collect();
        told.push(Said {
            reason: &events::ANNOUNCE_FAILED,
            message: format!(
                "interfaces {} of its advertisements do not exist on assigned node \"{node}\" with protocol \"layer2\"",
                names.join(", ")
            ),
        });
    }
    told
}

fn assigned(node: &NodeName, protocol: &str) -> Said {
    Said {
        reason: &events::NODE_ASSIGNED,
        message: format!("announcing from node \"{node}\" with protocol \"{protocol}\""),
    }
}

const fn is_routed(outcome: Option<&BgpOutcome>) -> bool {
    matches!(outcome, Some(BgpOutcome::Announced(_)))
}

const fn announces(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Announced(_)))
}

/// Links that the advertisements list and the node that is to announce lacks.
fn missing(outcome: &Outcome) -> &[LinkName] {
    match outcome {
        Outcome::Announced(announced) => &announced.missing,
        Outcome::Silent(Reason::NoUsableLink { missing, .. }) => missing,
        Outcome::Silent(_) => &[],
    }
}

/// Texts of some 100 bytes.
const MOVED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::events::Severity;
    use speaker_core::plan::Announced;
    use speaker_proto::{Epoch, NodeId};
    use std::net::{IpAddr, Ipv4Addr};

    fn announced(epoch: u64, missing: &[&str]) -> Outcome {
        Outcome::Announced(Announced {
            group: GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            epoch: Epoch(epoch),
            vips: Vec::new(),
            missing: missing.iter().map(|&link| link.into()).collect(),
            listed: Vec::new(),
        })
    }

    fn unusable(missing: &[&str]) -> Outcome {
        Outcome::Silent(Reason::NoUsableLink {
            missing: missing.iter().map(|&link| link.into()).collect(),
            unusable: Vec::new(),
        })
    }

    fn check(before: Option<Outcome>, after: Option<Outcome>, expected: &[&str]) {
        let node = "n1".parse().unwrap();
        let said = said(&node, before.as_ref(), after.as_ref());
        let reasons: Vec<_> = said.iter().map(|said| said.reason.name).collect();
        assert_eq!(reasons, expected, "{said:?}");
    }

    #[test]
    fn metallb_2_8_a_node_that_begins_to_announce_is_told_once() {
        let silent = Outcome::Silent(Reason::NoEndpoints);
        check(None, Some(announced(1, &[])), &["nodeAssigned"]);
        check(
            Some(silent.clone()),
            Some(announced(1, &[])),
            &["nodeAssigned"],
        );
        check(Some(announced(1, &[])), Some(announced(2, &[])), &[]);
        check(Some(announced(1, &[])), Some(silent), &[]);
        check(Some(announced(1, &[])), None, &[]);
        let said = said(&"n1".parse().unwrap(), None, Some(&announced(1, &[])));
        let words = "announcing from node \"n1\" with protocol \"layer2\"";
        assert_eq!(
            (said[0].message.as_str(), said[0].reason.severity),
            (words, Severity::Normal)
        );
    }

    #[test]
    fn what_happens_to_a_group_is_counted_by_its_name_in_the_log() {
        let teller = Teller {
            node: "n1".parse().unwrap(),
            events: None,
            elections: Arc::default(),
            moved: Moved::default(),
        };
        let group = GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        for with in [None, "n2".parse().ok()] {
            let event = hold::Event::MovesSpent { group };
            let why = None;
            teller.tell(&Event::Hold { event, with, why });
        }
        let groups = teller.elections.groups();
        assert_eq!((groups["vipMovesSpent"], groups["vipContest"]), (2, 0));
        assert_eq!(groups.len(), STORIES.len());
    }

    #[test]
    fn a_service_is_told_how_its_group_came_and_takings_are_counted_with_their_time() {
        let teller = Teller {
            node: "n1".parse().unwrap(),
            events: None,
            elections: Arc::default(),
            moved: Moved::default(),
        };
        let group = GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let taken = |ground, from| Event::Hold {
            event: hold::Event::Taken {
                group,
                epoch: Epoch(3),
                ground,
                from,
                took: Span::ms(250),
            },
            with: from.map(|_| "n2".parse().unwrap()),
            why: None,
        };
        let begun = announced(3, &[]);
        let told = || teller.moved(None, Some(&begun)).map(|said| said.message);
        teller.tell(&taken(Ground::Unheld, None));
        assert_eq!(told(), None, "it came from nowhere");
        teller.tell(&taken(Ground::Dead, Some(NodeId(2))));
        teller.tell(&taken(Ground::Dead, Some(NodeId(2))));
        let expected = "taken in epoch 3: its holder is dead and silent (n2, 250ms)";
        assert_eq!(told().as_deref(), Some(expected));
        assert_eq!(teller.moved(Some(&begun), Some(&begun)), None, "once");
        let takings = teller.elections.takings();
        assert_eq!((takings["dead"], takings["unheld"]), ((2, 0.5), (1, 0.25)));
        assert_eq!(takings["yielded"], (0, 0.0));
    }

    #[test]
    fn metallb_2_8_bgp_is_told_by_its_own_name() {
        let said = assigned(&"n1".parse().unwrap(), "bgp");
        assert_eq!(
            said.message,
            "announcing from node \"n1\" with protocol \"bgp\""
        );
    }

    #[test]
    fn metallb_2_8_links_that_do_not_exist_are_a_warning() {
        let both = ["nodeAssigned", "announceFailed"];
        check(None, Some(announced(1, &["eth7"])), &both);
        check(
            Some(announced(1, &["eth7"])),
            Some(announced(2, &["eth7"])),
            &[],
        );
        check(
            Some(announced(1, &["eth7"])),
            Some(announced(1, &["eth8"])),
            &["announceFailed"],
        );
        check(None, Some(unusable(&["eth7"])), &["announceFailed"]);
        check(None, Some(unusable(&[])), &[]);
        let said = said(&"n1".parse().unwrap(), None, Some(&unusable(&["a", "b"])));
        assert!(
            said[0].message.starts_with("interfaces \"a\", \"b\" "),
            "{said:?}"
        );
        assert_eq!(said[0].reason.severity, Severity::Warning);
    }
}
