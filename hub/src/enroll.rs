//! Enrollment: one request with a one-time secret, one answer with a certificate.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use demarc_proto::{
    bytes64::Bytes64,
    enroll::{EnrollReason, EnrollRefused, EnrollRequest, EnrollResponse, Enrolled},
    frame,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::codec::Framed;
use tracing::{debug, error, info, warn};

use crate::{
    ca::{AuthorityError, RequestedKey},
    clock,
    hub::Hub,
    metrics::EnrollResult,
    store::{Redeemed, StoreError},
};

/// A request is some 600 bytes; nobody who is not let in yet may make us hold more than this.
const MAX_REQUEST: usize = 8 * 1024;
/// The whole exchange.
const DEADLINE: Duration = Duration::from_secs(10);

/// The hub itself could not do it; there is no answer then.
#[derive(Debug, thiserror::Error)]
enum EnrollError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Serves one enrollment on a stream.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(hub: &Hub, stream: S, address: SocketAddr) {
    if hub.is_blocked(address.ip()) {
        hub.metrics.enrollment(EnrollResult::Limited);
        debug!(%address, "too many failed enrollments from this address: it has to wait");
        return;
    }
    let Ok(result) = timeout(DEADLINE, exchange(hub, stream, address)).await else {
        hub.metrics.enrollment(EnrollResult::Garbage);
        hub.note_failure(address.ip());
        debug!(%address, "an enrollment took too long");
        return;
    };
    hub.metrics.enrollment(result);
    if !matches!(result, EnrollResult::Enrolled | EnrollResult::Replaced | EnrollResult::Failed) {
        hub.note_failure(address.ip());
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(hub: &Hub, stream: S, address: SocketAddr) -> EnrollResult {
    let mut framed = Framed::new(stream, frame::codec(MAX_REQUEST));
    let request = match framed.next().await {
        Some(Ok(payload)) => frame::decode::<EnrollRequest>(&payload).ok(),
        _ => None,
    };
    let Some(request) = request else {
        debug!(%address, "not an enrollment request");
        return EnrollResult::Garbage;
    };
    let site = request.site.clone();
    let (response, result) = match decide(hub, request).await {
        Ok(decided) => decided,
        Err(error) => {
            error!(%site, %error, "an enrollment failed here; the token is still good");
            return EnrollResult::Failed;
        }
    };
    match result {
        EnrollResult::Enrolled => info!(%site, %address, "enrolled"),
        EnrollResult::Replaced => {
            warn!(%site, %address, "enrolled again: the key that the site had before is shut out")
        }
        EnrollResult::UsedToken => warn!(%site, %address, "somebody came with a token that was used before"),
        _ => warn!(%site, %address, reason = ?result, "refused an enrollment"),
    }
    // The site is enrolled even if it does not hear of it; its operator then needs another token.
    if framed.send(Bytes::from(frame::encode(&response))).await.is_ok() {
        framed.get_mut().shutdown().await.ok();
    }
    result
}

async fn decide(hub: &Hub, request: EnrollRequest) -> Result<(EnrollResponse, EnrollResult), EnrollError> {
    let refused = |reason, result| Ok((EnrollResponse::Refused(EnrollRefused { reason }), result));
    // The request is looked at before the token, so that a damaged request does not use the token up.
    let Ok(key) = RequestedKey::from_request(&request.request.0) else {
        return refused(EnrollReason::BadRequest, EnrollResult::BadRequest);
    };
    let now = clock::now();
    let issued = hub.authority.issue_site(&request.site, &key, now, hub.certificate_lifetime)?;
    match hub.store.redeem(&request.site, &request.secret.0, &issued, now).await? {
        Redeemed::Unknown => refused(EnrollReason::UnknownToken, EnrollResult::UnknownToken),
        Redeemed::Used => refused(EnrollReason::UsedToken, EnrollResult::UsedToken),
        Redeemed::Expired => refused(EnrollReason::ExpiredToken, EnrollResult::ExpiredToken),
        Redeemed::Enrolled { replaced } => {
            hub.registry.key_replaced(&request.site);
            let enrolled = Enrolled {
                chain: vec![Bytes64(issued.der.to_vec())],
                ca: Bytes64(hub.authority.certificate().to_vec()),
                receipt_key: Bytes64(hub.receipt_public_key().to_vec()),
            };
            let result = if replaced { EnrollResult::Replaced } else { EnrollResult::Enrolled };
            Ok((EnrollResponse::Enrolled(enrolled), result))
        }
    }
}
