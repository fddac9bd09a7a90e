//! `channels`: what is being said right now.

use std::fmt;

use serde::Serialize;

use super::{Trouble, asterisk, mask, write_table};
use crate::ipc::SessionSettings;

/// The channels of the running Asterisk.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Channels {
    channels: Vec<Channel>,
    /// Lines that could not be understood.
    unreadable: usize,
}

/// One channel: one side of a call.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Channel {
    /// Technology and endpoint.
    channel: String,
    context: String,
    extension: String,
    state: String,
    application: String,
    seconds: u64,
    /// Whether it is connected with another.
    bridged: bool,
}

pub(super) async fn look(settings: &SessionSettings) -> Result<Channels, Trouble> {
    Ok(read(&asterisk::ask(settings, "core show channels concise").await?))
}

fn read(answer: &str) -> Channels {
    let lines: Vec<&str> = answer.lines().filter(|line| !line.trim().is_empty()).collect();
    let channels: Vec<Channel> = lines.iter().filter_map(|line| channel(line)).collect();
    Channels { unreadable: lines.len() - channels.len(), channels }
}

/// The seventh field is what the dialplan says and may hold the separator, so that those behind it are counted from the end.
fn channel(line: &str) -> Option<Channel> {
    let front: Vec<&str> = line.splitn(7, '!').collect();
    let [name, context, extension, _priority, state, application, _] = front.as_slice() else { return None };
    let mut back = line.rsplit('!').skip(1);
    let bridge = back.next()?;
    let seconds = back.next()?.parse().ok()?;
    Some(Channel {
        channel: mask::endpoint(name),
        context: mask::numbers(context),
        extension: mask::numbers(extension),
        state: (*state).to_owned(),
        application: mask::numbers(application),
        seconds,
        bridged: !bridge.is_empty(),
    })
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.channels.iter().map(|one| {
            let bridged = if one.bridged { "yes" } else { "" };
            vec![
                one.channel.clone(),
                one.state.clone(),
                duration(one.seconds),
                bridged.to_owned(),
                one.application.clone(),
                one.context.clone(),
                one.extension.clone(),
            ]
        });
        let header = ["channel", "state", "for", "bridged", "application", "context", "extension"];
        write_table(f, &header, rows, "No channel is up.")?;
        writeln!(f, "Channels: {}.", self.channels.len())?;
        if self.unreadable > 0 {
            writeln!(f, "Lines that could not be understood: {}.", self.unreadable)?;
        }
        Ok(())
    }
}

/// `2:07:03`.
pub(super) fn duration(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_real_answer_shows_states_and_no_numbers() {
        let found = read(include_str!("../../../tests/data/asterisk22/channels.txt"));
        expect![[r#"
            channel          state    for      bridged  application  context        extension
            PJSIP/***03      Up       0:00:00  yes      Dial         from-internal  ***01
            PJSIP/***02      Up       0:00:00  yes      AppDial      from-internal
            PJSIP/provider1  Up       0:00:00  yes      AppDial      from-trunk
            PJSIP/provider1  Ring     0:00:00           Dial         from-trunk     ***07
            PJSIP/provider1  Up       0:00:00           Queue        from-trunk     ***02
            PJSIP/***04      Up       0:00:00  yes      Dial         from-internal  ***02
            PJSIP/provider1  Up       0:00:01           Queue        from-trunk     ***02
            PJSIP/***07      Ringing  0:00:00           AppQueue     from-internal  ***02
            PJSIP/***07      Ringing  0:00:00           AppDial      from-internal  ***07
            Channels: 9.
        "#]]
        .assert_eq(&found.to_string());
    }

    #[test]
    fn separators_in_the_dialplan_do_not_move_the_fields() {
        let found = read("PJSIP/a-00000001!ctx!s!1!Up!Set!x=!!b!c!447700900001!!!3!61!!1795337447.2\nnonsense\n");
        assert_eq!((found.channels[0].seconds, found.channels[0].bridged, found.unreadable), (61, false, 1));
        assert!(!found.to_string().contains("447700900001"));
    }
}
