//! Limits on how often: a bucket that fills with time, and one of them for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// In the long run.
    pub per_minute: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Rate {
    fn each(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.get()
    }
}

/// A bucket, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one out, and says how long to wait until it is really there.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + rate.each();
        let most = rate.each() * rate.burst.get();
        self.full_at.duration_since(now).saturating_sub(most)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self, rate: Rate, now: Instant) -> bool {
        self.full_at.saturating_duration_since(now) + rate.each() > rate.each() * rate.burst.get()
    }

    /// Whether nothing was taken for long enough to forget it.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// A bucket for each address that misbehaved lately.
#[derive(Debug)]
pub struct ByAddress {
    rate: Rate,
    buckets: HashMap<IpAddr, Bucket>,
}

/// So many addresses are remembered; an attacker with more of them gains single attempts, not memory.
const MOST_ADDRESSES: usize = 16_384;

impl ByAddress {
    /// No address has misbehaved yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    /// Whether this address has to wait.
    pub fn is_blocked(&self, address: IpAddr, now: Instant) -> bool {
        self.buckets.get(&network(address)).is_some_and(|bucket| bucket.is_empty(self.rate, now))
    }

    /// Notes that this address misbehaved.
    pub fn note(&mut self, address: IpAddr, now: Instant) {
        if self.buckets.len() >= MOST_ADDRESSES {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.buckets.len() < MOST_ADDRESSES || self.buckets.contains_key(&network(address)) {
            self.buckets.entry(network(address)).or_insert(Bucket::full(now)).take(self.rate, now);
        }
    }
}

/// Whoever has one IPv6 address has the other 2^64 of its network too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        for _ in 0..600 {
            assert_eq!(bucket.take(rate(60, 600), start), Duration::ZERO);
        }
        assert_eq!(bucket.take(rate(60, 600), start), Duration::from_secs(1));
        assert_eq!(bucket.take(rate(60, 600), start + Duration::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn an_address_is_blocked_until_time_passes_and_its_neighbours_with_it() {
        let start = Instant::now();
        let mut limits = ByAddress::new(rate(30, 30));
        let (one, neighbour): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        for _ in 0..30 {
            assert!(!limits.is_blocked(one, start));
            limits.note(one, start);
        }
        assert!(limits.is_blocked(neighbour, start));
        assert!(!limits.is_blocked("2001:db9::1".parse().unwrap(), start));
        assert!(!limits.is_blocked(one, start + Duration::from_secs(3)));
    }
}
