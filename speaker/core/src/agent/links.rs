//! The links of this node, and what it means to have had none for a while.
//!
//! A node whose links are all gone answers nobody and may be heard by nobody; after the promise of its last heartbeat others may take what it holds
//! (L3.1 b). It cannot tell. So when a link is back after so long, all is released and taken anew by L3.1, and for a while not without probes, as
//! after a deadline that lapsed (L5.1). How links are found is not known here.

use super::{Agent, Power};
use crate::link::{Link, LinkName};
use speaker_proto::{Time, hold, pulse};
use std::collections::{BTreeMap, BTreeSet};

impl Agent {
    /// The links are these now.
    pub(super) fn links(
        &mut self,
        now: Time,
        announcing: BTreeMap<LinkName, Link>,
        others: BTreeSet<LinkName>,
    ) {
        let is_first = !std::mem::replace(&mut self.has_heard_of_links, true);
        if !is_first && self.local.links == announcing && self.local.other_links == others {
            return;
        }
        self.local.links = announcing;
        self.local.other_links = others;
        let has_link = self.local.links.values().any(Link::is_usable);
        let cut_off = self.cut_off.take();
        if !has_link {
            self.cut_off = Some(cut_off.unwrap_or(now));
        } else if cut_off.is_some_and(|since| now.since(since) >= pulse::PROMISE)
            && self.power == Power::Armed
        {
            self.hold(now, hold::Input::Lapsed);
            self.hold(now, hold::Input::Armed);
        }
        self.meet(now);
        self.changed(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::membership::tests::{meet, member};
    use super::super::tests::*;
    use super::super::{Agent, Input};
    use crate::manifest;
    use crate::plan::Hold;
    use speaker_proto::{Epoch, Machine, NodeName, Time};

    const OTHER: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";

    /// The taking in which a VIP is held, before its node has no carrier for so long, and after. Another node could have it.
    fn without_carrier_for(ms: u64) -> (Option<Epoch>, Option<Epoch>) {
        let now = Time::ms(1_000);
        let mut agent = holding(now);
        let other: NodeName = "n2".parse().expect("a name");
        for object in manifest::read("n2.yaml", OTHER, "metallb-system").objects {
            agent.input(now, Input::Object(object));
        }
        meet(&mut agent, now, member(&other));
        settle(&mut agent, now);
        let before = held(&agent);
        let lost = Time::ms(5_000);
        agent.input(lost, links_with(false));
        drain(&mut agent, lost);
        let back = Time::ms(5_000 + ms);
        agent.input(back, links_with(true));
        drain(&mut agent, back);
        (before, held(&agent))
    }

    fn held(agent: &Agent) -> Option<Epoch> {
        let mut held = agent.held().values();
        let holding = held.find(|holding| holding.hold == Hold::Holding)?;
        Some(holding.epoch)
    }

    #[test]
    fn a_link_that_is_back_before_anybody_can_have_taken_goes_on() {
        let (before, after) = without_carrier_for(499);
        assert!(before.is_some());
        assert_eq!(after, before);
    }

    #[test]
    fn l3_1_who_had_no_link_for_a_promise_holds_nothing_any_more() {
        let (before, after) = without_carrier_for(500);
        assert!(before.is_some());
        assert_eq!(after, None);
    }
}
