//! The privacy floor a second time, slowly and in another way, to test the first against.
