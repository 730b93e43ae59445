//! `api-double`: the double as a program, with a kubeconfig written for whoever should use it.

use api_tests::{Double, Options, Places, Users};
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fs, io};

/// A Kubernetes API server's double, for tests: objects in memory, no controllers.
#[derive(Debug, Parser)]
#[command(name = "api-double", version)]
struct Flags {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Speak HTTP in the clear. Kubernetes' own clients send no token then.
    #[arg(long)]
    plain: bool,
    /// Folder with the CustomResourceDefinitions to begin with.
    #[arg(long, default_value = "deploy/crds")]
    crds: PathBuf,
    /// Lines of token,user,groups; `admin` is always there and may do everything.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Where a webhook's Service is: NAME.NAMESPACE=ADDRESS:PORT. May be given more than once.
    #[arg(long, value_parser = place)]
    service: Vec<(String, SocketAddr)>,
    /// Write a kubeconfig here.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// For which user the kubeconfig is.
    #[arg(long, default_value = "admin")]
    user: String,
}

fn place(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("expected NAME.NAMESPACE=ADDRESS:PORT")?;
    let address = address.parse().map_err(|why| format!("{address}: {why}"))?;
    Ok((name.to_owned(), address))
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    let mut users = Users::new();
    if let Some(path) = &flags.token_file {
        let text = fs::read_to_string(path)?;
        users.read(&text).map_err(io::Error::other)?;
    }
    let places: Places = flags.service.into_iter().collect();
    let double = Double::start(Options {
        address: flags.listen,
        is_tls: !flags.plain,
        crds: Some(flags.crds),
        users,
        places,
        ..Options::default()
    })?;
    if let Some(path) = &flags.kubeconfig {
        // Whoever waits for the file finds all of it.
        let part = path.with_extension("part");
        fs::write(&part, double.kubeconfig_text(&flags.user))?;
        fs::rename(&part, path)?;
    }
    println!("api-double listens on {}", double.url());
    loop {
        std::thread::park();
    }
}
