//! Programs that do nothing but let a packet through, or drop it: what the cost of others is measured against.

use anyhow::{Context, Result};
use aya::programs::xdp::XdpMode;
use aya::programs::{SchedClassifier, TcAttachType, Xdp};
use aya::{Ebpf, EbpfLoader};

use crate::generator::OBJECT;
use crate::lab::Namespace;

/// One of them, attached. Ends when dropped.
pub struct Idle(#[expect(dead_code, reason = "keeps the program attached")] Ebpf);

impl Idle {
    /// XDP in the driver, with support for frames in several buffers as the agent's program has: passes all on.
    pub fn passing(namespace: &Namespace, interface: &str) -> Result<Self> {
        Self::xdp("pass", namespace, interface)
    }

    /// The same, but drops all.
    pub fn dropping(namespace: &Namespace, interface: &str) -> Result<Self> {
        Self::xdp("discard", namespace, interface)
    }

    /// At TC, by TCX where the kernel has it, on what the interface sends.
    pub fn passing_at_egress(namespace: &Namespace, interface: &str) -> Result<Self> {
        let mut object = load()?;
        let program: &mut SchedClassifier =
            object.program_mut("go_on").context("no program in the object")?.try_into()?;
        program.load()?;
        namespace.enter(|| program.attach(interface, TcAttachType::Egress))??;
        Ok(Self(object))
    }

    fn xdp(name: &str, namespace: &Namespace, interface: &str) -> Result<Self> {
        let mut object = load()?;
        let program: &mut Xdp = object.program_mut(name).context("no program in the object")?.try_into()?;
        program.load()?;
        namespace.enter(|| program.attach(interface, XdpMode::Driver))??;
        Ok(Self(object))
    }
}

fn load() -> Result<Ebpf> {
    EbpfLoader::new().load(OBJECT).context("cannot load the generator's object")
}
