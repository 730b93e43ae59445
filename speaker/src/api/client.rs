//! How an API server is found and spoken to: kubeconfig or the pod's own account, TLS, and connections that notice a
//! dead path.

use super::Api;
use anyhow::{Context, Result, bail};
use clap::Args;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tower::{BoxError, ServiceBuilder};

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
    let mut config = config(access).await?;
    if let Some(url) = &access.api_server {
        config.cluster_url = url
            .parse()
            .with_context(|| format!("failed to read {url:?} as a URL (--api-server)"))?;
    }
    // What is retried, and when, is decided where it is known what the request is for.
    config.default_retry = false;
    if let Some(proxy) = &config.proxy_url {
        bail!(
            "the kubeconfig names the proxy {proxy}: proxies are not supported, reach the API server directly"
        );
    }
    connections(&config)
}

async fn config(access: &Access) -> Result<Config> {
    match &access.kubeconfig {
        Some(file) => {
            let about = || format!("failed to use the kubeconfig {}", file.display());
            let read = read(file).with_context(about)?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(about)
        }
        None => Config::incluster().context(
            "failed to use the pod's service account; outside a pod name a kubeconfig (--kubeconfig)",
        ),
    }
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

fn connections(config: &Config) -> Result<kube::Client> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_MAX));
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE));
    http.set_keepalive_retries(Some(1));
    http.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    let https = config
        .rustls_https_connector_with_connector(http)
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
        .map_err(BoxError::from)
        .service(client);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

const CONNECT_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20); // below what load balancers take for idle
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_secs(60); // servers close idle connections after 90 s and more
