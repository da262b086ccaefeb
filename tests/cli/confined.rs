//! The agent's privileges, tried out: parts into two processes as `netflow run` does, and then tries what must be refused and
//! what must not, a line of standard output for each.
//!
//! Arguments: an interface, a directory that may be written to.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData, loaded_maps};
use aya::programs::ProgramType;
use aya::sys::is_program_supported;
use netflow_user::kernel::{AttachOptions, Flip, Kernel, LoadOptions, PrivilegedProcess};
use netflow_user::privileges::{Needs, part};
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::unistd::{setgroups, sethostname, setuid};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{
    DumpableBehavior, Resource, Signal, dumpable_behavior, getppid, getrlimit, kill_process,
    set_dumpable_behavior, setpriority_process, test_kill_process,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tests::meter::LOAD_OPTIONS;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let interface = arguments.next().context("no interface")?;
    let directory = PathBuf::from(arguments.next().context("no directory")?);
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(io::stderr)
        .init();
    let index = if_nametoindex(interface.as_str())?;
    let needs = Needs { write: vec![directory.clone()], ..Needs::default() };
    let parted = part(&needs)?;
    // As any thread that comes later.
    thread::scope(|scope| {
        scope.spawn(|| {
            refused();
            allowed(&directory);
            let process = parted.process();
            asked(process);
            say("meter", meter(process, &interface, index));
        });
    });
    parted.end();
    Ok(())
}

fn say<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) {
    match result {
        Ok(_) => println!("{what}: done"),
        Err(error) => println!("{what}: {error:#}"),
    }
}

/// What nobody may do who talks to the network.
fn refused() {
    let parent = getppid().expect("a test started this");
    let all = CapabilitySets {
        effective: CapabilitySet::all(),
        permitted: CapabilitySet::all(),
        inheritable: CapabilitySet::empty(),
    };
    say("no capability map", HashMap::<MapData, u32, u32>::create(1, 0).map_err(chain));
    say(
        "no capability program",
        match is_program_supported(ProgramType::Xdp) {
            Ok(false) => Err(io::Error::from_raw_os_error(1)),
            Ok(true) => Ok(()),
            Err(error) => Err(io::Error::other(chain(error))),
        },
    );
    say(
        "no capability ids",
        loaded_maps().next().unwrap_or_else(|| Err(io::Error::other("none").into())).map_err(chain),
    );
    say("no capability capset", set_capabilities(None, all));
    say("no capability mount", mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REMOUNT, None::<&str>));
    say("no capability unshare", unshare(CloneFlags::CLONE_NEWUSER));
    say("no capability hostname", sethostname("confined"));
    say("no capability groups", setgroups(&[]));
    say("no capability user", setuid(nix::unistd::Uid::from_raw(65_534)));
    say("no capability ptrace", ptrace::attach(nix::unistd::Pid::from_raw(parent.as_raw_nonzero().get())));
    say("no capability signal", kill_process(parent, Signal::CONT));
    say("no capability kill", test_kill_process(parent));
    say("no capability nice", setpriority_process(None, -10));
    say("no capability packets", socket(AddressFamily::PACKET, SocketType::RAW, None));
    say("no capability vsock", socket(AddressFamily::VSOCK, SocketType::STREAM, None));
    say(
        "no capability diagnosis",
        socket(AddressFamily::NETLINK, SocketType::RAW, Some(rustix::net::netlink::SOCK_DIAG)),
    );
    say("no capability execute", Command::new("/bin/true").spawn());
    say("no capability dumpable", set_dumpable_behavior(DumpableBehavior::Dumpable));
    say("no file read", File::open("/etc/shadow"));
    say("no file made", File::create("/var/confined"));
    say("no file memory", File::open("/proc/1/mem"));
    say("no file listed", fs::read_dir("/home"));
    let gone = capabilities(None).is_ok_and(|sets| sets.permitted.is_empty() && sets.effective.is_empty());
    say(
        "no dump",
        match (dumpable_behavior(), getrlimit(Resource::Core).current, gone) {
            (Ok(DumpableBehavior::NotDumpable), Some(0), true) => Err(io::Error::other("refused")),
            _ => Ok(()),
        },
    );
}

/// What it has to be able to do.
fn allowed(directory: &std::path::Path) {
    say(
        "may write",
        fs::write(directory.join("new"), "x").and_then(|()| {
            fs::rename(directory.join("new"), directory.join("file"))?;
            fs::create_dir(directory.join("inner"))?;
            File::open(directory)?.sync_all()?;
            fs::read_dir(directory).map(|entries| entries.count())
        }),
    );
    say("may resolve", ("localhost", 4739).to_socket_addrs());
    say("may listen", TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()));
    say(
        "may send",
        UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", socket.local_addr()?)),
    );
    say("may bind unix", std::os::unix::net::UnixListener::bind(directory.join("socket")));
    say(
        "may panic",
        thread::spawn(|| std::panic::resume_unwind(Box::new(()))).join().map_or(Ok(()), |()| Err("did not")),
    );
    say("may see itself", fs::read_to_string("/proc/self/status"));
    say("may see routes", socket(AddressFamily::NETLINK, SocketType::RAW, None));
}

/// What the privileged process does not do, whoever asks.
fn asked(process: &PrivilegedProcess) {
    let tap = LoadOptions { tap: true, ..LOAD_OPTIONS };
    say("not asked tap", Kernel::load_in(process, &tap).map(drop));
    say("not asked priority", process.prioritise(getppid().expect("a test started this")));
    say("may ask priority", process.prioritise(rustix::thread::gettid()));
    say("not asked promiscuous", process.promiscuous(u32::MAX));
}

/// Meters, and goes on metering with other options.
fn meter(process: &PrivilegedProcess, interface: &str, index: u32) -> Result<()> {
    let mut kernel = Kernel::load_in(process, &LOAD_OPTIONS)?;
    let name = kernel.attach("../../etc", index, &AttachOptions::default()).err();
    println!("not asked name: {}", name.map_or("done".to_owned(), |error| error.to_string()));
    kernel.attach(interface, index, &AttachOptions::default())?;
    kernel.read_clock()?;
    let frozen = kernel.flip(Flip::Wait)?;
    kernel.take_stats(frozen)?;
    let replaced = kernel.replace(&LoadOptions { precise_clock: true, ..LOAD_OPTIONS })?;
    anyhow::ensure!(replaced.failed.is_empty(), "{:?}", replaced.failed);
    kernel.read_clock()?;
    kernel.flip(Flip::Wait)?;
    anyhow::ensure!(kernel.detach(index), "it was not attached");
    Ok(())
}

fn chain(error: impl std::error::Error) -> String {
    netflow_user::agent::chain(&error)
}
