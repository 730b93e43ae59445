//! What an API server says when it refuses: `Status` objects with the reasons, details and words of kube-apiserver 1.36.
//!
//! The shapes are those of recorded exchanges (`tests/api/data/apiserver`). Knows no kind and no object.

use crate::schema::{self, Cause};
use serde_json::{Map, Value, json};

/// An answer to one request that is no watch.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub code: u16,
    /// What is sent.
    pub body: Body,
    /// Lines of `Warning` headers, without the code and the quotes.
    pub warnings: Vec<String>,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u32>,
}

/// A body and its media type.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// JSON.
    Json(Value),
    /// Plain text.
    Text(String),
}

impl Answer {
    /// JSON with a status code.
    pub(crate) fn json(code: u16, body: Value) -> Self {
        Self {
            code,
            body: Body::Json(body),
            warnings: Vec::new(),
            retry_after: None,
        }
    }

    /// 200 and plain text.
    pub(crate) fn text(body: &str) -> Self {
        Self {
            body: Body::Text(body.to_owned()),
            ..Self::json(200, Value::Null)
        }
    }
}

/// Which object a refusal is about, for its details.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// Empty for core.
    pub(crate) group: String,
    /// Plural or kind, as the message wants it.
    pub(crate) kind: String,
    /// Empty if none.
    pub(crate) name: String,
}

impl About {
    /// The options of a request, as in `ListOptions`.
    pub(crate) fn options(kind: &str) -> Self {
        Self {
            group: "meta.k8s.io".to_owned(),
            kind: kind.to_owned(),
            name: String::new(),
        }
    }

    /// `kind` and its group joined by a dot, as messages have it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    fn details(&self) -> Map<String, Value> {
        let fields = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
        ];
        let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(key, value)| (key.to_owned(), json!(value)))
            .collect()
    }
}

/// A request that is not done.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable, empty where the server gives none.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The object's name, group, kind and causes.
    pub details: Option<Value>,
    /// Seconds to wait, told in a header and in the details.
    pub retry_after: Option<u32>,
    /// Sent as text in place of a `Status`.
    pub is_plain: bool,
    /// Metadata of the `Status`: a new token for a list that is too old.
    pub metadata: Value,
}

impl Refusal {
    /// A refusal without details.
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: None,
            retry_after: None,
            is_plain: false,
            metadata: json!({}),
        }
    }

    fn about(self, about: &About) -> Self {
        let details = Some(Value::Object(about.details()));
        Self { details, ..self }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 500 without a reason, as errors of the server's inner parts come out.
    pub(crate) fn plain_500(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 404 of a path that no part of the server knows.
    pub(crate) fn no_path() -> Self {
        Self {
            is_plain: true,
            ..Self::new(404, "", "404 page not found\n")
        }
    }

    /// 404 of a resource that a known version does not have.
    pub(crate) fn no_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message).about(&About::default())
    }

    /// 405.
    pub(crate) fn no_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).about(&About::default())
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 404 of an object.
    pub(crate) fn not_found(about: &About) -> Self {
        let message = format!("{} {:?} not found", about.qualified(), about.name);
        Self::new(404, "NotFound", message).about(about)
    }

    /// 409 of an object that is there.
    pub(crate) fn exists(about: &About, is_ending: bool) -> Self {
        let ending = if is_ending {
            "object is being deleted: "
        } else {
            ""
        };
        let (kind, name) = (about.qualified(), &about.name);
        let message = format!("{ending}{kind} {name:?} already exists");
        Self::new(409, "AlreadyExists", message).about(about)
    }

    /// 409 of a write that is not based on what is there.
    pub(crate) fn conflict(about: &About, why: &str) -> Self {
        let (kind, name) = (about.qualified(), &about.name);
        let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(about)
    }

    /// 403.
    pub(crate) fn forbidden(about: &About, why: &str) -> Self {
        let quoted = match about.name.as_str() {
            "" => String::new(),
            name => format!(" {name:?}"),
        };
        let message = format!("{}{quoted} is forbidden: {why}", about.qualified());
        Self::new(403, "Forbidden", message).about(about)
    }

    /// 422 with the fields that are wrong.
    pub(crate) fn invalid(about: &About, causes: &[Cause]) -> Self {
        let told = schema::message(causes);
        let message = format!("{} {:?} is invalid: {told}", about.qualified(), about.name);
        let mut details = about.details();
        let causes = causes.iter().map(
            |cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}),
        );
        details.insert("causes".to_owned(), causes.collect());
        Self {
            details: Some(Value::Object(details)),
            ..Self::new(422, "Invalid", message)
        }
    }

    /// 500 with the cause in the details, as calls of webhooks end.
    pub(crate) fn internal(why: &str) -> Self {
        Self {
            details: Some(json!({"causes": [{"message": why}]})),
            ..Self::new(
                500,
                "InternalError",
                format!("Internal error occurred: {why}"),
            )
        }
    }

    /// The same with a wish to wait.
    pub(crate) fn wait(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        let details = self.details.get_or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        self
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }

    /// As an answer.
    pub(crate) fn answer(&self) -> Answer {
        let body = if self.is_plain {
            Body::Text(self.message.clone())
        } else {
            Body::Json(self.status())
        };
        Answer {
            body,
            retry_after: self.retry_after,
            ..Answer::json(self.code, Value::Null)
        }
    }
}
