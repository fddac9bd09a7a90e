//! The way to the supervisor: questions out, answers back.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    control::{Answer, Request, Status},
    ipc::{
        channel::Sender,
        web::{FromWeb, Question, Reply},
    },
    settings::Secret,
};

/// Messages that wait for the supervisor.
const MOST_WAITING: usize = 64;
/// How long an answer is waited for; the end of a support session takes the longest.
const PATIENCE: Duration = Duration::from_secs(15);

/// The way to the supervisor.
pub(super) struct Desk {
    outgoing: mpsc::Sender<FromWeb>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    last: AtomicU64,
}

impl Desk {
    pub(super) fn new(mut sender: Sender<FromWeb>) -> Self {
        let (outgoing, mut waiting) = mpsc::channel(MOST_WAITING);
        tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                // A supervisor that is gone is seen where its messages are awaited.
                if sender.send(&message).await.is_err() {
                    return;
                }
            }
        });
        Self { outgoing, waiting: Mutex::default(), last: AtomicU64::new(0) }
    }

    /// Says something that has no answer.
    pub(super) fn say(&self, message: FromWeb) {
        let _ = self.outgoing.try_send(message);
    }

    /// Takes in an answer.
    pub(super) fn answered(&self, number: u64, reply: Reply) {
        if let Some(asker) = self.waiting().remove(&number) {
            let _ = asker.send(reply);
        }
    }

    /// Asks, and waits for the answer; none when the supervisor is busy with something else, or ends.
    pub(super) async fn ask(&self, question: Question) -> Option<Reply> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(number, sender);
        let answer = async {
            self.outgoing.send(FromWeb::Ask { number, question }).await.ok()?;
            receiver.await.ok()
        };
        let answer = timeout(PATIENCE, answer).await.ok().flatten();
        self.waiting().remove(&number);
        answer
    }

    /// How everything is, as far as that browser may know: `Ok(None)` where it is not logged in.
    pub(super) async fn status(&self, session: &Secret) -> Result<Option<Box<Status>>, Absent> {
        let question = Question::Control { session: session.clone(), request: Request::Status };
        match self.ask(question).await {
            Some(Reply::Control(Answer::Status(status))) => Ok(Some(status)),
            Some(Reply::Unknown) => Ok(None),
            _ => Err(Absent),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The supervisor does not answer.
#[derive(Debug)]
pub(super) struct Absent;
