//! What an object has to be before it is stored: complete, without fault, and with its owners told.
//!
//! Brings together what is known of metadata, of core kinds, of schemas and of owners.

use super::{Way, seconds};
use crate::answer::Refusal;
use crate::apply::{Lists, Manager, own_update};
use crate::call::{Call, Stop};
use crate::schema::{self, Cause};
use crate::store::Store;
use crate::value::take;
use crate::{body, builtin, meta, service};
use serde_json::Value;

/// Completes and judges an object, and tells its owners: of a custom resource after unknown fields went and defaults came,
/// of the others before the server allocates anything.
pub(super) fn settle(
    store: &Store,
    call: &Call<'_>,
    way: Way,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), Stop> {
    if !call.kind.is_custom() {
        own(call, way, old, new);
    }
    judge(store, call, old, new)?;
    if call.kind.is_custom() {
        own(call, way, old, new);
    }
    Ok(())
}

/// Tells the owners of fields, as far as the write has not done so.
fn own(call: &Call<'_>, way: Way, old: Option<&Value>, new: &mut Value) {
    if way == Way::Apply {
        return;
    }
    let (name, time) = (call.request.manager(), seconds(call));
    let manager = Manager {
        name: &name,
        subresource: &call.target.subresource,
        time: Some(&time),
    };
    own_update(old, new, manager, &lists(call));
    if new["metadata"]["managedFields"].is_null() {
        take(&mut new["metadata"], "managedFields");
    }
}

pub(super) fn lists(call: &Call<'_>) -> Lists {
    if call.kind.is_custom() {
        Lists::of_schema(&call.version().schema)
    } else {
        Lists::of_kind(&call.kind.kind)
    }
}

/// Completes and judges an object by what is known of its kind.
fn judge(store: &Store, call: &Call<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Stop> {
    let mut causes = meta::faults(&call.kind, new);
    if call.kind.is_custom() {
        causes.extend(judge_custom(call, old, new)?);
    } else if call.kind.resource() == "services" {
        causes.extend(judge_service(store, call, old, new));
    } else if !call.is_status() {
        causes.extend(builtin::admit(&call.kind, old, new));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(&call.about(new), &causes).into())
}

fn judge_custom(call: &Call<'_>, old: Option<&Value>, new: &mut Value) -> Result<Vec<Cause>, Stop> {
    let schema = &call.version().schema;
    let judged = match old {
        Some(old) if call.is_status() => schema::admit_status(schema, new, old),
        old => schema::admit(schema, new, old),
    };
    let unknown = match judged {
        Ok(unknown) => unknown,
        Err(causes) => return Ok(causes),
    };
    body::unknown(call, &unknown)?;
    Ok(Vec::new())
}

fn judge_service(
    store: &Store,
    call: &Call<'_>,
    old: Option<&Value>,
    new: &mut Value,
) -> Vec<Cause> {
    let causes = if call.is_status() {
        let (causes, warnings) = service::admit_status(new);
        for warning in warnings {
            call.warn(warning);
        }
        causes
    } else {
        let digits = call.identity.rsplit('-').next().unwrap_or_default();
        let salt = u64::from_str_radix(digits, 16).unwrap_or_default();
        let is_taken = |claim: &str| store.is_claimed(claim);
        service::admit(old, new, &is_taken, salt)
    };
    if causes.is_empty() && !call.is_status() {
        for warning in service::warnings(new) {
            call.warn(warning);
        }
    }
    causes
}
