//! Which VIPs are served by sockets of a proxy on this node, on which of its links.
//!
//! A service asks for it as for spreading ([`super::steering`]). It is so on every node that has a socket for the VIP, whether it holds
//! the VIP or not, so that nothing is missing at the moment when it does; elsewhere the VIP's packets are the stack's.

use super::demand::Demand;
use super::{Survey, routes};
use crate::link::LinkName;
use crate::local::Local;
use crate::steering::Place;
use crate::steering::socket::Unserved;
use speaker_proto::Vip;
use std::collections::{BTreeMap, BTreeSet};

/// What sockets of this node serve.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Served {
    /// These.
    pub rows: BTreeSet<Place>,
    /// Those that they should and cannot.
    pub not: BTreeMap<Place, Unserved>,
}

impl Served {
    /// The addresses of [`Self::rows`].
    pub fn vips(&self) -> BTreeSet<Vip> {
        self.rows.iter().map(|(vip, _)| *vip).collect()
    }
}

/// The services of `survey` that ask for it.
pub(super) fn served(survey: &Survey<'_>, local: &Local, is_directory: bool) -> Served {
    let mut served = Served::default();
    let demands = |members: &[usize]| -> Vec<&Demand> {
        let members = members.iter();
        members.map(|i| &*survey.demands.list[*i]).collect()
    };
    for group in survey.asking() {
        let is_asked = |i: &usize| survey.demands.list[*i].is_socketed;
        if !group.members.iter().any(is_asked) {
            continue;
        }
        let members = demands(&group.members);
        for vip in routes::vips(survey, group).iter().copied() {
            let on_vip = members.iter().copied();
            let on_vip: Vec<&Demand> = on_vip.filter(|d| d.vips.contains(&vip)).collect();
            for link in routes::links(survey, group, vip, local) {
                let place = (vip, link.clone());
                match judge(&on_vip, vip, link, local, is_directory) {
                    Some(Ok(())) => {
                        served.rows.insert(place);
                    }
                    Some(Err(why)) => {
                        served.not.insert(place, why);
                    }
                    None => {}
                }
            }
        }
    }
    served
}

/// `None`: nobody asks for it.
fn judge(
    demands: &[&Demand],
    vip: Vip,
    link: &LinkName,
    local: &Local,
    is_directory: bool,
) -> Option<Result<(), Unserved>> {
    demands.iter().find(|demand| demand.is_socketed)?;
    let listeners = &local.listeners;
    let is_left_alone = |demand: &&&Demand| demand.service.proxied.contains(&vip.0);
    Some(
        if let Some(other) = demands.iter().find(|demand| !demand.is_socketed) {
            Err(Unserved::SharedWith(other.id().clone()))
        } else if listeners.is_refused {
            Err(Unserved::Refused)
        } else if listeners.unmarked.contains(link) {
            Err(Unserved::Unmarked)
        } else if !listeners.vips.contains(&vip) {
            Err(Unserved::Nobody)
        } else if !is_directory && demands.iter().any(|demand| !is_left_alone(&demand)) {
            Err(Unserved::TakenByProxy)
        } else {
            Ok(())
        },
    )
}
