//! How much a caller may ask for: units by the costs of the method table, kept in this process.
//!
//! A caller is an API key, or an address. Behind a proxy all addresses are the proxy's: give callers keys.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use runtime::errors::{Refusal, generic};
use runtime::shutdown::Shutdown;

use crate::access::Credential;
use crate::config::Config;
use crate::fault::Fault;
use crate::limits::QUOTA_SWEEP;
use crate::metrics;

/// Bits of an IPv6 address that one subscriber of a network is given to choose from.
const IPV6_HOST_BITS: u32 = 64;

/// The quotas of all callers.
#[derive(Debug)]
pub struct Quotas {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    keys: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl Quotas {
    /// Full quotas for everyone.
    pub fn new(config: &Config) -> Self {
        Self {
            addresses: RateLimiter::keyed(quota(config.address_units_per_second, config.address_units_burst)),
            keys: RateLimiter::keyed(quota(config.key_units_per_second, config.key_units_burst)),
            clock: DefaultClock::default(),
        }
    }

    /// Takes the cost of one call.
    pub fn spend(&self, credential: &Credential, peer: IpAddr, cost: u32) -> Result<(), Fault> {
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        let (by, wait) = match credential {
            Credential::Key(principal) => (
                "key",
                self.keys.check_key_n(&principal.id.to_string(), cost).map(|within| self.wait(within)),
            ),
            Credential::None | Credential::Bad(_) => (
                "address",
                self.addresses.check_key_n(&network_of(peer), cost).map(|within| self.wait(within)),
            ),
        };
        match wait {
            Ok(None) => Ok(()),
            Ok(Some(wait)) => {
                metrics::limited(by);
                Err(Refusal::new(&generic::RATE_LIMITED, format!("the quota of this {by} is used up"))
                    .meta("limitedBy", by)
                    .retry_after(wait)
                    .into())
            }
            // `quota` allows bursts of the dearest method, so this is a call that can never be.
            Err(_) => {
                Err(Refusal::new(&generic::RATE_LIMITED, "the call costs more than a whole quota").into())
            }
        }
    }

    fn wait(
        &self,
        within: Result<(), governor::NotUntil<<DefaultClock as Clock>::Instant>>,
    ) -> Option<std::time::Duration> {
        within.err().map(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets callers whose quotas are full again, until the stop.
    pub async fn sweep(&self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(QUOTA_SWEEP);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.addresses.retain_recent();
                    self.keys.retain_recent();
                }
                () = shutdown.stopped() => return,
            }
        }
    }
}

/// A quota whose burst covers the dearest method, whatever was configured.
fn quota(per_second: u32, burst: u32) -> Quota {
    let dearest = api::methods::JSONRPC.iter().map(|row| row.cost).max().unwrap_or(1);
    let nonzero = |value: u32| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(nonzero(per_second)).allow_burst(nonzero(burst.max(dearest)))
}

/// What counts as one address.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_spent_its_quota_is_told_when_to_come_back() {
        let config = Config { address_units_per_second: 1, address_units_burst: 20, ..Config::default() };
        let quotas = Quotas::new(&config);
        let peer: IpAddr = "192.0.2.1".parse().expect("an address");
        assert!(quotas.spend(&Credential::None, peer, 10).is_ok());
        assert!(quotas.spend(&Credential::None, peer, 10).is_ok());
        let fault = quotas.spend(&Credential::None, peer, 10).expect_err("used up");
        assert_eq!((fault.reason.as_str(), fault.http), ("RATE_LIMITED", 429));
        assert!(fault.retry_after.expect("a delay") > std::time::Duration::from_secs(5));
        assert!(quotas.spend(&Credential::None, "192.0.2.2".parse().expect("an address"), 10).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_quota() {
        let of = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
