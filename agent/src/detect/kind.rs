//! Which phone system a machine is, by the files that each leaves.

use super::Machine;

/// A phone system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PbxKind {
    /// FreePBX, also as a distribution of its own.
    FreePbx,
    /// Issabel, or the Elastix that it comes from.
    Issabel,
    /// VitalPBX.
    VitalPbx,
    /// FusionPBX.
    FusionPbx,
    /// FreeSWITCH by itself.
    FreeSwitch,
    /// Asterisk by itself.
    Asterisk,
}

/// What each leaves; the first that is found counts.
const TRACES: &[(&str, PbxKind)] = &[
    ("/etc/issabel.conf", PbxKind::Issabel),
    ("/usr/share/elastix", PbxKind::Issabel),
    ("/var/lib/vitalpbx", PbxKind::VitalPbx),
    ("/etc/freepbx.conf", PbxKind::FreePbx),
    ("/etc/schmooze/freepbxdistro-version", PbxKind::FreePbx),
    ("/etc/amportal.conf", PbxKind::FreePbx),
    ("/etc/fusionpbx/config.conf", PbxKind::FusionPbx),
    ("/etc/asterisk", PbxKind::Asterisk),
    ("/var/log/asterisk", PbxKind::Asterisk),
    ("/etc/freeswitch", PbxKind::FreeSwitch),
    ("/usr/local/freeswitch", PbxKind::FreeSwitch),
];

/// Which one this is.
pub fn kind(machine: &Machine) -> Option<PbxKind> {
    TRACES.iter().find(|(path, _)| machine.exists(path)).map(|(_, kind)| *kind)
}

impl PbxKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FreePbx => "FreePBX",
            Self::Issabel => "Issabel",
            Self::VitalPbx => "VitalPBX",
            Self::FusionPbx => "FusionPBX",
            Self::FreeSwitch => "FreeSWITCH",
            Self::Asterisk => "Asterisk",
        }
    }
}
