//! What happened between two readings of the counters, per second.

use std::collections::HashMap;

use crate::api::{RouterRates, RouterStats, Stats, VipRates, VipStats};

/// Fills in the rates of `now` by what was `before`, so many seconds ago. What was not there before, or began
/// again from zero meanwhile, counts from zero.
pub fn fill(now: &mut Stats, before: &Stats, seconds: f64) {
    now.interval_s = Some(seconds);
    let rate = |now: u64, before: u64| per_second(now, before, seconds);
    let old: HashMap<_, _> = before.routers.iter().map(|r| (r.name.as_str(), r)).collect();
    let none = RouterStats::default();
    for router in &mut now.routers {
        let old = old.get(router.name.as_str()).copied().unwrap_or(&none);
        router.per_second = Some(RouterRates {
            adverts_received: rate(router.adverts_received, old.adverts_received),
            adverts_sent: rate(router.adverts_sent, old.adverts_sent),
            refused: rate(router.refused, old.refused),
        });
    }
    let old: HashMap<_, _> =
        before.vips.iter().map(|v| ((v.interface.as_str(), v.address.as_str()), v)).collect();
    let none = VipStats::default();
    for vip in &mut now.vips {
        let old =
            old.get(&(vip.interface.as_str(), vip.address.as_str())).copied().unwrap_or(&none);
        vip.per_second = Some(VipRates {
            rx_packets: rate(vip.rx_packets, old.rx_packets),
            rx_bytes: rate(vip.rx_bytes, old.rx_bytes),
            tx_packets: rate(vip.tx_packets, old.tx_packets),
            tx_bytes: rate(vip.tx_bytes, old.tx_bytes),
        });
    }
    let rates = now.reasons.iter().map(|(name, count)| {
        (name.clone(), rate(*count, before.reasons.get(name).copied().unwrap_or(0)))
    });
    now.reasons_per_second = rates.collect();
}

#[allow(clippy::cast_precision_loss, reason = "a rate is not exact")]
fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    let grown = if now < before { now } else { now - before };
    if seconds > 0.0 { grown as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(adverts: u64, packets: u64, ttl: u64) -> Stats {
        Stats {
            routers: vec![RouterStats {
                name: "a".into(),
                adverts_received: adverts,
                ..RouterStats::default()
            }],
            vips: vec![VipStats { rx_packets: packets, ..VipStats::default() }],
            reasons: [("ttl".to_owned(), ttl)].into(),
            ..Stats::default()
        }
    }

    #[test]
    fn growth_is_divided_by_the_time() {
        let mut now = stats(30, 4000, 5);
        fill(&mut now, &stats(10, 0, 5), 2.0);
        assert_eq!(now.interval_s, Some(2.0));
        assert_eq!(now.routers[0].per_second.unwrap().adverts_received, 10.0);
        assert_eq!(now.vips[0].per_second.unwrap().rx_packets, 2000.0);
        assert_eq!(now.reasons_per_second["ttl"], 0.0);
    }

    #[test]
    fn what_began_again_counts_from_zero() {
        let mut now = stats(3, 0, 0);
        fill(&mut now, &stats(100, 0, 0), 1.0);
        assert_eq!(now.routers[0].per_second.unwrap().adverts_received, 3.0);
        let mut now = stats(3, 0, 0);
        fill(&mut now, &Stats::default(), 1.0);
        assert_eq!(now.routers[0].per_second.unwrap().adverts_received, 3.0);
        assert_eq!(per_second(5, 0, 0.0), 0.0);
    }
}
