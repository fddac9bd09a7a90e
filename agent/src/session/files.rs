//! A channel of the scope `files`: file transfer (SFTP) to and from the session's scratch directory, and nowhere else.

use super::{channel::Served, queue::Lane};

/// Serves a channel with file transfer.
pub(super) async fn serve(served: Served) {
    served.answer(Lane::Error, "demarc: not yet\n", 1).await;
}
