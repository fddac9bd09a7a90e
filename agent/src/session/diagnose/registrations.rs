//! `registrations`: whether the trunks are registered with their providers.

use std::fmt;

use serde::Serialize;

use super::{Trouble, asterisk, mask, write_table};
use crate::ipc::SessionSettings;

/// The registrations of both SIP drivers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Registrations {
    registrations: Vec<Registration>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Registration {
    driver: &'static str,
    /// What the owner called it, where the driver knows that.
    name: Option<String>,
    server: String,
    state: String,
    /// What the driver says of the time left.
    expires: Option<String>,
}

pub(super) async fn look(settings: &SessionSettings) -> Result<Registrations, Trouble> {
    let pjsip = asterisk::ask(settings, "pjsip show registrations").await?;
    let sip = asterisk::ask(settings, "sip show registry").await?;
    if asterisk::is_unknown(&pjsip) && asterisk::is_unknown(&sip) {
        return Err(Trouble::new("neither SIP driver of Asterisk keeps registrations here"));
    }
    let mut registrations: Vec<Registration> = pjsip.lines().filter_map(of_pjsip).collect();
    registrations.extend(sip.lines().filter_map(of_sip));
    Ok(Registrations { registrations })
}

/// ` provider1/sip:sip.example:5060    provider1-auth    Registered    (exp. 90s)`
fn of_pjsip(line: &str) -> Option<Registration> {
    let (name, rest) = line.trim_start().split_once('/')?;
    let mut words = rest.split_whitespace();
    let uri = words.next().filter(|uri| uri.starts_with("sip"))?;
    let (_authentication, state) = (words.next()?, words.next()?);
    let expires =
        rest.find("(exp.").map(|at| rest[at..].trim_matches(['(', ')', ' ']).trim_start_matches("exp. ").to_owned());
    Some(Registration {
        driver: "pjsip",
        name: Some(mask::numbers(name)),
        server: server(uri),
        state: state.to_owned(),
        expires,
    })
}

/// `sip.example:5060    N    4420712    105 Registered    Tue, 20 Mar 2018 09:10:11`
fn of_sip(line: &str) -> Option<Registration> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = words.iter().position(|word| matches!(*word, "Y" | "N"))?;
    let refresh: u64 = words.get(place + 2)?.parse().ok()?;
    let zone = words.iter().position(|word| word.ends_with(',')).unwrap_or(words.len());
    let state = words.get(place + 3..zone)?.join(" ");
    let (server, expires) = (server(words[0]), Some(format!("every {refresh}s")));
    Some(Registration { driver: "sip", name: None, server, state, expires })
}

/// The host and the port, without whoever registers there.
fn server(uri: &str) -> String {
    let host = uri.rsplit('@').next().unwrap_or_default();
    let host = host.trim_start_matches("sips:").trim_start_matches("sip:");
    host.split(';').next().unwrap_or_default().to_owned()
}

impl fmt::Display for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.registrations.iter().map(|one| {
            let name = one.name.clone().unwrap_or_default();
            let expires = one.expires.clone().unwrap_or_default();
            vec![one.driver.to_owned(), name, one.server.clone(), one.state.clone(), expires]
        });
        write_table(f, &["driver", "name", "server", "state", "expires"], rows, "No trunk registers anywhere.")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_real_answer_is_understood() {
        let text = include_str!("../../../tests/data/asterisk22/registrations.txt");
        let found = Registrations { registrations: text.lines().filter_map(of_pjsip).collect() };
        expect![[r#"
             driver  name           server          state     expires
             pjsip   provider1-reg  127.0.0.1:5999  Rejected  6s ago
        "#]]
        .assert_eq(&found.to_string());
    }

    #[test]
    fn a_real_answer_of_the_older_driver_is_understood() {
        let text = include_str!("../../../tests/data/asterisk16/sip_registry.txt");
        let found = Registrations { registrations: text.lines().filter_map(of_sip).collect() };
        expect![[r#"
             driver  name  server          state         expires
             sip           127.0.0.1:5999  Unregistered  every 120s
        "#]]
        .assert_eq(&found.to_string());
    }

    #[test]
    fn times_and_longer_states_are_understood() {
        let text = "Host                                    dnsmgr Username       Refresh State                Reg.Time\n\
                    sip.example.com:5060                    N      442071230001       105 Registered           Sun, 22 Nov 2026 08:55:01\n\
                    127.0.0.1:5999                          Y      442071230001       120 Request Sent\n\
                    2 SIP registrations.\n";
        let found = Registrations { registrations: text.lines().filter_map(of_sip).collect() };
        assert_eq!(found.registrations.len(), 2);
        assert_eq!(
            (found.registrations[0].state.as_str(), found.registrations[1].state.as_str()),
            ("Registered", "Request Sent")
        );
        assert!(!found.to_string().contains("44207"));
    }

    #[test]
    fn a_user_in_the_address_is_left_out() {
        assert_eq!(server("sip:442071230001@sip.example.com:5060;transport=tls"), "sip.example.com:5060");
    }
}
