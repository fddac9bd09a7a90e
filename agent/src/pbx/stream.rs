//! Sources that are no followed file: tasks that say what they find, portion by portion.
//!
//! A task reads on only when its last portion is in the store. Where it is not (a full disk), [`Outlet::deliver`] fails, and
//! the task begins again from the position that the store has.

use tokio::sync::{mpsc, oneshot};

use super::{ami::Facts, record::Entry};
use crate::call::{Sample, rules::Line};

/// What a source says.
pub enum Said {
    /// Rows, and where reading goes on behind them.
    Portion(Portion),
    /// What is wrong and what the owner can do, in words; nothing where all is well.
    Trouble(Option<String>),
    /// What works and could be better, in words.
    Advice(Option<String>),
    /// A file that this process may not open came to its place since it was confined: another one could.
    CameLater,
    /// The trunks of the phone system, all of them.
    Trunks(Vec<Line>),
    /// How the PBX is right now.
    Live(Facts),
    /// How calls sound.
    Sound(Vec<Sample>),
}

/// Rows on their way into the store, and who waits for that.
pub struct Portion {
    /// The rows.
    pub rows: Rows,
    /// Told once they are in the store; dropped where they could not be stored.
    pub stored: oneshot::Sender<()>,
}

/// What a source has found.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The rows, in order.
    pub entries: Vec<Entry>,
    /// Where reading goes on, in the source's own words.
    pub position: String,
    /// Names of rows that were delivered with an earlier moment than this are no longer needed.
    pub forget_before: i64,
    /// Whether the rows lay there before the source was first looked at, and are not of today.
    pub backlog: bool,
}

/// A source's way to the collector.
#[derive(Clone)]
pub struct Outlet {
    source: usize,
    sender: mpsc::Sender<(usize, Said)>,
}

/// The portion is not in the store: begin again from the position that the store has, after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows could not be stored")]
pub struct NotStored;

impl Outlet {
    /// The way of the source of that number.
    pub fn new(source: usize, sender: mpsc::Sender<(usize, Said)>) -> Self {
        Self { source, sender }
    }

    /// Delivers rows, and returns once they are in the store.
    ///
    /// # Errors
    /// When they are not.
    pub async fn deliver(&self, rows: Rows) -> Result<(), NotStored> {
        let (stored, answer) = oneshot::channel();
        let portion = Portion { rows, stored };
        self.sender.send((self.source, Said::Portion(portion))).await.map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)
    }

    /// Says how the PBX is right now.
    pub async fn live(&self, facts: Facts) {
        self.say(Said::Live(facts)).await;
    }

    /// Says what is wrong, or that nothing is any more.
    pub async fn trouble(&self, trouble: Option<String>) {
        self.say(Said::Trouble(trouble)).await;
    }

    /// Says anything that needs no answer.
    pub async fn say(&self, said: Said) {
        // The collector that is gone shows no status either.
        let _ = self.sender.send((self.source, said)).await;
    }
}
