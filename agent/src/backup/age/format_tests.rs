//! The letter of the format: files with one flaw each, made here with the right keys, so that nothing else is wrong with them.
//! What must be refused, and what must not, is what the project of age says of its own vectors.

use super::*;

const KEY: &str = "AGE-SECRET-KEY-1PJ53JPK6FKLZE6QYQA3YRP0U8U9QSD24H8WM4VVLPF90H8RNC4QSSKVN4N";
const FILE_KEY: [u8; FILE_KEY_LENGTH] = *b"a yellow submari";
const FILE_KEY_LENGTH: usize = super::FILE_KEY;
const PLAIN: &[u8] = b"exten => 100,1,Answer()\n";

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Opens,
    NotForUs,
    Refused,
    NotAge,
}

fn identity() -> Identity {
    Identity::parse(KEY).unwrap()
}

fn fate(file: &[u8]) -> Fate {
    let mut plain = Vec::new();
    match Opener::new(file, &identity()) {
        Ok(mut opener) => match opener.read_to_end(&mut plain) {
            Ok(_) => {
                assert_eq!(plain, PLAIN);
                Fate::Opens
            }
            Err(_) => Fate::Refused,
        },
        Err(OpenError::WrongKey) => Fate::NotForUs,
        Err(OpenError::NotAge) => Fate::NotAge,
        Err(_) => Fate::Refused,
    }
}

/// The share and the body of a stanza for us that holds this key of a file.
fn wrapped(key: &[u8]) -> (String, String) {
    let (share, body) = wrap(key, &identity().recipient().unwrap()).unwrap();
    (BASE64_NOPAD.encode(&share), BASE64_NOPAD.encode(&body))
}

fn mac(covered: &str) -> String {
    BASE64_NOPAD.encode(hmac::sign(&header_key(&FILE_KEY).unwrap(), covered.as_bytes()).as_ref())
}

/// A whole file under a head.
fn under(head: &str) -> Vec<u8> {
    [head.as_bytes(), &payload(&[(PLAIN, true)])].concat()
}

/// A file with these stanzas, and a code that is right for them.
fn with(stanzas: &str) -> Vec<u8> {
    let covered = format!("{VERSION}\n{stanzas}---");
    under(&format!("{covered} {}\n", mac(&covered)))
}

/// A nonce, and chunks that are sealed in this order, each as the last one or not.
fn payload(chunks: &[(&[u8], bool)]) -> Vec<u8> {
    let nonce = [7; 16];
    let mut stream = Stream::new(&FILE_KEY, &nonce).unwrap();
    let mut bytes = nonce.to_vec();
    for (plain, last) in chunks {
        let mut chunk = plain.to_vec();
        let nonce = stream.next(*last).unwrap();
        stream.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk).unwrap();
        bytes.extend(chunk);
    }
    bytes
}

#[test]
fn a_stanza_is_read_to_the_letter() {
    let (share, body) = wrapped(&FILE_KEY);
    let (other_share, other_body) = {
        let stranger = Identity::generate().unwrap().recipient().unwrap();
        let (share, body) = wrap(&FILE_KEY, &stranger).unwrap();
        (BASE64_NOPAD.encode(&share), BASE64_NOPAD.encode(&body))
    };
    let ours = format!("-> X25519 {share}\n{body}\n");
    let theirs = format!("-> X25519 {other_share}\n{other_body}\n");
    let line = "A".repeat(COLUMNS);
    let bytes = |length: usize| BASE64_NOPAD.encode(&vec![1; length]);
    // The last of 43 letters carries four bits of the 32 bytes; its other two must be zero.
    let crooked = |text: &str| {
        let (head, last) = text.split_at(text.len() - 1);
        let place = |letter: char| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(letter);
        let at = place(last.chars().next().unwrap()).unwrap();
        let next = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars().nth(at | 1).unwrap();
        assert_ne!(next.to_string(), last);
        format!("{head}{next}")
    };
    let low_order = [
        [0; 32],
        std::array::from_fn(|at| u8::from(at == 0)),
        // Of order eight, from the list at https://cr.yp.to/ecdh.html#validate.
        [
            224, 235, 122, 124, 59, 65, 184, 174, 22, 86, 227, 250, 241, 159, 196, 106, 218, 9, 141, 235, 156, 50, 177,
            253, 134, 98, 5, 22, 95, 73, 184, 0,
        ],
        [
            95, 156, 149, 188, 163, 80, 140, 36, 177, 208, 177, 85, 156, 131, 239, 91, 4, 68, 92, 196, 88, 28, 142,
            134, 216, 34, 78, 221, 208, 159, 17, 87,
        ],
    ];
    let mut cases: Vec<(String, Fate)> = vec![
        (ours.clone(), Fate::Opens),
        (format!("{theirs}{ours}"), Fate::Opens),
        (format!("{ours}{theirs}"), Fate::Opens),
        // What means nothing to us is passed over, if it is a stanza.
        (format!("-> grease ~!a 1\n\n{ours}"), Fate::Opens),
        (format!("{ours}-> grease\n{line}\n\n"), Fate::Opens),
        (format!("-> grease\n{line}\nAAAA\n{ours}"), Fate::Opens),
        (theirs.clone(), Fate::NotForUs),
        (ours.replace("X25519", "x25519"), Fate::NotForUs),
        (format!("-> X25519 {share}\n{}\n", bytes(32)), Fate::NotForUs),
        ("-> grease\n\n".to_owned(), Fate::NotForUs),
        // A share is 32 bytes in one word, spelled the one way.
        (format!("-> X25519\n{body}\n"), Fate::Refused),
        (format!("-> X25519 {share} {share}\n{body}\n"), Fate::Refused),
        (format!("-> X25519 {}\n{body}\n", bytes(31)), Fate::Refused),
        (format!("-> X25519 {}\n{body}\n", bytes(33)), Fate::Refused),
        (format!("-> X25519 {}\n{body}\n", crooked(&share)), Fate::Refused),
        (format!("-> X25519 {share}=\n{body}\n"), Fate::Refused),
        // So is what it carries.
        (format!("-> X25519 {share}\n{}\n", crooked(&body)), Fate::Refused),
        (format!("-> X25519 {share}\n{body}=\n"), Fate::Refused),
        (format!("-> X25519 {share}\n{}\n", bytes(31)), Fate::Refused),
        (format!("-> X25519 {share}\n{}\n", bytes(33)), Fate::Refused),
        (format!("-> X25519 {share}\n{}\n", body.replace(&body[..1], "-")), Fate::Refused),
        (format!("-> X25519 {share}\n\n"), Fate::Refused),
        // Words are of visible letters, one space apart.
        (format!("-> \n\n{ours}"), Fate::Refused),
        (format!("->\n\n{ours}"), Fate::Refused),
        (format!("-> grease  a\n\n{ours}"), Fate::Refused),
        (format!("-> grease a \n\n{ours}"), Fate::Refused),
        (format!("-> grease \u{e9}\n\n{ours}"), Fate::Refused),
        (format!("-> grease a\u{7f}\n\n{ours}"), Fate::Refused),
        (format!("-- grease\n\n{ours}"), Fate::Refused),
        // A body ends with its first line that is not full.
        (format!("-> grease\n{line}\n{ours}"), Fate::Refused),
        (format!("-> grease\n{line}A\n{ours}"), Fate::Refused),
        (format!("-> grease\nAAAA\nAAAA\n{ours}"), Fate::Refused),
        (format!("-> grease\n{ours}"), Fate::Refused),
        (ours.replace('\n', "\r\n"), Fate::Refused),
        (String::new(), Fate::NotForUs),
    ];
    cases.extend(low_order.iter().map(|point| {
        let share = BASE64_NOPAD.encode(point);
        (format!("-> X25519 {share}\n{body}\n"), Fate::Refused)
    }));
    // A file's key of another length would open nothing anywhere else.
    cases.extend([&FILE_KEY[..15], b"a yellow submarine"].map(|key| {
        let (share, body) = wrapped(key);
        (format!("-> X25519 {share}\n{body}\n"), Fate::Refused)
    }));
    for (stanzas, expected) in cases {
        assert_eq!(fate(&with(&stanzas)), expected, "{stanzas:?}");
    }
}

#[test]
fn a_head_is_read_to_the_letter() {
    let (share, body) = wrapped(&FILE_KEY);
    let covered = format!("{VERSION}\n-> X25519 {share}\n{body}\n---");
    let code = mac(&covered);
    assert_eq!(fate(&under(&format!("{covered} {code}\n"))), Fate::Opens);
    for version in ["age-encryption.org/v2", "age-encryption.org/v1 ", "age-encryption.org/v1\r", "", "-----BEGIN AGE"]
    {
        assert_eq!(
            fate(&under(&format!("{covered} {code}\n").replacen(VERSION, version, 1))),
            Fate::NotAge,
            "{version:?}"
        );
    }
    let other = mac(&format!("{covered} "));
    for end in [
        format!(" {other}\n"),
        format!("  {code}\n"),
        format!(" {code} \n"),
        format!(" {code}\r\n"),
        format!("{code}\n"),
        format!(" {code}=\n"),
        format!(" {}\n", &code[..42]),
        format!(" {}\n", BASE64_NOPAD.encode(&[0; 16])),
        " \n".to_owned(),
        "\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(fate(&under(&format!("{covered}{end}"))), Fate::Refused, "{end:?}");
    }
    // One stanza more than the code knows of.
    assert_eq!(fate(&under(&format!("{covered} {code}\n").replace("---", "-> grease\n\n---"))), Fate::Refused);
    assert_eq!(fate(&under("")), Fate::NotAge);
    assert_eq!(fate(b""), Fate::NotAge);
    assert_eq!(fate(VERSION.as_bytes()), Fate::NotAge);
    // A head without an end is not read for ever.
    let endless = [format!("{VERSION}\n").into_bytes(), vec![b'a'; 4 << 20]].concat();
    assert_eq!(fate(&endless), Fate::Refused);
}

fn opened(payload: &[u8]) -> Option<Vec<u8>> {
    let (share, body) = wrapped(&FILE_KEY);
    let covered = format!("{VERSION}\n-> X25519 {share}\n{body}\n---");
    let file = [format!("{covered} {}\n", mac(&covered)).as_bytes(), payload].concat();
    let mut plain = Vec::new();
    Opener::new(file.as_slice(), &identity()).ok()?.read_to_end(&mut plain).ok()?;
    Some(plain)
}

#[test]
fn a_payload_ends_with_its_last_chunk_and_nowhere_else() {
    let (full, some): (&[u8], &[u8]) = (&[3; CHUNK], b"rest");
    for good in [
        vec![(b"".as_slice(), true)],
        vec![(some, true)],
        vec![(full, true)],
        vec![(full, false), (some, true)],
        vec![(full, false), (full, true)],
    ] {
        let plain: Vec<u8> = good.iter().flat_map(|(plain, _)| plain.to_vec()).collect();
        assert_eq!(opened(&payload(&good)), Some(plain));
    }
    for bad in [
        vec![],
        vec![(some, false)],
        vec![(full, false)],
        vec![(full, false), (some, false)],
        vec![(full, false), (full, false)],
        // An end that holds nothing is one only where all of it is nothing.
        vec![(full, false), (b"".as_slice(), true)],
        vec![(some, true), (some, true)],
        vec![(full, true), (some, true)],
        vec![(full, true), (full, true)],
        vec![(some, false), (some, true)],
    ] {
        let told: Vec<_> = bad.iter().map(|(plain, last)| (plain.len(), *last)).collect();
        assert_eq!(opened(&payload(&bad)), None, "{told:?}");
    }
    // Cut at every edge, and beside it.
    let whole = payload(&[(full, false), (full, false), (some, true)]);
    let edges = [16, 16 + CHUNK, 16 + CHUNK + TAG, 16 + 2 * (CHUNK + TAG) - TAG, 16 + 2 * (CHUNK + TAG), whole.len()];
    for edge in edges {
        for cut in [edge - 1, edge, edge + 1] {
            let is_whole = cut == whole.len();
            if cut <= whole.len() {
                assert_eq!(opened(&whole[..cut]).is_some(), is_whole, "cut at {cut}");
            }
        }
    }
    for more in [1, TAG, CHUNK, CHUNK + TAG] {
        assert_eq!(opened(&[whole.clone(), vec![0; more]].concat()), None, "{more} more");
    }
}
