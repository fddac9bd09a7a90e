//! What becomes of rows while the store is well, slow or unwell.

use tokio::sync::mpsc;

use super::*;
use crate::pbx::{leg::MalformedReason, record::Unreadable, stream::Said};

fn row(number: u64) -> Entry {
    let unreadable = Unreadable { bytes: number.to_be_bytes().to_vec(), why: MalformedReason::Columns };
    Entry { row: Err(unreadable), name: None }
}

fn rows(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    numbers.map(row).collect()
}

#[tokio::test]
async fn rows_that_were_not_stored_come_again_in_order_and_none_twice() {
    let (sender, mut said) = mpsc::channel(4);
    let outlet = Outlet::new(0, sender);
    let tray = Tray::default();
    tray.rows(rows(0..600));
    let store = async {
        let mut stored = Vec::new();
        let mut refusals = 1;
        while stored.len() < 1000 {
            let (_, Said::Portion(portion)) = said.recv().await.unwrap() else { panic!("no rows") };
            if refusals > 0 {
                // A full disk: the collector drops what it could not store.
                refusals -= 1;
                continue;
            }
            if stored.is_empty() {
                tray.rows(rows(600..1000));
            }
            stored.extend(portion.rows.entries);
            portion.stored.send(()).unwrap();
        }
        stored
    };
    let stored = tokio::select! {
        () = tray.empty_into(&outlet) => unreachable!(),
        stored = store => stored,
    };
    assert!(stored == rows(0..1000));
    assert_eq!(tray.lost(), 0);
}

#[tokio::test]
async fn memory_has_an_end_and_what_is_lost_is_counted() {
    let (sender, mut said) = mpsc::channel(4);
    let outlet = Outlet::new(0, sender);
    let tray = Tray::default();
    let most = MOST as u64;
    tray.rows(rows(0..most));
    let store = async {
        // The first portion is being stored while so many come that its rows are pushed out.
        let (_, Said::Portion(portion)) = said.recv().await.unwrap() else { panic!("no rows") };
        assert_eq!(portion.rows.entries.len(), PORTION);
        tray.rows(rows(most..most + 300));
        assert_eq!(tray.lock().rows.len(), MOST);
        portion.stored.send(()).unwrap();
        let (_, Said::Portion(portion)) = said.recv().await.unwrap() else { panic!("no rows") };
        portion.rows.entries
    };
    let next = tokio::select! {
        () = tray.empty_into(&outlet) => unreachable!(),
        next = store => next,
    };
    // The rows up to PORTION were stored after all, and those up to 300 are gone.
    assert!(next == rows(300..300 + PORTION as u64));
    assert_eq!(tray.lost(), 300 - PORTION as u64);
}

#[tokio::test]
async fn the_newest_words_and_facts_count_and_nothing_is_said_twice() {
    let (sender, mut said) = mpsc::channel(16);
    let outlet = Outlet::new(0, sender);
    let tray = Tray::default();
    tray.trouble(Some("one".to_owned()));
    tray.trouble(Some("two".to_owned()));
    tray.facts(Facts { active_calls: Some(1), ..Facts::default() });
    tray.facts(Facts { active_calls: Some(2), ..Facts::default() });
    let hear = async {
        let (_, Said::Live(facts)) = said.recv().await.unwrap() else { panic!("no facts") };
        assert_eq!(facts.active_calls, Some(2));
        let (_, Said::Trouble(trouble)) = said.recv().await.unwrap() else { panic!("no words") };
        assert_eq!(trouble.as_deref(), Some("two"));
        tray.trouble(Some("two".to_owned()));
        tray.trouble(None);
        let (_, Said::Trouble(trouble)) = said.recv().await.unwrap() else { panic!("no words") };
        assert_eq!(trouble, None);
    };
    tokio::select! {
        () = tray.empty_into(&outlet) => unreachable!(),
        () = hear => {}
    }
}
