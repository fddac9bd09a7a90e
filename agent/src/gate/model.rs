//! The privacy floor a second time, slowly and in another way, to test the first against.
//!
//! Here a table is a set of sets that begins as finely as it can be and is rewritten, one small step at a time,
//! until no rule asks for another step. Counts are taken anew from the single calls at each step.

use std::collections::BTreeSet;

use demarc_proto::{
    Cell, Direction, Outcome, Report, ReportId, Window, WindowLength,
    report::{Destination, Quality, TALK_BOUNDS, WAIT_BOUNDS},
};
use proptest::prelude::*;

use crate::{
    report::build,
    tally::{Tally, TallyKey},
};

type Set<T> = BTreeSet<T>;

/// Every call by itself.
fn calls_of(tally: &Tally) -> Vec<TallyKey> {
    tally.calls.iter().flat_map(|(key, &calls)| std::iter::repeat_n(*key, calls as usize)).collect()
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> Set<T> {
    items.into_iter().collect()
}

/// Melts all groups that touch `words` into one.
fn melt<T: Ord + Copy>(groups: &mut Set<Set<T>>, words: &Set<T>) {
    let (touched, rest): (Vec<_>, Vec<_>) =
        std::mem::take(groups).into_iter().partition(|group| !group.is_disjoint(words));
    groups.extend(rest);
    groups.insert(touched.into_iter().flatten().collect());
}

/// Neighbours that are too small melt with the next one, the last with the one before it, until none is too small.
fn melt_neighbours<T: Ord + Copy>(places: &[T], too_small: impl Fn(&Set<T>) -> bool) -> Set<Set<T>> {
    let mut groups: Set<Set<T>> = places.iter().map(|&place| set([place])).collect();
    while groups.len() > 1 {
        let in_order: Vec<&Set<T>> = groups.iter().collect();
        let Some(found) = in_order.iter().position(|group| too_small(group)) else { break };
        let neighbour = if found + 1 < in_order.len() { found + 1 } else { found - 1 };
        let both = in_order[found] | in_order[neighbour];
        melt(&mut groups, &both);
    }
    groups
}

/// The inner nodes of the tree, each as the sets of cells below its children; the deepest nodes first.
fn tree() -> Vec<Vec<Set<Cell>>> {
    let branch =
        |direction, branch| set(Cell::all().filter(|c| c.direction == direction && Cell::branch(c.outcome) == branch));
    let mut nodes = Vec::new();
    for direction in Direction::ALL {
        for number in 0..4 {
            nodes.push(branch(direction, number).into_iter().map(|cell| set([cell])).collect());
        }
    }
    for direction in Direction::ALL {
        nodes.push((0..4).map(|number| branch(direction, number)).collect());
    }
    nodes.push(Direction::ALL.map(|direction| set(Cell::all().filter(|c| c.direction == direction))).to_vec());
    nodes
}

/// Bottom up: at each node, children below k melt; if they are still below k, the smallest of the others melts in.
fn cells(calls: &[TallyKey], k: usize) -> Set<Set<Cell>> {
    let count = |cells: &Set<Cell>| calls.iter().filter(|call| cells.contains(&call.cell)).count();
    let mut groups: Set<Set<Cell>> = Cell::all().map(|cell| set([cell])).collect();
    for children in tree() {
        let mut small: Set<Cell> = children.iter().filter(|child| count(child) < k).flatten().copied().collect();
        if small.is_empty() {
            continue;
        }
        if count(&small) < k {
            let mut others: Vec<&Set<Cell>> = children.iter().filter(|child| count(child) >= k).collect();
            others.sort_by_key(|child| (count(child), (*child).clone()));
            small.extend(others.first().copied().into_iter().flatten());
        }
        melt(&mut groups, &small);
    }
    groups
}

/// A report's tables, without any order.
#[derive(Debug, PartialEq, Eq)]
struct Tables {
    volume: Set<(u16, u16, Set<Cell>, u32)>,
    talk: Set<(Set<usize>, u32)>,
    wait: Set<(Set<usize>, u32)>,
    destination: Set<(Set<Destination>, u32)>,
    quality: Set<(Set<Quality>, u32)>,
}

fn answered(call: &TallyKey) -> bool {
    [Outcome::Answered, Outcome::Voicemail, Outcome::System].contains(&call.cell.outcome)
}

fn model(tally: &Tally, k: usize) -> Option<Tables> {
    let calls = calls_of(tally);
    if calls.len() < k {
        return None;
    }
    let count = |rule: &dyn Fn(&TallyKey) -> bool| calls.iter().filter(|call| rule(call)).count();
    let total = |rule: &dyn Fn(&TallyKey) -> bool| count(rule) as u32;

    let hours: Vec<u16> = (0..tally.window.hours()).collect();
    let least = if hours.len() > 24 { 2 } else { 1 };
    let bands = melt_neighbours(&hours, |band| band.len() < least || count(&|call| band.contains(&call.hour)) < k);
    let mut volume = Set::new();
    for band in bands {
        let inside: Vec<TallyKey> = calls.iter().filter(|call| band.contains(&call.hour)).copied().collect();
        for group in cells(&inside, k) {
            let calls = inside.iter().filter(|call| group.contains(&call.cell)).count() as u32;
            volume.insert((*band.first().unwrap(), band.len() as u16, group, calls));
        }
    }

    let histogram =
        |places: usize, place: fn(&TallyKey) -> usize, counts: fn(&TallyKey) -> bool| -> Set<(Set<usize>, u32)> {
            let places: Vec<usize> = (0..places).collect();
            melt_neighbours(&places, |group| count(&|call| counts(call) && group.contains(&place(call))) < k)
                .into_iter()
                .map(|group| (group.clone(), total(&|call| group.contains(&place(call)))))
                .collect()
        };
    let talk = histogram(8, |call| call.talk.into(), answered);
    let wait = histogram(7, |call| call.wait.into(), |_| true);
    let quality = match calls.iter().any(|call| call.quality != Quality::Unknown) {
        true => histogram(6, |call| call.quality as usize, answered)
            .into_iter()
            .map(|(bands, calls)| (set(bands.into_iter().map(|band| Quality::ALL[band])), calls))
            .collect(),
        false => Set::new(),
    };

    // What a reader who knew the number of outbound calls could compute: how many hide in mixed groups.
    let outbound = |call: &TallyKey| call.cell.direction == Direction::Outbound;
    let pure = |wanted: bool| -> usize {
        let pure = volume
            .iter()
            .filter(|(_, _, cells, _)| cells.iter().all(|cell| (cell.direction == Direction::Outbound) == wanted));
        pure.map(|(_, _, _, calls)| *calls as usize).sum()
    };
    let all_pure = volume.iter().all(|(_, _, cells, _)| {
        cells.iter().map(|cell| cell.direction == Direction::Outbound).collect::<Set<bool>>().len() == 1
    });
    let hidden_out = count(&outbound) - pure(true);
    let hidden_other = count(&|call| !outbound(call)) - pure(false);
    let mut classes: Set<Set<Destination>> = Destination::ALL.map(|class| set([class])).into();
    let abroad = count(&|call| call.destination == Destination::International);
    let national = count(&|call| call.destination == Destination::National);
    if abroad < k || national < k {
        melt(&mut classes, &set([Destination::National, Destination::International]));
    }
    if !all_pure && (hidden_out < k || hidden_other < k) {
        melt(&mut classes, &set(Destination::ALL));
    }
    let destination = classes
        .into_iter()
        .map(|classes| (classes.clone(), total(&|call| classes.contains(&call.destination))))
        .collect();
    Some(Tables { volume, talk, wait, destination, quality })
}

fn tables_of(report: &Report) -> Tables {
    let places = |groups: &[demarc_proto::report::SecondsGroup], bounds: &[u32]| {
        let inside = |from: u32, to: Option<u32>| {
            (0..bounds.len()).filter(move |&place| bounds[place] >= from && to.is_none_or(|to| bounds[place] < to))
        };
        groups.iter().map(|group| (set(inside(group.from_seconds, group.to_seconds)), group.calls)).collect()
    };
    Tables {
        volume: report.volume.iter().map(|g| (g.from_hour, g.hours, set(g.cells.iter().copied()), g.calls)).collect(),
        talk: places(&report.talk, &TALK_BOUNDS),
        wait: places(&report.wait, &WAIT_BOUNDS),
        destination: report.destination.iter().map(|g| (set(g.classes.iter().copied()), g.calls)).collect(),
        quality: report.quality.iter().map(|g| (set(g.bands.iter().copied()), g.calls)).collect(),
    }
}

fn id() -> ReportId {
    ReportId::from_bits([7; 16])
}

fn window(length: &str) -> Window {
    length.parse::<WindowLength>().unwrap().window_at(1_795_309_295)
}

prop_compose! {
    /// A call as the pipeline tells it: its class fits its direction, and it has talk time only if answered.
    fn call(hours: u16)(
        hour in 0..hours, cell in 0..Cell::COUNT, talk in 0u8..8, wait in 0u8..7, abroad in 0..5, quality in 0usize..6,
    ) -> TallyKey {
        let cell = Cell::from_index(cell).unwrap();
        let destination = match (cell.direction, abroad) {
            (Direction::Outbound, 0) => Destination::International,
            (Direction::Outbound, _) => Destination::National,
            _ => Destination::NotOutbound,
        };
        let key = TallyKey { hour, cell, talk, wait, destination, quality: Quality::ALL[quality] };
        TallyKey { talk: if answered(&key) { talk } else { 0 }, ..key }
    }
}

/// Tallies of several kinds: a handful of keys, quiet nights, one key that outweighs all, everything spread thin.
fn tallies() -> impl Strategy<Value = Tally> {
    let shapes = prop_oneof![Just(("1d", 24u16)), Just(("1h", 1)), Just(("1m", 1)), Just(("6h", 6)), Just(("7d", 168))];
    (shapes, 0..5).prop_flat_map(|((length, hours), kind)| {
        let (keys, most) = match kind {
            0 => (0..6usize, 60u32),
            1 => (0..40, 4),
            2 => (20..80, 12),
            3 => (0..10, 300),
            _ => (60..160, 3),
        };
        let measured = any::<bool>();
        (proptest::collection::vec((call(hours), 1..=most), keys), measured, any::<bool>(), 0..50u32).prop_map(
            move |(pairs, measured, night, peak_concurrency)| {
                let mut calls = std::collections::BTreeMap::new();
                for (mut key, count) in pairs {
                    // Quiet nights: most of what would fall there happens by day.
                    if night && hours == 24 && !(8..18).contains(&key.hour) && count > 1 {
                        key.hour = 8 + key.hour % 10;
                    }
                    if !measured {
                        key.quality = Quality::Unknown;
                    }
                    *calls.entry(key).or_insert(0) += count;
                }
                Tally { window: window(length), calls, peak_concurrency }
            },
        )
    })
}

fn groups_of(report: &Report) -> Vec<u32> {
    let volume = report.volume.iter().map(|group| group.calls);
    let seconds = report.talk.iter().chain(&report.wait).map(|group| group.calls);
    let words =
        report.destination.iter().map(|group| group.calls).chain(report.quality.iter().map(|group| group.calls));
    volume.chain(seconds).chain(words).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_floor_is_what_the_model_says(tally in tallies(), k in 2u32..=50) {
        let report = build(&tally, id(), k);
        prop_assert_eq!(report.as_ref().map(tables_of), model(&tally, k as usize));
        if let Some(report) = report {
            prop_assert_eq!(report.check(k), Ok(()));
            prop_assert_eq!(report.calls(), tally.total());
            prop_assert!(Report::from_body(&report.to_body()).is_ok());
        }
    }

    #[test]
    fn no_neighbouring_tally_has_a_small_group_either(tally in tallies(), k in 2u32..=20, which in any::<prop::sample::Index>()) {
        prop_assume!(!tally.calls.is_empty());
        let key = *which.get(&tally.calls.keys().collect::<Vec<_>>());
        let (mut less, mut more) = (tally.clone(), tally.clone());
        match less.calls[key] {
            1 => drop(less.calls.remove(key)),
            calls => drop(less.calls.insert(*key, calls - 1)),
        }
        more.calls.insert(*key, tally.calls[key] + 1);
        for neighbour in [less, more] {
            match build(&neighbour, id(), k) {
                Some(report) => prop_assert!(groups_of(&report).into_iter().all(|calls| calls >= k)),
                None => prop_assert!(neighbour.total() < u64::from(k)),
            }
        }
    }

    #[test]
    fn only_counts_matter(tally in tallies(), k in 2u32..=20) {
        let mut again = Tally { window: tally.window, calls: Default::default(), peak_concurrency: tally.peak_concurrency };
        for key in calls_of(&tally).into_iter().rev() {
            *again.calls.entry(key).or_insert(0) += 1;
        }
        prop_assert_eq!(build(&again, id(), k), build(&tally, id(), k));
    }

    #[test]
    fn no_difference_between_tables_is_small(tally in tallies(), k in 2u32..=20) {
        let Some(report) = build(&tally, id(), k) else { return Ok(()) };
        let sum = |wanted: &dyn Fn(&Cell) -> bool| -> u64 {
            report.volume.iter().filter(|g| g.cells.iter().all(wanted)).map(|g| u64::from(g.calls)).sum()
        };
        // Where every group of the volume table is purely one or the other, the reader knows both sums exactly.
        let pure = |wanted: &dyn Fn(&Cell) -> bool| report.volume.iter().all(|g| g.cells.iter().map(wanted).collect::<Set<_>>().len() == 1);
        let unanswered = |cell: &Cell| matches!(cell.outcome, Outcome::NoAnswer | Outcome::Busy | Outcome::Failed);
        if pure(&unanswered) {
            let short = u64::from(report.talk[0].calls) - sum(&unanswered);
            prop_assert!(short >= u64::from(k) || report.talk.len() == 1, "{short} short talks");
        }
        if report.destination.len() > 1 {
            let outbound = |cell: &Cell| cell.direction == Direction::Outbound;
            let told: u64 = report.destination.iter().filter(|g| g.classes != [Destination::NotOutbound]).map(|g| u64::from(g.calls)).sum();
            let hidden = told - sum(&outbound);
            let mixed = !pure(&outbound);
            prop_assert!(hidden >= u64::from(k) || (hidden == 0 && !mixed), "{hidden} hidden outbound calls");
        }
    }

    #[test]
    fn any_tally_at_all_passes_the_check(
        pairs in proptest::collection::vec((any::<u16>(), 0..Cell::COUNT, any::<u8>(), any::<u8>(), 0usize..3, 0usize..6, any::<u32>()), 0..60),
        k in 0u32..=50,
    ) {
        // What contradicts itself, lies outside its tables or is beyond 32 bits still makes a sound report.
        let calls = pairs.into_iter().map(|(hour, cell, talk, wait, destination, quality, calls)| {
            let (cell, quality) = (Cell::from_index(cell).unwrap(), Quality::ALL[quality]);
            (TallyKey { hour, cell, talk, wait, destination: Destination::ALL[destination], quality }, calls)
        });
        let tally = Tally { window: window("1d"), calls: calls.collect(), peak_concurrency: u32::MAX };
        if let Some(report) = build(&tally, id(), k) {
            prop_assert_eq!(report.check(k), Ok(()));
        }
    }
}

#[test]
fn a_busy_week_fits_a_body() {
    let key = |hour, cell| TallyKey {
        hour,
        cell,
        talk: 0,
        wait: 0,
        destination: Destination::National,
        quality: Quality::Best,
    };
    let calls = (0..168).flat_map(|hour| Cell::all().map(move |cell| (key(hour, cell), 1_200_000))).collect();
    let report = build(&Tally { window: window("7d"), calls, peak_concurrency: u32::MAX }, id(), 10).unwrap();
    assert_eq!(report.volume.len(), 84 * Cell::COUNT);
    assert!(Report::from_body(&report.to_body()).is_ok());
}
