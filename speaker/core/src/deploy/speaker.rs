//! The speakers' DaemonSet, and the links that they leave alone.

use super::pods::{
    Asked, bgp_type, field, flags, port, probe, seccomp, selector, template, value, workload,
};
use super::{Object, Options, own, texts};
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, HostPathVolumeSource,
    PodSecurityContext, PodSpec, SELinuxOptions, SeccompProfile, SecretVolumeSource,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(super) fn daemon_set(options: &Options) -> Object {
    let spec = PodSpec {
        // Long enough to give everything to other nodes and to let connections end (--drain-window, 30 s) before a node goes.
        termination_grace_period_seconds: Some(60),
        host_network: Some(true),
        dns_policy: Some("ClusterFirstWithHostNet".to_owned()),
        tolerations: Some(["master", "control-plane"].map(tolerated).to_vec()),
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(match &options.speaker_seccomp {
                None => seccomp(),
                Some(profile) => SeccompProfile {
                    type_: "Localhost".to_owned(),
                    localhost_profile: Some(profile.clone()),
                },
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(options)],
        volumes: Some(volumes()),
        ..PodSpec::default()
    };
    Object::of(&DaemonSet {
        metadata: workload(options, SPEAKER),
        spec: DaemonSetSpec {
            selector: selector(SPEAKER),
            // The kernel goes on answering while a speaker is replaced; one at a time all the same.
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::Int(1)),
                    ..RollingUpdateDaemonSet::default()
                }),
            }),
            template: template(SPEAKER, &options.speaker, spec),
            ..DaemonSetSpec::default()
        },
        ..DaemonSet::default()
    })
}

/// A taint of the nodes that run the cluster itself.
fn tolerated(role: &str) -> Toleration {
    Toleration {
        key: Some(format!("node-role.kubernetes.io/{role}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    }
}

fn container(options: &Options) -> Container {
    let asked = Asked {
        path: "/healthz",
        host: Some("127.0.0.1"),
        delay_s: None,
        period_s: 10,
        failures: 3,
    };
    Container {
        name: SPEAKER.to_owned(),
        args: Some(args(options)),
        env: Some(env(options)),
        ports: Some(vec![
            port("metricshttps", options.ports.metrics),
            port("health", options.ports.health),
            // Speakers watch each other here, on every address of the node.
            ContainerPort {
                protocol: Some("UDP".to_owned()),
                ..port("memberlist-udp", options.ports.members)
            },
        ]),
        startup_probe: Some(probe(Asked {
            period_s: 5,
            failures: 30,
            ..asked
        })),
        liveness_probe: Some(probe(asked)),
        readiness_probe: Some(probe(Asked {
            path: "/readyz",
            ..asked
        })),
        security_context: Some(privileges()),
        volume_mounts: Some(mounts()),
        ..Container::default()
    }
}

fn args(options: &Options) -> Vec<String> {
    let mut args = vec!["run".to_owned()];
    args.extend(flags(options));
    if options.ports.members != super::Ports::default().members {
        args.push(format!("--ml-bindport={}", options.ports.members));
    }
    let foreign = options.frrk8s_namespace.iter();
    args.extend(foreign.map(|namespace| format!("--frrk8s-namespace={namespace}")));
    // A container sees the node's settings under /proc/sys read-only. Where kube-proxy uses IPVS, its strictARP sets them.
    args.push("--no-arp-announce".to_owned());
    args
}

fn env(options: &Options) -> Vec<k8s_openapi::api::core::v1::EnvVar> {
    let mut env = vec![
        field("METALLB_NODE_NAME", "spec.nodeName"),
        field("METALLB_POD_NAME", "metadata.name"),
        field("METALLB_NAMESPACE", "metadata.namespace"),
        // What all speakers share and seal their datagrams with; the controller makes it. Without it a speaker waits.
        value("METALLB_ML_SECRET_KEY_PATH", MEMBERS_FOLDER),
    ];
    env.extend(bgp_type(options));
    env
}

fn privileges() -> SecurityContext {
    SecurityContext {
        // Pins and the run directory are root's; of root's capabilities these are left. Kernels below 5.11 need SYS_RESOURCE too, for
        // locked memory.
        run_as_user: Some(0),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        }),
        // SELinux keeps ordinary containers from the bpf file system.
        se_linux_options: Some(SELinuxOptions {
            type_: Some("spc_t".to_owned()),
            ..SELinuxOptions::default()
        }),
        ..SecurityContext::default()
    }
}

fn mounts() -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    vec![
        // Maps and links are pinned here, so that the kernel answers while no speaker runs.
        mount("bpffs", BPFFS, None),
        // Control socket, and the last good objects for a start without an API server. In memory, gone with a reboot.
        mount("run", RUN, None),
        mount(EXCLUDED, "/etc/metallb", Some(true)),
        // A whole folder: a file of it alone would never change.
        mount(MEMBERS, MEMBERS_FOLDER, Some(true)),
    ]
}

fn volumes() -> Vec<Volume> {
    let host = |name: &str, path: &str, kind: &str| Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: path.to_owned(),
            type_: Some(kind.to_owned()),
        }),
        ..Volume::default()
    };
    vec![
        host("bpffs", BPFFS, "Directory"),
        host("run", RUN, "DirectoryOrCreate"),
        Volume {
            name: EXCLUDED.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: EXCLUDED.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: MEMBERS.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(MEMBERS.to_owned()),
                // Root's alone.
                default_mode: Some(0o400),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

/// The links that never announce, as regular expressions.
pub(super) fn excluded_links(options: &Options) -> Object {
    let mut text = "announcedInterfacesToExclude:\n".to_owned();
    for pattern in EXCLUDED_LINKS {
        text.push_str(&format!("  - {pattern}\n"));
    }
    Object::of(&ConfigMap {
        metadata: own(options, EXCLUDED),
        data: Some(texts([("excludel2.yaml", text)])),
        ..ConfigMap::default()
    })
}

/// Name of the DaemonSet, its pods' component and their account.
pub(super) const SPEAKER: &str = "speaker";
/// The Secret that speakers share.
pub(super) const MEMBERS: &str = "memberlist";
const MEMBERS_FOLDER: &str = "/etc/ml_secret_key";
const EXCLUDED: &str = "metallb-excludel2";
const BPFFS: &str = "/sys/fs/bpf";
const RUN: &str = "/run/heliograph";
/// What of root's capabilities the container has.
pub(super) const CAPABILITIES: [&str; 4] = ["BPF", "NET_ADMIN", "NET_RAW", "PERFMON"];
const EXCLUDED_LINKS: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];
