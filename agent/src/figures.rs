//! Figures behind charts and pages: the rollups of a period, by hour of the wall clock, by direction and outcome, by party.

mod amounts;
mod calls;
mod period;
mod share;

pub use self::{
    amounts::Amounts,
    calls::{CallFigures, Hour},
    period::Period,
    share::Share,
};
