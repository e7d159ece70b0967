//! What a server never gets to see, and what nobody is told of the way to it.

use std::fs;
use std::path::Path;

use crate::support::postgres::{Cluster, PASSWORD, PASSWORD_ENCODED, Sync};
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Ran, Workdir};
use crate::support::{KEY, phone};

const ROWS: usize = 40;

/// The n-th code: long enough to stand nowhere by accident.
fn secret(n: usize) -> String {
    format!("93{:06}", 7_919 * (n + 13))
}

/// In which files below this folder, its log among them, do any of these stand?
fn found(folder: &Path, needles: &[String], found_in: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found(&path, needles, found_in);
        } else if let Ok(bytes) = fs::read(&path) {
            // Each begins alike.
            let is_there = |at: usize| {
                needles
                    .iter()
                    .any(|it| bytes[at..].starts_with(it.as_bytes()))
            };
            let firsts: Vec<u8> = needles.iter().map(|it| it.as_bytes()[0]).collect();
            let mut at = (0..bytes.len()).filter(|at| firsts.contains(&bytes[*at]));
            if at.any(is_there) {
                found_in.push(path.display().to_string());
            }
        }
    }
}

#[track_caller]
fn tells_no_password(ran: &Ran) {
    for form in [PASSWORD, PASSWORD_ENCODED] {
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!said.contains(form), "{said}");
    }
}

#[test]
#[ignore = "tests/prove fleet"]
fn no_code_and_no_key_reaches_the_server_and_its_password_is_told_nowhere() {
    // It logs all that it is told, values too.
    let mut server = Cluster::with(Sync::Off, &["log_statement=all"]);
    let stub = Stub::start();
    stub.default(|nth, _| match nth % 4 {
        0 => Reply::success(),
        1 => Reply::error("Wrong OTP"),
        2 => Reply::new(500, ""),
        _ => Reply::dropped(),
    });
    let lines = (0..ROWS).map(|n| format!("{},{}\n", phone(n), secret(n)));
    let lines = lines.collect::<Vec<_>>().concat();
    let dir = Workdir::with(format!("phone,otp\n{lines}"));
    let address = server.address();
    let verify = |flags: &str| {
        let verify = dir.verify(&stub).args(&["--ledger", &address]);
        verify
            .flags(format!("--refused-alike off -vv {flags}"))
            .run()
    };
    // Some are asked, the others wait there.
    let mut said = vec![verify("--limit 9")];
    assert_eq!(said[0].code, 3, "{}", said[0].stderr);
    let waiting = server.sql("SELECT 1 FROM otpdrive.code").len();
    assert!(waiting >= ROWS - 9, "{waiting} wait");
    server.sql("CHECKPOINT");
    let mut needles: Vec<String> = (0..ROWS).map(secret).collect();
    needles.push(KEY.to_owned());
    let mut held = Vec::new();
    found(server.socket(), &needles, &mut held);
    said.push(verify(
        "--log-format json --on-unknown hold --max-attempts 2",
    ));
    for command in [
        "status --json",
        "status --verify",
        "report --campaign list --json -vv",
    ] {
        said.push(dir.line(command).args(&["--ledger", &address]).run());
    }
    let who = dir.otpdrive(&["who", &phone(1), "--ledger", &address]);
    said.push(who.ends(0));
    assert_eq!(
        stub.log()
            .iter()
            .filter(|it| needles.contains(&it.otp))
            .count(),
        stub.count()
    );
    server.sql("CHECKPOINT");
    found(server.socket(), &needles, &mut held);
    assert!(
        server.log().contains("INSERT INTO otpdrive.intent"),
        "it logged what it was told"
    );
    assert_eq!(held, Vec::<String>::new(), "of codes and the key");
    // The search finds what is there.
    found(server.socket(), &[phone(0)], &mut held);
    assert!(!held.is_empty());
    server.stop();
    said.push(verify(""));
    assert_eq!(said.last().unwrap().code, 2);
    said.iter().for_each(tells_no_password);
    for form in [PASSWORD, PASSWORD_ENCODED] {
        dir.has_nowhere(form, &said[0]);
    }
    println!("{ROWS} codes, {waiting} of them kept meanwhile: none in the server's files or log");
}
