//! The speaker's ends in a cluster: what it follows, and what it writes there.
//!
//! Nothing of it stands between objects and the kernel's tables: while the API server is away the writers wait and try
//! again, and what is announced stays announced.

use super::bgp::Bgp;
use super::hardware::{self, Ends};
use super::intake::FromCluster;
use super::keep::Keeper;
use super::session_states::OfSessions;
use super::statuses::{OfPlan, Place, Statuses};
use super::stop::OwnObjects;
use super::{judge, private_dir};
use crate::api::{self, Api};
use crate::drive::clock::{now, wall};
use crate::drive::decide::View;
use crate::drive::reflect::{self, Followed};
use crate::report::config_state::{Component, ConfigState};
use crate::report::events::{EventSender, Events};
use crate::report::leave::Leave;
use crate::report::own_pod::OwnPod;
use crate::report::secure::Gate;
use crate::settings::{Cluster, Settings};
use crate::source::kube::Scope;
use crate::source::{HardwareFile, StateFile};
use anyhow::Result;
use speaker_core::Kind;
use speaker_core::peering::BgpType;
use speaker_core::status_objects::{service, session};
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the connection to the API server fares. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    api: Api,
    followed: Arc<BTreeMap<Kind, Followed>>,
    stale: watch::Receiver<Option<SystemTime>>,
}

/// The speaker in a cluster.
pub(super) struct InCluster {
    api: Api,
    pod: Arc<OwnPod>,
    file: StateFile,
    hardware: HardwareFile,
    /// How the connection fares.
    pub(super) link: Link,
}

impl InCluster {
    /// Starts to follow the cluster's objects. Sends nothing that must be answered before it returns.
    ///
    /// # Errors
    /// When there are no credentials, or the place for the last good objects cannot be made.
    pub(super) async fn open(
        settings: &Settings,
        cluster: &Cluster,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<(Self, FromCluster)> {
        let api = api::connect(&cluster.access).await?;
        private_dir(&cluster.state_dir)?;
        let file = StateFile::new(&cluster.state_dir, settings.node.clone());
        let kept = file.load(&settings.namespace);
        let scope = Scope {
            kinds: WATCHED.to_vec(),
            namespace: settings.namespace.clone(),
            all_services: false,
        };
        let (items, followed) = reflect::spawn(&api, &scope, SPREAD, tasks);
        let (stale_in, stale) = watch::channel(None);
        let intake = FromCluster::new(items, &settings.namespace, kept, stale_in);
        let link = Link {
            api: api.clone(),
            followed: Arc::new(followed),
            stale,
        };
        let pod = Arc::new(OwnPod::new(&settings.namespace, cluster.pod.clone()));
        Ok((
            Self {
                api,
                pod,
                file,
                hardware: HardwareFile::new(&cluster.state_dir),
                link,
            },
            intake,
        ))
    }

    /// The API server.
    pub(super) const fn api(&self) -> &Api {
        &self.api
    }

    /// What tells of the objects that this process belongs to.
    pub(super) fn own_objects(&self) -> OwnObjects {
        OwnObjects {
            api: self.api.clone(),
            pod: Arc::clone(&self.pod),
            link: self.link.clone(),
        }
    }

    /// Starts everything that writes. Whoever takes the sender tells events; the keeper must be asked once more at the
    /// end.
    pub(super) fn write(
        self,
        settings: &Settings,
        views: &watch::Receiver<Option<Arc<View>>>,
        bgp: &Bgp,
        ends: Ends,
        tasks: &mut JoinSet<Result<()>>,
    ) -> (EventSender, Arc<Keeper>) {
        let node = settings.node.clone();
        let (judged_in, judged) = watch::channel(None);
        tasks.spawn(judge::follow(views.clone(), bgp.keys.clone(), judged_in));
        let component = Component::Speaker(node.clone());
        let followed = Arc::clone(&self.link.followed);
        // It ends with the runtime, like that of the events.
        drop(ConfigState::spawn(
            self.api.clone(),
            component,
            Arc::clone(&self.pod),
            Leave::always(),
            Box::new(move || reflect::obstacle(&followed)),
            judged,
        ));
        let place = Place {
            api: self.api.clone(),
            pod: self.pod,
            node: node.clone(),
        };
        hardware::spawn(place.clone(), self.hardware, ends, tasks);
        let of_plan = |say| OfPlan {
            node: node.clone(),
            views: views.clone(),
            say,
        };
        let (layer2, by_bgp) = (of_plan(service::layer2), of_plan(service::bgp));
        Statuses::spawn(&service::LAYER2, place.clone(), layer2, tasks);
        Statuses::spawn(&service::BGP, place.clone(), by_bgp, tasks);
        // Whoever looks for them has MetalLB's frr-k8s mode, and else they would be new to everybody.
        if settings.bgp_type == BgpType::FrrK8s {
            let sessions = OfSessions::new(node.clone(), views.clone(), bgp.clone());
            Statuses::spawn(&session::SESSION, place, sessions, tasks);
        }
        let keeper = Keeper::new(self.file, views.clone(), self.link);
        tasks.spawn(Arc::clone(&keeper).run());
        let instance = settings.node.as_str();
        (Events::spawn(self.api, COMPONENT, instance), keeper)
    }
}

impl Link {
    /// What lets scrapers in whom the API server lets read metrics.
    pub(super) fn gate(&self) -> Gate {
        Gate::new(self.api.clone())
    }

    /// Since when nothing better is known of some kind than what was kept from before.
    pub(super) fn stale_since(&self) -> Option<SystemTime> {
        *self.stale.borrow()
    }

    /// Age of what was kept, in seconds, while it is in force.
    pub(super) fn stale_s(&self) -> Option<f64> {
        let since = self.stale_since()?;
        Some(
            wall()
                .duration_since(since)
                .unwrap_or_default()
                .as_secs_f64(),
        )
    }

    /// Whether every kind is followed without trouble.
    pub(super) fn is_sound(&self) -> bool {
        let mut followed = self.followed.values();
        followed.all(|of| of.trouble.borrow().is_none() && of.heard.last() > Time::default())
    }

    /// Whether what is known of some kind is older than [`STALE`]: others that know better are followed then.
    pub(super) fn is_stale(&self) -> bool {
        let is_old =
            |of: &Followed| of.trouble.borrow().is_some() && now().since(of.heard.last()) > STALE;
        self.followed.values().any(is_old) || self.stale_since().is_some()
    }

    /// Seconds since the API server last said anything, by kind; nothing for one of which it has not yet.
    pub(super) fn ages_s(&self) -> BTreeMap<&'static str, f64> {
        let heard = self
            .followed
            .iter()
            .map(|(kind, of)| (kind, of.heard.last()));
        heard
            .filter(|(_, last)| *last > Time::default())
            .map(|(kind, last)| (kind.as_str(), now().since(last).ns() as f64 / 1e9))
            .collect()
    }

    /// What stands in the way, by kind.
    pub(super) fn troubles(&self) -> BTreeMap<&'static str, String> {
        let followed = self.followed.iter();
        followed
            .filter_map(|(kind, of)| Some((kind.as_str(), of.trouble.borrow().clone()?)))
            .collect()
    }

    /// Requests sent, and those that came to nothing.
    pub(super) fn requests(&self) -> (u64, u64) {
        let counts = self.api.counts();
        (
            counts.requests.load(Ordering::Relaxed),
            counts.failures.load(Ordering::Relaxed),
        )
    }
}

/// What a speaker looks at; namespaces concern the controller alone.
const WATCHED: [Kind; 9] = [
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pool,
    Kind::L2Advertisement,
    Kind::BgpAdvertisement,
    Kind::BgpPeer,
    Kind::BfdProfile,
    Kind::Community,
];
/// From then on a view that may have changed is called stale.
const STALE: Span = Span::s(30);
/// What selectors on the source of events go by.
const COMPONENT: &str = "metallb-speaker";
const SPREAD: Duration = Duration::from_secs(2); // a thousand speakers that start at once ask 2,500 times a second
