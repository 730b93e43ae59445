//! An API server for tests: whatever answers, on a port of this machine, and a connection to it as from a kubeconfig.

use super::{Access, Api, connect};
use axum::Router;
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) api: Api,
    serving: JoinHandle<std::io::Result<()>>,
    /// Of the kubeconfig, which is read again when the server is out of reach.
    _folder: tempfile::TempDir,
}

impl Server {
    /// One that answers by these pages.
    pub(crate) async fn start(pages: Router) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let access = Access {
            kubeconfig: Some(kubeconfig),
            api_server: None,
        };
        Self {
            api: connect(&access).await.unwrap(),
            serving: tokio::spawn(async move { axum::serve(listener, pages).await }),
            _folder: folder,
        }
    }

    /// Ends it; nothing listens any more when this returns.
    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let _ended = (&mut self.serving).await;
    }
}
