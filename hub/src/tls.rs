//! TLS of the one port: version 1.3 alone, a client certificate where the client has one, nothing resumed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use demarc_proto::{ALPN_ENROLL, ALPN_FILES, ALPN_TUNNEL};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use tracing::info;

use crate::{
    ca::{Authority, AuthorityError},
    keys,
};

/// ALPN name of plain HTTP.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority cannot make the server's certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
    /// The authority's certificate cannot be a root.
    #[error("the authority's certificate cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// The server's side of TLS.
///
/// # Errors
/// When the authority's certificate is unusable.
pub fn server_config(authority: &Authority, certificate: Arc<ServerCertificate>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = SiteVerifier::new(authority, provider.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(certificate);
    config.alpn_protocols = [ALPN_TUNNEL, ALPN_ENROLL, ALPN_FILES, ALPN_HTTP].map(<[u8]>::to_vec).to_vec();
    // A resumed session would skip the look at the client's certificate, and with it every later refusal.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Lets in clients without a certificate (to enroll, or to read `/healthz`) and those with one of our own
/// authority. One whose time is over passes here too: the tunnel lets it renew and do nothing else.
#[derive(Debug)]
struct SiteVerifier {
    strict: Arc<dyn ClientCertVerifier>,
}

impl SiteVerifier {
    fn new(authority: &Authority, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let strict =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build()?;
        Ok(Self { strict })
    }
}

impl ClientCertVerifier for SiteVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A site has one certificate, so a hint would only be bytes in each handshake.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.strict.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                // The time is looked at before the signature: everything else is checked as of its last second.
                let last = last_second(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
                self.strict.verify_client_cert(end_entity, intermediates, last.min(now))
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

fn last_second(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// The server's own certificate, which changes while connections go on.
#[derive(Debug)]
pub struct ServerCertificate {
    path: PathBuf,
    current: RwLock<Chains>,
}

/// The same certificate, shown in two ways.
#[derive(Clone, Debug)]
struct Chains {
    /// To those who know the authority: sites, and this machine.
    alone: Arc<CertifiedKey>,
    /// To a site that enrolls: it knows the authority's fingerprint and nothing else.
    with_authority: Arc<CertifiedKey>,
}

impl ServerCertificate {
    /// Where the key and the certificate lie in the data directory: in one file, so that they always match.
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("server.pem")
    }

    /// Reads the certificate, after making a new one where it is missing, too old or for other names.
    ///
    /// # Errors
    /// When a new one is needed and cannot be made or written.
    pub fn load(path: PathBuf, authority: &Authority, names: &[String], now: u64) -> Result<Self, TlsError> {
        renew_file(&path, authority, names, now)?;
        let current = RwLock::new(Chains::read(&path, authority)?);
        Ok(Self { path, current })
    }

    /// Makes a new certificate when two thirds of the old one's time are over. The next handshake uses it.
    ///
    /// # Errors
    /// When it cannot be made or written; the old one stays in use.
    pub fn renew_if_due(&self, authority: &Authority, names: &[String], now: u64) -> Result<(), TlsError> {
        if renew_file(&self.path, authority, names, now)? {
            let fresh = Chains::read(&self.path, authority)?;
            *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let enrolls = hello.alpn().is_some_and(|mut names| names.any(|name| name == ALPN_ENROLL));
        let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(if enrolls { current.with_authority.clone() } else { current.alone.clone() })
    }
}

impl Chains {
    fn read(path: &Path, authority: &Authority) -> Result<Self, TlsError> {
        let alone = read_certified(path)?;
        let mut with_authority = alone.clone();
        with_authority.cert.push(authority.certificate().clone());
        Ok(Self { alone: Arc::new(alone), with_authority: Arc::new(with_authority) })
    }
}

/// Whether a new file was written.
fn renew_file(path: &Path, authority: &Authority, names: &[String], now: u64) -> Result<bool, TlsError> {
    if is_good(path, authority, names, now) {
        return Ok(false);
    }
    let (certificate, key) = authority.issue_server(names, now)?;
    keys::replace(path, &(key + &certificate), 0o600).map_err(AuthorityError::from)?;
    info!(names = names.join(","), "made a new server certificate");
    Ok(true)
}

/// Whether the file is there and whole, made by this authority for these names, and not old.
fn is_good(path: &Path, authority: &Authority, names: &[String], now: u64) -> bool {
    let Ok(certified) = read_certified(path) else { return false };
    let Some((_, parsed)) = certified.cert.first().and_then(|der| x509_parser::parse_x509_certificate(der).ok()) else {
        return false;
    };
    let Ok((_, root)) = x509_parser::parse_x509_certificate(authority.certificate()) else { return false };
    let Ok(Some(carried)) = parsed.subject_alternative_name().map(|names| names.map(|n| n.value)) else { return false };
    let carried: Vec<String> = carried.general_names.iter().filter_map(name_text).collect();
    let begins = parsed.validity().not_before.timestamp();
    let ends = parsed.validity().not_after.timestamp();
    let renew_at = begins + (ends - begins) / 3 * 2;
    parsed.verify_signature(Some(root.public_key())).is_ok()
        && carried == names
        && i64::try_from(now).is_ok_and(|now| (begins..renew_at).contains(&now))
}

fn name_text(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Reads the file; an error too when key and certificate do not belong together.
fn read_certified(path: &Path) -> Result<CertifiedKey, TlsError> {
    let certificate = keys::certificate(path).map_err(AuthorityError::from)?;
    let text = keys::read(path).map_err(AuthorityError::from)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| Error::General(error.to_string()))?;
    Ok(CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_certificate_is_renewed_when_old_or_misnamed_and_else_kept() {
        let directory = tempfile::tempdir().unwrap();
        let fresh = Authority::create(1_800_000_000).unwrap();
        let (certificate, key) = (directory.path().join("ca.pem"), directory.path().join("ca-key.pem"));
        keys::write_new(&certificate, &fresh.certificate, 0o644).unwrap();
        keys::write_new(&key, &fresh.key, 0o600).unwrap();
        let authority = Authority::load(&certificate, &key).unwrap();
        let file = ServerCertificate::path_in(directory.path());
        let names = ["hub.example.com".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let renewed = |names: &[String], now| renew_file(&file, &authority, names, now).unwrap();
        assert!(renewed(&names, 1_800_000_000));
        assert!(!renewed(&names, 1_800_000_000));
        assert!(!renewed(&names, 1_800_000_000 + 59 * 86_400));
        assert!(renewed(&names, 1_800_000_000 + 61 * 86_400));
        assert!(renewed(&names[..1], 1_800_000_000 + 61 * 86_400));
        std::fs::write(&file, "damaged").unwrap();
        assert!(renewed(&names[..1], 1_800_000_000 + 61 * 86_400));
    }
}
