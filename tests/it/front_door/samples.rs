//! The samples work as they are written. What others make of them shows the proof `tools`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use otpdrive::cli::Exit;
use serde_json::Value as Json;

use crate::support::contacts;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;

const BINARY: &str = env!("CARGO_BIN_EXE_otpdrive");

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The command lines of the program that stand in a sample, without its name.
fn commands(sample: &str) -> Vec<String> {
    let lines = sample.lines().filter_map(|line| {
        let args = ["args: ", "command: "].map(|key| line.trim().strip_prefix(key));
        if let Some(args) = args.into_iter().flatten().next() {
            let args: Vec<String> = serde_json::from_str(args).unwrap();
            return Some(args.join(" "));
        }
        let (_, rest) = line.split_once("otpdrive send ")?;
        let ends = [" 2>>", " >>", " ||", ";"].map(|end| rest.find(end).unwrap_or(rest.len()));
        let end = ends.into_iter().min().unwrap();
        Some(format!("send {}", &rest[..end]))
    });
    lines.collect()
}

#[test]
fn every_command_line_of_the_samples_sends() {
    for name in [
        "crontab",
        "otpdrive.service",
        "kubernetes.yaml",
        "github-actions.yml",
        "Dockerfile",
    ] {
        let commands = commands(&sample(name));
        assert!(!commands.is_empty(), "{name}");
        for command in commands {
            let stub = Stub::start();
            let dir = Workdir::new();
            dir.write("contacts.csv", contacts(0..2));
            dir.write("kookoo.key", "KK12");
            let line = command.replace("${CREDENTIALS_DIRECTORY}/key", "kookoo.key");
            let run = dir.line(&line).args(&["--endpoint", &stub.url()]);
            // At whatever hour this is tested.
            let run = run.flags("--window 00:00-24:00");
            run.ends(0);
            assert_eq!(stub.count(), 2, "{name}: {command}");
        }
    }
}

/// They are understood, but the server is not there. With one they are the proof `fleet`'s.
#[test]
fn every_command_line_of_the_samples_for_several_machines_is_understood() {
    for name in ["compose.yaml", "kubernetes-fleet.yaml"] {
        let commands = commands(&sample(name));
        let names: BTreeSet<_> = commands
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(names, ["send", "work"].into(), "{name}");
        for command in commands {
            let dir = Workdir::new();
            dir.write("contacts.csv", contacts(0..2));
            dir.write("kookoo.key", "KK12");
            let nowhere = format!("@{}/otp", Stub::nowhere());
            let line = command.replace("/run/secrets/kookoo", "kookoo.key");
            let line = line
                .replace("@db/otp", &nowhere)
                .replace("@db.example.com/otp", &nowhere);
            dir.line(&line).ends(2).says(" cannot be reached: ");
        }
    }
}

#[test]
fn the_line_for_cron_prints_when_somebody_has_to_do_something_and_only_then() {
    let crontab = sample("crontab");
    let line = crontab
        .lines()
        .find(|line| line.starts_with("*/15"))
        .unwrap();
    assert!(!line.contains('%'), "cron ends a line there");
    let (_, line) = line.split_once("  ").unwrap();
    for (reply, mail) in [
        (Reply::success(), ""),
        (Reply::error("barred"), ""),
        (Reply::error("Authentication Error"), "otpdrive: exit 4\n"),
    ] {
        let stub = Stub::start();
        stub.always(reply);
        let dir = Workdir::new();
        dir.write("contacts.csv", contacts(0..2));
        dir.write("kookoo.key", "KK12");
        let folder = dir.path(".");
        let line = line.replace("/var/lib/otpdrive", folder.to_str().unwrap());
        let program = format!("{BINARY} send --endpoint {} ", stub.url());
        let line = line.replace("otpdrive send ", &program);
        let ran = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert!(printed.starts_with(mail), "{printed}");
        assert_eq!(printed.is_empty(), mail.is_empty(), "{printed}");
        assert_eq!(printed.contains("stopped: "), !mail.is_empty(), "{printed}");
        let log = dir.read("otpdrive.log");
        assert!(log.lines().any(|line| line.starts_with("20")), "{log}");
    }
}

#[test]
fn the_unit_for_systemd_gets_the_key_alone_keeps_its_hours_and_tells_of_failures() {
    let service = sample("otpdrive.service");
    for line in [
        "\nOnFailure=otpdrive-failed.service\n",
        "\nLoadCredential=key:",
        " --window 09:00-21:00 --max-duration 14m\n",
    ] {
        assert!(service.contains(line), "{line}");
    }
    let codes = [Exit::NeedsPerson, Exit::Stopped, Exit::Held, Exit::Sigterm];
    let codes = codes.map(|exit| (exit as u8).to_string());
    let line = format!("\nSuccessExitStatus={}\n", codes.join(" "));
    assert!(service.contains(&line), "{line}");
    // The last start is 15 minutes before the end of the window.
    assert!(sample("otpdrive.timer").contains("\nOnCalendar=*-*-* 09..20:00/15:00 Asia/Kolkata\n"));
}

#[test]
fn the_job_for_kubernetes_knows_the_exit_codes() {
    for name in ["kubernetes.yaml", "kubernetes-fleet.yaml"] {
        let kubernetes = sample(name);
        let (_, codes) = kubernetes.split_once("values: ").unwrap();
        let codes: Vec<u8> = serde_json::from_str(codes.lines().next().unwrap()).unwrap();
        // What another try does not help with.
        let lasting = [Exit::NeedsPerson, Exit::Usage, Exit::Refused, Exit::Bug];
        assert_eq!(codes, lasting.map(|exit| exit as u8), "{name}");
    }
}

#[test]
fn the_image_holds_what_it_copies_and_runs_as_nobody_special() {
    let dockerfile = sample("Dockerfile");
    let of = |word: &str| {
        let lines = dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix(word));
        lines.map(str::trim).collect::<Vec<_>>()
    };
    assert_eq!(of("FROM ").len(), 2, "built in one, run in another");
    assert_eq!(of("USER "), ["10001:10001"]);
    let entry: Json = serde_json::from_str(of("ENTRYPOINT ")[0]).unwrap();
    assert_eq!(entry[0], "/usr/local/bin/otpdrive");
    let copied = of("COPY ")
        .into_iter()
        .filter(|line| !line.starts_with("--from"));
    for line in copied {
        let words: Vec<&str> = line.split(' ').collect();
        for source in &words[..words.len() - 1] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
            assert!(path.exists(), "{source}");
        }
    }
    let rust = of("FROM ")[0];
    let wanted = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(rust.starts_with(&wanted), "{rust}");
}

/// Names of metrics that stand in a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_name(c));
    words.filter(|word| word.starts_with("otpdrive_")).collect()
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard: Json = serde_json::from_str(&sample("grafana.json")).unwrap();
    let dir = Workdir::with(contacts(0..1));
    let run = dir.line("send list.csv --sandbox --metrics-file otp.prom");
    run.ends(0);
    let metrics = dir.read("otp.prom");
    let known = metrics_in(&metrics);
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let asked = target["expr"].as_str().unwrap();
            let asked = metrics_in(asked);
            assert!(!asked.is_empty() && asked.is_subset(&known), "{asked:?}");
        }
    }
}
