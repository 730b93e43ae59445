//! Figures of membership, and of what members hold.

use super::Page;
use crate::report::MemberFigures;
use anyhow::Result;
use std::collections::BTreeMap;

impl Page {
    pub(super) fn groups(&self, events: &BTreeMap<&'static str, u64>) -> Result<()> {
        let groups = self.counters(
            "heliograph_group_events_total",
            "What happened to groups of VIPs here, by the event's name in the log: vipTaken, vipGiven, vipReleased, and those that someone should look at",
            &["event"],
        )?;
        for (event, count) in events {
            groups.with_label_values(&[*event]).inc_by(*count);
        }
        Ok(())
    }

    /// By their ground: how many, and the seconds that all of them took.
    pub(super) fn takings(&self, takings: &BTreeMap<&'static str, (u64, f64)>) -> Result<()> {
        let counts = self.counters(
            "heliograph_group_takings_total",
            "Groups of VIPs that were taken here: yielded by their holder, which is dead, or unheld; adopted from the last process; after a contest; refused by whom they were given to",
            &["ground"],
        )?;
        let seconds = self.sums(
            "heliograph_group_taking_seconds_total",
            "Seconds from setting about a group until it is answered for, by the ground",
            &["ground"],
        )?;
        for (ground, (count, took)) in takings {
            counts.with_label_values(&[*ground]).inc_by(*count);
            seconds.with_label_values(&[*ground]).inc_by(*took);
        }
        Ok(())
    }

    pub(super) fn members(&self, figures: &MemberFigures) -> Result<()> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let members = self.gauges(
            "heliograph_members",
            "Other speakers: alive, dead by the verdict of their observers, left in order",
            &["standing"],
        )?;
        for (standing, count) in &figures.standings {
            members.with_label_values(&[*standing]).set(number(*count));
        }
        self.gauge(
            "heliograph_member_observers",
            "Live speakers that watch this node; 0 where there are others means that nobody would notice its death",
            number(figures.observers),
        )?;
        let unheard = self.gauges(
            "heliograph_member_unheard",
            "1 for each speaker, or address of a node, that was sent to and never heard",
            &["member"],
        )?;
        for member in &figures.unheard {
            unheard.with_label_values(&[member]).set(1);
        }
        self.gauge(
            "heliograph_waiting_for_secret",
            "1 while the secret of the speakers is missing and nothing is announced",
            figures.is_waiting.into(),
        )?;
        self.counter(
            "heliograph_gossip_sent_total",
            "Datagrams sent to other speakers",
            figures.sent,
        )?;
        self.counter(
            "heliograph_gossip_send_failures_total",
            "Datagrams to other speakers that the network stack did not take",
            figures.send_failures,
        )?;
        self.counter(
            "heliograph_gossip_received_total",
            "Authentic datagrams from other speakers",
            figures.received,
        )?;
        let dropped = self.counters(
            "heliograph_gossip_dropped_total",
            "Datagrams that were not believed or could not be used, by cause",
            &["cause"],
        )?;
        for (cause, count) in figures.dropped.iter().filter(|(_, count)| **count > 0) {
            dropped.with_label_values(&[*cause]).inc_by(*count);
        }
        let events = self.counters(
            "heliograph_membership_events_total",
            "Votes, verdicts, promises that were void, accusations of this node, turns that came late or took long, lost messages and what was full",
            &["event"],
        )?;
        for (event, count) in figures.events.iter().filter(|(_, count)| **count > 0) {
            events.with_label_values(&[*event]).inc_by(*count);
        }
        Ok(())
    }
}
