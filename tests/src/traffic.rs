//! Calls that end just now, written to a site's `Master.csv` and remembered for comparison.

use crate::{
    cdr::{Caller, Layout, Row},
    data,
    oracle::Oracle,
    site::Site,
    wait,
};

/// A source of calls.
pub struct Traffic {
    caller: Caller,
    /// What was fed so far, read independently.
    pub oracle: Oracle,
}

impl Traffic {
    /// Calls that can be repeated from the seed.
    pub fn new(seed: u64) -> Self {
        Self { caller: Caller::new(seed), oracle: Oracle::new(&data::TRUNKS) }
    }

    /// Forgets what was fed, so that the next comparison is about what comes from now on.
    pub fn forget(&mut self) {
        self.oracle = Oracle::new(&data::TRUNKS);
    }

    /// Feeds so many calls that end now.
    pub fn feed(&mut self, site: &Site, calls: u32) {
        self.feed_at(site, calls, wait::now());
    }

    /// Feeds so many calls that end at that moment.
    pub fn feed_at(&mut self, site: &Site, calls: u32, end: u64) {
        for _ in 0..calls {
            for row in self.caller.call(end as i64) {
                self.feed_row(site, &row);
            }
        }
    }

    fn feed_row(&mut self, site: &Site, row: &Row) {
        let line = row.line(Layout::New21);
        self.oracle.read(&line);
        site.feed(&line);
    }
}

/// Waits, if need be, until the current minute has so many seconds left: what is fed then falls in one window.
pub fn wait_for_room_in_the_minute(seconds: u64) {
    let limit = std::time::Duration::from_secs(61);
    wait::until_true(limit, "a fresh minute", || 60 - wait::now() % 60 >= seconds);
}
