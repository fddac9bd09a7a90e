//! FreePBX's list of trunks: which channels are lines to the outside.

use super::{Settings, words};
use crate::{
    call::rules::Line,
    pbx::{
        mysql::{Client, MysqlError, Row, name},
        table::Fault,
    },
};

/// What became of the question.
pub(super) enum Trunks {
    Known(Vec<Line>),
    /// They cannot be read; the calls can. Why, in words.
    Unknown(String),
    NotWanted,
}

pub(super) async fn read(client: &mut Client, settings: &Settings) -> Result<Trunks, Fault> {
    let Some((database, table)) = settings.trunks.split_once('.') else { return Ok(Trunks::NotWanted) };
    let question = format!("SELECT tech, channelid, name FROM {}.{}", name(database), name(table));
    match client.ask(&question).await {
        Ok(rows) => Ok(Trunks::Known(rows.iter().filter_map(trunk).collect())),
        Err(MysqlError::Refused { .. }) => Ok(Trunks::Unknown(words::no_trunks(settings))),
        Err(error) => Err(words::explain(settings, &error)),
    }
}

fn trunk(row: &Row) -> Option<Line> {
    let text = |column| row.text(column).map(|text| String::from_utf8_lossy(text).trim().to_owned());
    of(&text(0)?, &text(1)?, &text(2).unwrap_or_default())
}

/// A trunk by FreePBX's words for it. `tech` is its own name for the technology, and `channel` what it dials.
fn of(tech: &str, channel: &str, title: &str) -> Option<Line> {
    let (technology, device) = match tech.to_ascii_lowercase().as_str() {
        "iax" | "iax2" => ("IAX2".to_owned(), channel),
        // `AMP:PJSIP/$OUTNUM$@provider`: the number that is dialled, and where.
        "custom" => {
            let dialled = channel.strip_prefix("AMP:").unwrap_or(channel);
            let (technology, rest) = dialled.split_once('/')?;
            let device =
                rest.rsplit_once('@').map_or_else(|| rest.split('/').next().unwrap_or(rest), |(_, place)| place);
            (technology.to_ascii_uppercase(), device)
        }
        "" => return None,
        other => (other.to_ascii_uppercase(), channel),
    };
    // Half of a Local channel is no line, and a variable is no name.
    if device.is_empty() || technology == "LOCAL" || device.contains('$') {
        return None;
    }
    let title = if title.is_empty() { device } else { title };
    Some(Line { technology, device: device.to_owned(), name: title.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tech: &str, channel: &str, title: &str) -> Option<String> {
        of(tech, channel, title).map(|trunk| format!("{}/{} {}", trunk.technology, trunk.device, trunk.name))
    }

    #[test]
    fn freepbxs_words_become_channels() {
        assert_eq!(said("pjsip", "provider1", "Acme SIP").as_deref(), Some("PJSIP/provider1 Acme SIP"));
        assert_eq!(said("sip", "gw-2", "").as_deref(), Some("SIP/gw-2 gw-2"));
        assert_eq!(said("iax", "branch", "Branch").as_deref(), Some("IAX2/branch Branch"));
        assert_eq!(said("custom", "AMP:PJSIP/$OUTNUM$@provider9", "Nine").as_deref(), Some("PJSIP/provider9 Nine"));
        assert_eq!(said("custom", "Dongle/stick0/$OUTNUM$", "Stick").as_deref(), Some("DONGLE/stick0 Stick"));
        assert_eq!(said("custom", "Local/$OUTNUM$@somewhere", "Loop"), None);
        assert_eq!(said("pjsip", "", "Nothing"), None);
    }
}
