//! A small network of the laboratory's own inside 127.0.0.0/8, so that several can run side by side on one machine.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    time::SystemTime,
};

/// Holds the network: whoever has this port at its last address has the network.
const CLAIM_PORT: u16 = 1999;

/// One network `127.x.y.0/24`, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Network {
    x: u8,
    y: u8,
    _claim: UdpSocket,
}

impl Network {
    /// Takes one that nobody has.
    pub(super) fn claim() -> Self {
        let nanoseconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
        let first = nanoseconds.wrapping_add(std::process::id());
        // 127.0 and 127.255 are where other programs expect to be alone.
        let candidates = (0..1000_u32).map(|step| first.wrapping_add(step.wrapping_mul(7919)));
        candidates
            .map(|number| ((1 + number % 254) as u8, (number / 254 % 255) as u8))
            .find_map(|(x, y)| {
                let claim = UdpSocket::bind((Ipv4Addr::new(127, x, y, 254), CLAIM_PORT)).ok()?;
                Some(Self { x, y, _claim: claim })
            })
            .expect("a free network in 127.0.0.0/8")
    }

    /// One of its addresses.
    pub(super) fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, last)
    }

    /// That address with a UDP port that is free there.
    pub(super) fn udp(&self, last: u8) -> SocketAddr {
        UdpSocket::bind((self.address(last), 0)).unwrap().local_addr().unwrap()
    }

    /// That address with a TCP port that is free there.
    pub(super) fn tcp(&self, last: u8) -> SocketAddr {
        TcpListener::bind((self.address(last), 0)).unwrap().local_addr().unwrap()
    }
}
