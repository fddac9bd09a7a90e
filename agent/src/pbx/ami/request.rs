//! What is said to the manager interface.

use crate::settings::Secret;

/// Events of call records, and of nothing else.
const EVENTS: &str = "cdr";
/// The same, and what is told of streams of sound: a kilobyte for each in five seconds.
const EVENTS_WITH_SOUND: &str = "cdr,reporting";

/// One request; `id` comes back in the answer.
pub fn request(action: &str, id: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("Action: {action}\r\nActionID: {id}\r\n");
    for (key, value) in headers {
        // A value with a line end in it would be a request of its own.
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        text.push_str(&format!("{key}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Asks for a challenge, so that the secret itself is never sent: whoever listens on the port while Asterisk is down
/// learns nothing that would let him in.
pub fn challenge(id: &str) -> Vec<u8> {
    request("Challenge", id, &[("AuthType", "MD5")])
}

/// Logs in by the answer to a challenge.
pub fn login(id: &str, user: &str, secret: &Secret, challenge: &str) -> Vec<u8> {
    let digest = md5::compute([challenge.as_bytes(), secret.expose().as_bytes()].concat());
    let key = format!("{digest:x}");
    request("Login", id, &[("AuthType", "MD5"), ("Username", user), ("Key", &key), ("Events", EVENTS)])
}

/// Asks to be told how calls sound, too.
pub fn hear_sound(id: &str) -> Vec<u8> {
    request("Events", id, &[("EventMask", EVENTS_WITH_SOUND)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_stays_at_home() {
        let text = String::from_utf8(login("x-1", "demarc", &Secret::new("s3cret"), "123456789")).unwrap();
        // printf '%s' 123456789s3cret | md5sum
        let key = "d32b5714dd0e3ae70d4a845d5e524f3f";
        assert_eq!(
            text,
            format!(
                "Action: Login\r\nActionID: x-1\r\nAuthType: MD5\r\nUsername: demarc\r\nKey: {key}\r\nEvents: cdr\r\n\r\n"
            )
        );
        assert!(!text.contains("s3cret"));
    }

    #[test]
    fn a_name_with_a_line_end_is_no_request() {
        let text = login("x", "a\r\nAction: Originate", &Secret::new(""), "1");
        assert!(String::from_utf8(text).unwrap().contains("Username: aAction: Originate\r\n"));
    }
}
