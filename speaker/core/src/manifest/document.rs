//! One document: which kind it is of, and who reads it.

use super::list::List;
use super::native::{self, Parsed};
use super::{Manifests, Note, unnamed};
use crate::annotations;
use crate::crd;
use crate::key::{Kind, ObjectKey};
use crate::names;
use crate::object::Object;
use crate::problem::{Fault, Faults};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads a document, or each item of a list.
pub(super) fn read(origin: &str, value: Value, config_namespace: &str, into: &mut Manifests) {
    let Value::Object(mut map) = value else {
        if !value.is_null() {
            into.objects.push(Err(unnamed(
                origin,
                "is no object with apiVersion and kind",
            )));
        }
        return;
    };
    let Some(items) = list_items(&mut map) else {
        one(origin, map, config_namespace, into);
        return;
    };
    for (i, value) in items.into_iter().enumerate() {
        item(
            &format!("{origin}.items[{i}]"),
            value,
            config_namespace,
            into,
        );
    }
}

/// Reads each item of a list; where one cannot be read, nothing of the list is.
pub(super) fn list(
    origin: &str,
    list: &List<'_>,
    config_namespace: &str,
    into: &mut Manifests,
) -> Result<(), serde_json::Error> {
    let (objects, notes) = (into.objects.len(), into.notes.len());
    let (kind, version) = (kind_of_items(&list.kind), list.version.as_deref());
    let mut i = 0;
    let read = list.each(|mut value| {
        name_kind(&mut value, kind, version);
        item(
            &format!("{origin}.items[{i}]"),
            value,
            config_namespace,
            into,
        );
        i += 1;
    });
    if read.is_err() {
        into.objects.truncate(objects);
        into.notes.truncate(notes);
    }
    read
}

fn item(origin: &str, value: Value, config_namespace: &str, into: &mut Manifests) {
    if let Value::Object(map) = value {
        one(origin, map, config_namespace, into);
    } else {
        let why = "is no object with apiVersion and kind";
        into.objects.push(Err(unnamed(origin, why)));
    }
}

/// A value, or each item of a list.
pub(super) fn items(mut value: Value) -> Vec<Value> {
    let items = value.as_object_mut().and_then(list_items);
    items.unwrap_or_else(|| vec![value])
}

/// The items of a `List` or of a list of one kind, each with its kind.
fn list_items(map: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let kind = map.get("kind")?.as_str()?;
    let kind = kind.ends_with("List").then(|| kind.to_owned())?;
    let version = map.get("apiVersion").cloned();
    let version = version.as_ref().and_then(Value::as_str);
    let Value::Array(mut items) = map.remove("items")? else {
        return None;
    };
    for item in &mut items {
        name_kind(item, kind_of_items(&kind), version);
    }
    Some(items)
}

/// What the items of a list of one kind are, which need not say so; nothing for a `List`.
fn kind_of_items(list: &str) -> &str {
    list.strip_suffix("List").unwrap_or_default()
}

/// Says of an item what the list of one kind says of all.
fn name_kind(item: &mut Value, kind: &str, version: Option<&str>) {
    let Some(item) = item.as_object_mut().filter(|_| !kind.is_empty()) else {
        return;
    };
    item.entry("kind").or_insert_with(|| Value::from(kind));
    if let Some(version) = version {
        item.entry("apiVersion")
            .or_insert_with(|| Value::from(version));
    }
}

/// How a kind is treated.
enum Treatment {
    Read(Kind),
    Aside(&'static str),
    Wrong(Fault),
}

fn one(origin: &str, map: Map<String, Value>, config_namespace: &str, into: &mut Manifests) {
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or("");
    let (version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
    let kind = match treatment(&version, &kind) {
        Treatment::Read(kind) => kind,
        Treatment::Aside(why) => {
            into.notes.push(Note {
                origin: origin.to_owned(),
                subject: subject(&kind, &map),
                why: why.to_owned(),
            });
            return;
        }
        Treatment::Wrong(fault) => {
            let mut problem = unnamed(origin, fault.why);
            problem.field = fault.field;
            into.objects.push(Err(problem));
            return;
        }
    };
    let key = match key(kind, &map, config_namespace) {
        Ok(key) => key,
        Err(fault) => {
            let mut problem = unnamed(origin, fault.why);
            problem.field = fault.field;
            into.objects.push(Err(problem));
            return;
        }
    };
    object(origin, key, map, config_namespace, into);
}

fn treatment(version: &str, kind: &str) -> Treatment {
    if version.is_empty() || kind.is_empty() {
        let field = if kind.is_empty() {
            "kind"
        } else {
            "apiVersion"
        };
        return Treatment::Wrong(Fault::new(field, "is missing"));
    }
    let (group, number) = version.rsplit_once('/').unwrap_or(("", version));
    let read = READ
        .iter()
        .find(|(g, _, k)| (*g, k.as_str()) == (group, kind));
    match read {
        Some((_, served, kind)) if served.contains(&number) => Treatment::Read(*kind),
        Some((_, served, _)) => {
            let served = served.join("\" and \"");
            let why = format!("{number:?} is not served, \"{served}\" is");
            Treatment::Wrong(Fault::new("apiVersion", why))
        }
        None if group.is_empty() && kind == super::SECRET => Treatment::Aside(ASKED_FOR),
        None if group != METALLB_GROUP => Treatment::Aside("not a kind that is read here"),
        None if LATER.contains(&kind) => Treatment::Aside(IDLE),
        None => {
            let known = READ.iter().map(|(_, _, kind)| kind.as_str()).chain(LATER);
            let why = match names::nearest(kind, known) {
                Some(near) => format!("MetalLB has no kind {kind:?}; {near:?} perhaps"),
                None => format!("MetalLB has no kind {kind:?}"),
            };
            Treatment::Wrong(Fault::new("kind", why))
        }
    }
}

/// Kind, namespace and name for a note.
fn subject(kind: &str, map: &Map<String, Value>) -> String {
    let metadata = map.get("metadata");
    let text = |field| metadata.and_then(|m| m.get(field)).and_then(Value::as_str);
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    }
}

fn key(kind: Kind, map: &Map<String, Value>, config_namespace: &str) -> Result<ObjectKey, Fault> {
    let metadata = map.get("metadata");
    let text = |field: &str| match metadata.and_then(|m| m.get(field)) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Fault::new(format!("metadata.{field}"), "is no text")),
    };
    let name = text("name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Fault::new("metadata.name", "is missing"))?;
    let namespace = match kind {
        Kind::Namespace | Kind::Node | Kind::Document => "",
        Kind::Service | Kind::EndpointSlice => text("namespace")?.unwrap_or("default"),
        Kind::Pool
        | Kind::L2Advertisement
        | Kind::Community
        | Kind::BgpAdvertisement
        | Kind::BgpPeer
        | Kind::BfdProfile => text("namespace")?.unwrap_or(config_namespace),
    };
    Ok(ObjectKey::new(kind, namespace, name))
}

fn object(
    origin: &str,
    key: ObjectKey,
    map: Map<String, Value>,
    config_namespace: &str,
    into: &mut Manifests,
) {
    let mut note = |why: String| {
        into.notes.push(Note {
            origin: origin.to_owned(),
            subject: key.to_string(),
            why,
        });
    };
    let mut reader = Reader {
        key: &key,
        config_namespace,
        unknown: Vec::new(),
    };
    let parsed = reader.read(map);
    let in_spec = reader
        .unknown
        .iter()
        .filter(|field| field.starts_with("spec."));
    in_spec.for_each(|field| note(format!("{field} is not known and has no effect")));
    let faults = match parsed {
        Ok(Parsed::Aside(why)) => return note(why.to_owned()),
        Ok(Parsed::Object(object)) => {
            let faults = annotations::check(&object);
            let stays = matches!(object, Object::Service(_)) || faults.is_empty();
            into.objects.extend(stays.then_some(Ok(object)));
            faults
        }
        Err(faults) => faults,
    };
    into.objects
        .extend(faults.into_problem(key, origin).map(Err));
}

/// Reads the object of one key.
struct Reader<'a> {
    key: &'a ObjectKey,
    config_namespace: &'a str,
    /// Fields that the kind does not have.
    unknown: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, map: Map<String, Value>) -> Result<Parsed, Faults> {
        let key = self.key;
        native::check_names(key)?;
        let object = match key.kind {
            Kind::Namespace => Object::Namespace(native::namespace(self.typed(map)?)),
            Kind::Node => Object::Node(native::node(self.typed(map)?)?),
            Kind::Service => Object::Service(native::service(key, self.typed(map)?)?),
            Kind::EndpointSlice => return native::endpoint_slice(key, self.typed(map)?),
            Kind::Pool
            | Kind::L2Advertisement
            | Kind::Community
            | Kind::BgpAdvertisement
            | Kind::BgpPeer
            | Kind::BfdProfile => self.config(map)?,
            Kind::Document => return Err(Fault::new("kind", "is not known").into()),
        };
        Ok(Parsed::Object(object))
    }

    /// A resource of MetalLB, which counts only in one namespace.
    fn config(&mut self, map: Map<String, Value>) -> Result<Object, Faults> {
        if self.key.namespace != self.config_namespace {
            let (here, there) = (&self.key.namespace, self.config_namespace);
            let why = format!("is {here:?}, configuration is read from {there:?} only");
            return Err(Fault::new("metadata.namespace", why).into());
        }
        Ok(crd::read(self.key, map, &mut self.unknown)?)
    }

    fn typed<T: DeserializeOwned>(&mut self, map: Map<String, Value>) -> Result<T, Faults> {
        let (value, unknown) = crate::typed::typed(Value::Object(map))?;
        self.unknown = unknown;
        Ok(value)
    }
}

const METALLB_GROUP: &str = "metallb.io";

/// Group, versions and kind of what is read.
const READ: [(&str, &[&str], Kind); 10] = [
    ("", &["v1"], Kind::Namespace),
    ("", &["v1"], Kind::Node),
    ("", &["v1"], Kind::Service),
    ("discovery.k8s.io", &["v1"], Kind::EndpointSlice),
    (METALLB_GROUP, &["v1beta1"], Kind::Pool),
    (METALLB_GROUP, &["v1beta1"], Kind::L2Advertisement),
    (METALLB_GROUP, &["v1beta1"], Kind::Community),
    (METALLB_GROUP, &["v1beta1"], Kind::BgpAdvertisement),
    (METALLB_GROUP, &["v1beta2", "v1beta1"], Kind::BgpPeer),
    (METALLB_GROUP, &["v1beta1"], Kind::BfdProfile),
];

/// Of Secrets, which are no part of the world.
const ASKED_FOR: &str = "read where a BGPPeer names it, and shown nowhere";

const IDLE: &str = "this version does not act on it";

/// Kinds of MetalLB's group that are not read at all.
const LATER: [&str; 5] = [
    "MetalLB",
    "ServiceL2Status",
    "ServiceBGPStatus",
    "ConfigurationState",
    "AddressPool",
];
