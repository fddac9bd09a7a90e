//! Nothing that names a telephone, a line, a queue or a single call can be written into a frame.

use demarc::{
    call::{Call, CallKey, NameId, Names},
    pbx::leg::Leg,
    private::{Extension, Queue, Trunk},
    tally::{Tally, TallyKey},
};
use demarc_proto::frame::encode;

pub fn extension(value: &Extension) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn trunk(value: &Trunk) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn queue(value: &Queue) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn leg(value: &Leg<'_>) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn call(value: &Call) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn calls(value: &Vec<Call>) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn key(value: &CallKey) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn name(value: &NameId) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn names(value: &Names) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn tally(value: &Tally) -> Vec<u8> {
    encode(value) //~ E0277
}

pub fn tally_key(value: &TallyKey) -> Vec<u8> {
    encode(value) //~ E0277
}
