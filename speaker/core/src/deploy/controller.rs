//! The controller's Deployment with its budget, and the Service by which API servers call its webhooks.

use super::pods::{
    Asked, bgp_type, field, flags, port, probe, seccomp, selector, template, value, workload,
};
use super::{Object, Options, own, texts};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodSecurityContext, PodSpec, SecurityContext, Service, ServicePort,
    ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(super) fn deployment(options: &Options) -> Object {
    let spec = PodSpec {
        // Enough to finish a write and to give the Lease back.
        termination_grace_period_seconds: Some(10),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            fs_group: Some(NOBODY),
            seccomp_profile: Some(seccomp()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(options)],
        topology_spread_constraints: has_several(options).then(|| vec![apart()]),
        ..PodSpec::default()
    };
    Object::of(&Deployment {
        metadata: workload(options, CONTROLLER),
        spec: DeploymentSpec {
            replicas: Some(options.controllers.into()),
            revision_history_limit: Some(3),
            // With several replicas RollingUpdate serves webhooks without a gap.
            strategy: Some(DeploymentStrategy {
                type_: Some(
                    match has_several(options) {
                        true => "RollingUpdate",
                        false => "Recreate",
                    }
                    .to_owned(),
                ),
                ..DeploymentStrategy::default()
            }),
            selector: selector(CONTROLLER),
            template: template(CONTROLLER, &options.controller, spec),
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    })
}

fn has_several(options: &Options) -> bool {
    options.controllers > 1
}

/// Several are on several nodes where that can be; where it cannot, two on one are better than one.
fn apart() -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(CONTROLLER)),
        ..TopologySpreadConstraint::default()
    }
}

/// With several, nodes are drained one after the other. With one, a budget would keep its node from being drained at all.
pub(super) fn budget(options: &Options) -> Option<Object> {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selector(CONTROLLER)),
        ..PodDisruptionBudgetSpec::default()
    };
    has_several(options).then(|| {
        Object::of(&PodDisruptionBudget {
            metadata: workload(options, CONTROLLER),
            spec: Some(spec),
            ..PodDisruptionBudget::default()
        })
    })
}

fn container(options: &Options) -> Container {
    let mut args = vec!["controller".to_owned()];
    args.extend(flags(options));
    let mut env = vec![
        field("METALLB_NAMESPACE", "metadata.namespace"),
        field("METALLB_POD_NAME", "metadata.name"),
        value("METALLB_DEPLOYMENT", CONTROLLER),
        value("METALLB_ML_SECRET_NAME", super::speaker::MEMBERS),
    ];
    env.extend(bgp_type(options));
    let asked = Asked {
        path: "/healthz",
        host: None,
        delay_s: Some(10),
        period_s: 10,
        failures: 3,
    };
    Container {
        name: CONTROLLER.to_owned(),
        args: Some(args),
        env: Some(env),
        ports: Some(vec![
            port("metricshttps", options.ports.metrics),
            port(WEBHOOKS, WEBHOOK_PORT),
            port("health", options.ports.health),
        ]),
        liveness_probe: Some(probe(asked)),
        readiness_probe: Some(probe(Asked {
            path: "/readyz",
            delay_s: Some(1),
            period_s: 5,
            ..asked
        })),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

pub(super) fn service(options: &Options) -> Object {
    Object::of(&Service {
        metadata: own(options, WEBHOOK_SERVICE),
        spec: Some(ServiceSpec {
            selector: Some(texts([("app", "metallb"), ("component", CONTROLLER)])),
            ports: Some(vec![ServicePort {
                name: Some(WEBHOOKS.to_owned()),
                port: 443,
                target_port: Some(IntOrString::Int(WEBHOOK_PORT.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

/// Name of the Deployment, its pods' component and their account.
pub(super) const CONTROLLER: &str = "controller";
/// The Service that webhooks are called by.
pub(super) const WEBHOOK_SERVICE: &str = "metallb-webhook-service";
pub(super) const WEBHOOK_PORT: u16 = 9443;
const WEBHOOKS: &str = "webhook-server";
/// The user that images without root run as.
const NOBODY: i64 = 65534;
