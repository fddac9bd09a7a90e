//! How the SSH server of a session is set up: what it proves itself with, and what it takes.

use std::{borrow::Cow, time::Duration};

use anyhow::Context as _;
use russh::{
    Limits, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex,
    keys::{Algorithm, Certificate, PrivateKey},
    mac,
    server::Config,
};

use crate::ipc::SessionSettings;

/// How often keys are exchanged anew.
pub(super) const REKEY_BYTES: usize = 1 << 30;
/// As above.
pub(super) const REKEY_AFTER: Duration = Duration::from_secs(3600);
/// How many keys and certificates a client may try.
const MOST_ATTEMPTS: usize = 6;
/// How much longer a refusal takes: ssh offers the bare key before its certificate, and there is nothing to guess.
const REFUSAL: Duration = Duration::ZERO;
/// How much a client may send in one channel before it waits for more room.
const WINDOW: u32 = 1 << 20;
const PACKET: u32 = 32 << 10;
/// A client that is gone without a word is noticed after three of these.
const KEEPALIVE: Duration = Duration::from_secs(30);

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
const CIPHERS: &[cipher::Name] =
    &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR];
/// Where the processor knows AES, GCM is several times as fast as the others. The client's own order decides, and OpenSSH has
/// ChaCha20 (before 10.0 CTR, too) before GCM, which it knows since 6.2: so nothing else is offered.
const CIPHERS_WITH_AES: &[cipher::Name] = &[cipher::AES_128_GCM, cipher::AES_256_GCM];
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// The server's set-up.
///
/// # Errors
/// When the host key or its certificate cannot be read.
pub(super) fn server(settings: &SessionSettings, limits: Limits) -> anyhow::Result<Config> {
    let key = PrivateKey::from_openssh(settings.host_key.expose()).context("the host key cannot be read")?;
    let certificate = settings.host_certificate.as_deref().map(|line| Certificate::from_openssh(line.trim()));
    let certificate = certificate.transpose().context("the host certificate cannot be read")?;
    Ok(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-demarc")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: REFUSAL,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        certificates: certificate.into_iter().collect(),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: 1,
        event_buffer_size: 8,
        limits,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(&[Algorithm::Ed25519]),
            cipher: Cow::Borrowed(if knows_aes() { CIPHERS_WITH_AES } else { CIPHERS }),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        max_auth_attempts: MOST_ATTEMPTS,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: false,
    })
}

/// Whether the processor has instructions for AES and for what GCM multiplies by.
fn knows_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
