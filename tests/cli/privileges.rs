//! What a process may not do is named, and nothing is attached.

use tests::agent::binary;
use tests::lab::{MONITOR_INTERFACE, Namespace};
use tests::process::{COMMAND_TIMEOUT, Finished};

use crate::support::{assert_clean, assert_refused, lab};

/// Runs the agent on the monitor's interface under `setpriv` with these options.
fn run_with(namespace: &Namespace, options: &[&str], arguments: &[&str]) -> Finished {
    // A copy that everybody may execute: the build directory may be closed to others.
    let directory = tempfile::Builder::new().prefix("netflow-binary-").tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let copy = directory.path().join("netflow");
    std::fs::copy(binary().unwrap(), &copy).unwrap();
    let run = [copy.to_str().unwrap(), "run", "-i", MONITOR_INTERFACE];
    let process = namespace.spawn("setpriv", &[options, &run, arguments].concat()).unwrap();
    process.finish(COMMAND_TIMEOUT).unwrap()
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_normal_user_is_told_what_is_missing() {
    let lab = lab();
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let refused = run_with(&lab.monitor, &nobody, &[]);
    let texts = ["cannot load the meter", "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF", "run it as root"];
    assert_refused(&refused, 1, &texts);
    // What is wrong with the command line or the interface is said first: it stays wrong for root.
    assert_refused(&run_with(&lab.monitor, &nobody, &["--drain-interval", "0"]), 2, &["--drain-interval"]);
    assert_refused(&run_with(&lab.monitor, &nobody, &["-i", "m7"]), 1, &["there is no interface 'm7'"]);
    assert_clean(&lab.monitor);
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn each_missing_capability_is_named() {
    let lab = lab();
    for (dropped, named) in [
        ("-net_admin", "CAP_NET_ADMIN;"),
        ("-bpf,-sys_admin", "CAP_BPF;"),
        ("-perfmon,-sys_admin", "CAP_PERFMON;"),
        ("-all", "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF;"),
        ("-net_raw", "needs CAP_NET_RAW, or --promiscuous off"),
    ] {
        let options = ["--bounding-set", dropped, "--inh-caps", dropped];
        let refused = run_with(&lab.monitor, &options, &["--promiscuous", "on"]);
        assert_refused(&refused, 1, &[named]);
        assert_clean(&lab.monitor);
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn root_of_a_user_namespace_is_told_that_this_is_not_enough() {
    let lab = lab();
    let binary = binary().unwrap();
    let arguments = ["-Ur", binary.to_str().unwrap(), "run", "-i", MONITOR_INTERFACE];
    let refused = lab.monitor.spawn("unshare", &arguments).unwrap().finish(COMMAND_TIMEOUT).unwrap();
    assert_refused(&refused, 1, &["user namespace", "the host's own root is needed", "not permitted"]);
    assert_clean(&lab.monitor);
}
