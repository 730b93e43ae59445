//! Passwords of BGP peers that are in Secrets: read one by one, by name, since a speaker may list none; or found among the manifests of a
//! directory.
//!
//! They are kept here, in the sessions that use them and nowhere else. One that cannot be had is a reason in words, and asked for again soon.

use crate::api::{Api, Call};
use crate::drive::bgp::Keys;
use crate::drive::clock::pause;
use crate::drive::decide::View;
use crate::edge::bgp::Key;
use crate::source::secrets;
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use speaker_core::plan::PasswordFrom;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Where Secrets are.
pub(super) enum Vault {
    /// With an API server.
    Api(Api),
    /// Among the manifests of a directory; one that names no namespace is in this one.
    Folder(PathBuf, String),
}

/// No Secret was read yet.
pub(super) fn none() -> Keys {
    Keys::new()
}

/// Follows what peers name, for ever.
///
/// # Errors
/// When the views end.
pub(super) async fn follow(
    mut views: watch::Receiver<Option<Arc<View>>>,
    vault: Vault,
    keys: watch::Sender<Keys>,
) -> Result<()> {
    loop {
        let wanted = wanted(views.borrow_and_update().as_deref());
        let found = read(&vault, &wanted).await?;
        let is_whole = found.values().all(Result::is_ok);
        keys.send_if_modified(|known| {
            let is_new = *known != found;
            *known = found;
            is_new
        });
        let again = async {
            match wanted.is_empty() {
                true => std::future::pending().await,
                false => pause(if is_whole { AGAIN } else { AGAIN_LACKING }).await,
            }
        };
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                changed = views.changed() => changed.context("the views ended")?,
            }
            if self::wanted(views.borrow_and_update().as_deref()) != wanted {
                break;
            }
        }
    }
}

/// Namespace and name of each.
fn wanted(view: Option<&View>) -> BTreeSet<(String, String)> {
    let peers = view.into_iter().flat_map(|view| view.plan.bgp.values());
    peers
        .filter_map(|peer| match &peer.settings.as_ref().ok()?.password {
            Some(PasswordFrom::Secret { namespace, name }) => {
                Some((namespace.clone(), name.clone()))
            }
            Some(PasswordFrom::Peer(_)) | None => None,
        })
        .collect()
}

async fn read(vault: &Vault, wanted: &BTreeSet<(String, String)>) -> Result<Keys> {
    let mut keys = Keys::new();
    match vault {
        Vault::Api(api) => {
            for name in wanted {
                keys.insert(name.clone(), ask(api, name).await);
            }
        }
        Vault::Folder(root, namespace) => {
            let (root, namespace, names) = (root.clone(), namespace.clone(), wanted.clone());
            let found = spawn_blocking(move || secrets(&root, &names, &namespace));
            let found = found.await.context("looking for Secrets failed")?;
            let of = |name| {
                found
                    .get(name)
                    .map_or_else(|| Err(absent(name)), |secret| told(name, secret))
            };
            keys.extend(wanted.iter().map(|name| (name.clone(), of(name))));
        }
    }
    Ok(keys)
}

async fn ask(api: &Api, name: &(String, String)) -> Result<Key, String> {
    let path = format!("/api/v1/namespaces/{}/secrets/{}", name.0, name.1);
    match api.call(Call::get(path).within(CALL_MAX)).await {
        Ok(secret) => told(name, &secret),
        Err(failure) if failure.is_not_found() => Err(absent(name)),
        Err(failure) => Err(format!(
            "Secret {}/{} cannot be read: {failure}",
            name.0, name.1
        )),
    }
}

fn absent((namespace, name): &(String, String)) -> String {
    format!("there is no Secret {namespace}/{name} yet")
}

/// The password of a Secret, and a word about one that is seldom meant.
fn told((namespace, name): &(String, String), secret: &Value) -> Result<Key, String> {
    let key = key(secret).map_err(|why| format!("Secret {namespace}/{name}: {why}"))?;
    if key.has_white_space_around() {
        tracing::warn!(
            secret = format!("{namespace}/{name}"),
            event = "passwordWhiteSpace",
            "the password begins or ends with white space, which counts: the router must have it too"
        );
    }
    Ok(key)
}

/// MetalLB wants the type basic-auth and takes its password. What stands in `stringData` counts before `data`, as the API server has it when
/// it takes a Secret; what it gives back has none.
fn key(secret: &Value) -> Result<Key, String> {
    let kind = secret["type"].as_str().unwrap_or_default();
    if kind != BASIC_AUTH {
        return Err(format!("its type is {kind:?}, and must be {BASIC_AUTH}"));
    }
    if let Some(text) = secret["stringData"]["password"].as_str() {
        return Key::new(text.as_bytes()).map_err(|error| error.to_string());
    }
    let text = secret["data"]["password"].as_str();
    let text = text.ok_or("it has no password")?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| "its password is not base64")?;
    Key::new(&Zeroizing::new(bytes)).map_err(|error| error.to_string())
}

const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const CALL_MAX: Duration = Duration::from_secs(5);
/// A password changes seldom, and then both sides in some minutes.
const AGAIN: Duration = Duration::from_secs(30);
/// While a session waits for it.
const AGAIN_LACKING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(secret: &Value, expected: Result<&[u8], &str>) {
        let expected = expected
            .map(|bytes| Key::new(bytes).unwrap())
            .map_err(str::to_owned);
        assert_eq!(key(secret), expected);
    }

    #[test]
    fn metallb_1_4_a_password_is_that_of_a_basic_auth_secret() {
        check(
            &json!({"type": BASIC_AUTH, "data": {"password": "c2VjcmV0"}}),
            Ok(b"secret"),
        );
        check(
            &json!({"type": "Opaque", "data": {"password": "c2VjcmV0"}}),
            Err("its type is \"Opaque\", and must be kubernetes.io/basic-auth"),
        );
        check(
            &json!({"type": BASIC_AUTH, "data": {"password": "b2xk"}, "stringData": {"password": "new"}}),
            Ok(b"new"),
        );
        check(&json!({"type": BASIC_AUTH}), Err("it has no password"));
        check(
            &json!({"type": BASIC_AUTH, "data": {"password": "%"}}),
            Err("its password is not base64"),
        );
        let long = STANDARD.encode([b'x'; 81]);
        check(
            &json!({"type": BASIC_AUTH, "data": {"password": long}}),
            Err("the password has 81 bytes, and TCP-MD5 takes 80"),
        );
    }
}
