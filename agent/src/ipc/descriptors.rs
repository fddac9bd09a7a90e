//! Open descriptors on their way from the supervisor to a role: one a datagram, with a number.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

/// The supervisor's end.
#[derive(Debug)]
pub struct Giver(OwnedFd);

/// The role's end.
#[derive(Debug)]
pub struct Taker(OwnedFd);

/// A new pair.
///
/// # Errors
/// When the process has no descriptors left.
pub fn pair() -> Result<(Giver, OwnedFd), Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Giver(ours), theirs))
}

impl Giver {
    /// Gives a descriptor away under that number.
    ///
    /// # Errors
    /// When the role is gone, or has not taken what it was given.
    pub fn give(&self, number: u64, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let number = number.to_be_bytes();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.0, &[IoSlice::new(&number)], &mut ancillary, flags).map(drop)
    }
}

impl Taker {
    /// Takes over the end that was inherited.
    pub fn new(inherited: OwnedFd) -> Self {
        Self(inherited)
    }

    /// The descriptor with that number, which was given before anybody spoke of it. Those with other numbers are closed:
    /// nobody waits for them any more.
    pub fn take(&self, number: u64) -> Option<OwnedFd> {
        loop {
            let (given, descriptor) = self.next()?;
            if given == number {
                return descriptor;
            }
        }
    }

    fn next(&self) -> Option<(u64, Option<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut number = [0; 8];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut number)], &mut ancillary, flags).ok()?;
        if received.bytes != number.len() {
            return None;
        }
        let mut descriptor = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        Some((u64::from_be_bytes(number), descriptor))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_descriptor_arrives_under_its_number_and_others_are_closed() {
        let (giver, theirs) = pair().unwrap();
        let taker = Taker::new(theirs);
        assert!(taker.take(1).is_none());
        let (mut near, far) = UnixStream::pair().unwrap();
        let (mut forgotten, other) = UnixStream::pair().unwrap();
        giver.give(1, other.as_fd()).unwrap();
        giver.give(2, far.as_fd()).unwrap();
        drop((far, other));
        let mut taken = UnixStream::from(taker.take(2).unwrap());
        taken.write_all(b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert_eq!(forgotten.read(&mut [0]).unwrap(), 0);
        drop(taker);
        assert!(giver.give(3, near.as_fd()).is_err());
    }
}
