//! `queues`: who waits, and who could answer.

use std::fmt;

use serde::Serialize;

use super::{Trouble, asterisk, channels::duration, mask, write_table};
use crate::ipc::SessionSettings;

/// What the first bracket behind a member may say beside its state.
const NOT_STATES: &[&str] =
    &["ringinuse", "dynamic", "realtime", "paused", "in call", "login", "penalty", "wrapup", "skills"];

/// The queues of the running Asterisk.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Queues {
    queues: Vec<Queue>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Queue {
    name: String,
    strategy: Option<String>,
    /// Callers who wait.
    waiting: u32,
    /// How long the one who waits longest has waited.
    longest_wait_seconds: Option<u64>,
    completed: Option<u32>,
    abandoned: Option<u32>,
    members: Vec<Member>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Member {
    /// Technology and endpoint; never a name.
    interface: String,
    state: String,
    paused: bool,
    /// Calls taken; absent where the answer does not say.
    calls: Option<u32>,
}

pub(super) async fn look(settings: &SessionSettings) -> Result<Queues, Trouble> {
    let answer = asterisk::ask(settings, "queue show").await?;
    if asterisk::is_unknown(&answer) {
        return Err(Trouble::new("Asterisk's queues are not loaded here"));
    }
    Ok(read(&answer))
}

fn read(answer: &str) -> Queues {
    let mut found = Queues::default();
    for line in answer.lines() {
        if !line.starts_with(' ') {
            found.queues.extend(queue(line));
        } else if let Some(queue) = found.queues.last_mut() {
            if let Some(seconds) = wait(line) {
                queue.longest_wait_seconds = queue.longest_wait_seconds.max(Some(seconds));
            } else {
                queue.members.extend(member(line));
            }
        }
    }
    found
}

/// `600 has 2 calls (max unlimited) in 'ringall' strategy (0s holdtime, 0s talktime), W:0, C:0, A:0, SL:0.0% within 0s`
fn queue(line: &str) -> Option<Queue> {
    let (name, rest) = line.split_once(" has ")?;
    let waiting = rest.split_once(" calls ")?.0.parse().ok()?;
    let count = |mark: &str| rest.split(", ").find_map(|part| part.trim().strip_prefix(mark)?.parse().ok());
    Some(Queue {
        name: mask::numbers(name),
        strategy: rest.split('\'').nth(1).map(str::to_owned),
        waiting,
        longest_wait_seconds: None,
        completed: count("C:"),
        abandoned: count("A:"),
        members: Vec::new(),
    })
}

/// `      1. PJSIP/provider1-00000000 (wait: 0:01, prio: 0)`
fn wait(line: &str) -> Option<u64> {
    let time = line.split_once("(wait: ")?.1.split([',', ')']).next()?;
    time.split(':').try_fold(0_u64, |seconds, part| seconds.checked_mul(60)?.checked_add(part.parse().ok()?))
}

/// `      Alice (PJSIP/1002) with penalty 1 (ringinuse enabled) (dynamic) (Not in use) has taken 3 calls (last was 5 secs ago)`
fn member(line: &str) -> Option<Member> {
    let (front, back) = line.split_once(" has taken ")?;
    let brackets: Vec<&str> = front.split('(').skip(1).filter_map(|part| part.split(')').next()).collect();
    let is_interface = |text: &&str| {
        text.split_once('/').is_some_and(|(technology, _)| technology.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    // Where a member has a name, its interface follows in brackets.
    let own = front.split('(').next().unwrap_or_default().trim();
    let named = brackets.first().map(|text| text.split(' ').next().unwrap_or_default()).filter(is_interface);
    let interface = named.or(Some(own.split(" with penalty").next()?).filter(is_interface));
    let state =
        brackets.iter().rev().find(|text| !NOT_STATES.iter().any(|no| text.starts_with(no)) && !text.contains('/'))?;
    Some(Member {
        interface: interface.map_or_else(|| "a member".to_owned(), mask::endpoint),
        state: (*state).to_owned(),
        paused: brackets.iter().any(|text| text.starts_with("paused")),
        calls: back.split(' ').next().and_then(|count| if count == "no" { Some(0) } else { count.parse().ok() }),
    })
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let rows = self.queues.iter().map(|one| {
            vec![
                one.name.clone(),
                one.strategy.clone().unwrap_or_default(),
                one.waiting.to_string(),
                one.longest_wait_seconds.map(duration).unwrap_or_default(),
                number(one.completed),
                number(one.abandoned),
            ]
        });
        let header = ["queue", "strategy", "waiting", "longest wait", "completed", "abandoned"];
        write_table(f, &header, rows, "There is no queue.")?;
        let members = self.queues.iter().flat_map(|queue| queue.members.iter().map(move |member| (queue, member)));
        let rows: Vec<Vec<String>> = members
            .map(|(queue, member)| {
                let paused = if member.paused { "paused" } else { "" };
                let (calls, state) = (number(member.calls), member.state.clone());
                vec![queue.name.clone(), member.interface.clone(), state, paused.to_owned(), calls]
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        write_table(f, &["queue", "member", "state", "", "calls taken"], rows.into_iter(), "")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_real_answer_shows_states_and_no_numbers() {
        let text = include_str!("../../../tests/data/asterisk22/queues.txt").replace('\u{1b}', "");
        let plain: String =
            ["[0m", "[1;32;40m", "[1;33;40m", "[1;36;40m"].iter().fold(text, |text, code| text.replace(code, ""));
        expect![[r#"
             queue  strategy  waiting  longest wait  completed  abandoned
             ***00  ringall   2        0:00:01       0          2

             queue  member       state       calls taken
             ***00  PJSIP/***07  Ringing     0
        "#]]
        .assert_eq(&read(&plain).to_string());
    }

    #[test]
    fn a_member_with_a_name_stays_without_it() {
        let found = read(
            "600 has 1 calls (max unlimited) in 'ringall' strategy (0s holdtime, 0s talktime), W:0, C:7, A:4, SL:0.0%\n   \
             Members: \n      Alice (Local/1002@from-queue/n from hint:1002@ext-local) with penalty 1 (ringinuse enabled) \
             (dynamic) (paused:lunch was 3 secs ago) (Not in use) has taken 3 calls (last was 5 secs ago)\n   Callers: \n      \
             1. PJSIP/provider1-00000000 (wait: 61:01, prio: 0)\n",
        );
        let queue = &found.queues[0];
        assert_eq!((queue.longest_wait_seconds, queue.completed, queue.abandoned), (Some(3661), Some(7), Some(4)));
        let expected = Member {
            interface: "Local/***02".to_owned(),
            state: "Not in use".to_owned(),
            paused: true,
            calls: Some(3),
        };
        assert_eq!(queue.members, [expected]);
        assert!(!found.to_string().contains("Alice"));
    }
}
