//! One object by name, as it is now, and never taken for older than what we wrote ourselves.

use crate::api::Api;
use crate::drive::reflect;
use crate::source::kube::{Told, Watched};
use anyhow::Result;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is known of an object.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Look {
    /// Nothing yet.
    Unknown,
    /// It is not there.
    Missing,
    /// It is.
    There(Arc<Value>),
}

/// Follows one object.
pub(super) struct Followed {
    name: String,
    told: mpsc::Receiver<Told>,
    now: Look,
    /// The version that our last write replaced: the word of it may still be on its way.
    replaced: Option<String>,
}

impl Followed {
    /// Begins to follow the object of that name in a collection; the task that does is returned and must be run.
    pub(super) fn begin(
        api: Api,
        collection: &str,
        name: &str,
    ) -> (Self, impl Future<Output = Result<()>> + Send + use<>) {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let watched = Watched {
            path: collection.to_owned(),
            labels: String::new(),
            fields: format!("metadata.name={name}"),
        };
        let (following, _) = reflect::follow(api, watched, Duration::ZERO, tell, |told| told);
        let followed = Self {
            name: name.to_owned(),
            told,
            now: Look::Unknown,
            replaced: None,
        };
        (followed, following)
    }

    /// The object as it is known now.
    pub(super) fn now(&self) -> Look {
        self.now.clone()
    }

    /// Notes the object as the API server has it after a write of ours that was conditional on what was known.
    pub(super) fn wrote(&mut self, object: Value) {
        self.replaced = match &self.now {
            Look::There(known) => version_of(known),
            Look::Unknown | Look::Missing => None,
        };
        self.now = Look::There(Arc::new(object));
    }

    /// Waits for news and takes all that there is.
    pub(super) async fn changed(&mut self) {
        let Some(told) = self.told.recv().await else {
            return std::future::pending().await;
        };
        self.take(told);
        while let Ok(told) = self.told.try_recv() {
            self.take(told);
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            // A server that cannot select by name tells of all.
            Told::Put(object) if object["metadata"]["name"] != *self.name => {}
            Told::Put(object) => {
                let version = version_of(&object);
                if version.is_none() || version != self.replaced {
                    self.now = Look::There(Arc::new(object));
                }
            }
            Told::Gone(_, name) if name != self.name => {}
            Told::Gone(_, _) => self.now = Look::Missing,
            Told::Synced if self.now == Look::Unknown => self.now = Look::Missing,
            Told::Synced => {}
        }
    }
}

fn version_of(object: &Value) -> Option<String> {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.map(str::to_owned)
}

const TOLD_MAX: usize = 16; // one object changes now and then

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, version: &str) -> Value {
        json!({"metadata": {"name": name, "resourceVersion": version}})
    }

    fn followed() -> (Followed, mpsc::Sender<Told>) {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let followed = Followed {
            name: "a".to_owned(),
            told,
            now: Look::Unknown,
            replaced: None,
        };
        (followed, tell)
    }

    fn version(followed: &Followed) -> String {
        match followed.now() {
            Look::There(object) => version_of(&object).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_object_is_missing_only_once_a_whole_list_lacks_it() {
        let (mut followed, tell) = followed();
        tell.send(Told::Put(object("b", "1"))).await.unwrap();
        followed.changed().await;
        assert_eq!(followed.now(), Look::Unknown);
        tell.send(Told::Synced).await.unwrap();
        followed.changed().await;
        assert_eq!(followed.now(), Look::Missing);
        tell.send(Told::Put(object("a", "2"))).await.unwrap();
        tell.send(Told::Gone(String::new(), "b".to_owned()))
            .await
            .unwrap();
        tell.send(Told::Synced).await.unwrap();
        followed.changed().await;
        assert_eq!(version(&followed), "2");
        tell.send(Told::Gone(String::new(), "a".to_owned()))
            .await
            .unwrap();
        followed.changed().await;
        assert_eq!(followed.now(), Look::Missing);
    }

    #[tokio::test]
    async fn late_word_of_what_a_write_replaced_is_not_taken() {
        let (mut followed, tell) = followed();
        tell.send(Told::Put(object("a", "1"))).await.unwrap();
        followed.changed().await;
        followed.wrote(object("a", "2"));
        tell.send(Told::Put(object("a", "1"))).await.unwrap();
        followed.changed().await;
        assert_eq!(version(&followed), "2");
        tell.send(Told::Put(object("a", "3"))).await.unwrap();
        followed.changed().await;
        assert_eq!(version(&followed), "3");
    }
}
