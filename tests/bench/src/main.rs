//! The figures of `docs/performance.md`, each a ratio within one run: `cargo xtask bench`.
//!
//! All traffic stays between two network namespaces of the bench's own, for a bounded time. It knows nothing of how the
//! objects and the speaker are built; their paths are arguments.

mod bench;
mod cpu;
mod figure;
mod frame;
mod generator;
mod hook;
mod http;
#[path = "../../../speaker/proto/tests/gossip/cluster.rs"]
#[expect(dead_code, reason = "the tests of membership do more with it")]
mod members_cluster;
mod net;
mod object;
mod process;
mod raw;
mod responder;
mod sheet;
#[path = "../../../speaker-ebpf/src/bench/wire.rs"]
mod wire;

use anyhow::{Context, Result, bail};
use bench::{Bench, Setting};
use clap::Parser;
use sheet::{Output, Sheet};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Measures Heliograph, each figure as a ratio within one run.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Benches to run, or parts of one, as in `bgp:bfd`; without one all run.
    names: Vec<String>,
    /// Lists the benches.
    #[arg(long)]
    list: bool,
    /// How figures are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The kernel object that ships.
    #[arg(long, default_value = "target/ebpf/heliograph.o")]
    object: PathBuf,
    /// The kernel object of the bench.
    #[arg(long, default_value = "target/ebpf/heliograph-bench.o")]
    kit: PathBuf,
    /// The speaker.
    #[arg(long, default_value = "target/release/speaker")]
    speaker: PathBuf,
    /// The API server's double.
    #[arg(long, default_value = "target/release/api-double")]
    double: PathBuf,
    /// Little of everything, to see that it works: such figures mean nothing. Only some benches heed it.
    #[arg(long)]
    quick: bool,
    /// For how long BFD is captured, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    capture: u64,
    /// Of the bench members: one cluster of so many nodes instead of all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    nodes: Option<u16>,
    /// Of the bench members: for so many simulated minutes; room for 300 deaths at the least, a day at most.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(7..=1440))]
    minutes: Option<u16>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.list {
        for bench in bench::ALL {
            println!("{:<12} {}", bench.name, bench.about);
            for part in bench.parts {
                println!("  {}:{part}", bench.name);
            }
        }
        return Ok(());
    }
    let chosen = choose(&cli.names)?;
    net::sweep()?;
    bench::speaker::sweep()?;
    let setting = Setting {
        object: cli.object,
        kit: cli.kit,
        speaker: cli.speaker,
        double: cli.double,
        is_quick: cli.quick,
        capture: Duration::from_secs(cli.capture),
        nodes: cli.nodes,
        minutes: cli.minutes,
        names: cli.names.into_iter().collect(),
    };
    let mut out = std::io::stdout();
    let mut sheet = Sheet::new(cli.output, &mut out);
    for bench in chosen {
        eprintln!("{}: {}", bench.name, bench.about);
        (bench.run)(&setting, &mut sheet)
            .with_context(|| format!("failed to measure {}", bench.name))?;
    }
    Ok(())
}

/// The benches that are named, or of which a part is.
fn choose(names: &[String]) -> Result<Vec<&'static Bench>> {
    let mut chosen = BTreeSet::new();
    for name in names {
        let (of, part) = match name.split_once(':') {
            Some((of, part)) => (of, Some(part)),
            None => (name.as_str(), None),
        };
        let found = bench::ALL.iter().find(|bench| bench.name == of);
        let is_there = |bench: &&Bench| part.is_none_or(|part| bench.parts.contains(&part));
        match found.filter(is_there) {
            Some(bench) => chosen.insert(bench.name),
            None => bail!("no bench is called {name}: --list names them"),
        };
    }
    let is_chosen = |bench: &&Bench| chosen.is_empty() || chosen.contains(bench.name);
    Ok(bench::ALL.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_is_chosen_by_its_name_or_that_of_a_part() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
        let chosen = |named: &[&str]| -> Option<Vec<&str>> {
            let chosen = choose(&names(named)).ok()?;
            Some(chosen.iter().map(|bench| bench.name).collect())
        };
        assert_eq!(chosen(&["bgp:bfd", "bgp:v4", "idle"]).unwrap().len(), 2);
        assert_eq!(chosen(&[]).unwrap().len(), bench::ALL.len());
        assert_eq!(chosen(&["bgp:tea"]), None);
        assert_eq!(chosen(&["tea"]), None);
    }
}
