//! Which file to read next, and from where: pure decisions about what a survey found.

use std::cmp::Reverse;

use super::{
    super::position::{Mark, Position},
    survey::{Age, Facts, Kind, Survey},
};

/// Where reading goes on; files by their place in the survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At that offset of that file.
    At {
        /// The file.
        file: usize,
        /// Where a row begins.
        offset: u64,
    },
    /// At the end of that file: it is the one that was read, cut shorter.
    AtEndOf {
        /// The file.
        file: usize,
    },
    /// Nowhere yet.
    Wait,
}

/// Whether rows can have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// No: the file was found.
    Nothing,
    /// Those in a compressed file.
    InCompressed {
        /// The file.
        file: usize,
    },
    /// Those in a file that is gone, if there were any.
    Unknown,
}

/// Where to go on after a restart, or after the file changed under our feet.
pub(super) fn resume(position: &Position, survey: &Survey) -> (Next, Missed) {
    let live = || survey.live().map_or(Next::Wait, |file| Next::At { file, offset: 0 });
    if is_first_start(position) {
        return (live(), Missed::Nothing);
    }
    if position.offset == 0 {
        if let Some(file) = overlooked(position, survey) {
            return (Next::At { file, offset: 0 }, Missed::Nothing);
        }
        return match find(&position.mark(), survey) {
            Some(file) => (Next::At { file, offset: 0 }, Missed::Nothing),
            None => (live(), Missed::Nothing),
        };
    }
    if let Some(file) = find(&position.mark(), survey) {
        return (Next::At { file, offset: position.offset }, Missed::Nothing);
    }
    let shortened = survey.live().filter(|&live| position.mark().matches(survey.files[live].head()));
    if let Some(file) = shortened {
        return (Next::AtEndOf { file }, Missed::Nothing);
    }
    let compressed = survey
        .files
        .iter()
        .position(|file| file.kind == Kind::Compressed && file.modified > position.modified)
        .map_or(Missed::Unknown, |file| Missed::InCompressed { file });
    let newer = unread(None, position.modified, Some(&position.mark()), &position.older, survey);
    (newer.first().map_or_else(live, |&file| Next::At { file, offset: 0 }), compressed)
}

/// The position of somebody who has never looked at the directory.
pub(super) fn is_first_start(position: &Position) -> bool {
    position.inode == 0 && position.modified == i64::MAX
}

/// What to read after the file of that position, which was read to its end and is not the live one any more.
pub(super) fn successor(position: &Position, survey: &Survey) -> Next {
    let own = &position.mark();
    let place = find(own, survey);
    let live = survey.live();
    if let Some(file) = place.filter(|_| place == live) {
        let same = (survey.files[file].device, survey.files[file].inode) == (own.device, own.inode);
        return if same { Next::Wait } else { Next::At { file, offset: own.offset } };
    }
    if let Some(&file) = unread(place, position.modified, Some(own), &position.older, survey).first() {
        return Next::At { file, offset: 0 };
    }
    match live {
        // The same rows, but fewer: somebody put an old copy in its place.
        Some(file) if own.prefix_len > 0 && own.matches(survey.files[file].head()) => Next::AtEndOf { file },
        Some(file) => Next::At { file, offset: 0 },
        None => Next::Wait,
    }
}

/// A file to be read before that of the position, of which nothing was read yet: an empty file can be filled and
/// copied away before it was looked at again.
pub(super) fn overlooked(position: &Position, survey: &Survey) -> Option<usize> {
    let anchor = position.older.iter().find_map(|mark| find(mark, survey));
    let own = find(&position.mark(), survey);
    let first = *unread(anchor, position.modified, None, &position.older, survey).first()?;
    match own {
        Some(own) if own == first => None,
        Some(own) if survey.files[own].kind == Kind::Live => Some(first),
        Some(own) => {
            let order = ordered(survey);
            let place = |file| order.iter().position(|&other| other == file);
            (place(first) < place(own)).then_some(first)
        }
        None => Some(first),
    }
}

/// The file that a mark was made of: by its inode, else by its contents.
fn find(mark: &Mark, survey: &Survey) -> Option<usize> {
    let fits = |file: &Facts| file.head.is_some() && file.size >= mark.offset && mark.matches(file.head());
    let same = |file: &Facts| (file.device, file.inode) == (mark.device, mark.inode);
    let by_contents = || {
        if mark.prefix_len == 0 {
            return None;
        }
        // A copy that was made before the original was truncated is the longest of several.
        let fitting = survey.files.iter().enumerate().filter(|(_, file)| fits(file));
        fitting.max_by_key(|(_, file)| (file.kind == Kind::Live, file.size)).map(|(place, _)| place)
    };
    // A file that may not be read is told by its inode alone; opening it will show that.
    let unreadable = |file: &Facts| file.head.is_none() && file.kind != Kind::Compressed && same(file);
    let readable = survey.files.iter().position(|file| same(file) && fits(file));
    readable.or_else(by_contents).or_else(|| survey.files.iter().position(unreadable))
}

/// Rotated files, oldest first.
fn ordered(survey: &Survey) -> Vec<usize> {
    let mut order: Vec<(usize, Age)> = Vec::new();
    for (place, file) in survey.files.iter().enumerate() {
        if let Kind::Rotated(age) = file.kind {
            order.push((place, age));
        }
    }
    let name = |place: usize| survey.files[place].name.as_encoded_bytes();
    let length = order.first().map(|&(place, _)| name(place).len());
    if order.iter().all(|(_, age)| matches!(age, Age::Number(_))) {
        // Numbers grow as files grow old; an editor may have touched one of them since.
        order.sort_by_key(|&(_, age)| if let Age::Number(number) = age { Reverse(number) } else { Reverse(0) });
    } else if order.iter().all(|&(place, age)| age == Age::Date && Some(name(place).len()) == length) {
        // So may a program that kept the older one open.
        order.sort_by_key(|&(place, _)| name(place));
    } else {
        order.sort_by_key(|&(place, _)| (survey.files[place].modified, name(place)));
    }
    order.into_iter().map(|(place, _)| place).collect()
}

/// Rotated files that came after the one at `anchor`, oldest first; without one, those that changed after `modified`.
/// Copies of what was read already, and copies of one another, do not count.
fn unread(anchor: Option<usize>, modified: i64, own: Option<&Mark>, older: &[Mark], survey: &Survey) -> Vec<usize> {
    let order = ordered(survey);
    let newer: Vec<usize> = match anchor.and_then(|anchor| order.iter().position(|&place| place == anchor)) {
        Some(place) => order[place + 1..].to_vec(),
        None => {
            let since = anchor.map_or(modified, |anchor| survey.files[anchor].modified);
            let since = |file: &Facts| file.modified > since || file.modified == since && file.head.is_none();
            order.into_iter().filter(|&place| since(&survey.files[place])).collect()
        }
    };
    let read = |file: &Facts| {
        own.into_iter().chain(older).any(|mark| {
            let same = (mark.device, mark.inode) == (file.device, file.inode);
            (same || mark.prefix_len > 0) && (mark.matches(file.head()) || same && file.head.is_none())
        })
    };
    let live = survey.live().map(|live| &survey.files[live]);
    newer
        .iter()
        .copied()
        .filter(|&place| {
            let file = &survey.files[place];
            let longer = |&other: &usize| {
                let other_file = &survey.files[other];
                other != place
                    && alike(other_file, file)
                    && (other_file.size, Reverse(other)) > (file.size, Reverse(place))
            };
            file.size > 0 && !read(file) && !live.is_some_and(|live| alike(live, file)) && !newer.iter().any(longer)
        })
        .collect()
}

/// Whether one file is a copy of the other's beginning: they share a first row, and all that both have.
fn alike(a: &Facts, b: &Facts) -> bool {
    let (a, b) = (a.head(), b.head());
    let common = a.len().min(b.len());
    a[..common] == b[..common] && a[..common].contains(&b'\n')
}

#[cfg(test)]
mod tests;
