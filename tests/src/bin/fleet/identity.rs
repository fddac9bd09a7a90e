//! What a simulated agent keeps of its enrollment, in a file so that the next run need not enroll again.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
};

use anyhow::Context;
use demarc_proto::{SiteId, bytes64::Bytes64};
use serde::{Deserialize, Serialize};

/// One simulated agent.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) site: SiteId,
    pub(crate) hub: String,
    pub(crate) ca: Bytes64,
    pub(crate) chain: Vec<Bytes64>,
    /// PKCS #8.
    pub(crate) key: Bytes64,
}

/// Reads them all.
pub(crate) fn load(path: &Path) -> anyhow::Result<Vec<Identity>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// Writes them all, one a line.
pub(crate) fn save(path: &Path, identities: &[Identity]) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(
        std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
    );
    for identity in identities {
        serde_json::to_writer(&mut file, identity)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
