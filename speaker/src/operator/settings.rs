//! What the operator was told: its command line and environment as typed, and [`Settings`], which cannot hold nonsense.
//!
//! Flags and environment are those of MetalLB's operator, so that its Deployment starts this one with nothing changed but the images. Ports, images
//! and TLS are those of the installation, not the operator's own.

use crate::api::Access;
use crate::report::log::{Format, Level};
use crate::settings::shared::{LogArgs, everywhere, given, namespace, own_namespace};
use crate::tls::{Options as TlsOptions, TlsArgs};
use crate::webhook::{self, KeepingArgs, Target, WebhookMode};
use anyhow::{Context, Result, bail, ensure};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use speaker_core::deploy::{Monitors, Options, Ports};
use speaker_core::names::check_label_name;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Flags of `speaker operator`.
#[derive(Args, Debug)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    pub(crate) access: Access,

    /// Namespace of the MetalLB resource and of the installation; else the pod's own
    #[arg(long, value_name = "NAMESPACE", env = "OPERATOR_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Name of this pod
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) pod_name: String,

    /// Image of the controller
    #[arg(
        long,
        value_name = "IMAGE",
        env = "CONTROLLER_IMAGE",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) controller_image: String,

    /// Image of the speakers
    #[arg(
        long,
        value_name = "IMAGE",
        env = "SPEAKER_IMAGE",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) speaker_image: String,

    /// Seccomp profile of the speakers, by its path in the kubelet's folder of profiles; else the runtime's own
    #[arg(long, value_name = "PATH", env = "SPEAKER_SECCOMP_PROFILE")]
    pub(crate) speaker_seccomp_profile: Option<String>,

    /// How many controllers there are: one writes, all answer webhooks
    #[arg(long, value_name = "COUNT", env = "CONTROLLER_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) controller_replicas: u8,

    /// UDP port on which speakers hear each other
    #[arg(long, value_name = "PORT", env = "MEMBER_LIST_BIND_PORT", default_value_t = 7946, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) member_list_bind_port: u16,

    /// Port of the metrics of controller and speakers
    #[arg(long, value_name = "PORT", env = "METRICS_PORT", default_value_t = 9120, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) metrics_port: u16,

    /// Port of the health of controller and speakers
    #[arg(long, value_name = "PORT", env = "OPERAND_LIVENESS_PORT", default_value_t = 17472, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) operand_liveness_port: u16,

    /// Let Prometheus find the metrics by PodMonitors
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL", env = "DEPLOY_PODMONITORS")]
    pub(crate) deploy_podmonitors: bool,

    /// Let Prometheus find the metrics by ServiceMonitors
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL", env = "DEPLOY_SERVICEMONITORS")]
    pub(crate) deploy_servicemonitors: bool,

    /// Make no NetworkPolicies
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL", env = "DISABLE_NETWORK_POLICIES")]
    pub(crate) disable_network_policies: bool,

    /// Port of /healthz and /readyz; 0 turns it off
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,

    #[command(flatten)]
    pub(crate) certificates: CertificateArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,

    /// Taken for MetalLB's sake
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = BoolishValueParser::new(), action = ArgAction::Set, value_name = "BOOL", hide = true)]
    pub(crate) enable_leader_election: Option<bool>,

    /// Taken for MetalLB's sake
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "0",
        hide_default_value = true,
        hide = true
    )]
    pub(crate) metrics_addr: String,
}

/// Flags of the operator's own webhook.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct CertificateArgs {
    /// Port of the webhook; the Service's targetPort. 0: no webhook
    #[arg(long, value_name = "PORT", default_value_t = 9443)]
    pub(crate) webhook_port: u16,

    /// Secret that keeps the webhook's certificates, made if missing
    #[arg(
        long,
        value_name = "NAME",
        default_value = "metallb-operator-webhook-cert"
    )]
    pub(crate) webhook_secret: String,

    /// Service by which the API server calls the webhook
    #[arg(
        long,
        value_name = "NAME",
        default_value = "metallb-operator-webhook-service"
    )]
    pub(crate) cert_service_name: String,

    #[command(flatten)]
    pub(crate) keeping: KeepingArgs,
}

/// Everything that `speaker operator` was told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How to find the API server.
    pub(crate) access: Access,
    /// Where the MetalLB resource counts and everything is installed.
    pub(crate) namespace: String,
    /// The name of this pod, if it is one.
    pub(crate) pod: Option<String>,
    /// How to install what a MetalLB says nothing of.
    pub(crate) usual: Options,
    /// Where health is served; `None`: nowhere.
    pub(crate) health: Option<SocketAddr>,
    /// The operator's own webhook.
    pub(crate) webhook: webhook::Settings,
    /// The least severe log line that is written.
    pub(crate) log_level: Level,
    /// How log lines look.
    pub(crate) log_format: Format,
    /// What was given and has no effect, to be logged.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// Checks what was typed. `own_namespace` is the pod's own, where there is a pod, `variable` the environment as far as no flag reads it.
    fn resolve(
        args: OperatorArgs,
        own_namespace: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let namespace = namespace(args.namespace.as_deref(), own_namespace);
        if let Err(why) = check_label_name(&namespace) {
            bail!("OPERATOR_NAMESPACE: {why}");
        }
        let mut notes = notes(&args, &variable);
        let (tls, flags) = tls(&args.tls, &variable)?;
        notes.extend(tls.notes.iter().cloned());
        let webhook = webhook(&args.certificates, &namespace, tls);
        Ok(Self {
            usual: usual(&args, &namespace, flags)?,
            pod: given(&args.pod_name),
            health: everywhere(args.port),
            access: args.access,
            log_level: args.log.log_level,
            log_format: args.log.log_format,
            namespace,
            webhook,
            notes,
        })
    }

    /// Reads what the pod says of itself, then checks everything.
    ///
    /// # Errors
    /// When something is missing, or does not go together.
    pub(crate) fn read(args: OperatorArgs) -> Result<Self> {
        Self::resolve(args, own_namespace().as_deref(), |name| {
            std::env::var(name).ok()
        })
    }
}

/// How to install what a MetalLB says nothing of.
fn usual(args: &OperatorArgs, namespace: &str, tls: Vec<String>) -> Result<Options> {
    let controller = image("CONTROLLER_IMAGE", &args.controller_image)?;
    let speaker = image("SPEAKER_IMAGE", &args.speaker_image)?;
    let monitors = match (args.deploy_podmonitors, args.deploy_servicemonitors) {
        (true, true) => {
            bail!("DEPLOY_PODMONITORS and DEPLOY_SERVICEMONITORS are both true: choose one")
        }
        (true, false) => Monitors::Pods,
        (false, true) => Monitors::Services,
        (false, false) => Monitors::Annotations,
    };
    ensure!(
        args.metrics_port != args.operand_liveness_port,
        "METRICS_PORT and OPERAND_LIVENESS_PORT are both {}: give each its own",
        args.metrics_port
    );
    Ok(Options {
        labels: BTreeMap::from([(LABEL.to_owned(), MANAGER.to_owned())]),
        controllers: args.controller_replicas,
        speaker_seccomp: args
            .speaker_seccomp_profile
            .clone()
            .filter(|path| !path.is_empty()),
        ports: Ports {
            metrics: args.metrics_port,
            health: args.operand_liveness_port,
            members: args.member_list_bind_port,
        },
        tls,
        monitors,
        has_policies: !args.disable_network_policies,
        ..Options::new(namespace, controller, speaker)
    })
}

/// An image of ours: MetalLB's have other programs in them, which would start and do something else.
fn image<'i>(variable: &str, image: &'i str) -> Result<&'i str> {
    ensure!(
        !image.is_empty(),
        "{variable} is missing: name the image of Heliograph"
    );
    let name = image.rsplit('/').next().unwrap_or_default();
    let name = name.split([':', '@']).next().unwrap_or_default();
    let is_theirs = ["controller", "speaker"].contains(&name) && image.contains("metallb/");
    ensure!(
        !is_theirs,
        "{variable} is {image}, which is MetalLB's: name the image of Heliograph"
    );
    Ok(image)
}

/// What of TLS is allowed, and the same as flags for controller and speakers.
fn tls(
    args: &TlsArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(TlsOptions, Vec<String>)> {
    let or = |flag: &str, name: &str| match flag.is_empty() {
        true => variable(name).unwrap_or_default(),
        false => flag.to_owned(),
    };
    let args = TlsArgs {
        tls_min_version: or(&args.tls_min_version, "TLS_MIN_VERSION"),
        tls_cipher_suites: or(&args.tls_cipher_suites, "TLS_CIPHER_SUITES"),
        tls_curve_preferences: or(&args.tls_curve_preferences, "TLS_CURVE_PREFERENCES"),
    };
    let options = TlsOptions::read(&args).context("TLS_MIN_VERSION and the like")?;
    let flags = [
        ("tls-min-version", args.tls_min_version),
        ("tls-cipher-suites", args.tls_cipher_suites),
        ("tls-curve-preferences", args.tls_curve_preferences),
    ];
    let flags = flags.into_iter().filter(|(_, value)| !value.is_empty());
    let flags = flags.map(|(flag, value)| format!("--{flag}={value}"));
    Ok((options, flags.collect()))
}

fn webhook(args: &CertificateArgs, namespace: &str, tls: TlsOptions) -> webhook::Settings {
    webhook::Settings {
        mode: match args.webhook_port {
            0 => WebhookMode::Disabled,
            _port => WebhookMode::Enabled,
        },
        port: args.webhook_port,
        server_name: format!("{}.{namespace}.svc", args.cert_service_name),
        keeping: args.keeping.clone().resolve(args.webhook_secret.clone()),
        targets: &[Target::OperatorWebhooks],
        judges_configuration: false,
        tls,
        notes: Vec::new(),
    }
}

/// What was given and has no effect.
fn notes(args: &OperatorArgs, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut notes = Vec::new();
    if args.enable_leader_election == Some(false) {
        let why = "whoever writes holds the Lease";
        notes.push(format!(
            "--enable-leader-election=false has no effect: {why}"
        ));
    }
    if !["", "0"].contains(&args.metrics_addr.as_str()) {
        let why = "the operator has no metrics; its resource's conditions say how it stands";
        notes.push(format!("--metrics-addr has no effect: {why}"));
    }
    for (name, why) in INERT {
        if variable(name).is_some_and(|value| !value.is_empty()) {
            notes.push(format!("{name} has no effect: {why}"));
        }
    }
    notes
}

/// As whom objects are written; MetalLB's, so that fields which its operator wrote are ours.
pub(super) const MANAGER: &str = "metallb-operator";
/// Says of an object that the operator made it, and may take it away.
pub(super) const LABEL: &str = "heliograph.io/operated-by";

/// Marks pods of an object that was replaced because it selected others than ours; its name.
pub(super) const LEFT: &str = "heliograph.io/left-by";

const NO_FRR: &str = "BGP is spoken without FRR";
const INERT: [(&str, &str); 10] = [
    ("CNO_MIN_FRRK8S_VERSION", NO_FRR),
    ("DEPLOY_FRRK8S_FROM_CNO", NO_FRR),
    ("FRRK8S_EXTERNAL_NAMESPACE", NO_FRR),
    ("FRRK8S_FRR_HTTPS_METRICS_PORT", NO_FRR),
    ("FRRK8S_FRR_METRICS_PORT", NO_FRR),
    ("FRRK8S_HTTPS_METRICS_PORT", NO_FRR),
    ("FRRK8S_IMAGE", NO_FRR),
    ("FRRK8S_METRICS_PORT", NO_FRR),
    ("FRR_IMAGE", NO_FRR),
    ("FRR_METRICS_PORT", NO_FRR),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::args::{Cli, Command};
    use crate::settings::command_line;
    use crate::tls::CertDir;
    use crate::webhook::CertificateKeeping;
    use clap::Parser;

    fn resolve(flags: &str, environment: &[(&str, &str)]) -> Result<Settings> {
        let typed = format!("speaker operator {flags}");
        let typed = typed.split_whitespace().map(std::ffi::OsString::from);
        let cli = Cli::try_parse_from(command_line(typed))?;
        let Command::Operator(args) = cli.command else {
            panic!("{cli:?}");
        };
        let found = |name: &str| {
            let mut all = environment.iter();
            let (_, value) = all.find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        };
        Settings::resolve(*args, Some("lb-system\n"), found)
    }

    const IMAGES: &str = "--controller-image=h:1 --speaker-image=h:2";

    #[test]
    fn metallb_1_8_the_flags_of_metallbs_operator_are_understood() {
        let flags = format!(
            "{IMAGES} -enable-leader-election --metrics-addr=0 -port=8081 -cert-service-name=w -disable-cert-rotation=true \
             -cert-dir=/certs --member-list-bind-port=7 --metrics-port=8 --operand-liveness-port=9"
        );
        let settings = resolve(&flags, &[]).unwrap();
        assert_eq!(settings.namespace, "lb-system");
        assert_eq!(settings.health.unwrap().port(), 8081);
        assert_eq!(settings.webhook.server_name, "w.lb-system.svc");
        let folder = CertDir("/certs".into());
        assert_eq!(settings.webhook.keeping, CertificateKeeping::Folder(folder));
        assert_eq!(settings.notes, [""; 0]);
        let usual = settings.usual;
        assert_eq!(
            (usual.ports.members, usual.ports.metrics, usual.ports.health),
            (7, 8, 9)
        );
        assert_eq!(
            (
                usual.controller.image.as_str(),
                usual.speaker.image.as_str()
            ),
            ("h:1", "h:2")
        );
        assert!(usual.has_policies);
        assert_eq!(usual.monitors, Monitors::Annotations);
    }

    #[test]
    fn metallb_1_8_what_is_asked_for_of_all_components_gets_there() {
        let monitors = |flags: &str| resolve(&format!("{IMAGES} {flags}"), &[]).unwrap().usual;
        assert_eq!(
            monitors("--deploy-podmonitors=true").monitors,
            Monitors::Pods
        );
        assert_eq!(
            monitors("--deploy-servicemonitors").monitors,
            Monitors::Services
        );
        assert!(!monitors("--disable-network-policies=true").has_policies);
        let environment = [
            ("TLS_MIN_VERSION", "VersionTLS12"),
            ("TLS_CURVE_PREFERENCES", "29"),
        ];
        let usual = resolve(IMAGES, &environment).unwrap().usual;
        let expected = [
            "--tls-min-version=VersionTLS12",
            "--tls-curve-preferences=29",
        ];
        assert_eq!(usual.tls, expected);
    }

    #[test]
    fn metallb_1_8_what_has_no_effect_is_noted() {
        let flags = format!("{IMAGES} --metrics-addr=:1 --enable-leader-election=false");
        let environment = [("FRR_IMAGE", "f:1"), ("FRRK8S_IMAGE", "")];
        let notes = resolve(&flags, &environment).unwrap().notes;
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert_eq!(
            notes[2],
            "FRR_IMAGE has no effect: BGP is spoken without FRR"
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        let refused = |flags: &str, environment: &[(&str, &str)], why: &str| {
            let error = resolve(flags, environment).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        };
        refused("--speaker-image=h", &[], "CONTROLLER_IMAGE is missing");
        let theirs = "--controller-image=h --speaker-image=quay.io/metallb/speaker:v0.16.1";
        refused(
            theirs,
            &[],
            "SPEAKER_IMAGE is quay.io/metallb/speaker:v0.16.1, which is MetalLB's",
        );
        let mirrored = "--controller-image=r.example/metallb/heliograph:1 --speaker-image=h";
        assert!(resolve(mirrored, &[]).is_ok());
        let both = format!("{IMAGES} --deploy-podmonitors --deploy-servicemonitors");
        refused(&both, &[], "choose one");
        let ports = format!("{IMAGES} --metrics-port=5 --operand-liveness-port=5");
        refused(&ports, &[], "both 5");
        refused(IMAGES, &[("TLS_MIN_VERSION", "1.2")], "--tls-min-version");
        refused(
            &format!("{IMAGES} --namespace=A_b"),
            &[],
            "OPERATOR_NAMESPACE",
        );
    }
}
