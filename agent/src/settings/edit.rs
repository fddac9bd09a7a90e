//! Edits the config file.
