//! The process that keeps the privileges, as the agent sees it: one request at a time over a pair of sockets.

mod protocol;
mod serve;
mod wire;

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
};

use self::protocol::{Answer, Load, Request};
pub use self::serve::serve;
use super::{
    AttachOptions, Attachment, EntryPoint, KernelError, LoadOptions, attach::Links, handed_over::Loaded,
};

/// The privileged process. It ends when the last of these has gone, or when it is [ended](Self::end).
#[derive(Clone, Debug)]
pub struct PrivilegedProcess {
    socket: Arc<Mutex<UnixStream>>,
    /// The same socket, for [`Self::end`].
    ending: Arc<UnixStream>,
}

impl PrivilegedProcess {
    /// The process at the other end of this socket, which [serves](serve).
    ///
    /// # Errors
    /// No further descriptor is to be had.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        let ending = Arc::new(socket.try_clone()?);
        Ok(Self { socket: Arc::new(Mutex::new(socket)), ending })
    }

    /// Lets it detach everywhere and end, whoever still has a handle.
    pub fn end(&self) {
        // It can only fail where the other end is closed already.
        let _ = self.ending.shutdown(Shutdown::Both);
    }

    /// A socket that keeps an interface in promiscuous mode for as long as it is open.
    ///
    /// # Errors
    /// What the kernel says, or the process does not answer.
    pub fn promiscuous(&self, index: u32) -> io::Result<OwnedFd> {
        match self.asked(&Request::Promiscuous { index }, &[])? {
            (Answer::Done, mut descriptors) => descriptors.pop().ok_or_else(no_answer),
            (Answer::Failed { number: Some(number), .. }, _) => Err(io::Error::from_raw_os_error(number)),
            (Answer::Failed { line, .. }, _) => Err(io::Error::other(line)),
            _ => Err(no_answer()),
        }
    }

    /// Gives a thread of this process the priority of metering, by its id.
    ///
    /// # Errors
    /// It is not allowed to.
    pub fn prioritise(&self, thread: rustix::thread::Pid) -> Result<(), KernelError> {
        self.ask(&Request::Prioritise { thread: thread.as_raw_nonzero().get() }).map(drop)
    }

    pub(super) fn load(&self, options: &LoadOptions) -> Result<(Loaded, Vec<OwnedFd>), KernelError> {
        match self.ask(&Request::Load(Box::new(Load::new(options)?)))? {
            (Answer::Loaded(loaded), descriptors) => Ok((*loaded, descriptors)),
            _ => Err(KernelError::NoAnswer { source: no_answer() }),
        }
    }

    /// Moves links to what was loaded last: whether each has moved, and the ifIndexes of filters that have not.
    pub(super) fn take_over(
        &self,
        links: &[(EntryPoint, BorrowedFd<'_>)],
    ) -> Result<(Vec<bool>, Vec<u32>), KernelError> {
        let (entries, descriptors): (Vec<EntryPoint>, Vec<BorrowedFd<'_>>) = links.iter().copied().unzip();
        match self.ask_with(&Request::TakeOver(entries), &descriptors)? {
            (Answer::TakenOver { moved, lost }, _) => Ok((moved, lost)),
            _ => Err(KernelError::NoAnswer { source: no_answer() }),
        }
    }

    pub(super) fn attach(
        &self,
        interface: &str,
        index: u32,
        how: &AttachOptions,
    ) -> Result<(Attachment, Links), KernelError> {
        match self.ask(&Request::Attach { interface: interface.to_owned(), index, how: *how })? {
            (Answer::Attached { attachment, links }, descriptors) if links.len() == descriptors.len() => {
                Ok((attachment, links.into_iter().zip(descriptors).collect()))
            }
            _ => Err(KernelError::NoAnswer { source: no_answer() }),
        }
    }

    pub(super) fn detach(&self, index: u32) {
        // One that does not answer has ended, and has detached.
        let _ = self.ask(&Request::Detach { index });
    }

    pub(super) fn flush_log(&self) {
        // What cannot be told is not told.
        let _ = self.ask(&Request::FlushLog);
    }

    fn ask(&self, request: &Request) -> Result<(Answer, Vec<OwnedFd>), KernelError> {
        self.ask_with(request, &[])
    }

    fn ask_with(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), KernelError> {
        match self.asked(request, descriptors) {
            Ok((Answer::Failed { line, .. }, _)) => Err(KernelError::Privileged { line }),
            Ok(answer) => Ok(answer),
            Err(source) => Err(KernelError::NoAnswer { source }),
        }
    }

    fn asked(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&socket, request, descriptors)?;
        wire::receive(&socket)?.ok_or_else(no_answer)
    }
}

fn no_answer() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
