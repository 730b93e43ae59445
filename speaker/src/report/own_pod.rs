//! The pod that this process runs in, as the owner of the objects that it makes: when the pod is gone, so are they.
//!
//! Asked for until it is known, when something is first to be owned, since an API server need not be there at the start. Outside a
//! pod nothing is owned, and what was made stays.

use crate::api::{Api, Call, Failure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OnceCell;

/// The pod of this process.
#[derive(Debug)]
pub(crate) struct OwnPod {
    namespace: String,
    name: Option<String>,
    reference: OnceCell<Value>,
    is_missed: AtomicBool,
}

impl OwnPod {
    /// The pod `name` of `namespace`; without a name there is none.
    pub(crate) fn new(namespace: impl Into<String>, name: Option<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name,
            reference: OnceCell::new(),
            is_missed: AtomicBool::new(false),
        }
    }

    /// The namespace that it runs in, and in which it writes objects.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where the API server has it; `None` outside a pod.
    pub(crate) fn path(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(format!("/api/v1/namespaces/{}/pods/{name}", self.namespace))
    }

    /// Its `ownerReferences` entry; `None` outside a pod, and if there is no pod of that name.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub(crate) async fn reference(&self, api: &Api) -> Result<Option<&Value>, Failure> {
        let (Some(name), Some(path)) = (&self.name, self.path()) else {
            return Ok(None);
        };
        let asked = self.reference.get_or_try_init(async || {
            let pod = api.call(Call::get(path)).await?;
            let garbled = || Failure::Garbled("the pod has no uid".to_owned());
            reference(name, &pod).ok_or_else(garbled)
        });
        match asked.await {
            Ok(reference) => Ok(Some(reference)),
            Err(failure) if failure.is_not_found() => {
                if !self.is_missed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        pod = name,
                        namespace = self.namespace,
                        "there is no such pod: objects made by this process have no owner (--pod-name)"
                    );
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn reference(name: &str, pod: &Value) -> Option<Value> {
    let uid = pod.pointer("/metadata/uid")?.as_str()?;
    Some(json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_referred_to_by_name_and_uid() {
        let pod = json!({"metadata": {"name": "speaker-x", "uid": "u1"}});
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": "u1"});
        assert_eq!(reference("speaker-x", &pod), Some(owner));
        assert_eq!(reference("speaker-x", &json!({})), None);
    }
}
