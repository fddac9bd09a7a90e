//! Sessions from their beginning to their end, with an engineer who may be hostile.

mod doors;
mod ends;
mod forwards;
mod menus;
mod shells;
mod transfers;
