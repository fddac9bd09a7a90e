//! `peers`: whether endpoints can be reached.

use std::fmt;

use serde::Serialize;

use super::{Trouble, asterisk, mask, write_table};
use crate::ipc::SessionSettings;

/// The endpoints of both SIP drivers.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Peers {
    peers: Vec<Peer>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Peer {
    driver: &'static str,
    name: String,
    state: String,
    /// Channels in use, where the driver tells.
    channels: Option<u32>,
    /// One for each place where it is registered.
    contacts: Vec<Contact>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Contact {
    state: String,
    /// As the driver measured it, where it does.
    round_trip_ms: Option<String>,
}

pub(super) async fn look(settings: &SessionSettings) -> Result<Peers, Trouble> {
    let pjsip = asterisk::ask(settings, "pjsip show endpoints").await?;
    let sip = asterisk::ask(settings, "sip show peers").await?;
    if asterisk::is_unknown(&pjsip) && asterisk::is_unknown(&sip) {
        return Err(Trouble::new("neither SIP driver of Asterisk is loaded"));
    }
    let mut found = of_pjsip(&pjsip);
    found.peers.extend(sip.lines().filter_map(of_sip));
    Ok(found)
}

fn of_pjsip(answer: &str) -> Peers {
    let mut found = Peers::default();
    // The legend above the line describes the objects below it in their own form.
    let objects = answer.lines().skip_while(|line| !line.starts_with("====="));
    for line in objects {
        if let Some(rest) = line.trim_start().strip_prefix("Endpoint:") {
            found.peers.extend(endpoint(rest));
        } else if let (Some(rest), Some(peer)) = (line.trim_start().strip_prefix("Contact:"), found.peers.last_mut()) {
            peer.contacts.extend(contact(rest));
        }
    }
    found
}

/// `  1002/1002       In use        1 of inf`
fn endpoint(rest: &str) -> Option<Peer> {
    let (name, rest) = rest.trim_start().split_once("  ")?;
    let (state, channels) = rest.trim_start().split_once("  ")?;
    Some(Peer {
        driver: "pjsip",
        // The number of the caller follows the name.
        name: mask::numbers(name.split('/').next()?),
        state: state.to_owned(),
        channels: channels.split_whitespace().next()?.parse().ok(),
        contacts: Vec::new(),
    })
}

/// `  1002/sip:1002@127.0.0.1:5060    7d7a0e5e65 Avail    12.034`
fn contact(rest: &str) -> Option<Contact> {
    let mut from_the_end = rest.split_whitespace().rev();
    let (round_trip, state) = (from_the_end.next()?, from_the_end.next()?);
    let round_trip_ms = round_trip.parse::<f64>().ok().filter(|time| time.is_finite()).map(|_| round_trip.to_owned());
    Some(Contact { state: state.to_owned(), round_trip_ms })
}

/// `1001/1001    192.168.1.20    D  Auto (No)  No    A  5060     OK (12 ms)    Alice`
fn of_sip(line: &str) -> Option<Peer> {
    const STATES: &[&str] = &["OK (", "UNREACHABLE", "UNKNOWN", "LAGGED (", "Unmonitored"];
    if line.contains(" sip peers [") {
        return None;
    }
    // What the owner wrote about the endpoint follows and may be anything: nothing behind the state is shown.
    let at = STATES.iter().filter_map(|state| line.find(&format!(" {state}"))).min()? + 1;
    let end = line[at..].find(')').map(|end| at + end + 1);
    let word = line[at..].split_whitespace().next()?;
    let state = match end.filter(|_| line[at..].starts_with("OK (") || line[at..].starts_with("LAGGED (")) {
        Some(end) => &line[at..end],
        None => word,
    };
    let name = line.split([' ', '/']).next().filter(|name| !name.is_empty())?;
    let round_trip_ms = state.split_once('(').and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned);
    let contacts = vec![Contact { state: word.to_owned(), round_trip_ms }];
    Some(Peer { driver: "sip", name: mask::numbers(name), state: word.to_owned(), channels: None, contacts })
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.peers.iter().map(|one| {
            let contacts: Vec<String> = one
                .contacts
                .iter()
                .map(|contact| match &contact.round_trip_ms {
                    Some(time) => format!("{} {time} ms", contact.state),
                    None => contact.state.clone(),
                })
                .collect();
            let channels = one.channels.map(|channels| channels.to_string()).unwrap_or_default();
            vec![one.driver.to_owned(), one.name.clone(), one.state.clone(), channels, contacts.join(", ")]
        });
        write_table(f, &["driver", "endpoint", "state", "channels", "contacts"], rows, "There is no endpoint.")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_real_answer_shows_states_and_no_numbers() {
        let found = of_pjsip(include_str!("../../../tests/data/asterisk22/endpoints.txt"));
        expect![[r#"
             driver  endpoint   state        channels  contacts
             pjsip   ***01      Not in use   0         NonQual
             pjsip   ***02      In use       1         NonQual
             pjsip   ***03      In use       1         NonQual
             pjsip   ***04      In use       1         NonQual
             pjsip   ***06      Not in use   0         NonQual
             pjsip   ***07      Ringing      2         NonQual
             pjsip   ***01      Unavailable  0
             pjsip   provider1  In use       4         NonQual
        "#]]
        .assert_eq(&found.to_string());
    }

    #[test]
    fn the_older_driver_is_understood() {
        let text = include_str!("../../../tests/data/asterisk16/sip_peers.txt");
        let found = Peers { peers: text.lines().filter_map(of_sip).collect() };
        expect![[r#"
             driver  endpoint   state        channels  contacts
             sip     ***01      UNKNOWN                UNKNOWN
             sip     ***02      Unmonitored            Unmonitored
             sip     provider2  UNKNOWN                UNKNOWN
        "#]]
        .assert_eq(&found.to_string());
        let lagged = "1001/1001   192.168.1.20   D  Auto (No)  No   A  5060   LAGGED (2012 ms)  Alice (desk)";
        let peer = of_sip(lagged).unwrap();
        assert_eq!((peer.state.as_str(), peer.contacts[0].round_trip_ms.as_deref()), ("LAGGED", Some("2012")));
    }
}
