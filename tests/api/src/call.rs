//! One request on its way through the store, and the questions that it has to others.
//!
//! A webhook cannot be asked while the store is held. So a request that needs one stops with the question, and is begun
//! again with the reply; it then finds the reply in place of asking. Nothing here waits or connects.

use crate::answer::{About, Refusal};
use crate::kinds::{Kind, Version};
use crate::rbac::User;
use crate::route::{Request, Target};
use crate::value::text;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// A review that a webhook is to answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// `clientConfig`, as in the configuration or the definition.
    pub client: Value,
    /// How long to wait.
    pub seconds: u64,
    /// The review.
    pub review: Value,
}

impl Question {
    /// Whether both ask the same; each review has a uid of its own.
    fn is_like(&self, other: &Self) -> bool {
        let nameless = |review: &Value| {
            let mut review = review.clone();
            review["request"]["uid"] = Value::Null;
            review
        };
        self.client == other.client && nameless(&self.review) == nameless(&other.review)
    }
}

/// The review as it came back, or why none did.
pub(crate) type Reply = Result<Value, String>;

/// Why a request did not come to its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// It is refused.
    Refused(Box<Refusal>),
    /// A webhook must be asked first.
    Ask(Box<Question>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// A request with what it names.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) target: Target,
    pub(crate) kind: Arc<Kind>,
    pub(crate) user: User,
    /// A uid that nothing else has: of the object that is made, and of the reviews.
    pub(crate) identity: &'a str,
    /// What webhooks said so far.
    pub(crate) replies: &'a [(Question, Reply)],
    pub(crate) warnings: RefCell<Vec<String>>,
    pub(crate) asked: Cell<u32>,
}

impl Call<'_> {
    /// The version that the path names.
    pub(crate) fn version(&self) -> &Version {
        let named = self.kind.version(&self.target.version);
        named.unwrap_or(self.kind.stored())
    }

    /// `apiVersion` of objects in this request.
    pub(crate) fn api_version(&self) -> String {
        self.kind.api_version(&self.target.version)
    }

    /// Whether `/status` is meant.
    pub(crate) fn is_status(&self) -> bool {
        self.target.subresource == "status"
    }

    /// For messages, by kind.
    pub(crate) fn about(&self, object: &Value) -> About {
        About {
            group: self.target.group.clone(),
            kind: self.kind.kind.clone(),
            name: text(&object["metadata"]["name"]),
        }
    }

    /// Tells the client something that is no error.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        self.warnings.borrow_mut().push(warning.into());
    }

    /// A uid for the next review.
    pub(crate) fn review_uid(&self) -> String {
        self.asked.set(self.asked.get() + 1);
        let kept = self.identity.len() - 4;
        format!(
            "{}{:04x}",
            &self.identity[..kept],
            0xf000 + self.asked.get()
        )
    }

    /// A webhook's reply with what it was asked, if it was asked already.
    pub(crate) fn ask(&self, question: Question) -> Result<&(Question, Reply), Stop> {
        let known = self
            .replies
            .iter()
            .find(|(asked, _)| asked.is_like(&question));
        known.ok_or_else(|| Stop::Ask(Box::new(question)))
    }
}
