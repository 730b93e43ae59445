//! What an installation depends on. The default is that of the manifests that are shipped.

use crate::peering::BgpType;
use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use std::collections::BTreeMap;

/// How to install.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Where everything is that has a namespace.
    pub namespace: String,
    /// Labels of every object beside those that it has anyway; pods do not get them.
    pub labels: BTreeMap<String, String>,
    /// The controller's pods.
    pub controller: Component,
    /// How many controllers there are, at least one. One of them writes, all answer webhooks.
    pub controllers: u8,
    /// The speakers' pods.
    pub speaker: Component,
    /// A seccomp profile for the speakers, by its path in the kubelet's folder; `None`: the runtime's own.
    pub speaker_seccomp: Option<String>,
    /// How much both log.
    pub log_level: Level,
    /// The class of services that are served; `None`: those without.
    pub class: Option<String>,
    /// The BGP of MetalLB's that this stands for; `None`: unsaid, which is the native one's ways.
    pub bgp_type: Option<BgpType>,
    /// Where somebody else's frr-k8s is, for speakers to look at.
    pub frrk8s_namespace: Option<String>,
    /// Where both listen.
    pub ports: Ports,
    /// Flags of TLS for both, as `--tls-min-version=VersionTLS12`.
    pub tls: Vec<String>,
    /// How Prometheus finds them.
    pub monitors: Monitors,
    /// Whether pods may be reached only where they serve.
    pub has_policies: bool,
    /// Whether the cluster judges writes by a ValidatingAdmissionPolicy, as from Kubernetes 1.30 on.
    pub has_admission_policies: bool,
}

/// How the pods of one component are made.
#[derive(Clone, PartialEq, Debug)]
pub struct Component {
    /// The image, with its tag.
    pub image: String,
    /// Labels of the nodes to run on, beside Linux.
    pub node_selector: BTreeMap<String, String>,
    /// What is tolerated, beside what the component always tolerates.
    pub tolerations: Vec<Toleration>,
    /// Its PriorityClass.
    pub priority_class: String,
    /// Its RuntimeClass, if it needs one.
    pub runtime_class: Option<String>,
    /// Which nodes and neighbours it prefers.
    pub affinity: Option<Affinity>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// Requests and limits of the main container.
    pub resources: Option<ResourceRequirements>,
}

/// How much is logged; MetalLB's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Everything.
    All,
    /// Decisions too.
    Debug,
    /// Changes.
    #[default]
    Info,
    /// What someone should look at.
    Warn,
    /// Broken promises.
    Error,
    /// Nothing.
    None,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::All,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::None,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::None => "none",
        }
    }
}

/// Where pods listen. The speakers' are ports of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Metrics, by HTTPS.
    pub metrics: u16,
    /// Health, by HTTP.
    pub health: u16,
    /// What speakers tell each other, by UDP.
    pub members: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            metrics: 9120,
            health: 17472,
            members: 7946,
        }
    }
}

/// How Prometheus finds its targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Monitors {
    /// By annotations of the Services.
    #[default]
    Annotations,
    /// By PodMonitors of the Prometheus operator.
    Pods,
    /// By its ServiceMonitors.
    Services,
}

impl Options {
    /// Those of the manifests that are shipped, with these images.
    pub fn new(namespace: &str, controller: &str, speaker: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
            controller: Component::new(controller, "system-cluster-critical"),
            controllers: 1,
            speaker: Component::new(speaker, "system-node-critical"),
            speaker_seccomp: None,
            log_level: Level::default(),
            class: None,
            bgp_type: None,
            frrk8s_namespace: None,
            ports: Ports::default(),
            tls: Vec::new(),
            monitors: Monitors::default(),
            has_policies: false,
            has_admission_policies: true,
        }
    }
}

impl Component {
    fn new(image: &str, priority_class: &str) -> Self {
        Self {
            image: image.to_owned(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class: priority_class.to_owned(),
            runtime_class: None,
            affinity: None,
            annotations: BTreeMap::new(),
            resources: None,
        }
    }
}
