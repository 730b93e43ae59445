//! Community: names for BGP communities. Read here so that a bad one is seen; used by BGP.

use std::collections::BTreeMap;

/// A parsed `metallb.io/v1beta1` Community.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Community {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Alias to value (`a:b` or `large:a:b:c`).
    pub communities: BTreeMap<String, String>,
}
