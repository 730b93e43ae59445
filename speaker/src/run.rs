//! `speaker run`: where every part of the speaker meets.
//!
//! Everything that needs a capability is opened on the main thread; then capabilities are dropped, and only then do
//! threads start. What each thread is for, and what it means when one hangs, is in `docs/architecture.md`.

mod attend;
mod begin;
mod bfd_keep;
mod bfd_sight;
mod bgp;
mod bgp_foreign;
mod bgp_keys;
mod bgp_sight;
mod board;
mod cached;
mod claims;
mod cluster;
mod feed;
mod hardware;
mod intake;
mod judge;
mod keep;
mod link_changes;
mod members;
mod membership;
mod notes;
mod serving;
mod session_states;
mod snapshot;
mod statuses;
mod stop;
mod tell;
mod teller;

use crate::api::Api;
use crate::cleanup;
use crate::ctl;
use crate::dataplane::{self, Chooser, Dataplane, Sight};
use crate::drive::allocate::Allocator;
use crate::drive::audit::{self, Suspicion};
use crate::drive::clock::{Stamp, now};
use crate::drive::decide::{Decide, Outlets, Signals, View};
use crate::drive::hands::{Ends, Hands};
use crate::drive::members_board::MembersBoard;
use crate::drive::pulse::{self, PulseHandle};
use crate::drive::sockets;
use crate::edge::gossip::Sockets;
use crate::edge::{ArpSetting, FrameSender, Groups, LocalRoutes};
use crate::privileges;
use crate::settings::{Origin, Settings};
use crate::source::{self, Allocations};
use anyhow::{Context, Result, bail};
use attend::Around;
use begin::{adopted, agent};
use bgp::Bgp;
use board::{Board, Updates};
use cluster::InCluster;
use feed::Feed;
use intake::Intake;
use keep::Keeper;
use membership::Meeting;
use speaker_core::Problem;
use speaker_core::agent::{Event, Input};
use speaker_ebpf::abi::socket::MARK;
use speaker_proto::Time;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use stop::{Left, Stopping};
use teller::Teller;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

/// Runs the speaker until SIGTERM or SIGINT. The kernel then goes on answering for the restart grace, for the
/// next process to take over.
///
/// # Errors
/// When something is missing that it cannot work without, or a part that must not end does.
pub(crate) fn run(settings: Settings) -> Result<()> {
    privileges::check(settings.bgp_listen_port)?;
    private_dir(&settings.run_dir)?;
    let kernel = Kernel::open(&settings)?;
    privileges::drop_the_rest(settings.bgp_listen_port)?;
    let (speaker, parts) = start(&settings, kernel)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(serve(&settings, speaker, parts))
}

/// Everything that was opened while the capabilities were there.
struct Kernel {
    /// A process before this one ran on this node since it booted, and its pins are adopted.
    is_successor: bool,
    sockets: Sockets,
    dataplane: Dataplane,
    frames: FrameSender,
    groups: Groups,
    serving: (Chooser, LocalRoutes),
    arp_setting: Option<ArpSetting>,
}

impl Kernel {
    fn open(settings: &Settings) -> Result<Self> {
        // First: with a port that is taken nothing of the kernel is touched.
        let sockets = Sockets::open(settings.members.address, settings.members.port)?;
        let is_successor = settings.pin_dir.is_dir();
        let dataplane = Dataplane::open(&dataplane::Settings {
            pin_dir: settings.pin_dir.clone(),
            attach: settings.attach,
            rate: settings.rate,
        })?;
        for replaced in &dataplane.replaced {
            tracing::warn!(
                map = replaced.map,
                reason = replaced.why,
                event = "mapReplaced",
                "a pinned map could not be kept; what it held is gone"
            );
        }
        let arp_setting = settings
            .sets_arp_announce
            .then(|| ArpSetting::open(&settings.run_dir));
        let serving = (dataplane.sockets()?, LocalRoutes::open(MARK)?);
        Ok(Self {
            is_successor,
            sockets,
            serving,
            dataplane,
            frames: FrameSender::open()?,
            groups: Groups::open()?,
            arp_setting: arp_setting.transpose()?,
        })
    }
}

/// What the runtime's tasks need of the threads.
struct Speaker {
    inbox: SyncSender<Input>,
    pulse: PulseHandle,
    views: watch::Receiver<Option<Arc<View>>>,
    events: mpsc::Receiver<Event>,
    decided: Stamp,
    suspicion: Suspicion,
    members: MembersBoard,
}

/// What is still to be moved into tasks.
struct Parts {
    is_successor: bool,
    dataplane: Dataplane,
    frames: FrameSender,
    groups: Groups,
    serving: (Chooser, LocalRoutes),
    arp_setting: Option<ArpSetting>,
    ends: Ends,
}

/// Starts the two threads on what the last process left.
fn start(settings: &Settings, kernel: Kernel) -> Result<(Speaker, Parts)> {
    let Kernel {
        is_successor,
        sockets,
        dataplane,
        frames,
        groups,
        serving,
        arp_setting,
    } = kernel;
    let tables = dataplane.tables()?;
    let mirror = begin::found(&tables)?;
    let decided = Stamp::default();
    let (say, said) = sync_channel(PULSE_WORDS);
    let (inbox, inputs) = sync_channel(INBOX);
    let adopted = adopted(&mirror);
    let board = MembersBoard::default();
    let cell = dataplane.deadline()?;
    // Of a deadline that passed nothing is held, whatever the tables say.
    let last_deadline = Time::from_ns(cell.load());
    let held = adopted.iter().filter(|_| now() < last_deadline);
    let itself = begin::itself(settings)?;
    let members = membership::parts(settings, &itself, sockets, held, (&inbox, &board));
    let keys = membership::keys(settings);
    let say = move |word| {
        // Two words at most are under way: a lapse, and the arming that answers it.
        say.try_send(word)
            .expect("the deciding thread lives as long as the process");
    };
    let pulse = pulse::spawn(cell, decided.clone(), members, keys, say)
        .context("failed to start the pulse thread")?;
    let listeners = sockets::found(&serving.0)?;
    let deadline = (last_deadline, pulse.is_adopted());
    let agent = agent(settings, itself.local, &mirror, listeners, deadline);
    let (events_in, events) = mpsc::channel(EVENTS);
    let (views_in, views) = watch::channel(None);
    let (hands, ends) = Hands::new();
    let outlets = Outlets {
        events: events_in,
        views: views_in,
        hands,
    };
    let suspicion = Suspicion::default();
    let signals = Signals {
        pulse: pulse.clone(),
        said,
        decided: decided.clone(),
        suspicion: Arc::clone(&suspicion),
    };
    Decide::new(agent, tables, mirror, signals, outlets).spawn(inputs)?;
    let speaker = Speaker {
        inbox,
        pulse,
        views,
        events,
        decided,
        suspicion,
        members: board,
    };
    let parts = Parts {
        is_successor,
        dataplane,
        frames,
        groups,
        serving,
        arp_setting,
        ends,
    };
    Ok((speaker, parts))
}

async fn serve(settings: &Settings, speaker: Speaker, parts: Parts) -> Result<()> {
    let pulse = speaker.pulse.clone();
    let (ended, keeper) = match tasks(settings, speaker, parts).await {
        Ok(running) => {
            let ended = running.stopping.wait(running.tasks).await;
            (ended, running.keeper)
        }
        Err(error) => (Err(error), None),
    };
    // Whatever ended it: the next process finds its VIPs answered for, or the grace passes.
    let left = ended.as_ref().map_or(Left::ToSuccessor, |left| *left);
    let is_promised = left == Left::ToSuccessor && pulse.promise(settings.restart_grace);
    if let Some(Err(error)) = keeper.map(|keeper| keeper.save()) {
        tracing::warn!(
            error = format!("{error:#}"),
            event = "stateNotKept",
            "the last changes are not kept"
        );
    }
    let grace_s = settings.restart_grace.ns() / 1_000_000_000;
    let what = left.story(is_promised);
    tracing::info!(
        op = "shutdown",
        grace_s,
        is_promised,
        "speaker stopped; {what}"
    );
    if left == Left::Nothing {
        let removed = cleanup::of_own(&settings.node, &settings.places)?;
        tracing::info!(op = "shutdown", event = "cleanedUp", "{removed}");
    }
    ended.map(drop)
}

/// Everything that was started.
struct Running {
    tasks: JoinSet<Result<()>>,
    /// What a signal to stop leads to.
    stopping: Stopping,
    /// In a cluster: what must be asked to keep the last objects once more at the end.
    keeper: Option<Arc<Keeper>>,
}

/// Where objects come from, and what else goes with that.
struct Opened {
    intake: Intake,
    /// In a directory: who writes the addresses.
    writer: Option<Allocations>,
    cluster: Option<InCluster>,
}

impl Opened {
    /// In a cluster: its API server.
    fn api(&self) -> Option<Api> {
        self.cluster.as_ref().map(|cluster| cluster.api().clone())
    }
}

async fn open(settings: &Settings, tasks: &mut JoinSet<Result<()>>) -> Result<Opened> {
    match &settings.origin {
        Origin::Directory(dir) => {
            let (events, writer) = source::spawn(dir, &settings.namespace)?;
            Ok(Opened {
                intake: Intake::Directory(events),
                writer: Some(writer),
                cluster: None,
            })
        }
        Origin::Cluster(cluster) => {
            let (cluster, intake) = InCluster::open(settings, cluster, tasks).await?;
            Ok(Opened {
                intake: Intake::Cluster(intake),
                writer: None,
                cluster: Some(cluster),
            })
        }
    }
}

/// Starts every part that may hang without harm to the VIPs; none of them ends by itself.
async fn tasks(settings: &Settings, speaker: Speaker, parts: Parts) -> Result<Running> {
    let mut tasks = JoinSet::new();
    let (tables, suspicion) = (parts.dataplane.tables()?, Arc::clone(&speaker.suspicion));
    tasks.spawn(audit::run(tables, speaker.views.clone(), suspicion));
    let opened = open(settings, &mut tasks).await?;
    let api = opened.api();
    let (changes, _) = broadcast::channel(CHANGES);
    let (intake, writer) = (opened.intake, opened.writer);
    let fed = feed(settings, &speaker, (intake, writer), &changes, &mut tasks)?;
    let link = opened.cluster.as_ref().map(|cluster| cluster.link.clone());
    let meeting = Meeting::new(settings, &speaker, link.clone());
    let inbox = speaker.inbox.clone();
    follow_foreign(api.clone(), &speaker, &mut tasks);
    let published = hardware::Ends {
        macs: meeting.macs(),
        inbox: inbox.clone(),
    };
    let around = Around {
        inbox: speaker.inbox,
        views: speaker.views.clone(),
        changes: changes.clone(),
    };
    let from = (api, parts.is_successor);
    let attended = attend::links(settings, parts, around, &mut tasks)?;
    let links = attended.links.clone();
    let watching = changes.clone();
    let bgp = Bgp::spawn(settings, &speaker.views, links, from, watching, &mut tasks)?;
    let own = opened.cluster.as_ref().map(InCluster::own_objects);
    meeting.spawn(attended.links, &mut tasks);
    let written = opened
        .cluster
        .map(|cluster| cluster.write(settings, &speaker.views, &bgp, published, &mut tasks));
    let (events, keeper) = written.unzip();
    let board = Board {
        node: settings.node.clone(),
        views: speaker.views.clone(),
        attached: attended.attached,
        members: speaker.members,
        secret: settings.members.secret.as_ref().map(ToString::to_string),
        allocates: fed.allocates,
        gratuitous: attended.gratuitous,
        probed: attended.probed,
        neighbours: attended.neighbours,
        sight: Arc::new(Sight::open(&settings.pin_dir)?),
        decided: speaker.decided,
        updates: fed.updates,
        problems: fed.problems,
        link,
        events,
        elections: Arc::default(),
        bgp: bgp.clone(),
    };
    let stopping = Stopping {
        drain_window: settings.drain_window,
        states: snapshot::source(settings, &board),
        orders: stop::orders(inbox),
        pulse: speaker.pulse,
        bgp,
        own,
    };
    let told = (speaker.events, changes);
    let orders = stopping.of_clients(attended.sockets);
    show(settings, board, (&stopping, orders), told, &mut tasks)?;
    tasks.spawn(notes::follow(speaker.views));
    Ok(Running {
        tasks,
        stopping,
        keeper,
    })
}

/// In a cluster: starts what sees who else speaks BGP.
fn follow_foreign(api: Option<Api>, speaker: &Speaker, tasks: &mut JoinSet<Result<()>>) {
    if let Some(api) = api {
        let (views, inbox) = (speaker.views.clone(), speaker.inbox.clone());
        tasks.spawn(bgp_foreign::follow(views, api, inbox));
    }
}

/// What is to be seen of the way from objects to the deciding thread.
struct Fed {
    updates: Arc<Updates>,
    allocates: watch::Receiver<bool>,
    problems: watch::Receiver<Vec<Problem>>,
}

/// Starts what brings objects to the deciding thread, and in a directory what gives addresses.
fn feed(
    settings: &Settings,
    speaker: &Speaker,
    (intake, writer): (Intake, Option<Allocations>),
    changes: &broadcast::Sender<ctl::Event>,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Fed> {
    let (allocates_in, allocates) = watch::channel(false);
    let feed = Feed {
        inbox: speaker.inbox.clone(),
        allocates: allocates_in,
        updates: Arc::default(),
        changes: changes.clone(),
    };
    let updates = Arc::clone(&feed.updates);
    tasks.spawn(feed.spawn(intake)?);
    let (problems_in, problems) = watch::channel(Vec::new());
    if let Some(writer) = writer {
        let allocator = Allocator::new(writer, settings.rules.class.clone(), problems_in);
        tasks.spawn(allocator.run(speaker.views.clone(), allocates.clone()));
    }
    Ok(Fed {
        updates,
        allocates,
        problems,
    })
}

/// Starts what operators look at: the control socket, log and events, metrics and health.
fn show(
    settings: &Settings,
    board: Board,
    (stopping, orders): (&Stopping, ctl::Orders),
    (events, changes): (mpsc::Receiver<Event>, broadcast::Sender<ctl::Event>),
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let states = Arc::clone(&stopping.states);
    let (socket, sight) = (settings.ctl_socket(), Arc::clone(&board.sight));
    let server = ctl::Server::open(&socket, states, orders, sight, changes.clone(), now)?;
    tasks.spawn(server.with_metrics(board::page(board.clone())).run());
    let teller = Teller {
        node: settings.node.clone(),
        events: board.events.clone(),
        elections: Arc::clone(&board.elections),
        moved: teller::Moved::default(),
    };
    tasks.spawn(tell_events(events, changes, teller));
    let secure = match &settings.origin {
        Origin::Directory(_) => None,
        Origin::Cluster(cluster) => Some(cluster.secure.clone()),
    };
    let (metrics, health) = (settings.metrics, settings.health);
    tasks.spawn(board::serve(metrics, secure, health, board));
    Ok(())
}

async fn tell_events(
    mut events: mpsc::Receiver<Event>,
    changes: broadcast::Sender<ctl::Event>,
    teller: Teller,
) -> Result<()> {
    while let Some(event) = events.recv().await {
        tell::log(&event);
        teller.tell(&event);
        let _nobody_may_watch = changes.send(ctl::Event::from(&event));
    }
    bail!("the deciding thread ended")
}

fn private_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("failed to close {} to others", dir.display()))
}

/// Objects on their way to the deciding thread; a source that is faster waits.
const INBOX: usize = 1024;
/// Changes on their way to the log; more than that at once are lost and counted.
const EVENTS: usize = 4096;
/// Changes that a slow `ctl watch` may be behind.
const CHANGES: usize = 1024;
/// Words of the pulse that the deciding thread has not heard.
const PULSE_WORDS: usize = 8;
