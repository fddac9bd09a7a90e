//! Reads the config file.
