//! The phone system's own records: read where they lie, in the order in which they were written, each row once.

pub mod leg;
pub mod position;

pub use leg::{Disposition, Leg, MalformedReason, Row};
pub use position::{Mark, Position};
