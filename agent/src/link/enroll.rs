//! The enrollment: a one-time token becomes a key, a certificate, and a hub that is known by its authority.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use demarc_proto::{
    ALPN_ENROLL, SiteId,
    bytes64::Bytes64,
    enroll::{EnrollReason, EnrollRequest, EnrollResponse, Enrolled},
    frame::{self, MAX_TO_AGENT},
    token::EnrollmentToken,
};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::codec::Framed;

use super::{
    certificate::{Unfit, check_issued},
    error::{LinkError, span},
    identity::{self, IdentityError},
    now, reach,
    tls::{self, Trust},
};
use crate::{
    settings::{Secret, load::Endpoint},
    staged::{Staged, private_directory},
    state::{Site, StateDir},
};

/// How long connecting, and shaking hands, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the hub may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Length of an Ed25519 public key.
const RECEIPT_KEY_LENGTH: usize = 32;

/// What the settings and the command line say about an enrollment.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnrollOptions<'a> {
    /// The hub, where it is not the one that the token names (`tunnel.hub`).
    pub hub: Option<&'a str>,
    /// The proxy to go through.
    pub proxy: Option<&'a Secret>,
    /// Give up an enrollment that there is already.
    pub again: bool,
}

/// Why a site was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The token's time is over, by our clock; nothing was sent.
    #[error(
        "the token has expired: it ended {} ago, by this machine's clock; ask the vendor for a new one, or set the clock \
         (timedatectl)",
        span(*seconds)
    )]
    TokenEnded {
        /// How long ago.
        seconds: u64,
    },
    /// There is an enrollment; nothing was sent.
    #[error("this site is enrolled already: to give that up and enroll anew, say demarc enroll --again TOKEN")]
    AlreadyEnrolled,
    /// The state directory cannot be used; nothing was sent.
    #[error("{path} cannot be written ({kind}): check the disk and the owner of the state directory")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        kind: io::ErrorKind,
    },
    /// No connection; nothing was sent.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The key or certificate cannot be made or stored.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger did not take the request, so it was not sent.
    #[error("the request was not sent, since the ledger could not take it: {0:#}")]
    Ledger(anyhow::Error),
    /// The hub says no.
    #[error("{}", in_words(*.0))]
    Refused(EnrollReason),
    /// The hub says nothing.
    #[error(
        "the hub hung up without an answer: it may be busy, or have seen too many failed attempts from this address; \
         try again in some minutes. If it then says that the token was used, ask the vendor for a new one"
    )]
    NoAnswer,
    /// The hub says what no hub says.
    #[error("the hub's answer makes no sense ({0}): nothing was kept of it; tell the vendor")]
    Answer(AnswerFault),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Not one of the answers that there are.
    #[error("it is not an answer to an enrollment")]
    Unknown,
    /// Another authority than the one that the token names.
    #[error("its authority is not the one that the token names")]
    OtherAuthority,
    /// The certificate does not fit.
    #[error("the certificate: {0}")]
    Certificate(Unfit),
    /// The key for receipts is not one.
    #[error("the key for receipts is not an Ed25519 key")]
    ReceiptKey,
}

fn in_words(reason: EnrollReason) -> &'static str {
    match reason {
        EnrollReason::UnknownToken => {
            "the hub does not know this token: ask the vendor whether it was withdrawn, or is for another hub"
        }
        EnrollReason::UsedToken => {
            "this token was used before: each is good once. If you did not use it, tell the vendor at once; \
             then ask for a new one"
        }
        EnrollReason::ExpiredToken => "the token's time is over, by the hub's clock: ask the vendor for a new one",
        EnrollReason::BadRequest => "the hub cannot read our certificate request: this program may need an upgrade",
    }
}

/// The request as the ledger keeps it: the same, with the secret replaced by its SHA-256.
#[derive(Serialize)]
struct LedgerEntry<'a> {
    site: &'a SiteId,
    secret_sha256: String,
    request: &'a Bytes64,
}

/// Enrolls this site. `enter` puts the request into the ledger; it runs before the request leaves.
///
/// The token is used up only when everything that can fail here has been tried: the key is on disk before the hub is
/// asked. Files that a running link reads change last, and together.
///
/// # Errors
/// See [`EnrollError`]; each variant says whether something was sent.
pub async fn enroll(
    token: &EnrollmentToken,
    state: &StateDir,
    options: EnrollOptions<'_>,
    enter: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> Result<Site, EnrollError> {
    let started = now();
    if started > token.expires {
        return Err(EnrollError::TokenEnded { seconds: started - token.expires });
    }
    if !options.again && is_enrolled(state)? {
        return Err(EnrollError::AlreadyEnrolled);
    }
    for directory in [state.link(), state.site()] {
        private_directory(&directory).map_err(|e| EnrollError::State { path: directory, kind: e.kind() })?;
    }
    let key = identity::new_key()?;
    let staged_key = identity::stage_key(state, &key)?;
    let request = identity::request(&key, &token.site)?;

    let hub: Endpoint = options.hub.unwrap_or(&token.hub).parse()?;
    let stream = reach(&hub, options.proxy, PATIENCE).await?;
    let trust = Trust::Fingerprint(token.ca_sha256.0.clone());
    let stream = tls::handshake(stream, &hub, trust, None, ALPN_ENROLL, PATIENCE).await?;

    let entry = LedgerEntry {
        site: &token.site,
        secret_sha256: demarc_proto::receipt::body_hash(&token.secret.0),
        request: &request,
    };
    let entry = String::from_utf8(frame::encode(&entry)).expect("JSON is UTF-8");
    enter(&entry).map_err(EnrollError::Ledger)?;

    let message = EnrollRequest { site: token.site.clone(), secret: token.secret.clone(), request };
    let enrolled = match ask(stream, &hub, &message).await? {
        EnrollResponse::Enrolled(enrolled) => enrolled,
        EnrollResponse::Refused(refused) => return Err(EnrollError::Refused(refused.reason)),
    };
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
    let chain = check(&enrolled, token, &public_key).map_err(EnrollError::Answer)?;
    let site = Site {
        site: token.site.clone(),
        hub: token.hub.clone(),
        ca: enrolled.ca,
        receipt_key: enrolled.receipt_key,
        enrolled: started,
    };
    keep(state, staged_key, &chain, &site)?;
    Ok(site)
}

fn is_enrolled(state: &StateDir) -> Result<bool, EnrollError> {
    let path = state.site_file();
    path.try_exists().map_err(|e| EnrollError::State { path, kind: e.kind() })
}

/// Sends the request and waits for the answer.
async fn ask<T>(stream: T, hub: &Endpoint, request: &EnrollRequest) -> Result<EnrollResponse, EnrollError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut framed = Framed::new(stream, frame::codec(MAX_TO_AGENT));
    let asking = async {
        framed.send(Bytes::from(frame::encode(request))).await?;
        framed.next().await.transpose()
    };
    match timeout(ANSWER, asking).await {
        Ok(Ok(Some(payload))) => frame::decode(&payload).map_err(|_| EnrollError::Answer(AnswerFault::Unknown)),
        Ok(Ok(None)) => Err(EnrollError::NoAnswer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData && error.get_ref().is_some_and(is_too_long) => {
            Err(EnrollError::Answer(AnswerFault::Unknown))
        }
        Ok(Err(error)) => match LinkError::in_handshake(&hub.to_string(), &error) {
            LinkError::CutInHandshake { .. } => Err(EnrollError::NoAnswer),
            other => Err(other.into()),
        },
        Err(_) => {
            Err(LinkError::Unanswered { message: "the request for enrollment", seconds: ANSWER.as_secs() }.into())
        }
    }
}

fn is_too_long(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<tokio_util::codec::LengthDelimitedCodecError>()
}

/// Checks everything that the hub handed out.
fn check(
    enrolled: &Enrolled,
    token: &EnrollmentToken,
    public_key: &[u8],
) -> Result<Vec<CertificateDer<'static>>, AnswerFault> {
    if Sha256::digest(&enrolled.ca.0)[..] != token.ca_sha256.0[..] {
        return Err(AnswerFault::OtherAuthority);
    }
    if enrolled.receipt_key.0.len() != RECEIPT_KEY_LENGTH {
        return Err(AnswerFault::ReceiptKey);
    }
    check_issued(&enrolled.chain, public_key, &token.site, &enrolled.ca.0, now()).map_err(AnswerFault::Certificate)
}

/// Puts key, certificate and what is known of the hub into their places; the last one makes the enrollment count.
fn keep(state: &StateDir, key: Staged, chain: &[CertificateDer<'_>], site: &Site) -> Result<(), EnrollError> {
    let failed = |path: PathBuf| move |error: io::Error| EnrollError::State { path, kind: error.kind() };
    let staged_chain = identity::stage_chain(state, chain)?;
    let mut text = serde_json::to_string_pretty(site).expect("a site is made of texts and integers");
    text.push('\n');
    let staged_site = Staged::write(&state.site_file(), text.as_bytes()).map_err(failed(state.site_file()))?;
    key.commit().map_err(failed(identity::key_file(state)))?;
    staged_chain.commit().map_err(failed(identity::chain_file(state)))?;
    staged_site.commit().map_err(failed(state.site_file()))
}

#[cfg(test)]
#[path = "enroll_tests.rs"]
mod tests;
