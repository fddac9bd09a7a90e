//! The privacy floor: groups the calls of a window so that every published group counts at least k of them.
//!
//! Everything here is a pure function of the counts in a [`Tally`] and of k.
//!
//! # How calls are grouped
//! - **Hours**: contiguous bands from the left, each grown until it holds k; a rest that stays below k joins the
//!   band before it. A window of seven days begins with bands of two hours, which bounds the report's length.
//! - **Direction and outcome**, inside each band, along a fixed tree: all → 3 directions → 4 branches
//!   ([`Cell::branch`]) → outcomes. Children below k (empty ones too) are pooled into one group; a pool that is
//!   itself below k takes in its smallest sibling, with everything below it.
//! - **Talk and waiting time**: adjacent buckets merge from the left until each holds k; a rest joins the last group.
//! - **Destination**: not outbound, and outbound; outbound is split in national and international if both hold k.
//! - **Quality**: as talk time, along the order of the bands; nothing at all where no call was measured.
//!
//! # What holds
//! - Every group counts at least k calls, and the groups of a table are disjoint and count *all* calls of the
//!   window. So the difference of two tables' sums is always nothing, and no sum stands beside its parts.
//! - Two tables speak about the same calls, and what one knows about another's words could give a small remainder
//!   away. Two such rules hold by definition, and both remainders are kept at k or above:
//!   unanswered calls have talk time 0, so that "shortest talk times less unanswered calls" are the short
//!   conversations: a talk (or quality) group is large enough only when it holds k calls *that had somebody or
//!   something answer them*. And outbound calls are exactly the national and international ones, so that "outbound
//!   by destination less outbound groups by volume" are the outbound calls hidden in mixed groups of some quiet hours:
//!   the destinations are told apart only when the mixed groups hold k calls of either sort (or there are none).
//! - A call is counted in one window only, windows do not overlap, and nothing is corrected later: neighbouring
//!   reports have no call in common, so that subtracting one from another isolates nobody. This holds as long as
//!   the caller makes at most one report of a window; the gate sees single reports.
//!
//! # What does not
//! - Groups show that something was below k: a band of eight night hours says that its first seven held fewer than
//!   k calls, and a pool that took in a sibling counts fewer than (sum − k) calls besides that sibling. The reader
//!   learns bounds of this kind, never which of the pooled cells the calls belong to.
//! - A missing report says that fewer than k calls waited, or that uploads are off, or that the machine was down.
//! - The greatest number of simultaneous calls is no group; it is published as it is.
//! - Who knows all calls of a group but one knows that one too. k-anonymity does not promise otherwise.

use std::{collections::BTreeMap, ops::Range};

use demarc_proto::{
    Cell, Direction, Outcome,
    report::{
        Destination, DestinationGroup, Quality, QualityGroup, SecondsGroup, TALK_BOUNDS, VolumeGroup, WAIT_BOUNDS,
    },
};

use crate::tally::{Tally, TallyKey};

/// A report has at most this many hour bands; with every cell in a group of its own it still fits a frame.
const MOST_BANDS: u16 = 84;

/// The tables of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// See [`demarc_proto::Report::volume`].
    pub volume: Vec<VolumeGroup>,
    /// See [`demarc_proto::Report::talk`].
    pub talk: Vec<SecondsGroup>,
    /// See [`demarc_proto::Report::wait`].
    pub wait: Vec<SecondsGroup>,
    /// See [`demarc_proto::Report::destination`].
    pub destination: Vec<DestinationGroup>,
    /// See [`demarc_proto::Report::quality`].
    pub quality: Vec<QualityGroup>,
}

/// The tables of that window, each group at `k` or above; `None` when the window holds fewer than `k` calls.
pub fn tables(tally: &Tally, k: u32) -> Option<Tables> {
    let k = u64::from(k.max(1));
    let calls = countable(tally);
    if calls.iter().map(|&(_, calls)| calls).sum::<u64>() < k {
        return None;
    }
    let volume = volume(&calls, usize::from(tally.window.hours()), k);
    let destination = destination(&calls, &volume, k);
    Some(Tables {
        talk: seconds(&TALK_BOUNDS, &histogram(&calls, |key| usize::from(key.talk)), k),
        wait: seconds(&WAIT_BOUNDS, &plain(histogram(&calls, |key| usize::from(key.wait))), k),
        quality: quality(&calls, k),
        destination,
        volume,
    })
}

/// The calls with their counts. A report's counts have 32 bits: of more calls than that only the first are
/// counted, the same in every table.
fn countable(tally: &Tally) -> Vec<(TallyKey, u64)> {
    let last_hour = tally.window.hours() - 1;
    let mut room = u64::from(u32::MAX);
    let mut counted = Vec::with_capacity(tally.calls.len());
    for (key, &calls) in &tally.calls {
        let calls = u64::from(calls).min(room);
        room -= calls;
        // What contradicts the direction would break the tie between volume and destination that the rules rely on.
        let destination = match (key.cell.direction, key.destination) {
            (Direction::Outbound, Destination::NotOutbound) => Destination::National,
            (Direction::Outbound, told) => told,
            _ => Destination::NotOutbound,
        };
        counted.push((TallyKey { hour: key.hour.min(last_hour), destination, ..*key }, calls));
    }
    counted
}

/// A count as it is published; [`countable`] saw to it that it fits.
fn published(calls: u64) -> u32 {
    u32::try_from(calls).unwrap_or(u32::MAX)
}

type Counts = [u64; Cell::COUNT];

fn volume(calls: &[(TallyKey, u64)], hours: usize, k: u64) -> Vec<VolumeGroup> {
    let mut by_hour: Vec<Counts> = vec![[0; Cell::COUNT]; hours];
    for (key, calls) in calls {
        by_hour[usize::from(key.hour)][key.cell.index()] += calls;
    }
    let sums: Vec<u64> = by_hour.iter().map(|counts| counts.iter().sum()).collect();
    let least_hours = hours.div_ceil(usize::from(MOST_BANDS));
    let mut groups = Vec::new();
    for band in runs(&sums, k, least_hours) {
        let mut counts: Counts = [0; Cell::COUNT];
        for hour in &by_hour[band.clone()] {
            counts.iter_mut().zip(hour).for_each(|(sum, calls)| *sum += calls);
        }
        for cells in Node::Root.groups(&counts, k) {
            groups.push(VolumeGroup {
                from_hour: u16::try_from(band.start).expect("a window has at most 168 hours"),
                hours: u16::try_from(band.len()).expect("a window has at most 168 hours"),
                calls: published(cells.iter().map(|cell| counts[cell.index()]).sum()),
                cells,
            });
        }
    }
    groups
}

/// Runs of neighbours, each grown from the left until it holds `k` and `least` places; a rest joins the run before it.
fn runs(weights: &[u64], k: u64, least: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (place, weight) in weights.iter().enumerate() {
        held += weight;
        if held >= k && place + 1 - start >= least {
            runs.push(start..place + 1);
            (start, held) = (place + 1, 0);
        }
    }
    match runs.last_mut() {
        Some(last) => last.end = weights.len(),
        None => runs.push(0..weights.len()),
    }
    runs
}

/// A place in the fixed tree of directions and outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Root,
    Direction(Direction),
    Branch(Direction, usize),
    Leaf(Cell),
}

impl Node {
    fn children(self) -> Vec<Node> {
        let mut children = match self {
            Self::Root => Direction::ALL.map(Self::Direction).to_vec(),
            Self::Direction(direction) => {
                Outcome::ALL.map(|outcome| Self::Branch(direction, Cell::branch(outcome))).to_vec()
            }
            Self::Branch(direction, branch) => Outcome::ALL
                .into_iter()
                .filter(|&outcome| Cell::branch(outcome) == branch)
                .map(|outcome| Self::Leaf(Cell { direction, outcome }))
                .collect(),
            Self::Leaf(_) => Vec::new(),
        };
        // Outcomes of one branch stand side by side.
        children.dedup();
        children
    }

    fn cells(self) -> Vec<Cell> {
        match self {
            Self::Leaf(cell) => vec![cell],
            _ => self.children().into_iter().flat_map(Self::cells).collect(),
        }
    }

    fn calls(self, counts: &Counts) -> u64 {
        self.cells().iter().map(|cell| counts[cell.index()]).sum()
    }

    /// The groups below a node that holds at least `k` calls, in the order of their first cells.
    fn groups(self, counts: &Counts, k: u64) -> Vec<Vec<Cell>> {
        let children = self.children();
        if children.is_empty() {
            return vec![self.cells()];
        }
        let weights: Vec<u64> = children.iter().map(|child| child.calls(counts)).collect();
        let (pool, apart) = pool(&weights, k);
        let mut groups: Vec<Vec<Cell>> =
            apart.into_iter().flat_map(|child| children[child].groups(counts, k)).collect();
        if !pool.is_empty() {
            groups.push(pool.into_iter().flat_map(|child| children[child].cells()).collect());
        }
        groups.sort();
        groups
    }
}

/// Which of some siblings, that hold `k` together, form one group (those below `k`, and if these are too few the
/// smallest other one, the first of equals), and which stay apart. Both in order.
fn pool(weights: &[u64], k: u64) -> (Vec<usize>, Vec<usize>) {
    let (mut pool, mut apart): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|&place| weights[place] < k);
    let held: u64 = pool.iter().map(|&place| weights[place]).sum();
    let smallest = apart.iter().copied().min_by_key(|&place| weights[place]);
    if let Some(smallest) = smallest.filter(|_| !pool.is_empty() && held < k) {
        apart.retain(|&place| place != smallest);
        pool.push(smallest);
        pool.sort_unstable();
    }
    (pool, apart)
}

/// One place of a histogram.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// All calls, as they are published.
    calls: u64,
    /// Those of them that count towards the floor.
    weight: u64,
}

/// Counts calls by a place, at most eight of them; only calls that somebody or something answered count towards the
/// floor: for the others the place follows from the outcome.
fn histogram(calls: &[(TallyKey, u64)], place: impl Fn(&TallyKey) -> usize) -> [Bucket; 8] {
    let mut buckets = [Bucket::default(); 8];
    for (key, calls) in calls {
        let bucket = &mut buckets[place(key).min(7)];
        bucket.calls += calls;
        if matches!(key.cell.outcome, Outcome::Answered | Outcome::Voicemail | Outcome::System) {
            bucket.weight += calls;
        }
    }
    buckets
}

/// The same histogram with every call counted towards the floor.
fn plain(buckets: [Bucket; 8]) -> [Bucket; 8] {
    buckets.map(|bucket| Bucket { weight: bucket.calls, ..bucket })
}

/// Merges the first `places` buckets; what stands beyond them belongs to the last of them.
fn merged(buckets: &[Bucket; 8], places: usize, k: u64) -> Vec<(Range<usize>, u32)> {
    let mut weights = vec![0; places];
    let mut calls = vec![0; places];
    for (place, bucket) in buckets.iter().enumerate() {
        weights[place.min(places - 1)] += bucket.weight;
        calls[place.min(places - 1)] += bucket.calls;
    }
    runs(&weights, k, 1).into_iter().map(|run| (run.clone(), published(calls[run].iter().sum()))).collect()
}

fn seconds(bounds: &[u32], buckets: &[Bucket; 8], k: u64) -> Vec<SecondsGroup> {
    let groups = merged(buckets, bounds.len(), k).into_iter();
    groups
        .map(|(run, calls)| SecondsGroup {
            from_seconds: bounds[run.start],
            to_seconds: bounds.get(run.end).copied(),
            calls,
        })
        .collect()
}

fn quality(calls: &[(TallyKey, u64)], k: u64) -> Vec<QualityGroup> {
    if calls.iter().all(|(key, _)| key.quality == Quality::Unknown) {
        return Vec::new();
    }
    let buckets = histogram(calls, |key| key.quality as usize);
    let groups = merged(&buckets, Quality::ALL.len(), k).into_iter();
    groups.map(|(run, calls)| QualityGroup { bands: Quality::ALL[run].to_vec(), calls }).collect()
}

fn destination(calls: &[(TallyKey, u64)], volume: &[VolumeGroup], k: u64) -> Vec<DestinationGroup> {
    let mut counts: BTreeMap<Destination, u64> = Destination::ALL.into_iter().map(|class| (class, 0)).collect();
    for (key, calls) in calls {
        *counts.entry(key.destination).or_default() += calls;
    }
    let group = |classes: &[Destination]| DestinationGroup {
        classes: classes.to_vec(),
        calls: published(classes.iter().map(|class| counts[class]).sum()),
    };
    let outbound = [Destination::National, Destination::International];
    if !direction_may_be_told(calls, volume, k) {
        return vec![group(&Destination::ALL)];
    }
    let mut groups = vec![group(&[Destination::NotOutbound])];
    match outbound.iter().all(|class| counts[class] >= k) {
        true => groups.extend(outbound.iter().map(|class| group(&[*class]))),
        false => groups.push(group(&outbound)),
    }
    groups
}

/// Whether the window's number of outbound calls may be published beside the volume table: the groups there that
/// mix outbound calls with others must hold `k` of each sort, or there must be none.
fn direction_may_be_told(calls: &[(TallyKey, u64)], volume: &[VolumeGroup], k: u64) -> bool {
    let is_outbound = |cell: &Cell| cell.direction == Direction::Outbound;
    let mixed: Vec<&VolumeGroup> = volume
        .iter()
        .filter(|group| group.cells.iter().any(is_outbound) && !group.cells.iter().all(is_outbound))
        .collect();
    let (mut out, mut other) = (0, 0);
    for (key, calls) in calls {
        let hidden = mixed.iter().any(|group| {
            (group.from_hour..group.from_hour + group.hours).contains(&key.hour) && group.cells.contains(&key.cell)
        });
        match (hidden, is_outbound(&key.cell)) {
            (false, _) => {}
            (true, true) => out += calls,
            (true, false) => other += calls,
        }
    }
    mixed.is_empty() || (out >= k && other >= k)
}
