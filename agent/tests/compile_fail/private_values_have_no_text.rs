//! Nothing that names a telephone, a line or a queue can be printed by accident, into a log or anything else.

use demarc::{
    pbx::leg::Leg,
    private::{Extension, Queue, Trunk},
};

pub fn extension(value: &Extension) -> String {
    value.to_string() //~ E0599
}

pub fn trunk(value: &Trunk) -> String {
    format!("{value}") //~ E0277
}

pub fn queue(value: Queue) -> String {
    value.into() //~ E0277
}

pub fn leg(value: &Leg<'_>) -> String {
    format!("{value}") //~ E0277
}
