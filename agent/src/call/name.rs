//! Names of trunks, queues and extensions while calls are put together: a number in the call, the text once.

use rustc_hash::FxHashMap;

use super::{key::text_hash, rules::Trunk};

/// Stands for a text inside a call. It is the text's hash and so the same in every process and order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub(crate) u64);

impl NameId {
    /// No name.
    pub const NONE: Self = Self(0);

    /// What stands for that text.
    pub fn of(text: &[u8]) -> Self {
        // Nothing may look like no name.
        if text.is_empty() { Self::NONE } else { Self(text_hash(text).max(1)) }
    }

    /// The same bits, as SQLite can hold them.
    pub(crate) fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Whether there is a name.
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// No name is longer: a longer one is cut.
const MAX_BYTES: usize = 128;

/// So many names noted of late are known without a look into the table.
const RECENT: usize = 1024;

/// The texts behind [`NameId`]s.
#[derive(Clone)]
pub struct Names {
    texts: FxHashMap<NameId, Box<str>>,
    /// Each at the place that its last bits name.
    recent: Box<[NameId; RECENT]>,
}

impl Default for Names {
    fn default() -> Self {
        Self { texts: FxHashMap::default(), recent: Box::new([NameId::NONE; RECENT]) }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    /// The id of a text, remembering the text. The PBX's bytes need not be UTF-8.
    #[inline(always)]
    pub fn note(&mut self, text: &[u8]) -> NameId {
        let text = &text[..text.len().min(MAX_BYTES)];
        self.note_as(NameId::of(text), || String::from_utf8_lossy(text).into())
    }

    /// The id of a trunk's name, remembering it.
    #[inline(always)]
    pub(super) fn note_trunk(&mut self, trunk: &Trunk) -> NameId {
        self.note_as(trunk.id, || trunk.name.clone())
    }

    #[inline(always)]
    fn note_as(&mut self, id: NameId, text: impl FnOnce() -> Box<str>) -> NameId {
        let recent = &mut self.recent[id.0 as usize % RECENT];
        if id.is_some() && *recent != id {
            *recent = id;
            self.remember(id, text);
        }
        id
    }

    #[cold]
    fn remember(&mut self, id: NameId, text: impl FnOnce() -> Box<str>) {
        self.texts.entry(id).or_insert_with(text);
    }

    /// Gives all texts away. Those of late are not noted again at once.
    pub fn hand_on(&mut self) -> Self {
        Self { texts: std::mem::take(&mut self.texts), ..Self::default() }
    }

    /// Takes over others.
    pub fn add(&mut self, other: Self) {
        self.texts.extend(other.texts);
    }

    /// The text behind an id, if it was noted here.
    pub fn text(&self, id: NameId) -> Option<&str> {
        self.texts.get(&id).map(|text| &**text)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NameId, &str)> {
        self.texts.iter().map(|(&id, text)| (id, &**text))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.texts.clear();
        *self.recent = [NameId::NONE; RECENT];
    }
}
