//! The fields of a cleared report cannot be filled in from outside. (A file of its own: the compiler looks at
//! this only where it has no other complaint.)

use demarc::gate::Cleared;
use demarc_proto::Report;

pub fn by_its_field(cleared: Cleared, report: &Report) -> Cleared {
    Cleared { body: report.to_body(), ..cleared } //~ E0451
}
