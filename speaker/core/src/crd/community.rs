//! Community: names for BGP communities. Read here so that a bad one is seen; used by BGP.

use super::schema;
use crate::key::ObjectKey;
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
            faults.take(|| format!("{field}.value"), value(&named.value).map(drop));
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

/// A community's value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CommunityValue {
    /// Two numbers (RFC 1997).
    Standard(u16, u16),
    /// Three numbers (RFC 8092).
    Large(u32, u32, u32),
}

/// Two numbers of 16 bits, or `large:` and three of 32 bits.
pub(crate) fn value(text: &str) -> Result<CommunityValue, String> {
    fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
        let is_digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| is_digits)
    }
    let parts: Vec<&str> = text.split(':').collect();
    let value = match parts.as_slice() {
        [a, b] => number(a)
            .zip(number(b))
            .map(|(a, b)| CommunityValue::Standard(a, b)),
        ["large", a, b, c] => number(a)
            .zip(number(b))
            .zip(number(c))
            .map(|((a, b), c)| CommunityValue::Large(a, b, c)),
        _ => None,
    };
    value.ok_or_else(|| {
        format!(
            "{text:?} is no community: a:b with numbers to 65535, or large:a:b:c with numbers to 4294967295"
        )
    })
}
