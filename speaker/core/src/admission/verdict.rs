//! Whether one object may be written.
//!
//! First what needs no other object: the namespace, the form, the fields, our annotations. Then what stands between it
//! and others. References to what may come later (a BFD profile, a Secret, a community's name) are not followed.

use super::{Given, between};
use crate::annotations;
use crate::crd::{self, MetalLb, Unread};
use crate::key::{Kind, ObjectKey};
use crate::object::Object;
use crate::problem::Faults;
use crate::world::World;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

/// What is to be done with an object, before it is known what it is.
pub(super) struct Asked {
    pub(super) operation: Operation,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) object: Map<String, Value>,
    /// Whether the object is on its way out and its `spec` stays.
    pub(super) is_leaving: bool,
}

/// An object and what is to be done with it.
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) key: ObjectKey,
    pub(super) object: Map<String, Value>,
    /// Whether the object is on its way out and its `spec` stays.
    pub(super) is_leaving: bool,
}

/// What is said to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Allowed {
        warnings: Vec<&'static str>,
    },
    /// Against a rule.
    Refused(String),
    /// Not of the form of its kind.
    Undecodable(String),
    /// It depends on objects that have not been seen.
    NotYet(String),
}

impl Verdict {
    pub(super) const fn allowed() -> Self {
        Self::Allowed {
            warnings: Vec::new(),
        }
    }

    fn refused(key: &ObjectKey, faults: &Faults) -> Self {
        Self::Refused(format!("{key}: {}", faults.brief()))
    }
}

pub(super) fn judge(request: Request, given: &Given, namespace: &str) -> Verdict {
    let Request {
        operation,
        key,
        object,
        is_leaving,
    } = request;
    if operation == Operation::Delete {
        return deleted(&key, given, namespace);
    }
    if is_leaving {
        // Else an object with a fault could not lose its finalizers.
        return Verdict::allowed();
    }
    let exempt = Exempt::of(&key, &object);
    let read = match crd::read(&key, object, &mut Vec::new()) {
        Ok(object) => Ok(object),
        Err(Unread::Undecodable(fault)) => return Verdict::Undecodable(format!("{key}: {fault}")),
        Err(Unread::Faulty(faults)) => Err(faults),
    };
    match (operation, exempt) {
        (Operation::Create, Some(exempt)) => exempt.verdict(&key),
        (Operation::Create, None) if key.namespace != namespace => {
            // The words up to `namespace` are MetalLB's: tools look for them.
            let why =
                format!("resource must be created in {namespace} namespace, and {key} is not");
            Verdict::Refused(why)
        }
        (Operation::Create | Operation::Update | Operation::Delete, _) => match read {
            Ok(object) => written(&key, &object, given),
            Err(faults) => Verdict::refused(&key, &faults),
        },
    }
}

/// Judges a MetalLB, wherever it is and whatever its name: one that does not count says so in its status.
pub(super) fn judge_metallb(asked: Asked) -> Verdict {
    if asked.operation == Operation::Delete || asked.is_leaving {
        return Verdict::allowed();
    }
    match MetalLb::read(&Value::Object(asked.object)) {
        Ok(_) => Verdict::allowed(),
        Err(faults) => Verdict::Refused(format!(
            "MetalLB {}/{}: {}",
            asked.namespace,
            asked.name,
            faults.brief()
        )),
    }
}

/// A BGPPeer with `disableMP`: MetalLB lets every new one pass, whatever it says and wherever it is.
struct Exempt {
    annotations: BTreeMap<String, String>,
}

impl Exempt {
    fn of(key: &ObjectKey, object: &Map<String, Value>) -> Option<Self> {
        let flag = object.get("spec")?.get("disableMP")?;
        if key.kind != Kind::BgpPeer || *flag != Value::Bool(true) {
            return None;
        }
        let annotations = object.get("metadata").and_then(|m| m.get("annotations"));
        let annotations = annotations.and_then(Value::as_object).into_iter().flatten();
        let text =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Some(Self {
            annotations: annotations.filter_map(text).collect(),
        })
    }

    fn verdict(&self, key: &ObjectKey) -> Verdict {
        let faults = annotations::check_peer(&self.annotations);
        if !faults.is_empty() {
            return Verdict::refused(key, &faults);
        }
        Verdict::Allowed {
            warnings: vec![DISABLE_MP],
        }
    }
}

fn written(key: &ObjectKey, object: &Object, given: &Given) -> Verdict {
    let faults = annotations::check(object);
    if !faults.is_empty() {
        return Verdict::refused(key, &faults);
    }
    let faults = match given {
        Given::Known(world) => against_others(object, world),
        Given::Unknown if stands_alone(key.kind) => Faults::default(),
        Given::Unknown => return not_yet(key),
    };
    if faults.is_empty() {
        Verdict::allowed()
    } else {
        Verdict::refused(key, &faults)
    }
}

fn deleted(key: &ObjectKey, given: &Given, namespace: &str) -> Verdict {
    if key.kind != Kind::BfdProfile || key.namespace != namespace {
        return Verdict::allowed();
    }
    let Given::Known(world) = given else {
        return not_yet(key);
    };
    let faults = between::users_of_profile(&key.name, world);
    if faults.is_empty() {
        Verdict::allowed()
    } else {
        Verdict::refused(key, &faults)
    }
}

fn against_others(object: &Object, world: &World) -> Faults {
    match object {
        Object::Pool(pool) => between::pools(pool, world),
        Object::Community(community) => between::communities(community, world),
        Object::BgpPeer(peer) => between::peers(peer, world),
        Object::BgpAdvertisement(advertisement) => between::advertisements(advertisement, world),
        Object::L2Advertisement(_)
        | Object::BfdProfile(_)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_) => Faults::default(),
    }
}

/// Whether a new version of an object of this kind can clash with no other object.
const fn stands_alone(kind: Kind) -> bool {
    match kind {
        Kind::L2Advertisement | Kind::BfdProfile => true,
        Kind::Pool
        | Kind::Community
        | Kind::BgpPeer
        | Kind::BgpAdvertisement
        | Kind::Namespace
        | Kind::Node
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Document => false,
    }
}

fn not_yet(key: &ObjectKey) -> Verdict {
    Verdict::NotYet(format!(
        "{key}: cannot be judged before all other objects have been seen; try again in a moment"
    ))
}

/// MetalLB's text to the letter: people filter it.
const DISABLE_MP: &str =
    "disable mp is deprecated and has no effect since it's the default behavior now";
