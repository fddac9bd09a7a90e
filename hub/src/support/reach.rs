//! How a session's stream is opened on a site's tunnel, and in which words that fails.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use demarc_proto::{
    SiteId,
    support::{GrantId, SUPPORT_PATH},
};
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{Method, Request, StatusCode};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{hub::Hub, metrics::SupportResult, peer::site_dns_name};

/// The site starts a program for a session; it must have answered within this time.
const OPENING: Duration = Duration::from_secs(20);

/// The way to open streams on a tunnel that is up.
pub struct Reach {
    requests: SendRequest<Bytes>,
    room: Arc<Semaphore>,
}

/// A session's stream that the site let in.
pub(super) struct Stream {
    pub(super) grant: GrantId,
    pub(super) to_site: SendStream<Bytes>,
    pub(super) from_site: RecvStream,
    /// What it takes up, at its site and in all.
    pub(super) places: [OwnedSemaphorePermit; 2],
}

/// There is no session, in words for the engineer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the words say it")]
pub enum NotOpened {
    #[error("{0} is not connected to this hub (`demarc-hub sites` says since when)")]
    NotConnected(SiteId),
    #[error("there is no live grant of {0}: ask the customer to run `demarc support allow`")]
    NoGrant(SiteId),
    #[error("{site} has {streams} sessions already, which is the most (limits.support_streams_per_site)")]
    SiteFull { site: SiteId, streams: usize },
    #[error("this hub has as many sessions as it may (limits.support_streams); try again later")]
    HubFull,
    #[error(
        "{0} lets nobody in under this grant: it is over or was taken back; ask the customer to run `demarc support allow`"
    )]
    Refused(SiteId),
    #[error("{0} has as many sessions as it takes: end one of them, or wait")]
    SiteBusy(SiteId),
    #[error("{0} cannot serve a session now: the log of demarc there says why")]
    SiteUnable(SiteId),
    #[error("the demarc at {0} does not know support sessions: it has to be upgraded")]
    SiteTooOld(SiteId),
    #[error("{site} answered {status}, which this version does not know")]
    Unexpected { site: SiteId, status: StatusCode },
    #[error("{site} did not answer within {} s", OPENING.as_secs())]
    Slow { site: SiteId },
    #[error("the connection to {0} was lost")]
    Lost(SiteId),
    #[error("the hub is stopping")]
    Stopping,
}

impl NotOpened {
    pub(super) fn result(&self) -> SupportResult {
        match self {
            Self::NotConnected(_) | Self::Lost(_) | Self::Slow { .. } | Self::Stopping => SupportResult::Unreachable,
            Self::NoGrant(_) => SupportResult::NoGrant,
            Self::SiteFull { .. } | Self::HubFull => SupportResult::Limited,
            Self::Refused(_) | Self::SiteBusy(_) => SupportResult::Refused,
            Self::SiteUnable(_) | Self::SiteTooOld(_) | Self::Unexpected { .. } => SupportResult::Failed,
        }
    }
}

impl Reach {
    pub(crate) fn new(requests: SendRequest<Bytes>, most: usize) -> Self {
        Self { requests, room: Arc::new(Semaphore::new(most)) }
    }

    /// Opens a stream for a session under a grant.
    async fn open(&self, hub: &Hub, site: &SiteId, grant: GrantId) -> Result<Stream, NotOpened> {
        let full = || NotOpened::SiteFull { site: site.clone(), streams: hub.support_per_site };
        let at_site = self.room.clone().try_acquire_owned().map_err(|_| full())?;
        let in_all = hub.support_room.clone().try_acquire_owned().map_err(|_| NotOpened::HubFull)?;
        let lost = |error: h2::Error| match error.reason() {
            Some(Reason::REFUSED_STREAM) => NotOpened::SiteTooOld(site.clone()),
            _ => NotOpened::Lost(site.clone()),
        };
        let opening = async {
            let uri = format!("https://{}{SUPPORT_PATH}{grant}", site_dns_name(site));
            let request = Request::builder().method(Method::POST).uri(uri).body(());
            let request = request.map_err(|_| NotOpened::Lost(site.clone()))?;
            let mut requests = self.requests.clone().ready().await.map_err(lost)?;
            let (response, to_site) = requests.send_request(request, false).map_err(lost)?;
            Ok((response.await.map_err(lost)?, to_site))
        };
        let (response, to_site) =
            timeout(OPENING, opening).await.map_err(|_| NotOpened::Slow { site: site.clone() })??;
        match response.status() {
            StatusCode::OK => Ok(Stream { grant, to_site, from_site: response.into_body(), places: [at_site, in_all] }),
            StatusCode::FORBIDDEN => Err(NotOpened::Refused(site.clone())),
            StatusCode::TOO_MANY_REQUESTS => Err(NotOpened::SiteBusy(site.clone())),
            StatusCode::SERVICE_UNAVAILABLE => Err(NotOpened::SiteUnable(site.clone())),
            status => Err(NotOpened::Unexpected { site: site.clone(), status }),
        }
    }
}

/// Opens a session's stream at a site. A grant that somebody names is passed on even when we do not know it: the site
/// decides, and we may have been started a moment ago.
pub(super) async fn open(hub: &Hub, site: &SiteId, grant: Option<GrantId>) -> Result<Stream, NotOpened> {
    let (reach, newest) = hub.registry.reach(site).ok_or_else(|| NotOpened::NotConnected(site.clone()))?;
    let grant = grant.or(newest).ok_or_else(|| NotOpened::NoGrant(site.clone()))?;
    match hub.stop.run_until_cancelled(reach.open(hub, site, grant)).await {
        Some(opened) => opened,
        None => Err(NotOpened::Stopping),
    }
}
