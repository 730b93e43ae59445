//! The kinds that are served: those of core that a load balancer meets, and those that CustomResourceDefinitions add.
//!
//! Knows names, versions and subresources; what the fields of a core kind mean is up to [`super::builtin`].

use crate::value::{each, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A kind of object.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// Empty for core.
    pub(crate) group: String,
    /// Such as `services`.
    pub(crate) plural: String,
    /// Such as `service`.
    pub(crate) singular: String,
    /// Such as `Service`.
    pub(crate) kind: String,
    /// For `kubectl get`.
    pub(crate) short: Vec<String>,
    /// In a namespace.
    pub(crate) is_namespaced: bool,
    /// The best version first.
    pub(crate) versions: Vec<Version>,
    /// The CustomResourceDefinition's `spec.conversion`, None for a kind of core.
    pub(crate) conversion: Option<Value>,
}

/// One version of a kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// Such as `v1beta1`.
    pub(crate) name: String,
    /// In what objects are kept.
    pub(crate) is_stored: bool,
    /// With `/status`.
    pub(crate) has_status: bool,
    /// The text of the warning, if it is deprecated.
    pub(crate) deprecation: Option<String>,
    /// `openAPIV3Schema`.
    pub(crate) schema: Value,
    /// `additionalPrinterColumns`.
    pub(crate) columns: Vec<Value>,
}

impl Kind {
    /// Plural and group joined by a dot: the key of its objects, and the name in messages.
    pub(crate) fn resource(&self) -> String {
        resource(&self.group, &self.plural)
    }

    /// Whether a CustomResourceDefinition made it.
    pub(crate) fn is_custom(&self) -> bool {
        self.conversion.is_some()
    }

    /// The version in which objects are kept.
    pub(crate) fn stored(&self) -> &Version {
        let stored = self.versions.iter().find(|version| version.is_stored);
        stored.unwrap_or(&self.versions[0])
    }

    /// One of its versions.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// `apiVersion` of its objects in a version.
    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// Of a row of [`CORE`].
    fn of_core(row: &str) -> Self {
        let mut words = row.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (version, plural, kind, scope, status) = (word(), word(), word(), word(), word());
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        Self {
            group: group.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            short: words.map(str::to_owned).collect(),
            is_namespaced: scope == "namespaced",
            versions: vec![Version {
                name: version.to_owned(),
                is_stored: true,
                has_status: status == "status",
                ..Version::default()
            }],
            conversion: None,
        }
    }

    fn of_definition(definition: &Value) -> Self {
        let spec = &definition["spec"];
        let names = &spec["names"];
        let kind = text(&names["kind"]);
        let group = text(&spec["group"]);
        let versions = each(&spec["versions"]);
        let mut versions: Vec<_> = versions
            .filter(|version| version["served"] == true)
            .map(|version| Version::of_definition(version, &group, &kind))
            .collect();
        // Newer ones first; names such as v1beta2 and v1beta1 sort so as text.
        versions.sort_by(|one, other| other.name.cmp(&one.name));
        let short = each(&names["shortNames"]);
        Self {
            group,
            plural: text(&names["plural"]),
            singular: text(&names["singular"]),
            kind,
            short: short.map(text).collect(),
            is_namespaced: spec["scope"] == "Namespaced",
            versions,
            conversion: Some(spec["conversion"].clone()),
        }
    }
}

impl Version {
    fn of_definition(version: &Value, group: &str, kind: &str) -> Self {
        let name = text(&version["name"]);
        let deprecation = (version["deprecated"] == true).then(|| {
            let warning = version["deprecationWarning"].as_str();
            let usual = || format!("{group}/{name} {kind} is deprecated");
            warning.map_or_else(usual, str::to_owned)
        });
        let columns = version["additionalPrinterColumns"].as_array();
        Self {
            is_stored: version["storage"] == true,
            has_status: version["subresources"]["status"].is_object(),
            deprecation,
            schema: version["schema"]["openAPIV3Schema"].clone(),
            columns: columns.cloned().unwrap_or_default(),
            name,
        }
    }
}

/// All kinds, by group and plural.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    kinds: BTreeMap<(String, String), Arc<Kind>>,
}

impl Kinds {
    /// Those of core.
    pub(crate) fn core() -> Self {
        let kinds = CORE.iter().map(|row| {
            let kind = Kind::of_core(row);
            ((kind.group.clone(), kind.plural.clone()), Arc::new(kind))
        });
        Self {
            kinds: kinds.collect(),
        }
    }

    /// A kind by group and plural.
    pub(crate) fn find(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.get(&(group.to_owned(), plural.to_owned()))
    }

    /// A kind by `apiVersion` and `kind` of an object, with its version.
    pub(crate) fn of(&self, object: &Value) -> Option<(&Arc<Kind>, String)> {
        let api_version = object["apiVersion"].as_str()?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = self
            .kinds
            .values()
            .find(|kind| kind.group == group && object["kind"] == kind.kind)?;
        Some((kind, version.to_owned()))
    }

    /// All of them, ordered by group and plural.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }

    /// Serves a kind no more, as a server that never had it.
    pub(crate) fn unlearn(&mut self, group: &str, plural: &str) {
        self.kinds.remove(&(group.to_owned(), plural.to_owned()));
    }

    /// A CustomResourceDefinition came, changed or went.
    pub(crate) fn follow(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let place = |kind: &Kind| (kind.group.clone(), kind.plural.clone());
        if let Some(before) = before {
            self.kinds.remove(&place(&Kind::of_definition(before)));
        }
        if let Some(after) = after {
            let kind = Kind::of_definition(after);
            self.kinds.insert(place(&kind), Arc::new(kind));
        }
    }
}

/// Plural and group joined by a dot.
pub(crate) fn resource(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

/// API version, plural, kind, scope, `status` if there is a `/status`, short names.
const CORE: &[&str] = &[
    "v1 configmaps ConfigMap namespaced - cm",
    "v1 endpoints Endpoints namespaced - ep",
    "v1 events Event namespaced - ev",
    "v1 namespaces Namespace cluster status ns",
    "v1 nodes Node cluster status no",
    "v1 pods Pod namespaced status po",
    "v1 secrets Secret namespaced -",
    "v1 serviceaccounts ServiceAccount namespaced - sa",
    "v1 services Service namespaced status svc",
    "admissionregistration.k8s.io/v1 validatingadmissionpolicies ValidatingAdmissionPolicy cluster status",
    "admissionregistration.k8s.io/v1 validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding cluster -",
    "admissionregistration.k8s.io/v1 validatingwebhookconfigurations ValidatingWebhookConfiguration cluster -",
    "apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition cluster status crd crds",
    "apps/v1 daemonsets DaemonSet namespaced status ds",
    "apps/v1 deployments Deployment namespaced status deploy",
    "coordination.k8s.io/v1 leases Lease namespaced -",
    "discovery.k8s.io/v1 endpointslices EndpointSlice namespaced -",
    "networking.k8s.io/v1 networkpolicies NetworkPolicy namespaced - netpol",
    "policy/v1 poddisruptionbudgets PodDisruptionBudget namespaced status pdb",
    "rbac.authorization.k8s.io/v1 clusterrolebindings ClusterRoleBinding cluster -",
    "rbac.authorization.k8s.io/v1 clusterroles ClusterRole cluster -",
    "rbac.authorization.k8s.io/v1 rolebindings RoleBinding namespaced -",
    "rbac.authorization.k8s.io/v1 roles Role namespaced -",
];
