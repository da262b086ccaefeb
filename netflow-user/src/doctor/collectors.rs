//! The way to each collector: its name, a route, a connection where there is one, certificates; the disk of files.

use std::{fs, path::Path, time::Duration};

use rustix::fs::statvfs;
use tokio::time::timeout;

use super::finding::Finding;
use crate::{
    agent::chain,
    clock,
    config::ExportConfig,
    transport::{Destination, Event, FileTarget, JsonTarget, Link, Target, TransportKind},
};

/// For a connection, with its handshake.
const PATIENCE: Duration = Duration::from_secs(5);
/// Less than this on a disk is soon full.
const LITTLE: u64 = 1 << 30;
/// The largest datagram: what the path takes shows as the limit below it.
const LARGEST: usize = 65_507;

/// Looks at each destination.
pub(super) async fn look(export: &ExportConfig) -> Vec<Finding> {
    if export.destinations.is_empty() {
        return vec![Finding::ok("collectors", "none is given: the agent opens its own and prints flows")];
    }
    let mut findings = Vec::new();
    for target in &export.destinations {
        let subject = target.to_string();
        match target {
            Target::Collector(destination) if destination.transport == TransportKind::Udp => {
                findings.extend(datagrams(&subject, target, destination).await);
            }
            Target::Collector(_) => findings.push(connection(&subject, target).await),
            Target::File(file) => findings.push(files(&subject, file)),
            Target::Json(JsonTarget::Stdout) => {
                findings.push(Finding::ok(subject.as_str(), "standard output"));
            }
            Target::Json(JsonTarget::Files(file)) => findings.push(files(&subject, file)),
        }
        if let Some(spool) = target.spool()
            && let Some(directory) = &spool.directory
        {
            findings.push(disk(&subject, "spool", directory));
        }
    }
    findings
}

/// A name, a route, a local address: more UDP does not tell.
async fn datagrams(subject: &str, target: &Target, destination: &Destination) -> Vec<Finding> {
    let link = match Link::open(target, Some(LARGEST)).await {
        Ok(link) => link,
        Err(error) => {
            return vec![
                Finding::fault(subject, chain(&error)).with(format!("ip route get {}", destination.host)),
            ];
        }
    };
    let way = match link.ends() {
        Some((local, peer)) => format!("{peer} from {}", local.ip()),
        None => link.peer(),
    };
    vec![Finding::ok(
        subject,
        format!(
            "there is a way to {way} for messages of up to {} octets; UDP does not tell whether anybody listens",
            link.message_limit()
        ),
    )]
}

/// Connects, with the handshake and all checks of certificates that a session makes, and sends nothing.
async fn connection(subject: &str, target: &Target) -> Finding {
    let mut link = match Link::open(target, None).await {
        Ok(link) => link,
        Err(error) => return Finding::fault(subject, chain(&error)),
    };
    let monotonic = || clock::now().monotonic;
    let connected = timeout(PATIENCE, async {
        loop {
            match link.event(monotonic).await {
                Event::Connected => break Ok(()),
                Event::Disconnected(error) => break Err(error),
                Event::Acknowledged => {}
            }
        }
    })
    .await;
    let finding = match connected {
        Ok(Ok(())) => {
            let checked = if is_secure(target) { ", and its certificate is accepted" } else { "" };
            Finding::ok(subject, format!("connected to {}{checked}", link.peer()))
        }
        Ok(Err(error)) => refused(subject, target, &chain(&error)),
        Err(_) => refused(subject, target, &format!("no connection within {} s", PATIENCE.as_secs())),
    };
    let _ = timeout(PATIENCE, link.close()).await;
    finding
}

fn is_secure(target: &Target) -> bool {
    matches!(target, Target::Collector(destination) if destination.transport.is_secure())
}

fn refused(subject: &str, target: &Target, why: &str) -> Finding {
    let finding = Finding::fault(subject, why);
    match target {
        Target::Collector(destination) if destination.transport.is_secure() => finding.with(format!(
            "openssl s_client {}-connect {}:{} -showcerts",
            if destination.transport == TransportKind::Dtls { "-dtls1_2 " } else { "" },
            destination.host,
            destination.port
        )),
        Target::Collector(destination) => {
            finding.with(format!("nc -vz {} {}", destination.host, destination.port))
        }
        _ => finding,
    }
}

fn files(subject: &str, target: &FileTarget) -> Finding {
    let directory = target.prefix.parent().filter(|path| !path.as_os_str().is_empty());
    disk(subject, "files", directory.unwrap_or(Path::new(".")))
}

/// Whether files can be made in a directory, and how many octets are free there.
fn disk(subject: &str, what: &str, directory: &Path) -> Finding {
    let shown = directory.display();
    let probe = directory.join(format!(".netflow-doctor-{}", std::process::id()));
    if let Err(error) = fs::write(&probe, b"netflow doctor\n") {
        return Finding::fault(subject, format!("no {what} can be made in {shown}: {error}"))
            .with(format!("install -d {shown}"));
    }
    let removed = fs::remove_file(&probe);
    match (removed, statvfs(directory)) {
        (Err(error), _) => Finding::fault(subject, format!("no {what} can be removed in {shown}: {error}")),
        (_, Err(error)) => Finding::unknown(subject, format!("{shown}: {error}")),
        (_, Ok(state)) => {
            space(subject, what, &shown.to_string(), state.f_bavail.saturating_mul(state.f_frsize))
        }
    }
}

fn space(subject: &str, what: &str, directory: &str, free: u64) -> Finding {
    let text = format!("{what} can be made in {directory}, where {} MiB are free", free >> 20);
    if free < LITTLE {
        Finding::warning(subject, text).with(format!("df -h {directory}"))
    } else {
        Finding::ok(subject, text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{doctor::finding::Verdict, transport::ExportProtocol};

    fn target(url: &str) -> Target {
        Target::parse(url, ExportProtocol::Ipfix).unwrap()
    }

    #[tokio::test]
    async fn a_collector_that_listens_is_ok_and_one_that_does_not_is_a_fault() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let there = connection("c", &target(&url)).await;
        assert_eq!(there.verdict, Verdict::Ok, "{there:?}");
        drop(listener);
        let away = connection("c", &target(&url)).await;
        assert_eq!(away.verdict, Verdict::Fault, "{away:?}");
        assert!(away.remedy.unwrap().starts_with("nc -vz 127.0.0.1 "));
    }

    #[tokio::test]
    async fn of_datagrams_it_says_what_cannot_be_known() {
        let target = target("udp://127.0.0.1:9");
        let Target::Collector(destination) = &target else { panic!() };
        let found = datagrams("c", &target, destination).await;
        assert_eq!(found[0].verdict, Verdict::Ok, "{found:?}");
        assert!(found[0].text.contains("does not tell whether anybody listens"), "{found:?}");
    }

    #[test]
    fn a_directory_that_takes_no_files_is_a_fault_and_a_full_disk_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let there = disk("c", "files", directory.path());
        assert!([Verdict::Ok, Verdict::Warning].contains(&there.verdict), "{there:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let missing = disk("c", "files", &directory.path().join("missing"));
        assert_eq!(missing.verdict, Verdict::Fault, "{missing:?}");
        assert_eq!(space("c", "files", "/d", LITTLE - 1).verdict, Verdict::Warning);
        assert_eq!(space("c", "files", "/d", LITTLE).verdict, Verdict::Ok);
    }
}
