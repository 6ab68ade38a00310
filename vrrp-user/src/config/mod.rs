//! Configuration: two readers (TOML and keepalived.conf), one validated model.

pub mod model;
