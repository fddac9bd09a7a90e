//! One reconnection of the whole fleet, timed.

use std::{collections::HashSet, time::Instant};

use crate::Event;

/// From the moment when connections are lost until every tunnel is up again.
pub(crate) struct Wave {
    name: &'static str,
    count: usize,
    began: Instant,
    first_connected: Option<Instant>,
    back: HashSet<usize>,
    failed: u64,
    last_failure: Option<String>,
}

impl Wave {
    /// Begins now.
    pub(crate) fn new(name: &'static str, count: usize) -> Self {
        Self {
            name,
            count,
            began: Instant::now(),
            first_connected: None,
            back: HashSet::with_capacity(count),
            failed: 0,
            last_failure: None,
        }
    }

    /// Notes what happened to one tunnel; gives a report when it was the last that was missing.
    pub(crate) fn take(&mut self, event: Event) -> Option<serde_json::Value> {
        match event {
            Event::Connected(at) => {
                self.first_connected.get_or_insert(at);
                None
            }
            Event::Failed(why) => {
                self.failed += 1;
                self.last_failure = Some(why);
                None
            }
            Event::Up(number, at) => {
                let last = self.back.insert(number) && self.back.len() == self.count;
                let first = self.first_connected.unwrap_or(self.began);
                last.then(|| {
                    serde_json::json!({
                        "wave": self.name,
                        "tunnels": self.count,
                        "seconds": at.duration_since(first).as_secs_f64(),
                        "since_wave_began": at.duration_since(self.began).as_secs_f64(),
                        "failed_attempts": self.failed,
                        "last_failure": self.last_failure,
                    })
                })
            }
        }
    }
}
