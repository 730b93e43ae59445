//! The side that asks.

use super::socket::{self, SocketOrder};
use super::wire::{ANSWER_BYTES_MAX, Answer, Request};
use super::{CtlArgs, Form, Question};
use crate::settings::CTL_SOCKET;
use anyhow::{Context, Result, bail};
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use speaker_core::doctor::facts::SpeakerFacts;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Asks and prints the answer.
pub(super) fn run(args: &CtlArgs, question: &Question) -> Result<()> {
    let path = socket(args)?;
    ask(&path, question, args.output, &mut io::stdout().lock())
}

/// What the speaker that the flags mean knows of itself; `None`: none runs.
///
/// # Errors
/// When one runs and cannot be asked, or it is not clear which.
pub(crate) fn facts(args: &CtlArgs) -> Result<Option<SpeakerFacts>> {
    if args.socket.is_none() && args.node.is_none() && nodes(&args.run_dir)?.is_empty() {
        return Ok(None);
    }
    let path = socket(args)?;
    // What a speaker that was killed leaves is a socket that nobody answers on.
    if UnixStream::connect(&path).is_err_and(|error| is_nobody(&error)) {
        return Ok(None);
    }
    let facts = answer(&path, &Question::Facts, Form::Json)?;
    let facts = serde_json::from_str(&facts).context("the answer cannot be read")?;
    Ok(Some(facts))
}

/// What the speaker at a socket answers, as it would be printed.
///
/// # Errors
/// When it cannot be asked, or says why it does not answer.
pub(crate) fn answer(path: &Path, question: &Question, form: Form) -> Result<String> {
    let mut out = Vec::new();
    ask(path, question, form, &mut out)?;
    String::from_utf8(out).context("the answer is no text")
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

/// Asks the speaker at a socket.
pub(super) fn ask(
    path: &Path,
    question: &Question,
    form: Form,
    out: &mut impl Write,
) -> Result<()> {
    let stream = UnixStream::connect(path).with_context(|| unreachable(path))?;
    let goes_on = matches!(question, Question::Watch | Question::Drain { .. });
    let patience = (!goes_on).then_some(ANSWER_MAX);
    stream
        .set_read_timeout(patience)
        .context("failed to bound the wait")?;
    let mut request = Request::new(question, form == Form::Table);
    let mut brought = None;
    if let Question::Socket {
        order: SocketOrder::Add { front, pid, port },
    } = question
    {
        let (socket, owner) = socket::find(front, *pid, port.unwrap_or(front.port))?;
        request = request.of_owner(owner);
        brought = Some(socket);
    }
    let mut line = serde_json::to_vec(&request).context("failed to put the question into JSON")?;
    line.push(b'\n');
    // A speaker that refuses at once has answered already and may have closed its end.
    drop(say(&stream, &line, brought.as_ref()));
    let mut answers = BufReader::new(stream);
    while let Some(answer) = receive(&mut answers)? {
        let answer = answer?;
        if answer == Answer::Done {
            return Ok(());
        }
        match print(out, answer, form) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            printed => printed.context("failed to print the answer")?,
        }
        if !goes_on {
            return Ok(());
        }
    }
    bail!("the speaker at {} has ended", path.display())
}

/// Sends a line, and a socket with it.
fn say(mut stream: &UnixStream, line: &[u8], socket: Option<&OwnedFd>) -> io::Result<()> {
    let Some(socket) = socket else {
        return stream.write_all(line);
    };
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let has_room = beside.push(SendAncillaryMessage::ScmRights(&sockets));
    debug_assert!(has_room, "the room is for one");
    let sent = sendmsg(
        stream,
        &[IoSlice::new(line)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    stream.write_all(line.get(sent..).unwrap_or_default())
}

/// The next line; `None` at the end.
fn receive(answers: &mut impl BufRead) -> Result<Option<Result<Answer>>> {
    let mut line = Vec::new();
    answers
        .take(ANSWER_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .context("failed to read the answer")?;
    if line.is_empty() {
        return Ok(None);
    }
    let answer = serde_json::from_slice(&line).context("the answer cannot be read")?;
    Ok(Some(match answer {
        Answer::Error(why) => Err(anyhow::Error::msg(why)),
        Answer::Text(_) | Answer::Data(_) | Answer::Done => Ok(answer),
    }))
}

fn print(out: &mut impl Write, answer: Answer, form: Form) -> io::Result<()> {
    match (answer, form) {
        (Answer::Text(text) | Answer::Error(text), _) => out.write_all(text.as_bytes())?,
        (Answer::Data(data), Form::Yaml) => {
            let text = serde_norway::to_string(&data).map_err(io::Error::other)?;
            write!(out, "---\n{text}")?;
        }
        (Answer::Data(data), Form::Json | Form::Table) => writeln!(out, "{data}")?,
        (Answer::Done, _) => {}
    }
    out.flush()
}

/// The socket that the flags mean.
///
/// # Errors
/// When they mean none, or several.
pub(crate) fn socket(args: &CtlArgs) -> Result<PathBuf> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(node) = &args.node {
        return Ok(args.run_dir.join(node.as_str()).join(CTL_SOCKET));
    }
    let nodes = nodes(&args.run_dir)?;
    match nodes.as_slice() {
        [node] => Ok(args.run_dir.join(node).join(CTL_SOCKET)),
        [] => bail!(
            "no speaker has a socket in {}: is one running? (--run-dir)",
            args.run_dir.display()
        ),
        nodes => bail!(
            "several speakers run here; say which with --node: {}",
            nodes.join(", ")
        ),
    }
}

/// Nodes that have a socket.
fn nodes(run_dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(run_dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("failed to list {}", run_dir.display()))?,
    };
    let mut nodes = Vec::new();
    for entry in entries {
        let name = entry
            .with_context(|| format!("failed to list {}", run_dir.display()))?
            .file_name();
        if let Ok(name) = name.into_string()
            && run_dir.join(&name).join(CTL_SOCKET).exists()
        {
            nodes.push(name);
        }
    }
    nodes.sort();
    Ok(nodes)
}

fn unreachable(path: &Path) -> String {
    format!(
        "failed to reach a speaker at {}: is it running, and are you root?",
        path.display()
    )
}

const ANSWER_MAX: Duration = Duration::from_secs(30); // the largest plan on a busy machine
