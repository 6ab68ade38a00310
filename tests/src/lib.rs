//! Namespace labs: a network in a box for the privileged tests and for `cargo xtask run`.
//!
//! A [`Lab`] is a bridge in a network namespace of its own that plays the network of a data centre or
//! cloud, with one more namespace per [`Host`]. Everything that is started in a lab lives only as long
//! as its value: processes, namespaces, mounts and files go when it is dropped, also on a panic, and
//! what a killed run left behind goes when the next lab is made. Nothing here asserts: functions return
//! [`Error`], and the tests decide what is right.
//!
//! Namespaces are entered with setns(2), never with `ip netns exec`, which hides a mounted bpffs.

mod bench;
mod cgroup;
mod client;
mod conf;
mod counters;
pub mod devices;
mod error;
mod frr;
mod held;
mod keepalived;
mod lab;
mod netns;
mod packet;
mod pair;
mod process;
pub mod sample;
mod skip;
mod steps;
pub mod story;
mod tcpdump;
mod vrrp_user;
mod wait;
mod web;
mod xdp;

pub use bench::{BenchArgs, Scenario};
pub use cgroup::MemoryCgroup;
pub use client::{Download, Prober, Sample, fetch};
pub use conf::Instance;
pub use error::{Error, Result};
pub use frr::Frr;
pub use held::Held;
pub use keepalived::Keepalived;
pub use lab::{Host, Lab, remove_stale};
pub use netns::Namespace;
pub use packet::{Frame, Frame6, RawSocket};
pub use pair::Pair;
pub use process::{Log, Process, run};
pub use skip::{SKIP, skip};
pub use steps::most_steps;
pub use tcpdump::{Advert, Tcpdump};
pub use vrrp_user::VrrpUser;
pub use wait::{interrupt, interrupt_on_signals, interrupted, pause, wait_until};
pub use web::WebServer;
pub use xdp::{EmptyProgram, Ring, pin_empty_program};
