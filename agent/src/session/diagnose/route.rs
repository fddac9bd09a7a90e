//! `trace-route`: the way from here to the hub, as an ordinary user can measure it: datagrams that may pass only so many
//! routers, and the errors that come back.

use std::{
    fmt, io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Trouble, write_table};

/// Routers beyond which nothing is looked for.
const MOST_HOPS: u16 = 20;
/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where nobody listens, by custom.
const FIRST_PORT: u16 = 33_434;

/// The way to the hub.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Route {
    hub: String,
    address: IpAddr,
    hops: Vec<Hop>,
    /// Whether the hub's machine answered.
    reached: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Hop {
    hop: u16,
    /// Who answered; absent where nobody did.
    address: Option<IpAddr>,
    milliseconds: Option<f64>,
}

/// An answer to one datagram.
struct Answered {
    by: Option<IpAddr>,
    /// Whether it came from where the datagram was sent to.
    is_end: bool,
    after: Duration,
}

pub(super) async fn look(hub: &str) -> Result<Route, Trouble> {
    if hub.is_empty() {
        return Err(Trouble::new("this site has no hub"));
    }
    let found = tokio::net::lookup_host(hub).await.map(|mut found| found.next());
    let Ok(Some(address)) = found else {
        return Err(Trouble::new(format!("the hub's name ({hub}) cannot be looked up")));
    };
    let traced = tokio::task::spawn_blocking(move || trace(address.ip())).await;
    let answers = traced
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Trouble::new(format!("the way to {} cannot be measured: {error}", address.ip())))?;
    Ok(route(hub, address.ip(), answers))
}

/// As far as the hub, or as the last router that answered.
fn route(hub: &str, address: IpAddr, answers: Vec<Option<Answered>>) -> Route {
    let end = answers.iter().position(|answer| answer.as_ref().is_some_and(|answer| answer.is_end));
    let last = answers.iter().rposition(Option::is_some);
    let shown = end.or(last).map_or(0, |place| place + 1);
    let hops = (1..).zip(answers).take(shown).map(|(hop, answer)| Hop {
        hop,
        milliseconds: answer.as_ref().map(|answer| (answer.after.as_secs_f64() * 10_000.0).round() / 10.0),
        address: answer.and_then(|answer| answer.by),
    });
    Route { hub: hub.to_owned(), address, hops: hops.collect(), reached: end.is_some() }
}

/// One datagram for each number of routers, all at once.
fn trace(address: IpAddr) -> io::Result<Vec<Option<Answered>>> {
    let sockets: Vec<Socket> = (1..=MOST_HOPS).map(|hops| prepare(address, hops)).collect::<io::Result<_>>()?;
    let sent = Instant::now();
    for socket in &sockets {
        // An error here is an answer to an earlier datagram, or none at all.
        let _ = socket.send(b"demarc trace-route");
    }
    let mut answers: Vec<Option<Answered>> = sockets.iter().map(|_| None).collect();
    loop {
        let left = PATIENCE.saturating_sub(sent.elapsed());
        let mut waiting: Vec<libc::pollfd> = sockets
            .iter()
            .zip(&answers)
            .map(|(socket, answer)| {
                // The kernel passes over what is negative.
                let fd = if answer.is_some() { -1 } else { socket.as_raw_fd() };
                libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
            })
            .collect();
        if left.is_zero() || waiting.iter().all(|one| one.fd < 0) {
            return Ok(answers);
        }
        let milliseconds = libc::c_int::try_from(left.as_millis()).unwrap_or(0) + 1;
        let count = libc::nfds_t::try_from(waiting.len()).unwrap_or(0);
        // SAFETY: the pointer and the count are those of one live list.
        let ready = unsafe { libc::poll(waiting.as_mut_ptr(), count, milliseconds) };
        if ready == -1 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Err(io::Error::last_os_error());
        }
        for ((socket, one), answer) in sockets.iter().zip(&waiting).zip(&mut answers) {
            if one.revents != 0 {
                *answer = take(socket, sent.elapsed());
            }
        }
        // Once the end has answered, the nearer ones have had as long as it took.
        let end = answers.iter().position(|answer| answer.as_ref().is_some_and(|answer| answer.is_end));
        if end.is_some_and(|end| answers[..end].iter().all(Option::is_some)) {
            return Ok(answers);
        }
    }
}

fn prepare(address: IpAddr, hops: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::DGRAM, Some(Protocol::UDP))?;
    let (level, limit, errors) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_RECVERR),
    };
    for (option, value) in [(limit, libc::c_int::from(hops)), (errors, 1)] {
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
        // SAFETY: the pointer and the length are those of one live integer.
        let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
        if set == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    socket.connect(&SocketAddr::new(address, FIRST_PORT + hops).into())?;
    Ok(socket)
}

/// Takes the error that came back for a datagram; absent where there was none after all.
fn take(socket: &Socket, after: Duration) -> Option<Answered> {
    let mut control = [MaybeUninit::<u64>::uninit(); 64];
    let mut byte = 0_u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: a header of zeros is one without anything in it.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in the header is to a live buffer of the length that stands beside it.
    let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if read == -1 {
        // Somebody listens there and answered; or the error was told otherwise.
        let answered = socket.recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_DONTWAIT).is_ok();
        return answered.then_some(Answered { by: None, is_end: true, after });
    }
    // SAFETY: the kernel filled the header; the macros walk no further than it says.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: the macros gave a pointer to a header within the buffer.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        let is_error = (level == libc::IPPROTO_IP && kind == libc::IP_RECVERR)
            || (level == libc::IPPROTO_IPV6 && kind == libc::IPV6_RECVERR);
        if is_error {
            // SAFETY: a message of this kind holds an error with the address of its sender behind it.
            return Some(unsafe { answer(libc::CMSG_DATA(message).cast(), after) });
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    None
}

/// # Safety
/// The pointer must be to what the kernel wrote for `IP_RECVERR` or `IPV6_RECVERR`.
unsafe fn answer(error: *const libc::sock_extended_err, after: Duration) -> Answered {
    // SAFETY: by the contract; neither place needs to be aligned.
    let (what, family) = unsafe {
        let what = error.read_unaligned();
        (what, error.add(1).cast::<libc::sa_family_t>().read_unaligned())
    };
    let by = match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says what lies there.
            let address = unsafe { error.add(1).cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(u32::from_be(address.sin_addr.s_addr).to_be_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { error.add(1).cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(address.sin6_addr.s6_addr))
        }
        _ => None,
    };
    // Time exceeded is 11 in ICMP and 3 in ICMPv6; destination unreachable, for the port, is 3/3 and 1/4.
    let code = (what.ee_origin, what.ee_type, what.ee_code);
    let is_end = code == (libc::SO_EE_ORIGIN_ICMP, 3, 3) || code == (libc::SO_EE_ORIGIN_ICMP6, 1, 4);
    Answered { by, is_end, after }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.hops.iter().map(|one| {
            let address = one.address.map_or_else(|| "no answer".to_owned(), |address| address.to_string());
            vec![one.hop.to_string(), address, one.milliseconds.map(|time| format!("{time:.1} ms")).unwrap_or_default()]
        });
        write_table(f, &["hop", "address", "after"], rows, "No router on the way answered.")?;
        if self.reached {
            writeln!(f, "{} ({}) answered.", self.hub, self.address)
        } else {
            let hub = &self.hub;
            writeln!(f, "{hub} ({}) did not answer; many machines do not answer such datagrams.", self.address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_one_hop_away() {
        let route = look("127.0.0.1:443").await.unwrap();
        assert!(route.reached && route.hops.len() == 1, "{route:?}");
        assert_eq!(route.hops[0].address, Some(IpAddr::from([127, 0, 0, 1])));
        assert!(look("").await.is_err());
    }

    #[test]
    fn the_way_ends_at_the_hub_or_at_the_last_who_answered() {
        let answer = |is_end| Some(Answered { by: None, is_end, after: Duration::from_millis(1) });
        let address = IpAddr::from([192, 0, 2, 1]);
        let ended = route("hub:443", address, vec![answer(false), None, answer(true), answer(true)]);
        assert_eq!((ended.hops.len(), ended.reached), (3, true));
        let lost = route("hub:443", address, vec![answer(false), None, None]);
        assert_eq!((lost.hops.len(), lost.reached), (1, false));
    }
}
