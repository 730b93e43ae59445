//! The Secret by which speakers know each other's gossip, made once.
//!
//! Name, key and form are MetalLB's (its page on installation): `secretkey` is 16 random bytes in unpadded base64, and the
//! Deployment owns the Secret. One that is there is neither changed nor read.

use crate::api::{Api, Call, Failure};
use crate::drive::chance;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

/// Makes the Secret unless it is there; whether it was made.
///
/// # Errors
/// When the API server does not let us.
pub(super) async fn ensure(
    api: &Api,
    namespace: &str,
    name: &str,
    deployment: Option<&str>,
) -> Result<bool, Failure> {
    let all = format!("/api/v1/namespaces/{namespace}/secrets");
    let owner = match deployment {
        Some(deployment) => owner(api, namespace, deployment).await?,
        None => None,
    };
    let secret = secret(name, owner, &chance::bytes());
    match api.call(Call::post(all, secret)).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.already_exists() => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn owner(api: &Api, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    match api.call(Call::get(path)).await {
        Ok(deployment) => {
            let uid = &deployment["metadata"]["uid"];
            Ok(Some(
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid}),
            ))
        }
        // Without an owner it stays when the Deployment goes.
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn secret(name: &str, owner: Option<Value>, bytes: &[u8; 16]) -> Value {
    // The data of a Secret is in base64 again.
    let key = STANDARD.encode(STANDARD_NO_PAD.encode(bytes));
    let mut secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "data": {"secretkey": key},
    });
    if let Some(owner) = owner {
        secret["metadata"]["ownerReferences"] = json!([owner]);
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_sixteen_bytes_in_unpadded_base64() {
        let owner = json!({"uid": "u"});
        let secret = secret("memberlist", Some(owner), &[0xff; 16]);
        let key = STANDARD
            .decode(secret["data"]["secretkey"].as_str().unwrap())
            .unwrap();
        assert_eq!(key, b"/////////////////////w");
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], json!("u"));
    }
}
