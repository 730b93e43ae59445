//! Changes of links, told in the log and to `speaker ctl watch`.
//!
//! A link that begins or ceases to speak ARP or NDP has MetalLB's event names, since that is what its users look for.

use crate::ctl::{Event, Kind};
use crate::edge::Links;
use anyhow::{Context, Result};
use speaker_core::{Link, LinkName};
use tokio::sync::{broadcast, watch};

/// Tells of each change of the links until their watch ends.
pub(super) async fn follow(
    mut links: watch::Receiver<Links>,
    changes: broadcast::Sender<Event>,
) -> Result<()> {
    let mut before = Links::default();
    loop {
        let after = links.borrow_and_update().clone();
        for (link, what) in differences(&before, &after) {
            tracing::info!(%link, event = what.event(), "{}", what.text());
            let _nobody_may_watch =
                changes.send(Event::new(Kind::Link, link.to_string(), what.text()));
        }
        before = after;
        links.changed().await.context("the links ended")?;
    }
}

/// What changed about a link.
#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Appeared,
    Ceased,
    Up(bool),
    Carrier(bool),
    Arp(bool),
    Ndp(bool),
    Mac(String),
}

impl What {
    const fn event(&self) -> &'static str {
        match self {
            Self::Appeared => "linkAppeared",
            Self::Ceased => "linkCeased",
            Self::Up(true) => "linkUp",
            Self::Up(false) => "linkDown",
            Self::Carrier(true) => "carrierUp",
            Self::Carrier(false) => "carrierDown",
            Self::Arp(true) => "createARPResponder",
            Self::Arp(false) => "deleteARPResponder",
            Self::Ndp(true) => "createNDPResponder",
            Self::Ndp(false) => "deleteNDPResponder",
            Self::Mac(_) => "macChanged",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Appeared => "may announce".to_owned(),
            Self::Ceased => "does not announce any more".to_owned(),
            Self::Up(true) => "is up".to_owned(),
            Self::Up(false) => "is down".to_owned(),
            Self::Carrier(true) => "has carrier".to_owned(),
            Self::Carrier(false) => "lost its carrier".to_owned(),
            Self::Arp(true) => "can answer ARP".to_owned(),
            Self::Arp(false) => "cannot answer ARP".to_owned(),
            Self::Ndp(true) => "can answer NDP".to_owned(),
            Self::Ndp(false) => "cannot answer NDP".to_owned(),
            Self::Mac(mac) => format!("has hardware address {mac}"),
        }
    }
}

fn differences(before: &Links, after: &Links) -> Vec<(LinkName, What)> {
    let mut all = Vec::new();
    for (name, link) in &before.announcing {
        if !after.announcing.contains_key(name) {
            all.extend(abilities(Some(link), None).map(|what| (name.clone(), what)));
            all.push((name.clone(), What::Ceased));
        }
    }
    for (name, link) in &after.announcing {
        let old = before.announcing.get(name);
        all.extend(
            changed(old, link)
                .into_iter()
                .map(|what| (name.clone(), what)),
        );
        all.extend(abilities(old, Some(link)).map(|what| (name.clone(), what)));
    }
    all
}

/// A link that is there now; a new one is told of as far as it cannot announce.
fn changed(old: Option<&Link>, new: &Link) -> Vec<What> {
    let mut all = Vec::new();
    if old.is_none() {
        all.push(What::Appeared);
    }
    if old.is_none_or(|old| old.mac != new.mac) {
        all.push(What::Mac(new.mac.to_string()));
    }
    if old.is_none_or(|old| old.is_up) != new.is_up {
        all.push(What::Up(new.is_up));
    }
    if old.is_none_or(|old| old.has_carrier) != new.has_carrier {
        all.push(What::Carrier(new.has_carrier));
    }
    all
}

fn abilities(old: Option<&Link>, new: Option<&Link>) -> impl Iterator<Item = What> {
    let of = |link: Option<&Link>| link.map_or((false, false), |link| (link.has_arp, link.has_ndp));
    let ((old_arp, old_ndp), (arp, ndp)) = (of(old), of(new));
    let arp = (old_arp != arp).then_some(What::Arp(arp));
    let ndp = (old_ndp != ndp).then_some(What::Ndp(ndp));
    arp.into_iter().chain(ndp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::Mac;

    fn link() -> Link {
        Link {
            ifindex: 2,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            is_up: true,
            has_carrier: true,
            has_arp: true,
            has_ndp: false,
            below: None,
        }
    }

    fn links(link: Option<Link>) -> Links {
        let announcing = link.map(|link| (LinkName::from("eth0"), link));
        Links {
            announcing: announcing.into_iter().collect(),
            ..Links::default()
        }
    }

    #[track_caller]
    fn check(before: Option<Link>, after: Option<Link>, expected: &[What]) {
        let told = differences(&links(before), &links(after));
        let told: Vec<What> = told.into_iter().map(|(_, what)| what).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_link_that_comes_is_told_with_what_it_can() {
        let mac = What::Mac("02:00:00:00:00:01".to_owned());
        check(
            None,
            Some(link()),
            &[What::Appeared, mac.clone(), What::Arp(true)],
        );
        let down = Link {
            is_up: false,
            has_carrier: false,
            ..link()
        };
        let lacks = [
            What::Appeared,
            mac,
            What::Up(false),
            What::Carrier(false),
            What::Arp(true),
        ];
        check(None, Some(down), &lacks);
    }

    #[test]
    fn a_link_that_goes_takes_its_abilities_along() {
        check(Some(link()), None, &[What::Arp(false), What::Ceased]);
    }

    #[test]
    fn each_change_is_told_once() {
        check(Some(link()), Some(link()), &[]);
        let without = Link {
            has_carrier: false,
            ..link()
        };
        check(Some(link()), Some(without.clone()), &[What::Carrier(false)]);
        check(Some(without), Some(link()), &[What::Carrier(true)]);
        let other = Link {
            mac: Mac([2, 0, 0, 0, 0, 9]),
            has_ndp: true,
            ..link()
        };
        let mac = What::Mac("02:00:00:00:00:09".to_owned());
        check(Some(link()), Some(other), &[mac, What::Ndp(true)]);
    }

    #[test]
    fn metallb_2_9_responders_come_and_go_by_metallbs_names() {
        assert_eq!(What::Arp(true).event(), "createARPResponder");
        assert_eq!(What::Ndp(false).event(), "deleteNDPResponder");
    }
}
