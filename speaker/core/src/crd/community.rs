//! Community: names for BGP communities. Read here so that a bad one is seen; used by BGP.

use super::schema;
use crate::object::ObjectKey;
use crate::problem::Faults;
use std::collections::BTreeMap;

/// A parsed `metallb.io/v1beta1` Community.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Community {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `metadata.creationTimestamp`: of two that use one name the older stays.
    pub created: Option<jiff::Timestamp>,
    /// Alias to value (`a:b` or `large:a:b:c`).
    pub communities: BTreeMap<String, String>,
}

impl TryFrom<(&ObjectKey, schema::Community)> for Community {
    type Error = Faults;

    fn try_from((key, raw): (&ObjectKey, schema::Community)) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut communities = BTreeMap::new();
        for (i, named) in raw.spec.communities.into_iter().enumerate() {
            let field = format!("spec.communities[{i}]");
            faults.take(|| format!("{field}.value"), check_value(&named.value));
            if communities.contains_key(&named.name) {
                let why = format!("{:?} stands there twice", named.name);
                faults.push(format!("{field}.name"), why);
            }
            communities.insert(named.name, named.value);
        }
        faults.none_or(|| Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            created: raw.metadata.creation_timestamp.map(|time| time.0),
            communities,
        })
    }
}

/// Two numbers of 16 bits (RFC 1997), or `large:` and three of 32 bits (RFC 8092).
fn check_value(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let numbers = |parts: &[&str], max: u32| {
        parts.iter().all(|part| {
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            digits && part.parse::<u32>().is_ok_and(|number| number <= max)
        })
    };
    let is_good = match parts.as_slice() {
        [_, _] => numbers(&parts, u32::from(u16::MAX)),
        ["large", rest @ ..] if rest.len() == 3 => numbers(rest, u32::MAX),
        _ => false,
    };
    if is_good {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no community: a:b with numbers to 65535, or large:a:b:c with numbers to 4294967295"
    ))
}
