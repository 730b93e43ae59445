//! The side that answers.
//!
//! Only root and the speaker's own user may ask; everyone else is told so. Clients, lines and times are bounded, so that
//! asking cannot hurt the speaker.

use super::show::drain::{Progress, announced};
use super::show::{self, Known};
use super::snapshot::{Sight, Snapshot};
use super::socket::{SocketOrders, SocketWish};
use super::wire::{Answer, REQUEST_BYTES_MAX, Request};
use super::{Event, PeerOrder, PeerOrders, Question};
use anyhow::{Context, Result, bail, ensure};
use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use speaker_proto::Time;
use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::timeout;

/// Orders a drain, or its end; whether the order is on its way.
pub(crate) type DrainOrders = Arc<dyn Fn(bool) -> bool + Send + Sync>;

/// What clients can have done.
#[derive(Clone)]
pub(crate) struct Orders {
    /// Drains, and their ends.
    pub(crate) drain: DrainOrders,
    /// Pauses of BGP sessions, and their ends.
    pub(crate) peers: PeerOrders,
    /// Sockets that serve VIPs; `None`: this speaker has no such thing.
    pub(crate) sockets: Option<SocketOrders>,
}

/// The newest snapshot; `None` before the first.
pub(crate) type States = Arc<dyn Fn() -> Option<Snapshot> + Send + Sync>;

/// The page of metrics of now; it may block.
pub(crate) type Pages = Arc<dyn Fn() -> Result<String> + Send + Sync>;

/// Answers on one socket.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    desk: Arc<Desk>,
}

/// What every client's task shares.
struct Desk {
    states: States,
    orders: Orders,
    pages: Option<Pages>,
    sight: Arc<dyn Sight>,
    events: broadcast::Sender<Event>,
    clock: fn() -> Time,
    owner: u32,
    seats: Semaphore,
}

impl Server {
    /// Listens at `path`, whose directory exists and is closed to others. A socket that a process left behind is
    /// replaced. Must be called within a runtime.
    ///
    /// # Errors
    /// When another speaker answers there, or the socket cannot be made.
    pub(crate) fn open(
        path: &Path,
        states: States,
        orders: Orders,
        sight: Arc<dyn Sight>,
        events: broadcast::Sender<Event>,
        clock: fn() -> Time,
    ) -> Result<Self> {
        clear(path)?;
        let listener = UnixListener::bind(path)
            .with_context(|| format!("failed to listen on {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("failed to close {} to others", path.display()))?;
        let desk = Desk {
            states,
            orders,
            pages: None,
            sight,
            events,
            clock,
            owner: rustix::process::geteuid().as_raw(),
            seats: Semaphore::new(CLIENTS_MAX),
        };
        Ok(Self {
            listener,
            path: path.to_owned(),
            desk: Arc::new(desk),
        })
    }

    /// Has the page of metrics to give, too.
    pub(crate) fn with_metrics(mut self, pages: Pages) -> Self {
        let desk = Arc::get_mut(&mut self.desk);
        desk.expect("no client's task shares it before it runs")
            .pages = Some(pages);
        self
    }

    /// Answers until the socket fails.
    pub(crate) async fn run(self) -> Result<()> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let desk = Arc::clone(&self.desk);
                    tokio::spawn(async move { desk.serve(stream).await });
                }
                // Out of descriptors: one that is let go may come back before long.
                Err(error) if error.kind() != ErrorKind::InvalidInput => {
                    tracing::warn!(%error, op = "ctl", "failed to take a client");
                    drop(timeout(ACCEPT_AGAIN, std::future::pending::<()>()).await);
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("failed to listen on {}", self.path.display()));
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next speaker.
        drop(fs::remove_file(&self.path));
    }
}

impl Desk {
    async fn serve(&self, stream: UnixStream) {
        let peer = stream.peer_cred();
        let (read, mut write) = stream.into_split();
        let Ok(_seat) = self.seats.try_acquire() else {
            let why = format!("{CLIENTS_MAX} clients are being served: try again later");
            drop(send(&mut write, &Answer::Error(why)).await);
            return;
        };
        if let Err(error) = self.talk(peer, read, &mut write).await {
            tracing::debug!(
                error = format!("{error:#}"),
                op = "ctl",
                "a client was not answered"
            );
            drop(send(&mut write, &Answer::Error(format!("{error:#}"))).await);
        }
    }

    async fn talk(
        &self,
        peer: std::io::Result<UCred>,
        read: OwnedReadHalf,
        write: &mut OwnedWriteHalf,
    ) -> Result<()> {
        let uid = peer.context("failed to see who asks")?.uid();
        ensure!(
            may_ask(uid, self.owner),
            "user {uid} may not ask: only root and user {} may",
            self.owner
        );
        let (request, socket) = receive(&read).await?;
        if let Some(wish) = request.wish(socket).map_err(anyhow::Error::msg)? {
            return self.attach(write, wish, request.as_text).await;
        }
        let question = request.question().map_err(anyhow::Error::msg)?;
        match question {
            Question::Watch => self.watch(write, request.as_text).await,
            Question::Drain { undo, wait } => {
                tracing::info!(uid, undo, op = "ctl", "a drain was ordered, or its end");
                let order = Order { undo, wait };
                self.drain(write, order, request.as_text).await
            }
            Question::Bgp {
                order: Some(order), ..
            } => {
                note(uid, &order);
                self.obey(write, order, request.as_text).await
            }
            Question::Metrics => send(write, &self.metrics().await?).await,
            Question::Status
            | Question::Plan
            | Question::Why { .. }
            | Question::Vips
            | Question::Links
            | Question::Members
            | Question::Bgp { order: None, .. }
            | Question::Bfd { .. }
            | Question::Routes { .. }
            | Question::Steer { .. }
            | Question::Socket { .. }
            | Question::Flows(_)
            | Question::Maps
            | Question::Counters
            | Question::Facts
            | Question::Objects => {
                let answer = self.answer(question, request.as_text).await?;
                send(write, &answer).await
            }
        }
    }

    /// Answers off the runtime's workers: a large plan takes a while.
    async fn answer(&self, question: Question, as_text: bool) -> Result<Answer> {
        let snapshot = (self.states)().context("the speaker has decided nothing yet: try again")?;
        let (sight, now) = (Arc::clone(&self.sight), (self.clock)());
        tokio::task::spawn_blocking(move || {
            let known = Known {
                snapshot: &snapshot,
                sight: &*sight,
                now,
            };
            show::answer(&known, &question, as_text)
        })
        .await
        .context("the answer was not finished")?
    }

    async fn metrics(&self) -> Result<Answer> {
        let pages = self.pages.clone().context("this speaker has no metrics")?;
        let page = tokio::task::spawn_blocking(move || pages()).await;
        Ok(Answer::Text(page.context("the page was not finished")??))
    }

    /// Gives the order and tells how far it is: once when it is obeyed, or at each step until all is done.
    async fn drain(&self, write: &mut OwnedWriteHalf, order: Order, as_text: bool) -> Result<()> {
        let unready = "the speaker has decided nothing yet: try again";
        let before = announced(&(self.states)().context(unready)?);
        ensure!(
            (self.orders.drain)(!order.undo),
            "the speaker has too much to do: try again"
        );
        let mut told = None;
        loop {
            let snapshot = (self.states)().context(unready)?;
            let progress = Progress::of(&snapshot, &before);
            let is_obeyed = progress.is_draining != order.undo;
            let is_last = is_obeyed && (!order.wait || progress.is_done());
            if is_obeyed && told.as_ref() != Some(&progress) {
                send(write, &show::progress(&progress, as_text)?).await?;
                told = Some(progress);
            }
            if is_last {
                return send(write, &Answer::Done).await;
            }
            ensure!(
                is_obeyed || told.is_none(),
                "somebody else ended the drain: ask again"
            );
            drop(timeout(LOOK_AGAIN, std::future::pending::<()>()).await);
        }
    }

    /// Has the session with a peer paused or resumed, and tells how it is then.
    async fn obey(
        &self,
        write: &mut OwnedWriteHalf,
        order: PeerOrder,
        as_text: bool,
    ) -> Result<()> {
        let question = Question::Bgp {
            peer: Some(order.peer().to_owned()),
            order: None,
        };
        (self.orders.peers)(order)
            .await
            .map_err(anyhow::Error::msg)?;
        let answer = self.answer(question, as_text).await?;
        send(write, &answer).await
    }

    /// Has an order about sockets obeyed and shows what there is then.
    async fn attach(
        &self,
        write: &mut OwnedWriteHalf,
        wish: SocketWish,
        as_text: bool,
    ) -> Result<()> {
        let orders = self.orders.sockets.as_ref();
        let orders = orders.context("this speaker has nothing to do with sockets")?;
        let there = orders(wish).await?;
        send(write, &show::sockets(there, as_text)?).await
    }

    async fn watch(&self, write: &mut OwnedWriteHalf, as_text: bool) -> Result<()> {
        let mut events = self.events.subscribe();
        loop {
            let answer = match events.recv().await {
                Ok(event) => show::event(event, as_text)?,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    bail!("{missed} changes came faster than they were taken: watch again")
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            send(write, &answer).await?;
        }
    }
}

/// What was told.
#[derive(Clone, Copy)]
struct Order {
    undo: bool,
    wait: bool,
}

fn note(uid: u32, order: &PeerOrder) {
    let peer = order.peer();
    match order {
        PeerOrder::Pause { say, .. } => tracing::info!(
            uid,
            peer,
            say,
            op = "ctl",
            event = "sessionPaused",
            "a BGP session was ordered to pause"
        ),
        PeerOrder::Resume { .. } => tracing::info!(
            uid,
            peer,
            op = "ctl",
            event = "sessionResumed",
            "a paused BGP session was ordered again"
        ),
    }
}

/// Who may ask: root, and the user that the speaker runs as.
fn may_ask(uid: u32, owner: u32) -> bool {
    uid == 0 || uid == owner
}

/// The question, and a descriptor that came along.
async fn receive(read: &OwnedReadHalf) -> Result<(Request, Option<OwnedFd>)> {
    let (line, socket) = timeout(REQUEST_MAX, hear(read.as_ref()))
        .await
        .context("no question came in time")?
        .context("failed to read the question")?;
    let line = line.strip_suffix(b"\n");
    let line = line
        .with_context(|| format!("the question is no line of at most {REQUEST_BYTES_MAX} bytes"))?;
    let request = serde_json::from_slice(line).context("the question cannot be read")?;
    Ok((request, socket))
}

/// Reads up to the end of a line, of the stream, or of the room for it.
async fn hear(stream: &UnixStream) -> std::io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut line, mut socket) = (Vec::new(), None);
    while !line.ends_with(b"\n") && line.len() < REQUEST_BYTES_MAX {
        stream.readable().await?;
        let room = REQUEST_BYTES_MAX - line.len();
        let heard = stream.try_io(Interest::READABLE, || take(stream, room, &mut socket));
        match heard {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => line.extend(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok((line, socket))
}

/// What is there, and one descriptor; of more the kernel closes the others.
fn take(
    stream: &UnixStream,
    room: usize,
    socket: &mut Option<OwnedFd>,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; room];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let heard = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            *socket = sockets.last().or(socket.take());
        }
    }
    bytes.truncate(heard.bytes);
    Ok(bytes)
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_vec(answer).context("failed to put the answer into JSON")?;
    line.push(b'\n');
    timeout(ANSWER_MAX, write.write_all(&line))
        .await
        .context("the answer was not taken in time")?
        .context("failed to send the answer")
}

/// Removes a socket that nobody answers on.
fn clear(path: &Path) -> Result<()> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        about => about.with_context(|| format!("failed to look at {}", path.display()))?,
    };
    ensure!(
        about.file_type().is_socket(),
        "{} is there and no socket: remove it",
        path.display()
    );
    match BlockingStream::connect(path) {
        Ok(_) => bail!(
            "another speaker answers on {}: stop it first",
            path.display()
        ),
        Err(_) => fs::remove_file(path).with_context(|| {
            format!(
                "failed to remove {}, which nobody answers on",
                path.display()
            )
        }),
    }
}

const CLIENTS_MAX: usize = 32; // people and a few scripts
const REQUEST_MAX: Duration = Duration::from_secs(5); // a client sends its question at once
const ANSWER_MAX: Duration = Duration::from_secs(10); // a client that does not read is let go
const LOOK_AGAIN: Duration = Duration::from_millis(100); // people see no difference, and a look costs little
const ACCEPT_AGAIN: Duration = Duration::from_millis(100); // so that a lack of descriptors is no busy loop
