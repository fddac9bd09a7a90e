//! What FreeSWITCH says of a leg, in the terms that the rest of Demarc has for calls.
//!
//! A leg of FreeSWITCH is one channel, a row of Asterisk is a channel and the one that it called. So the caller's leg is read
//! as a row from its own channel to the one that it was bridged to, a called leg as a row from its originator to itself.

pub mod directory;
pub mod json;
pub mod template;

use super::{
    columns::number,
    leg::{Disposition, MalformedReason},
    moment::{Moment, Moments, resolve},
    record::Record,
    wall::DateCache,
    zone::Zone,
};

/// The variables of a leg that Demarc reads, as FreeSWITCH has them; empty where they are not known.
#[derive(Clone, Copy, Default)]
pub(super) struct Variables<'a> {
    pub(super) uuid: &'a [u8],
    /// The leg for which this one was originated.
    pub(super) originator: &'a [u8],
    /// The originator's channel.
    pub(super) originator_channel: &'a [u8],
    /// The caller's leg in a queue, of an agent's leg.
    pub(super) member: &'a [u8],
    pub(super) direction: &'a [u8],
    pub(super) channel_name: &'a [u8],
    pub(super) gateway: &'a [u8],
    pub(super) profile: &'a [u8],
    pub(super) context: &'a [u8],
    pub(super) caller_id_number: &'a [u8],
    pub(super) destination_number: &'a [u8],
    /// The leg that this one was bridged to, and its channel.
    pub(super) bridge_uuid: &'a [u8],
    pub(super) bridge_channel: &'a [u8],
    pub(super) last_app: &'a [u8],
    pub(super) last_arg: &'a [u8],
    pub(super) hangup_cause: &'a [u8],
    pub(super) start: Time<'a>,
    pub(super) answer: Time<'a>,
    pub(super) bridge: Time<'a>,
    pub(super) end: Time<'a>,
    pub(super) duration: &'a [u8],
    pub(super) billsec: &'a [u8],
}

/// A moment in the three forms in which FreeSWITCH has it.
#[derive(Clone, Copy, Default)]
pub(super) struct Time<'a> {
    stamp: &'a [u8],
    epoch: &'a [u8],
    microseconds: &'a [u8],
}

/// What is known beside the variables themselves.
#[derive(Clone, Debug)]
pub struct Site {
    /// Profiles of `mod_sofia` on which the outside is: what comes over them is named for the profile, since a channel's name
    /// holds the other party's number there.
    pub outside: Vec<String>,
    /// Whether the variables would tell if a leg had been bridged. Where they would not, an answered leg counts as answered
    /// by somebody.
    pub tells_of_bridges: bool,
}

impl<'a> Variables<'a> {
    /// Sets the variable of that name; others are passed over.
    pub(super) fn set(&mut self, name: &str, value: &'a [u8]) {
        let place = match name {
            "uuid" => &mut self.uuid,
            "originating_leg_uuid" | "originator" => &mut self.originator,
            "cc_member_session_uuid" => &mut self.member,
            "direction" => &mut self.direction,
            "channel_name" => &mut self.channel_name,
            "sip_gateway_name" | "sip_gateway" | "sofia_gateway_name" => &mut self.gateway,
            "sofia_profile_name" => &mut self.profile,
            "context" => &mut self.context,
            "caller_id_number" => &mut self.caller_id_number,
            "destination_number" => &mut self.destination_number,
            "bridge_uuid" | "bleg_uuid" | "last_bridge_to" => &mut self.bridge_uuid,
            "bridge_channel" => &mut self.bridge_channel,
            "last_app" => &mut self.last_app,
            "last_arg" => &mut self.last_arg,
            "hangup_cause" => &mut self.hangup_cause,
            "start_stamp" => &mut self.start.stamp,
            "start_epoch" => &mut self.start.epoch,
            "start_uepoch" => &mut self.start.microseconds,
            "answer_stamp" => &mut self.answer.stamp,
            "answer_epoch" => &mut self.answer.epoch,
            "answer_uepoch" => &mut self.answer.microseconds,
            "bridge_stamp" => &mut self.bridge.stamp,
            "bridge_epoch" => &mut self.bridge.epoch,
            "bridge_uepoch" => &mut self.bridge.microseconds,
            "end_stamp" => &mut self.end.stamp,
            "end_epoch" => &mut self.end.epoch,
            "end_uepoch" => &mut self.end.microseconds,
            "duration" => &mut self.duration,
            "billsec" => &mut self.billsec,
            _ => return,
        };
        // Several names mean the same: the first that says something counts.
        if place.is_empty() {
            *place = value;
        }
    }

    /// The leg as a row. `last_end` is the end of the row before.
    pub(super) fn record(
        &self,
        site: &Site,
        zone: &mut Zone,
        dates: &mut DateCache,
        last_end: Option<i64>,
    ) -> Result<Record, MalformedReason> {
        let answer = self.answer.read(dates)?;
        let disposition = match answer {
            Some(_) => Disposition::Answered,
            None => disposition(self.hangup_cause)?,
        };
        let seconds = |text: &[u8]| if text.is_empty() { Ok(None) } else { number(text).map(Some) };
        let moments = Moments {
            start: self.start.read(dates)?.ok_or(MalformedReason::Time)?,
            answer,
            end: self.end.read(dates)?,
            duration: seconds(self.duration)?,
            // FreeSWITCH counts from 1970 where nobody answered.
            billed: if answer.is_some() { seconds(self.billsec)? } else { None },
            answered: answer.is_some(),
        };
        let times = resolve(moments, zone, None, last_end)?;
        let bridged = match self.bridge.read(dates)? {
            Some(bridge) => resolve(Moments { answer: Some(bridge), ..moments }, zone, None, last_end)?.answer,
            None => None,
        };
        let (channel, dstchannel) = self.channels(site, answer.is_some());
        // Whoever was greeted by a menu first reached somebody only when the legs were bridged.
        let answer = times.answer.map(|answer| bridged.map_or(answer, |bridged| answer.max(bridged)));
        let present = |id: &[u8]| (!id.is_empty()).then(|| id.to_vec());
        let (lastapp, lastdata) = self.application();
        let linked = [self.member, self.originator, self.uuid].into_iter().find(|id| !id.is_empty());
        Ok(Record {
            uniqueid: present(self.uuid),
            linkedid: linked.and_then(present),
            // A uuid is one leg's and no other's: a second row of it is the same row.
            sequence: (!self.uuid.is_empty()).then_some(0),
            channel,
            dstchannel,
            lastapp,
            lastdata,
            src: self.caller_id_number.to_vec(),
            dst: self.destination_number.to_vec(),
            start: times.start,
            answer,
            end: times.end,
            disposition,
        })
    }

    /// The calling and the called channel.
    fn channels(&self, site: &Site, answered: bool) -> (Vec<u8>, Vec<u8>) {
        let own = || self.own_channel(site);
        if self.direction == b"outbound" || !self.originator.is_empty() {
            let caller = channel(self.originator_channel, self.originator, site).unwrap_or_default();
            return (caller, own());
        }
        let dialled = || match self.last_app {
            b"bridge" => endpoint(self.last_arg, self.bridge_uuid, site),
            _ => None,
        };
        let is_bridged = !self.bridge_channel.is_empty() || !self.bridge_uuid.is_empty();
        let bridged = || channel(self.bridge_channel, self.bridge_uuid, site).or_else(dialled);
        let called = if is_bridged {
            // Whoever it was.
            bridged().unwrap_or_else(|| named(b"sofia", b"unknown", self.bridge_uuid))
        } else if !answered {
            dialled().unwrap_or_default()
        } else if site.tells_of_bridges {
            Vec::new()
        } else {
            named(b"sofia", b"unknown", b"")
        };
        (own(), called)
    }

    fn own_channel(&self, site: &Site) -> Vec<u8> {
        let is_outside = |name: &[u8]| site.outside.iter().any(|outside| outside.as_bytes() == name);
        if !self.gateway.is_empty() {
            return named(b"sofia", self.gateway, self.uuid);
        }
        if is_outside(self.profile) {
            return named(b"sofia", self.profile, self.uuid);
        }
        if let Some(channel) = channel(self.channel_name, self.uuid, site) {
            return channel;
        }
        // The stock templates name no channel; in the stock dialplan the outside comes in by this context.
        let device = if self.context == b"public" { self.context } else { self.caller_id_number };
        if device.is_empty() { Vec::new() } else { named(b"sofia", device, self.uuid) }
    }

    /// The application that ran last, by the name that Asterisk has for it, where it has one.
    fn application(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self.last_arg.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut words = self.last_arg.split(|byte| *byte == b' ').skip(1);
        match self.last_app {
            b"callcenter" => (b"Queue".to_vec(), first.to_vec()),
            // Whoever takes out of the queue is an agent.
            b"fifo" if words.next() == Some(b"in") => (b"Queue".to_vec(), first.to_vec()),
            // To listen to one's own messages is not to leave one.
            b"voicemail" if matches!(first, b"check" | b"auth" | b"admin") => (b"VoiceMailMain".to_vec(), Vec::new()),
            b"voicemail" => (b"VoiceMail".to_vec(), Vec::new()),
            other => (other.to_vec(), self.last_arg.to_vec()),
        }
    }
}

impl Time<'_> {
    fn read(self, dates: &mut DateCache) -> Result<Option<Moment>, MalformedReason> {
        if !self.epoch.is_empty() {
            return Moment::read(self.epoch, dates);
        }
        if !self.microseconds.is_empty() {
            return Ok(Some(number(self.microseconds)?.div_euclid(1_000_000)).filter(|s| *s > 0).map(Moment::Utc));
        }
        // Older versions write the beginning of time, on the wall clock, where nothing happened.
        if self.stamp.starts_with(b"1970-01-01") || self.stamp.starts_with(b"1969-12-31") {
            return Ok(None);
        }
        Moment::read(self.stamp, dates)
    }
}

/// What became of a leg that nobody answered.
fn disposition(cause: &[u8]) -> Result<Disposition, MalformedReason> {
    let is_word = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    if cause.is_empty() || !cause.iter().all(is_word) {
        return Err(MalformedReason::Disposition);
    }
    Ok(match cause {
        b"ORIGINATOR_CANCEL" => Disposition::Cancel,
        b"NORMAL_CLEARING" | b"NO_ANSWER" | b"NO_USER_RESPONSE" | b"ALLOTTED_TIMEOUT" | b"LOSE_RACE"
        | b"PICKED_OFF" | b"ATTENDED_TRANSFER" | b"BLIND_TRANSFER" | b"PROGRESS_TIMEOUT" => Disposition::NoAnswer,
        b"USER_BUSY" | b"CALL_REJECTED" => Disposition::Busy,
        b"NORMAL_CIRCUIT_CONGESTION" | b"SWITCH_CONGESTION" | b"REQUESTED_CHAN_UNAVAIL" => Disposition::Congestion,
        _ => Disposition::Failed,
    })
}

/// A channel by the name that FreeSWITCH gives it, such as `sofia/internal/1001@pbx.example.com`.
fn channel(name: &[u8], uuid: &[u8], site: &Site) -> Option<Vec<u8>> {
    let slash = memchr::memchr(b'/', name)?;
    let (technology, rest) = (&name[..slash], &name[slash + 1..]);
    match technology {
        b"sofia" => {
            let slash = memchr::memchr(b'/', rest)?;
            let (profile, party) = (&rest[..slash], &rest[slash + 1..]);
            let is_outside = site.outside.iter().any(|outside| outside.as_bytes() == profile);
            let device = match profile {
                // Only dial strings have this, in place of a profile.
                b"gateway" => party.split(|byte| *byte == b'/').next().unwrap_or_default(),
                _ if is_outside => profile,
                _ => user(party),
            };
            (!device.is_empty()).then(|| named(b"sofia", device, uuid))
        }
        // Two ends inside the switch, as Asterisk's Local channels are.
        b"loopback" => Some([b"Local/", user(rest), b"-00000000;1"].concat()),
        b"error" | b"null" | b"group" => None,
        _ => Some(user(rest)).filter(|device| !device.is_empty()).map(|device| named(technology, device, uuid)),
    }
}

/// The first place that a dial string tries: `{a=b}[c=d]sofia/gateway/provider1/0044,user/1001`.
fn endpoint(dialled: &[u8], uuid: &[u8], site: &Site) -> Option<Vec<u8>> {
    let mut rest = dialled.trim_ascii();
    while let Some(open) = rest.first() {
        let close = match open {
            b'{' => b'}',
            b'[' => b']',
            b'<' => b'>',
            _ => break,
        };
        rest = rest[memchr::memchr(close, rest)? + 1..].trim_ascii_start();
    }
    let first = rest.split(|byte| matches!(byte, b',' | b'|')).next()?;
    // A registered user is on the profile of his registration, and named like it.
    match first.strip_prefix(b"user/") {
        Some(party) => Some(user(party)).filter(|user| !user.is_empty()).map(|user| named(b"sofia", user, uuid)),
        None => channel(first, uuid, site),
    }
}

/// The `1001` of `sip:1001@192.0.2.7:5060`.
fn user(party: &[u8]) -> &[u8] {
    let party = party.strip_prefix(b"sips:").or(party.strip_prefix(b"sip:")).unwrap_or(party);
    party.split(|byte| matches!(byte, b'@' | b';' | b'/')).next().unwrap_or_default()
}

/// A channel's text as Asterisk would have it: technology, device, and digits that tell this channel from others. Here they are
/// the beginning of its id.
fn named(technology: &[u8], device: &[u8], uuid: &[u8]) -> Vec<u8> {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let digits = uuid.get(..8).filter(|digits| digits.iter().all(is_digit)).unwrap_or(b"00000000");
    [technology, b"/", device, b"-", digits].concat()
}

#[cfg(test)]
mod tests;
