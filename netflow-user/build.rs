//! Builds the kernel program and leaves the object where `include_bytes_aligned!` finds it.

fn main() -> anyhow::Result<()> {
    aya_build::build_ebpf(
        [aya_build::Package { name: "netflow-ebpf", root_dir: "../netflow-ebpf", ..Default::default() }],
        aya_build::Toolchain::Custom("bpf"),
    )
}
