//! Files of the hub, over a connection of their own beside the tunnel: HTTP/1.1, and we ask.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use demarc_proto::ALPN_FILES;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Limited};
use hyper::{
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

use super::{
    Patience,
    error::LinkError,
    identity::Identity,
    reach,
    tls::{self, Trust},
};
use crate::{ipc::LinkSettings, settings::load::Endpoint, state::StateDir};

/// What moves the bytes of a connection, as long as somebody polls it.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer, with the connection over which its body comes. Nobody else polls that: when the answer is dropped, the
/// connection is over, and nothing that the kernel still held leaves.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    connection: Connection,
}

impl Answer {
    /// The whole body, if it is no longer than that.
    pub(super) async fn whole(self, most: usize) -> Option<Bytes> {
        Limited::new(self.into_body(), most).collect().await.ok().map(Collected::to_bytes)
    }

    /// The body as it comes.
    pub(super) fn into_body(self) -> Driven {
        Driven { body: self.response.into_body(), connection: Some(self.connection) }
    }
}

/// A body that moves the connection over which it comes.
pub(super) struct Driven {
    body: Incoming,
    /// Until it is over.
    connection: Option<Connection>,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // What it has read then is there for the body. That it broke is heard there, too.
        if self.connection.as_mut().is_some_and(|connection| connection.as_mut().poll(context).is_ready()) {
            self.connection = None;
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Asks the hub for something, over a connection of its own.
///
/// # Errors
/// When there is no such connection, or it breaks before the answer's head is there.
pub(super) async fn ask<B>(
    settings: &LinkSettings,
    patience: Patience,
    request: Request<B>,
) -> Result<Answer, LinkError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = open(settings, patience).await?;
    let mut connection: Connection = Box::pin(async move {
        // What goes wrong is heard by whoever waits for the answer.
        let _ = connection.await;
    });
    let mut asking = pin!(sender.send_request(request));
    let mut open = true;
    let response = loop {
        tokio::select! {
            biased;
            response = &mut asking => break response.map_err(lost)?,
            () = &mut connection, if open => open = false,
        }
    };
    let connection = if open { connection } else { Box::pin(std::future::ready(())) };
    Ok(Answer { response, connection })
}

/// The connection itself, for who must be able to cut it off: it is over when it is dropped.
pub(super) async fn open<B>(
    settings: &LinkSettings,
    patience: Patience,
) -> Result<(http1::SendRequest<B>, impl Future<Output = hyper::Result<()>> + Send + use<B>), LinkError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let identity = Identity::load(&StateDir::new(&settings.state_dir))?;
    let hub: Endpoint = settings.hub.parse()?;
    let stream = reach(&hub, settings.proxy.as_ref(), patience.connect).await?;
    let trust = Trust::Authority(settings.site.ca.0.clone());
    let stream = tls::handshake(stream, &hub, trust, Some(&identity), ALPN_FILES, patience.handshake).await?;
    http1::handshake(TokioIo::new(stream)).await.map_err(lost)
}

fn lost(error: hyper::Error) -> LinkError {
    LinkError::Lost { detail: error.to_string() }
}

/// The head of a request as it leaves, byte for byte.
pub(crate) fn head<B>(request: &Request<B>) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    head + "\r\n"
}

/// A whole body, if it is no longer than that.
pub(super) async fn whole(body: Incoming, most: usize) -> Option<Bytes> {
    Limited::new(body, most).collect().await.ok().map(Collected::to_bytes)
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_head_is_what_leaves() {
        let (ours, mut theirs) = duplex(4096);
        let request = || {
            let builder = Request::get("/updates/dists/stable/InRelease").header("host", "hub.example.com");
            builder.header("range", "bytes=5-").body(Empty::<Bytes>::new()).unwrap()
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        tokio::spawn(async move { sender.send_request(request()).await.map(drop) });
        let mut sent = vec![0; 1024];
        let length = theirs.read(&mut sent).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&sent[..length]), head(&request()));
    }
}
