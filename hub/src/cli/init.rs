//! `demarc-hub init`: a new hub's settings, authority, keys and database.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;
use rcgen::{KeyPair, PKCS_ED25519};

use super::print;
use crate::{
    ca::Authority,
    clock,
    config::{Address, Config},
    keys,
    store::Store,
    tls::ServerCertificate,
};

/// The settings file, with what an operator may want to change.
const TEMPLATE: &str = include_str!("hub.toml");

pub(super) async fn run(directory: &Path, listen: SocketAddr, address: Option<&str>) -> anyhow::Result<()> {
    if let Some(address) = address
        && Address::parse(address).is_none()
    {
        bail!("--address {address:?} is not host:port, such as hub.example.com:443");
    }
    if address.is_none() && (listen.ip().is_unspecified() || listen.port() == 0) {
        bail!("say with --address host:port what sites connect to; {listen} is not something they can");
    }
    let text = settings(listen, address);
    let path = directory.join("hub.toml");
    let base = std::path::absolute(directory)?;
    // The same reading as at every later start: what init writes is known to work.
    let config = Config::parse(&text, &path, &base)?;

    let authority = Authority::create(clock::now())?;
    let receipt_key = KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem();
    let files = [
        (&config.keys.ca_key, authority.key.as_str(), 0o600),
        (&config.keys.ca_certificate, authority.certificate.as_str(), 0o644),
        (&config.keys.receipt_key, receipt_key.as_str(), 0o600),
        // The settings come last: where they are, everything else is.
        (&path, text.as_str(), 0o644),
    ];
    for existing in files.iter().map(|(path, ..)| (*path).clone()).chain([Store::path_in(&config.data_dir)]) {
        if existing.exists() {
            bail!("{} exists already; init overwrites nothing", existing.display());
        }
    }
    for needed in [directory, &config.data_dir] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(needed)
            .with_context(|| format!("cannot make the directory {}", needed.display()))?;
    }
    let mut written = Written(Vec::new());
    for (path, text, mode) in files {
        keys::write_new(path, text, mode)?;
        written.0.push(path.clone());
    }
    let authority = Authority::load(&config.keys.ca_certificate, &config.keys.ca_key)?;
    ServerCertificate::load(
        ServerCertificate::path_in(&config.data_dir),
        &authority,
        &config.server_names(),
        clock::now(),
    )?;
    Store::open(&config.data_dir).await?.close().await;
    written.0.clear();

    print(&format!(
        "Made a hub in {dir}.\n\
         Authority (SHA-256 of its certificate): {fingerprint}\n\
         Keep ca-key.pem and receipt-key.pem safe and backed up: they cannot be made again.\n\n\
         Start it:          demarc-hub --config {config} serve\n\
         Let a site in:     demarc-hub --config {config} token site-one\n",
        dir = directory.display(),
        fingerprint = HEXLOWER.encode(&authority.fingerprint()),
        config = path.display(),
    ))?;
    Ok(())
}

/// Files that are taken away again when a later step fails, so that init can be tried anew.
struct Written(Vec<PathBuf>);

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is named by the next try.
            fs::remove_file(path).ok();
        }
    }
}

fn settings(listen: SocketAddr, address: Option<&str>) -> String {
    let address = match address {
        Some(address) => format!("address = \"{address}\""),
        None => format!("# address = \"{listen}\""),
    };
    TEMPLATE.replace("@LISTEN@", &listen.to_string()).replace("@ADDRESS@", &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_template_shows_as_default_is_the_default() {
        let listen = "127.0.0.1:8443".parse().unwrap();
        let text = settings(listen, None);
        let parse = |text: &str| Config::parse(text, Path::new("hub.toml"), Path::new("/srv")).unwrap();
        let shown: String = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with('[')).unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let mut all = parse(&shown);
        assert_eq!(all.address.take().as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(all, parse(&text));
        assert_eq!(all, parse("listen = \"127.0.0.1:8443\""));
        assert_eq!(parse(&settings(listen, Some("hub.example.com:443"))).address(), "hub.example.com:443");
    }
}
