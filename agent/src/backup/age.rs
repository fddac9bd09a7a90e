//! The format of `age` (age-encryption.org/v1) with X25519 keys, as far as backups need it: seal to one recipient, open with
//! one identity. Everything that is cryptography comes from aws-lc, which is in this program for TLS anyway; what is here is
//! the order of the bytes. Files open with every other program that knows the format.

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, PrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral},
    error::Unspecified,
    hkdf::{HKDF_SHA256, Salt},
    hmac,
    rand::{SystemRandom, fill},
};
use data_encoding::BASE64_NOPAD;

use crate::settings::Secret;
use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};

/// The first line.
const VERSION: &str = "age-encryption.org/v1";
const PUBLIC_PREFIX: &str = "age";
const SECRET_PREFIX: &str = "age-secret-key-";
/// What the wrapping key is derived for.
const WRAP: &[u8] = b"age-encryption.org/v1/X25519";
/// Bytes of the payload that are sealed at a time.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
const FILE_KEY: usize = 16;
/// The columns of a stanza's body.
const COLUMNS: usize = 64;
/// No header is longer.
const MOST_HEADER: u64 = 16 * 1024;

/// A public key: whoever has it can seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// Reads `age1…`.
    pub fn parse(text: &str) -> Option<Self> {
        unlettered(text.trim(), PUBLIC_PREFIX).map(Self)
    }

    /// As `age1…`.
    pub fn to_text(&self) -> String {
        lettered(PUBLIC_PREFIX, &self.0)
    }
}

/// A private key: whoever has it can open.
pub struct Identity {
    key: PrivateKey,
    bytes: [u8; 32],
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; 32];
        fill(&mut bytes).map_err(no_crypto)?;
        Self::of(bytes).ok_or_else(|| no_crypto(Unspecified))
    }

    /// Reads `AGE-SECRET-KEY-1…`, or a file in which a line is that and others begin with `#`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let bytes = unlettered(lines.next()?, SECRET_PREFIX)?;
        lines.next().is_none().then_some(())?;
        Self::of(bytes)
    }

    fn of(bytes: [u8; 32]) -> Option<Self> {
        Some(Self { key: PrivateKey::from_private_key(&X25519, &bytes).ok()?, bytes })
    }

    /// As `AGE-SECRET-KEY-1…`.
    pub fn to_text(&self) -> Secret {
        Secret::new(lettered(SECRET_PREFIX, &self.bytes).to_ascii_uppercase())
    }

    /// The public key to it.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn recipient(&self) -> io::Result<Recipient> {
        let public = self.key.compute_public_key().map_err(no_crypto)?;
        public.as_ref().try_into().map(Recipient).map_err(|_| no_crypto(Unspecified))
    }

    /// The key of the file, if one of the stanzas is for us.
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<[u8; FILE_KEY], OpenError> {
        let ours = self.recipient()?;
        for stanza in stanzas.iter().filter(|stanza| stanza.words.first().is_some_and(|kind| kind == "X25519")) {
            let [_, share] = stanza.words.as_slice() else { return Err(OpenError::Damaged) };
            let share: [u8; 32] = base64(share).and_then(|share| share.try_into().ok()).ok_or(OpenError::Damaged)?;
            let mut body = stanza.body.clone();
            if body.len() != FILE_KEY + TAG {
                return Err(OpenError::Damaged);
            }
            let peer = UnparsedPublicKey::new(&X25519, share);
            // Refused is a point of low order, by which everybody would agree on the same.
            let key = agree(&self.key, peer, Unspecified, |shared| wrapping_key(shared, &share, &ours))
                .map_err(|_| OpenError::Damaged)?;
            if let Ok(opened) = key.open_in_place(zero_nonce(), Aad::empty(), &mut body) {
                return (&*opened).try_into().map_err(|_| OpenError::Damaged);
            }
        }
        Err(OpenError::WrongKey)
    }
}

/// It cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is for somebody else.
    #[error("this key does not open the backup: it was made for another one")]
    WrongKey,
    /// It begins as no such file does.
    #[error("this is no backup: it does not begin as files of age do")]
    NotAge,
    /// Not what was sealed.
    #[error("the backup is damaged or cut off: its bytes are not those that were encrypted")]
    Damaged,
    /// It cannot be read.
    #[error("the backup cannot be read")]
    Unreadable(#[from] io::Error),
}

/// Seals what is written into it.
pub struct Sealer<W> {
    output: W,
    stream: Stream,
    chunk: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Begins a file for that recipient.
    ///
    /// # Errors
    /// When the head cannot be written.
    pub fn new(mut output: W, recipient: &Recipient) -> io::Result<Self> {
        let mut file_key = [0; FILE_KEY];
        let mut nonce = [0; 16];
        fill(&mut file_key).and_then(|()| fill(&mut nonce)).map_err(no_crypto)?;
        let (share, body) = wrap(&file_key, recipient).map_err(no_crypto)?;
        let head = format!("{VERSION}\n-> X25519 {}\n{}\n---", BASE64_NOPAD.encode(&share), BASE64_NOPAD.encode(&body));
        let mac = hmac::sign(&header_key(&file_key).map_err(no_crypto)?, head.as_bytes());
        writeln!(output, "{head} {}", BASE64_NOPAD.encode(mac.as_ref()))?;
        output.write_all(&nonce)?;
        let stream = Stream::new(&file_key, &nonce).map_err(no_crypto)?;
        Ok(Self { output, stream, chunk: Vec::with_capacity(CHUNK + TAG) })
    }

    /// Seals the end. A file that does not get one opens for nobody.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.stream.next(last)?;
        let sealed = self.stream.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk);
        sealed.map_err(no_crypto)?;
        self.output.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for what follows: the last one is sealed as such.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what is read through it. An error carries an [`OpenError`] where the bytes are not those that were sealed.
pub struct Opener<R> {
    input: R,
    stream: Stream,
    /// What was read and not opened yet; what was opened and not handed on yet.
    sealed: Vec<u8>,
    open: Vec<u8>,
    given: usize,
    over: bool,
}

impl<R> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl<R: BufRead> Opener<R> {
    /// Reads the head, and finds the key of the file.
    ///
    /// # Errors
    /// When the key does not fit, or this is no such file.
    pub fn new(mut input: R, identity: &Identity) -> Result<Self, OpenError> {
        let header = Header::read(&mut input)?;
        let file_key = identity.unwrap(&header.stanzas)?;
        let key = header_key(&file_key).map_err(|_| OpenError::Damaged)?;
        hmac::verify(&key, &header.text, &header.mac).map_err(|_| OpenError::Damaged)?;
        let mut nonce = [0; 16];
        input.read_exact(&mut nonce).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => OpenError::Damaged,
            _ => OpenError::Unreadable(error),
        })?;
        let stream = Stream::new(&file_key, &nonce).map_err(|_| OpenError::Damaged)?;
        Ok(Self { input, stream, sealed: Vec::new(), open: Vec::new(), given: 0, over: false })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, OpenError::Damaged);
        // One byte more than a chunk tells whether this is the last.
        let wanted = CHUNK + TAG + 1 - self.sealed.len();
        (&mut self.input).take(wanted as u64).read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() <= CHUNK + TAG;
        let rest = self.sealed.split_off(self.sealed.len().min(CHUNK + TAG));
        let mut chunk = std::mem::replace(&mut self.sealed, rest);
        let first = self.stream.counter == 0;
        let nonce = self.stream.next(last)?;
        let length = self.stream.key.open_in_place(nonce, Aad::empty(), &mut chunk).map_err(|_| damaged())?.len();
        if length == 0 && !first {
            return Err(damaged());
        }
        chunk.truncate(length);
        (self.open, self.given, self.over) = (chunk, 0, last);
        Ok(())
    }
}

impl<R: BufRead> Read for Opener<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.open.len() {
            if self.over {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let length = into.len().min(self.open.len() - self.given);
        into[..length].copy_from_slice(&self.open[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// For whom the key of the file is wrapped, and how.
struct Stanza {
    words: Vec<String>,
    body: Vec<u8>,
}

struct Header {
    stanzas: Vec<Stanza>,
    /// What the code of the header covers.
    text: Vec<u8>,
    mac: Vec<u8>,
}

impl Header {
    fn read(input: &mut impl BufRead) -> Result<Self, OpenError> {
        let mut input = input.take(MOST_HEADER);
        let mut text = Vec::new();
        let mut line = |text: &mut Vec<u8>| -> Result<String, OpenError> {
            let mut line = Vec::new();
            input.read_until(b'\n', &mut line)?;
            text.extend_from_slice(&line);
            (line.pop() == Some(b'\n')).then_some(()).ok_or(OpenError::Damaged)?;
            String::from_utf8(line).map_err(|_| OpenError::Damaged)
        };
        match line(&mut text) {
            Ok(first) if first == VERSION => {}
            Err(OpenError::Unreadable(error)) => return Err(error.into()),
            _ => return Err(OpenError::NotAge),
        }
        let mut stanzas = Vec::new();
        loop {
            let before = text.len();
            let head = line(&mut text)?;
            if let Some(mac) = head.strip_prefix("--- ") {
                text.truncate(before + 3);
                return Ok(Self { stanzas, text, mac: base64(mac).ok_or(OpenError::Damaged)? });
            }
            let words: Vec<String> =
                head.strip_prefix("-> ").ok_or(OpenError::Damaged)?.split(' ').map(str::to_owned).collect();
            // Visible letters, and at least one a word.
            if !words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(OpenError::Damaged);
            }
            let mut body = String::new();
            loop {
                let part = line(&mut text)?;
                body.push_str(&part);
                match part.len() {
                    COLUMNS => {}
                    0..COLUMNS => break,
                    _ => return Err(OpenError::Damaged),
                }
            }
            stanzas.push(Stanza { words, body: base64(&body).ok_or(OpenError::Damaged)? });
        }
    }
}

/// The payload's key, and the count of its chunks.
struct Stream {
    key: LessSafeKey,
    counter: u64,
}

impl Stream {
    fn new(file_key: &[u8], nonce: &[u8]) -> Result<Self, Unspecified> {
        Ok(Self { key: aead_key(&derive(nonce, file_key, b"payload")?)?, counter: 0 })
    }

    fn next(&mut self, last: bool) -> io::Result<Nonce> {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.counter.to_be_bytes());
        nonce[11] = u8::from(last);
        self.counter = self.counter.checked_add(1).ok_or_else(|| io::Error::other("too long"))?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// What a stanza for that recipient holds: the public half of a key that is drawn for it, and the key of the file, sealed.
fn wrap(file_key: &[u8], recipient: &Recipient) -> Result<([u8; 32], Vec<u8>), Unspecified> {
    let ephemeral = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())?;
    let share: [u8; 32] = ephemeral.compute_public_key()?.as_ref().try_into().map_err(|_| Unspecified)?;
    let peer = UnparsedPublicKey::new(&X25519, recipient.0);
    let key = agree_ephemeral(ephemeral, peer, Unspecified, |shared| wrapping_key(shared, &share, recipient))?;
    let mut body = file_key.to_vec();
    key.seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut body)?;
    Ok((share, body))
}

/// The key that wraps the key of the file: from what two keys agree on, and from both of them.
fn wrapping_key(shared: &[u8], share: &[u8; 32], recipient: &Recipient) -> Result<LessSafeKey, Unspecified> {
    let salt = [share.as_slice(), recipient.0.as_slice()].concat();
    aead_key(&derive(&salt, shared, WRAP)?)
}

fn header_key(file_key: &[u8]) -> Result<hmac::Key, Unspecified> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], file_key, b"header")?))
}

fn derive(salt: &[u8], from: &[u8], purpose: &[u8]) -> Result<[u8; 32], Unspecified> {
    let mut key = [0; 32];
    Salt::new(HKDF_SHA256, salt).extract(from).expand(&[purpose], HKDF_SHA256)?.fill(&mut key)?;
    Ok(key)
}

fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, bytes).map(LessSafeKey::new)
}

/// A wrapping key is used once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(text.as_bytes()).ok()
}

/// 32 bytes as age writes keys: in letters that say what they are, with a checksum that finds what was mistyped (BIP 173).
fn lettered(prefix: &str, bytes: &[u8; 32]) -> String {
    let prefix = Hrp::parse(prefix).expect("both of our prefixes are ones");
    bech32::encode::<Bech32>(prefix, bytes).expect("a key is shorter than the format allows")
}

/// The bytes of a key under that prefix.
fn unlettered(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    let is_whole = checked.validate_segwit_padding().is_ok();
    (is_whole && checked.hrp().as_str().eq_ignore_ascii_case(prefix)).then_some(())?;
    checked.byte_iter().collect::<Vec<u8>>().try_into().ok()
}

fn no_crypto(_: Unspecified) -> io::Error {
    io::Error::other("the cryptographic library refused its service")
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
