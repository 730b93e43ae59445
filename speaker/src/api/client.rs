//! How an API server is found and spoken to: kubeconfig or the pod's own account, through a proxy or not, TLS, and connections
//! that notice a dead path.

use super::Api;
use super::proxy::{Proxies, Proxy, Speaks};
use anyhow::{Context, Result};
use clap::Args;
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, error, fmt};
use tower::{BoxError, Service, ServiceBuilder};

/// How to find the API server. Without any of these: the pod's own service account.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Access {
    /// A kubeconfig in place of the pod's own service account; several are joined by colons
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Address of the API server, in place of the one that the kubeconfig or the pod's environment names; for nodes
    /// whose service proxy must not be relied upon
    #[arg(long, value_name = "URL")]
    pub(crate) api_server: Option<String>,
}

/// Prepares the connection; nothing is sent before the first call.
///
/// # Errors
/// When there is neither kubeconfig nor service account, or one of them cannot be used.
pub(crate) async fn connect(access: &Access) -> Result<Api> {
    Ok(Api::new(access.clone(), client(access).await?))
}

/// Reads how to get there, and prepares it.
pub(super) async fn client(access: &Access) -> Result<kube::Client> {
    let (mut config, proxies) = config(access).await?;
    if let Some(url) = &access.api_server {
        config.cluster_url = url
            .parse()
            .with_context(|| format!("failed to read {url:?} as a URL (--api-server)"))?;
    }
    // What is retried, and when, is decided where it is known what the request is for.
    config.default_retry = false;
    match proxies.on_the_way_to(&config.cluster_url) {
        None => over(&config, connector(), None),
        Some(proxy) => through(&config, proxy),
    }
}

async fn config(access: &Access) -> Result<(Config, Proxies)> {
    let variable = |name: &str| env::var(name).ok();
    match &access.kubeconfig {
        Some(file) => {
            let about = || format!("failed to use the kubeconfig {}", file.display());
            let read = read(file).with_context(about)?;
            let proxies = Proxies::read(proxy_url(&read), variable).with_context(about)?;
            let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
            Ok((config.with_context(about)?, proxies))
        }
        None => {
            let config = Config::incluster().context(
                "failed to use the pod's service account; outside a pod name a kubeconfig (--kubeconfig)",
            )?;
            Ok((config, Proxies::read(None, variable)?))
        }
    }
}

/// What the current context's cluster says of a proxy.
fn proxy_url(read: &Kubeconfig) -> Option<&str> {
    let current = read.current_context.as_ref()?;
    let mut contexts = read.contexts.iter();
    let context = contexts.find(|context| context.name == *current)?;
    let cluster = &context.context.as_ref()?.cluster;
    let mut clusters = read.clusters.iter();
    let cluster = clusters.find(|named| named.name == *cluster)?;
    cluster.cluster.as_ref()?.proxy_url.as_deref()
}

/// A kubeconfig, or several of them as kubectl takes them in `KUBECONFIG`: joined by colons, the first that says something counts, and
/// those that are not there do not.
fn read(file: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let several: Vec<_> = std::env::split_paths(file)
        .filter(|one| one.exists())
        .collect();
    if file.exists() || several.is_empty() {
        return Kubeconfig::read_from(file);
    }
    let mut read = Kubeconfig::default();
    for one in several {
        read = read.merge(Kubeconfig::read_from(one)?)?;
    }
    Ok(read)
}

fn connector() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_MAX));
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE));
    http.set_keepalive_retries(Some(1));
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    http
}

fn through(config: &Config, proxy: &Proxy) -> Result<kube::Client> {
    let (uri, shown) = (proxy.uri.clone(), Some(proxy.to_string()));
    match &proxy.speaks {
        Speaks::Http(None) => over(config, Tunnel::new(uri, connector()), shown),
        Speaks::Http(Some(word)) => {
            let tunnel = Tunnel::new(uri, connector()).with_auth(word.clone());
            over(config, tunnel, shown)
        }
        Speaks::Socks5(None) => over(config, SocksV5::new(uri, connector()), shown),
        Speaks::Socks5(Some((name, password))) => {
            let socks = SocksV5::new(uri, connector()).with_auth(name.clone(), password.clone());
            over(config, socks, shown)
        }
    }
}

/// A client over connections that `connector` opens; `proxy` is what is told of a proxy when one cannot be had.
fn over<C>(config: &Config, connector: C, proxy: Option<String>) -> Result<kube::Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Unpin + Send + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let https = config
        .rustls_https_connector_with_connector(connector)
        .context("failed to set up TLS to the API server")?;
    let client = HttpClient::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_MAX)
        .build::<_, Body>(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(
            config
                .auth_layer()
                .context("failed to read the credentials for the API server")?,
        )
        .layer(config.extra_headers_layer()?)
        .map_err(move |error| match &proxy {
            None => BoxError::from(error),
            Some(proxy) => Box::new(Through(proxy.clone(), error)),
        })
        .service(client);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// What went wrong on a way through a proxy.
#[derive(Debug)]
struct Through<E>(String, E);

impl<E> fmt::Display for Through<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through the proxy {}", self.0)
    }
}

impl<E: error::Error + 'static> error::Error for Through<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.1)
    }
}

const CONNECT_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20); // below what load balancers take for idle
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_secs(60); // servers close idle connections after 90 s and more
