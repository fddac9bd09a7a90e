//! Any bytes at all in the middle of a document of `mod_json_cdr`: nothing panics.

#![no_main]

use demarc::pbx::freeswitch::{Site, json};
use libfuzzer_sys::fuzz_target;

const LEG: &[u8] = include_bytes!("../../tests/data/pbx/freeswitch/a_leg.cdr.json");

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (at, left_out, bytes) = input;
    let (front, back) = LEG.split_at(usize::from(at) % LEG.len());
    let back = &back[usize::from(left_out).min(back.len())..];
    let site = Site { outside: vec!["external".to_owned()], tells_of_bridges: true };
    let _ = json::is_understood(bytes, &site);
    let _ = json::is_understood(&[front, bytes, back].concat(), &site);
});
