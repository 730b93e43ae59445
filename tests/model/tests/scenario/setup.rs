//! `scenario.yaml`: what manifests do not say.

use serde::Deserialize;
use speaker_core::election::Placement;
use speaker_core::local::Rules;
use speaker_core::service::ServiceId;
use speaker_core::{Kind, Link, Local, ObjectKey};
use speaker_proto::{Mac, NodeName};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Setup {
    /// What it shows, in one sentence.
    pub(super) about: String,
    /// Links by node and name; a node that is not listed has eth0 and eth1, both fit.
    #[serde(default)]
    pub(super) links: BTreeMap<String, BTreeMap<String, LinkSetup>>,
    /// Nodes that are not alive.
    #[serde(default)]
    pub(super) dead: Vec<String>,
    /// Nodes whose plans are shown; none: all that are alive.
    #[serde(default)]
    pub(super) show: Vec<String>,
    /// Where addresses come from.
    #[serde(default)]
    pub(super) addresses: Addresses,
    /// `--lb-class`.
    pub(super) class: Option<String>,
    /// `--ignore-exclude-lb`.
    #[serde(default)]
    pub(super) ignore_exclude_lb: bool,
    /// `METALLB_BGP_TYPE`.
    #[serde(default)]
    pub(super) bgp_type: String,
    /// `--election`.
    pub(super) election: Option<String>,
    /// Kinds that have not been seen whole.
    #[serde(default)]
    pub(super) unsynced: Vec<String>,
    /// Services that the nodes are asked about, as `node namespace/name`; the answers follow the plans.
    #[serde(default)]
    pub(super) why: Vec<String>,
    /// What happens next, in order.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Addresses {
    /// The directory's allocator gives them.
    #[default]
    Allocate,
    /// They stand in each status, as an API server has them.
    Status,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Step {
    /// What happens.
    pub(super) name: String,
    /// A file of manifests to apply.
    pub(super) apply: Option<String>,
    /// An object to delete: `Kind name` or `Kind namespace/name`.
    pub(super) remove: Option<String>,
    /// Nodes that are not alive from now on.
    pub(super) dead: Option<Vec<String>>,
    /// Links of nodes, from now on.
    #[serde(default)]
    pub(super) links: BTreeMap<String, BTreeMap<String, LinkSetup>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LinkSetup {
    /// Not excluded and not enslaved.
    announces: bool,
    up: bool,
    carrier: bool,
    arp: bool,
    ndp: bool,
}

impl Default for LinkSetup {
    fn default() -> Self {
        Self {
            announces: true,
            up: true,
            carrier: true,
            arp: true,
            ndp: true,
        }
    }
}

impl Setup {
    pub(super) fn read(folder: &Path) -> Self {
        let file = folder.join("scenario.yaml");
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    }

    /// What `node` knows of itself.
    pub(super) fn local(&self, node: &NodeName) -> Local {
        let fit = || {
            ["eth0", "eth1"]
                .map(|name| (name.to_owned(), LinkSetup::default()))
                .into()
        };
        let links = self.links.get(node.as_str()).cloned().unwrap_or_else(fit);
        let mut local = Local::new(node.clone());
        local.rules = Rules {
            election: self
                .election
                .as_deref()
                .unwrap_or("sha256")
                .parse()
                .unwrap(),
            placement: Placement::default(),
            class: self.class.clone(),
            ignores_exclude_label: self.ignore_exclude_lb,
        };
        local.bgp_type = self.bgp_type.parse().unwrap();
        for (ifindex, (name, link)) in (1..).zip(links) {
            if link.announces {
                local.links.insert(name.into(), link.at(ifindex));
            } else {
                local.other_links.insert(name.into());
            }
        }
        local
    }
}

impl LinkSetup {
    const fn at(self, ifindex: u8) -> Link {
        Link {
            ifindex: ifindex as u32,
            mac: Mac([2, 0, 0, 0, 0, ifindex]),
            is_up: self.up,
            has_carrier: self.carrier,
            has_arp: self.arp,
            has_ndp: self.ndp,
            below: None,
        }
    }
}

/// From `Kind name` or `Kind namespace/name`.
pub(super) fn key(text: &str) -> ObjectKey {
    let (kind, name) = text.split_once(' ').unwrap();
    let kind = Kind::ALL.into_iter().find(|k| k.as_str() == kind).unwrap();
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    ObjectKey::new(kind, namespace, name)
}

/// From `node namespace/name`.
pub(super) fn question(text: &str) -> (NodeName, ServiceId) {
    let (node, service) = text.split_once(' ').unwrap();
    let (namespace, name) = service.split_once('/').unwrap();
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    (node.parse().unwrap(), ServiceId { namespace, name })
}
