//! MetalLB: the installation that an operator should bring about.
//!
//! Every field of MetalLB's operator is understood; what means nothing here is noted, since there is one binary, one BGP and no FRR.
//! What is refused is what MetalLB's webhook refuses.

use super::schema::operator::{MetalLB, MetalLBSpec, Workload};
use crate::annotations::check_metallb;
use crate::deploy::{Component, Level, Options};
use crate::peering::BgpType;
use crate::problem::Faults;
use crate::typed::typed;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{
    Affinity, PreferredSchedulingTerm, Toleration, WeightedPodAffinityTerm,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A parsed `metallb.io/v1beta1` MetalLB.
#[derive(Clone, PartialEq, Debug)]
pub struct MetalLb {
    speaker: Pods,
    controller: Pods,
    log_level: Level,
    class: Option<String>,
    bgp: BgpType,
    /// Where somebody else's frr-k8s speaks BGP, unless we are told to dial all the same.
    foreign_bgp: Option<String>,
    /// What was asked for and has no effect here, in sentences.
    pub notes: Vec<String>,
}

/// What is asked of the pods of one component.
#[derive(Clone, PartialEq, Debug)]
struct Pods {
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
    workload: Workload,
}

impl MetalLb {
    /// Reads an object as the API server has it.
    ///
    /// # Errors
    /// With everything that is wrong with it, field by field.
    pub fn read(object: &Value) -> Result<Self, Faults> {
        let mut spec_alone = object.clone();
        if let Some(fields) = spec_alone.as_object_mut() {
            // What others say of it.
            fields.remove("status");
            fields
                .entry("spec")
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        let (raw, _unknown) = typed::<MetalLB>(spec_alone)?;
        Self::parse(raw)
    }

    fn parse(raw: MetalLB) -> Result<Self, Faults> {
        let annotations = raw.metadata.annotations.unwrap_or_default();
        let mut faults = check_metallb(&annotations);
        let spec = raw.spec;
        let (bgp, foreign_bgp) = bgp(&spec, annotations.contains_key(OWN_BGP), &mut faults);
        let log_level = log_level(&spec, &mut faults);
        let notes = notes(&spec, &mut faults);
        let speaker = Pods {
            node_selector: spec.node_selector,
            tolerations: tolerations("speakerTolerations", spec.speaker_tolerations, &mut faults),
            workload: workload("speakerConfig", spec.speaker_config, &mut faults),
        };
        let tolerated = spec.controller_tolerations;
        let controller = Pods {
            node_selector: spec.controller_node_selector,
            tolerations: tolerations("controllerTolerations", tolerated, &mut faults),
            workload: workload("controllerConfig", spec.controller_config, &mut faults),
        };
        let class = Some(spec.load_balancer_class).filter(|class| !class.is_empty());
        faults.none_or(|| Self {
            speaker,
            controller,
            log_level,
            class,
            bgp,
            foreign_bgp,
            notes,
        })
    }

    /// How to install what is asked for, where `usual` holds what it says nothing of.
    pub fn options(&self, usual: &Options) -> Options {
        Options {
            controller: self.controller.component(&usual.controller),
            speaker: self.speaker.component(&usual.speaker),
            log_level: self.log_level,
            class: self.class.clone(),
            bgp_type: Some(self.bgp),
            frrk8s_namespace: self.foreign_bgp.clone(),
            ..usual.clone()
        }
    }

    /// Why BGP is not spoken, if somebody else does.
    pub fn foreign_bgp(&self) -> Option<String> {
        let namespace = self.foreign_bgp.as_ref()?;
        Some(format!(
            "spec.bgpBackend: frr-k8s in namespace {namespace} speaks BGP, so that nothing here does; set the annotation {OWN_BGP}: \"true\" \
             to let these speakers dial the peers, or name another backend"
        ))
    }
}

impl Pods {
    fn component(&self, usual: &Component) -> Component {
        let Workload {
            priority_class_name,
            runtime_class_name,
            affinity,
            annotations,
            resources,
        } = &self.workload;
        let or = |own: &String, usual: &String| match own.is_empty() {
            true => usual.clone(),
            false => own.clone(),
        };
        Component {
            image: usual.image.clone(),
            node_selector: self.node_selector.clone(),
            tolerations: self.tolerations.clone(),
            priority_class: or(priority_class_name, &usual.priority_class),
            runtime_class: Some(runtime_class_name.clone()).filter(|name| !name.is_empty()),
            affinity: affinity.clone(),
            annotations: annotations.clone(),
            resources: resources.clone(),
        }
    }
}

/// Which BGP is meant. Unsaid it is frr, as with MetalLB's operator: what peers leave unset follows that.
fn bgp(spec: &MetalLBSpec, is_own: bool, faults: &mut Faults) -> (BgpType, Option<String>) {
    let backend = spec.bgp_backend.as_str();
    let known = BgpType::ALL.into_iter().find(|bgp| bgp.as_str() == backend);
    let bgp = match known {
        Some(bgp) => bgp,
        None if backend.is_empty() => BgpType::Frr,
        None => {
            let known = BgpType::ALL.map(BgpType::as_str).join(", ");
            faults.push("spec.bgpBackend", format!("{backend:?} is none of {known}"));
            BgpType::Frr
        }
    };
    let config = spec.frrk8s_config.as_ref();
    let namespace = config.map_or("", |config| config.namespace.as_str());
    match bgp {
        BgpType::Native | BgpType::Frr | BgpType::FrrK8s => (bgp, None),
        BgpType::FrrK8sExternal if namespace.is_empty() => {
            let why = "is missing: bgpBackend frr-k8s-external needs to know where that is";
            faults.push("spec.frrk8sConfig.namespace", why);
            (bgp, None)
        }
        // Then it is ours alone.
        BgpType::FrrK8sExternal if is_own => (BgpType::FrrK8s, None),
        BgpType::FrrK8sExternal => (bgp, Some(namespace.to_owned())),
    }
}

fn log_level(spec: &MetalLBSpec, faults: &mut Faults) -> Level {
    let Some(asked) = spec.log_level.as_deref().filter(|asked| !asked.is_empty()) else {
        return Level::default();
    };
    let found = Level::ALL.into_iter().find(|level| level.as_str() == asked);
    if found.is_none() {
        let known = Level::ALL.map(Level::as_str).join(", ");
        faults.push("spec.logLevel", format!("{asked:?} is none of {known}"));
    }
    found.unwrap_or_default()
}

/// What has no effect here, and what is wrong with it all the same.
fn notes(spec: &MetalLBSpec, faults: &mut Faults) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |field: &str, why: &str| notes.push(format!("{field} has no effect: {why}."));
    if !spec.image.is_empty() {
        note(
            "spec.image",
            "it is deprecated; the operator's environment names the images",
        );
    }
    let config = spec.frrk8s_config.clone().unwrap_or_default();
    for (i, block) in config.always_block.iter().enumerate() {
        if block.parse::<IpNet>().is_err() {
            let field = format!("spec.frrk8sConfig.alwaysBlock[{i}]");
            faults.push(field, format!("{block:?} is no address/bits"));
        }
    }
    if !config.always_block.is_empty() {
        note(
            "spec.frrk8sConfig.alwaysBlock",
            "routes of peers are never taken",
        );
    }
    if config.secret_passthrough {
        note(
            "spec.frrk8sConfig.secretPassthrough",
            "there is no FRRConfiguration that passwords could be copied into",
        );
    }
    notes
}

fn tolerations(field: &str, tolerations: Vec<Toleration>, faults: &mut Faults) -> Vec<Toleration> {
    for (i, toleration) in tolerations.iter().enumerate() {
        let waits = toleration.toleration_seconds.unwrap_or_default() > 0;
        if waits && toleration.effect.as_deref() != Some("NoExecute") {
            let field = format!("spec.{field}[{i}].effect");
            faults.push(
                field,
                "must be NoExecute where tolerationSeconds is above 0",
            );
        }
    }
    tolerations
}

fn workload(field: &str, workload: Option<Workload>, faults: &mut Faults) -> Workload {
    let workload = workload.unwrap_or_default();
    if let Some(affinity) = &workload.affinity {
        for (part, weights) in weights(affinity) {
            for (i, weight) in weights.into_iter().enumerate() {
                if !(1..=100).contains(&weight) {
                    let list = "preferredDuringSchedulingIgnoredDuringExecution";
                    let field = format!("spec.{field}.affinity.{part}.{list}[{i}].weight");
                    faults.push(field, format!("{weight} is not between 1 and 100"));
                }
            }
        }
    }
    workload
}

/// The weights of preferences, by part of the affinity.
fn weights(affinity: &Affinity) -> [(&'static str, Vec<i32>); 3] {
    let of_nodes = |terms: &Option<Vec<PreferredSchedulingTerm>>| -> Vec<i32> {
        terms.iter().flatten().map(|term| term.weight).collect()
    };
    let of_pods = |terms: &Option<Vec<WeightedPodAffinityTerm>>| -> Vec<i32> {
        terms.iter().flatten().map(|term| term.weight).collect()
    };
    let nodes = affinity.node_affinity.clone().unwrap_or_default();
    let pods = affinity.pod_affinity.clone().unwrap_or_default();
    let others = affinity.pod_anti_affinity.clone().unwrap_or_default();
    [
        (
            "nodeAffinity",
            of_nodes(&nodes.preferred_during_scheduling_ignored_during_execution),
        ),
        (
            "podAffinity",
            of_pods(&pods.preferred_during_scheduling_ignored_during_execution),
        ),
        (
            "podAntiAffinity",
            of_pods(&others.preferred_during_scheduling_ignored_during_execution),
        ),
    ]
}

/// The annotation that lets us dial although somebody else may.
pub const OWN_BGP: &str = "heliograph.io/own-bgp";
/// The one name under which a MetalLB counts.
pub const NAME: &str = "metallb";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: Value) -> Value {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB",
            "metadata": {"name": NAME, "namespace": "metallb-system"}, "spec": spec,
        })
    }

    fn read(spec: Value) -> MetalLb {
        let object = object(spec);
        MetalLb::read(&object).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn options(spec: Value) -> Options {
        read(spec).options(&usual())
    }

    fn usual() -> Options {
        Options::new("metallb-system", "c:1", "s:1")
    }

    fn refused(spec: Value, fault: &str) {
        let faults = MetalLb::read(&object(spec)).unwrap_err();
        assert_eq!(faults.to_string(), fault);
    }

    #[test]
    fn metallb_1_8_an_empty_spec_asks_for_what_is_usual() {
        let usual = usual();
        let asked = options(json!({}));
        assert_eq!(asked.bgp_type, Some(BgpType::Frr), "as MetalLB's operator");
        let nothing = Options {
            bgp_type: None,
            ..asked
        };
        assert_eq!(nothing, usual);
        assert!(MetalLb::read(&json!({"metadata": {"name": NAME}})).is_ok());
    }

    #[test]
    fn metallb_1_8_every_field_of_the_pods_gets_there() {
        let config = |name: &str| {
            json!({
                "priorityClassName": format!("{name}-priority"), "runtimeClassName": format!("{name}-runtime"),
                "affinity": {"nodeAffinity": {}}, "annotations": {"who": name},
                "resources": {"limits": {"cpu": "1"}},
            })
        };
        let toleration =
            |key: &str| json!([{"key": key, "effect": "NoExecute", "tolerationSeconds": 5}]);
        let asked = options(json!({
            "nodeSelector": {"of": "speaker"}, "controllerNodeSelector": {"of": "controller"},
            "speakerTolerations": toleration("speaker"), "controllerTolerations": toleration("controller"),
            "speakerConfig": config("speaker"), "controllerConfig": config("controller"),
        }));
        for (name, component, image) in [
            ("speaker", &asked.speaker, "s:1"),
            ("controller", &asked.controller, "c:1"),
        ] {
            assert_eq!(component.image, image);
            assert_eq!(component.node_selector["of"], name);
            assert_eq!(component.tolerations[0].key.as_deref(), Some(name));
            assert_eq!(component.priority_class, format!("{name}-priority"));
            let runtime = format!("{name}-runtime");
            assert_eq!(component.runtime_class, Some(runtime));
            assert!(component.affinity.as_ref().unwrap().node_affinity.is_some());
            assert_eq!(component.annotations["who"], name);
            let limits = component.resources.as_ref().unwrap().limits.as_ref();
            assert_eq!(limits.unwrap()["cpu"].0, "1");
        }
    }

    #[test]
    fn metallb_1_8_what_concerns_both_gets_there() {
        let asked = options(json!({"logLevel": "debug", "loadBalancerClass": "example.com/lb"}));
        assert_eq!(asked.log_level, Level::Debug);
        assert_eq!(asked.class.as_deref(), Some("example.com/lb"));
        for bgp in [BgpType::Native, BgpType::Frr, BgpType::FrrK8s] {
            let asked = options(json!({"bgpBackend": bgp.as_str()}));
            assert_eq!(asked.bgp_type, Some(bgp));
        }
    }

    #[test]
    fn metallb_1_8_a_foreign_frr_is_left_its_peers_until_we_are_told_to_dial() {
        let spec = json!({"bgpBackend": "frr-k8s-external", "frrk8sConfig": {"namespace": "frr"}});
        let asked = read(spec.clone());
        let why = asked.foreign_bgp().unwrap();
        assert!(why.contains("frr-k8s in namespace frr speaks BGP"), "{why}");
        let options = asked.options(&usual());
        assert_eq!(options.bgp_type, Some(BgpType::FrrK8sExternal));
        assert_eq!(options.frrk8s_namespace.as_deref(), Some("frr"));
        let mut object = object(spec);
        object["metadata"]["annotations"] = json!({OWN_BGP: "true"});
        let asked = MetalLb::read(&object).unwrap();
        assert_eq!(asked.foreign_bgp(), None);
        assert_eq!(asked.options(&usual()).bgp_type, Some(BgpType::FrrK8s));
        object["metadata"]["annotations"] = json!({OWN_BGP: "perhaps"});
        let faults = MetalLb::read(&object).unwrap_err().to_string();
        assert!(faults.contains("heliograph.io/own-bgp"), "{faults}");
    }

    #[test]
    fn metallb_1_8_what_has_no_effect_is_noted() {
        let frr = json!({"alwaysBlock": ["192.0.2.0/24"], "secretPassthrough": true});
        let notes = read(json!({"image": "x", "frrk8sConfig": frr})).notes;
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(
            notes[0].starts_with("spec.image has no effect: "),
            "{notes:?}"
        );
        assert_eq!(read(json!({})).notes, [""; 0]);
    }

    #[test]
    fn metallb_1_8_what_metallbs_webhook_refuses_is_refused() {
        refused(
            json!({"bgpBackend": "bird"}),
            "spec.bgpBackend: \"bird\" is none of native, frr, frr-k8s, frr-k8s-external",
        );
        refused(
            json!({"bgpBackend": "frr-k8s-external"}),
            "spec.frrk8sConfig.namespace: is missing: bgpBackend frr-k8s-external needs to know where that is",
        );
        refused(
            json!({"frrk8sConfig": {"alwaysBlock": ["192.0.2.0/24", "x"]}}),
            "spec.frrk8sConfig.alwaysBlock[1]: \"x\" is no address/bits",
        );
        refused(
            json!({"speakerTolerations": [{"effect": "NoSchedule", "tolerationSeconds": 1}]}),
            "spec.speakerTolerations[0].effect: must be NoExecute where tolerationSeconds is above 0",
        );
        refused(
            json!({"logLevel": "loud"}),
            "spec.logLevel: \"loud\" is none of all, debug, info, warn, error, none",
        );
    }

    #[test]
    fn metallb_1_8_weights_are_between_1_and_100() {
        let list = "preferredDuringSchedulingIgnoredDuringExecution";
        for (part, term) in [
            ("nodeAffinity", json!({"preference": {}})),
            (
                "podAffinity",
                json!({"podAffinityTerm": {"topologyKey": "k"}}),
            ),
            (
                "podAntiAffinity",
                json!({"podAffinityTerm": {"topologyKey": "k"}}),
            ),
        ] {
            for (weight, is_good) in [(0, false), (1, true), (100, true), (101, false)] {
                let mut term = term.clone();
                term["weight"] = json!(weight);
                let spec = json!({"controllerConfig": {"affinity": {part: {list: [term]}}}});
                if is_good {
                    read(spec);
                } else {
                    let fault = format!(
                        "spec.controllerConfig.affinity.{part}.{list}[0].weight: {weight} is not between 1 and 100"
                    );
                    refused(spec, &fault);
                }
            }
        }
    }

    #[test]
    fn what_has_another_form_is_refused_with_its_place() {
        let faults = MetalLb::read(&object(json!({"nodeSelector": ["a"]}))).unwrap_err();
        let faults = faults.to_string();
        assert!(faults.starts_with("spec.nodeSelector: "), "{faults}");
    }
}
