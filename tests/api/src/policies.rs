//! ValidatingAdmissionPolicies: rules in CEL that a server itself judges a write by, before it asks any webhook.
//!
//! Governed by the "Validating Admission Policy" page. Of what a policy may have these are known: constraints by rule, namespace and
//! labels, conditions, validations with their reasons, and bindings that deny. Parameters, variables and audits are not; a policy
//! that has them is a fault of the test.

use crate::answer::Refusal;
use crate::call::{Call, Stop};
use crate::hooks::{is_ruled, is_selected};
use crate::store::{Key, Store};
use crate::value::{each, text};
use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, Program, Value as Word};
use serde_json::{Value, json};

/// A write as a policy sees it.
#[derive(Clone, Copy)]
struct Write<'a> {
    operation: &'a str,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
}

/// Refused in the words of the first policy that denies the write.
pub(crate) fn admit(
    store: &Store,
    call: &Call<'_>,
    operation: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Stop> {
    let write = Write {
        operation,
        object,
        old,
    };
    for (_, binding) in store.range(BINDINGS, "") {
        let spec = &binding["spec"];
        let denies = each(&spec["validationActions"]).any(|action| action == "Deny");
        let policy = store.get(&Key::new(POLICIES, "", &text(&spec["policyName"])));
        let Some(policy) = policy.filter(|_| denies) else {
            continue;
        };
        assert!(
            policy["spec"]["variables"].is_null() && policy["spec"]["paramKind"].is_null(),
            "the double knows no variables and no parameters of policies"
        );
        let concerned = object.or(old);
        let is_bound = is_selected(store, call, concerned, &spec["matchResources"]);
        if is_bound && is_constrained(store, call, write, &policy["spec"]["matchConstraints"]) {
            judge(call, write, policy, binding)?;
        }
    }
    Ok(())
}

fn is_constrained(store: &Store, call: &Call<'_>, write: Write<'_>, constraints: &Value) -> bool {
    let own = call.target.version.as_str();
    let mut rules = each(&constraints["resourceRules"]);
    rules.any(|rule| is_ruled(call, write.operation, own, rule))
        && is_selected(store, call, write.object.or(write.old), constraints)
}

fn judge(call: &Call<'_>, write: Write<'_>, policy: &Value, binding: &Value) -> Result<(), Stop> {
    let context = context(call, write);
    let is_strict = policy["spec"]["failurePolicy"] != "Ignore";
    for condition in each(&policy["spec"]["matchConditions"]) {
        match holds(&context, condition) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) if is_strict => return Err(refusal(call, write, policy, binding, &why, "")),
            Err(_) => return Ok(()),
        }
    }
    for validation in each(&policy["spec"]["validations"]) {
        let why = match holds(&context, validation) {
            Ok(true) => continue,
            Ok(false) => match validation["message"].as_str() {
                Some(message) => message.to_owned(),
                None => format!("failed expression: {}", text(&validation["expression"])),
            },
            Err(why) if is_strict => why,
            Err(_) => continue,
        };
        let reason = text(&validation["reason"]);
        return Err(refusal(call, write, policy, binding, &why, &reason));
    }
    Ok(())
}

/// What expressions can speak of.
fn context(call: &Call<'_>, write: Write<'_>) -> Context<'static> {
    let object = write.object.unwrap_or(&Value::Null);
    let old = write.old.unwrap_or(&Value::Null);
    let mut user = json!({"username": call.user.name, "groups": call.user.groups});
    if !call.user.extra.is_empty() {
        user["extra"] = json!(call.user.extra);
    }
    let named = write.object.or(write.old);
    let request = json!({
        "operation": write.operation,
        "name": named.map(|object| text(&object["metadata"]["name"])),
        "namespace": call.target.namespace,
        "userInfo": user,
        "dryRun": call.request.is_dry(),
    });
    let mut context = Context::default().with_all();
    for (name, value) in [
        ("object", object),
        ("oldObject", old),
        ("request", &request),
    ] {
        context
            .add_variable(name, value)
            .expect("JSON is what CEL has values for");
    }
    context
}

fn holds(context: &Context<'_>, rule: &Value) -> Result<bool, String> {
    let expression = text(&rule["expression"]);
    let about = |why: String| format!("expression '{expression}' resulted in error: {why}");
    let program = Program::compile(&expression).map_err(|why| about(why.to_string()))?;
    match program.execute(context) {
        Ok(Word::Bool(holds)) => Ok(holds),
        Ok(other) => Err(about(format!("{other:?} is no bool"))),
        Err(why) => Err(about(why.to_string())),
    }
}

fn refusal(
    call: &Call<'_>,
    write: Write<'_>,
    policy: &Value,
    binding: &Value,
    why: &str,
    reason: &str,
) -> Stop {
    let name = |object: &Value| text(&object["metadata"]["name"]);
    let named = write.object.or(write.old).map(name).unwrap_or_default();
    let (policy, binding) = (name(policy), name(binding));
    let why = format!(
        "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
    );
    let mut refusal = Refusal::forbidden(&call.target.about_name(&named), &why);
    if reason != "Forbidden" {
        // What a policy gives no reason for is called invalid.
        (refusal.code, refusal.reason) = (422, "Invalid".to_owned());
    }
    refusal.into()
}

const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
