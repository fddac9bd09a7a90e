//! Any bytes at all from the manager interface, whole and in two pieces: nothing panics, both ways come to the same, and no
//! call record ends before it begins.

#![no_main]

use std::time::Instant;

use demarc::{
    pbx::{
        Zone,
        ami::{Conversation, conversation::Login},
    },
    settings::Secret,
};
use libfuzzer_sys::fuzz_target;

/// What comes of a session that arrives in pieces: what is said, and the rows, or that it was given up.
fn listen(pieces: &[&[u8]], now: Instant) -> Option<(Vec<u8>, usize, Option<u64>)> {
    // The corpus holds sessions whose answers bear this number.
    let login = Login { user: "demarc".to_owned(), secret: Secret::new("s3cret"), nonce: 0x2a };
    let zone = Zone::load(Some("America/New_York")).expect("the program brings its zones along");
    let mut conversation = Conversation::new(login, zone, now);
    let (mut said, mut rows) = (Vec::new(), 0);
    for piece in pieces {
        let heard = conversation.take(piece, now).ok()?;
        said.extend(heard.say);
        rows += heard.rows.len();
        for record in heard.rows.iter().filter_map(|entry| entry.row.as_ref().ok()) {
            assert!(record.start <= record.end);
            assert!(record.answer.is_none_or(|answer| (record.start..=record.end).contains(&answer)));
        }
    }
    conversation.due(now).ok()?;
    Some((said, rows, conversation.facts().active_calls))
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, session) = input;
    let (front, back) = session.split_at(usize::from(cut).min(session.len()));
    let now = Instant::now();
    assert_eq!(listen(&[session], now), listen(&[front, back], now));
});
