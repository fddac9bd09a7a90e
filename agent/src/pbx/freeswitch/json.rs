//! FreeSWITCH's `mod_json_cdr`: one JSON document a leg.
//!
//! Only what is needed is kept of a document, as bytes: what FreeSWITCH copied from the network need not be UTF-8. Older
//! versions repeat the key `callflow` for each profile, newer ones write a list.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Site, Variables};
use crate::pbx::{leg::MalformedReason, record::Record, wall::DateCache, zone::Zone};

/// The variables that are kept.
const WANTED: [&str; 26] = [
    "uuid",
    "originating_leg_uuid",
    "originator",
    "cc_member_session_uuid",
    "direction",
    "channel_name",
    "sip_gateway_name",
    "sip_gateway",
    "sofia_profile_name",
    "bridge_uuid",
    "last_bridge_to",
    "bridge_channel",
    "last_app",
    "last_arg",
    "hangup_cause",
    "start_stamp",
    "start_epoch",
    "start_uepoch",
    "answer_epoch",
    "answer_uepoch",
    "bridge_epoch",
    "bridge_uepoch",
    "end_epoch",
    "end_uepoch",
    "duration",
    "billsec",
];

/// Applications that tell what became of a call, whatever ran after them.
const TELLING: [&[u8]; 3] = [b"callcenter", b"fifo", b"voicemail"];

/// A file is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misread {
    /// It ends in the middle: it may be being written.
    Unfinished,
    /// It never will be.
    Malformed(MalformedReason),
}

/// Understands a document.
pub(super) fn read(text: &[u8], site: &Site, zone: &mut Zone) -> Result<Record, Misread> {
    let mut document: Document = serde_json::from_slice(text).map_err(|error| match error.is_eof() {
        true => Misread::Unfinished,
        false => Misread::Malformed(MalformedReason::Quoting),
    })?;
    document.decode();
    let variables = document.variables();
    variables.record(site, zone, &mut DateCache::default(), None).map_err(Misread::Malformed)
}

/// Whether a text is a document, whatever it says: for fuzzing.
pub fn is_understood(text: &[u8], site: &Site) -> bool {
    read(text, site, &mut Zone::utc()).is_ok()
}

#[derive(Default)]
struct Document {
    texts: Vec<(String, Vec<u8>)>,
    /// The newest first.
    profiles: Vec<Profile>,
    applications: Vec<Application>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flow {
    caller_profile: Profile,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Profile {
    uuid: Bytes,
    chan_name: Bytes,
    context: Bytes,
    caller_id_number: Bytes,
    destination_number: Bytes,
    originator: Originators,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Originators {
    originator_caller_profiles: Vec<Originator>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Originator {
    uuid: Bytes,
    chan_name: Bytes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AppLog {
    applications: Vec<Application>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Application {
    app_name: Bytes,
    app_data: Bytes,
}

impl Document {
    /// Takes back the encoding of the variables, which FreeSWITCH applies to all or to none of them.
    fn decode(&mut self) {
        let text = |name: &str| self.texts.iter().find(|(other, _)| other == name).map_or(&b""[..], |(_, text)| text);
        let holds = |text: &[u8], part: &[u8]| memchr::memmem::find(text, part).is_some();
        if holds(text("start_stamp"), b"%20") || holds(text("channel_name"), b"%2F") {
            for (_, text) in &mut self.texts {
                *text = decoded(text);
            }
        }
    }

    fn variables(&self) -> Variables<'_> {
        let mut variables = Variables::default();
        for (name, text) in &self.texts {
            variables.set(name, text);
        }
        // The oldest profile is the call as it came in.
        if let Some(profile) = self.profiles.last() {
            variables.set("uuid", &profile.uuid.0);
            variables.set("channel_name", &profile.chan_name.0);
            variables.set("context", &profile.context.0);
            variables.set("caller_id_number", &profile.caller_id_number.0);
            variables.set("destination_number", &profile.destination_number.0);
        }
        let mut originators = self.profiles.iter().flat_map(|profile| &profile.originator.originator_caller_profiles);
        if let Some(originator) = originators.next() {
            variables.set("originator", &originator.uuid.0);
            variables.originator_channel = &originator.chan_name.0;
        }
        let telling = |application: &&Application| TELLING.contains(&&*application.app_name.0);
        if let Some(application) = self.applications.iter().rev().find(telling) {
            (variables.last_app, variables.last_arg) = (&application.app_name.0, &application.app_data.0);
        }
        variables
    }
}

/// `%20` becomes a space.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|digits| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
        });
        out.push(digits.unwrap_or(byte));
        rest = if digits.is_some() { &after[2..] } else { after };
    }
    out
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut document = Document::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "variables" => document.texts = map.next_value::<Texts>()?.0,
                        "callflow" => document.profiles.extend(map.next_value::<Flows>()?.0),
                        "app_log" => document.applications = map.next_value::<AppLog>()?.applications,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(Whole)
    }
}

/// The variables that are wanted. One name can come several times: the first is kept.
struct Texts(Vec<(String, Vec<u8>)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("variables")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if WANTED.contains(&key.as_str()) && texts.iter().all(|(name, _)| *name != key) {
                        texts.push((key, map.next_value::<Bytes>()?.0));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// One profile, or a list of them.
struct Flows(Vec<Profile>);

impl<'de> Deserialize<'de> for Flows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Flows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call flow")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Flows, A::Error> {
                let flow = Flow::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Flows(vec![flow.caller_profile]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Flows, A::Error> {
                let mut profiles = Vec::new();
                while let Some(flow) = list.next_element::<Flow>()? {
                    profiles.push(flow.caller_profile);
                }
                Ok(Flows(profiles))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// A text as bytes.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

#[cfg(test)]
mod tests;
