//! Passwords of BGP peers that are in Secrets: read one by one, by name, since a speaker may list none; or found among the manifests of a
//! directory.
//!
//! They are kept here, in the sessions that use them and nowhere else. One that cannot be had is a reason in words, and asked for again soon.

use crate::api::{Api, Call};
use crate::drive::bgp::{Keyless, Keys};
use crate::drive::clock::pause;
use crate::drive::decide::View;
use crate::edge::bgp::Key;
use crate::source::secrets;
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use speaker_core::plan::PasswordFrom;
use speaker_core::{Kind, ObjectKey, Plan, Problem, World};
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

/// Peers of this node whose Secret is at fault. One that could not be asked for may be sound.
pub(super) fn problems(world: &World, plan: &Plan, keys: &Keys) -> Vec<Problem> {
    let named = named(plan).filter_map(|(peer, secret)| {
        let Keyless::Faulty(why) = keys.get(&secret)?.as_ref().err()? else {
            return None;
        };
        let peer = world.bgp_peers.get(peer)?;
        Some(Problem {
            object: ObjectKey::new(Kind::BgpPeer, &peer.namespace, &peer.name),
            origin: "secret".to_owned(),
            field: "spec.passwordSecret".to_owned(),
            why: why.clone(),
        })
    });
    named.collect()
}

/// The peers of this node that name a Secret, with its namespace and name.
fn named(plan: &Plan) -> impl Iterator<Item = (&str, (String, String))> {
    let peers = plan.bgp.iter();
    peers.filter_map(
        |(peer, planned)| match &planned.settings.as_ref().ok()?.password {
            Some(PasswordFrom::Secret { namespace, name }) => {
                Some((&*peer.0, (namespace.clone(), name.clone())))
            }
            Some(PasswordFrom::Peer(_)) | None => None,
        },
    )
}

/// Namespace and name of each.
fn wanted(view: Option<&View>) -> BTreeSet<(String, String)> {
    let plans = view.into_iter().map(|view| &*view.plan);
    plans.flat_map(named).map(|(_, secret)| secret).collect()
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

async fn ask(api: &Api, name: &(String, String)) -> Result<Key, Keyless> {
    let path = format!("/api/v1/namespaces/{}/secrets/{}", name.0, name.1);
    match api.call(Call::get(path).within(CALL_MAX)).await {
        Ok(secret) => told(name, &secret),
        Err(failure) if failure.is_not_found() => Err(absent(name)),
        Err(failure) => Err(Keyless::Unread(format!(
            "Secret {}/{} cannot be read: {failure}",
            name.0, name.1
        ))),
    }
}

fn absent((namespace, name): &(String, String)) -> Keyless {
    Keyless::Faulty(format!("there is no Secret {namespace}/{name} yet"))
}

/// The password of a Secret, and a word about one that is seldom meant.
fn told((namespace, name): &(String, String), secret: &Value) -> Result<Key, Keyless> {
    let faulty = |why| Keyless::Faulty(format!("Secret {namespace}/{name}: {why}"));
    let key = key(secret).map_err(faulty)?;
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
    use speaker_core::plan::Memo;
    use speaker_core::{Local, manifest, plan};

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

    #[test]
    fn metallb_1_6_a_secret_at_fault_is_a_problem_of_the_peer_that_names_it_on_its_node_alone() {
        let mut world = World::default();
        for object in manifest::read("all.yaml", PEERS, "metallb-system").objects {
            world.put(object);
        }
        for kind in Kind::ALL {
            world.synced(kind);
        }
        let secret = json!({"type": "Opaque", "data": {"password": "c2VjcmV0"}});
        let name = |name: &str| ("metallb-system".to_owned(), name.to_owned());
        let mut keys = Keys::from([
            (name("one"), told(&name("one"), &secret)),
            (name("two"), Err(Keyless::Unread("a time-out".to_owned()))),
        ]);
        let told_on = |node: &str, keys: &Keys| {
            let local = Local::new(node.parse().unwrap());
            let members = world.nodes.keys().cloned().collect();
            let held = Default::default();
            let plan = plan(&world, &members, &held, &local, &mut Memo::default());
            let problems = problems(&world, &plan, keys).into_iter();
            problems
                .map(|problem| problem.to_string())
                .collect::<Vec<_>>()
        };
        let one = "secret: BGPPeer metallb-system/one: spec.passwordSecret: Secret metallb-system/one: its type is \"Opaque\", and must be kubernetes.io/basic-auth";
        assert_eq!(told_on("n1", &keys), [one]);
        assert_eq!(told_on("n2", &keys), [""; 0], "it may be sound");
        keys.insert(name("two"), Err(absent(&name("two"))));
        let two = "secret: BGPPeer metallb-system/two: spec.passwordSecret: there is no Secret metallb-system/two yet";
        assert_eq!(told_on("n2", &keys), [two]);
        keys.insert(name("one"), Ok(Key::new(b"secret").unwrap()));
        assert_eq!(told_on("n1", &keys), [""; 0], "it is mended");
    }

    const PEERS: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {on: one}}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {on: two}}
status: {addresses: [{type: InternalIP, address: 192.0.2.12}]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: one, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.1
  passwordSecret: {name: one}
  nodeSelectors: [{matchLabels: {on: one}}]
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: two, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.1
  passwordSecret: {name: two}
  nodeSelectors: [{matchLabels: {on: two}}]
";
}
