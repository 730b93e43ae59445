//! What long-running subcommands take alike: how to log, whose services, and what a pod is told of itself.

use crate::report::log::{Format, Level};
use clap::Args;
use speaker_core::manifest::DEFAULT_NAMESPACE;
use std::net::{Ipv6Addr, SocketAddr};

/// Flags of `speaker run` and `speaker controller` alike.
#[derive(Args, Debug)]
pub(crate) struct Shared {
    /// Name of this pod, which owns the objects that are made for it
    #[arg(
        long,
        value_name = "NAME",
        env = "METALLB_POD_NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) pod_name: String,

    /// Serve only services of this loadBalancerClass; without it only those that have none
    #[arg(
        long,
        value_name = "CLASS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) lb_class: String,

    /// Folder of tls.crt and tls.key for metrics, where somebody else renews them; without it a certificate is made
    #[arg(
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) metrics_cert_dir: String,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Flags of everything that runs long.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Least severe line that is logged
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub(crate) log_level: Level,

    /// Look of log lines; auto is text on a terminal and json elsewhere
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: Format,
}

impl Shared {
    /// The name of this pod, if it is one.
    pub(crate) fn pod(&self) -> Option<String> {
        given(&self.pod_name)
    }

    /// The class that is served, if one is.
    pub(crate) fn class(&self) -> Option<String> {
        given(&self.lb_class)
    }
}

/// The namespace that is typed, else the pod's own, else MetalLB's.
pub(crate) fn namespace(typed: Option<&str>, own: Option<&str>) -> String {
    let typed = typed.filter(|name| !name.is_empty());
    let named = typed.or(own.map(str::trim));
    named.unwrap_or(DEFAULT_NAMESPACE).to_owned()
}

/// The namespace of this pod, if it is one.
pub(crate) fn own_namespace() -> Option<String> {
    std::fs::read_to_string(OWN_NAMESPACE).ok()
}

/// On every address of the pod, of either family; nowhere with port 0.
pub(crate) fn everywhere(port: u16) -> Option<SocketAddr> {
    (port != 0).then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
}

/// Where a pod finds the name of its namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A text that is not empty: MetalLB's manifests set flags to nothing where they mean that.
pub(crate) fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
