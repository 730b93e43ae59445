//! What both long-running subcommands take: how to log, whose services, and what a pod is told of itself.

use crate::report::log::{Format, Level};
use clap::Args;

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

/// A text that is not empty: MetalLB's manifests set flags to nothing where they mean that.
pub(crate) fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
