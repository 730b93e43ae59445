//! The kernel object: checked against what is pinned, loaded, and pinned.
//!
//! A pinned map is reused only if type, key, value, size and flags are what the object wants. Any other is
//! replaced, and the report says so: what it held is gone. Knows nothing of what the tables should hold.

use super::pins::{Pins, parse_map};
use super::{Replaced, Settings};
use anyhow::{Context, Result, bail};
use aya::maps::MapInfo;
use aya::{Ebpf, EbpfLoader};
use rustix::process::{Resource, Rlimit, setrlimit};
use speaker_ebpf::abi::{MAPS, MapSpec};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// The object that was built with this binary.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("HELIOGRAPH_EBPF_OBJECT"));

/// Loads the object with its maps pinned, and says which pinned maps could not be kept.
pub(super) fn load(pins: &Pins, settings: &Settings) -> Result<(Ebpf, Vec<Replaced>)> {
    load_pinned(pins, settings).map_err(|error| match is_filtered(&error) {
        true => error.context(
            "a seccomp filter is in force, which seems to refuse bpf(2) although CAP_BPF is there \
             (docs/kubernetes.md, \"The filter of system calls\")",
        ),
        false => error,
    })
}

/// Whether something was not permitted, and a filter of system calls may be why: capabilities were looked at before.
fn is_filtered(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
        && status.lines().any(|line| line == "Seccomp:\t2")
}

fn load_pinned(pins: &Pins, settings: &Settings) -> Result<(Ebpf, Vec<Replaced>)> {
    pins.create()?;
    raise_memlock();
    let replaced = clear_unusable(pins, &wanted()?)?;
    let rate = settings.rate;
    let (interval_ns, burst_ns) = (rate.interval_ns(), rate.burst_ns());
    let paths: Vec<_> = MAPS
        .iter()
        .map(|spec| (spec.name, pins.map(spec)))
        .collect();
    let mut loader = EbpfLoader::new();
    loader
        .override_global("ANSWER_INTERVAL_NS", &interval_ns, true)
        .override_global("ANSWER_BURST_NS", &burst_ns, true);
    for (name, path) in &paths {
        loader.map_pin_path(name, path.as_path());
    }
    let ebpf = loader.load(OBJECT).context(
        "failed to load the kernel object (kernel 5.10 or later, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed; \
         before 5.11 also a sufficient RLIMIT_MEMLOCK)",
    )?;
    Ok((ebpf, replaced))
}

/// Before 5.11 maps are charged to this limit, which is tiny by default. Where it may not be raised it may still suffice.
fn raise_memlock() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// What decides whether a map can be used by the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
    flags: u32,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            key_bytes,
            value_bytes,
            entries_max,
            flags,
        } = self;
        write!(
            f,
            "type {kind}, key {key_bytes} B, value {value_bytes} B, {entries_max} entries, flags {flags:#x}"
        )
    }
}

/// The shape of each map in the object, by kernel name.
fn wanted() -> Result<BTreeMap<String, Shape>> {
    let object = aya_obj::Object::parse(OBJECT).context("failed to parse the kernel object")?;
    let shapes: BTreeMap<_, _> = object
        .maps
        .iter()
        .map(|(name, map)| {
            let shape = Shape {
                kind: map.map_type(),
                key_bytes: map.key_size(),
                value_bytes: map.value_size(),
                entries_max: map.max_entries(),
                flags: map.map_flags(),
            };
            (name.clone(), shape)
        })
        .collect();
    for spec in &MAPS {
        let Some(shape) = shapes.get(spec.name) else {
            bail!(
                "the kernel object has no map {}: build it anew with `cargo xtask build-ebpf`",
                spec.name
            );
        };
        if shape.entries_max != spec.entries_max {
            bail!(
                "the kernel object's {} has {shape}, not {} entries",
                spec.name,
                spec.entries_max
            );
        }
    }
    Ok(shapes)
}

/// Removes the pins of maps that the object cannot use: another layout version, another shape.
fn clear_unusable(pins: &Pins, wanted: &BTreeMap<String, Shape>) -> Result<Vec<Replaced>> {
    let mut replaced = Vec::new();
    for (file, path) in pins.maps().context("failed to list the pinned maps")? {
        let Some(why) = unusable(&file, &path, wanted)? else {
            continue;
        };
        fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))?;
        replaced.push(Replaced { map: file, why });
    }
    Ok(replaced)
}

/// Why a pinned map cannot be used; `None` if it can.
fn unusable(file: &str, path: &Path, wanted: &BTreeMap<String, Shape>) -> Result<Option<String>> {
    let (name, layout) = parse_map(file).context("only files named like maps are listed")?;
    let Some(spec) = MAPS.iter().find(|spec| spec.name == name) else {
        return Ok(Some("this version has no such map".to_owned()));
    };
    if spec.layout != layout {
        return Ok(Some(format!("this version has layout {}", spec.layout)));
    }
    let want = shape_of(spec, wanted)?;
    let info = MapInfo::from_pin(path);
    let info = info.with_context(|| format!("failed to look at {}", path.display()))?;
    let have = Shape {
        kind: info.map_type().context("failed to read the map's type")? as u32,
        key_bytes: info.key_size(),
        value_bytes: info.value_size(),
        entries_max: info.max_entries(),
        flags: info.map_flags(),
    };
    Ok((have != want).then(|| format!("it has {have}; wanted is {want}")))
}

fn shape_of(spec: &MapSpec, wanted: &BTreeMap<String, Shape>) -> Result<Shape> {
    wanted
        .get(spec.name)
        .copied()
        .with_context(|| format!("the kernel object has no {}", spec.name))
}
