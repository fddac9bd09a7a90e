//! What the types of the settings cannot say: values that must fit one another and the world.

use std::time::Duration;

use jiff::tz::TimeZoneDatabase;
use russh::keys::{Algorithm, PublicKey};

use crate::{
    link::proxy::Proxy,
    settings::{Settings, Source, Web, loopback},
    web::password,
};

/// A value that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The key.
    pub(super) key: &'static str,
    /// Which of the keys with that name, counted from zero.
    pub(super) occurrence: usize,
    /// What is wrong, and what is allowed.
    pub(super) problem: String,
}

fn fault(key: &'static str, problem: impl Into<String>) -> Result<(), Fault> {
    Err(Fault { key, occurrence: 0, problem: problem.into() })
}

/// Finds the first value that makes no sense.
pub(super) fn check(settings: &Settings) -> Result<(), Fault> {
    if settings.state_dir.as_os_str().is_empty() {
        return fault("state_dir", "the directory has no name");
    }
    if settings.stats.floor < 2 {
        return fault(
            "stats.floor",
            format!("{} is too low; allowed is a whole number, 2 or more", settings.stats.floor),
        );
    }
    if let Some((key, problem)) =
        settings.health.fault().or_else(|| settings.updates.fault()).or_else(|| settings.backup.fault())
    {
        return fault(key, problem);
    }
    if !(1..=demarc_proto::SCHEMA).contains(&settings.stats.schema) {
        let known = demarc_proto::SCHEMA;
        return fault("stats.schema", format!("this program knows the report schemas 1 to {known}"));
    }
    if let Some(hub) = &settings.tunnel.hub
        && endpoint(hub).is_none()
    {
        return fault("tunnel.hub", "allowed is host:port, such as \"hub.example.com:443\"");
    }
    if let Some(proxy) = &settings.tunnel.proxy
        && !proxy.expose().is_empty()
        && Proxy::parse(proxy).is_err()
    {
        return fault(
            "tunnel.proxy",
            "allowed is \"http://[user:password@]host:port\", \"socks5://[user:password@]host:port\", or \"\" for none",
        );
    }
    let longest = demarc_proto::support::LONGEST_GRANT;
    if settings.support.longest.is_zero() || settings.support.longest.as_secs() > longest {
        return fault("support.longest", format!("allowed is 1s to {}d", longest / 86_400));
    }
    for line in &settings.support.authorities {
        let key = PublicKey::from_openssh(line).map_err(|_| Fault {
            key: "support.authorities",
            occurrence: 0,
            problem: "allowed are public keys as in a .pub file, such as \"ssh-ed25519 AAAA… vendor\"".to_owned(),
        })?;
        if key.algorithm() != Algorithm::Ed25519 {
            return fault("support.authorities", "a support authority's key is an Ed25519 key");
        }
    }
    check_web(&settings.web)?;
    if let Some((key, problem)) = settings.recordings.fault(&settings.state_dir) {
        return fault(key, problem);
    }
    let mut seen = Vec::new();
    for (occurrence, source) in settings.pbx.source.iter().enumerate() {
        let before = &settings.pbx.source[..occurrence];
        if let Some(path) = source.path() {
            let occurrence = before.iter().filter(|source| source.path().is_some()).count();
            let fault = |problem: &str| Err(Fault { key: "pbx.source.path", occurrence, problem: problem.to_owned() });
            if path.file_name().is_none() {
                return fault("this names no file");
            }
            if seen.contains(&path) {
                return fault("two sources read the same file; every call would be counted twice");
            }
            seen.push(path);
        }
        if let Some(server) = source.server()
            && loopback::addresses(server).is_none()
        {
            let occurrence = before.iter().filter(|source| source.names_address()).count();
            return Err(Fault { key: "pbx.source.address", occurrence, problem: loopback::ALLOWED.to_owned() });
        }
        if let Some(problem) = source.columns_fault() {
            let has_columns =
                |source: &&Source| matches!(source, Source::CdrCustom { .. } | Source::FreeswitchCsv { .. });
            let occurrence = before.iter().filter(has_columns).count();
            return Err(Fault { key: "pbx.source.columns", occurrence, problem });
        }
        if let Some(zone) = source.timezone()
            && TimeZoneDatabase::bundled().get(zone).is_err()
        {
            let occurrence = before.iter().filter(|source| source.timezone().is_some()).count();
            let problem = "no time zone has this name; allowed is an IANA name, such as \"Europe/Berlin\"".to_owned();
            return Err(Fault { key: "pbx.source.timezone", occurrence, problem });
        }
    }
    Ok(())
}

/// What is reachable from the network is encrypted, and asks for a password.
fn check_web(web: &Web) -> Result<(), Fault> {
    if web.certificate.is_some() != web.key.is_some() {
        let missing = if web.key.is_none() { "web.key" } else { "web.certificate" };
        return fault("web", format!("a certificate and its key go together; {missing} is missing"));
    }
    if web.listen.is_open_to_the_network() && (web.certificate.is_none() || web.password.is_none()) {
        return fault(
            "web.listen",
            "other machines can reach this address: it needs web.certificate, web.key and web.password; \
             \"127.0.0.1:8427\" is for this machine alone",
        );
    }
    let is_name = |host: &String| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    if !web.hosts.iter().all(is_name) {
        return fault("web.hosts", "allowed are names of hosts without a port, such as \"pbx.example.com\"");
    }
    if let Some(password) = &web.password
        && !password::is_hash(password.expose())
    {
        return fault("web.password", "this is no hash of a password; `demarc web password` makes one");
    }
    Ok(())
}

/// What is allowed and is likely not meant, in words.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.stats.upload && settings.stats.window.seconds() < 3600 {
        warnings.push(format!(
            "stats.window is {}: windows under 1h show the vendor when calls happen more closely than most owners want.",
            settings.stats.window
        ));
    }
    if settings.pbx.source.is_empty() {
        warnings.push("No [[pbx.source]] is set: no call is counted.".to_owned());
    } else if settings.pbx.trunks.is_empty() && !settings.pbx.source.iter().any(Source::tells_of_trunks) {
        warnings
            .push("pbx.trunks is empty: calls from and to the outside cannot be told from internal ones.".to_owned());
    }
    warnings.extend(settings.pbx.source.iter().filter_map(Source::columns_warning));
    warnings.extend(settings.recordings.warning());
    if settings.quiet() >= Duration::from_secs(u64::from(settings.stats.window.seconds())) {
        warnings.push(
            "pbx.quiet is as long as stats.window or longer: calls enter a later report than their own.".to_owned(),
        );
    }
    warnings
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address has no brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Reads `host:port`; an IPv6 address stands in brackets.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').filter(|address| address.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let good = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_name);
    (good && (text.starts_with('[') || !host.contains(':'))).then(|| Endpoint { host: host.to_owned(), port })
}
