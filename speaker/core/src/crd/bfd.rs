//! BFDProfile: how fast a BGP session's other side is missed (RFC 5880). Read here so that a bad one is seen.

use super::schema;
use crate::key::ObjectKey;
use crate::problem::Faults;
use std::ops::RangeInclusive;

/// A parsed `metallb.io/v1beta1` BFDProfile. What is absent is left to the BFD machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BfdProfile {
    /// Its name, by which peers refer to it.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Milliseconds between packets that we can take, 10 to 60000.
    pub receive_interval: Option<u16>,
    /// Milliseconds between packets that we send, 10 to 60000.
    pub transmit_interval: Option<u16>,
    /// Packets missed until the session is down, 2 to 255.
    pub detect_multiplier: Option<u16>,
    /// Milliseconds between echo packets that we can take, 10 to 60000.
    pub echo_interval: Option<u16>,
    /// Whether echo packets are sent.
    pub echo_mode: bool,
    /// Whether we wait for the other side to begin.
    pub passive_mode: bool,
    /// The least TTL of packets of a multi-hop session, 1 to 254.
    pub minimum_ttl: Option<u16>,
}

/// The bounds of a BFDProfile's numbers, by their names under `spec`.
pub const BOUNDS: [(&str, RangeInclusive<u16>); 5] = [
    ("receiveInterval", 10..=60_000),
    ("transmitInterval", 10..=60_000),
    ("detectMultiplier", 2..=255),
    ("echoInterval", 10..=60_000),
    ("minimumTtl", 1..=254),
];

impl TryFrom<(&ObjectKey, schema::BFDProfile)> for BfdProfile {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::BFDProfile)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let spec = raw.spec;
        let raw = [
            spec.receive_interval,
            spec.transmit_interval,
            spec.detect_multiplier,
            spec.echo_interval,
            spec.minimum_ttl,
        ];
        let mut numbers = [None; BOUNDS.len()];
        for ((number, raw), (name, bounds)) in numbers.iter_mut().zip(raw).zip(&BOUNDS) {
            let field = || format!("spec.{name}");
            *number = raw.and_then(|raw| faults.take(field, within(raw, bounds)));
        }
        let [
            receive_interval,
            transmit_interval,
            detect_multiplier,
            echo_interval,
            minimum_ttl,
        ] = numbers;
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            receive_interval,
            transmit_interval,
            detect_multiplier,
            echo_interval,
            echo_mode: spec.echo_mode,
            passive_mode: spec.passive_mode,
            minimum_ttl,
        })
    }
}

fn within(number: i32, bounds: &RangeInclusive<u16>) -> Result<u16, String> {
    let inside = u16::try_from(number).ok().filter(|n| bounds.contains(n));
    inside.ok_or_else(|| {
        let (least, most) = (bounds.start(), bounds.end());
        format!("{number} is not between {least} and {most}")
    })
}
