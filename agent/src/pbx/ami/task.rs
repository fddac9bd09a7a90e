//! Keeps a connection to the manager interface, and moves its bytes and rows.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, sleep_until, timeout},
};

use super::{
    Conversation, Facts, Trouble,
    conversation::{Heard, Login},
    tray::Tray,
};
use crate::{
    pbx::{connector::Connector, stream::Outlet, zone::Zone},
    settings::Secret,
};

/// The first wait after a connection was lost; it doubles.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that lived so long was a good one.
const LIVED: Duration = Duration::from_secs(10);
/// Requests are short: who does not take one within this is stuck.
const WRITING: Duration = Duration::from_secs(5);
const CHUNK: usize = 16 * 1024;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub address: String,
    /// The user.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
}

/// Listens for ever.
pub async fn run(place: Place, zone: Zone, connector: Connector, outlet: Outlet) {
    let tray = Tray::default();
    tokio::select! {
        () = tray.empty_into(&outlet) => {}
        () = listen(&place, &zone, &connector, &tray) => {}
    }
}

async fn listen(place: &Place, zone: &Zone, connector: &Connector, tray: &Tray) {
    let mut wait = FIRST;
    loop {
        let begun = Instant::now();
        let trouble = match connector.connect(&place.address).await {
            Ok(stream) => {
                let login = Login { user: place.user.clone(), secret: place.secret.clone(), nonce: nonce() };
                let mut conversation = Conversation::new(login, zone.clone(), Instant::now());
                let Err(trouble) = converse(&mut conversation, stream, tray).await;
                let facts = conversation.facts();
                tray.facts(Facts { connected: false, active_calls: None, registrations: Vec::new(), ..facts.clone() });
                if conversation.is_up() && begun.elapsed() >= LIVED {
                    wait = FIRST;
                }
                trouble
            }
            Err(error) => Trouble::NotConnected(error.to_string()),
        };
        say(tray, vec![trouble.to_string()]);
        if trouble.lasts() {
            wait = LONGEST;
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST);
    }
}

async fn converse(
    conversation: &mut Conversation,
    mut stream: UnixStream,
    tray: &Tray,
) -> Result<std::convert::Infallible, Trouble> {
    let (mut from, mut to) = stream.split();
    let mut buffer = vec![0; CHUNK];
    let mut facts = Facts::default();
    loop {
        let heard = tokio::select! {
            read = from.read(&mut buffer) => match read.map_err(broken)? {
                0 => return Err(Trouble::Closed),
                read => conversation.take(&buffer[..read], Instant::now())?,
            },
            () = sleep_until(conversation.next_due().into()) => {
                Heard { say: conversation.due(Instant::now())?, ..Heard::default() }
            }
        };
        tray.rows(heard.rows);
        tray.samples(heard.samples);
        if *conversation.facts() != facts {
            facts = conversation.facts().clone();
            tray.facts(facts.clone());
        }
        if conversation.is_up() {
            say(tray, conversation.troubles());
        }
        if !heard.say.is_empty() {
            let written = timeout(WRITING, to.write_all(&heard.say)).await;
            written.map_err(|_| Trouble::Silent(WRITING.as_secs()))?.map_err(broken)?;
        }
    }
}

fn say(tray: &Tray, mut troubles: Vec<String>) {
    let lost = tray.lost();
    if lost > 0 {
        troubles.push(Trouble::Lost(lost).to_string());
    }
    tray.trouble((!troubles.is_empty()).then(|| troubles.join("; ")));
}

fn broken(error: io::Error) -> Trouble {
    Trouble::Broken(error.to_string())
}

/// Where the machine has no randomness, answers could be forged: figures on a screen, no call records.
fn nonce() -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests;
