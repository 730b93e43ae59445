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

/// One key: its name after the prefix, where it may stand, and what it may say.
struct Row(&'static str, &'static [On], Value);

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
        TABLE.iter().any(|row| row.0 == name),
        "{name} is of the table"
    );
    let value = annotations.get(&format!("{PREFIX}{name}"));
    value.is_some_and(|value| value == "true")
}

/// The word that the key of this name after the prefix says; a bad one is as if it were not there.
pub fn word<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let row = TABLE.iter().find(|row| row.0 == name)?;
    let value = annotations.get(&format!("{PREFIX}{name}"))?;
    row.2.check(value).is_ok().then_some(value)
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
    let Some(Row(_, places, form)) = TABLE.iter().find(|row| row.0 == name) else {
        return Err(match nearest(name, TABLE.iter().map(|row| row.0)) {
            Some(near) => format!("is not known; {PREFIX}{near} perhaps"),
            None => "is not known".to_owned(),
        });
    };
    if !places.contains(&on) {
        let places: Vec<_> = places.iter().map(|place| place.as_str()).collect();
        return Err(format!(
            "has no effect on {}, only on {}",
            on.as_str(),
            places.join(", ")
        ));
    }
    form.check(value)
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
            .filter(|row| row.1.contains(&On::Service))
            .map(|row| row.0)
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

const TABLE: [Row; 14] = [
    Row(
        "steering",
        &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        Value::Word(&["stack", "spread", "spread-encap", "socket"]),
    ),
    Row("allow-service", &[On::Pool], Value::ServiceKeys),
    Row("announce-anyway", &[On::Pool], Value::Word(&["true"])),
    Row(
        "closed-port",
        &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        Value::Word(&["pass", "reject", "drop"]),
    ),
    Row(
        "echo",
        &[On::L2Advertisement, On::BgpAdvertisement, On::Service],
        Value::Word(&["true"]),
    ),
    Row("source-ranges", &[On::Service], Value::Word(&["program"])),
    Row("sticky", &[On::L2Advertisement], Value::Word(&["true"])),
    Row(
        "spread-policy",
        &[On::L2Advertisement],
        Value::Word(&["hash", "even"]),
    ),
    Row("prepend", &[On::BgpAdvertisement], Value::Number(10)),
    Row(
        "med",
        &[On::BgpAdvertisement],
        Value::Number(u32::MAX as u64),
    ),
    Row("link-bandwidth", &[On::BgpAdvertisement], Value::Bandwidth),
    Row("drain-prepend", &[On::BgpPeer], Value::Number(10)),
    Row("gtsm", &[On::BgpPeer], Value::Word(&["require"])),
    Row(
        "own-bgp",
        &[On::MetalLb, On::BgpPeer],
        Value::Word(&["true"]),
    ),
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
    fn every_key_stands_in_the_document_with_its_places_and_its_words() {
        let document = include_str!("../../../docs/annotations.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: BTreeMap<&str, Vec<&str>> = rows
            .map(|row| {
                let (key, rest) = row.split_once("` | ").unwrap();
                (key, rest.split(" | ").collect())
            })
            .collect();
        assert_eq!(rows.len(), TABLE.len(), "{:?}", rows.keys());
        for Row(name, places, form) in &TABLE {
            let row = &rows[format!("{PREFIX}{name}").as_str()];
            let mut told: Vec<&str> = row[0].split(", ").collect();
            let mut wanted: Vec<&str> = places.iter().map(|place| place.as_str()).collect();
            told.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(told, wanted, "{name}");
            let words = match form {
                Value::Word(words) => words.to_vec(),
                Value::Bandwidth => vec!["endpoints"],
                Value::ServiceKeys | Value::Number(_) => Vec::new(),
            };
            for word in words {
                assert!(row[1].contains(&format!("`{word}`")), "{name}: {word}");
            }
            if let Value::Number(max) = form {
                assert!(row[1].contains(&max.to_string()), "{name}: {max}");
            }
        }
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
