//! The webhook server's flags, which are MetalLB's, and what they mean together.

use super::bundle::Target;
use crate::tls::{CertDir, Options};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// Whether webhooks are served.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum WebhookMode {
    /// Beside everything else that the controller does.
    #[default]
    Enabled,
    /// Not.
    Disabled,
    /// And nothing else.
    #[value(name = "onlywebhook")]
    OnlyWebhook,
}

/// The flags as typed.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct WebhookArgs {
    /// Whether to serve webhooks: enabled, disabled, or onlywebhook, which does nothing else
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub(crate) webhook_mode: WebhookMode,

    /// Port of the webhooks; the Service's targetPort
    #[arg(long, value_name = "PORT", default_value_t = 9443, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) webhook_port: u16,

    /// Secret that keeps the webhooks' certificates, made if missing
    #[arg(long, value_name = "NAME", default_value = "metallb-webhook-cert")]
    pub(crate) webhook_secret: String,

    /// Service by which the API server calls the webhooks
    #[arg(long, value_name = "NAME", default_value = "metallb-webhook-service")]
    pub(crate) cert_service_name: String,

    #[command(flatten)]
    pub(crate) keeping: KeepingArgs,

    /// Taken for MetalLB's sake
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL", hide = true)]
    pub(crate) webhook_http2: bool,
}

/// Flags of who keeps the certificates.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeepingArgs {
    /// Take certificates from --cert-dir, where somebody else renews them, and write no caBundle
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL")]
    pub(super) disable_cert_rotation: bool,

    /// Folder of tls.crt and tls.key, for --disable-cert-rotation
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/tmp/k8s-webhook-server/serving-certs"
    )]
    pub(super) cert_dir: PathBuf,
}

impl KeepingArgs {
    /// Who keeps them, where we would in that Secret.
    pub(crate) fn resolve(self, secret: String) -> Keeping {
        match self.disable_cert_rotation {
            true => Keeping::Folder(CertDir(self.cert_dir)),
            false => Keeping::Secret(secret),
        }
    }
}

/// Who keeps the certificates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Keeping {
    /// We do, in that Secret.
    Secret(String),
    /// Somebody else does, in that folder.
    Folder(CertDir),
}

/// The flags, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// Whether webhooks are served.
    pub(crate) mode: WebhookMode,
    /// Where they listen, on every address of the pod.
    pub(crate) port: u16,
    /// The name by which the API server calls, `<service>.<namespace>.svc`.
    pub(crate) server_name: String,
    /// Who keeps the certificates.
    pub(crate) keeping: Keeping,
    /// Which objects are told the certificate's authority, in the order of writing.
    pub(crate) targets: &'static [Target],
    /// Whether verdicts depend on configuration, which is followed then.
    pub(crate) judges_configuration: bool,
    /// What of TLS is allowed.
    pub(crate) tls: Options,
    /// What was given and has no effect, to be logged.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// Resolves the flags of a controller in that namespace.
    pub(crate) fn resolve(args: WebhookArgs, namespace: &str, tls: Options) -> Self {
        let note = "--webhook-http2 has no effect: webhooks speak HTTP/1.1, as API servers do";
        Self {
            mode: args.webhook_mode,
            port: args.webhook_port,
            server_name: format!("{}.{namespace}.svc", args.cert_service_name),
            keeping: args.keeping.resolve(args.webhook_secret),
            targets: &[Target::Webhooks, Target::Conversion],
            judges_configuration: true,
            tls,
            notes: args
                .webhook_http2
                .then(|| note.to_owned())
                .into_iter()
                .collect(),
        }
    }
}
