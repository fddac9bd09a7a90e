//! Writes a `Master.csv` of any size whose right answer is known: what `make bench` imports.
//!
//! `cdrgen FILE --rows N [--mix office|ringgroups] [--columns 21|18] [--seed S] [--days D --until SECONDS] [--queue-log FILE]`
//! writes FILE, and beside it FILE.json with the number of rows, of calls, and of calls by direction and outcome. The same
//! arguments give the same bytes. The calls are those of 2025, or begin in the D days before a moment in seconds since 1970 and are N rows at most. A queue
//! log tells of the same calls.

mod call;
mod queue;
mod random;
mod row;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use call::Mix;
use random::Random;
use row::{Columns, Row};

/// 2025-01-06T00:00:00Z, a Monday.
const FIRST_SECOND: u64 = 1_736_121_600;

/// How busy each hour of a working day is, in thousandths of the busiest.
const HOURS: [u64; 24] =
    [8, 5, 4, 4, 5, 12, 60, 250, 700, 950, 1000, 930, 640, 800, 960, 900, 780, 520, 240, 120, 80, 50, 25, 14];

struct Arguments {
    file: PathBuf,
    rows: u64,
    mix: Mix,
    columns: Columns,
    seed: u64,
    first_second: u64,
    /// No call begins from here on, even if that makes them fewer.
    until: u64,
    days: u64,
    queue_log: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = parse(std::env::args().skip(1))?;
    let mut out = BufWriter::with_capacity(
        1 << 20,
        File::create(&arguments.file).with_context(|| format!("cannot write {}", arguments.file.display()))?,
    );
    let answer = generate(&arguments, &mut out)?;
    out.flush()?;
    let mut name = arguments.file.into_os_string();
    name.push(".json");
    std::fs::write(&name, serde_json::to_vec_pretty(&answer)?)
        .with_context(|| format!("cannot write {}", PathBuf::from(name).display()))
}

fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let usage = "cdrgen FILE --rows N [--mix office|ringgroups] [--columns 21|18] [--seed S] [--days D --until SECONDS] \
                 [--queue-log FILE]";
    let file = words.next().filter(|word| !word.starts_with('-')).context(usage)?.into();
    let mut arguments = Arguments {
        file,
        rows: 0,
        mix: Mix::Office,
        columns: Columns::TwentyOne,
        seed: 1,
        first_second: FIRST_SECOND,
        until: u64::MAX,
        days: 365,
        queue_log: None,
    };
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} has no value; {usage}"))?;
        match (name.as_str(), value.as_str()) {
            ("--rows", number) => arguments.rows = number.parse().context("--rows is a number")?,
            ("--seed", number) => arguments.seed = number.parse().context("--seed is a number")?,
            ("--mix", "office") => arguments.mix = Mix::Office,
            ("--mix", "ringgroups") => arguments.mix = Mix::RingGroups,
            ("--columns", "21") => arguments.columns = Columns::TwentyOne,
            ("--columns", "18") => arguments.columns = Columns::Eighteen,
            ("--days", number) => arguments.days = number.parse().context("--days is a number")?,
            ("--until", number) => arguments.until = number.parse().context("--until is a number")?,
            ("--queue-log", file) => arguments.queue_log = Some(file.into()),
            _ => bail!("{name} {value} is not known; {usage}"),
        }
    }
    if arguments.rows == 0 {
        bail!("--rows is missing; {usage}");
    }
    if arguments.until < u64::MAX {
        arguments.first_second = arguments.until.saturating_sub(arguments.days * 86_400);
    }
    Ok(arguments)
}

/// Calls arrive through a year of working days and nights; rows are written in the order in which legs end, as
/// Asterisk does it, so that calls under way at the same time lie mixed in the file.
fn generate(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<serde_json::Value> {
    let mut random = Random::new(arguments.seed);
    let mut pending: BinaryHeap<Reverse<Row>> = BinaryHeap::new();
    let (mut rows, mut calls) = (0_u64, 0_u64);
    let mut cells: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut line = Vec::with_capacity(512);
    let mut clock = Clock::new(arguments);
    let mut queue_log = Vec::new();
    while rows < arguments.rows {
        let now = clock.next_arrival(&mut random);
        if now >= arguments.until {
            break;
        }
        while let Some(Reverse(row)) = pending.peek() {
            if row.end > now {
                break;
            }
            row.write(arguments.columns, &mut line);
            out.write_all(&line)?;
            pending.pop();
        }
        let room = arguments.rows - rows;
        let (cell, legs) = call::make(arguments.mix, calls, now, room, &mut random);
        rows += legs.len() as u64;
        calls += 1;
        *cells.entry(cell).or_default() += 1;
        queue_log.extend(queue::events(&legs));
        pending.extend(legs.into_iter().map(Reverse));
    }
    while let Some(Reverse(row)) = pending.pop() {
        row.write(arguments.columns, &mut line);
        out.write_all(&line)?;
    }
    if let Some(file) = &arguments.queue_log {
        queue_log.sort();
        let text: String = queue_log.iter().map(|(_, line)| line.as_str()).collect();
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(serde_json::json!({ "rows": rows, "calls": calls, "cells": cells }))
}

/// When calls arrive.
struct Clock {
    first_second: u64,
    /// Milliseconds since then.
    now: u64,
    /// Mean time between two calls in the busiest hour, in milliseconds.
    busiest_gap: u64,
}

impl Clock {
    /// Spreads the rows over the days, about.
    fn new(arguments: &Arguments) -> Self {
        let calls = arguments.rows * 1000 / arguments.mix.rows_per_thousand_calls();
        let working_days = arguments.days * 261 / 365;
        let busy_hours = HOURS.iter().sum::<u64>() * working_days / 1000;
        let busiest_gap = (busy_hours * 3_600_000 / calls.max(1)).clamp(1, 3_600_000);
        Self { first_second: arguments.first_second, now: 0, busiest_gap }
    }

    /// The second of the next call.
    fn next_arrival(&mut self, random: &mut Random) -> u64 {
        loop {
            // Thinning: candidates come at the busiest hour's rate, and each stays with its own hour's chance.
            self.now += random.below(2 * self.busiest_gap) + 1;
            let second = self.first_second + self.now / 1000;
            let hour = second / 3600;
            // 1970 began on a Thursday.
            let weekend = (hour / 24 + 3) % 7 >= 5;
            let chance = HOURS[(hour % 24) as usize] / if weekend { 12 } else { 1 };
            if random.below(1000) < chance.max(1) {
                return second;
            }
        }
    }
}
