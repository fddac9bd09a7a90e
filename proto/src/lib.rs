//! What may cross the wire between a phone system and its vendor.
//!
//! The types here are the whole vocabulary of the tunnel. None of them can hold a phone number, an
//! extension, a name, a SIP address, a file name or any other text from the PBX: a report is made of
//! integers and closed enums, and no message from the hub carries a command, a setting or a program. The only words
//! of a person are the ticket and the engineer's name in a support grant, which its owner types for the vendor.

pub mod backup;
pub mod bytes64;
pub mod cell;
pub mod check;
pub mod enroll;
pub mod frame;
pub mod health;
pub mod ids;
pub mod message;
pub mod receipt;
pub mod report;
pub mod support;
pub mod token;
pub mod window;

pub use cell::{Cell, Direction, Outcome};
pub use check::ReportFault;
pub use health::HealthReport;
pub use ids::{ReportId, SiteId};
pub use message::{ToAgent, ToHub};
pub use receipt::Receipt;
pub use report::Report;
pub use window::{Window, WindowLength};

/// ALPN name of the tunnel: mutual TLS, HTTP/2 with the roles reversed.
pub const ALPN_TUNNEL: &[u8] = b"demarc/1";
/// ALPN name of an enrollment: the client has no certificate yet.
pub const ALPN_ENROLL: &[u8] = b"demarc-enroll/1";
/// ALPN name of files: mutual TLS, HTTP/1.1, the site asks. It fetches packages below [`UPDATES_PATH`], and nothing that is
/// fetched says what to do with it. Backups that the hub cannot read go and come below [`backup::BACKUPS_PATH`].
pub const ALPN_FILES: &[u8] = b"demarc-files/1";
/// Where the hub has the vendor's package repository.
pub const UPDATES_PATH: &str = "/updates";
/// Path of the control stream, which the hub opens on the agent (RFC 9113, roles reversed).
pub const CONTROL_PATH: &str = "/control";
/// The version of the message vocabulary.
pub const PROTOCOL: u32 = 1;
/// The version of the report.
pub const SCHEMA: u32 = 1;
