//! TLS towards the hub: version 1.3 alone, one authority trusted, and every failure explained.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use demarc_proto::support::RECORD;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    certificate::{Facts, provider},
    error::LinkError,
    identity::Identity,
};
use crate::settings::load::Endpoint;

/// Whom to believe that it is the hub.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The authority kept since the enrollment (DER).
    Authority(Vec<u8>),
    /// Whichever authority in the presented chain has this SHA-256: before the enrollment, by the token.
    Fingerprint(Vec<u8>),
}

/// Shakes hands with the hub over an open connection.
pub(crate) async fn handshake(
    stream: TcpStream,
    hub: &Endpoint,
    trust: Trust,
    identity: Option<&Identity>,
    alpn: &[u8],
    within: Duration,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let address = hub.to_string();
    let name = ServerName::try_from(hub.host.clone()).map_err(|_| LinkError::Address(address.clone()))?;
    let watch = Arc::new(Watch { trust, hub: address.clone(), provider: provider(), failure: Mutex::new(None) });
    let config = client_config(watch.clone(), identity, alpn)?;
    let shaken = timeout(within, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    match shaken {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(alpn) => Ok(stream),
        Ok(Ok(_)) => Err(LinkError::NotAHub { hub: address, detail: "it does not know our protocol (ALPN)" }),
        // What the verifier found is more to the point than the error that came of it.
        Ok(Err(error)) => Err(watch.take_failure().unwrap_or_else(|| LinkError::in_handshake(&address, &error))),
        Err(_) => Err(LinkError::SilentInHandshake { hub: address, seconds: within.as_secs() }),
    }
}

fn client_config(watch: Arc<Watch>, identity: Option<&Identity>, alpn: &[u8]) -> Result<ClientConfig, LinkError> {
    let config = ClientConfig::builder_with_provider(watch.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(watch);
    let mut config = match identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain(), identity.private_key())
            .map_err(|e| LinkError::Lost { detail: e.to_string() })?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    // The library counts a record's head of 5 bytes, too.
    config.max_fragment_size = Some(RECORD as usize + 5);
    // Resuming a session would pass by the check of certificates at either end.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Verifies the hub's certificate and keeps the reason of a refusal, in words.
#[derive(Debug)]
struct Watch {
    trust: Trust,
    hub: String,
    provider: Arc<CryptoProvider>,
    failure: Mutex<Option<LinkError>>,
}

impl Watch {
    fn take_failure(&self) -> Option<LinkError> {
        self.failure.lock().map_or(None, |mut failure| failure.take())
    }

    fn fail(&self, failure: LinkError, error: Error) -> Error {
        if let Ok(mut kept) = self.failure.lock() {
            *kept = Some(failure);
        }
        error
    }

    /// The authority to verify against, if the presented chain has one that is trusted.
    fn authority<'a>(&'a self, intermediates: &'a [CertificateDer<'_>]) -> Option<&'a [u8]> {
        match &self.trust {
            Trust::Authority(der) => Some(der),
            Trust::Fingerprint(sha256) => {
                intermediates.iter().map(AsRef::as_ref).find(|der: &&[u8]| Sha256::digest(der)[..] == sha256[..])
            }
        }
    }

    fn verifier(&self, authority: &[u8]) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.to_vec())).ok()?;
        WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone()).build().ok()
    }
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = Facts::read(end_entity);
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let Some(authority) = self.authority(intermediates) else {
            let issuer = issuer_of(presented.as_ref());
            return Err(self.fail(LinkError::OtherFingerprint { hub: self.hub.clone(), issuer }, unknown()));
        };
        let Some(verifier) = self.verifier(authority) else {
            let detail = "its authority cannot be read".to_owned();
            return Err(self.fail(LinkError::BadCertificate { hub: self.hub.clone(), detail }, unknown()));
        };
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(|error| {
            let ours = Facts::read(authority).and_then(|facts| facts.subject);
            self.fail(explain(&self.hub, &error, presented.as_ref(), ours.as_deref(), now.as_secs()), error)
        })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn issuer_of(presented: Option<&Facts>) -> String {
    let issuer = presented.and_then(|facts| facts.issuer.as_deref()).filter(|issuer| !issuer.is_empty());
    issuer.map_or_else(|| "an authority without a name".to_owned(), |issuer| format!("\"{issuer}\""))
}

/// Why a certificate was not accepted, from the library's verdict, what the certificate says, and the clock.
fn explain(hub: &str, error: &Error, presented: Option<&Facts>, our_authority: Option<&str>, now: u64) -> LinkError {
    let hub = hub.to_owned();
    let Error::InvalidCertificate(error) = error else {
        return LinkError::BadCertificate { hub, detail: "it cannot be checked".to_owned() };
    };
    match (error, presented) {
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, _) => {
            match presented.and_then(|facts| facts.issuer.as_deref()) {
                Some(issuer) if Some(issuer) == our_authority => LinkError::OtherAuthority { hub },
                _ => LinkError::Intercepted { hub, issuer: issuer_of(presented) },
            }
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, Some(facts)) => {
            LinkError::ClockBehind { hub, seconds: facts.from.saturating_sub(now) }
        }
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, Some(facts)) => {
            LinkError::HubCertificateEnded { hub, seconds: now.saturating_sub(facts.until) }
        }
        (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }, Some(facts)) => {
            LinkError::OtherName { hub, names: facts.names.join(", ") }
        }
        (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }, _) => {
            LinkError::BadCertificate { hub, detail: "it is not for a server".to_owned() }
        }
        _ => LinkError::BadCertificate { hub, detail: "it cannot be checked".to_owned() },
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
