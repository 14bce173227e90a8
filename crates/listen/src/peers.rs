//! Who may open associations: by address as soon as they connect, by title once they have said it.

use dicom_ul::association::server::AccessControl;
use dicom_ul::pdu::{AssociationRJServiceUserReason as Reason, UserIdentity};
use serde::Deserialize;
use std::net::IpAddr;

/// Somebody who may send.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its title; any where it is not said.
    pub ae: Option<String>,
    /// Its address, or a network such as 10.0.0.0/24; any where it is not said.
    pub address: Option<String>,
}

impl Peer {
    fn is_at(&self, address: IpAddr) -> bool {
        self.address.as_deref().is_none_or(|a| Network::parse(a).is_some_and(|n| n.holds(address)))
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// An address, or one with a number of bits: `10.0.0.7`, `10.0.0.0/24`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim().parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(all), |b| b.trim().parse().ok())?;
        (bits <= all).then_some(Network { address, bits })
    }

    pub fn holds(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, all: u32| self.bits == 0 || (a ^ b) >> (all - self.bits) == 0;
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether anybody at an address may open associations. Without a list everybody may: then only this machine connects.
pub(crate) fn may_connect(peers: &[Peer], address: IpAddr) -> bool {
    peers.is_empty() || peers.iter().any(|p| p.is_at(address))
}

/// Decides by titles, for a connection from `address`.
pub(crate) struct Titles<'a> {
    pub peers: &'a [Peer],
    pub address: IpAddr,
}

impl AccessControl for Titles<'_> {
    fn check_access(
        &self,
        own: &str,
        calling: &str,
        called: &str,
        _: Option<&UserIdentity>,
    ) -> Result<(), Reason> {
        let known = |p: &Peer| p.is_at(self.address) && p.ae.as_deref().is_none_or(|ae| ae == calling.trim());
        if !self.peers.is_empty() && !self.peers.iter().any(known) {
            return Err(Reason::CallingAETitleNotRecognized);
        }
        match called.trim() == own {
            true => Ok(()),
            false => Err(Reason::CalledAETitleNotRecognized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, holds) in [
            ("10.0.0.0/24", "10.0.0.77", true),
            ("10.0.0.0/24", "10.0.1.77", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "192.168.1.1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("10.0.0.0/8", "fd12::1", false),
        ] {
            assert_eq!(
                Network::parse(network).unwrap().holds(address.parse().unwrap()),
                holds,
                "{network} {address}"
            );
        }
        for bad in ["", "host", "10.0.0.0/33", "10.0.0.0/x", "fd00::/129"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_title_counts_at_its_own_address_only() {
        let peer = |ae: Option<&str>, address: Option<&str>| Peer {
            ae: ae.map(str::to_owned),
            address: address.map(str::to_owned),
        };
        let peers = [peer(Some("CT1"), Some("10.0.0.0/24")), peer(Some("MR1"), None)];
        let of = |calling: &str, called: &str, address: &str| {
            let address: IpAddr = address.parse().unwrap();
            Titles { peers: &peers, address }.check_access("OWN", calling, called, None)
        };
        assert_eq!(of("CT1", "OWN", "10.0.0.1"), Ok(()));
        assert_eq!(of("CT1", "OWN", "10.0.1.1"), Err(Reason::CallingAETitleNotRecognized));
        assert_eq!(of("MR1", "OWN", "10.0.1.1"), Ok(()));
        assert_eq!(of("MR1", "OTHER", "10.0.1.1"), Err(Reason::CalledAETitleNotRecognized));
        assert!(may_connect(&peers, "10.9.9.9".parse().unwrap()));
        assert!(!may_connect(&peers[..1], "10.9.9.9".parse().unwrap()));
    }
}
