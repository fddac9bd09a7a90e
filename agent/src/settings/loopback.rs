//! Addresses of servers on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::load::endpoint;

/// What an address may be, in words.
pub const ALLOWED: &str = "allowed is a port of this machine itself, such as \"127.0.0.1:5038\", \"[::1]:5038\" or \
                           \"localhost:5038\": the process that reads call records has no other network";

/// Where to connect for `host:port`; nothing where that could be another machine.
///
/// No name is looked up, since asking for it is network already: `localhost` is the one name whose addresses are known.
pub fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    let endpoint = endpoint(text)?;
    let hosts: Vec<IpAddr> = if endpoint.host.eq_ignore_ascii_case("localhost") {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        vec![endpoint.host.parse::<IpAddr>().ok().filter(|host| host.to_canonical().is_loopback())?]
    };
    Some(hosts.into_iter().map(|host| SocketAddr::new(host, endpoint.port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_has_addresses() {
        let texts = |text| addresses(text).unwrap_or_default().iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        assert_eq!(texts("127.0.0.1:5038"), ["127.0.0.1:5038"]);
        assert_eq!(texts("127.9.9.9:1"), ["127.9.9.9:1"]);
        assert_eq!(texts("[::1]:5038"), ["[::1]:5038"]);
        assert_eq!(texts("LocalHost:5038"), ["127.0.0.1:5038", "[::1]:5038"]);
        for other in [
            "192.0.2.1:5038",
            "0.0.0.0:5038",
            "[::]:5038",
            "[::ffff:192.0.2.1]:5038",
            "localhost.example.com:5038",
            "pbx:5038",
            "127.1:5038",
            "127.0.0.1",
            "127.0.0.1:0",
            "/run/mysqld/mysqld.sock",
            "",
        ] {
            assert_eq!(addresses(other), None, "{other}");
        }
    }
}
