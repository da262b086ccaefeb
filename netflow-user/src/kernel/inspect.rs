//! What the doctor asks of the kernel: programs that are there, and whether the meter's own would be taken.

use aya::{
    programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs},
    util::online_cpus,
};

use super::{LoadOptions, Sizes};

/// The sizes that a load with these options would decide.
pub fn planned(options: &LoadOptions) -> Sizes {
    let cpus = online_cpus().map_or(1, |cpus| cpus.len());
    Sizes::within(options, u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// The name of a loaded program; `None` where it may not be asked for (CAP_SYS_ADMIN), or is gone.
pub fn program_name(id: u32) -> Option<String> {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == id).map(|info| name(&info))
}

/// The names of TC programs that are attached by links (kernel 6.6) to what an interface receives and sends.
///
/// # Errors
/// The kernel has no such links, or does not tell.
pub fn tcx_programs(interface: &str) -> Result<Vec<String>, aya::programs::ProgramError> {
    let mut names = Vec::new();
    for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
        let (_, programs) = SchedClassifier::query_tcx(interface, direction)?;
        names.extend(programs.iter().map(name));
    }
    Ok(names)
}

fn name(info: &ProgramInfo) -> String {
    match info.name_as_str() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("program {}", info.id()),
    }
}
