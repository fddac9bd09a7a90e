//! Figures behind charts and pages: the rollups of a period, by hour of the wall clock, by direction and outcome, by party.

mod abroad;
mod agents;
mod amounts;
mod calls;
mod compare;
mod erlang;
mod period;
mod share;
mod trunks;
mod waits;
pub(crate) mod words;

pub use self::{
    abroad::NightAbroad,
    agents::{AgentAdvice, LEVEL, agents_needed},
    amounts::Amounts,
    calls::{CallFigures, Hour},
    compare::{Change, chance_of_as_many},
    erlang::{BusyHours, Demand, LEAST_DAYS, LineAdvice, blocked, lines_needed},
    period::Period,
    share::Share,
    trunks::{TrunkFigures, changes_at, trunk_figures},
    waits::{WAITS, Waits, group_name},
};
