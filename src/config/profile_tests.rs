//! Tests of profile.toml.
