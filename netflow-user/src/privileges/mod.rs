//! Two processes: one that keeps the privileges that metering needs and does nothing else, and the agent, which talks to
//! the network and keeps none.
//!
//! In: what the agent has to reach (files, a user). Out: a handle to the privileged process, in an agent that has lost
//! its capabilities, system calls and files on every thread, since there is one thread yet.
//!
//! The agent is the process that was started: signals, exit code and the terminal stay its own. The privileged process is
//! its child, which takes no signal but SIGKILL and ends when the agent does, however that ends.

mod capabilities;
mod error;
mod files;
mod fork;
mod system_calls;
mod user;

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, open},
    process::{
        DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, WaitOptions, getpid, pidfd_open,
        set_dumpable_behavior, setrlimit, waitpid,
    },
    thread::{set_name, set_no_new_privs},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

use self::fork::Forked;
pub use self::{error::PrivilegesError, user::User};
use crate::kernel::{PrivilegedProcess, serve};

/// How long the agent waits for the end of the privileged process, which has links to remove.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the agent has to reach without privileges.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Whom it runs as; `None`: as whom it was started, or as who owns the directories that it writes to.
    pub user: Option<User>,
    /// Files and directories that it reads.
    pub read: Vec<PathBuf>,
    /// Directories that it writes to.
    pub write: Vec<PathBuf>,
    /// A directory of its own that it writes to and can do without: made where there is none.
    pub make: Option<PathBuf>,
    /// Whether packets may be dropped after counting.
    pub tap: bool,
}

impl Needs {
    /// What is needed by others and was not said to be: it cannot be reached any more.
    pub fn lack<'a>(&self, others: &'a Self) -> Option<&'a Path> {
        let beyond = |had: &[PathBuf], needed: &'a [PathBuf]| {
            needed.iter().find(|path| !had.iter().any(|directory| path.starts_with(directory)))
        };
        beyond(&self.write, &others.write).or(beyond(&self.read, &others.read)).map(PathBuf::as_path)
    }
}

/// The other process.
#[derive(Debug)]
pub struct Parted {
    process: PrivilegedProcess,
    child: Pid,
    /// Readable when it has ended.
    ended: OwnedFd,
}

/// Makes two processes of this one, which must have one thread. Returns in the agent, which has no privileges then.
///
/// # Errors
/// There is no second process, or a privilege cannot be given up.
pub fn part(needs: &Needs) -> Result<Parted, PrivilegesError> {
    let part = |source| PrivilegesError::Part { source };
    let (ours, theirs) = UnixStream::pair().map_err(part)?;
    let agent = getpid();
    // The agent's end is what ends the other process: a signal to all of its group is the agent's alone, from the
    // first moment on.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|error| part(error.into()))?;
    let child = match fork::fork() {
        Ok(Forked::Child) => {
            drop(ours);
            keep_privileges(&theirs, agent, needs.tap)
        }
        Ok(Forked::Parent(child)) => Ok(child),
        Err(error) => Err(error),
    };
    before.thread_set_mask().map_err(|error| part(error.into()))?;
    let child = child.map_err(part)?;
    drop(theirs);
    let ended = pidfd_open(child, PidfdFlags::empty()).map_err(|error| part(error.into()))?;
    let process = PrivilegedProcess::new(ours).map_err(part)?;
    let parted = Parted { process, child, ended };
    confine(needs)?;
    Ok(parted)
}

/// Gives up whatever the agent does not need, for good.
///
/// # Errors
/// A capability or the user cannot be given up. What a kernel lacks beyond that is said in the log.
pub fn confine(needs: &Needs) -> Result<(), PrivilegesError> {
    no_dumps();
    let user = match &needs.user {
        Some(user) => Some(user.clone()),
        None => user::owner_of(&needs.write),
    };
    if let Some(directory) = &needs.make {
        files::make(directory, user.as_ref());
    }
    let kept = capabilities::of_agent();
    // In this order: changing the user needs capabilities, and makes the process dumpable.
    capabilities::empty_bounding_set();
    if let Some(user) = &user {
        user.become_it(!kept.is_empty())?;
    }
    set_no_new_privs(true).map_err(|error| PrivilegesError::NoNewPrivileges { source: error.into() })?;
    capabilities::keep(kept)?;
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!("other processes of this user may read this one's memory: {error}");
    }
    let written: Vec<PathBuf> = needs.write.iter().chain(&needs.make).cloned().collect();
    files::confine(&needs.read, &written);
    system_calls::confine();
    Ok(())
}

impl Parted {
    /// To ask it for something.
    pub fn process(&self) -> &PrivilegedProcess {
        &self.process
    }

    /// Completes when it has ended, which nobody has asked for.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn ended(&self) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut children = signal(SignalKind::child())?;
        let ended = self.ended.try_clone()?;
        Ok(async move {
            // Also if it had ended before.
            while !has_ended(&ended, Duration::ZERO) {
                if children.recv().await.is_none() {
                    std::future::pending().await
                }
            }
        })
    }

    /// Lets it end, and waits for it.
    pub fn end(self) {
        self.process.end();
        if has_ended(&self.ended, PATIENCE) {
            let _ = waitpid(Some(self.child), WaitOptions::NOHANG);
        } else {
            warn!("the privileged process has not ended yet");
        }
    }
}

/// Whether this process ends within a time.
fn has_ended(process: &OwnedFd, within: Duration) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    loop {
        match poll(&mut polled, within.try_into().ok().as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

/// The privileged process, to its end.
fn keep_privileges(socket: &UnixStream, agent: Pid, tap: bool) -> ! {
    // What the agent writes to ends with the agent.
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    let _ = set_name(c"netflow-kernel");
    no_dumps();
    crate::kernel::lift_memory_limit();
    capabilities::empty_bounding_set();
    let confined = set_no_new_privs(true)
        .map_err(|error| PrivilegesError::NoNewPrivileges { source: error.into() })
        .and_then(|()| capabilities::keep(capabilities::of_privileged_process()));
    if let Err(error) = confined {
        warn!("the privileged process keeps more than it needs: {error}");
    }
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let served = serve(socket, agent, tap);
    if let Err(error) = &served {
        warn!("the privileged process ends: {error}");
    }
    process::exit(i32::from(served.is_err()))
}

/// A core file holds flows, keys and whatever else is in memory.
fn no_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        debug!("core files stay possible: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_at_the_start_is_lacking_later() {
        let needs = |read: &[&str], write: &[&str]| Needs {
            read: read.iter().map(PathBuf::from).collect(),
            write: write.iter().map(PathBuf::from).collect(),
            ..Needs::default()
        };
        let start = needs(&["/etc/netflow"], &["/var/lib/netflow", "/tmp"]);
        for (later, lacking) in [
            (needs(&["/etc/netflow/tls"], &["/tmp", "/var/lib/netflow/spool"]), None),
            (needs(&[], &["/var/lib/netflower"]), Some("/var/lib/netflower")),
            (needs(&["/tmp", "/etc/tls"], &["/tmp"]), Some("/tmp")),
        ] {
            assert_eq!(start.lack(&later), lacking.map(Path::new));
        }
    }
}
