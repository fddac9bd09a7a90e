//! What a manager user may do, out of the commands that Asterisk offers it.

use std::collections::BTreeSet;

use super::Message;

/// The one right that demarc has a use for beside hearing of call records.
const WANTED: &str = "reporting";

/// What a user may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may ask for the state of the PBX.
    pub reporting: bool,
    /// Rights beyond that.
    pub excess: BTreeSet<String>,
}

/// Reads the answer to `ListCommands`: Asterisk lists what the user may do, with the rights of which each suffices. A
/// command that one right alone allows shows that the user has it.
pub fn of(commands: &Message) -> Rights {
    let mut rights = Rights::default();
    for (name, text) in commands.pairs() {
        let Ok(text) = std::str::from_utf8(text) else { continue };
        let Some(privileges) = text.trim_end().strip_suffix(')').and_then(|text| text.rsplit_once("(Priv: ")) else {
            continue;
        };
        let privileges: Vec<&str> = privileges.1.split(',').filter(|right| *right != "all").collect();
        rights.reporting |= name == b"CoreStatus";
        if let [one] = privileges[..]
            && one.bytes().all(|byte| byte.is_ascii_lowercase())
            && one != WANTED
        {
            rights.excess.insert(one.to_owned());
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::ami::message::tests::split;

    const ACTIONS_16: &[u8] = include_bytes!("../../../../tests/data/pbx/asterisk16/ami-actions.raw");
    const ACTIONS_22: &[u8] = include_bytes!("../../../../tests/data/pbx/asterisk22/ami-actions.raw");

    #[test]
    fn a_user_that_may_do_everything_is_told_so() {
        for file in [ACTIONS_16, ACTIONS_22] {
            let list = split(file).into_iter().find(|message| message.get("ListCommands").is_some()).unwrap();
            let rights = of(&list);
            assert!(rights.reporting);
            let excess: Vec<&str> = rights.excess.iter().map(String::as_str).collect();
            let all = ["agent", "agi", "aoc", "call", "command", "config", "message", "originate", "system", "user"];
            assert_eq!(excess, all);
        }
    }

    #[test]
    fn the_rights_that_suffice_are_no_excess() {
        let list = split(
            b"Response: Success\r\nActionID: x\r\nCoreStatus: Show PBX core status variables.  (Priv: system,reporting,all)\r\n\
              ConfbridgeList: List participants.  (Priv: reporting,all)\r\nPing: Keepalive command.  (Priv: <none>)\r\n\r\n",
        );
        assert_eq!(of(&list[0]), Rights { reporting: true, excess: BTreeSet::new() });
        assert_eq!(of(&split(b"Ping: Keepalive command.  (Priv: <none>)\r\n\r\n")[0]), Rights::default());
    }
}
