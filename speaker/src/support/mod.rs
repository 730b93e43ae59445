//! `speaker ctl support`: one archive with what somebody needs who is asked for help.
//!
//! Everything that `ctl` shows, what the doctor finds, objects and metrics; no secret of any kind. What cannot be had is named in
//! the archive, and the rest is in it all the same. Bounded in size ([`ARCHIVE_BYTES_MAX`]) and in time ([`ALL_MAX`]).

mod redact;
mod tar;
#[cfg(test)]
mod tests;

use crate::api::Access;
use crate::ctl::{self, CtlArgs, Form, Question};
use crate::doctor::{self, LookArgs};
use crate::drive::clock::{now, wall};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use redact::Redactor;
use speaker_core::doctor::examine;
use speaker_proto::{Span, Time};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tar::Archive;
use zeroize::Zeroizing;

/// Flags of `speaker ctl support`.
#[derive(Args, Debug)]
pub(crate) struct SupportArgs {
    /// Where to write the archive (tar); - is standard output. Default: heliograph-support-<time>.tar here
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// A log to take the end of along; secrets in it are taken out as far as they can be told. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) look: LookArgs,
}

/// Makes the archive and says where it is.
///
/// # Errors
/// When it cannot be written, or flags make no sense together.
pub(crate) fn run(args: &CtlArgs, wanted: &SupportArgs) -> Result<ExitCode> {
    let at = Timestamp::try_from(wall()).context("the wall clock is out of bounds")?;
    let is_stdout = wanted.file.as_deref() == Some(Path::new("-"));
    if is_stdout && io::stdout().is_terminal() {
        bail!("an archive is nothing for a terminal: lead it to a file");
    }
    ensure!(
        wanted.log.len() <= LOGS_MAX,
        "--log: at most {LOGS_MAX} files"
    );
    let bundle = collect(args, wanted)?;
    let bytes = bundle.archive(at);
    if is_stdout {
        return match io::stdout().lock().write_all(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            written => {
                written.context("failed to write the archive")?;
                Ok(ExitCode::SUCCESS)
            }
        };
    }
    let default = || PathBuf::from(format!("{NAME}-{}.tar", at.strftime("%Y%m%dT%H%M%SZ")));
    let path = wanted.file.clone().unwrap_or_else(default);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&bytes));
    written.with_context(|| format!("failed to write {}", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    for note in &bundle.notes {
        println!("  {note}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What goes into the archive.
struct Bundle {
    redactor: Redactor,
    files: Vec<(String, Vec<u8>)>,
    /// What is not in it, or not whole, and why.
    notes: Vec<String>,
    bytes: usize,
}

fn collect(args: &CtlArgs, wanted: &SupportArgs) -> Result<Bundle> {
    let mut facts = doctor::gather(args, &wanted.look)?;
    doctor::rights::gather(&Access::default(), None, &mut facts);
    let secret = facts
        .secret
        .as_ref()
        .and_then(|secret| read_secret(&secret.place));
    let mut bundle = Bundle {
        redactor: Redactor::new(secret),
        files: Vec::new(),
        notes: Vec::new(),
        bytes: 0,
    };
    let found = examine(&facts);
    bundle.add("doctor.txt", doctor::text(&facts, &found, Form::Table));
    bundle.add("doctor.json", doctor::text(&facts, &found, Form::Json));
    match facts.speaker {
        Some(_) => bundle.ask_all(&ctl::socket(args)?),
        None => bundle
            .notes
            .push("no speaker was reached: see doctor.txt".to_owned()),
    }
    for (number, path) in wanted.log.iter().enumerate() {
        let text = end_of(path).map(|text| bundle.redactor.everything(text));
        bundle.add(&format!("logs/{number}.log"), text);
    }
    Ok(bundle)
}

fn questions() -> [(&'static str, Question); 11] {
    [
        ("status", Question::Status),
        ("plan", Question::Plan),
        ("vips", Question::Vips),
        ("links", Question::Links),
        ("members", Question::Members),
        (
            "bgp",
            Question::Bgp {
                peer: None,
                order: None,
            },
        ),
        ("bfd", Question::Bfd { peer: None }),
        ("routes", Question::Routes { peer: None }),
        ("steer", Question::Steer { vip: None }),
        ("maps", Question::Maps),
        ("counters", Question::Counters),
    ]
}

/// Asks on a thread of its own, so that a speaker that hangs costs the rest of the time and no more.
fn ask(socket: &Path, question: &Question, form: Form, until: Time) -> Result<String> {
    let left = Duration::from_nanos(until.since(now()).ns());
    ensure!(!left.is_zero(), "there was no time left to ask");
    let (tell, told) = mpsc::channel();
    let (socket, question) = (socket.to_owned(), question.clone());
    thread::spawn(move || {
        // Nobody listens any more if it took too long.
        drop(tell.send(ctl::answer(&socket, &question, form)));
    });
    told.recv_timeout(left).context("no answer came in time")?
}

/// The members' secret, to be searched for.
fn read_secret(place: &str) -> Option<Zeroizing<String>> {
    let place = Path::new(place);
    let file = match place.is_dir() {
        true => place.join("secretkey"),
        false => place.to_owned(),
    };
    let mut text = Zeroizing::new(String::new());
    let mut file = File::open(file).ok()?.take(SECRET_BYTES_MAX);
    file.read_to_string(&mut text).ok()?;
    Some(Zeroizing::new(text.trim().to_owned()))
}

/// The last part of a log, from the beginning of a line.
fn end_of(path: &Path) -> Result<String> {
    let why = || format!("failed to read {}", path.display());
    let mut file = File::open(path).with_context(why)?;
    let length = file.metadata().with_context(why)?.len();
    let start = length.saturating_sub(FILE_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(start)).with_context(why)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .with_context(why)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let from = match start {
        0 => 0,
        _ => text.find('\n').map_or(0, |at| at + 1),
    };
    Ok(text.get(from..).unwrap_or_default().to_owned())
}

impl Bundle {
    fn ask_all(&mut self, socket: &Path) {
        let until = now() + ALL_MAX;
        for (name, question) in questions() {
            for (end, form) in [("txt", Form::Table), ("json", Form::Json)] {
                let text = ask(socket, &question, form, until);
                self.add(&format!("ctl/{name}.{end}"), text);
            }
        }
        for (name, question) in [
            ("metrics.txt", Question::Metrics),
            ("objects.yaml", Question::Objects),
        ] {
            self.add(name, ask(socket, &question, Form::Table, until));
        }
    }

    fn add(&mut self, name: &str, text: Result<String>) {
        let text = match text {
            Ok(text) => self.redactor.known(text),
            Err(error) => {
                let why = self.redactor.known(format!("{error:#}"));
                self.notes.push(format!("{name} is missing: {why}"));
                return;
            }
        };
        let mut bytes = text.into_bytes();
        let room = FILE_BYTES_MAX.min(ARCHIVE_BYTES_MAX - self.bytes);
        if bytes.len() > room {
            self.notes
                .push(format!("{name} is cut: {room} bytes of {}", bytes.len()));
            bytes.truncate(room);
        }
        self.bytes += bytes.len();
        self.files.push((name.to_owned(), bytes));
    }

    fn archive(&self, at: Timestamp) -> Vec<u8> {
        let seconds = u64::try_from(at.as_second()).unwrap_or_default();
        let mut archive = Archive::new(seconds);
        let mut about = format!("heliograph {}\n{at:.0}\n\n", env!("CARGO_PKG_VERSION"));
        for (name, bytes) in &self.files {
            about.push_str(&format!("{name}: {} bytes\n", bytes.len()));
        }
        for note in &self.notes {
            about.push_str(&format!("{note}\n"));
        }
        archive.add(&format!("{NAME}/about.txt"), about.as_bytes());
        for (name, bytes) in &self.files {
            archive.add(&format!("{NAME}/{name}"), bytes);
        }
        archive.finish()
    }
}

/// The folder in the archive, and the beginning of its name.
const NAME: &str = "heliograph-support";
/// Of one file: the plan of ten thousand services.
const FILE_BYTES_MAX: usize = 8 << 20;
/// Of all of them together: what a mail or an issue takes once it is packed.
const ARCHIVE_BYTES_MAX: usize = 64 << 20;
/// As `edge::gossip` bounds it.
const SECRET_BYTES_MAX: u64 = 4096;
const LOGS_MAX: usize = 8;
/// For all questions together; nobody waits longer before they stop it.
const ALL_MAX: Span = Span::s(60);
