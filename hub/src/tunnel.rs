//! A site's tunnel: HTTP/2 with the roles reversed, one control stream, and what happens on it in order.

mod control;
mod line;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use demarc_proto::{
    CONTROL_PATH, PROTOCOL, ToAgent, ToHub, frame,
    health::{HEALTH_HEADER, HEALTH_SCHEMA},
    message::{Hello, Noted, Welcome},
    support::{SESSION_PIECE, SESSION_WINDOW},
};
use h2::client::{Builder, SendRequest};
use http::{Method, Request, StatusCode};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use self::{
    control::{Control, Fault},
    line::Line,
};
use crate::{
    clock,
    health::{self, Vitals},
    hub::Hub,
    ingest,
    intake::Intake,
    metrics::{Ended, Handshake},
    peer::{PeerCertificate, site_dns_name},
    registry::{NoSeat, Seat},
    renew,
    support::Announced,
};

/// The site must answer the control stream and say hello within this time.
const HELLO: Duration = Duration::from_secs(10);
/// A connection that ends in order has this long to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Looks at who comes, and lets a site with a valid key in. The tunnel then lives in a task of its own: this one
/// and what the handshake needed are gone by then.
pub async fn admit(hub: &Arc<Hub>, tls: TlsStream<Intake<TcpStream>>, address: SocketAddr) {
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| PeerCertificate::read(chain.first()?));
    let Some(certificate) = certificate else {
        hub.metrics.handshake(Handshake::NoCertificate);
        debug!(%address, "a tunnel without a site's certificate");
        return;
    };
    let site = certificate.site.clone();
    let Some(seat) = seat_for(hub, &certificate, address).await else { return };
    let expired = certificate.is_expired(clock::now());
    hub.metrics.handshake(if expired { Handshake::TunnelExpired } else { Handshake::Tunnel });
    let begun = Builder::new()
        .enable_push(false)
        .max_frame_size(SESSION_PIECE)
        .initial_window_size(SESSION_WINDOW)
        // Each stream has room of its own, so that a support session that stalls holds up nobody else. A window that is
        // not used costs nothing, and no stream exists that this side did not open.
        .initial_connection_window_size((1 + u32::try_from(hub.support_per_site).unwrap_or(0)) * SESSION_WINDOW)
        .max_send_buffer_size(64 * 1024)
        .header_table_size(0)
        .max_header_list_size(4096)
        .max_concurrent_streams(0)
        // What is still under way on a session that was cut off is recognised, and is no fault of the site.
        .max_concurrent_reset_streams(16)
        .handshake::<_, Bytes>(tls)
        .await;
    match begun {
        Ok((streams, connection)) => {
            info!(%site, %address, expired, "tunnel up");
            hub.tasks.spawn(live(seat, Box::new(Line::new(connection)), streams, expired));
        }
        Err(_) => debug!(%site, %address, "a tunnel ended before it began"),
    }
}

/// Takes the site's seat for whoever holds the site's key.
async fn seat_for(hub: &Arc<Hub>, certificate: &PeerCertificate, address: SocketAddr) -> Option<Seat> {
    let site = &certificate.site;
    loop {
        let epoch = hub.registry.key_epoch();
        match hub.lookup.key_of(site).await {
            Ok(Some(key)) if key == certificate.key_sha256 => {}
            Ok(_) => {
                hub.metrics.handshake(Handshake::Revoked);
                warn!(%site, %address, "refused a tunnel: its key is not, or no longer, the site's");
                return None;
            }
            Err(error) => {
                hub.metrics.handshake(Handshake::Store);
                debug!(%site, %error, "refused a tunnel: it will come again");
                return None;
            }
        }
        match Seat::take(hub, site, epoch) {
            Ok(seat) => return Some(seat),
            // Somebody enrolled meanwhile, perhaps for this site.
            Err(NoSeat::LookAgain) => {}
            Err(NoSeat::TooOften) => {
                hub.metrics.handshake(Handshake::Limited);
                debug!(%site, "refused a tunnel: the site comes or sends too often");
                return None;
            }
        }
    }
}

/// One tunnel from beginning to end. Thousands of these futures wait at the same time, so they are kept small: what
/// only the beginning or a message needs is boxed there.
async fn live(seat: Seat, mut line: Box<Line>, streams: SendRequest<Bytes>, expired: bool) {
    let metrics = &seat.hub().metrics;
    metrics.tunnels.inc();
    let end = match answer_messages(&seat, &mut line, streams, expired).await {
        Ok(()) => Ended::Closed,
        Err(end) => end,
    };
    seat.unreachable();
    if !matches!(end, Ended::Evicted | Ended::Silent) {
        // Every handle is dropped by now, so the connection says GOAWAY and closes.
        Box::pin(timeout(FAREWELL, line.finish())).await.ok();
    }
    metrics.tunnels.dec();
    metrics.tunnel_ended(end);
    info!(site = %seat.site(), why = ?end, "tunnel ended");
}

/// Opens the control stream and answers what comes, until something ends it.
async fn answer_messages(
    seat: &Seat,
    line: &mut Line,
    streams: SendRequest<Bytes>,
    expired: bool,
) -> Result<(), Ended> {
    let hub = seat.hub();
    let mut control = Box::pin(greet(seat, line, streams.clone())).await?;
    if !expired {
        seat.reachable(streams);
    }
    let mut vitals = Vitals::new(hub);
    loop {
        let received = line
            .during(seat, async {
                tokio::select! {
                    biased;
                    received = control.next(&hub.long_messages) => Some(received),
                    () = hub.stop.cancelled() => None,
                }
            })
            .await?;
        let payload = match received {
            Some(Ok(Some(payload))) => payload,
            Some(Ok(None)) => return Ok(()),
            Some(Err(fault)) => return Err(blame(seat, fault)),
            None => {
                // Whichever side closes first now, it is because of the stop.
                Box::pin(line.during(seat, control.finish())).await.ok();
                return Err(Ended::Stopped);
            }
        };
        hub.metrics.bytes_in.inc_by(payload.len() as u64);
        // What was received is answered, even when the word to stop came meanwhile.
        let answer = Box::pin(line.during(seat, handle(seat, &payload, expired, &mut vitals))).await??;
        let sent = Box::pin(line.during(seat, control.send(&answer))).await?.map_err(|fault| blame(seat, fault))?;
        hub.metrics.bytes_out.inc_by(sent);
    }
}

/// Opens the control stream and exchanges Hello for Welcome.
async fn greet(seat: &Seat, line: &mut Line, streams: SendRequest<Bytes>) -> Result<Control, Ended> {
    let greeting = async {
        let uri = format!("https://{}{CONTROL_PATH}", site_dns_name(seat.site()));
        // Said here and not in the Welcome, of which older agents take no other form than theirs.
        let request = Request::builder().method(Method::POST).uri(uri).header(HEALTH_HEADER, HEALTH_SCHEMA);
        let request = request.body(()).map_err(|_| Fault::Closed)?;
        let mut streams = streams.ready().await.map_err(|_| Fault::Closed)?;
        let (response, send) = streams.send_request(request, false).map_err(|_| Fault::Closed)?;
        let response = response.await.map_err(|_| Fault::Closed)?;
        if response.status() != StatusCode::OK {
            return Err(Fault::Unexpected("an answer to the control stream other than 200"));
        }
        let mut control = Control::new(send, response.into_body());
        let payload = control.next(&seat.hub().long_messages).await?.ok_or(Fault::Closed)?;
        seat.hub().metrics.bytes_in.inc_by(payload.len() as u64);
        let Ok(ToHub::Hello(hello)) = frame::decode(&payload) else {
            return Err(Fault::Unexpected("a first message other than Hello"));
        };
        let welcome = ToAgent::Welcome(Welcome { protocol: PROTOCOL, time: clock::now() });
        seat.hub().metrics.bytes_out.inc_by(control.send(&welcome).await?);
        Ok((control, hello))
    };
    let (control, hello) =
        match line.during(seat, seat.hub().stop.run_until_cancelled(timeout(HELLO, greeting))).await? {
            Some(Ok(greeted)) => greeted.map_err(|fault| blame(seat, fault))?,
            Some(Err(_)) => return Err(blame(seat, Fault::Slow)),
            // Nothing was received yet that an answer is owed for.
            None => return Err(Ended::Stopped),
        };
    note_hello(seat, &hello);
    if hello.protocol != PROTOCOL {
        // The Welcome has told the other side which protocol is spoken here.
        warn!(site = %seat.site(), protocol = hello.protocol, "a protocol that this hub does not speak: upgrade it");
        line.during(seat, control.finish()).await?;
        return Err(Ended::Garbage);
    }
    Ok(control)
}

fn note_hello(seat: &Seat, hello: &Hello) {
    let [major, minor, patch] = hello.version;
    let version = format!("{major}.{minor}.{patch}");
    debug!(site = %seat.site(), version, "hello");
    seat.hub().presence.said_version(seat.site(), version, clock::now());
}

/// Does what one message asks for.
async fn handle(seat: &Seat, payload: &[u8], expired: bool, vitals: &mut Vitals) -> Result<ToAgent, Ended> {
    // A site that sends too fast waits, and nobody else with it.
    tokio::time::sleep(seat.charge()).await;
    let (hub, site) = (seat.hub(), seat.site());
    let message = match frame::decode(payload) {
        Ok(message) => message,
        Err(error) => {
            warn!(%site, %error, "closing a tunnel");
            return Err(Ended::Garbage);
        }
    };
    match message {
        ToHub::Report(_) | ToHub::Grant(_) | ToHub::GrantEnded(_) | ToHub::Health(_) if expired => {
            warn!(%site, "closing a tunnel: its certificate has ended, and it may only renew");
            Err(Ended::Expired)
        }
        ToHub::Report(report) => ingest::take(hub, site, report).await.map_err(|error| {
            warn!(%site, %error, "a report could not be stored; the site keeps it");
            Ended::Store
        }),
        ToHub::Health(_) => health::take(seat, payload, vitals).await,
        ToHub::Renew(request) => renew::renew(hub, site, &request).await.map_err(|error| {
            warn!(%site, %error, "closing a tunnel: no new certificate");
            if matches!(error, renew::RenewError::Store(_)) { Ended::Store } else { Ended::Garbage }
        }),
        ToHub::Grant(message) => {
            let announced = Announced::read(message, site).map_err(|error| {
                warn!(%site, %error, "closing a tunnel");
                Ended::Garbage
            })?;
            let grant = announced.grant.id;
            info!(%site, %grant, scope = %announced.grant.scope, until = announced.grant.until, "a support grant");
            seat.note_grant(announced);
            Ok(ToAgent::Noted(Noted { grant }))
        }
        ToHub::GrantEnded(ended) => {
            info!(%site, grant = %ended.grant, "a support grant is over");
            seat.end_grant(ended.grant);
            Ok(ToAgent::Noted(Noted { grant: ended.grant }))
        }
        ToHub::Hello(_) => {
            warn!(%site, "closing a tunnel: a second Hello");
            Err(Ended::Garbage)
        }
    }
}

/// Says what a site did wrong, without repeating what it sent.
fn blame(seat: &Seat, fault: Fault) -> Ended {
    match fault {
        Fault::Closed => Ended::Closed,
        Fault::Unexpected(_) | Fault::TooLong | Fault::Slow => {
            warn!(site = %seat.site(), why = %fault, "closing a tunnel");
            Ended::Garbage
        }
    }
}
