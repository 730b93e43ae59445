//! What an operator asked of the controller: its command line as typed, and [`Settings`], which cannot hold nonsense.
//!
//! Flags and environment are MetalLB's (its reference of the controller's flags), so that its manifests start this
//! controller unchanged. Those of the webhooks are the webhooks' own.

use crate::api::Access;
use crate::report::log::{Format, Level};
use crate::report::secure::Secure;
use crate::settings::shared::{Shared, everywhere, given, namespace, own_namespace};
use crate::tls::{Options, TlsArgs};
use crate::webhook::{self, WebhookArgs};
use anyhow::{Result, ensure};
use clap::Args;
use std::net::SocketAddr;

/// Flags of `speaker controller`.
#[derive(Args, Debug)]
pub(crate) struct ControllerArgs {
    #[command(flatten)]
    pub(crate) access: Access,

    /// Namespace of the configuration, of the controller's own objects, and of its pods; else the pod's own
    #[arg(long, value_name = "NAMESPACE", env = "METALLB_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Secret for the speakers' gossip, made once if it is missing; without it none is made
    #[arg(
        long,
        value_name = "NAME",
        env = "METALLB_ML_SECRET_NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) ml_secret_name: String,

    /// Deployment of this controller, which owns that Secret
    #[arg(
        long,
        value_name = "NAME",
        env = "METALLB_DEPLOYMENT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) deployment: String,

    /// Port of /metrics; 0 turns it off
    #[arg(long, default_value_t = 9120)]
    pub(crate) port: u16,

    /// Port of /healthz and /readyz; 0 turns it off
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub(crate) health_probe_port: u16,

    #[command(flatten)]
    pub(crate) shared: Shared,

    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Taken for MetalLB's sake
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        hide = true
    )]
    pub(crate) pprof_bind_address: String,
}

/// Everything that `speaker controller` was told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How to find the API server.
    pub(crate) access: Access,
    /// The controller's own namespace, in which configuration counts.
    pub(crate) namespace: String,
    /// The name of this pod, if it is one.
    pub(crate) pod: Option<String>,
    /// The class that is served.
    pub(crate) class: Option<String>,
    /// The Secret for the speakers' gossip, if one is wanted.
    pub(crate) gossip_secret: Option<String>,
    /// The Deployment of this controller, if it has one.
    pub(crate) deployment: Option<String>,
    /// Where metrics are served; `None`: nowhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where health is served; `None`: nowhere.
    pub(crate) health: Option<SocketAddr>,
    /// The least severe log line that is written.
    pub(crate) log_level: Level,
    /// How log lines look.
    pub(crate) log_format: Format,
    /// How metrics are served.
    pub(crate) secure: Secure,
    /// The webhooks.
    pub(crate) webhook: webhook::Settings,
    /// What was given and has no effect, to be logged.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// Checks what was typed. `own_namespace` is the pod's own, where there is a pod.
    fn resolve(args: ControllerArgs, own_namespace: Option<&str>) -> Result<Self> {
        ensure!(
            args.port == 0 || args.port != args.health_probe_port,
            "--port and --health-probe-port are both {}: give each its own, or 0 to one of them",
            args.port
        );
        let namespace = namespace(args.namespace.as_deref(), own_namespace);
        let mut notes = Vec::new();
        if !args.pprof_bind_address.is_empty() {
            notes.push("--pprof-bind-address has no effect: there is no Go profiler".to_owned());
        }
        let tls = Options::read(&args.tls)?;
        let webhook = webhook::Settings::resolve(args.webhook, &namespace, tls.clone());
        notes.extend(tls.notes.iter().chain(&webhook.notes).cloned());
        Ok(Self {
            access: args.access,
            namespace,
            pod: args.shared.pod(),
            class: args.shared.class(),
            gossip_secret: given(&args.ml_secret_name),
            deployment: given(&args.deployment),
            metrics: everywhere(args.port),
            health: everywhere(args.health_probe_port),
            log_level: args.shared.log.log_level,
            log_format: args.shared.log.log_format,
            secure: Secure::new(tls, &args.shared.metrics_cert_dir, "controller"),
            webhook,
            notes,
        })
    }

    /// Reads what the pod says of itself, then checks everything.
    ///
    /// # Errors
    /// When two flags do not go together.
    pub(crate) fn read(args: ControllerArgs) -> Result<Self> {
        Self::resolve(args, own_namespace().as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::args::{Cli, Command};
    use crate::settings::command_line;
    use crate::tls::CertDir;
    use crate::webhook::{CertificateKeeping, WebhookMode};
    use clap::Parser;

    fn resolve(typed: &str, own: Option<&str>) -> Result<Settings> {
        let typed = typed.split_whitespace().map(std::ffi::OsString::from);
        let cli = Cli::try_parse_from(command_line(typed))?;
        let Command::Controller(args) = cli.command else {
            panic!("{cli:?}");
        };
        Settings::resolve(*args, own)
    }

    #[test]
    fn the_flags_of_metallbs_manifests_are_understood() {
        let typed = "speaker controller -port=7472 --log-level=info -lb-class=c -pprof-bind-address=:1 \
                     -ml-secret-name memberlist --deployment=controller --pod-name=controller-0";
        let settings = resolve(typed, Some("metallb\n")).unwrap();
        assert_eq!(settings.namespace, "metallb");
        assert_eq!(settings.class.as_deref(), Some("c"));
        assert_eq!(settings.gossip_secret.as_deref(), Some("memberlist"));
        assert_eq!(settings.deployment.as_deref(), Some("controller"));
        assert_eq!(settings.metrics.unwrap().to_string(), "[::]:7472");
        assert_eq!(settings.notes.len(), 1);
    }

    #[test]
    fn without_flags_the_ports_are_metallbs() {
        let settings = resolve("speaker controller", None).unwrap();
        assert_eq!(settings.metrics.unwrap().port(), 9120);
        assert_eq!(settings.health.unwrap().port(), 17472);
        assert_eq!(settings.namespace, "metallb-system");
        assert_eq!((settings.class, settings.pod), (None, None));
    }

    #[test]
    fn the_webhooks_flags_are_metallbs() {
        let usual = resolve("speaker controller", None).unwrap().webhook;
        assert_eq!((usual.mode, usual.port), (WebhookMode::Enabled, 9443));
        assert_eq!(
            usual.server_name,
            "metallb-webhook-service.metallb-system.svc"
        );
        let secret = "metallb-webhook-cert".to_owned();
        assert_eq!(usual.keeping, CertificateKeeping::Secret(secret));
        let typed = "speaker controller -webhook-mode=onlywebhook -disable-cert-rotation=true -cert-dir=/certs \
                     -cert-service-name hooks --namespace=lb -webhook-http2 -tls-min-version=VersionTLS11";
        let settings = resolve(typed, None).unwrap();
        let webhook = settings.webhook;
        assert_eq!(webhook.mode, WebhookMode::OnlyWebhook);
        assert_eq!(webhook.server_name, "hooks.lb.svc");
        assert_eq!(
            webhook.keeping,
            CertificateKeeping::Folder(CertDir("/certs".into()))
        );
        assert_eq!(settings.notes.len(), 2, "{:?}", settings.notes);
    }

    #[test]
    fn flags_of_tls_that_nobody_knows_are_refused() {
        let refused = resolve("speaker controller --tls-min-version=1.2", None).unwrap_err();
        assert!(
            format!("{refused:#}").contains("known are VersionTLS12"),
            "{refused:#}"
        );
        assert!(resolve("speaker controller --webhook-mode=off", None).is_err());
        assert!(resolve("speaker controller --webhook-port=0", None).is_err());
    }

    #[test]
    fn one_port_for_two_things_is_refused() {
        let refused = resolve("speaker controller --port=17472", None).unwrap_err();
        assert!(refused.to_string().contains("both 17472"), "{refused}");
    }
}
