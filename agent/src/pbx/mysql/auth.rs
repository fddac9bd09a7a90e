//! The login: the server's greeting, and the methods by which a user can prove who it is.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use super::{
    Access, MysqlError,
    answer::{self, is_error},
    packet::Reader,
};

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 1 << 9;
const TLS: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
/// Everything that this client can do; `LOCAL_FILES` and `MULTI_STATEMENTS` are left out on purpose.
const CAN: u32 = LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;

const MAX_PACKET: u32 = 1 << 20;
/// `latin1_swedish_ci`, which every version knows. Questions are ASCII, and answers are asked for as they lie in the table.
const CHARACTER_SET: u8 = 8;
const NONCE: usize = 20;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";
/// The server looks at who is at the other end of the socket.
const BY_SOCKET: [&str; 2] = ["unix_socket", "auth_socket"];

/// What the server says first.
pub(super) struct Greeting {
    capabilities: u32,
    nonce: Vec<u8>,
    method: String,
}

impl Greeting {
    pub(super) fn read(packet: &[u8]) -> Result<Self, MysqlError> {
        if is_error(packet) {
            return Err(answer::error(packet).into());
        }
        let torn = MysqlError::Protocol("a torn greeting");
        Self::parse(packet).ok_or(torn).and_then(|greeting| {
            let enough = greeting.capabilities & (PROTOCOL_41 | SECURE_CONNECTION) == PROTOCOL_41 | SECURE_CONNECTION;
            if enough { Ok(greeting) } else { Err(MysqlError::Protocol("it is older than MySQL 4.1")) }
        })
    }

    fn parse(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader(packet);
        reader.byte().filter(|&version| version == 10)?;
        reader.text();
        reader.bytes(4)?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.byte()?;
        let low = reader.u16()?;
        reader.bytes(3)?;
        let high = reader.u16()?;
        let capabilities = u32::from(high) << 16 | u32::from(low);
        let length = usize::from(reader.byte()?);
        reader.bytes(10)?;
        let rest = reader.bytes(length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest);
        nonce.truncate(NONCE);
        let method = match capabilities & PLUGIN_AUTH {
            0 => NATIVE.to_owned(),
            _ => String::from_utf8_lossy(reader.text()).into_owned(),
        };
        Some(Self { capabilities, nonce, method })
    }

    pub(super) fn offers_tls(&self) -> bool {
        self.capabilities & TLS != 0
    }
}

/// Asks for TLS before anything else is said.
pub(super) fn wish_for_tls() -> Vec<u8> {
    opening(CAN | TLS)
}

fn opening(capabilities: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    packet.extend_from_slice(&capabilities.to_le_bytes());
    packet.extend_from_slice(&MAX_PACKET.to_le_bytes());
    packet.push(CHARACTER_SET);
    packet.extend_from_slice(&[0; 23]);
    packet
}

/// How far a login is.
pub(super) struct Login {
    method: String,
    nonce: Vec<u8>,
    /// Whether a password may go over the way as it is.
    secure: bool,
    asked_for_key: bool,
}

/// What to do next.
pub(super) enum Step {
    In,
    Listen,
    Say(Vec<u8>),
}

impl Login {
    pub(super) fn new(secure: bool, greeting: &Greeting) -> Self {
        // Another method than these two comes up again in the server's answer, with the user's own.
        let known = [NATIVE, CACHING].contains(&greeting.method.as_str());
        let method = if known { greeting.method.clone() } else { NATIVE.to_owned() };
        Self { method, nonce: greeting.nonce.clone(), secure, asked_for_key: false }
    }

    /// The first answer to the greeting.
    pub(super) fn first(&mut self, access: &Access<'_>, encrypted: bool) -> Vec<u8> {
        let mut packet = opening(if encrypted { CAN | TLS } else { CAN });
        packet.extend_from_slice(access.user.as_bytes());
        packet.push(0);
        let proof = self.proof(access.password).unwrap_or_default();
        // At most 32 bytes: a digest.
        packet.push(proof.len() as u8);
        packet.extend_from_slice(&proof);
        packet.extend_from_slice(self.method.as_bytes());
        packet.push(0);
        packet
    }

    /// What to do about the server's answer.
    pub(super) fn next(&mut self, packet: &[u8], password: &str) -> Result<Step, MysqlError> {
        match packet {
            [0, ..] => Ok(Step::In),
            [0xff, ..] => Err(answer::error(packet).into()),
            [0xfe, rest @ ..] => {
                let mut reader = Reader(rest);
                self.method = String::from_utf8_lossy(reader.text()).into_owned();
                self.nonce = reader.0.get(..NONCE).unwrap_or(reader.0).to_vec();
                match self.proof(password) {
                    Some(proof) => Ok(Step::Say(proof)),
                    None => Err(MysqlError::Method(self.method.chars().take(40).collect())),
                }
            }
            // The server remembers the user's password.
            [1, 3] => Ok(Step::Listen),
            // It does not, and wants to see it.
            [1, 4] if self.secure => Ok(Step::Say([password.as_bytes(), &[0]].concat())),
            [1, 4] => {
                self.asked_for_key = true;
                Ok(Step::Say(vec![2]))
            }
            [1, key @ ..] if self.asked_for_key => Ok(Step::Say(self.sealed(password, key)?)),
            _ => Err(MysqlError::Protocol("an unknown step of the login")),
        }
    }

    /// What proves that we know the password; none where the method is not known.
    fn proof(&self, password: &str) -> Option<Vec<u8>> {
        let (algorithm, ours_first) = match self.method.as_str() {
            NATIVE => (&SHA1_FOR_LEGACY_USE_ONLY, false),
            CACHING => (&SHA256, true),
            other if BY_SOCKET.contains(&other) => return Some(Vec::new()),
            _ => return None,
        };
        if password.is_empty() {
            return Some(Vec::new());
        }
        let once = digest(algorithm, password.as_bytes());
        let twice = digest(algorithm, once.as_ref());
        let salted = match ours_first {
            true => [twice.as_ref(), &self.nonce].concat(),
            false => [&self.nonce, twice.as_ref()].concat(),
        };
        let mask = digest(algorithm, &salted);
        Some(once.as_ref().iter().zip(mask.as_ref()).map(|(byte, mask)| byte ^ mask).collect())
    }

    /// The password, for the server's key alone.
    fn sealed(&self, password: &str, key: &[u8]) -> Result<Vec<u8>, MysqlError> {
        let plain = password.bytes().chain([0]);
        let masked: Vec<u8> = plain.zip(self.nonce.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let seal = || {
            let key = SubjectPublicKeyInfoDer::from_pem_slice(key).ok()?;
            let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&key).ok()?).ok()?;
            let mut sealed = vec![0; key.ciphertext_size()];
            let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, &masked, &mut sealed, None).ok()?.len();
            sealed.truncate(length);
            Some(sealed)
        };
        seal().ok_or(MysqlError::Protocol("a key that is none"))
    }
}
