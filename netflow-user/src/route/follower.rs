//! Keeps the copy: lists everything at start, follows the kernel's news, lists everything anew where it is in doubt.
//!
//! In: netlink. Out: [`Routes`], which the metering thread asks. That thread never waits for a list: a new copy is made
//! beside the old one, and news is applied in small pieces.

use std::{
    error::Error as _,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, PoisonError, RwLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};
use tracing::{debug, warn};

use super::{
    RouteError,
    fib::{Change, Doubt, Fib},
    netlink::{List, Said, messages},
    prefix::Family,
    rule::Rule,
    socket::{DATAGRAM, Socket},
};
use crate::{clock, record::FlowRecord, time::MonotonicNanos};

/// Changes that are applied at once: the metering thread waits for no more (some 0.3 ms).
const PIECE: usize = 256;
/// Datagrams of news that are read before anything else is looked at.
const BURST: usize = 4096;
/// From the first doubt to the new list: what belongs together has come by then.
const SETTLE: Duration = Duration::from_millis(100);
/// After a list, this many times what it took passes before the next: a tenth of a processor at most.
const REST: u32 = 9;
/// From a list that failed to the next try.
const RETRY: Duration = Duration::from_secs(10);

/// The copy, to be asked.
#[derive(Clone)]
pub struct Routes {
    fib: Arc<RwLock<Fib>>,
}

impl Routes {
    /// Looks up where the packets of each record go.
    pub fn fill(&self, records: &mut [FlowRecord]) {
        let fib = self.fib.read().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let inside = record.extras.as_ref().is_some_and(|extras| extras.key.tunnel != 0);
            record.route = if inside { fib.route_of_inner(&record.key) } else { fib.route(&record.key) };
        }
    }

    /// How many routes are known.
    pub fn len(&self) -> usize {
        self.fib.read().unwrap_or_else(PoisonError::into_inner).routes()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change<T>(&self, change: impl FnOnce(&mut Fib) -> T) -> T {
        change(&mut self.fib.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread that follows; it ends with this value.
pub struct Follower {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Lists everything, then follows. Blocks for as long as the lists take: a second for half a million routes.
    ///
    /// # Errors
    /// No netlink socket, or the kernel does not tell.
    pub fn start() -> Result<(Routes, Self), RouteError> {
        let fail = |source| RouteError::Open { source };
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| fail(errno.into()))?;
        let stopped = stop.try_clone().map_err(fail)?;
        // Before the lists: what changes meanwhile waits there.
        let news = Socket::for_news()?;
        let mut following = Following {
            news,
            lists: Socket::for_lists()?,
            routes: Routes { fib: Arc::new(RwLock::new(Fib::new())) },
            buffer: vec![0; DATAGRAM],
            sequence: 0,
            due: None,
            earliest: MonotonicNanos(0),
        };
        following.renew()?;
        let routes = following.routes.clone();
        let run = move || following.run(&stopped);
        let thread = thread::Builder::new().name("routes".to_owned()).spawn(run).map_err(fail)?;
        Ok((routes, Self { stop, thread: Some(thread) }))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Following {
    news: Socket,
    lists: Socket,
    routes: Routes,
    buffer: Vec<u8>,
    sequence: u32,
    /// When everything is to be listed anew.
    due: Option<MonotonicNanos>,
    /// Not before this.
    earliest: MonotonicNanos,
}

impl Following {
    fn run(mut self, stop: &OwnedFd) {
        if let Err(error) = self.follow_until(stop) {
            warn!(
                "cannot follow the kernel's routing tables any more: {error}; records say nothing about routes from now on"
            );
            self.routes.change(|fib| *fib = Fib::new());
        }
    }

    fn follow_until(&mut self, stop: &OwnedFd) -> io::Result<()> {
        self.follow(true)?;
        loop {
            let wait = self.due.map(|due| due.since(clock::now().monotonic));
            if wait == Some(Duration::ZERO) {
                self.try_to_renew();
                self.follow(true)?;
            }
            match self.wait(self.due.map(|due| due.since(clock::now().monotonic)), stop)? {
                Wake::Stop => return Ok(()),
                Wake::News => self.follow(false)?,
                Wake::Due => {}
            }
        }
    }

    fn wait(&self, wait: Option<Duration>, stop: &OwnedFd) -> io::Result<Wake> {
        let timeout = wait.map(|wait| wait.try_into().unwrap_or_default());
        let news = self.news.as_fd();
        let mut polled = [PollFd::new(stop, PollFlags::IN), PollFd::new(&news, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [stopped, news] = polled.map(|one| !one.revents().is_empty());
        Ok(if stopped {
            Wake::Stop
        } else if news {
            Wake::News
        } else {
            Wake::Due
        })
    }

    /// Reads the news that is there and applies it. Right behind a list it may speak of what the list has not.
    fn follow(&mut self, behind_list: bool) -> io::Result<()> {
        let mut changes = Vec::with_capacity(PIECE);
        let mut doubt = Doubt::default();
        for _ in 0..BURST {
            match self.news.news(&mut self.buffer) {
                Ok(Some(octets)) => {
                    for message in messages(octets) {
                        match message.map(|message| message.read(false)) {
                            Some(Said::Change(change)) => changes.push(change),
                            Some(Said::Unread) | None => doubt.silent = true,
                            Some(_) => {}
                        }
                    }
                }
                Ok(None) => break,
                Err(Errno::NOBUFS) => {
                    debug!("news about routes was lost: listing them anew");
                    doubt.silent = true;
                }
                Err(error) => return Err(error.into()),
            }
            if changes.len() >= PIECE {
                self.apply(changes.drain(..), &mut doubt);
            }
        }
        self.apply(changes, &mut doubt);
        if self.due.is_none() && (doubt.silent || doubt.unknown && !behind_list) {
            let settled = clock::now().monotonic.plus(SETTLE);
            self.due = Some(settled.max(self.earliest));
        }
        Ok(())
    }

    fn apply(&self, changes: impl IntoIterator<Item = Change>, doubt: &mut Doubt) {
        let Doubt { unknown, silent } = self.routes.change(|fib| fib.apply(changes));
        doubt.unknown |= unknown;
        doubt.silent |= silent;
    }

    fn try_to_renew(&mut self) {
        if let Err(error) = self.renew() {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            warn!("{error}: {cause}; records have the routes of the last time");
            self.due = Some(clock::now().monotonic.plus(RETRY));
        }
    }

    /// Lists everything and takes it for the copy.
    fn renew(&mut self) -> Result<(), RouteError> {
        let begin = clock::now().monotonic;
        self.due = None;
        let mut fib = Fib::new();
        let (mut unread, mut interrupted) = (0, false);
        for list in List::ALL {
            self.sequence += 1;
            // Names of interfaces before rules, those before routes: in each list one by one.
            let mut changes = Vec::with_capacity(PIECE);
            let listed = self.lists.list(list, self.sequence, &mut self.buffer, |change| {
                changes.push(change);
                if changes.len() == PIECE {
                    fib.apply(changes.drain(..));
                }
            })?;
            fib.apply(changes);
            unread += listed.unread;
            interrupted |= listed.interrupted;
            if let List::Rules(family) = list
                && listed.missing
            {
                fib.apply(built_in_rules(family));
            }
        }
        debug!("the kernel has {} routes", fib.routes());
        if unread > 0 {
            warn!("{unread} messages of the kernel about routes cannot be read");
        }
        // The old copy is freed when nobody waits for the lock.
        drop(self.routes.change(|old| std::mem::replace(old, fib)));
        let end = clock::now().monotonic;
        self.earliest = end.plus(end.since(begin) * REST);
        if interrupted {
            self.due = Some(end.plus(SETTLE).max(self.earliest));
        }
        Ok(())
    }
}

fn built_in_rules(family: Family) -> impl Iterator<Item = Change> {
    Rule::built_in(family).into_iter().map(move |rule| Change::AddRule { family, rule })
}

enum Wake {
    Stop,
    News,
    Due,
}
