//! Documents written by hand after the module's source and documentation: there is no package of FreeSWITCH to write them.

use super::*;

/// A caller from the outside who was put through to 1001.
const A_LEG: &str = include_str!("../../../../../tests/data/pbx/freeswitch/a_leg.cdr.json");
/// That call's leg to 1001.
const B_LEG: &str = include_str!("../../../../../tests/data/pbx/freeswitch/b_leg.cdr.json");
/// As [`A_LEG`], from an older version: values encoded, one `callflow` a profile.
const OLDER: &str = include_str!("../../../../../tests/data/pbx/freeswitch/older.cdr.json");

fn shown(text: &[u8]) -> String {
    let site = Site { outside: vec!["external".into()], tells_of_bridges: true };
    match super::read(text, &site, &mut Zone::utc()) {
        Ok(record) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let id = |id: &Option<Vec<u8>>| id.as_ref().map_or(String::new(), |id| text(&id[..8]));
            format!(
                "{}/{} {} -> {}: {} -> {} {} {:?}+{:?}",
                id(&record.linkedid),
                id(&record.uniqueid),
                text(&record.src),
                text(&record.dst),
                text(&record.channel),
                text(&record.dstchannel),
                record.start,
                record.answer.map(|answer| answer - record.start),
                record.end - record.start
            )
        }
        Err(misread) => format!("{misread:?}"),
    }
}

const A: &str = "3da8bf84/3da8bf84 447700900001 -> 442079460000: sofia/external-3da8bf84 -> sofia/1001-f52c26f1 1795309040 Some(10)+34";

#[test]
fn both_legs_of_a_call_are_read() {
    assert_eq!(shown(A_LEG.as_bytes()), A);
    assert_eq!(
        shown(B_LEG.as_bytes()),
        "3da8bf84/f52c26f1 447700900001 -> 1001: sofia/external-3da8bf84 -> sofia/1001-f52c26f1 1795309045 Some(5)+29"
    );
}

#[test]
fn an_older_versions_document_says_the_same() {
    assert_eq!(shown(OLDER.as_bytes()), A);
}

#[test]
fn names_need_not_be_utf8() {
    let text = A_LEG.replace("Jane Doe", "J*rgen");
    let mut bytes = text.into_bytes();
    for byte in bytes.iter_mut().filter(|byte| **byte == b'*') {
        *byte = 0xfc;
    }
    assert_eq!(shown(&bytes), A);
}

#[test]
fn half_a_document_may_be_finished_later_and_a_broken_one_never() {
    for length in [0, 1, 100, A_LEG.trim_end().len() - 1] {
        assert_eq!(shown(&A_LEG.as_bytes()[..length]), "Unfinished", "{length}");
    }
    assert_eq!(shown(b"{} x"), "Malformed(Quoting)");
    assert_eq!(shown(b"{\"variables\": 1}"), "Malformed(Quoting)");
    assert_eq!(shown(b"{}"), "Malformed(Disposition)");
    assert_eq!(
        shown(&A_LEG.as_bytes().replace_first(b"\"start_epoch\": \"1795309040\"", b"\"start_epoch\": \"x\"")),
        "Malformed(Time)"
    );
}

trait ReplaceFirst {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceFirst for [u8] {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = memchr::memmem::find(self, from).expect("it is there");
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

#[test]
fn encoded_texts_are_decoded() {
    assert_eq!(decoded(b"sofia%2Finternal%2f1001%401"), b"sofia/internal/1001@1");
    assert_eq!(decoded(b"100%, %4, %zz"), b"100%, %4, %zz");
}
