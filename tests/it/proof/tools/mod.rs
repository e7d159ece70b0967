//! What others make of our files: the samples are judged by those whom they are for, and what we write
//! is read by those who read it elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

use super::long;
use crate::support::phone;
use crate::support::workdir::{Workdir, column, rows};

/// Whom `tests/prove tools` installs.
fn installed(name: &str) -> PathBuf {
    let path = root("target/tools/bin").join(name);
    assert!(path.exists(), "tests/prove tools installs {name}");
    path
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sample(name: &str) -> String {
    fs::read_to_string(root("samples").join(name)).unwrap()
}

/// What somebody says, who has to be content.
#[track_caller]
fn content(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{}{}", said(&stdout), said(&stderr));
    said(&stdout)
}

#[test]
#[ignore = "tests/prove tools"]
fn systemd_verifies_the_units_and_finds_the_service_well_shut_in() {
    let dir = Workdir::new();
    let units = [
        "otpdrive.service",
        "otpdrive.timer",
        "otpdrive-failed.service",
    ];
    for name in units {
        let unit = sample(name).replace("/usr/local/bin/otpdrive", env!("CARGO_BIN_EXE_otpdrive"));
        dir.write(name, unit.replace("/usr/sbin/sendmail", "/bin/cat"));
    }
    let systemd = |args: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        content(command.args(args).current_dir(dir.path(".")))
    };
    systemd(&[
        "verify",
        "./otpdrive.service",
        "./otpdrive.timer",
        "./otpdrive-failed.service",
    ]);
    // Below 3 of 10.
    systemd(&[
        "security",
        "--offline=true",
        "--threshold=29",
        "./otpdrive.service",
    ]);
}

#[test]
#[ignore = "tests/prove tools"]
fn kubernetes_github_and_docker_take_the_samples() {
    let judges: [(&str, &[&str], &str); 5] = [
        ("kubernetes-validate", &["--strict"], "kubernetes.yaml"),
        (
            "kubernetes-validate",
            &["--strict"],
            "kubernetes-fleet.yaml",
        ),
        (
            "check-jsonschema",
            &["--builtin-schema", "vendor.compose-spec"],
            "compose.yaml",
        ),
        (
            "check-jsonschema",
            &["--builtin-schema", "vendor.github-workflows"],
            "github-actions.yml",
        ),
        // Pinned versions of Debian's packages are gone after some weeks.
        ("hadolint", &["--ignore", "DL3008"], "Dockerfile"),
    ];
    for (judge, args, name) in judges {
        let mut command = Command::new(installed(judge));
        content(command.args(args).arg(root("samples").join(name)));
        // And it would say so if it were not.
        let dir = Workdir::new();
        let spoilt = sample(name).replace("concurrencyPolicy:", "concurrencyPolice:");
        let spoilt = spoilt.replace("runs-on:", "run-on:");
        let spoilt = spoilt.replace("backoffLimit:", "backoffLimits:");
        let spoilt = spoilt.replace("depends_on:", "depend_on:");
        dir.write(name, spoilt.replace("FROM ", "FORM "));
        let mut command = Command::new(installed(judge));
        let said = command.args(args).arg(dir.path(name)).output().unwrap();
        assert!(!said.status.success(), "{judge}: {said:?}");
    }
}

#[test]
#[ignore = "tests/prove tools"]
fn the_client_of_prometheus_reads_the_metrics() {
    let dir = Workdir::with("phone\n9876543210\n9999999901\n");
    let name = "spring \"leads\" \\ 2026";
    dir.line("send list.csv --sandbox --metrics-file otp.prom")
        .args(&["--campaign", name])
        .run();
    let mut command = Command::new(installed("python3"));
    command.arg(root("tests/it/proof/tools/metrics.py"));
    let metrics = fs::File::open(dir.path("otp.prom")).unwrap();
    let read = content(command.stdin(Stdio::from(metrics)));
    let families: Json = serde_json::from_str(&read).unwrap();
    for (name, kind) in [
        ("otpdrive_rows", "gauge"),
        ("otpdrive_requests", "counter"),
        ("otpdrive_request_duration_seconds", "histogram"),
        ("otpdrive_last_success_timestamp_seconds", "gauge"),
    ] {
        assert_eq!(families[name]["type"], kind, "{name}: {read}");
    }
    for name in families.as_object().unwrap().keys() {
        assert!(name.starts_with("otpdrive_"), "{name}");
    }
}

/// A folder with the results of a list of three people, one of whom has no number.
fn results(form: &str) -> Workdir {
    let row = |n: usize, id: &str| format!("{},{id},नम\n", phone(n));
    let list = [
        row(0, "0012"),
        row(1, "1234567890123456"),
        ",0014,x\n".to_owned(),
    ];
    let dir = Workdir::with("phone,id,name\n".to_owned() + &list.concat());
    dir.line("send list.csv --sandbox").flags(form).ends(1);
    dir
}

/// Who was sent to is known again by a file that somebody else has written.
#[track_caller]
fn is_next_input(dir: &Workdir, file: &str) {
    let ran = dir.line("send --sandbox").args(&[file]).ends(1);
    assert!(
        ran.stderr.contains("nothing: all numbers"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("by now     sent 2"), "{}", ran.stderr);
}

#[test]
#[ignore = "tests/prove tools"]
fn pandas_reads_results_and_what_it_writes_is_the_next_input() {
    for form in ["", "--excel"] {
        let dir = results(form);
        let mut command = Command::new(installed("python3"));
        command.arg(root("tests/it/proof/tools/table.py"));
        content(command.args([
            dir.path("list-sandbox-results/results.csv"),
            dir.path("again.csv"),
        ]));
        let again = dir.read("again.csv");
        assert!(
            again.contains(&phone(0)) && !again.contains("E+"),
            "{again}"
        );
        is_next_input(&dir, "again.csv");
    }
}

#[test]
#[ignore = "tests/prove tools --long"]
fn libreoffice_saves_the_numbers_that_it_opened() {
    /// Commas, quotes, UTF-8.
    const CSV: &str = "44,34,76,1";
    if !long() {
        println!("LibreOffice: only in the long form");
        return;
    }
    let dir = results("--excel");
    let profile = format!(
        "-env:UserInstallation=file://{}",
        dir.path("profile").display()
    );
    let convert = |args: &[&str]| {
        let mut command = Command::new("soffice");
        command.arg(&profile).arg("--headless").args(args);
        content(command.current_dir(dir.path(".")));
    };
    let opened = format!("--infilter=CSV:{CSV}");
    let results = "list-sandbox-results/results.csv";
    convert(&[&opened, "--convert-to", "xlsx", results]);
    let csv = format!("csv:Text - txt - csv (StarCalc):{CSV}");
    convert(&["--convert-to", &csv, "--outdir", "saved", "results.xlsx"]);
    let saved = rows(&dir.read("saved/results.csv"));
    assert_eq!(column(&saved, "phone"), [&phone(0), &phone(1), ""]);
    assert_eq!(
        column(&saved, "otp_phone"),
        [&format!("+91{}", phone(0)), &format!("+91{}", phone(1)), ""]
    );
    assert_eq!(column(&saved, "id"), ["0012", "1234567890123456", "0014"]);
    assert_eq!(column(&saved, "name"), ["नम", "नम", "x"]);
    is_next_input(&dir, "results.xlsx");
    is_next_input(&dir, "saved/results.csv");
}
