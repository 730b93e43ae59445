//! Figures in Prometheus' text form.
//!
//! MetalLB's names, labels and types (its page on Prometheus metrics), also where `_total` stands on a gauge: dashboards
//! and alerts go by them. Our own begin with `heliograph_`. Everything is made anew at each scrape, so that what is gone is gone.

mod bgp;
mod controller;
mod members;

pub(super) use controller::render as render_controller;
pub(crate) use controller::{ControllerFigures, WebhookFigures};

use super::process::Process;
use super::{ApiFigures, Figures, PoolFigures};
use anyhow::Result;
use prometheus::{
    CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::collections::BTreeMap;

/// The text of one scrape.
pub(super) fn render(figures: &Figures, process: &Process, log_lines_lost: u64) -> Result<String> {
    let page = Page(Registry::new());
    page.metallb(figures)?;
    page.allocator(&figures.pools)?;
    page.vips(figures)?;
    page.node(figures)?;
    page.work(figures)?;
    page.groups(&figures.groups)?;
    page.takings(&figures.takings)?;
    page.members(&figures.members)?;
    page.probing(figures)?;
    page.sessions(figures)?;
    if let Some(api) = &figures.api {
        page.api(api)?;
    }
    page.process(process, log_lines_lost)?;
    Ok(TextEncoder::new().encode_to_string(&page.0.gather())?)
}

/// One scrape in the making.
struct Page(Registry);

impl Page {
    fn metallb(&self, figures: &Figures) -> Result<()> {
        let announced = self.gauges(
            "metallb_speaker_announced",
            "1 for each address announced from this node; protocol is layer2, or bgp where some peer is to be told",
            &["ip", "node", "protocol", "service"],
        )?;
        for (service, ips) in &figures.announced {
            for ip in ips {
                let labels = [&ip.to_string(), &figures.node, "layer2", service];
                announced.with_label_values(&labels).set(1);
            }
        }
        for (service, ips) in &figures.routed {
            for ip in ips {
                let labels = [&ip.to_string(), &figures.node, "bgp", service];
                announced.with_label_values(&labels).set(1);
            }
        }
        let requests = self.counters(
            "metallb_layer2_requests_received",
            "ARP and neighbour requests for a VIP in the table, counted by the program in the kernel",
            &["ip"],
        )?;
        let responses = self.counters(
            "metallb_layer2_responses_sent",
            "Answers of the program in the kernel",
            &["ip"],
        )?;
        let gratuitous = self.counters(
            "metallb_layer2_gratuitous_sent",
            "Gratuitous ARP and unsolicited neighbour advertisements sent",
            &["ip"],
        )?;
        for (ip, vip) in &figures.vips {
            let ip = ip.to_string();
            requests.with_label_values(&[&ip]).inc_by(vip.requests());
            responses.with_label_values(&[&ip]).inc_by(vip.responses());
            gratuitous.with_label_values(&[&ip]).inc_by(vip.gratuitous);
        }
        self.config(
            [figures.updates, figures.update_errors],
            figures.is_config_loaded,
            figures.is_config_stale,
        )
    }

    /// `updates`: all of them, and the faulty ones.
    fn config(&self, updates: [u64; 2], is_loaded: bool, is_stale: bool) -> Result<()> {
        let [all, faulty] = updates;
        self.counter(
            "metallb_k8s_client_updates_total",
            "Changes of objects taken in",
            all,
        )?;
        self.counter(
            "metallb_k8s_client_update_errors_total",
            "Changes of objects that were refused as faulty",
            faulty,
        )?;
        self.gauge(
            "metallb_k8s_client_config_loaded_bool",
            "1 once every kind of object has been read",
            is_loaded.into(),
        )?;
        self.gauge(
            "metallb_k8s_client_config_stale_bool",
            "1 while a faulty object is kept out and its last good version in force, and while a controller does nothing because somebody else allocates",
            is_stale.into(),
        )
    }

    fn allocator(&self, pools: &BTreeMap<String, PoolFigures>) -> Result<()> {
        type Figure = fn(&PoolFigures) -> i64;
        let families: [(&str, &str, Figure); 6] = [
            (
                "addresses_in_use_total",
                "Addresses of a pool that are in use",
                |pool| pool.used_v4.wrapping_add(pool.used_v6),
            ),
            ("addresses_total", "Addresses of a pool", |pool| {
                pool.total_v4.wrapping_add(pool.total_v6)
            }),
            (
                "ipv4_addresses_in_use_total",
                "IPv4 addresses of a pool that are in use",
                |pool| pool.used_v4,
            ),
            ("ipv4_addresses_total", "IPv4 addresses of a pool", |pool| {
                pool.total_v4
            }),
            (
                "ipv6_addresses_in_use_total",
                "IPv6 addresses of a pool that are in use",
                |pool| pool.used_v6,
            ),
            ("ipv6_addresses_total", "IPv6 addresses of a pool", |pool| {
                pool.total_v6
            }),
        ];
        for (name, help, figure) in families {
            let gauges = self.gauges(&format!("metallb_allocator_{name}"), help, &["pool"])?;
            for (name, pool) in pools {
                gauges.with_label_values(&[name]).set(figure(pool));
            }
        }
        Ok(())
    }

    fn vips(&self, figures: &Figures) -> Result<()> {
        let frames = self.counters(
            "heliograph_neighbour_frames_total",
            "ARP and NDP frames for a VIP, by what became of them",
            &["ip", "outcome"],
        )?;
        let packets = self.counters(
            "heliograph_traffic_packets_total",
            "Packets to a VIP that were handed to the stack",
            &["ip"],
        )?;
        let bytes = self.counters(
            "heliograph_traffic_bytes_total",
            "Bytes of packets to a VIP that were handed to the stack",
            &["ip"],
        )?;
        for (ip, vip) in &figures.vips {
            let ip = ip.to_string();
            for (outcome, count) in &vip.outcomes {
                // What is to alarm at its first rise has to be there before it rises.
                if *count > 0 || *outcome == "foreign" {
                    frames.with_label_values(&[&ip, *outcome]).inc_by(*count);
                }
            }
            packets.with_label_values(&[&ip]).inc_by(vip.packets);
            bytes.with_label_values(&[&ip]).inc_by(vip.bytes);
        }
        let globals = self.counters(
            "heliograph_program_events_total",
            "Frames and faults seen by the program that belong to no VIP",
            &["event"],
        )?;
        for (event, count) in &figures.globals {
            globals.with_label_values(&[*event]).inc_by(*count);
        }
        let moves = self.counters(
            "heliograph_move_packets_total",
            "Packets to VIPs that moved a while ago, by what became of them",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.passages {
            moves.with_label_values(&[*outcome]).inc_by(*count);
        }
        let opted = self.counters(
            "heliograph_option_packets_total",
            "Packets to VIPs with options, by what was done with them: rejected, closed, refused, echoed, limited",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.opted {
            opted.with_label_values(&[*outcome]).inc_by(*count);
        }
        self.steering(figures)
    }

    fn steering(&self, figures: &Figures) -> Result<()> {
        let steered = self.counters(
            "heliograph_steered_packets_total",
            "Packets to VIPs that are spread over nodes, by what became of them",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.steered {
            steered.with_label_values(&[*outcome]).inc_by(*count);
        }
        let tunnelled = self.counters(
            "heliograph_tunnel_packets_total",
            "Packets to and from nodes on other segments, by what became of them",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.tunnelled {
            tunnelled.with_label_values(&[*outcome]).inc_by(*count);
        }
        let listening = self.counters(
            "heliograph_socket_lookups_total",
            "New connections, and datagrams, for VIPs that sockets of this node may serve: given to one, nobody is registered for the port, refused by the kernel",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.listening {
            listening.with_label_values(&[*outcome]).inc_by(*count);
        }
        let packets = self.counters(
            "heliograph_share_packets_total",
            "Packets of a VIP that this node attracted and gave to a node, itself included",
            &["ip", "link", "node"],
        )?;
        let bytes = self.counters(
            "heliograph_share_bytes_total",
            "Bytes of packets of a VIP that this node attracted and gave to a node, itself included",
            &["ip", "link", "node"],
        )?;
        for ((ip, link, node), (count, size)) in &figures.shares {
            let labels = [ip.to_string(), link.clone(), node.clone()];
            packets.with_label_values(&labels).inc_by(*count);
            bytes.with_label_values(&labels).inc_by(*size);
        }
        let neighbours = self.counters(
            "heliograph_neighbour_questions_total",
            "Questions to other nodes whether they are on a link's segment: asked, answered, lost (nodes that stopped answering), left_out (no room)",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.neighbours {
            neighbours.with_label_values(&[*outcome]).inc_by(*count);
        }
        Ok(())
    }

    fn node(&self, figures: &Figures) -> Result<()> {
        let links = self.gauges(
            "heliograph_link_info",
            "Links that may announce, with the hook that the program is attached to; none: it is not on it",
            &["hook", "link"],
        )?;
        for (link, hook) in &figures.links {
            links
                .with_label_values(&[hook.as_deref().unwrap_or("none"), link])
                .set(1);
        }
        self.problems(&figures.problems)?;
        if let Some(left) = figures.deadline_s {
            self.real("heliograph_deadline_seconds", "Time until the program falls silent if it is not told otherwise; negative once it has", left)?;
        }
        self.gauge(
            "heliograph_draining",
            "1 while this node is drained: it gives away what it holds and takes nothing",
            figures.is_draining.into(),
        )?;
        self.gauge(
            "heliograph_table_entries",
            "Entries in the kernel's table of VIPs",
            i64::try_from(figures.entries).unwrap_or(i64::MAX),
        )
    }

    fn probing(&self, figures: &Figures) -> Result<()> {
        let probes = self.counters(
            "heliograph_probes_total",
            "Probes: sent, failed to be sent; groups asked for before they are taken: group_answered, group_unanswered, group_unsent (no probe could be sent), group_refused (too many); what others hold: watch_answered, watch_missed; finding_lost: nobody had room to hear of it",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.probes {
            probes.with_label_values(&[outcome]).inc_by(*count);
        }
        let heard = self.counters(
            "heliograph_claims_heard_total",
            "Frames that say where a VIP is, heard for probing: claim, malformed, lost (not read in time)",
            &["outcome"],
        )?;
        for (outcome, count) in &figures.heard {
            heard.with_label_values(&[outcome]).inc_by(*count);
        }
        self.gauge(
            "heliograph_groups_unanswered",
            "Groups of VIPs that another node holds and does not answer for where this one asks",
            i64::try_from(figures.unanswered).unwrap_or(i64::MAX),
        )?;
        self.gauge(
            "heliograph_groups_unwatched",
            "Groups of VIPs that this node would inherit and does not ask for, since there are too many",
            i64::try_from(figures.unwatched).unwrap_or(i64::MAX),
        )
    }

    fn problems(&self, by_kind: &BTreeMap<String, u64>) -> Result<()> {
        let problems = self.gauges(
            "heliograph_problems",
            "Faulty objects, of which the last good version stays in force",
            &["kind"],
        )?;
        for (kind, count) in by_kind {
            problems
                .with_label_values(&[kind])
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    fn work(&self, figures: &Figures) -> Result<()> {
        self.counter(
            "heliograph_plans_total",
            "Plans applied to the kernel's tables",
            figures.plans,
        )?;
        self.counter(
            "heliograph_plan_failures_total",
            "Plans that could not be applied",
            figures.plan_failures,
        )?;
        self.counter(
            "heliograph_table_writes_total",
            "Writes to the kernel's tables",
            figures.writes,
        )?;
        self.counter(
            "heliograph_table_repairs_total",
            "Writes that mended what somebody else had changed",
            figures.repairs,
        )?;
        self.real(
            "heliograph_plan_seconds",
            "Time that the last plan took from decision to the last write",
            figures.plan_s,
        )?;
        self.real(
            "heliograph_event_to_kernel_seconds",
            "Time from hearing of a change to the last write for it, of the last change that called for a write",
            figures.reaction_s,
        )?;
        self.counter(
            "heliograph_elections_won_total",
            "Services that this node began to announce",
            figures.won,
        )?;
        self.counter(
            "heliograph_elections_lost_total",
            "Services that this node ceased to announce",
            figures.lost,
        )
    }

    /// How the API server is followed.
    fn api(&self, api: &ApiFigures) -> Result<()> {
        self.counter(
            "heliograph_api_requests_total",
            "Requests sent to the API server",
            api.requests,
        )?;
        self.counter(
            "heliograph_api_request_failures_total",
            "Requests to the API server that came to nothing",
            api.failures,
        )?;
        self.counter(
            "heliograph_api_events_lost_total",
            "Events about objects that were not written: too many, or refused",
            api.events_lost,
        )?;
        self.real(
            "heliograph_cache_age_seconds",
            "Age of the objects kept from before the start, while they are in force because the API server does not answer; else 0",
            api.stale_s,
        )?;
        let ages = GaugeVec::new(
            Opts::new(
                "heliograph_watch_age_seconds",
                "Time since the API server last said anything about a kind of object",
            ),
            &["kind"],
        )?;
        for (kind, age) in &api.ages_s {
            ages.with_label_values(&[*kind]).set(*age);
        }
        Ok(self.0.register(Box::new(ages))?)
    }

    fn process(&self, process: &Process, log_lines_lost: u64) -> Result<()> {
        let build = self.gauges(
            "heliograph_build_info",
            "Always 1; the version of this program, with its commit where the build was told it",
            &["version"],
        )?;
        let version = env!("HELIOGRAPH_VERSION");
        build.with_label_values(&[version]).set(1);
        self.counter(
            "heliograph_log_lines_lost_total",
            "Log lines left out because there were too many",
            log_lines_lost,
        )?;
        self.gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            process.resident_bytes,
        )?;
        self.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory",
            process.virtual_bytes,
        )?;
        self.gauge("process_threads", "Threads", process.threads)?;
        self.gauge(
            "process_open_fds",
            "Open file descriptors",
            process.open_fds,
        )?;
        self.real(
            "process_cpu_seconds_total",
            "Time on a CPU, in user and kernel mode",
            process.cpu_s,
        )
    }

    fn gauge(&self, name: &str, help: &str, value: i64) -> Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        Ok(self.0.register(Box::new(gauge))?)
    }

    fn real(&self, name: &str, help: &str, value: f64) -> Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        Ok(self.0.register(Box::new(gauge))?)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> Result<()> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        Ok(self.0.register(Box::new(counter))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    /// Counters of something that is no whole number.
    fn sums(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec> {
        let sums = CounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(sums.clone()))?;
        Ok(sums)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
