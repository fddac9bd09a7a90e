//! Redeems enrollment tokens.

use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use demarc_proto::{
    bytes64::Bytes64,
    enroll::{EnrollRequest, EnrollResponse},
    frame,
    token::EnrollmentToken,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_util::codec::Framed;

use crate::{
    identity::{self, Identity},
    tls,
};

/// How many enrollments are under way at a time.
const AT_ONCE: usize = 32;

/// Redeems every token of the file and writes the identities.
pub(crate) async fn all(tokens: &Path, identities: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(tokens).with_context(|| format!("cannot read {}", tokens.display()))?;
    let mut waiting = text.split_whitespace();
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(token) = waiting.next()
        {
            running.spawn(one(token.parse::<EnrollmentToken>()?));
        }
        match running.join_next().await {
            Some(result) => done.push(result??),
            None => break,
        }
    }
    identity::save(identities, &done)
}

async fn one(token: EnrollmentToken) -> anyhow::Result<Identity> {
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::new(vec![])?.serialize_request(&key)?;
    let stream = TcpStream::connect(&token.hub).await.with_context(|| format!("cannot reach {}", token.hub))?;
    let connector = tokio_rustls::TlsConnector::from(tls::enrollment(&token.ca_sha256)?);
    let stream = connector.connect(tls::server_name(&token.hub)?, stream).await?;
    let mut frames = Framed::new(stream, frame::codec(frame::MAX_TO_AGENT));
    let message = EnrollRequest {
        site: token.site.clone(),
        secret: token.secret.clone(),
        request: Bytes64(request.der().to_vec()),
    };
    frames.send(Bytes::from(frame::encode(&message))).await?;
    let answer = frames.next().await.context("the hub closed the connection without an answer")??;
    match frame::decode(&answer)? {
        EnrollResponse::Enrolled(enrolled) => Ok(Identity {
            site: token.site,
            hub: token.hub,
            ca: enrolled.ca,
            chain: enrolled.chain,
            key: Bytes64(key.serialize_der()),
        }),
        EnrollResponse::Refused(refused) => bail!("the hub refused {}: {:?}", token.site, refused.reason),
    }
}
