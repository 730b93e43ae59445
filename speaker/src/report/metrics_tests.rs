//! The page of metrics, line by line.

use super::controller::{ControllerFigures, WebhookFigures};
use super::*;
use crate::reference_tests::compare;
use crate::report::{ApiFigures, BfdFigures, BgpFigures, MemberFigures, VipFigures};
use speaker_proto::bgp::session::Messages;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

fn figures() -> Figures {
    let vip = VipFigures {
        outcomes: BTreeMap::from([
            ("answered", 5),
            ("limited", 2),
            ("not_owner", 9),
            ("foreign", 1),
        ]),
        gratuitous: 4,
        packets: 12,
        bytes: 1200,
    };
    let pool = PoolFigures {
        used_v4: 1,
        used_v6: 0,
        total_v4: 256,
        total_v6: i64::MAX,
    };
    Figures {
        node: "n1".to_owned(),
        announced: BTreeMap::from([(
            "default/web".to_owned(),
            vec!["192.0.2.10".parse().unwrap(), "fd00::1".parse().unwrap()],
        )]),
        vips: BTreeMap::from([("192.0.2.10".parse().unwrap(), vip)]),
        pools: BTreeMap::from([("lan".to_owned(), pool)]),
        globals: BTreeMap::from([("arp", 20)]),
        passages: BTreeMap::from([("forwarded", 4)]),
        steered: BTreeMap::from([("sent", 6)]),
        tunnelled: BTreeMap::from([("wrapped", 5)]),
        shares: BTreeMap::from([(
            (
                "192.0.2.10".parse().unwrap(),
                "eth0".to_owned(),
                "n2".to_owned(),
            ),
            (6, 600),
        )]),
        neighbours: BTreeMap::from([("asked", 2)]),
        links: BTreeMap::from([
            ("eth0".to_owned(), Some("tcx".to_owned())),
            ("eth1".to_owned(), None),
        ]),
        problems: BTreeMap::from([("IPAddressPool".to_owned(), 1)]),
        is_config_loaded: true,
        is_draining: true,
        is_config_stale: true,
        updates: 30,
        update_errors: 2,
        deadline_s: Some(0.48),
        entries: 2,
        plans: 3,
        plan_failures: 0,
        plan_s: 0.002,
        writes: 7,
        repairs: 1,
        reaction_s: 0.004,
        won: 5,
        lost: 4,
        groups: BTreeMap::from([("vipContest", 2), ("vipDisagree", 0)]),
        takings: BTreeMap::from([("dead", (2, 0.5))]),
        members: members(),
        probes: BTreeMap::from([("sent", 8), ("group_unanswered", 2)]),
        unanswered: 3,
        unwatched: 1,
        heard: BTreeMap::from([("lost", 1)]),
        api: Some(api()),
        ..routers()
    }
}

fn api() -> ApiFigures {
    ApiFigures {
        requests: 9,
        failures: 1,
        events_lost: 3,
        stale_s: 0.5,
        ages_s: BTreeMap::from([("Node", 2.0)]),
    }
}

/// A service that is announced by BGP, a BGP peer and the BFD session with it.
fn routers() -> Figures {
    Figures {
        listening: BTreeMap::from([("given", 8)]),
        opted: BTreeMap::from([("rejected", 3)]),
        routed: BTreeMap::from([(
            "default/web".to_owned(),
            vec!["198.51.100.1".parse().unwrap()],
        )]),
        bgp: vec![BgpFigures {
            peer: "192.0.2.1:179".to_owned(),
            address: "192.0.2.1".to_owned(),
            vrf: "default".to_owned(),
            is_up: true,
            is_paused: true,
            announced: 3,
            pending: 1,
            received: 7,
            sent: Messages {
                open: 1,
                update: 4,
                notification: 2,
                keepalive: 9,
                refresh: 0,
            },
            got: Messages {
                open: 1,
                keepalive: 8,
                ..Messages::default()
            },
            forgiven: 5,
            dropped: 6,
        }],
        bfd: vec![BfdFigures {
            peer: "192.0.2.1".to_owned(),
            vrf: "default".to_owned(),
            is_up: true,
            received: 20,
            sent: 21,
            ups: 2,
            downs: 1,
        }],
        bfd_discarded: BTreeMap::from([("ttl", 4), ("version", 0)]),
        bgp_unwelcome: BTreeMap::from([("stranger", 2)]),
        bgp_foreign: BTreeMap::from([("spine".to_owned(), false), ("tor".to_owned(), true)]),
        ..Figures::default()
    }
}

fn members() -> MemberFigures {
    MemberFigures {
        is_waiting: true,
        standings: BTreeMap::from([("alive", 2), ("dead", 1)]),
        observers: 2,
        unheard: ["n3".to_owned()].into(),
        sent: 40,
        received: 39,
        send_failures: 5,
        dropped: BTreeMap::from([("foreign", 8), ("key", 0)]),
        events: BTreeMap::from([("vote", 1)]),
    }
}

/// The page without help and types.
fn page(figures: &Figures) -> Vec<String> {
    let text = render(figures, &Process::default(), 6).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn metallb_5_3_names_labels_and_values() {
    let page = page(&figures());
    for line in [
        r#"metallb_speaker_announced{ip="192.0.2.10",node="n1",protocol="layer2",service="default/web"} 1"#,
        r#"metallb_speaker_announced{ip="fd00::1",node="n1",protocol="layer2",service="default/web"} 1"#,
        r#"metallb_layer2_requests_received{ip="192.0.2.10"} 7"#,
        r#"metallb_layer2_responses_sent{ip="192.0.2.10"} 5"#,
        r#"metallb_layer2_gratuitous_sent{ip="192.0.2.10"} 4"#,
        r#"metallb_allocator_addresses_in_use_total{pool="lan"} 1"#,
        r#"metallb_allocator_ipv4_addresses_total{pool="lan"} 256"#,
        r#"metallb_allocator_ipv6_addresses_in_use_total{pool="lan"} 0"#,
        "metallb_k8s_client_updates_total 30",
        "metallb_k8s_client_update_errors_total 2",
        "metallb_k8s_client_config_loaded_bool 1",
        "metallb_k8s_client_config_stale_bool 1",
        r#"metallb_speaker_announced{ip="198.51.100.1",node="n1",protocol="bgp",service="default/web"} 1"#,
        r#"metallb_bgp_session_up{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"metallb_bgp_announced_prefixes_total{peer="192.0.2.1:179",vrf="default"} 3"#,
        r#"metallb_bgp_pending_prefixes_total{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"metallb_bgp_received_prefixes_total{peer="192.0.2.1:179",vrf="default"} 7"#,
        r#"metallb_bgp_opens_sent{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"metallb_bgp_opens_received{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"metallb_bgp_notifications_sent{peer="192.0.2.1:179",vrf="default"} 2"#,
        r#"metallb_bgp_updates_total{peer="192.0.2.1:179",vrf="default"} 4"#,
        r#"metallb_bgp_updates_total_received{peer="192.0.2.1:179",vrf="default"} 0"#,
        r#"metallb_bgp_keepalives_sent{peer="192.0.2.1:179",vrf="default"} 9"#,
        r#"metallb_bgp_keepalives_received{peer="192.0.2.1:179",vrf="default"} 8"#,
        r#"metallb_bgp_route_refresh_sent{peer="192.0.2.1:179",vrf="default"} 0"#,
        r#"metallb_bgp_total_sent{peer="192.0.2.1:179",vrf="default"} 16"#,
        r#"metallb_bgp_total_received{peer="192.0.2.1:179",vrf="default"} 9"#,
        r#"metallb_bfd_session_up{peer="192.0.2.1",vrf="default"} 1"#,
        r#"metallb_bfd_control_packet_input{peer="192.0.2.1",vrf="default"} 20"#,
        r#"metallb_bfd_control_packet_output{peer="192.0.2.1",vrf="default"} 21"#,
        r#"metallb_bfd_session_up_events{peer="192.0.2.1",vrf="default"} 2"#,
        r#"metallb_bfd_session_down_events{peer="192.0.2.1",vrf="default"} 1"#,
        r#"metallb_bfd_echo_packet_input{peer="192.0.2.1",vrf="default"} 0"#,
        r#"metallb_bfd_echo_packet_output{peer="192.0.2.1",vrf="default"} 0"#,
        r#"metallb_bfd_zebra_notifications{peer="192.0.2.1",vrf="default"} 3"#,
        r#"heliograph_bfd_discarded_packets_total{cause="ttl"} 4"#,
        r#"heliograph_bgp_unwelcome_connections_total{cause="stranger"} 2"#,
        r#"heliograph_bfd_discarded_packets_total{cause="version"} 0"#,
        r#"heliograph_bgp_session_paused{peer="192.0.2.1:179",vrf="default"} 1"#,
        r#"heliograph_bgp_peer_foreign{name="spine"} 0"#,
        r#"heliograph_bgp_peer_foreign{name="tor"} 1"#,
        r#"heliograph_bgp_session_losses_total{peer="192.0.2.1:179",vrf="default"} 6"#,
        r#"heliograph_bgp_forgiven_updates_total{peer="192.0.2.1:179",vrf="default"} 5"#,
    ] {
        assert!(
            page.iter().any(|have| have == line),
            "{line} is not in\n{}",
            page.join("\n")
        );
    }
}

#[test]
fn metallb_5_3_sessions_also_have_the_names_of_frr_k8s_where_that_is_the_type() {
    let all = page(&Figures {
        has_frr_k8s_names: true,
        ..figures()
    });
    for line in [
        r#"frrk8s_bgp_session_up{peer="192.0.2.1",vrf="default"} 1"#,
        r#"frrk8s_bgp_received_prefixes_total{peer="192.0.2.1",vrf="default"} 7"#,
        r#"frrk8s_bgp_updates_total{peer="192.0.2.1",vrf="default"} 4"#,
        r#"frrk8s_bfd_session_up{peer="192.0.2.1",vrf="default"} 1"#,
        r#"frrk8s_bfd_control_packet_output{peer="192.0.2.1",vrf="default"} 21"#,
    ] {
        assert!(
            all.iter().any(|found| found == line),
            "{line} is not in {all:#?}"
        );
    }
    let ours: Vec<String> = page(&figures());
    assert!(!ours.iter().any(|line| line.starts_with("frrk8s_")));
    let (mine, theirs): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|line| !line.starts_with("frrk8s_"));
    assert_eq!(mine, ours, "they stand beside MetalLB's");
    let named_so =
        |line: &&String| line.starts_with("metallb_bgp_") || line.starts_with("metallb_bfd_");
    assert_eq!(theirs.len(), ours.iter().filter(named_so).count());
}

#[test]
fn our_own_figures_have_our_name() {
    let page = page(&figures());
    for line in [
        r#"heliograph_neighbour_frames_total{ip="192.0.2.10",outcome="not_owner"} 9"#,
        r#"heliograph_traffic_packets_total{ip="192.0.2.10"} 12"#,
        r#"heliograph_traffic_bytes_total{ip="192.0.2.10"} 1200"#,
        r#"heliograph_program_events_total{event="arp"} 20"#,
        r#"heliograph_move_packets_total{outcome="forwarded"} 4"#,
        r#"heliograph_steered_packets_total{outcome="sent"} 6"#,
        r#"heliograph_tunnel_packets_total{outcome="wrapped"} 5"#,
        r#"heliograph_socket_lookups_total{outcome="given"} 8"#,
        r#"heliograph_option_packets_total{outcome="rejected"} 3"#,
        r#"heliograph_share_packets_total{ip="192.0.2.10",link="eth0",node="n2"} 6"#,
        r#"heliograph_share_bytes_total{ip="192.0.2.10",link="eth0",node="n2"} 600"#,
        r#"heliograph_neighbour_questions_total{outcome="asked"} 2"#,
        r#"heliograph_link_info{hook="none",link="eth1"} 1"#,
        r#"heliograph_link_info{hook="tcx",link="eth0"} 1"#,
        r#"heliograph_problems{kind="IPAddressPool"} 1"#,
        "heliograph_deadline_seconds 0.48",
        "heliograph_draining 1",
        "heliograph_table_entries 2",
        "heliograph_plans_total 3",
        "heliograph_table_repairs_total 1",
        r#"heliograph_probes_total{outcome="group_unanswered"} 2"#,
        r#"heliograph_claims_heard_total{outcome="lost"} 1"#,
        "heliograph_groups_unanswered 3",
        "heliograph_groups_unwatched 1",
        "heliograph_log_lines_lost_total 6",
        "heliograph_event_to_kernel_seconds 0.004",
        "heliograph_elections_won_total 5",
        "heliograph_elections_lost_total 4",
        r#"heliograph_group_events_total{event="vipContest"} 2"#,
        r#"heliograph_group_events_total{event="vipDisagree"} 0"#,
        r#"heliograph_group_takings_total{ground="dead"} 2"#,
        r#"heliograph_group_taking_seconds_total{ground="dead"} 0.5"#,
        r#"heliograph_members{standing="alive"} 2"#,
        r#"heliograph_members{standing="dead"} 1"#,
        "heliograph_member_observers 2",
        r#"heliograph_member_unheard{member="n3"} 1"#,
        "heliograph_waiting_for_secret 1",
        "heliograph_gossip_sent_total 40",
        "heliograph_gossip_received_total 39",
        "heliograph_gossip_send_failures_total 5",
        r#"heliograph_gossip_dropped_total{cause="foreign"} 8"#,
        r#"heliograph_membership_events_total{event="vote"} 1"#,
        "heliograph_api_requests_total 9",
        "heliograph_api_request_failures_total 1",
        "heliograph_api_events_lost_total 3",
        "heliograph_cache_age_seconds 0.5",
        r#"heliograph_watch_age_seconds{kind="Node"} 2"#,
    ] {
        assert!(
            page.iter().any(|have| have == line),
            "{line} is not in\n{}",
            page.join("\n")
        );
    }
}

#[test]
fn metallb_5_3_counters_and_gauges_have_metallbs_types() {
    let text = render(&figures(), &Process::default(), 0).unwrap();
    for (name, kind) in [
        ("metallb_speaker_announced", "gauge"),
        ("metallb_layer2_requests_received", "counter"),
        ("metallb_allocator_addresses_total", "gauge"),
        ("metallb_k8s_client_updates_total", "counter"),
        ("metallb_k8s_client_config_stale_bool", "gauge"),
    ] {
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "{name}\n{text}"
        );
    }
}

#[test]
fn a_directory_has_no_figures_of_an_api_server() {
    let figures = Figures {
        api: None,
        ..figures()
    };
    let page = page(&figures).join("\n");
    for name in ["heliograph_api_", "heliograph_cache_", "heliograph_watch_"] {
        assert!(!page.contains(name), "{page}");
    }
}

#[test]
fn what_is_gone_is_gone() {
    let page = page(&Figures::default());
    let left: Vec<&String> = page
        .iter()
        .filter(|line| !line.starts_with("heliograph_build_info"))
        .filter(|line| line.contains('{') || line.contains("deadline"))
        .collect();
    assert_eq!(left, [] as [&String; 0]);
}

#[test]
fn the_reference_of_metrics_is_what_the_pages_show() {
    let of_controller = ControllerFigures {
        pools: figures().pools,
        problems: figures().problems,
        api: api(),
        webhooks: WebhookFigures {
            certificate_until_s: Some(1),
            ..WebhookFigures::default()
        },
        ..ControllerFigures::default()
    };
    let of_speaker = Figures {
        has_frr_k8s_names: true,
        ..figures()
    };
    let mut shown = BTreeMap::new();
    let page = render(&of_speaker, &Process::default(), 0).unwrap();
    on_page(&page, "speaker", &mut shown);
    let page = render_controller(&of_controller, &Process::default(), 0).unwrap();
    on_page(&page, "controller", &mut shown);
    let mut page = String::from(HEAD);
    for (begin, title) in FAMILIES {
        writeln!(
            page,
            "\n## {title}\n\n| metric | type | labels | of | |\n|---|---|---|---|---|"
        )
        .unwrap();
        for (name, metric) in shown.iter().filter(|(name, _)| name.starts_with(begin)) {
            let labels: Vec<String> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let (kind, labels, of) = (&metric.kind, labels.join(", "), metric.of.join(", "));
            writeln!(
                page,
                "| `{name}` | {kind} | {labels} | {of} | {} |",
                metric.help
            )
            .unwrap();
        }
    }
    let is_of_one = |name: &String| FAMILIES.iter().any(|(begin, _)| name.starts_with(begin));
    assert!(shown.keys().all(is_of_one), "{:?}", shown.keys());
    compare("metrics.md", &page);
}

/// What a page shows of a metric.
#[derive(Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    /// Whose page.
    of: Vec<&'static str>,
}

fn on_page(page: &str, of: &'static str, shown: &mut BTreeMap<String, Metric>) {
    for line in page.lines() {
        let (is_help, is_kind) = (line.strip_prefix("# HELP "), line.strip_prefix("# TYPE "));
        if let Some((name, help)) = is_help.and_then(|rest| rest.split_once(' ')) {
            let metric = shown.entry(name.to_owned()).or_default();
            metric.help = help.to_owned();
            metric.of.push(of);
        } else if let Some((name, kind)) = is_kind.and_then(|rest| rest.split_once(' ')) {
            shown.get_mut(name).unwrap().kind = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let labels = labels.split("\",").map(|label| label.split('=').next());
            let labels = labels.map(|name| name.unwrap().to_owned());
            shown.get_mut(name).unwrap().labels.extend(labels);
        }
    }
}

const FAMILIES: [(&str, &str); 4] = [
    ("metallb_", "By MetalLB's names"),
    ("frrk8s_", "By frr-k8s' names"),
    ("heliograph_", "Our own"),
    ("process_", "Of the process"),
];

const HEAD: &str = "# Metrics

Made by a test from what speaker and controller show; change that, not this page. The texts are those of the `# HELP` lines. How to read the pages, and what alerts and the
dashboard make of them, is in [metrics.md](../metrics.md). Names, labels and types that begin with `metallb_` are MetalLB's, also where a gauge is called `_total`, so that
dashboards and alerts go on working. Those of frr-k8s stand besides where `METALLB_BGP_TYPE` is `frr-k8s`.
";
