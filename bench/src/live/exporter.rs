//! The exporters that are measured side by side, each at its best settings, and how each is started and stopped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ::tests::{
    agent::{AgentProcess, Signal, StoppedAgent},
    lab::{MONITOR_INTERFACE, Namespace},
    process::Process,
};
use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// Where all of them send to.
pub const COLLECTOR: &str = "127.0.0.1:9995";
/// More flows than any case has: no exporter has to end flows for lack of room.
const MOST_FLOWS: &str = "2000000";

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(90);

/// An exporter, and how it is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exporter {
    /// The agent, default settings.
    Netflow,
    /// The agent with `--tap`: it drops what it has metered.
    NetflowTap,
    /// softflowd of Debian: libpcap, one process.
    Softflowd,
    /// pmacctd of Debian with its nfprobe plugin: libpcap, two processes.
    Pmacctd,
    /// fprobe of Debian: libpcap, threads, NetFlow v5 only.
    Fprobe,
    /// rustflow of crates.io: a ring of AF_PACKET, two threads or more.
    Rustflow,
}

impl Exporter {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netflow => "netflow",
            Self::NetflowTap => "netflow --tap",
            Self::Softflowd => "softflowd",
            Self::Pmacctd => "pmacctd (nfprobe)",
            Self::Fprobe => "fprobe",
            Self::Rustflow => "rustflow",
        }
    }

    /// Whether it is the agent.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Netflow | Self::NetflowTap)
    }

    /// Its program; an error that says how to get it where there is none.
    ///
    /// # Errors
    /// It is not installed.
    pub fn program(self, agent: &Path) -> Result<PathBuf> {
        let (name, remedy) = match self {
            Self::Netflow | Self::NetflowTap => return Ok(agent.to_owned()),
            Self::Softflowd => ("softflowd", "apt-get install softflowd"),
            Self::Pmacctd => ("pmacctd", "apt-get install pmacct"),
            Self::Fprobe => ("fprobe", "apt-get install fprobe"),
            Self::Rustflow => ("rustflow", "cargo xtask bench without --quick builds it"),
        };
        let beside =
            env::current_exe().ok().and_then(|bench| Some(bench.ancestors().nth(2)?.join("rivals/bin")));
        let path = env::var_os("PATH").unwrap_or_default();
        let mut directories =
            beside.into_iter().chain(env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]);
        let found =
            directories.find_map(|directory| Some(directory.join(name)).filter(|file| file.is_file()));
        found.with_context(|| format!("{name} is not here ({remedy})"))
    }

    /// Starts it in the monitor's namespace on one CPU, and waits until it receives.
    ///
    /// # Errors
    /// It is not installed, ends, or does not begin within 20 s.
    pub fn start(self, agent: &Path, namespace: &Namespace, cpu: usize) -> Result<Running> {
        let program = self.program(agent)?;
        let program = program.to_str().context("a program whose path is no text")?;
        let cpu = cpu.to_string();
        if self.is_ours() {
            let url = format!("udp://{COLLECTOR}");
            let mut arguments = vec!["-i", MONITOR_INTERFACE, "-c", &url];
            if self == Self::NetflowTap {
                // The pair's end has an address, whose packets nobody misses here.
                arguments.extend(["--tap", "--tap-anyway"]);
            }
            let words = ["-c", &cpu, program];
            let agent = AgentProcess::start_program(Path::new("taskset"), namespace, &words, &arguments)?;
            return Ok(Running::Agent(agent));
        }
        let directory = tempfile::Builder::new().prefix("netflow-bench-").tempdir()?;
        let arguments = self.arguments(directory.path())?;
        let mut words = vec!["-c", &cpu, program];
        words.extend(arguments.iter().map(String::as_str));
        let mut process = namespace.spawn("taskset", &words)?;
        wait_for_socket(namespace, &mut process)?;
        Ok(Running::Rival { exporter: self, process, directory })
    }

    /// Its settings, as the report shows them; `DIR` stands for a directory of the run's own.
    pub fn settings(self) -> String {
        match self {
            Self::Netflow => format!("run -i {MONITOR_INTERFACE} -c udp://{COLLECTOR}"),
            Self::NetflowTap => format!("run -i {MONITOR_INTERFACE} -c udp://{COLLECTOR} --tap --tap-anyway"),
            Self::Pmacctd => PMACCTD.trim().replace('\n', "; "),
            _ => self.words("DIR").join(" "),
        }
    }

    fn arguments(self, directory: &Path) -> Result<Vec<String>> {
        let directory = directory.to_str().context("a temporary directory whose name is no text")?;
        if self == Self::Pmacctd {
            let file = format!("{directory}/pmacctd.conf");
            fs::write(&file, PMACCTD)?;
            return Ok(vec!["-f".to_owned(), file]);
        }
        Ok(self.words(directory))
    }

    fn words(self, directory: &str) -> Vec<String> {
        let text = match self {
            Self::Netflow | Self::NetflowTap | Self::Pmacctd => String::new(),
            Self::Softflowd => format!(
                "-d -i {MONITOR_INTERFACE} -n {COLLECTOR} -v 9 -m {MOST_FLOWS} -B 268435456 -p {directory}/pid -c {directory}/control"
            ),
            Self::Fprobe => {
                format!("-i {MONITOR_INTERFACE} -l 2 -s 1 -B 262144 -q 100000 -b 100000 {COLLECTOR}")
            }
            Self::Rustflow => format!("export -i {MONITOR_INTERFACE} -H 127.0.0.1 -p 9995 --promiscuous"),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }
}

const PMACCTD: &str = "\
daemonize: false
pcap_interface: m0
aggregate: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, src_mac, dst_mac, vlan
plugins: nfprobe[a]
nfprobe_receiver[a]: 127.0.0.1:9995
nfprobe_version[a]: 10
nfprobe_timeouts[a]: expint=1
nfprobe_maxflows[a]: 2000000
plugin_pipe_size: 268435456
plugin_buffer_size: 65536
pmacctd_pipe_size: 268435456
";

/// One that runs.
pub enum Running {
    /// The agent.
    Agent(AgentProcess),
    /// Another exporter.
    Rival {
        /// Which.
        exporter: Exporter,
        /// Its first process.
        process: Process,
        /// Its files.
        directory: TempDir,
    },
}

impl Running {
    /// Its first process.
    pub fn id(&mut self) -> u32 {
        match self {
            Self::Agent(agent) => agent.process().id(),
            Self::Rival { process, .. } => process.id(),
        }
    }

    /// Asks it to export all and end.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn ask_to_end(&mut self) -> Result<()> {
        match self {
            Self::Agent(agent) => agent.process().signal(Signal::INT),
            Self::Rival { exporter: Exporter::Softflowd, directory, .. } => {
                // SIGTERM throws its flows away.
                let control = directory.path().join("control");
                let control = control.to_str().context("a temporary directory whose name is no text")?;
                tests::process::run(tests::process::command("softflowctl", ["-c", control, "shutdown"]))
                    .map(drop)
            }
            Self::Rival { exporter: Exporter::Fprobe, process, .. } => process.signal(Signal::TERM),
            Self::Rival { process, .. } => process.signal(Signal::INT),
        }
    }

    /// Waits for the end that it was asked for. Returns how many packets it says it has lost, if it says that.
    ///
    /// # Errors
    /// It does not end within 90 s, or the agent fails.
    pub fn finish(self) -> Result<Option<u64>> {
        match self {
            Self::Agent(agent) => {
                let StoppedAgent { exit_code, stderr, ledger, .. } = agent.finish(STOP)?;
                ensure!(exit_code == Some(0), "the agent failed: {}", stderr.trim());
                let ledger = ledger.context("the agent wrote no ledger")?;
                let not_sent =
                    ledger.0.pointer("/destinations/0/not_sent").and_then(|not_sent| not_sent.as_object());
                let not_sent = not_sent.context("no not_sent in the ledger")?.values();
                let not_sent: u64 = not_sent.filter_map(|volume| volume["packets"].as_u64()).sum();
                Ok(Some(ledger.sum("/packets/lost")? + not_sent))
            }
            Self::Rival { process, .. } => process.finish(STOP).map(|_| None),
        }
    }
}

/// Waits until somebody receives packets of the interface in the namespace.
fn wait_for_socket(namespace: &Namespace, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = process.ended()? {
            bail!("it ended ({status}): {}{}", process.stderr().trim(), process.stdout().trim());
        }
        // The thread's own: "/proc/net" is that of the process. The first line is a heading.
        let sockets = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/packet"))??;
        if sockets.lines().count() > 1 {
            // What follows on the socket: ring, filter, threads.
            thread::sleep(Duration::from_millis(300));
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "it has no packet socket after {START:?}: {}",
            process.stderr().trim()
        );
        thread::sleep(Duration::from_millis(10));
    }
}
