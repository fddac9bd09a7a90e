//! A TCP relay on loopback that stands between agent and hub: it counts every byte, and can cut, stall, or refuse.

use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::RecvFlags,
};
use socket2::{Domain, SockRef, Socket, Type};

/// How long a thread sleeps in a read before it looks at the switches.
const GLANCE: Duration = Duration::from_millis(10);
/// No allowance: everything may pass.
const UNLIMITED: i64 = i64::MAX;

/// The relay; ends when dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    over: AtomicBool,
    refusing: AtomicBool,
    /// How many bytes may still be taken from the agent.
    allowance: Mutex<i64>,
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicU64,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    agent: TcpStream,
    hub: TcpStream,
    over: AtomicBool,
}

impl Relay {
    /// A relay to that address.
    pub fn to(target: SocketAddr) -> Self {
        Self::with_window(target, None)
    }

    /// A relay that takes so little from the agent before it reads that the rest must wait in the agent's kernel.
    pub fn narrow(target: SocketAddr) -> Self {
        Self::with_window(target, Some(2048))
    }

    fn with_window(target: SocketAddr, receive_buffer: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(64).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            over: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            allowance: Mutex::new(UNLIMITED),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || shared.accept(&listener)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every byte that came from the agent's side, those included that still lie unread in this end's kernel.
    pub fn bytes_up(&self) -> u64 {
        let unread: u64 = self.shared.connections.lock().unwrap().iter().map(|c| unread(&c.agent)).sum();
        self.shared.up.load(SeqCst) + unread
    }

    /// Every byte that was passed to the agent.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(SeqCst)
    }

    /// How many connections the agent has made.
    pub fn connections_made(&self) -> u64 {
        self.shared.accepted.load(SeqCst)
    }

    /// How many are up.
    pub fn connections_up(&self) -> usize {
        self.shared.connections.lock().unwrap().iter().filter(|c| !c.over.load(SeqCst)).count()
    }

    /// Takes only so many more bytes from the agent, then stalls.
    pub fn stall_after(&self, bytes: u32) {
        *self.shared.allowance.lock().unwrap() = i64::from(bytes);
    }

    /// Whether it stalls: the allowance is used up.
    pub fn is_stalled(&self) -> bool {
        *self.shared.allowance.lock().unwrap() <= 0
    }

    /// Takes everything again.
    pub fn flow(&self) {
        *self.shared.allowance.lock().unwrap() = UNLIMITED;
    }

    /// Resets every connection.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.reset();
        }
    }

    /// From now on resets new connections at once, as a hub that is down does, and cuts the old ones.
    pub fn refuse(&self) {
        self.shared.refusing.store(true, SeqCst);
        self.cut();
    }

    /// Lets new connections through again.
    pub fn admit(&self) {
        self.shared.refusing.store(false, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.cut();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        listener.set_nonblocking(true).unwrap();
        while !self.over.load(SeqCst) {
            let Ok((agent, _)) = listener.accept() else {
                std::thread::sleep(GLANCE);
                continue;
            };
            self.accepted.fetch_add(1, SeqCst);
            agent.set_nonblocking(false).unwrap();
            let hub = match self.refusing.load(SeqCst) {
                true => None,
                false => TcpStream::connect_timeout(&self.target, Duration::from_secs(2)).ok(),
            };
            let Some(hub) = hub else {
                reset(&agent);
                continue;
            };
            agent.set_nodelay(true).unwrap();
            hub.set_nodelay(true).unwrap();
            let connection = Arc::new(Connection { agent, hub, over: AtomicBool::new(false) });
            self.connections.lock().unwrap().push(connection.clone());
            let (up, down) = (self.clone(), self.clone());
            let other = connection.clone();
            std::thread::spawn(move || up.carry_up(&connection));
            std::thread::spawn(move || down.carry_down(&other));
        }
    }

    fn carry_up(&self, connection: &Connection) {
        let mut buffer = [0; 4096];
        while !connection.over.load(SeqCst) {
            if !readable(&connection.agent) {
                continue;
            }
            // Held while reading: after `stall_after` has returned, not one byte more than it allows is taken.
            let mut allowance = self.allowance.lock().unwrap();
            let most = usize::try_from(*allowance).unwrap_or(0).min(buffer.len());
            if most == 0 {
                drop(allowance);
                std::thread::sleep(GLANCE);
                continue;
            }
            match rustix::net::recv(&connection.agent, &mut buffer[..most], RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    drop(allowance);
                    let _ = connection.hub.shutdown(Shutdown::Write);
                    return connection.half_closed();
                }
                Ok((count, _)) => {
                    self.up.fetch_add(count as u64, SeqCst);
                    if *allowance != UNLIMITED {
                        *allowance -= count as i64;
                    }
                    drop(allowance);
                    if (&connection.hub).write_all(&buffer[..count]).is_err() {
                        return connection.reset();
                    }
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => return connection.reset(),
            }
        }
    }

    fn carry_down(&self, connection: &Connection) {
        let mut buffer = [0; 4096];
        while !connection.over.load(SeqCst) {
            if !readable(&connection.hub) {
                continue;
            }
            match rustix::net::recv(&connection.hub, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    let _ = connection.agent.shutdown(Shutdown::Write);
                    return connection.half_closed();
                }
                Ok((count, _)) => {
                    self.down.fetch_add(count as u64, SeqCst);
                    if (&connection.agent).write_all(&buffer[..count]).is_err() {
                        return connection.reset();
                    }
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => return connection.reset(),
            }
        }
    }
}

impl Connection {
    fn reset(&self) {
        self.over.store(true, SeqCst);
        reset(&self.agent);
        reset(&self.hub);
    }

    /// The other direction may still have something to say, for a moment.
    fn half_closed(&self) {
        for _ in 0..100 {
            if self.over.load(SeqCst) {
                return;
            }
            std::thread::sleep(GLANCE);
        }
        self.reset();
    }
}

/// Leaves nothing in any buffer: the peer sees a reset when the last owner lets go.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

/// Waits a moment for something to read; a broken connection counts as readable.
fn readable(stream: &TcpStream) -> bool {
    let glance = Timespec { tv_sec: 0, tv_nsec: i64::from(GLANCE.subsec_nanos()) };
    poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&glance)).is_ok_and(|ready| ready > 0)
}

fn unread(stream: &TcpStream) -> u64 {
    let mut count: libc::c_int = 0;
    // A connection that is gone has nothing unread.
    let answer = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &mut count) };
    if answer == 0 { u64::try_from(count).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::wait;

    #[test]
    fn counts_stalls_and_cuts() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(echo.local_addr().unwrap());
        let mut agent = TcpStream::connect(relay.address()).unwrap();
        let (mut hub, _) = echo.accept().unwrap();
        agent.write_all(b"hello").unwrap();
        let mut five = [0; 5];
        hub.read_exact(&mut five).unwrap();
        hub.write_all(b"hi").unwrap();
        agent.read_exact(&mut five[..2]).unwrap();
        assert_eq!((relay.bytes_up(), relay.bytes_down(), relay.connections_up()), (5, 2, 1));

        relay.stall_after(2);
        agent.write_all(b"world").unwrap();
        wait::until_true(Duration::from_secs(5), "the stall", || relay.is_stalled() && relay.bytes_up() == 10);
        hub.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(hub.read(&mut five).unwrap(), 2);
        assert!(hub.read(&mut five).is_err(), "the rest is held back");
        relay.flow();
        hub.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        hub.read_exact(&mut five[..3]).unwrap();

        relay.refuse();
        assert!(matches!(agent.read(&mut five), Ok(0) | Err(_)));
        assert_eq!(relay.connections_up(), 0);
    }
}
