//! The story, with every pair of daemons and both ways of going off.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use vrrp_tests::story::{Kind, Off, Story};
use vrrp_tests::{Lab, Result};

/// Without a takeover in it, a step may hide the address for the time of one handover. Handovers take
/// milliseconds; the rest is for machines that pause.
const HANDOVER: Duration = Duration::from_secs(2);
/// With the master gone without a word: three intervals and a skew of 206/256 s, and a handover.
const TAKEOVER: Duration = Duration::from_secs(6);

fn play(a: Kind, b: Kind, off: Off) -> Result<()> {
    let lab = Lab::new()?;
    let mut story = Story::new(&lab, a, b)?;
    let mut steps = Vec::new();
    story.play(off, |step| {
        println!("{}: {} answers, away {:?}", step.title, step.answered, step.away);
        steps.push(step.clone());
    })?;
    let answered: Vec<_> = steps.iter().map(|step| &*step.answered).collect();
    assert_eq!(answered, ["a", "b", "a", "a"]);
    let limits = match off {
        Off::PowerFails => [TAKEOVER, HANDOVER, HANDOVER],
        Off::DaemonStops => [HANDOVER; 3],
    };
    for (step, limit) in steps[1..].iter().zip(limits) {
        assert!(step.away < limit, "{}: nobody answered for {:?}", step.title, step.away);
    }
    // The change of sender, as the backup sees it: a, then b, then a again.
    let mut senders: Vec<_> =
        steps.iter().flat_map(|step| &step.adverts).map(|advert| &*advert.source).collect();
    senders.dedup();
    assert!(senders.ends_with(&["10.0.0.1", "10.0.0.2", "10.0.0.1"]), "{senders:?}");
    Ok(())
}

/// The lab itself is right: the story as it is known to go.
#[test]
fn keepalived_and_keepalived() -> Result<()> {
    play(Kind::Keepalived, Kind::Keepalived, Off::PowerFails)
}

#[test]
fn keepalived_and_keepalived_stopping() -> Result<()> {
    play(Kind::Keepalived, Kind::Keepalived, Off::DaemonStops)
}

#[test]
fn vrrp_user_beside_keepalived() -> Result<()> {
    play(Kind::VrrpUser, Kind::Keepalived, Off::PowerFails)
}

#[test]
fn vrrp_user_beside_keepalived_stopping() -> Result<()> {
    play(Kind::VrrpUser, Kind::Keepalived, Off::DaemonStops)
}

#[test]
fn keepalived_beside_vrrp_user() -> Result<()> {
    play(Kind::Keepalived, Kind::VrrpUser, Off::PowerFails)
}

#[test]
fn keepalived_beside_vrrp_user_stopping() -> Result<()> {
    play(Kind::Keepalived, Kind::VrrpUser, Off::DaemonStops)
}

#[test]
fn vrrp_user_and_vrrp_user() -> Result<()> {
    play(Kind::VrrpUser, Kind::VrrpUser, Off::PowerFails)
}

#[test]
fn vrrp_user_and_vrrp_user_stopping() -> Result<()> {
    play(Kind::VrrpUser, Kind::VrrpUser, Off::DaemonStops)
}

/// The story, on a host that lacks something.
fn story_without(features: &str) -> Result<()> {
    let lab = Lab::new()?;
    let mut story = Story::new(&lab, Kind::VrrpUser, Kind::Keepalived)?;
    story.a.started_by(&["env", &format!("VRRP_USER_WITHOUT={features}")]);
    story.play(Off::DaemonStops, |step| {
        println!("{}: {} answers, away {:?}", step.title, step.answered, step.away);
    })
}

/// As Linux 5.10 for the unit.
#[test]
fn the_story_by_clsact_and_copies() -> Result<()> {
    story_without("xdp,tcx,in-place")
}

#[test]
fn the_story_without_ring_buffers() -> Result<()> {
    story_without("ring-buffer")
}

#[test]
fn the_story_without_pins() -> Result<()> {
    story_without("bpffs")
}

/// The story, on a host whose daemon captures in that way.
fn story(way: &str) -> Result<()> {
    let lab = Lab::new()?;
    let mut story =
        Story::with_options(&lab, Kind::VrrpUser, Kind::Keepalived, &["--capture", way])?;
    story.play(Off::DaemonStops, |step| {
        println!("{}: {} answers, away {:?}", step.title, step.answered, step.away);
    })?;
    Ok(())
}

#[test]
fn the_story_by_tc() -> Result<()> {
    story("tc")
}

#[test]
fn the_story_by_a_packet_socket() -> Result<()> {
    story("raw")
}

#[test]
fn the_story_by_generic_xdp() -> Result<()> {
    story("generic")
}
