//! How this speaker meets the others: MetalLB's flags of its memberlist, and two of our own.
//!
//! MetalLB's are in its reference of flags (`--ml-…`, `METALLB_ML_…`). Its switches to do without members have no effect here:
//! membership always runs, and without its secret a speaker waits.

use super::shared::given;
use crate::edge::gossip::SecretPlace;
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use speaker_proto::gossip::MEMBERS_MAX;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Flags of `speaker run` that concern other speakers.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberArgs {
    /// Address of this node on which it hears other speakers. Default: every one, of both families
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "METALLB_ML_BIND_ADDR",
        default_value = "",
        hide_default_value = true
    )]
    ml_bindaddr: String,

    /// UDP port on which speakers hear each other, the same on every node
    #[arg(long, value_name = "PORT", env = "METALLB_ML_BIND_PORT", default_value_t = PORT, value_parser = port)]
    ml_bindport: u16,

    /// Folder of the file secretkey, or that file: what all speakers of the cluster share. Until it is there nothing is
    /// announced. Default: /etc/ml_secret_key
    #[arg(
        long,
        value_name = "PATH",
        env = "METALLB_ML_SECRET_KEY_PATH",
        default_value = "",
        hide_default_value = true
    )]
    ml_secret_key_path: String,

    /// Believe whatever comes to that port, without a secret: for a network that is nobody else's
    #[arg(long)]
    insecure_gossip: bool,

    /// Where other speakers are besides the addresses of the Node objects: addresses, with a port or without, parted by commas
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    gossip_seeds: Vec<String>,
}

/// How this speaker meets the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberSettings {
    /// The only address to be heard on; `None`: all.
    pub(crate) address: Option<IpAddr>,
    /// Its port, and that of every other.
    pub(crate) port: u16,
    /// Where the secret is; `None`: none is asked for.
    pub(crate) secret: Option<SecretPlace>,
    /// Where others are, besides the addresses of nodes.
    pub(crate) seeds: BTreeSet<SocketAddr>,
}

impl MemberSettings {
    /// Checks what was typed; also what of it means nothing.
    pub(crate) fn read(args: &MemberArgs) -> Result<(Self, Vec<String>)> {
        let address = given(&args.ml_bindaddr).map(|text| {
            let address = text.parse();
            address.with_context(|| format!("--ml-bindaddr: {text:?} is no IP address"))
        });
        let seeds = args.gossip_seeds.iter().filter(|seed| !seed.is_empty());
        let seeds: BTreeSet<SocketAddr> = seeds
            .map(|text| seed(text, args.ml_bindport))
            .collect::<Result<_>>()?;
        ensure!(
            seeds.len() <= MEMBERS_MAX,
            "--gossip-seeds: more than {MEMBERS_MAX} addresses; a few that are always there are enough"
        );
        let path = given(&args.ml_secret_key_path);
        let mut notes = Vec::new();
        if args.insecure_gossip && path.is_some() {
            notes.push("--ml-secret-key-path has no effect: --insecure-gossip is given".to_owned());
        }
        let place = SecretPlace(path.unwrap_or_else(|| SECRET.to_owned()).into());
        let settings = Self {
            address: address.transpose()?,
            port: args.ml_bindport,
            secret: (!args.insecure_gossip).then_some(place),
            seeds,
        };
        Ok((settings, notes))
    }

    /// Of what it is for someone who looks at a running speaker.
    pub(super) fn summary(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        let address = address.unwrap_or_else(|| "every address".to_owned());
        let secret = match &self.secret {
            Some(place) => format!("sealed, secret in {place}"),
            None => "without a secret".to_owned(),
        };
        format!("UDP port {} on {address}, {secret}", self.port)
    }
}

/// MetalLB's manifests may set it to nothing.
fn port(text: &str) -> Result<u16, String> {
    match text {
        "" => Ok(PORT),
        _ => match text.parse() {
            Ok(0) | Err(_) => Err(format!("{text:?} is no port from 1 to 65535")),
            Ok(port) => Ok(port),
        },
    }
}

fn seed(text: &str, port: u16) -> Result<SocketAddr> {
    let text = text.trim();
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
    bare.or_else(|_| text.parse())
        .map_err(|_| anyhow!("--gossip-seeds: {text:?} is no IP address, nor one with a port"))
}

/// MetalLB's.
const PORT: u16 = 7946;
/// Where MetalLB's manifests mount the Secret `memberlist`.
const SECRET: &str = "/etc/ml_secret_key";
