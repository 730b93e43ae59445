//! Services and slices of a cluster as a file, for the service proxy, which reads files alone.
//!
//! Looks again and again instead of watching: it is the lab's, and small.

use super::http::get;
use super::net::Netns;
use crate::tools;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Services and slices, written to a file whenever they change; stops when dropped.
#[derive(Debug)]
pub(super) struct Mirror {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Writes the file for the first time, and follows from then on what an API server has that is asked at `port` of a namespace.
    ///
    /// # Errors
    /// When the API server does not tell, or the file cannot be written.
    pub(super) fn start(control: &Netns, port: u16, folder: &Path) -> Result<Self> {
        let (control, file) = (control.clone(), folder.join("objects.yaml"));
        let mut written = reflect(&control, port, &file, "")?;
        let (stop, stopped) = channel();
        let thread =
            std::thread::spawn(move || follow(&control, port, &file, &mut written, &stopped));
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by the thread itself.
            drop(thread.join());
        }
    }
}

fn follow(control: &Netns, port: u16, file: &Path, written: &mut String, stopped: &Receiver<()>) {
    while stopped.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
        match reflect(control, port, file, written) {
            Ok(text) => *written = text,
            Err(error) => tools::say(&format!("mirror of services: {error:#}")),
        }
    }
}

/// Writes what is there if it is not what was written last.
fn reflect(control: &Netns, port: u16, file: &Path, written: &str) -> Result<String> {
    let mut text = String::new();
    for (kind, path) in MIRRORED {
        let mut list = get(control, port, path)?;
        let items = list["items"].as_array_mut().map(std::mem::take);
        for mut item in items.unwrap_or_default() {
            item["kind"] = kind.into();
            text += &format!("---\n{item}\n");
        }
    }
    if text != written {
        let new = file.with_extension("new");
        fs::write(&new, &text).with_context(|| format!("failed to write {}", new.display()))?;
        fs::rename(&new, file).with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(text)
}

const MIRRORED: [(&str, &str); 2] = [
    ("Service", "/api/v1/services"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
];
const TURN: Duration = Duration::from_millis(200);
