//! A Service's status: addresses of the load balancer.
//!
//! Governed by KEP-1860 (`ipMode`) and the recorded words of refusals.

use super::is_balanced;
use crate::schema::Cause;
use crate::value::{each_mut, fill, take, text};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv6Addr};

/// Completes a status and says what is wrong with it, and what the client should be warned of.
pub(crate) fn admit(new: &mut Value) -> (Vec<Cause>, Vec<String>) {
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    if !new["status"]["loadBalancer"].is_object() {
        new["status"]["loadBalancer"] = json!({});
    }
    for condition in each_mut(&mut new["status"], "conditions") {
        for (key, value) in [
            ("lastTransitionTime", Value::Null),
            ("reason", json!("")),
            ("message", json!("")),
        ] {
            fill(condition, key, value);
        }
    }
    if new["status"]["conditions"].is_null() {
        take(&mut new["status"], "conditions");
    }
    let can_hold = is_balanced(&new["spec"]);
    let balancer = &mut new["status"]["loadBalancer"];
    let items = balancer["ingress"].as_array_mut().map(std::mem::take);
    let mut items = items.unwrap_or_default();
    if !items.is_empty() && !can_hold {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        causes.push(Cause::forbidden("status.loadBalancer.ingress", why));
        return (causes, warnings);
    }
    for (at, item) in items.iter_mut().enumerate() {
        let place = format!("status.loadBalancer.ingress[{at}]");
        if item["ip"].is_string() && item["ipMode"].is_null() {
            item["ipMode"] = json!("VIP");
        }
        if let Some(fields) = item.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let (wrong, odd) = item_faults(&place, item);
        causes.extend(wrong);
        warnings.extend(odd);
    }
    if items.is_empty() {
        take(balancer, "ingress");
    } else {
        balancer["ingress"] = json!(items);
    }
    (causes, warnings)
}

fn item_faults(place: &str, item: &Value) -> (Vec<Cause>, Option<String>) {
    let mut causes = Vec::new();
    let mut warning = None;
    let ip = text(&item["ip"]);
    if !ip.is_empty() {
        match address_fault(&ip) {
            Err(why) => causes.push(Cause::shown(format!("{place}.ip"), &item["ip"], why)),
            Ok(plain) => {
                warning = (plain != ip).then(|| {
                    format!("{place}: IPv6 address {ip:?} should be in RFC 5952 canonical format ({plain:?})")
                });
            }
        }
    }
    if let Some(mode) = item.get("ipMode") {
        let field = format!("{place}.ipMode");
        if ip.is_empty() {
            let why = "may not be specified when `ip` is not set";
            causes.push(Cause::forbidden(field, why));
        } else if mode != "VIP" && mode != "Proxy" {
            causes.push(Cause::unlisted(field, mode, &["Proxy", "VIP"]));
        }
    }
    let host = text(&item["hostname"]);
    if host.parse::<IpAddr>().is_ok() {
        let why = "must be a DNS name, not an IP address";
        causes.push(Cause::shown(
            format!("{place}.hostname"),
            &item["hostname"],
            why,
        ));
    }
    (causes, warning)
}

/// The address as it should be written. Fails with what is wrong.
fn address_fault(ip: &str) -> Result<String, &'static str> {
    if ip.contains(':') {
        let address = ip.parse::<Ipv6Addr>();
        return address
            .map(|address| address.to_string())
            .map_err(|_| ADDRESS_RULE);
    }
    let has_zeros = ip
        .split('.')
        .any(|part| part.len() > 1 && part.starts_with('0'));
    if has_zeros && ip.split('.').count() == 4 {
        return Err("must not have leading 0s");
    }
    let address = ip.parse::<IpAddr>();
    address
        .map(|address| address.to_string())
        .map_err(|_| ADDRESS_RULE)
}

const ADDRESS_RULE: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
