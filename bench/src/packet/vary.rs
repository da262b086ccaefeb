//! The harness of test runs: a program that gives each packet a flow and calls what is measured.

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, ProgramArray},
    programs::{Program, ProgramFd, TestRun as _, TestRunOptions},
};
use rustix::time::{ClockId, clock_gettime};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vary-ebpf"));

/// Where programs stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP, frames of several buffers too.
    XdpFragments,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

impl Hook {
    /// The program that varies flows, the one that does nothing, and the map of what is called.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::XdpFragments => ["vary_xdp_frags", "nothing_xdp_frags", "NEXT_XDP_FRAGS"],
            Self::Xdp => ["vary_xdp", "nothing_xdp", "NEXT_XDP"],
            Self::Tc => ["vary_tc", "nothing_tc", "NEXT_TC"],
        }
    }

    /// What a packet ends with that did not get through to what is called.
    const fn failed(self) -> u32 {
        match self {
            // XDP_ABORTED, TC_ACT_SHOT
            Self::XdpFragments | Self::Xdp => 0,
            Self::Tc => 2,
        }
    }
}

/// Which flows the packets of a run belong to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    /// So many flows, each packet of one at random.
    pub flows: u64,
    /// This share of the packets is a new flow's each, 0 to 1.
    pub new: f64,
}

/// The words of the program's map, in its order.
type ChoiceWords = [u64; 4];

/// The loaded harness.
pub struct Vary {
    ebpf: Ebpf,
    choice: Array<MapData, ChoiceWords>,
    next: Vec<(Hook, ProgramArray<MapData>)>,
}

const HOOKS: [Hook; 3] = [Hook::XdpFragments, Hook::Xdp, Hook::Tc];
/// Anything but zero.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Vary {
    /// Loads it.
    ///
    /// # Errors
    /// The kernel refuses a program.
    pub fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("cannot load the bench's programs")?;
        for (name, program) in ebpf.programs_mut() {
            let loaded = match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => continue,
            };
            loaded.with_context(|| format!("the kernel refuses {name}"))?;
        }
        let choice = Array::try_from(ebpf.take_map("CHOICE").context("no map CHOICE")?)?;
        let mut next = Vec::new();
        for hook in HOOKS {
            let map = ebpf.take_map(hook.names()[2]).context("no map of programs")?;
            next.push((hook, ProgramArray::try_from(map)?));
        }
        Ok(Self { ebpf, choice, next })
    }

    /// Packets go to this program from now on.
    ///
    /// # Errors
    /// It is one that cannot be called from there.
    pub fn call(&mut self, hook: Hook, program: &ProgramFd) -> Result<()> {
        let next = self.next.iter_mut().find(|(of, _)| *of == hook).context("no such hook")?;
        next.1.set(0, program, 0).context("the program cannot be called from the harness")
    }

    /// Packets go to the program that does nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn call_nothing(&mut self, hook: Hook) -> Result<()> {
        let nothing = self.ebpf.program(hook.names()[1]).context("no program")?.fd()?.try_clone()?;
        self.call(hook, &nothing)
    }

    /// The first flow that has not been there yet, from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(&mut self, next: u64) -> Result<()> {
        Ok(self.choice.set(0, [SEED, next, 1, 0], 0)?)
    }

    /// Sends so many packets; nanoseconds each, of this thread's time on its CPU.
    ///
    /// # Errors
    /// A packet did not get through to the program that is called.
    pub fn run(&mut self, hook: Hook, frame: &[u8], choice: Choice, packets: u32) -> Result<f64> {
        let [state, next, ..] = self.choice.get(&0, 0)?;
        let share = (choice.new * 2f64.powi(32)) as u64;
        self.choice.set(0, [state, next, choice.flows, share], 0)?;
        let options = TestRunOptions { data_in: Some(frame), repeat: packets, ..TestRunOptions::default() };
        let program = self.ebpf.program_mut(hook.names()[0]).context("no program")?;
        let begin = thread_nanos();
        let result = match program {
            Program::Xdp(program) => program.test_run(options),
            Program::SchedClassifier(program) => program.test_run(options),
            _ => anyhow::bail!("a program of another type"),
        }
        .context("the test run failed")?;
        let nanos = thread_nanos() - begin;
        ensure!(result.return_value != hook.failed(), "packets do not get through to the program");
        Ok(nanos as f64 / f64::from(packets))
    }
}

/// Time that this thread has had on a CPU: what others take of it in between does not count.
pub fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
