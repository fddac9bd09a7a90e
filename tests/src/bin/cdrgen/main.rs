//! Writes a `Master.csv` of any size whose right answer is known: what `make bench` imports.
//!
//! `cdrgen FILE --rows N [--mix office|ringgroups] [--columns 21|18] [--seed S]` writes FILE, and beside it
//! FILE.json with the number of rows, of calls, and of calls by direction and outcome. The same arguments give
//! the same bytes.

mod call;
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
    let usage = "cdrgen FILE --rows N [--mix office|ringgroups] [--columns 21|18] [--seed S]";
    let file = words.next().filter(|word| !word.starts_with('-')).context(usage)?.into();
    let mut arguments = Arguments { file, rows: 0, mix: Mix::Office, columns: Columns::TwentyOne, seed: 1 };
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} has no value; {usage}"))?;
        match (name.as_str(), value.as_str()) {
            ("--rows", number) => arguments.rows = number.parse().context("--rows is a number")?,
            ("--seed", number) => arguments.seed = number.parse().context("--seed is a number")?,
            ("--mix", "office") => arguments.mix = Mix::Office,
            ("--mix", "ringgroups") => arguments.mix = Mix::RingGroups,
            ("--columns", "21") => arguments.columns = Columns::TwentyOne,
            ("--columns", "18") => arguments.columns = Columns::Eighteen,
            _ => bail!("{name} {value} is not known; {usage}"),
        }
    }
    if arguments.rows == 0 {
        bail!("--rows is missing; {usage}");
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
    let mut clock = Clock::new(arguments.rows, arguments.mix);
    while rows < arguments.rows {
        let now = clock.next_arrival(&mut random);
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
        pending.extend(legs.into_iter().map(Reverse));
    }
    while let Some(Reverse(row)) = pending.pop() {
        row.write(arguments.columns, &mut line);
        out.write_all(&line)?;
    }
    Ok(serde_json::json!({ "rows": rows, "calls": calls, "cells": cells }))
}

/// When calls arrive.
struct Clock {
    /// Milliseconds since [`FIRST_SECOND`].
    now: u64,
    /// Mean time between two calls in the busiest hour, in milliseconds.
    busiest_gap: u64,
}

impl Clock {
    /// Spreads that many rows over about a year.
    fn new(rows: u64, mix: Mix) -> Self {
        let calls = rows * 1000 / mix.rows_per_thousand_calls();
        let busy_hours_a_year = HOURS.iter().sum::<u64>() * 261 / 1000;
        Self { now: 0, busiest_gap: (busy_hours_a_year * 3_600_000 / calls.max(1)).clamp(1, 3_600_000) }
    }

    /// The second of the next call.
    fn next_arrival(&mut self, random: &mut Random) -> u64 {
        loop {
            // Thinning: candidates come at the busiest hour's rate, and each stays with its own hour's chance.
            self.now += random.below(2 * self.busiest_gap) + 1;
            let hour = self.now / 3_600_000;
            let weekend = hour / 24 % 7 >= 5;
            let chance = HOURS[(hour % 24) as usize] / if weekend { 12 } else { 1 };
            if random.below(1000) < chance.max(1) {
                return FIRST_SECOND + self.now / 1000;
            }
        }
    }
}
