//! A webhook over HTTPS that answers each recorded exchange as the webhook of the recording did.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A running webhook. Its thread ends with the test program.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    /// Its authority, as a caBundle.
    pub(crate) bundle: String,
    /// Another authority.
    pub(crate) other_bundle: String,
    exchange: Arc<Mutex<String>>,
}

impl Hook {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let (issuer, bundle) = authority();
        let (_, other_bundle) = authority();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["hook.example.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let exchange = Arc::new(Mutex::new(String::new()));
        let (config, current) = (Arc::new(config), Arc::clone(&exchange));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let name = current.lock().unwrap().clone();
                // A client that does not trust us hangs up in the handshake.
                let _ = serve(stream, Arc::clone(&config), &name);
            }
        });
        Self {
            address,
            bundle,
            other_bundle,
            exchange,
        }
    }

    /// Says which exchange comes next.
    pub(crate) fn expect(&self, name: &str) {
        name.clone_into(&mut self.exchange.lock().unwrap());
    }
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    use base64::Engine;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let bundle = base64::engine::general_purpose::STANDARD.encode(pem);
    (Issuer::new(params, key), bundle)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, name: &str) -> std::io::Result<()> {
    let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(tls, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body).unwrap();
    let (status, answer) = if review["kind"] == "ConversionReview" {
        (200, convert(name, &review["request"]))
    } else {
        judge(name, &review["request"])
    };
    let stream = reader.get_mut();
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{answer}"
    )?;
    stream.flush()
}

fn judge(name: &str, request: &Value) -> (u16, String) {
    let (uid, status) = (
        &request["uid"],
        json!({"message": "no such thing", "code": 403}),
    );
    let denied = |status: Value| json!({"uid": uid, "allowed": false, "status": status});
    let allowed = json!({"uid": uid, "allowed": true});
    let with = |key: &str, value: Value| {
        let mut response = allowed.clone();
        response[key] = value;
        response
    };
    let response = match name {
        "deny" => denied(status),
        "deny-422" => denied(json!({"message": "no such thing", "code": 422, "reason": "Invalid"})),
        "deny-reason" => denied(json!({"reason": "only a reason"})),
        "deny-bare" => json!({"uid": uid, "allowed": false}),
        "deny-code-200" => denied(json!({"message": "gone?", "code": 200})),
        "warnings" => with("warnings", json!(["first warning", "second: ü"])),
        "warning-long" => with("warnings", json!(["x".repeat(300)])),
        "deny-with-warning" => {
            json!({"uid": uid, "allowed": false, "status": {"message": "no", "code": 403}, "warnings": ["also this"]})
        }
        "wrong-uid" => with("uid", json!("00000000-0000-4000-8000-000000000000")),
        "no-type" => return (200, json!({"response": allowed}).to_string()),
        "other-version" => {
            let review = json!({
                "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": allowed,
            });
            return (200, review.to_string());
        }
        "not-json" => return (200, "\"hello\"".to_owned()),
        "http-500" => return (500, String::new()),
        "http-404" => return (404, String::new()),
        "timeout" => {
            thread::sleep(Duration::from_millis(2500));
            allowed
        }
        "validating-patch" => {
            let mut response = with("patch", json!("W10="));
            response["patchType"] = json!("JSONPatch");
            response
        }
        "delete-deny" => denied(json!({"message": "keep it", "code": 403})),
        _other => allowed,
    };
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    (200, review.to_string())
}

fn convert(name: &str, request: &Value) -> String {
    let wanted = &request["desiredAPIVersion"];
    let mut objects = request["objects"].as_array().cloned().unwrap_or_default();
    for object in &mut objects {
        if wanted == "metallb.io/v1beta2" {
            object["spec"]["nodeSelectors"] = json!([{"matchLabels": {"from": "v1beta1"}}]);
        }
        object["apiVersion"] = wanted.clone();
        match name {
            "renames" => object["metadata"]["name"] = json!("renamed"),
            "labels" => object["metadata"]["labels"] = json!({"added": "yes"}),
            "wrong-version" => object["apiVersion"] = json!("metallb.io/v1beta9"),
            "prunes" => object["spec"]["unknown"] = json!(1),
            "invalid-result" => {
                object["spec"]
                    .as_object_mut()
                    .unwrap()
                    .remove("peerAddress");
            }
            _other => {}
        }
    }
    let mut result = json!({"status": "Success"});
    match name {
        "too-few" => objects.clear(),
        "failure" | "failure-list" | "failure-create" => {
            result = json!({"status": "Failure", "message": "cannot do it"});
        }
        _other => {}
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "convertedObjects": objects, "result": result},
    })
    .to_string()
}
