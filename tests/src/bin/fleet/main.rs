//! A fleet of agents in one process, for `make bench`: real enrollments, real tunnels, no call records.
//!
//! `fleet enroll TOKENS IDENTITIES` redeems every token of a file (one a line) and writes what came of it.
//! `fleet hold IDENTITIES COUNT` keeps that many tunnels up and redials at once what is lost. It prints one
//! JSON line whenever a wave is over, which means that every tunnel came up once since the wave began. The
//! first wave begins with the program; the words `cut` (drop every connection now) and `lose` (the hub is about
//! to go) on standard input begin further ones. It ends with its standard input.

mod enroll;
mod identity;
mod tls;
mod tunnel;
mod wave;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use tokio::sync::{mpsc, watch};
use tunnel::Event;
use wave::Wave;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["enroll", tokens, identities] => enroll::all(&PathBuf::from(tokens), &PathBuf::from(identities)).await,
        ["hold", identities, count] => {
            hold(&PathBuf::from(identities), count.parse().context("COUNT is a number")?).await
        }
        _ => bail!("fleet enroll TOKENS IDENTITIES | fleet hold IDENTITIES COUNT"),
    }
}

async fn hold(identities: &std::path::Path, count: usize) -> anyhow::Result<()> {
    let identities = identity::load(identities)?;
    if identities.len() < count {
        bail!("only {} identities for {count} tunnels", identities.len());
    }
    let (events_in, mut events) = mpsc::unbounded_channel();
    let (cut_in, cut) = watch::channel(());
    let mut tasks = tokio::task::JoinSet::new();
    let mut wave = Wave::new("start", count);
    for (number, identity) in identities.into_iter().take(count).enumerate() {
        let dialer = tunnel::Dialer::new(number, &identity)?;
        tasks.spawn(Arc::new(dialer).keep(events_in.clone(), cut.clone()));
    }
    let mut words = words_from_stdin();
    loop {
        tokio::select! {
            Some(event) = events.recv() => if let Some(report) = wave.take(event) {
                println!("{report}");
            },
            word = words.recv() => match word.as_deref() {
                Some("cut") => {
                    wave = Wave::new("cut", count);
                    // What came up before the wave began is not part of it.
                    while events.try_recv().is_ok() {}
                    cut_in.send_replace(());
                }
                Some("lose") => wave = Wave::new("lose", count),
                Some(other) => bail!("{other:?} is neither cut nor lose"),
                None => return Ok(()),
            },
        }
    }
}

/// A thread of its own reads: a blocking read is the only portable one for standard input.
fn words_from_stdin() -> mpsc::UnboundedReceiver<String> {
    let (words_in, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for word in std::io::stdin().lines().map_while(Result::ok) {
            if words_in.send(word).is_err() {
                break;
            }
        }
    });
    words
}
