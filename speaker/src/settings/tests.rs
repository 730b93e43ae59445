//! Command lines as MetalLB's manifests write them, and what becomes of each flag.

use super::args::{Cli, Command};
use super::*;
use crate::edge::gossip::SecretPlace;
use crate::tls::{CertDir, TlsArgs};
use clap::Parser;

fn args(flags: &[&str]) -> Result<RunArgs, String> {
    cluster_args(&[&["--manifests", "/m"], flags].concat())
}

/// Without a directory of manifests.
fn cluster_args(flags: &[&str]) -> Result<RunArgs, String> {
    let words = ["speaker", "run", "-node-name=n1"].iter().chain(flags);
    let typed = command_line(words.map(OsString::from));
    match Cli::try_parse_from(typed)
        .map_err(|error| error.to_string())?
        .command
    {
        Command::Run(args) => Ok(*args),
        other => Err(format!("{other:?}")),
    }
}

fn settings(flags: &[&str]) -> Settings {
    Settings::resolve(args(flags).unwrap(), &Files::default()).unwrap()
}

fn refused(flags: &[&str], why: &str) {
    let error = match args(flags) {
        Ok(args) => format!(
            "{:#}",
            Settings::resolve(args, &Files::default()).unwrap_err()
        ),
        Err(error) => error,
    };
    assert!(error.contains(why), "{flags:?}: {error}");
}

#[test]
fn little_need_be_said() {
    let settings = settings(&[]);
    assert_eq!(settings.node.as_str(), "n1");
    assert_eq!(settings.run_dir, Path::new("/run/heliograph/n1"));
    assert_eq!(
        settings.ctl_socket(),
        Path::new("/run/heliograph/n1/ctl.sock")
    );
    assert_eq!(settings.pin_dir, Path::new("/sys/fs/bpf/heliograph/n1"));
    assert_eq!(settings.attach, AttachMode::Tc);
    assert_eq!(settings.metrics, Some("127.0.0.1:7472".parse().unwrap()));
    assert_eq!(settings.health, Some("127.0.0.1:17472".parse().unwrap()));
    assert_eq!(settings.namespace, "metallb-system");
    assert_eq!(settings.rules, Rules::default());
    assert_eq!(
        (settings.log_level, settings.log_format),
        (Level::Info, Format::Auto)
    );
    assert!(settings.sets_arp_announce);
    assert!(
        settings.excluded.contains("veth0"),
        "the default list of MetalLB counts"
    );
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
}

#[test]
fn metallb_5_1_flags_of_go_have_one_dash() {
    let settings = settings(&[
        "-log-level=debug",
        "-port",
        "9120",
        "-ignore-exclude-lb=true",
        "-lb-class=example.com/lb",
        "--namespace=lb",
    ]);
    assert_eq!(settings.log_level, Level::Debug);
    assert_eq!(settings.metrics.map(|address| address.port()), Some(9120));
    assert!(settings.rules.ignores_exclude_label);
    assert_eq!(settings.rules.class.as_deref(), Some("example.com/lb"));
    assert_eq!(settings.namespace, "lb");
}

#[test]
fn a_go_boolean_is_true_without_a_value() {
    assert!(
        settings(&["-ignore-exclude-lb"])
            .rules
            .ignores_exclude_label
    );
    assert!(
        settings(&["--ignore-exclude-lb=1"])
            .rules
            .ignores_exclude_label
    );
    assert!(
        !settings(&["-ignore-exclude-lb=F"])
            .rules
            .ignores_exclude_label
    );
}

#[test]
fn short_flags_and_what_follows_two_dashes_stay_as_they_are() {
    let typed = ["speaker", "-h", "-x", "-port", "--", "-port"].map(OsString::from);
    assert_eq!(
        command_line(typed.into_iter()),
        ["speaker", "-h", "-x", "--port", "--", "-port"]
    );
}

#[test]
fn metallb_5_1_flags_without_effect_are_taken_and_noted() {
    let settings = settings(&[
        "-ml-labels=app=metallb,component=speaker",
        "-ml-wan-config",
        "-frrk8s-secret-passthrough=false",
        "-host=a",
        "-tls-min-version=VersionTLS13",
    ]);
    assert_eq!(settings.notes.len(), 5, "{:?}", settings.notes);
    for begin in [
        "--host has no effect: ",
        "--tls-min-version has no effect: with --manifests",
    ] {
        let notes = &settings.notes;
        assert!(
            notes.iter().any(|note| note.starts_with(begin)),
            "{notes:?}"
        );
    }
    let wan =
        "--ml-wan-config has no effect: how soon a dead node is noticed does not depend on it";
    assert!(
        settings.notes.iter().any(|note| note == wan),
        "{:?}",
        settings.notes
    );
}

#[test]
fn metallb_5_1_flags_of_its_memberlist_say_how_speakers_meet() {
    let settings = settings(&[
        "-ml-bindaddr=192.0.2.1",
        "--ml-bindport",
        "7947",
        "-ml-secret-key-path=/etc/secret",
        "--gossip-seeds=192.0.2.2,2001:db8::2,[2001:db8::3]:7000",
    ]);
    let seeds = ["192.0.2.2:7947", "[2001:db8::2]:7947", "[2001:db8::3]:7000"];
    let expected = MemberSettings {
        address: Some("192.0.2.1".parse().unwrap()),
        port: 7947,
        secret: Some(SecretPlace("/etc/secret".into())),
        seeds: seeds.map(|seed| seed.parse().unwrap()).into(),
    };
    assert_eq!(settings.members, expected);
    assert_eq!(settings.notes, [] as [&str; 0]);
}

#[test]
fn metallb_5_1_what_is_empty_was_not_given() {
    let usual = MemberSettings {
        address: None,
        port: 7946,
        secret: Some(SecretPlace("/etc/ml_secret_key".into())),
        seeds: [].into(),
    };
    assert_eq!(settings(&[]).members, usual);
    let empty = settings(&[
        "-ml-bindaddr=",
        "-ml-bindport=",
        "-ml-secret-key-path=",
        "--gossip-seeds=",
    ]);
    assert_eq!(empty.members, usual);
}

#[test]
fn l2_4_only_one_flag_lets_a_speaker_do_without_a_secret() {
    let settings = settings(&["--insecure-gossip", "-ml-secret-key-path=/s"]);
    assert_eq!(settings.members.secret, None);
    let note = "--ml-secret-key-path has no effect: --insecure-gossip is given";
    assert_eq!(settings.notes, [note]);
}

fn cluster_settings(flags: &[&str]) -> Settings {
    let files = Files {
        namespace: Some("lb-system\n".to_owned()),
        ..Files::default()
    };
    Settings::resolve(cluster_args(flags).unwrap(), &files).unwrap()
}

#[test]
fn metallb_5_1_a_pod_needs_little_more_than_its_environment() {
    let settings = cluster_settings(&["--pod-name=speaker-x"]);
    let cluster = Cluster {
        access: settings_access(&settings),
        pod: Some("speaker-x".to_owned()),
        state_dir: "/run/heliograph/n1/state".into(),
        secure: Secure::new(Options::read(&TlsArgs::default()).unwrap(), "", "n1"),
    };
    let metrics = "[::]:9120".parse().unwrap();
    assert_eq!(
        settings.metrics,
        Some(metrics),
        "scrapers come from elsewhere"
    );
    assert_eq!(settings.origin, Origin::Cluster(cluster));
    assert_eq!(settings.namespace, "lb-system");
    assert_eq!(cluster_settings(&["--namespace=a"]).namespace, "a");
    assert_eq!(
        cluster_settings(&["--port=7"])
            .metrics
            .map(|address| address.port()),
        Some(7)
    );
}

#[test]
fn metallb_5_1_metrics_in_a_cluster_are_served_as_the_flags_of_tls_say() {
    let settings = cluster_settings(&[
        "-tls-min-version=VersionTLS12",
        "-tls-curve-preferences=25,29",
        "-metrics-cert-dir=/certs",
    ]);
    let Origin::Cluster(cluster) = &settings.origin else {
        panic!("{:?}", settings.origin);
    };
    assert_eq!(cluster.secure.folder, Some(CertDir("/certs".into())));
    assert_eq!(settings.notes.len(), 1, "{:?}", settings.notes);
    let unknown = cluster_args(&["--tls-cipher-suites=x", "--tls-min-version=VersionTLS12"]);
    let error = Settings::resolve(unknown.unwrap(), &Files::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("--tls-cipher-suites: \"x\""),
        "{error:#}"
    );
    let empty = cluster_settings(&["--metrics-cert-dir="]);
    let Origin::Cluster(cluster) = &empty.origin else {
        panic!("{:?}", empty.origin);
    };
    assert_eq!(
        cluster.secure.folder, None,
        "MetalLB's manifests may leave it empty"
    );
}

/// What a kubeconfig in the environment of the test may say.
fn settings_access(settings: &Settings) -> Access {
    match &settings.origin {
        Origin::Cluster(cluster) => cluster.access.clone(),
        Origin::Directory(dir) => panic!("{}", dir.display()),
    }
}

#[test]
fn what_concerns_a_cluster_is_noted_beside_manifests() {
    let settings = settings(&[
        "--pod-name=p",
        "--api-server=https://api.example",
        "--state-dir=/s",
    ]);
    assert_eq!(settings.origin, Origin::Directory("/m".into()));
    for flag in ["--pod-name", "--api-server", "--state-dir"] {
        let note = format!("{flag} has no effect: objects come from --manifests");
        assert!(settings.notes.contains(&note), "{:?}", settings.notes);
    }
}

#[test]
fn zero_turns_an_endpoint_off() {
    let settings = settings(&["--port=0", "--health-probe-port=0"]);
    assert_eq!((settings.metrics, settings.health), (None, None));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_flag() {
    refused(
        &["--port=7", "--health-probe-port=7"],
        "--port and --health-probe-port",
    );
    refused(&["--node-name", "A_b"], "not a node name");
    refused(&["--attach", "xdp"], "--attach");
    refused(&["--election", "md5"], "sha256 or xxh3");
    refused(&["--log-level", "loud"], "--log-level");
    refused(&["--answer-rate=-1"], "--answer-rate");
    refused(&["--no-such"], "--no-such");
    refused(&["--ml-bindport=0"], "--ml-bindport");
    refused(
        &["--ml-bindaddr=n1"],
        "--ml-bindaddr: \"n1\" is no IP address",
    );
    refused(&["--gossip-seeds=192.0.2.1:x"], "--gossip-seeds");
}

#[test]
fn a_file_of_exclusions_replaces_the_default_list() {
    let text = "announcedInterfacesToExclude: ['^wan']";
    let with = |text: &str| Files {
        exclusions: Some(text.to_owned()),
        ..Files::default()
    };
    let settings = Settings::resolve(args(&[]).unwrap(), &with(text)).unwrap();
    assert!(settings.excluded.contains("wan0"));
    assert!(!settings.excluded.contains("veth0"));
    let error = Settings::resolve(
        args(&[]).unwrap(),
        &with("announcedInterfacesToExclude: ['(']"),
    )
    .unwrap_err();
    assert!(
        format!("{error:#}").contains("/etc/metallb/excludel2.yaml"),
        "{error:#}"
    );
}

#[test]
fn the_usual_file_of_exclusions_may_be_missing_but_no_other_one() {
    let error = exclusions(Path::new("/no/such/file")).unwrap_err();
    assert!(
        format!("{error:#}").contains("/no/such/file (--exclude-links)"),
        "{error:#}"
    );
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let help = Cli::command()
        .find_subcommand_mut("run")
        .unwrap()
        .render_long_help()
        .to_string();
    assert!(help.contains("--manifests <DIR>"));
    assert!(
        !help.contains("ml-labels"),
        "what has no effect is not offered"
    );
}
