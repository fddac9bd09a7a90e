//! `demarc-hub connect`: standard input and output, connected to a session at a site.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use demarc_proto::{
    SiteId,
    support::{GRANT_OPTION, GrantId},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg},
};

use ssh_key::Certificate;

use super::moment;
use crate::{
    clock, keys,
    support::{Answer, Ask, Said, short},
};

/// So much is moved at a time.
const CHUNK: usize = 64 * 1024;
/// The hub asks the site, which has 20 seconds to answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// Asks the hub that runs here. The connection is of use afterwards only when a session was asked for.
pub(super) fn ask(socket: &Path, ask: &Ask) -> anyhow::Result<(Said, UnixStream)> {
    let hub = short(socket).and_then(|(name, _directory)| UnixStream::connect(name)).map_err(|error| {
        let socket = socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                anyhow!("no hub runs here: nobody answers at {socket}")
            }
            io::ErrorKind::PermissionDenied => {
                anyhow!("you are not allowed to use {socket}: run this as the user of the hub (sudo -u …)")
            }
            _ => anyhow!("cannot reach the hub at {socket}: {error}"),
        }
    })?;
    hub.set_read_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(ask)?;
    question.push(b'\n');
    (&hub).write_all(&question).context("the hub went away")?;
    let answer = read_line(&hub).context("the hub went away")?;
    hub.set_read_timeout(None)?;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Ok(said)) => Ok((said, hub)),
        Ok(Answer::Error(words)) => bail!(words),
        Err(_) => bail!("the hub gave no answer that this version knows"),
    }
}

/// Reads one line and nothing behind it: that belongs to the session.
fn read_line(hub: &UnixStream) -> io::Result<Vec<u8>> {
    // A peek tells how much of what is there belongs to the line.
    let mut line = Vec::new();
    loop {
        let mut ahead = [0; 4096];
        let (length, _) = recv(hub, &mut ahead, RecvFlags::PEEK)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = ahead[..length].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(length, |end| end + 1);
        (&mut &*hub).read_exact(&mut ahead[..taken])?;
        line.extend_from_slice(&ahead[..taken]);
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// Which grant a session is for.
pub(super) enum Under {
    /// The newest that is live.
    Newest,
    /// That one.
    Grant(GrantId),
    /// The one that this certificate of an engineer is for.
    Certificate(PathBuf),
}

impl Under {
    fn grant(&self, site: &SiteId, now: u64) -> anyhow::Result<Option<GrantId>> {
        match self {
            Self::Newest => Ok(None),
            Self::Grant(grant) => Ok(Some(*grant)),
            Self::Certificate(file) => {
                let text = keys::read(file)?;
                let grant = named_by(&text, site, now).map_err(|words| {
                    anyhow!("{} {words}: ask whoever keeps the support authority for another", file.display())
                })?;
                Ok(Some(grant))
            }
        }
    }
}

/// The grant that a certificate is for. The site looks at it much closer; this is for better words than it can give.
fn named_by(text: &str, site: &SiteId, now: u64) -> Result<GrantId, String> {
    let certificate = Certificate::from_openssh(text.trim()).map_err(|_| "is no certificate of OpenSSH".to_owned())?;
    let grant = certificate.critical_options().get(GRANT_OPTION).and_then(|grant| grant.parse().ok());
    let grant = grant.ok_or_else(|| "is not for a grant".to_owned())?;
    match certificate.valid_principals() {
        [principal] if principal == site.as_str() => {}
        principals => return Err(format!("is for {}, not for {site}", principals.join(", "))),
    }
    if certificate.valid_before() <= now {
        return Err(format!("is over since {}", moment(certificate.valid_before())));
    }
    Ok(grant)
}

pub(super) fn run(socket: &Path, site: &SiteId, under: &Under, hand_over: bool) -> anyhow::Result<()> {
    let grant = under.grant(site, clock::now())?;
    let (_, hub) = ask(socket, &Ask::Connect { connect: site.clone(), grant })?;
    if hand_over {
        return give(&hub).context("cannot hand the connection over: --fdpass goes with `ProxyUseFdpass yes` of ssh");
    }
    // Files of our own: those of the standard library collect lines, and a session is no lines.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let (to_hub, listener) = (hub.try_clone()?, output.try_clone()?);
    thread::spawn(move || {
        copy(input, &to_hub).ok();
        // The site is told that nothing more will come, and may still answer; when nobody is left to read that, it is
        // over, though the site may be silent for ever.
        to_hub.shutdown(Shutdown::Write).ok();
        wait_until_nobody_reads(&listener);
        process::exit(0);
    });
    match copy(&hub, File::from(output)) {
        // Whoever started us has ended first.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        copied => copied.with_context(|| format!("the session at {site} was cut off")),
    }
}

/// Gives the connection itself to whoever started us, over the socket that is our standard output.
fn give(hub: &UnixStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = [hub.as_fd()];
    rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    // A descriptor travels with at least one byte.
    sendmsg(io::stdout(), &[IoSlice::new(&[0])], &mut rights, SendFlags::empty())?;
    Ok(())
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the other end of a pipe or socket is closed. A file has no other end, and then this waits for ever.
fn wait_until_nobody_reads(output: &OwnedFd) {
    loop {
        // Without any event named, the kernel tells of errors and of hanging up alone.
        let mut wanted = [PollFd::new(output, PollFlags::empty())];
        match poll(&mut wanted, None) {
            Ok(_) if wanted[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => loop {
                thread::park();
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use ssh_key::{
        PrivateKey,
        certificate::{Builder, CertType},
        private::Ed25519Keypair,
    };

    use super::*;

    #[test]
    fn a_certificate_names_its_grant_or_what_is_wrong_with_it() {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
        let certificate = |principals: &[&str], option: Option<&str>| {
            let mut builder = Builder::new([0; 16], key.public_key(), 10, 1_795_338_000).unwrap();
            builder.cert_type(CertType::User).unwrap();
            for principal in principals {
                builder.valid_principal(*principal).unwrap();
            }
            if let Some(grant) = option {
                builder.critical_option(GRANT_OPTION, grant).unwrap();
            }
            builder.sign(&key).unwrap().to_openssh().unwrap()
        };
        let site: SiteId = "site-one".parse().unwrap();
        let grant = Some("0123456789abcdef");
        let good = certificate(&["site-one"], grant);
        assert_eq!(named_by(&good, &site, 100).map(|grant| grant.to_string()).as_deref(), Ok("0123456789abcdef"));
        for (text, now, words) in [
            (good.clone(), 1_795_338_000, "is over since 2026-11-22T09:00:00Z"),
            (certificate(&["site-two"], grant), 100, "is for site-two, not for site-one"),
            (certificate(&["site-one", "site-two"], grant), 100, "is for site-one, site-two, not for site-one"),
            (certificate(&["site-one"], None), 100, "is not for a grant"),
            (certificate(&["site-one"], Some("all")), 100, "is not for a grant"),
            (key.public_key().to_openssh().unwrap(), 100, "is no certificate"),
        ] {
            let wrong = named_by(&text, &site, now).unwrap_err();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }
}
