//! What a young cluster has: namespaces, the API's own Service, the definitions of a folder, and a certificate.

use crate::store::{Key, Store};
use crate::value::text;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use tokio_rustls::TlsAcceptor;

/// A certificate for HTTPS.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// Of its authority, as PEM.
    pub(super) certificate: String,
}

impl Identity {
    pub(super) fn make(address: SocketAddr) -> io::Result<Self> {
        let authority_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "api-double");
        let certificate = authority
            .self_signed(&authority_key)
            .map_err(io::Error::other)?;
        let issuer = Issuer::new(authority, authority_key);
        let names = ["localhost", "127.0.0.1", &address.ip().to_string()].map(str::to_owned);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = CertificateParams::new(names.to_vec())
            .and_then(|leaf| leaf.signed_by(&key, &issuer))
            .map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .map_err(io::Error::other)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: certificate.pem(),
        })
    }
}

/// What every cluster has at its birth, and the definitions of a folder.
pub(super) fn furnish(store: &mut Store, crds: Option<&Path>) -> io::Result<()> {
    let now = format!("{:.0}", Timestamp::now());
    let mut put = |key: Key, mut object: Value| {
        let uid = store.identity();
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.name);
        metadata["uid"] = json!(uid);
        metadata["creationTimestamp"] = json!(now);
        store.put(key, object);
    };
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        put(Key::new("namespaces", "", name), object);
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    });
    put(Key::new("services", "default", "kubernetes"), service);
    for definition in definitions(crds)? {
        let name = text(&definition["metadata"]["name"]);
        let mut definition = definition;
        crate::builtin::complete_definition(&mut definition, &now);
        definition["metadata"]["generation"] = json!(1);
        put(
            Key::new("customresourcedefinitions.apiextensions.k8s.io", "", &name),
            definition,
        );
    }
    Ok(())
}

fn definitions(folder: Option<&Path>) -> io::Result<Vec<Value>> {
    let Some(folder) = folder else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    let is_yaml = |path: &&PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    };
    let mut definitions = Vec::new();
    for path in paths.iter().filter(is_yaml) {
        let text = fs::read_to_string(path)?;
        for document in serde_norway::Deserializer::from_str(&text) {
            let value = <Value as serde::Deserialize>::deserialize(document);
            let value =
                value.map_err(|why| io::Error::other(format!("{}: {why}", path.display())))?;
            if value["kind"] == "CustomResourceDefinition" {
                definitions.push(value);
            }
        }
    }
    Ok(definitions)
}
