//! The annotations under `heliograph.io/`: where each may stand and what it may say.
//!
//! On our own kinds a bad one is refused like a bad field. On a Service it is a problem beside the object, which
//! then behaves as if the annotation were not there: a typo in an annotation must not cost a service its address.

use crate::key::Kind;
use crate::names::nearest;
use crate::object::Object;
use crate::problem::Faults;
use std::collections::BTreeMap;

/// The prefix of every key that is ours.
pub const PREFIX: &str = "heliograph.io/";

/// What a value may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list by comma of keys of this table that may stand on a Service.
    ServiceKeys,
    /// A whole number of at most this, from 0.
    Number(u64),
    /// `endpoints`, or a number of bytes per second.
    Bandwidth,
}

/// One annotation: its key after the prefix, where it may stand, what it may say, and what for.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    on: &'static [On],
    value: Value,
    /// What it does there.
    pub effect: &'static str,
    /// The place in `docs/` that says more.
    pub page: &'static str,
}

/// Where an annotation may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Service,
    Pool,
    L2Advertisement,
    BgpAdvertisement,
    BgpPeer,
    MetalLb,
}

/// What is wrong with the annotations of an object.
pub fn check(object: &Object) -> Faults {
    let (on, annotations) = match object {
        Object::Service(o) => (On::Service, &o.annotations),
        Object::Pool(o) => (On::Pool, &o.annotations),
        Object::L2Advertisement(o) => (On::L2Advertisement, &o.annotations),
        Object::BgpAdvertisement(o) => (On::BgpAdvertisement, &o.annotations),
        Object::BgpPeer(o) => (On::BgpPeer, &o.annotations),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::EndpointSlice(_)
        | Object::Community(_)
        | Object::BfdProfile(_) => {
            return Faults::default();
        }
    };
    faults(on, annotations)
}

/// What is wrong with the annotations of a BGPPeer of which nothing else has been read.
pub(crate) fn check_peer(annotations: &BTreeMap<String, String>) -> Faults {
    faults(On::BgpPeer, annotations)
}

/// Whether the key of this name after the prefix says `true`; a bad value is as if it were not there.
pub fn is_set(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    debug_assert!(
        TABLE.iter().any(|row| row.name == name),
        "{name} is of the table"
    );
    let value = annotations.get(&format!("{PREFIX}{name}"));
    value.is_some_and(|value| value == "true")
}

/// The word that the key of this name after the prefix says; a bad one is as if it were not there.
pub fn word<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let row = TABLE.iter().find(|row| row.name == name)?;
    let value = annotations.get(&format!("{PREFIX}{name}"))?;
    row.value.check(value).is_ok().then_some(value)
}

/// Whether a pool lets services say this key for themselves.
pub fn allows_service(pool: &BTreeMap<String, String>, name: &str) -> bool {
    let listed = word(pool, "allow-service").unwrap_or_default().split(',');
    listed
        .map(str::trim)
        .any(|key| key.strip_prefix(PREFIX).unwrap_or(key) == name)
}

/// What is wrong with the annotations of a MetalLB.
pub(crate) fn check_metallb(annotations: &BTreeMap<String, String>) -> Faults {
    faults(On::MetalLb, annotations)
}

fn faults(on: On, annotations: &BTreeMap<String, String>) -> Faults {
    let mut faults = Faults::default();
    for (key, value) in annotations.range(PREFIX.to_owned()..) {
        let Some(name) = key.strip_prefix(PREFIX) else {
            break;
        };
        let judged = judge(on, name, value);
        faults.take(|| format!("metadata.annotations.{key}"), judged);
    }
    faults
}

fn judge(on: On, name: &str, value: &str) -> Result<(), String> {
    let Some(row) = TABLE.iter().find(|row| row.name == name) else {
        return Err(match nearest(name, TABLE.iter().map(|row| row.name)) {
            Some(near) => format!("is not known; {PREFIX}{near} perhaps"),
            None => "is not known".to_owned(),
        });
    };
    if !row.on.contains(&on) {
        return Err(format!(
            "has no effect on {}, only on {}",
            on.as_str(),
            row.places()
        ));
    }
    row.value.check(value)
}

impl Row {
    /// The whole key.
    pub fn key(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The kinds of objects on which it may stand, with commas between.
    pub fn places(&self) -> String {
        let places: Vec<_> = self.on.iter().map(|place| place.as_str()).collect();
        places.join(", ")
    }

    /// What its value may be, as Markdown.
    pub fn values(&self) -> String {
        match self.value {
            Value::Word(words) => format!("`{}`", words.join("`, `")),
            Value::ServiceKeys => {
                "keys of this table that may stand on a Service, with commas between".to_owned()
            }
            Value::Number(max) => format!("0 to {max}"),
            Value::Bandwidth => "`endpoints`, or bytes per second".to_owned(),
        }
    }
}

impl On {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Pool => Kind::Pool.as_str(),
            Self::L2Advertisement => Kind::L2Advertisement.as_str(),
            Self::BgpAdvertisement => Kind::BgpAdvertisement.as_str(),
            Self::BgpPeer => Kind::BgpPeer.as_str(),
            Self::MetalLb => "MetalLB",
        }
    }
}

impl Value {
    fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Word(words) if words.contains(&text) => Ok(()),
            Self::Word([word]) => Err(format!("{text:?} is not {word:?}")),
            Self::Word(words) => Err(format!("{text:?} is none of {}", words.join(", "))),
            Self::ServiceKeys => text.split(',').map(str::trim).try_for_each(service_key),
            Self::Number(max) => match text.parse::<u64>() {
                Ok(number) if number <= max => Ok(()),
                Ok(_) | Err(_) => Err(format!("{text:?} is no number from 0 to {max}")),
            },
            Self::Bandwidth if text == "endpoints" || text.parse::<u64>().is_ok() => Ok(()),
            Self::Bandwidth => Err(format!(
                "{text:?} is neither \"endpoints\" nor a number of bytes per second"
            )),
        }
    }
}

fn service_key(key: &str) -> Result<(), String> {
    let keys = || {
        TABLE
            .iter()
            .filter(|row| row.on.contains(&On::Service))
            .map(|row| row.name)
    };
    let name = key.strip_prefix(PREFIX).unwrap_or(key);
    if keys().any(|known| known == name) {
        return Ok(());
    }
    Err(match nearest(name, keys()) {
        Some(near) => format!("{key:?} is no key of a Service; {PREFIX}{near} perhaps"),
        None => format!("{key:?} is no key of a Service"),
    })
}

/// All of them, in the order of the reference.
pub const TABLE: &[Row] = &[
    Row {
        name: "steering",
        on: &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        value: Value::Word(&["stack", "spread", "spread-encap", "socket"]),
        effect: "how packets reach the endpoints; `stack` unless it says otherwise",
        page: "steering.md",
    },
    Row {
        name: "allow-service",
        on: &[On::Pool],
        value: Value::ServiceKeys,
        effect: "which keys act on Services with addresses of this pool: without it none, for who may create Services need not be who decides how the network is used",
        page: "options.md",
    },
    Row {
        name: "announce-anyway",
        on: &[On::Pool],
        value: Value::Word(&["true"]),
        effect: "an address that a stranger answers for is taken",
        page: "layer2.md#taking",
    },
    Row {
        name: "closed-port",
        on: &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        value: Value::Word(&["pass", "reject", "drop"]),
        effect: "what becomes of packets to a port that no service has; `pass` unless it says otherwise",
        page: "options.md",
    },
    Row {
        name: "echo",
        on: &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        value: Value::Word(&["true"]),
        effect: "the holder answers pings",
        page: "options.md",
    },
    Row {
        name: "source-ranges",
        on: &[On::Service],
        value: Value::Word(&["program"]),
        effect: "`loadBalancerSourceRanges` holds in eBPF",
        page: "options.md#sources",
    },
    Row {
        name: "sticky",
        on: &[On::L2Advertisement],
        value: Value::Word(&["true"]),
        effect: "a healthy holder keeps the address until it is drained, as `--placement sticky` does for all",
        page: "layer2.md#candidates-and-election",
    },
    Row {
        name: "spread-policy",
        on: &[On::L2Advertisement],
        value: Value::Word(&["hash", "even"]),
        effect: "how addresses spread over nodes: by the order alone, or with a share for each, as `--placement even` does for all; `hash` unless it says otherwise",
        page: "layer2.md#candidates-and-election",
    },
    Row {
        name: "prepend",
        on: &[On::BgpAdvertisement],
        value: Value::Number(10),
        effect: "so often our AS number stands in the path besides, so that routers prefer other ways",
        page: "bgp.md#raw-lines-of-frr",
    },
    Row {
        name: "med",
        on: &[On::BgpAdvertisement],
        value: Value::Number(u32::MAX as u64),
        effect: "the routes' MULTI_EXIT_DISC: of two ways through one AS routers prefer the lower",
        page: "bgp.md#raw-lines-of-frr",
    },
    Row {
        name: "link-bandwidth",
        on: &[On::BgpAdvertisement],
        value: Value::Bandwidth,
        effect: "the routes' link bandwidth community, by which routers weigh several ways: `endpoints` is 1,250,000 bytes per second for each endpoint on the node, with externalTrafficPolicy Local",
        page: "bgp.md#raw-lines-of-frr",
    },
    Row {
        name: "drain-prepend",
        on: &[On::BgpPeer],
        value: Value::Number(10),
        effect: "so often our AS number stands in the path besides while the node is drained, for routers that do not heed GRACEFUL_SHUTDOWN",
        page: "bgp.md#stops",
    },
    Row {
        name: "gtsm",
        on: &[On::BgpPeer],
        value: Value::Word(&["require"]),
        effect: "packets with a TTL below 255 are ignored (RFC 5082)",
        page: "bgp.md#a-peer",
    },
    Row {
        name: "own-bgp",
        on: &[On::MetalLb, On::BgpPeer],
        value: Value::Word(&["true"]),
        effect: "dial although another speaker owns the peer: on a MetalLB for all of them, as the operator hands on; on a BGPPeer where `METALLB_BGP_TYPE` is `frr-k8s-external`, an FRRConfiguration of somebody else has the peer, or another process of the node has a connection with it",
        page: "operator.md#the-resource",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(on: On, key: &str, value: &str, expected: &str) {
        let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(
            faults(on, &annotations).to_string(),
            expected,
            "{key}={value}"
        );
    }

    #[test]
    fn known_keys_with_good_values_pass() {
        check(On::Service, "heliograph.io/echo", "true", "");
        check(
            On::L2Advertisement,
            "heliograph.io/spread-policy",
            "even",
            "",
        );
        check(
            On::Pool,
            "heliograph.io/allow-service",
            "echo, heliograph.io/steering",
            "",
        );
        check(On::BgpAdvertisement, "heliograph.io/med", "4294967295", "");
        check(
            On::BgpAdvertisement,
            "heliograph.io/link-bandwidth",
            "endpoints",
            "",
        );
        check(On::MetalLb, "heliograph.io/own-bgp", "true", "");
        check(
            On::Service,
            "metallb.io/address-pool",
            "heliograph.io/x",
            "",
        );
    }

    #[test]
    fn an_unknown_key_names_its_neighbour() {
        check(
            On::L2Advertisement,
            "heliograph.io/stiky",
            "true",
            "metadata.annotations.heliograph.io/stiky: is not known; heliograph.io/sticky perhaps",
        );
        check(
            On::Service,
            "heliograph.io/wholly-different",
            "",
            "metadata.annotations.heliograph.io/wholly-different: is not known",
        );
    }

    #[test]
    fn a_key_in_the_wrong_place_says_where_it_belongs() {
        check(
            On::Service,
            "heliograph.io/sticky",
            "true",
            "metadata.annotations.heliograph.io/sticky: has no effect on Service, only on L2Advertisement",
        );
    }

    #[test]
    fn bad_values_say_what_is_allowed() {
        let med =
            "metadata.annotations.heliograph.io/med: \"-1\" is no number from 0 to 4294967295";
        check(On::BgpAdvertisement, "heliograph.io/med", "-1", med);
        let echo = "metadata.annotations.heliograph.io/echo: \"yes\" is not \"true\"";
        check(On::Service, "heliograph.io/echo", "yes", echo);
        let key =
            "metadata.annotations.heliograph.io/allow-service: \"sticky\" is no key of a Service";
        check(On::Pool, "heliograph.io/allow-service", "sticky", key);
    }
}
