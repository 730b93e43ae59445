//! Why a request came to nothing, as far as it changes what the caller does next.

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Why a request came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The API server answered that it will not.
    Refused(Refusal),
    /// It was not reached, or the connection broke.
    Broken(String),
    /// No answer came in time; what was asked for may have been done.
    Slow(Duration),
    /// The answer could not be read.
    Garbled(String),
}

/// An answer that is no success (meta/v1 Status).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The machine's word for it, such as `Conflict` or `AlreadyExists`; empty where there is none.
    pub(crate) reason: String,
    /// The text for people.
    pub(crate) message: String,
    /// When to ask again (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    reason: String,
    message: String,
}

impl Failure {
    /// From an answer that is no success; a body that is no Status is taken as text.
    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let parsed: Option<Status> = serde_json::from_slice(body).ok();
        let Status { reason, message } = parsed.unwrap_or_else(|| Status {
            reason: String::new(),
            message: String::from_utf8_lossy(body).trim().to_owned(),
        });
        let seconds = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Self::told(status.as_u16(), reason, message, seconds)
    }

    /// From the fields of a Status, such as one that comes as an event of a watch. `retry_after` is in seconds.
    pub(crate) fn told(
        code: u16,
        reason: String,
        message: String,
        retry_after: Option<u64>,
    ) -> Self {
        Self::Refused(Refusal {
            code,
            reason,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            retry_after: retry_after
                .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        })
    }

    /// The HTTP status, if there was an answer.
    pub(crate) const fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Broken(_) | Self::Slow(_) | Self::Garbled(_) => None,
        }
    }

    /// Whether the object is not there, or not any more.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self.code(), Some(404))
    }

    /// Whether somebody else wrote in between; not when an object to be made is there already, which has the same code.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 409 && refusal.reason != ALREADY_EXISTS)
    }

    /// Whether an object to be made is there already.
    pub(crate) fn already_exists(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reason == ALREADY_EXISTS)
    }

    /// When the server wants to be asked again, if it said so.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Broken(_) | Self::Slow(_) | Self::Garbled(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) if refusal.message.is_empty() => {
                write!(f, "the API server answered {}", refusal.code)
            }
            Self::Refused(refusal) => write!(f, "{} ({})", refusal.message, refusal.code),
            Self::Broken(why) => write!(f, "the API server cannot be reached: {why}"),
            Self::Slow(limit) => write!(f, "no answer within {limit:?}"),
            Self::Garbled(why) => write!(f, "the answer cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            source = cause.source();
        }
        Self::Broken(why)
    }
}

const ALREADY_EXISTS: &str = "AlreadyExists";
const MESSAGE_CHARS_MAX: usize = 2000; // a message may quote the whole object
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60); // longer would look like an outage

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, retry_after: Option<&str>, body: &str) -> Failure {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.parse().unwrap());
        }
        Failure::refused(
            StatusCode::from_u16(code).unwrap(),
            &headers,
            body.as_bytes(),
        )
    }

    #[test]
    fn two_kinds_of_409_are_told_apart() {
        let stale = refused(409, None, r#"{"reason":"Conflict","message":"changed"}"#);
        assert!(stale.is_conflict() && !stale.already_exists());
        let made = refused(
            409,
            None,
            r#"{"reason":"AlreadyExists","message":"is there"}"#,
        );
        assert!(!made.is_conflict() && made.already_exists());
    }

    #[test]
    fn an_answer_that_is_no_status_is_taken_as_text() {
        let missing = refused(404, None, "404 page not found\n");
        assert!(missing.is_not_found());
        assert_eq!(missing.to_string(), "404 page not found (404)");
    }

    #[test]
    fn the_wait_that_a_server_asks_for_is_bounded() {
        let wait = |text| refused(429, Some(text), "").retry_after();
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
