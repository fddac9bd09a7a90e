//! Looks up the keys of sites, many in one question: a fleet that comes back asks for thousands within a second.

use demarc_proto::SiteId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::store::{MOST_AT_ONCE, Store};

/// So many questions may wait; those who ask more wait before they ask.
const WAITING: usize = 1024;

/// Answers which key a site has.
#[derive(Debug)]
pub struct Lookup {
    questions: mpsc::Sender<Question>,
}

/// The database did not answer; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer")]
pub struct NoAnswer;

struct Question {
    site: SiteId,
    answer: oneshot::Sender<Option<String>>,
}

impl Lookup {
    /// Begins to answer, in a task that ends at the word to stop.
    pub fn start(store: Store, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (questions, waiting) = mpsc::channel(WAITING);
        tasks.spawn(answer(store, waiting, stop));
        Self { questions }
    }

    /// The hash of a site's public key, if it is enrolled.
    ///
    /// # Errors
    /// When the database fails or the hub stops.
    pub async fn key_of(&self, site: &SiteId) -> Result<Option<String>, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { site: site.clone(), answer }).await.map_err(|_| NoAnswer)?;
        answered.await.map_err(|_| NoAnswer)
    }
}

/// Whatever has come while the last question was under way is the next one.
async fn answer(store: Store, mut waiting: mpsc::Receiver<Question>, stop: CancellationToken) {
    let mut asked = Vec::with_capacity(MOST_AT_ONCE);
    while let Some(1..) = stop.run_until_cancelled(waiting.recv_many(&mut asked, MOST_AT_ONCE)).await {
        let sites: Vec<&SiteId> = asked.iter().map(|question| &question.site).collect();
        match store.keys_of(&sites).await {
            Ok(keys) => {
                for question in asked.drain(..) {
                    // Who asked may be gone.
                    question.answer.send(keys.get(question.site.as_str()).cloned()).ok();
                }
            }
            Err(error) => {
                warn!(%error, sites = asked.len(), "cannot look sites up; they will come again");
                asked.clear();
            }
        }
    }
}
