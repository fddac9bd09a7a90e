//! Gives a site a new certificate for the key that it has.

use demarc_proto::{
    SiteId, ToAgent,
    bytes64::Bytes64,
    message::{Certificate, Renew},
};
use tracing::info;

use crate::{
    ca::{AuthorityError, BadRequest, RequestedKey},
    clock,
    hub::Hub,
    store::StoreError,
};

/// A site gets no new certificate; its connection ends.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The request is unusable.
    #[error(transparent)]
    Request(#[from] BadRequest),
    /// The request is for another key than the one in use.
    #[error("the request is for another key than the site's own")]
    OtherKey,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority failed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Makes a new certificate for the key that the site uses.
///
/// # Errors
/// When the request is for another key, or cannot be read, or the hub fails.
pub async fn renew(hub: &Hub, site: &SiteId, message: &Renew) -> Result<ToAgent, RenewError> {
    let key = RequestedKey::from_request(&message.request.0)?;
    let issued = hub.authority.issue_site(site, &key, clock::now(), hub.certificate_lifetime)?;
    if !hub.store.renewed(site, &issued).await? {
        return Err(RenewError::OtherKey);
    }
    hub.metrics.renewals.inc();
    info!(%site, serial = issued.serial, "renewed a certificate");
    Ok(ToAgent::Certificate(Certificate { chain: vec![Bytes64(issued.der.to_vec())] }))
}
