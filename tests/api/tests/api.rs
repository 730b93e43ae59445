//! The real binaries and kubectl against the API server's double, and the double against what a real API server said.
#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a panic is a failed test"
)]

#[path = "api/apply_story.rs"]
mod apply_story;
#[path = "api/chart/mod.rs"]
mod chart;
#[path = "api/cluster.rs"]
mod cluster;
#[path = "api/completion.rs"]
mod completion;
#[path = "api/controller/mod.rs"]
mod controller;
#[path = "api/documents.rs"]
mod documents;
#[path = "api/faults.rs"]
mod faults;
#[path = "api/hook.rs"]
mod hook;
#[path = "api/http.rs"]
mod http;
#[path = "api/kubectl.rs"]
mod kubectl;
#[path = "api/kustomize.rs"]
mod kustomize;
#[path = "api/matching.rs"]
mod matching;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/migrate.rs"]
mod migrate;
#[path = "api/operator/mod.rs"]
mod operator;
#[path = "api/outside.rs"]
mod outside;
#[path = "api/policy.rs"]
mod policy;
#[path = "api/random.rs"]
mod random;
#[path = "api/real.rs"]
mod real;
#[path = "api/release.rs"]
mod release;
#[path = "api/replay.rs"]
mod replay;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/roles.rs"]
mod roles;
#[path = "api/schema_verdicts.rs"]
mod schema_verdicts;
#[path = "api/server.rs"]
mod server;
#[path = "api/webhooks.rs"]
mod webhooks;
