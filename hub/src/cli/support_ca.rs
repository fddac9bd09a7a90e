//! `demarc-hub support-ca`: the support authority, which needs no hub and no settings of one.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Subcommand;
use demarc_proto::{SiteId, support::Label};
use serde::Serialize;
use ssh_key::{Certificate, PublicKey};

use super::{moment, print, table};
use crate::{
    clock,
    config::parse_duration,
    keys,
    support_ca::{Believed, Directory, Entry, HostOrder, Signed, UserOrder, read_grant, read_key},
};

/// More is neither a key nor a grant.
const LONGEST_INPUT: u64 = 64 * 1024;

/// What the support authority can do.
#[derive(Debug, Subcommand)]
pub enum SupportCa {
    /// Makes a new support authority: a key, and an empty record. Overwrites nothing.
    ///
    /// Not on the hub's machine. Example: demarc-hub support-ca init --dir ~/support-ca
    Init {
        /// The directory to make it in.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Certifies a site's host key, so that engineers know the site, and this authority its grants.
    ///
    /// The customer's `demarc support key` prints the key; compare it by telephone. Example: demarc-hub support-ca
    /// sign-host --dir ~/support-ca --site site-one --key site-one.pub
    SignHost {
        /// The authority's directory.
        #[arg(long)]
        dir: PathBuf,
        /// The site.
        #[arg(long)]
        site: SiteId,
        /// The site's host key: a file, or the line itself.
        #[arg(long, value_name = "FILE|KEY")]
        key: String,
        /// How long the certificate is good: a number with s, m, h or d.
        #[arg(long, default_value = "180d", value_parser = parse_duration)]
        valid: Duration,
        /// The site has another host key than before, and its owner said so.
        #[arg(long)]
        replace: bool,
        /// Where to write the certificate, - for standard output; beside the key where absent.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows a grant, if it is signed by a host key that was certified here and is good now. Signs nothing.
    ///
    /// Example: demarc-hub support-ca check --dir ~/support-ca --grant grant.json
    Check {
        /// The authority's directory.
        #[arg(long)]
        dir: PathBuf,
        /// What `demarc-hub grants --export ID` printed; - for standard input.
        #[arg(long, value_name = "FILE")]
        grant: PathBuf,
    },
    /// Certifies an engineer's key for one grant, when the grant is signed by a host key that was certified here.
    ///
    /// Example: demarc-hub support-ca sign --dir ~/support-ca --grant grant.json --key anna.pub --engineer anna
    Sign {
        /// The authority's directory.
        #[arg(long)]
        dir: PathBuf,
        /// What `demarc-hub grants --export ID` printed; - for standard input.
        #[arg(long, value_name = "FILE")]
        grant: PathBuf,
        /// The engineer's public key: a file, or the line itself.
        #[arg(long, value_name = "FILE|KEY")]
        key: String,
        /// The engineer: what the customer's receipt and recording name.
        #[arg(long, value_name = "NAME")]
        engineer: Label,
        /// How long the certificate is good, at most: it never lasts longer than the grant.
        #[arg(long, default_value = "8h", value_parser = parse_duration)]
        valid: Duration,
        /// Where to write the certificate, - for standard output; beside the key where absent.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lists everything that was ever signed.
    List {
        /// The authority's directory.
        #[arg(long)]
        dir: PathBuf,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: SupportCa) -> anyhow::Result<()> {
    let now = clock::now();
    match command {
        SupportCa::Init { dir } => init(&dir),
        SupportCa::SignHost { dir, site, key, valid, replace, out } => {
            let (key, file) = key_from(&key)?;
            let order = HostOrder { site, key, valid: valid.as_secs(), replace };
            let (entry, certificate) = Directory::open(&dir)?.sign_host(order, now)?;
            hand_out(&certificate, file, out)?;
            eprintln!(
                "{}, {}, good until {}.\n\
                 Compare that fingerprint with the customer, by another way than the hub: `demarc support key`.\n\
                 At the site: demarc support host-certificate FILE",
                entry.site,
                entry.key,
                moment(entry.valid_before)
            );
            Ok(())
        }
        SupportCa::Check { dir, grant } => {
            let grant = read_grant(&input(&grant)?)?;
            let Believed { grant, host } = Directory::open(&dir)?.check(&grant, now).context("do not sign this")?;
            let or_any = |label: Option<Label>| label.map_or_else(|| "-".to_owned(), String::from);
            print(&format!(
                "grant     {}\nsite      {}\nscope     {}\nfrom      {}\nuntil     {}\nticket    {}\nengineer  {}\n\
                 host key  {} (its certificate is good until {})\n",
                grant.id,
                grant.site,
                grant.scope,
                moment(grant.issued),
                moment(grant.until),
                or_any(grant.ticket),
                or_any(grant.engineer),
                host.key,
                moment(host.valid_before),
            ))?;
            Ok(())
        }
        SupportCa::Sign { dir, grant, key, engineer, valid, out } => {
            let grant = read_grant(&input(&grant)?)?;
            let (key, file) = key_from(&key)?;
            let order = UserOrder { grant, key, engineer, valid: valid.as_secs() };
            let (entry, certificate) = Directory::open(&dir)?.sign_user(order, now)?;
            hand_out(&certificate, file, out)?;
            let Signed::User { grant, scope, engineer, ticket } = &entry.signed else { return Ok(()) };
            let ticket = ticket.as_ref().map(|ticket| format!(" for {ticket}")).unwrap_or_default();
            eprintln!(
                "{engineer} may use grant {grant}{ticket} at {} ({scope}), until {}.\n\
                 The engineer puts the certificate beside the key and runs: ssh {}",
                entry.site,
                moment(entry.valid_before),
                entry.site
            );
            Ok(())
        }
        SupportCa::List { dir, json } => list(&dir, json),
    }
}

fn init(dir: &Path) -> anyhow::Result<()> {
    let authority = Directory::create(dir)?;
    let line = authority.public_line();
    print(&format!(
        "Made a support authority in {dir}: {fingerprint}\n\
         Keep ca_key safe and backed up, and away from the hub: whoever has it can open every site that has a grant.\n\n\
         At each site, in demarc.toml:   [support]\n\
         \x20                               authorities = [\"{line}\"]\n\
         At each engineer, in known_hosts: @cert-authority * {line}\n\
         Then, for each site:            demarc-hub support-ca sign-host --dir {dir} --site SITE --key KEY\n",
        dir = dir.display(),
        fingerprint = authority.fingerprint(),
    ))?;
    Ok(())
}

/// A key, and the file that it came from.
fn key_from(argument: &str) -> anyhow::Result<(PublicKey, Option<PathBuf>)> {
    if argument.contains(' ') && !Path::new(argument).exists() {
        return Ok((read_key(argument)?, None));
    }
    let file = PathBuf::from(argument);
    let key = read_key(&input(&file)?).with_context(|| format!("{argument} cannot be used"))?;
    Ok((key, (argument != "-").then_some(file)))
}

fn input(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().take(LONGEST_INPUT).read_to_string(&mut text),
        _ => fs::File::open(file).and_then(|opened| opened.take(LONGEST_INPUT).read_to_string(&mut text)),
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    ensure!((text.len() as u64) < LONGEST_INPUT, "{} is neither a key nor a grant: it is too long", file.display());
    Ok(text)
}

/// Writes a certificate where ssh looks for it: `anna.pub` has `anna-cert.pub` beside it.
fn hand_out(certificate: &Certificate, key: Option<PathBuf>, out: Option<PathBuf>) -> anyhow::Result<()> {
    let line = certificate.to_openssh()? + "\n";
    let beside = key.map(|key| {
        let stem =
            if key.extension().is_some_and(|extension| extension == "pub") { key.with_extension("") } else { key };
        let mut name = stem.into_os_string();
        name.push("-cert.pub");
        PathBuf::from(name)
    });
    match out.or(beside).filter(|out| out.as_os_str() != "-") {
        None => print(&line)?,
        Some(file) => {
            keys::replace(&file, &line, 0o644)?;
            eprintln!("Wrote {}.", file.display());
        }
    }
    Ok(())
}

/// One certificate as JSON; times are RFC 3339.
#[derive(Serialize)]
struct Line {
    serial: u64,
    signed: String,
    site: SiteId,
    #[serde(flatten)]
    what: Signed,
    key: String,
    valid_after: String,
    valid_before: String,
}

fn list(dir: &Path, json: bool) -> anyhow::Result<()> {
    let authority = Directory::open(dir)?;
    if json {
        let lines: Vec<Line> = authority.entries().iter().cloned().map(line).collect();
        print(&(serde_json::to_string(&serde_json::json!({ "signed": lines }))? + "\n"))?;
        return Ok(());
    }
    if authority.entries().is_empty() {
        print("Nothing was signed yet.\n")?;
        return Ok(());
    }
    let mut rows = table(&["serial", "signed", "site", "for", "grant", "scope", "ticket", "until", "key"]);
    for entry in authority.entries() {
        let (whom, grant, scope, ticket) = match &entry.signed {
            Signed::Host { replaces: None } => ("(host)".to_owned(), None, None, None),
            Signed::Host { replaces: Some(_) } => ("(host, replaced)".to_owned(), None, None, None),
            Signed::User { grant, scope, engineer, ticket } => {
                (engineer.to_string(), Some(grant.to_string()), Some(scope.to_string()), ticket.clone())
            }
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        rows.add_row([
            entry.serial.to_string(),
            moment(entry.at),
            entry.site.to_string(),
            whom,
            or_dash(grant),
            or_dash(scope),
            or_dash(ticket.map(String::from)),
            moment(entry.valid_before),
            entry.key.clone(),
        ]);
    }
    print(&format!("{rows}\n"))?;
    Ok(())
}

fn line(entry: Entry) -> Line {
    Line {
        serial: entry.serial,
        signed: moment(entry.at),
        site: entry.site,
        what: entry.signed,
        key: entry.key,
        valid_after: moment(entry.valid_after),
        valid_before: moment(entry.valid_before),
    }
}
