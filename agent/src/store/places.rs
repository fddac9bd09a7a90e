//! Where in a list each call stands: a hash table beside the list of their keys.

use crate::call::CallKey;

/// Where each key of a list stands in it.
#[derive(Default)]
pub(super) struct Places {
    /// At the place that a key's hash names, or the next that is free: as many bits of the hash as there is room for, above one
    /// more than where the key stands. Zero is free. At most half of them are taken.
    slots: Vec<u32>,
}

/// No table is smaller.
const LEAST: usize = 1024;

impl Places {
    /// Where a key stands in the list; nowhere where it is not in it.
    pub(super) fn find(&self, key: &CallKey, keys: &[CallKey]) -> Option<usize> {
        if self.slots.is_empty() { None } else { self.look(key, keys).ok() }
    }

    /// Where a key stands in the list. Where it is not in it, it is put to the end of it.
    #[inline(always)]
    pub(super) fn find_or_push(&mut self, key: CallKey, keys: &mut Vec<CallKey>) -> Result<usize, ()> {
        if keys.len() >= self.slots.len() / 2 {
            self.grow(keys);
        }
        match self.look(&key, keys) {
            Ok(place) => Ok(place),
            Err(slot) => {
                keys.push(key);
                self.slots[slot] = self.tag(&key) | keys.len() as u32;
                Err(())
            }
        }
    }

    /// Where a key stands, or the slot that is free for it.
    #[inline(always)]
    fn look(&self, key: &CallKey, keys: &[CallKey]) -> Result<usize, usize> {
        let last = self.slots.len() - 1;
        let mut at = key.hash() as usize & last;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(at);
            }
            let place = (slot as usize & last) - 1;
            if (slot ^ self.tag(key)) as usize & !last == 0 && keys.get(place) == Some(key) {
                return Ok(place);
            }
            at = (at + 1) & last;
        }
    }

    /// The part of the hash that stands in the slot: above the bits that number the slots.
    #[inline(always)]
    fn tag(&self, key: &CallKey) -> u32 {
        (key.hash() >> 32) as u32 & !(self.slots.len() as u32 - 1)
    }

    #[cold]
    fn grow(&mut self, keys: &[CallKey]) {
        let room = (4 * keys.len()).next_power_of_two().max(LEAST);
        self.slots.clear();
        self.slots.resize(room, 0);
        for (place, key) in keys.iter().enumerate() {
            if let Err(slot) = self.look(key, &keys[..place]) {
                self.slots[slot] = self.tag(key) | (place as u32 + 1);
            }
        }
    }

    /// Forgets all keys; the memory is used again.
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_stands_where_it_was_put_first(ids in prop::collection::vec(0_u32..900, 0..2000)) {
            let (mut places, mut keys) = (Places::default(), Vec::new());
            for _ in 0..2 {
                for id in &ids {
                    let key = CallKey::of_linkedid(id.to_string().as_bytes());
                    let expected = keys.iter().position(|other| *other == key);
                    prop_assert_eq!(places.find(&key, &keys), expected);
                    prop_assert_eq!(places.find_or_push(key, &mut keys).ok(), expected);
                }
                places.clear();
                keys.clear();
            }
        }
    }
}
