//! Whether the owner lets reports leave: a pure function of settings, enrollment and time.

use std::{ffi::OsStr, fmt, time::Duration};

use demarc_proto::{SCHEMA, SiteId, health::HEALTH_SCHEMA};
use serde::{Deserialize, Serialize};

use crate::{ipc::CollectorSettings, settings::health::Health};

/// What the answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The switch: see [`effective_upload`].
    pub upload: bool,
    /// The site's name and the moment of its enrollment (seconds since 1970 in UTC), once enrolled.
    pub enrolled: Option<(SiteId, u64)>,
    /// How long after enrollment the first report waits.
    pub grace: Duration,
    /// The newest schema that the owner has accepted of what is to leave.
    pub accepted_schema: u32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reports of this site may leave.
    Open {
        /// The site.
        site: SiteId,
    },
    /// None may.
    Withheld(Withheld),
}

/// Why no report may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The owner switched uploads off.
    Off,
    /// The owner has not accepted what this version would send.
    SchemaNotAccepted,
    /// There is nobody to send to yet.
    NotEnrolled,
    /// The owner still has time to look at what would leave.
    Grace {
        /// When the time is over: seconds since 1970 in UTC.
        until: u64,
    },
}

impl Consent {
    /// Whether reports of calls may leave at that moment: seconds since 1970 in UTC.
    pub fn verdict(&self, now: u64) -> Verdict {
        self.verdict_on(SCHEMA, now)
    }

    /// Whether what has that schema may leave at that moment. The owner's word comes first, so that "off" is the reason
    /// shown whatever else would stand in the way.
    pub fn verdict_on(&self, schema: u32, now: u64) -> Verdict {
        if !self.upload {
            return Verdict::Withheld(Withheld::Off);
        }
        if self.accepted_schema < schema {
            return Verdict::Withheld(Withheld::SchemaNotAccepted);
        }
        let Some((site, enrolled)) = &self.enrolled else {
            return Verdict::Withheld(Withheld::NotEnrolled);
        };
        let until = enrolled.saturating_add(self.grace.as_secs());
        if now < until {
            return Verdict::Withheld(Withheld::Grace { until });
        }
        Verdict::Open { site: site.clone() }
    }
}

impl From<&CollectorSettings> for Consent {
    fn from(settings: &CollectorSettings) -> Self {
        Self {
            upload: settings.upload,
            enrolled: settings.enrolled.clone(),
            grace: settings.grace,
            accepted_schema: settings.schema,
        }
    }
}

impl Consent {
    /// The owner's word on reports of the machine's health.
    pub fn of_health(settings: &CollectorSettings) -> Self {
        let Health { upload, schema, .. } = settings.health;
        Self { upload, accepted_schema: schema, ..Self::from(settings) }
    }
}

/// What does not leave, in the words of its reasons.
struct Withholding {
    /// What is switched off.
    uploads: &'static str,
    report: &'static str,
    /// What the first one of them is called.
    first: &'static str,
    /// The command and the section of the settings.
    command: &'static str,
    schema: u32,
}

const CALLS: Withholding =
    Withholding { uploads: "uploads", report: "report", first: "first report", command: "stats", schema: SCHEMA };
const HEALTH: Withholding = Withholding {
    uploads: "health reports",
    report: "health report",
    first: "first one",
    command: "health",
    schema: HEALTH_SCHEMA,
};

impl Withheld {
    /// The reason, where it is a report of the machine's health that does not leave.
    pub fn of_health(self) -> String {
        self.words(&HEALTH)
    }

    fn words(self, of: &Withholding) -> String {
        let Withholding { uploads, report, first, command, schema } = of;
        match self {
            Self::Off => format!("{uploads} are switched off (`demarc {command} on` switches them on)"),
            Self::SchemaNotAccepted => format!(
                "this version would send schema {schema} of the {report}, which is not accepted yet (look at `demarc {command} \
                 preview`, then set {command}.schema = {schema})"
            ),
            Self::NotEnrolled => "this site is not enrolled (`demarc enroll TOKEN` connects it to a vendor)".to_owned(),
            Self::Grace { until } => {
                let moment = crate::gate::entry::utc(until);
                format!("the {first} waits until {moment} (`demarc {command} preview` shows what it would say)")
            }
        }
    }
}

/// The reason, where it is a report of calls that does not leave.
impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(&CALLS))
    }
}

/// The upload switch as it counts: the setting, unless `DO_NOT_TRACK` is set to anything but nothing, `0` or `false`.
/// A value that is not even text means "do not track" too: in doubt nothing leaves.
pub fn effective_upload(setting: bool, do_not_track: Option<&OsStr>) -> bool {
    let refused = do_not_track.is_some_and(|value| {
        value.to_str().is_none_or(|text| !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "0" | "false"))
    });
    setting && !refused
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn consent() -> Consent {
        let site = "site-one".parse().unwrap();
        Consent { upload: true, enrolled: Some((site, 1000)), grace: Duration::from_secs(60), accepted_schema: SCHEMA }
    }

    #[test]
    fn open_only_when_everything_allows_it() {
        assert_eq!(consent().verdict(1060), Verdict::Open { site: "site-one".parse().unwrap() });
        assert_eq!(consent().verdict(1059), Verdict::Withheld(Withheld::Grace { until: 1060 }));
        // A clock that was set back lengthens the grace, and never shortens it.
        assert_eq!(consent().verdict(0), Verdict::Withheld(Withheld::Grace { until: 1060 }));
        let forever = Consent { grace: Duration::MAX, ..consent() };
        assert_eq!(forever.verdict(u64::MAX - 1), Verdict::Withheld(Withheld::Grace { until: u64::MAX }));
    }

    #[test]
    fn the_first_reason_counts() {
        let nothing = Consent { upload: false, enrolled: None, grace: Duration::from_secs(60), accepted_schema: 0 };
        assert_eq!(nothing.verdict(0), Verdict::Withheld(Withheld::Off));
        let on = Consent { upload: true, ..nothing };
        assert_eq!(on.verdict(0), Verdict::Withheld(Withheld::SchemaNotAccepted));
        let accepted = Consent { accepted_schema: SCHEMA, ..on };
        assert_eq!(accepted.verdict(0), Verdict::Withheld(Withheld::NotEnrolled));
    }

    #[test]
    fn do_not_track_always_wins() {
        for (value, allowed) in [
            (None, true),
            (Some(""), true),
            (Some("0"), true),
            (Some("false"), true),
            (Some("FALSE"), true),
            (Some("1"), false),
            (Some("true"), false),
            (Some("no"), false),
        ] {
            assert_eq!(effective_upload(true, value.map(OsStr::new)), allowed, "{value:?}");
            assert!(!effective_upload(false, value.map(OsStr::new)));
        }
        assert!(!effective_upload(true, Some(OsStr::from_bytes(&[0xff]))));
    }
}
