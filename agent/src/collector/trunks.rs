//! The trunks that the phone system itself has told of: kept in the store, so that a restart knows them before the
//! database answers.

use std::collections::BTreeMap;

use crate::{
    call::{CallRules, rules::Line},
    pbx::stream::Said,
    settings::Pbx,
    store::{Store, StoreError},
};

/// What the sources have told of trunks.
#[derive(Default)]
pub struct KnownTrunks {
    /// By the name of the source; none where it has not told yet.
    told: BTreeMap<String, Option<Vec<Line>>>,
}

impl KnownTrunks {
    /// What the store knows from those of these sources that tell of trunks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(pbx: &Pbx, store: &Store) -> Result<Self, StoreError> {
        let mut told = BTreeMap::new();
        for source in pbx.source.iter().filter(|source| source.tells_of_trunks()) {
            let name = source.name();
            let known = store.setting(&key(&name))?.and_then(|text| read(&text));
            told.insert(name, known);
        }
        Ok(Self { told })
    }

    /// Whether a source has yet to tell, for the first time, which trunks there are.
    pub fn are_awaited(&self) -> bool {
        self.told.values().any(Option::is_none)
    }

    /// Hears what a source says; whether other rules follow from it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn hear(&mut self, source: &str, said: &Said, store: &mut Store) -> Result<bool, StoreError> {
        let Some(known) = self.told.get_mut(source) else { return Ok(false) };
        match said {
            Said::Trunks(trunks) if known.as_ref() != Some(trunks) => {
                *known = Some(trunks.clone());
                store.set(&key(source), &write(trunks))?;
                Ok(true)
            }
            // It cannot tell now, and calls are not to wait for it.
            Said::Trouble(Some(_)) | Said::Advice(Some(_)) => {
                known.get_or_insert_default();
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// The rules that follow from the settings and from these.
    pub fn rules(&self, pbx: &Pbx) -> CallRules {
        CallRules::knowing(pbx, self.told.values().flatten().flatten())
    }
}

fn key(source: &str) -> String {
    format!("trunks of {source}")
}

fn write(trunks: &[Line]) -> String {
    let texts: Vec<_> = trunks.iter().map(|trunk| [&trunk.technology, &trunk.device, &trunk.name]).collect();
    // Texts can always be written.
    serde_json::to_string(&texts).unwrap_or_default()
}

fn read(text: &str) -> Option<Vec<Line>> {
    let texts: Vec<[String; 3]> = serde_json::from_str(text).ok()?;
    Some(texts.into_iter().map(|[technology, device, name]| Line { technology, device, name }).collect())
}
