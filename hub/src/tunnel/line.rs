//! The connection under the streams: kept going while something else is waited for, and watched for life.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use tokio::{
    net::TcpStream,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_rustls::server::TlsStream;

use crate::{intake::Intake, metrics::Ended, registry::Seat};

const PING: Duration = Duration::from_secs(30);
const MISSED: u8 = 3;

/// The connection under the streams.
pub(super) struct Line {
    connection: Connection<TlsStream<Intake<TcpStream>>, Bytes>,
    pings: Option<PingPong>,
    ticks: Interval,
    /// Ticks since the ping that is still unanswered; none is when absent.
    unanswered: Option<u8>,
}

impl Line {
    pub(super) fn new(mut connection: Connection<TlsStream<Intake<TcpStream>>, Bytes>) -> Self {
        let pings = connection.ping_pong();
        let mut ticks = interval_at(Instant::now() + PING, PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { connection, pings, ticks, unanswered: None }
    }

    /// Keeps the connection going until `work` is done; an error when the connection ends first.
    pub(super) async fn during<T>(&mut self, seat: &Seat, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = seat.evicted() => return Err(Ended::Evicted),
                _ = &mut self.connection => return Err(Ended::Closed),
                () = pong(&mut self.pings) => self.unanswered = None,
                _ = self.ticks.tick() => self.tick()?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Keeps the connection going until it has closed itself.
    pub(super) async fn finish(&mut self) {
        // Whatever goes wrong now, it is over.
        (&mut self.connection).await.ok();
    }

    fn tick(&mut self) -> Result<(), Ended> {
        match &mut self.unanswered {
            Some(missed) => {
                *missed += 1;
                if *missed >= MISSED { Err(Ended::Silent) } else { Ok(()) }
            }
            unanswered @ None => {
                if let Some(pings) = &mut self.pings {
                    pings.send_ping(Ping::opaque()).map_err(|_| Ended::Closed)?;
                    *unanswered = Some(0);
                }
                Ok(())
            }
        }
    }
}

/// Ends when a ping is answered.
async fn pong(pings: &mut Option<PingPong>) {
    match pings {
        // An error means that the connection ends, which its own future tells better.
        Some(pings) => match poll_fn(|context| pings.poll_pong(context)).await {
            Ok(_) => {}
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
