//! Sessions from their beginning to their end, with an engineer who may be hostile.

mod by_hand;
mod doors;
mod ends;
mod forwards;
mod menus;
mod shells;
mod transfers;
