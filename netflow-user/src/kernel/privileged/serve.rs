//! The privileged process: does what it is asked for and nothing else, until nobody can ask any more.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use rustix::process::setpriority_process;

use super::{
    protocol::{Answer, Load, Request},
    wire,
};
use crate::kernel::{KernelError, loader::Loader, promiscuous_socket};

/// Nice value of the metering thread. While it waits for a processor the kernel's maps fill up, and packets
/// are lost: of 20 million packets of 500,000 flows on two busy cores 0.1 to 0.2 % without it.
const NICE: i32 = -10;
/// Octets of an interface's name at most (IFNAMSIZ, without its end).
const LONGEST_NAME: usize = 15;

/// What there is to serve with.
#[derive(Default)]
struct Served {
    /// The meter that is attached.
    current: Option<Loader>,
    /// One that was loaded beside it.
    next: Option<Loader>,
}

/// Serves a process (`agent`) at the other end of the socket until it closes it. Then everything is detached. It may have `tap`
/// only where the operator did: who drops packets cuts a host off.
///
/// # Errors
/// The socket failed, or what came is no request; everything is detached then, too.
pub fn serve(socket: &UnixStream, agent: rustix::process::Pid, tap: bool) -> io::Result<()> {
    let mut served = Served::default();
    while let Some((request, came)) = wire::receive::<Request>(socket)? {
        let (answer, descriptors) = match served.answer(request, &came, agent, tap) {
            Ok(answer) => answer,
            Err(error) => (Answer::failed(&error), Vec::new()),
        };
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        wire::send(socket, &answer, &descriptors)?;
    }
    Ok(())
}

impl Served {
    fn answer(
        &mut self,
        request: Request,
        came: &[OwnedFd],
        agent: rustix::process::Pid,
        tap: bool,
    ) -> Result<(Answer, Vec<OwnedFd>), KernelError> {
        let answer = match request {
            Request::Load(load) => return self.load(&load, tap),
            Request::TakeOver(entries) => {
                let mut next = self.next.take().ok_or_else(nothing_loaded)?;
                let links: Vec<_> = entries.into_iter().zip(came.iter().map(AsFd::as_fd)).collect();
                let (moved, lost) = match &mut self.current {
                    Some(current) => next.take_over(&links, current)?,
                    None => (vec![false; links.len()], Vec::new()),
                };
                self.current = Some(next);
                Answer::TakenOver { moved, lost }
            }
            Request::Attach { interface, index, how } => {
                if interface.len() > LONGEST_NAME || interface.contains(['\0', '/']) {
                    return Err(refused("no interface has such a name"));
                }
                let current = self.current.as_mut().ok_or_else(nothing_loaded)?;
                let (attachment, links) = current.attach(&interface, index, &how)?;
                let (links, descriptors) = links.into_iter().unzip();
                return Ok((Answer::Attached { attachment, links }, descriptors));
            }
            Request::Detach { index } => {
                if let Some(current) = &mut self.current {
                    current.detach(index);
                }
                Answer::Done
            }
            Request::Promiscuous { index } => {
                return Ok(match promiscuous_socket(index) {
                    Ok(socket) => (Answer::Done, vec![socket]),
                    Err(error) => {
                        let (line, number) = (error.to_string(), error.raw_os_error());
                        (Answer::Failed { line, number }, Vec::new())
                    }
                });
            }
            Request::Prioritise { thread } => {
                prioritise(agent, thread)?;
                Answer::Done
            }
            Request::FlushLog => {
                if let Some(current) = &mut self.current {
                    current.flush_log();
                }
                Answer::Done
            }
        };
        Ok((answer, Vec::new()))
    }

    /// The first meter is the current one at once; another one stands beside it until it takes over.
    fn load(&mut self, load: &Load, tap: bool) -> Result<(Answer, Vec<OwnedFd>), KernelError> {
        let options = load.options()?;
        if options.tap && !tap {
            return Err(refused("--tap needs a start with it"));
        }
        // One that was never taken over to is of no use any more.
        self.next = None;
        let (loader, loaded, descriptors) = Loader::load(&options, None)?;
        let place = if self.current.is_none() { &mut self.current } else { &mut self.next };
        *place = Some(loader);
        Ok((Answer::Loaded(Box::new(loaded)), descriptors))
    }
}

/// Threads of the agent only.
fn prioritise(agent: rustix::process::Pid, thread: i32) -> Result<(), KernelError> {
    let agent = agent.as_raw_nonzero();
    let is_its_own = Path::new(&format!("/proc/{agent}/task/{thread}")).exists();
    match rustix::process::Pid::from_raw(thread).filter(|_| is_its_own) {
        Some(thread) => setpriority_process(Some(thread), NICE)
            .map_err(|error| refused(&io::Error::from(error).to_string())),
        None => Err(refused("no such thread")),
    }
}

fn nothing_loaded() -> KernelError {
    refused("nothing is loaded")
}

fn refused(why: &str) -> KernelError {
    KernelError::Privileged { line: format!("the privileged process refuses: {why}") }
}
