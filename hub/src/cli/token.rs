//! `demarc-hub token`: lets a site in, once.

use std::time::Duration;

use anyhow::anyhow;
use demarc_proto::{SiteId, bytes64::Bytes64, token::EnrollmentToken};
use sha2::{Digest, Sha256};

use super::{existing_store, moment, print};
use crate::{clock, config::Config, keys};

pub(super) async fn run(config: &Config, sites: Vec<SiteId>, valid: Duration) -> anyhow::Result<()> {
    let authority = Sha256::digest(keys::certificate(&config.keys.ca_certificate)?);
    let store = existing_store(config).await?;
    for site in sites {
        let mut secret = [0u8; 32];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| anyhow!("this machine has no randomness to make a secret from"))?;
        let now = clock::now();
        let expires = now + valid.as_secs();
        let enrolled = store.key_of(&site).await?.is_some();
        store.add_token(&site, &secret, now, expires).await?;
        let token = EnrollmentToken {
            site: site.clone(),
            hub: config.address(),
            ca_sha256: Bytes64(authority.to_vec()),
            secret: Bytes64(secret.to_vec()),
            expires,
        };
        // Standard output carries the tokens alone; what people should know goes beside it.
        eprintln!("Good once, for {site}, until {}. On the site: demarc enroll TOKEN", moment(expires));
        if enrolled {
            eprintln!("{site} is enrolled already: whoever uses this token takes its place.");
        }
        print(&format!("{token}\n"))?;
    }
    store.close().await;
    Ok(())
}
