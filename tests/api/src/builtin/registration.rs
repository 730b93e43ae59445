//! Objects that change the server itself: webhook configurations and definitions of kinds.
//!
//! The rules and words are the recorded ones (`admission.jsonl`, `crds.jsonl`, `conversion.jsonl`).

use crate::schema::Cause;
use crate::value::{each, each_mut, fill, take, text};
use base64::Engine;
use serde_json::{Value, json};

/// A ValidatingWebhookConfiguration.
pub(super) fn hooks(new: &mut Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (at, hook) in each_mut(new, "webhooks").enumerate() {
        default_hook(hook);
        causes.extend(hook_faults(&format!("webhooks[{at}]"), hook));
    }
    causes
}

/// A ValidatingAdmissionPolicy.
pub(super) fn policy(new: &mut Value) -> Vec<Cause> {
    let spec = &mut new["spec"];
    fill(spec, "failurePolicy", "Fail");
    let constraints = &mut spec["matchConstraints"];
    fill(constraints, "matchPolicy", "Equivalent");
    fill(constraints, "namespaceSelector", json!({}));
    fill(constraints, "objectSelector", json!({}));
    for rule in each_mut(constraints, "resourceRules") {
        fill(rule, "scope", "*");
    }
    Vec::new()
}

fn default_hook(hook: &mut Value) {
    let defaults = [
        ("failurePolicy", json!("Fail")),
        ("matchPolicy", json!("Equivalent")),
        ("namespaceSelector", json!({})),
        ("objectSelector", json!({})),
        ("timeoutSeconds", json!(10)),
    ];
    for (key, value) in defaults {
        fill(hook, key, value);
    }
    for rule in each_mut(hook, "rules") {
        fill(rule, "scope", "*");
    }
    default_port(&mut hook["clientConfig"]);
}

fn default_port(client: &mut Value) {
    if client["service"].is_object() && client["service"].get("port").is_none() {
        client["service"]["port"] = json!(443);
    }
    if client["service"].is_null() {
        take(client, "service");
    }
}

fn hook_faults(place: &str, hook: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(&hook["name"]);
    if name.split('.').filter(|part| !part.is_empty()).count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        causes.push(Cause::shown(format!("{place}.name"), &hook["name"], why));
    }
    let versions = each(&hook["admissionReviewVersions"]);
    if !versions
        .into_iter()
        .any(|version| version == "v1" || version == "v1beta1")
    {
        let field = format!("{place}.admissionReviewVersions");
        let why = "must include at least one of v1, v1beta1";
        causes.push(Cause::shown(field, &hook["admissionReviewVersions"], why));
    }
    let policy = &hook["matchPolicy"];
    let known = ["Equivalent", "Exact"];
    if !known.iter().any(|known| policy == known) {
        causes.push(Cause::unlisted(
            format!("{place}.matchPolicy"),
            policy,
            &known,
        ));
    }
    let effects = &hook["sideEffects"];
    let field = format!("{place}.sideEffects");
    let known = ["None", "NoneOnDryRun"];
    match effects.as_str() {
        None => causes.push(Cause::wanted(
            field,
            "must specify one of None, NoneOnDryRun",
        )),
        Some(word) if known.contains(&word) => {}
        Some(_) => causes.push(Cause::unlisted(field, effects, &known)),
    }
    let seconds = &hook["timeoutSeconds"];
    if !seconds
        .as_i64()
        .is_some_and(|seconds| (1..=30).contains(&seconds))
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::shown(
            format!("{place}.timeoutSeconds"),
            seconds,
            why,
        ));
    }
    let client = &hook["clientConfig"];
    let field = format!("{place}.clientConfig");
    if client["url"].is_string() == client["service"].is_object() {
        let why = "exactly one of url or service is required";
        causes.push(Cause::wanted(field, why));
    } else if let Some((scheme, _)) = client["url"].as_str().and_then(|url| url.split_once("://"))
        && scheme != "https"
    {
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        causes.push(Cause::shown(format!("{field}.url"), &json!(scheme), why));
    }
    causes
}

/// A CustomResourceDefinition.
pub(super) fn definition(old: Option<&Value>, new: &mut Value) -> Vec<Cause> {
    let spec = &mut new["spec"];
    let kind = text(&spec["names"]["kind"]);
    let names = &mut spec["names"];
    fill(names, "singular", kind.to_lowercase());
    fill(names, "listKind", format!("{kind}List"));
    fill(spec, "conversion", json!({"strategy": "None"}));
    if spec["conversion"]["webhook"].is_object() {
        default_port(&mut spec["conversion"]["webhook"]["clientConfig"]);
    } else {
        take(&mut spec["conversion"], "webhook");
    }
    let stored = each(&spec["versions"]);
    let stored: Vec<_> = stored
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    if old.is_none() {
        new["status"] = json!({
            "conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored,
        });
    }
    definition_faults(new)
}

fn definition_faults(new: &Value) -> Vec<Cause> {
    let spec = &new["spec"];
    let mut causes = Vec::new();
    let wanted = format!(
        "{}.{}",
        text(&spec["names"]["plural"]),
        text(&spec["group"])
    );
    let name = &new["metadata"]["name"];
    if *name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::shown("metadata.name", name, why));
    }
    let conversion = &spec["conversion"];
    let webhook = &conversion["webhook"];
    if conversion["strategy"] != "Webhook" && webhook.is_object() {
        let why = "should not be set when strategy is not set to Webhook";
        for part in ["webhookClientConfig", "conversionReviewVersions"] {
            causes.push(Cause::forbidden(format!("spec.conversion.{part}"), why));
        }
    }
    let bundle = &webhook["clientConfig"]["caBundle"];
    if conversion["strategy"] == "Webhook" && bundle.is_string() && !is_certificate(bundle) {
        let field = "spec.conversion.webhookClientConfig.caBundle";
        let why = "unable to load root certificates: unable to parse bytes as PEM block";
        causes.push(Cause::shown(field, bundle, why));
    }
    causes
}

fn is_certificate(bundle: &Value) -> bool {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(bundle));
    bytes.is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----"))
}

/// The definition with its names accepted. None if they are.
pub(super) fn accept(definition: &Value, now: &str) -> Option<Value> {
    if definition["status"]["acceptedNames"] == definition["spec"]["names"] {
        return None;
    }
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message,
        })
    };
    let mut accepted = definition.clone();
    accepted["status"]["conditions"] = json!([
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition(
            "Established",
            "InitialNamesAccepted",
            "the initial names have been accepted"
        ),
    ]);
    accepted["status"]["acceptedNames"] = definition["spec"]["names"].clone();
    Some(accepted)
}
