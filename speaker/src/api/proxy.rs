//! Whether the way to the API server leads through a proxy, and through which, as kubectl decides it.
//!
//! What a kubeconfig says of its cluster (`proxy-url`) counts before the environment, and then `NO_PROXY` is not asked. The environment
//! (`HTTPS_PROXY`, for a server without TLS `HTTP_PROXY`, and `NO_PROXY`) counts for everything but this machine's own addresses. Opens
//! nothing, and knows nothing of TLS, which is spoken with the server itself and not with the proxy.
//!
//! Governed by "Organizing Cluster Access Using kubeconfig Files" of the Kubernetes documentation and by RFC 9110 §9.3.6 (CONNECT).

use anyhow::{Result, bail};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::fmt;
use std::net::IpAddr;

/// A proxy that is asked to pass connections on.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Its address, without the name and password that it is to be shown.
    pub(super) uri: Uri,
    pub(super) speaks: Speaks,
}

/// How it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    /// By HTTP's CONNECT, with that `Proxy-Authorization`.
    Http(Option<HeaderValue>),
    /// By SOCKS 5, with that name and password. Names are resolved by the proxy.
    Socks5(Option<(String, String)>),
}

/// What kubeconfig and environment say of proxies.
pub(super) struct Proxies {
    named: Option<Proxy>,
    https: Option<Proxy>,
    http: Option<Proxy>,
    /// Knows only `NO_PROXY`.
    exceptions: Matcher,
}

impl Proxies {
    /// Reads them. `named` is the `proxy-url` of the cluster in use, `variable` looks into the environment.
    ///
    /// # Errors
    /// When one is no address of a proxy that can be spoken to; the text names the field or the variable.
    pub(super) fn read(
        named: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let of_environment = |name: &str| -> Result<Option<Proxy>> {
            for name in [name.to_owned(), name.to_lowercase()] {
                if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
                    return parse(&format!("the environment's {name}"), &value).map(Some);
                }
            }
            Ok(None)
        };
        let named = named.filter(|value| !value.is_empty());
        let exceptions = ["NO_PROXY", "no_proxy"].into_iter().filter_map(&variable);
        let exceptions = exceptions.filter(|list| !list.is_empty());
        let exceptions = exceptions.take(1).collect::<String>();
        Ok(Self {
            named: named
                .map(|value| parse("the cluster's proxy-url", value))
                .transpose()?,
            https: of_environment("HTTPS_PROXY")?,
            http: of_environment("HTTP_PROXY")?,
            exceptions: Matcher::builder().all(ANY_PROXY).no(exceptions).build(),
        })
    }

    /// The proxy on the way to that server; `None`: it is reached directly.
    pub(super) fn on_the_way_to(&self, server: &Uri) -> Option<&Proxy> {
        if self.named.is_some() {
            return self.named.as_ref();
        }
        let is_excepted = is_here(server) || self.exceptions.intercept(server).is_none();
        let found = match server.scheme_str() {
            Some("http") => self.http.as_ref(),
            Some(_) | None => self.https.as_ref(),
        };
        found.filter(|_| !is_excepted)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .uri
            .authority()
            .map_or("", http::uri::Authority::as_str);
        write!(
            f,
            "{}://{authority}",
            self.uri.scheme_str().unwrap_or_default()
        )
    }
}

/// Reads the address of a proxy; `what` says where it stands.
fn parse(what: &str, value: &str) -> Result<Proxy> {
    let server = Uri::from_static("https://kubernetes.invalid");
    let read = Matcher::builder().all(value).build().intercept(&server);
    let Some(read) = read else {
        bail!(
            "{what}: {:?} is no address of a proxy",
            without_password(value)
        );
    };
    let speaks = match read.uri().scheme_str() {
        Some("http") => Speaks::Http(read.basic_auth().cloned()),
        Some("socks5" | "socks5h") => {
            let auth = read.raw_auth();
            Speaks::Socks5(auth.map(|(name, password)| (name.to_owned(), password.to_owned())))
        }
        Some(_) | None => bail!(
            "{what}: proxies are reached by http:// or socks5://, and {:?} is neither",
            without_password(value)
        ),
    };
    let uri = with_port(&read, &speaks)?;
    Ok(Proxy { uri, speaks })
}

/// A port that is not said is that of the scheme.
fn with_port(read: &Intercept, speaks: &Speaks) -> Result<Uri> {
    let uri = read.uri().clone();
    let port = match speaks {
        Speaks::Http(_) => 80,
        Speaks::Socks5(_) => 1080,
    };
    if uri.port().is_some() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    let host = parts.authority.map(|authority| authority.to_string());
    parts.authority = Some(format!("{}:{port}", host.unwrap_or_default()).parse()?);
    Ok(Uri::from_parts(parts)?)
}

/// A proxy of the environment is for what lies beyond this machine.
fn is_here(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// For people: no secrets.
fn without_password(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => value.to_owned(),
    }
}

/// Never spoken to: it stands for whatever there is.
const ANY_PROXY: &str = "http://proxy.invalid";

#[cfg(test)]
mod tests {
    use super::*;

    /// What is on the way to a server, by a `proxy-url` and these variables.
    fn way(named: Option<&str>, variables: &[(&str, &str)], server: &str) -> String {
        let variable = |name: &str| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        };
        let proxies = match Proxies::read(named, variable) {
            Ok(proxies) => proxies,
            Err(why) => return format!("{why:#}"),
        };
        let server = server.parse().unwrap();
        let found = proxies.on_the_way_to(&server);
        found.map_or_else(|| "direct".to_owned(), Proxy::to_string)
    }

    const SERVER: &str = "https://api.example.test:6443";

    #[test]
    fn without_a_word_of_a_proxy_the_way_is_direct() {
        assert_eq!(way(None, &[], SERVER), "direct");
        assert_eq!(way(Some(""), &[("HTTPS_PROXY", "")], SERVER), "direct");
    }

    #[test]
    fn what_the_kubeconfig_says_counts_before_the_environment() {
        let variables = [("HTTPS_PROXY", "http://other.test:3128"), ("NO_PROXY", "*")];
        let named = Some("http://proxy.test:8080");
        assert_eq!(way(named, &variables, SERVER), "http://proxy.test:8080");
        let here = "https://127.0.0.1:6443";
        assert_eq!(way(named, &variables, here), "http://proxy.test:8080");
    }

    #[test]
    fn the_environment_counts_by_the_servers_scheme_and_the_large_name_first() {
        let small = [("https_proxy", "proxy.test:8080")];
        assert_eq!(way(None, &small, SERVER), "http://proxy.test:8080");
        let both = [
            ("HTTPS_PROXY", "http://large.test"),
            ("https_proxy", "http://small.test"),
            ("HTTP_PROXY", "http://plain.test"),
        ];
        assert_eq!(way(None, &both, SERVER), "http://large.test:80");
        assert_eq!(way(None, &both, "http://api.test"), "http://plain.test:80");
        let other = [("HTTP_PROXY", "http://plain.test")];
        assert_eq!(way(None, &other, SERVER), "direct");
    }

    #[test]
    fn exceptions_and_this_machine_are_reached_directly() {
        let but = |exceptions, server| {
            let variables = [("HTTPS_PROXY", "http://p.test"), ("NO_PROXY", exceptions)];
            way(None, &variables, server)
        };
        assert_eq!(but("", SERVER), "http://p.test:80");
        assert_eq!(but(".other.test, 10.0.0.0/8", SERVER), "http://p.test:80");
        assert_eq!(but("10.0.0.0/8, example.test", SERVER), "direct");
        assert_eq!(but("10.0.0.0/8", "https://10.96.0.1"), "direct");
        assert_eq!(but("*", SERVER), "direct");
        for here in [
            "https://localhost:6443",
            "https://127.0.0.1",
            "https://[::1]:1",
        ] {
            assert_eq!(but("", here), "direct", "{here}");
        }
    }

    #[test]
    fn socks_is_spoken_on_its_own_port_and_with_its_password() {
        assert_eq!(way(Some("socks5://p"), &[], SERVER), "socks5://p:1080");
        let proxies = Proxies::read(Some("socks5h://u:a%40b@p:1081"), |_| None).unwrap();
        let proxy = proxies.on_the_way_to(&SERVER.parse().unwrap()).unwrap();
        let shown = Speaks::Socks5(Some(("u".to_owned(), "a@b".to_owned())));
        assert_eq!(proxy.speaks, shown);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name_and_without_its_password() {
        let https = way(Some("https://example:secret@p.test"), &[], SERVER);
        let why = "the cluster's proxy-url: proxies are reached by http:// or socks5://, and \"…@p.test\" is neither";
        assert_eq!(https, why);
        let ftp = way(None, &[("https_proxy", "ftp://p")], SERVER);
        assert_eq!(
            ftp,
            "the environment's https_proxy: \"ftp://p\" is no address of a proxy"
        );
    }
}
