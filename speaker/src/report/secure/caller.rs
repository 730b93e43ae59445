//! Who calls, and may that one read metrics: two questions to the API server.

use super::verdicts::{Key, Verdict, Verdicts};
use crate::api::{Api, Call, Failure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use speaker_proto::Time;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lets callers in whom the API server allows.
pub(crate) struct Gate {
    api: Api,
    verdicts: Mutex<Verdicts>,
}

/// Why a caller is not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// Shows no token, or one that the API server does not know.
    Unknown,
    /// Is known and may not read.
    Forbidden {
        /// Who it is.
        user: String,
    },
    /// Too many callers were asked about lately.
    TooMany,
    /// The API server gave no answer.
    Unasked {
        /// Why.
        why: String,
    },
}

impl Gate {
    /// Asks this API server.
    pub(crate) fn new(api: Api) -> Self {
        Self {
            api,
            verdicts: Mutex::default(),
        }
    }

    /// Judges a caller by its `Authorization` header.
    pub(super) async fn admit(
        &self,
        now: Time,
        authorization: Option<&str>,
    ) -> Result<(), Refused> {
        let token = authorization.and_then(token).ok_or(Refused::Unknown)?;
        let key: Key = Sha256::digest(token).into();
        if let Some(verdict) = self.with(|verdicts| verdicts.fresh(now, &key)) {
            return said(verdict);
        }
        let refused = match self.with(|verdicts| verdicts.ask(now)) {
            true => match self.ask(token).await {
                Ok(verdict) => {
                    self.with(|verdicts| verdicts.keep(now, key, verdict.clone()));
                    return said(verdict);
                }
                Err(failure) => Refused::Unasked {
                    why: failure.to_string(),
                },
            },
            false => Refused::TooMany,
        };
        if self.with(|verdicts| verdicts.was_allowed(now, &key)) {
            tracing::debug!(?refused, "a scraper is let in that was allowed lately");
            return Ok(());
        }
        Err(refused)
    }

    async fn ask(&self, token: &str) -> Result<Verdict, Failure> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let reviewed = self
            .api
            .call(Call::post(path, review).within(ASK_MAX))
            .await?;
        if reviewed["status"]["authenticated"] != true {
            return Ok(Verdict::Unknown);
        }
        let user = &reviewed["status"]["user"];
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": access(user),
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let reviewed = self
            .api
            .call(Call::post(path, review).within(ASK_MAX))
            .await?;
        // A denial outweighs what another authorizer allows.
        let status = &reviewed["status"];
        if status["allowed"] == true && status["denied"] != true {
            return Ok(Verdict::Allowed);
        }
        Ok(Verdict::Forbidden {
            user: user["username"].as_str().unwrap_or_default().to_owned(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Verdicts) -> T) -> T {
        act(&mut self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn said(verdict: Verdict) -> Result<(), Refused> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::Unknown => Err(Refused::Unknown),
        Verdict::Forbidden { user } => Err(Refused::Forbidden { user }),
    }
}

/// A bearer token (RFC 6750 §2.1); the scheme's case does not matter.
fn token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    (is_bearer && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// What is asked of a user as the API server knows it: everything that an authorizer may go by is passed on.
fn access(user: &Value) -> Value {
    let mut spec = json!({
        "user": user["username"],
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    });
    for key in ["uid", "groups", "extra"] {
        if !user[key].is_null() {
            spec[key] = user[key].clone();
        }
    }
    spec
}

const ASK_MAX: Duration = Duration::from_secs(3); // a scraper gives up after ten, and there are two questions
const TOKEN_BYTES_MAX: usize = 16 << 10; // tokens of service accounts have one or two thousand

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_taken_and_nothing_else() {
        assert_eq!(token("Bearer abc"), Some("abc"));
        assert_eq!(token("bearer  abc "), Some("abc"));
        for none in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(token(none), None, "{none:?}");
        }
        assert_eq!(
            token(&format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1))),
            None
        );
    }

    #[test]
    fn everything_known_of_a_user_is_passed_on() {
        let user = json!({"username": "u", "uid": "1", "groups": ["g"], "extra": {"a": ["b"]}});
        let asked = access(&user);
        assert_eq!(
            asked,
            json!({
                "user": "u", "uid": "1", "groups": ["g"], "extra": {"a": ["b"]},
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            })
        );
        assert_eq!(access(&json!({"username": "u"}))["groups"], Value::Null);
    }
}
