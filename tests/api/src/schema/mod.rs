//! What an API server does with a custom resource before it stores it: prune, fill in defaults, validate, evaluate rules.
//!
//! It knows a schema and one object, old and new; no kinds, no webhooks, no store. `metadata` is left alone: other rules hold
//! there. Ruled by the "Structural schemas" and "Validation rules" chapters of Kubernetes' documentation of custom resources; the
//! texts are those of kube-apiserver, as recorded.

mod cause;
mod list;
mod prune;
mod rules;
#[cfg(test)]
mod tests;
mod validate;

pub use cause::{Cause, message};

use serde_json::Value;
use validate::Validation;

/// Prunes, defaults and validates a whole object by the schema of its version (`openAPIV3Schema`). `old` is the stored object
/// that it replaces: what is as it was is not judged again. Gives the paths of the fields that were pruned: warnings
/// for a client that wants to be warned, errors for a strict one.
///
/// # Errors
/// All that is wrong with the object, in the server's words.
pub fn admit(
    schema: &Value,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<Vec<String>, Vec<Cause>> {
    let unknown = complete(schema, new);
    let mut causes = Validation::whole().of(schema, new, old);
    judge(schema, new, old, &mut causes);
    settle(unknown, causes)
}

/// The same for a write to `/status`, of which the server validates only the status, and says its fields' names without
/// `status.` in the text.
///
/// # Errors
/// All that is wrong with the status, in the server's words.
pub fn admit_status(
    schema: &Value,
    new: &mut Value,
    old: &Value,
) -> Result<Vec<String>, Vec<Cause>> {
    let unknown = complete(schema, new);
    let part = &schema["properties"]["status"];
    let mut causes = match new.get("status") {
        Some(status) => Validation::below("status").of(part, status, old.get("status")),
        None => Vec::new(),
    };
    judge(schema, new, Some(old), &mut causes);
    settle(unknown, causes)
}

/// Prunes and fills in defaults, as it is done on reading too.
pub fn complete(schema: &Value, object: &mut Value) -> Vec<String> {
    let unknown = prune::prune(schema, object);
    prune::fill_in(schema, object);
    unknown
}

/// What is checked after the types: uniqueness in lists, then rules. Rules need an object of the right shape.
fn judge(schema: &Value, new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let doubled = list::duplicates(schema, new);
    let was_good = old.is_none_or(|old| list::duplicates(schema, old).is_empty());
    if was_good {
        causes.extend(doubled);
    }
    if rules::has_any(schema) {
        if causes.iter().any(Cause::blocks_rules) {
            causes.push(Cause::unchecked());
        } else {
            causes.extend(rules::broken(schema, new, old));
        }
    }
}

fn settle(unknown: Vec<String>, causes: Vec<Cause>) -> Result<Vec<String>, Vec<Cause>> {
    if causes.is_empty() {
        Ok(unknown)
    } else {
        Err(causes)
    }
}
