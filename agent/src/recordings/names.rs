//! What the name of a file says about it: a recording, a message in a mailbox, or something else.

/// How names of recordings end, in small letters.
const FORMATS: &[&str] = &[
    "wav", "wav49", "wav16", "gsm", "mp3", "ogg", "oga", "opus", "spx", "flac", "m4a", "aac", "amr", "au", "aif",
    "aiff", "raw", "pcm", "ul", "ulaw", "mu", "al", "alaw", "sln", "sln12", "sln16", "sln24", "sln32", "sln44",
    "sln48", "sln96", "sln192", "g719", "g722", "g723", "g723sf", "g726-16", "g726-24", "g726-32", "g726-40", "g729",
    "siren7", "siren14", "ilbc", "vox", "h261", "h263", "h264", "h265", "vp8", "mp4", "mkv", "webm", "avi", "mov",
];
/// Endings of files that hold another file.
const WRAPPED: &[&str] = &["gz", "xz", "zst", "bz2", "gpg", "pgp", "asc", "age", "enc"];
/// The length of `msg0000`.
const MESSAGE: usize = 7;

/// Whether a file of that name is a recording. Nothing else is ever removed: a directory that the owner named may hold
/// more than recordings.
pub(crate) fn is_recording(name: &[u8]) -> bool {
    let Some((stem, ending)) = ending(name) else { return false };
    if WRAPPED.contains(&ending.as_str()) {
        return is_recording(stem);
    }
    FORMATS.contains(&ending.as_str())
}

/// The message that a file in a mailbox belongs to: `msg0000` of `msg0000.txt` and `msg0000.wav`. Greetings belong to none.
pub(super) fn message(name: &[u8]) -> Option<&[u8]> {
    let (stem, ending) = (name.get(..MESSAGE)?, name.get(MESSAGE..)?);
    let number = stem.strip_prefix(b"msg")?;
    (number.iter().all(u8::is_ascii_digit) && ending.first() == Some(&b'.')).then_some(stem)
}

fn ending(name: &[u8]) -> Option<(&[u8], String)> {
    let at = name.iter().rposition(|byte| *byte == b'.')?;
    let ending = std::str::from_utf8(&name[at + 1..]).ok()?;
    (at > 0).then(|| (&name[..at], ending.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_known_by_their_endings() {
        for name in ["a.wav", "a.WAV", "1767258610.12.gsm", "a.wav.gz", "a.mp3.gpg", "a.b.c.opus", "a.g726-32"] {
            assert!(is_recording(name.as_bytes()), "{name}");
        }
        for name in
            ["a", "wav", ".wav", "a.txt", "a.db", "collection-0.wt", "a.gz", "a.txt.gz", "a.wav.tmp", "a.wav~", ""]
        {
            assert!(!is_recording(name.as_bytes()), "{name}");
        }
        assert!(!is_recording(b"a.\xff"));
    }

    #[test]
    fn files_of_a_message_have_its_number() {
        assert_eq!(message(b"msg0000.txt"), Some(&b"msg0000"[..]));
        assert_eq!(message(b"msg0012.wav.tmp"), Some(&b"msg0012"[..]));
        for name in ["unavail.wav", "msg000.wav", "msg00000.wav", "msg0000", "msg000a.wav", "greet.gsm", ".lock"] {
            assert_eq!(message(name.as_bytes()), None, "{name}");
        }
    }
}
