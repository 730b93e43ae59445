//! Which peers somebody else's frr-k8s has: its FRRConfigurations, listed now and then while this node has BGP peers.
//!
//! They are not followed as other objects are: most clusters have none, nor their definition, and nothing that is announced may wait for
//! them. What is in one is not known here.

use crate::api::{Api, Call, Failure};
use crate::drive::clock::pause;
use crate::drive::decide::View;
use anyhow::{Context, Result};
use speaker_core::agent::Input;
use speaker_core::foreign::ForeignPeers;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::watch;

/// Looks for ever, and tells the deciding thread what it has not been told.
///
/// # Errors
/// When the views end.
pub(super) async fn follow(
    mut views: watch::Receiver<Option<Arc<View>>>,
    api: Api,
    inbox: SyncSender<Input>,
) -> Result<()> {
    let mut told = ForeignPeers::default();
    loop {
        let has_peers =
            |view: &Option<Arc<View>>| view.as_ref().is_some_and(|view| !view.plan.bgp.is_empty());
        (views.wait_for(has_peers).await).context("the views ended")?;
        let found = look(&api).await;
        let again = match &found {
            Ok(Some(_)) => AGAIN,
            Ok(None) => AGAIN_ABSENT,
            Err(failure) => {
                // What was found before counts.
                tracing::debug!(%failure, event = "foreignPeersUnknown", "FRRConfigurations cannot be listed");
                AGAIN
            }
        };
        if let Ok(found) = found.map(Option::unwrap_or_default)
            && found != told
        {
            // Where there is no room now, it is told next time.
            if inbox.try_send(Input::Foreign(found.clone())).is_ok() {
                told = found;
            }
        }
        pause(again).await;
    }
}

/// `None`: there are no such objects here, or this speaker may not know.
async fn look(api: &Api) -> Result<Option<ForeignPeers>, Failure> {
    match api.call(Call::get(PATH).within(CALL_MAX)).await {
        Ok(list) => {
            let items = list["items"].as_array().map(Vec::as_slice);
            Ok(Some(ForeignPeers::of(items.unwrap_or_default())))
        }
        Err(failure) if matches!(failure.code(), Some(403 | 404)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// From the API server's own memory, which is as new as it needs to be.
const PATH: &str = "/apis/frrk8s.metallb.io/v1beta1/frrconfigurations?resourceVersion=0";
const CALL_MAX: Duration = Duration::from_secs(5);
/// Somebody configures another speaker seldom, and a router that refuses one of two sessions says so at once.
const AGAIN: Duration = Duration::from_secs(30);
/// A definition is made once in the life of a cluster.
const AGAIN_ABSENT: Duration = Duration::from_secs(300);
