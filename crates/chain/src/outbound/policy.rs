//! Which addresses a URL of somebody else may lead to: a service connects to them for whoever may name a node or a
//! webhook, so that it must not reach what its operator has not opened. Pure; the client asks it before every connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Nothing honest is there, but things that must not be reached are.
    #[error("leads to {0} address, which is never allowed")]
    Never(&'static str),
    /// It may be honest, but the configuration must say so: the kind of address, and the setting.
    #[error("leads to {0} address, which {1} does not hold")]
    NotAllowed(&'static str, &'static str),
}

/// What the configuration allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    setting: &'static str,
    allow: Vec<IpNet>,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, second: u16, third: u16, last: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, last), prefix))
}

/// Where nothing of ours is, whatever the configuration says. Clouds answer with credentials at some of these.
const NEVER: &[(IpNet, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an unspecified"),
    (v4(169, 254, 0, 0, 16), "a link-local"),
    (v4(100, 100, 100, 200, 32), "a metadata"),
    (v4(168, 63, 129, 16, 32), "a metadata"),
    (v4(192, 0, 0, 192, 32), "a metadata"),
    (v4(224, 0, 0, 0, 4), "a multicast"),
    (v4(255, 255, 255, 255, 32), "a broadcast"),
    (v6(0, 0, 0, 0, 128), "an unspecified"),
    (v6(0xfe80, 0, 0, 0, 10), "a link-local"),
    (v6(0xfd00, 0xec2, 0, 0x254, 128), "a metadata"),
    (v6(0xfd20, 0xce, 0, 0x254, 128), "a metadata"),
    (v6(0xff00, 0, 0, 0, 8), "a multicast"),
];

/// Where something of ours is only if the operator says so.
const INSIDE: &[(IpNet, &str)] = &[
    (v4(127, 0, 0, 0, 8), "a loopback"),
    (v4(10, 0, 0, 0, 8), "a private"),
    (v4(172, 16, 0, 0, 12), "a private"),
    (v4(192, 168, 0, 0, 16), "a private"),
    (v4(100, 64, 0, 0, 10), "a carrier's private"),
    (v4(192, 0, 0, 0, 24), "a reserved"),
    (v4(192, 0, 2, 0, 24), "a documentation"),
    (v4(192, 88, 99, 0, 24), "a reserved"),
    (v4(198, 18, 0, 0, 15), "a benchmark"),
    (v4(198, 51, 100, 0, 24), "a documentation"),
    (v4(203, 0, 113, 0, 24), "a documentation"),
    (v4(240, 0, 0, 0, 4), "a reserved"),
    (v6(0, 0, 0, 1, 128), "a loopback"),
    (v6(0xfc00, 0, 0, 0, 7), "a private"),
    (v6(0xfec0, 0, 0, 0, 10), "a site-local"),
    // A translator on the way decides what it means.
    (v6(0x64, 0xff9b, 1, 0, 48), "a translated"),
    (v6(0x100, 0, 0, 0, 64), "a reserved"),
    (v6(0x2001, 0, 0, 0, 23), "a reserved"),
    (v6(0x2001, 0xdb8, 0, 0, 32), "a documentation"),
    (v6(0x3fff, 0, 0, 0, 20), "a documentation"),
];

impl Policy {
    /// Public addresses, and the networks that `setting` of the configuration names.
    #[must_use]
    pub fn new(setting: &'static str, allow: Vec<IpNet>) -> Self {
        Self { setting, allow }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// [`Forbidden`] with the kind of the address.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        let address = reached(address);
        let kind = |table: &[(IpNet, &'static str)]| {
            table.iter().find(|(net, _)| net.contains(&address)).map(|(_, kind)| *kind)
        };
        if let Some(kind) = kind(NEVER) {
            return Err(Forbidden::Never(kind));
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        kind(INSIDE).map_or(Ok(()), |kind| Err(Forbidden::NotAllowed(kind, self.setting)))
    }

    /// Of these addresses those that are allowed.
    ///
    /// # Errors
    /// [`Forbidden`] of the first if there are some and none is allowed.
    pub fn allowed(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Forbidden> {
        let mut allowed = Vec::new();
        let mut first = None;
        for address in addresses {
            match self.check(*address) {
                Ok(()) => allowed.push(*address),
                Err(forbidden) => first = first.or(Some(forbidden)),
            }
        }
        match first {
            Some(forbidden) if allowed.is_empty() => Err(forbidden),
            _ => Ok(allowed),
        }
    }
}

/// The address that a connection ends at: IPv6 has several ways to write an IPv4 address.
fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let last = |segments: [u16; 8]| Ipv4Addr::from(u32::from(segments[6]) << 16 | u32::from(segments[7]));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // Mapped, the old compatible form, translated, and NAT64.
        all @ ([0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]) => IpAddr::V4(last(all)),
        // 6to4.
        [0x2002, high, low, ..] => IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str]) -> Policy {
        Policy::new("the.setting", allow.iter().map(|net| net.parse().expect("a network")).collect())
    }

    #[test]
    fn only_public_addresses_are_allowed_without_configuration() {
        let cases = [
            ("8.8.8.8", None),
            ("2606:4700::1111", None),
            ("0.0.0.0", Some("an unspecified")),
            ("0.1.2.3", Some("an unspecified")),
            ("127.0.0.1", Some("a loopback")),
            ("127.255.255.254", Some("a loopback")),
            ("10.0.0.7", Some("a private")),
            ("172.16.0.1", Some("a private")),
            ("172.31.255.255", Some("a private")),
            ("172.32.0.1", None),
            ("192.168.1.1", Some("a private")),
            ("100.64.0.1", Some("a carrier's private")),
            ("100.100.100.200", Some("a metadata")),
            ("168.63.129.16", Some("a metadata")),
            ("169.254.169.254", Some("a link-local")),
            ("198.18.0.1", Some("a benchmark")),
            ("203.0.113.5", Some("a documentation")),
            ("224.0.0.1", Some("a multicast")),
            ("240.0.0.1", Some("a reserved")),
            ("255.255.255.255", Some("a broadcast")),
            ("::", Some("an unspecified")),
            ("::1", Some("a loopback")),
            ("fe80::1", Some("a link-local")),
            ("febf::1", Some("a link-local")),
            ("fec0::1", Some("a site-local")),
            ("fd12:3456::1", Some("a private")),
            ("fd00:ec2::254", Some("a metadata")),
            ("ff02::1", Some("a multicast")),
            ("2001:db8::1", Some("a documentation")),
            ("2001::1", Some("a reserved")),
            ("::ffff:8.8.8.8", None),
            ("::ffff:127.0.0.1", Some("a loopback")),
            ("::ffff:169.254.169.254", Some("a link-local")),
            ("::127.0.0.1", Some("a loopback")),
            ("::ffff:0:10.0.0.1", Some("a private")),
            ("64:ff9b::10.0.0.1", Some("a private")),
            ("64:ff9b::808:808", None),
            ("64:ff9b:1::1", Some("a translated")),
            ("2002:7f00:1::", Some("a loopback")),
            ("2002:a9fe:a9fe::1", Some("a link-local")),
        ];
        for (text, kind) in cases {
            let found = policy(&[]).check(text.parse().expect("an address"));
            let found = found.err().map(|why| match why {
                Forbidden::Never(kind) | Forbidden::NotAllowed(kind, _) => kind,
            });
            assert_eq!(found, kind, "{text}");
        }
    }

    #[test]
    fn the_configuration_opens_what_it_names_and_never_the_rest() {
        let some = policy(&["10.1.0.0/16", "127.0.0.0/8", "fd12::/16"]);
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "fd12::7"] {
            assert_eq!(some.check(text.parse().expect("an address")), Ok(()), "{text}");
        }
        let outside = some.check("10.2.0.1".parse().expect("an address"));
        assert_eq!(outside, Err(Forbidden::NotAllowed("a private", "the.setting")));
        let all = policy(&["0.0.0.0/0", "::/0"]);
        for text in ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "fd00:ec2::254", "255.255.255.255"]
        {
            let found = all.check(text.parse().expect("an address"));
            assert!(matches!(found, Err(Forbidden::Never(_))), "{text}");
        }
    }

    #[test]
    fn of_a_names_addresses_only_the_allowed_ones_are_left() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mixed = [address("127.0.0.1"), address("8.8.8.8")];
        assert_eq!(policy(&[]).allowed(&mixed), Ok(vec![address("8.8.8.8")]));
        let inside = [address("127.0.0.1"), address("fe80::1")];
        assert_eq!(policy(&[]).allowed(&inside), Err(Forbidden::NotAllowed("a loopback", "the.setting")));
        assert_eq!(policy(&[]).allowed(&[]), Ok(vec![]));
    }
}
