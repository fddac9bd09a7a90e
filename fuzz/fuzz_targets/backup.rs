//! Any bytes at all as a backup that came from a hub, and any text as a key: nothing panics, and nothing opens that was not
//! sealed.

#![no_main]

use std::{
    io::{Read, Write},
    sync::LazyLock,
};

use demarc::backup::age::{Identity, Opener, Recipient, Sealer};
use libfuzzer_sys::fuzz_target;

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    Identity::parse("AGE-SECRET-KEY-1PJ53JPK6FKLZE6QYQA3YRP0U8U9QSD24H8WM4VVLPF90H8RNC4QSSKVN4N").expect("a good key")
});

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (at, change, bytes) = input;
    if let Ok(mut opener) = Opener::new(bytes, &IDENTITY) {
        let _ = opener.read_to_end(&mut Vec::new());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Identity::parse(text);
        if let Some(recipient) = Recipient::parse(text) {
            assert_eq!(Recipient::parse(&recipient.to_text()), Some(recipient));
        }
    }
    let mut sealer = Sealer::new(Vec::new(), &IDENTITY.recipient().expect("a public key")).expect("a head");
    sealer.write_all(bytes).expect("room");
    let mut sealed = sealer.finish().expect("room");
    let at = usize::from(at) % sealed.len();
    sealed[at] ^= change;
    let mut opened = Vec::new();
    let same = Opener::new(sealed.as_slice(), &IDENTITY).is_ok_and(|mut opener| opener.read_to_end(&mut opened).is_ok());
    assert_eq!(same, change == 0);
    assert!(!same || opened == bytes);
});
