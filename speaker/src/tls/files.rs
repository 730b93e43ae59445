//! A certificate that somebody else keeps in a folder: `tls.crt` and `tls.key`, as a Secret of type `kubernetes.io/tls` is mounted.
//!
//! The folder is read again at intervals: a mounted Secret changes by a link that moves, up to a minute after the Secret did, so
//! that a notice of the kernel would gain nothing.

use super::identity::Identity;
use super::served::Served;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs;

/// A folder with `tls.crt` and `tls.key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CertDir(pub(crate) PathBuf);

impl CertDir {
    /// Reads what is there.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not belong together: one may have been replaced and the other not yet.
    pub(crate) async fn read(&self) -> Result<Identity> {
        let text = async |name: &str| {
            let path = self.0.join(name);
            let text = fs::read_to_string(&path).await;
            text.with_context(|| format!("failed to read {}", path.display()))
        };
        let (chain, key) = (text("tls.crt").await?, text("tls.key").await?);
        Identity::read(&chain, &key)
            .with_context(|| format!("failed to use the certificate in {}", self.0.display()))
    }
}

/// Shows what is in the folder, for ever: at once, and whatever it is replaced by. What cannot be used is told once and the last
/// good one kept. `pause` waits.
pub(crate) async fn follow<P: Future<Output = ()>>(
    folder: CertDir,
    served: Arc<Served>,
    pause: impl Fn(Duration) -> P,
) {
    let mut told = String::new();
    loop {
        match folder.read().await {
            Ok(identity) => {
                let until = identity.leaf.not_after;
                if served.show(identity) {
                    tracing::info!(event = "certificateLoaded", folder = %folder.0.display(), %until,
                        "certificate loaded");
                }
                told.clear();
            }
            Err(error) => {
                let why = format!("{error:#}");
                if told != why {
                    tracing::warn!(
                        event = "certificateUnusable",
                        error = why,
                        "certificate not loaded; the last good one stays in use"
                    );
                }
                told = why;
            }
        }
        pause(EVERY).await;
    }
}

/// Short beside the minute that a kubelet takes to bring a new one.
const EVERY: Duration = Duration::from_secs(5);
