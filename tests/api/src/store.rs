//! The objects of a cluster, their one counter, and what became of them.
//!
//! Every change has a revision, kept in a log of bounded length. Watches read the log forwards, consistent pages of lists
//! read it backwards. Knows no request and no rule about what may be written: that is up to [`super::write`].

use crate::kinds::Kinds;
use crate::user::Users;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Where an object is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Plural and group, such as `ipaddresspools.metallb.io` or `services`.
    pub resource: String,
    /// Empty for objects of the cluster.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl Key {
    /// Of a resource, a namespace (empty for the cluster) and a name.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One object before and after a write.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The counter after it.
    pub(crate) revision: u64,
    /// Which object.
    pub(crate) key: Key,
    /// None if it was made.
    pub(crate) before: Option<Arc<Value>>,
    /// None if it is gone.
    pub(crate) after: Option<Arc<Value>>,
    /// The object as the last event shows it: as it was, with the revision of its end.
    pub(crate) shown: Arc<Value>,
}

/// All objects of one cluster.
#[derive(Debug)]
pub(crate) struct Store {
    /// The kinds that are served.
    pub(crate) kinds: Kinds,
    /// Who may come in.
    pub(crate) users: Users,
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    /// Changes after this revision are in the log.
    compacted: u64,
    log: VecDeque<Change>,
    /// Service addresses and ports in use, as text.
    claims: BTreeSet<String>,
    /// Roles and bindings, the server's own too.
    rights: Vec<Value>,
    identities: u64,
    /// Told apart from other stores, so that no uid comes twice.
    pub(crate) seed: u64,
}

impl Store {
    /// An empty cluster. `seed` makes uids.
    pub(crate) fn new(seed: u64, users: Users) -> Self {
        Self {
            kinds: Kinds::core(),
            users,
            objects: BTreeMap::new(),
            revision: REVISION_FIRST,
            compacted: REVISION_FIRST,
            log: VecDeque::new(),
            claims: BTreeSet::new(),
            rights: crate::rbac::built_in(),
            identities: 0,
            seed,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Objects of a resource in order, in one namespace or in all.
    pub(crate) fn range<'a>(
        &'a self,
        resource: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key::new(resource, namespace, "");
        self.objects.range(first..).take_while(move |(key, _)| {
            key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
        })
    }

    /// Objects as they were at a revision. None if the log does not go back that far.
    pub(crate) fn at<'a>(
        &'a self,
        revision: u64,
        resource: &'a str,
        namespace: &'a str,
    ) -> Option<BTreeMap<&'a Key, &'a Arc<Value>>> {
        if revision < self.compacted {
            return None;
        }
        let mut objects: BTreeMap<_, _> = self.range(resource, namespace).collect();
        let undone = self
            .log
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
            .filter(|change| change.key.resource == resource)
            .filter(|change| namespace.is_empty() || change.key.namespace == namespace);
        for change in undone {
            match &change.before {
                Some(before) => objects.insert(&change.key, before),
                None => objects.remove(&change.key),
            };
        }
        Some(objects)
    }

    /// Changes after a revision, oldest first. None if some of them are forgotten.
    pub(crate) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        if revision < self.compacted {
            return None;
        }
        let from = self
            .log
            .partition_point(|change| change.revision <= revision);
        Some(self.log.range(from..))
    }

    /// Forgets all changes up to now, as a compaction of the database does.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision;
        self.log.clear();
    }

    /// A uid that no other object has or had.
    pub(crate) fn identity(&mut self) -> String {
        self.identities += 1;
        let (seed, count) = (self.seed, self.identities);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            seed as u32,
            (seed >> 32) as u16,
            (seed >> 48) as u16 & 0xfff,
            (count >> 48) as u16 & 0xfff,
            count & 0xffff_ffff_ffff
        )
    }

    /// Roles and bindings.
    pub(crate) fn rights(&self) -> &[Value] {
        &self.rights
    }

    /// Whether a Service holds this address or port.
    pub(crate) fn is_claimed(&self, claim: &str) -> bool {
        self.claims.contains(claim)
    }

    /// Writes an object with a new resourceVersion and returns it as it now is.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.follow(&key, before.as_deref(), Some(&object));
        self.log(key, before, Some(Arc::clone(&object)), Arc::clone(&object));
        object
    }

    /// Takes an object away and returns its last state, with the revision of its end.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.revision += 1;
        let mut shown = (*before).clone();
        shown["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let shown = Arc::new(shown);
        self.follow(key, Some(&before), None);
        self.log(key.clone(), Some(before), None, Arc::clone(&shown));
        Some(shown)
    }

    fn log(
        &mut self,
        key: Key,
        before: Option<Arc<Value>>,
        after: Option<Arc<Value>>,
        shown: Arc<Value>,
    ) {
        let revision = self.revision;
        self.log.push_back(Change {
            revision,
            key,
            before,
            after,
            shown,
        });
        if self.log.len() > CHANGES_MAX
            && let Some(oldest) = self.log.pop_front()
        {
            self.compacted = oldest.revision;
        }
    }

    /// What is derived from objects: served kinds, and what Services hold.
    fn follow(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        match key.resource.as_str() {
            "customresourcedefinitions.apiextensions.k8s.io" => self.kinds.follow(before, after),
            "services" => {
                let held = before.map(crate::service::claims).unwrap_or_default();
                for claim in held {
                    self.claims.remove(&claim);
                }
                self.claims
                    .extend(after.map(crate::service::claims).unwrap_or_default());
            }
            resource if resource.ends_with(RIGHTS) => {
                let kept = self.objects.iter();
                let kept = kept.filter(|(key, _)| key.resource.ends_with(RIGHTS));
                self.rights = crate::rbac::built_in();
                self.rights
                    .extend(kept.map(|(_, object)| (**object).clone()));
            }
            _other => {}
        }
    }
}

/// The group of roles and bindings.
const RIGHTS: &str = ".rbac.authorization.k8s.io";

/// A young cluster's counter is not at zero: nothing may take the number for a length or an index.
const REVISION_FIRST: u64 = 1000;

/// How far back a watch can begin: far more than a test writes while a client is away, and bounded in memory.
const CHANGES_MAX: usize = 200_000;
