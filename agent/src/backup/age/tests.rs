//! What is sealed opens again, here and by other programs of the format, and nothing else does.

use data_encoding::BASE64;

use super::*;

/// Made by another program that knows the format, with one more stanza that means nothing.
const FOREIGN_KEY: &str = "AGE-SECRET-KEY-1PJ53JPK6FKLZE6QYQA3YRP0U8U9QSD24H8WM4VVLPF90H8RNC4QSSKVN4N";
const FOREIGN_RECIPIENT: &str = "age1a4zc3y8v0meff03tl84p4t7329m0juz60h6ya6rlu46qqxtkwf8qzp2f55";
const FOREIGN_FILE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBad0p4WlRxRmc5OUd3RFFVOUlTc2kramE2NHNzREMvNVFo\
    dlBONklMd0ZVCmY1T1I4Lyt2cDE1RW90VUVpalhvQVo1SUFZSlJFSFBMUWhrdk5UVW95SG8KLT4gMC1ncmVhc2UgIl16MyAhWlR2VmxtIFdXQTlrZnhaIC0r\
    NAprWTZCazRlSGRQV2JsMHF6dHRkNUZ4VVhCWEJ2QjQ4eFoxYTZ4ME1rd0haUgotLS0gTFNGQUVFcjl4TnowUkNRZUYzaXVTTkhLSjJiZVE5OEF4RGQ4V2Rk\
    bldVMAr6JDBWmqXxm3M1DXUXYPe7agA0rPX2XvZD4/nVIrXDASqPJscZempT3IqnQ6XVDVAjdHrZIRLrFA==";

fn sealed(plain: &[u8], recipient: &Recipient) -> Vec<u8> {
    let mut sealer = Sealer::new(Vec::new(), recipient).unwrap();
    sealer.write_all(plain).unwrap();
    sealer.finish().unwrap()
}

fn opened(bytes: &[u8], identity: &Identity) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    match Opener::new(bytes, identity)?.read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<OpenError>()) => Err(OpenError::Damaged),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn what_another_program_sealed_opens() {
    let identity = Identity::parse(&format!("# created: today\n{FOREIGN_KEY}\n")).unwrap();
    assert_eq!(identity.recipient().unwrap().to_text(), FOREIGN_RECIPIENT);
    assert_eq!(identity.to_text().expose(), FOREIGN_KEY);
    let file = BASE64.decode(FOREIGN_FILE.as_bytes()).unwrap();
    assert_eq!(opened(&file, &identity).unwrap(), b"exten => 100,1,Answer()\n");
}

#[test]
fn every_length_comes_back() {
    let identity = Identity::generate().unwrap();
    let recipient = Recipient::parse(&identity.recipient().unwrap().to_text()).unwrap();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        assert_eq!(opened(&sealed(&plain, &recipient), &identity).unwrap(), plain, "{length}");
    }
}

#[test]
fn no_other_key_opens_it() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let file = sealed(b"secret", &ours.recipient().unwrap());
    assert!(matches!(opened(&file, &theirs), Err(OpenError::WrongKey)));
    assert!(!file.windows(6).any(|window| window == b"secret"));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let identity = Identity::generate().unwrap();
    let file = sealed(b"exten => 100,1,Answer()", &identity.recipient().unwrap());
    for at in 0..file.len() {
        for bit in [0x01, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= bit;
            assert!(opened(&changed, &identity).is_err(), "byte {at}");
        }
        assert!(opened(&file[..at], &identity).is_err(), "cut at {at}");
    }
    let mut longer = file;
    longer.push(0);
    assert!(opened(&longer, &identity).is_err());
}

#[test]
fn chunks_cannot_be_left_out_or_changed_around() {
    let identity = Identity::generate().unwrap();
    let file = sealed(&vec![7; 3 * CHUNK], &identity.recipient().unwrap());
    let head = file.len() - 3 * (CHUNK + TAG);
    let chunk = |number: usize| file[head + number * (CHUNK + TAG)..head + (number + 1) * (CHUNK + TAG)].to_vec();
    for order in [vec![0], vec![0, 1], vec![0, 2], vec![1, 0, 2], vec![0, 1, 2, 2]] {
        let body: Vec<u8> = order.iter().flat_map(|number| chunk(*number)).collect();
        assert!(opened(&[&file[..head], &body].concat(), &identity).is_err(), "{order:?}");
    }
}

#[test]
fn keys_that_were_mistyped_are_refused() {
    assert!(Recipient::parse(FOREIGN_RECIPIENT).is_some());
    let (head, last) = FOREIGN_RECIPIENT.split_at(FOREIGN_RECIPIENT.len() - 1);
    assert_eq!(last, "5");
    for wrong in ["", "age1", &format!("{head}6"), &FOREIGN_RECIPIENT[1..], FOREIGN_KEY, "ssh-ed25519 AAAA"] {
        assert!(Recipient::parse(wrong).is_none(), "{wrong}");
    }
    assert!(Identity::parse(FOREIGN_RECIPIENT).is_none());
    assert!(Identity::parse(&format!("{FOREIGN_KEY}\n{FOREIGN_KEY}")).is_none());
    assert!(Identity::parse(&FOREIGN_KEY.replace("PJ53", "PJ35")).is_none());
}
