//! The Secret at the API server: read, filled where nothing in it can be used, and written on top of what was read.

use super::Counts;
use super::bundle::MANAGER;
use super::kept::{Kept, is_issued_by_others};
use crate::api::{Api, Call, Failure};
use crate::drive::clock::{pause, wall};
use crate::report::events::EventSender;
use crate::tls::Served;
use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What keeping needs of the world.
pub(super) struct Place {
    pub(super) api: Api,
    pub(super) namespace: String,
    /// The Secret's name.
    pub(super) secret: String,
    /// The name that the certificate is for.
    pub(super) server_name: String,
    pub(super) served: Arc<Served>,
    pub(super) events: EventSender,
    pub(super) counts: Arc<Counts>,
}

impl Place {
    pub(super) fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    fn secret_path(&self) -> String {
        format!("{}/{}", self.secrets(), self.secret)
    }

    /// Reads the Secret, or fills it when nothing in it can be used, and shows its certificate. Returns once that is done: until then
    /// there is nothing to serve with.
    pub(super) async fn take(&self) -> Kept {
        let mut told = String::new();
        loop {
            let why = match self.read_or_fill().await {
                Ok(kept) => {
                    self.served.show(kept.identity.clone());
                    return kept;
                }
                Err(error) => format!("{error:#}"),
            };
            if told != why {
                tracing::warn!(
                    event = "certificateMissing",
                    secret = self.secret,
                    error = why,
                    "no certificate to serve webhooks with yet"
                );
                told = why;
            }
            pause(RETRY).await;
        }
    }

    async fn read_or_fill(&self) -> Result<Kept> {
        let path = self.secret_path();
        let found = match self.api.call(Call::get(path)).await {
            Ok(secret) => secret,
            Err(failure) if failure.is_not_found() => Value::Null,
            Err(failure) => return Err(failure.into()),
        };
        let why = match self.usable(&found) {
            Ok(kept) => return Ok(kept),
            Err(why) => why,
        };
        if is_issued_by_others(&found) {
            return Err(why.context("cert-manager is to fill it"));
        }
        tracing::info!(
            event = "certificateIssued",
            secret = self.secret,
            reason = format!("{why:#}"),
            "issuing a certificate for the webhooks"
        );
        let kept = Kept::new(&self.server_name, today())?;
        match self.write(&found, &kept).await {
            Ok(_) => Ok(kept),
            // Another replica was faster; what it wrote is read next time.
            Err(failure) => Err(failure.into()),
        }
    }

    /// What a Secret holds, if it can be served.
    pub(super) fn usable(&self, secret: &Value) -> Result<Kept> {
        let kept = Kept::read(secret)?;
        kept.serves(&self.server_name, today())?;
        Ok(kept)
    }

    /// Writes the Secret unless somebody changed it since `found` was read.
    pub(super) async fn write(&self, found: &Value, kept: &Kept) -> Result<Value, Failure> {
        let call = match found["metadata"]["resourceVersion"].as_str() {
            None => Call::post(
                format!("{}?fieldManager={MANAGER}", self.secrets()),
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": self.secret, "namespace": self.namespace},
                    "data": kept.data(),
                }),
            ),
            Some(version) => Call::merge(
                format!("{}?fieldManager={MANAGER}", self.secret_path()),
                json!({"metadata": {"resourceVersion": version}, "data": kept.data()}),
            ),
        };
        self.api.call(call).await
    }
}

/// The calendar's time.
pub(super) fn today() -> Timestamp {
    wall().try_into().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Until it works, writes of configuration are refused.
pub(super) const RETRY: Duration = Duration::from_secs(1);
