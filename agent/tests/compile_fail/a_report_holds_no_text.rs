//! No field of a report takes a number, a name or a text from the PBX.

use demarc::private::{Extension, Trunk};
use demarc_proto::{
    Report, ReportId, SiteId, Window,
    report::{Destination, DestinationGroup, QualityGroup, SecondsGroup, VolumeGroup},
};

pub fn an_extension_as_a_figure(mut report: Report, extension: Extension) -> Report {
    report.peak_concurrency = extension; //~ E0308
    report
}

pub fn a_trunk_as_a_cell(trunk: Trunk) -> VolumeGroup {
    VolumeGroup { from_hour: 0, hours: 24, cells: vec![trunk], calls: 10 } //~ E0308
}

pub fn a_text_as_a_cell() -> VolumeGroup {
    VolumeGroup { from_hour: 0, hours: 24, cells: vec!["inbound.5551234"], calls: 10 } //~ E0308
}

pub fn a_text_as_a_count(digits: &str) -> SecondsGroup {
    SecondsGroup { from_seconds: 0, to_seconds: None, calls: digits } //~ E0308
}

pub fn a_country() -> Destination {
    Destination::Country("it") //~ E0599
}

pub fn a_number_as_a_class(number: &str) -> DestinationGroup {
    DestinationGroup { classes: vec![number], calls: 10 } //~ E0308
}

pub fn a_text_as_a_band(text: String) -> QualityGroup {
    QualityGroup { bands: vec![text], calls: 10 } //~ E0308
}

pub fn a_field_more(calls: u32, caller: String) -> SecondsGroup {
    SecondsGroup { from_seconds: 0, to_seconds: None, calls, caller } //~ E0560
}

pub fn a_name_from_the_pbx(extension: &Extension) -> ReportId {
    extension.expose().into() //~ E0277
}

pub fn a_site_from_the_pbx(extension: &Extension) -> SiteId {
    extension.expose().into() //~ E0277
}

pub fn a_window_from_the_pbx(extension: &Extension) -> Window {
    Window { start: extension, seconds: 60 } //~ E0308
}
