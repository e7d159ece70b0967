//! A ledger on a server, as far as that can be seen where no server is: what is said, and what is not.

use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

const PASSWORD: &str = "s3cret-w0rd";

/// A ledger where nobody listens, with a password.
fn nowhere() -> String {
    format!("postgres://otp:{PASSWORD}@{}/otp", Stub::nowhere())
}

#[test]
fn a_server_that_is_not_there_costs_no_request() {
    let (stub, address) = (Stub::start(), nowhere());
    let dir = Workdir::with(contacts(0..3));
    let status = dir.line("status");
    for line in [dir.send(&stub), dir.check(&stub), status] {
        let ran = line.args(&["-vv", "--ledger", &address]).ends(2);
        assert!(ran.stderr.contains("nobody listens at"), "{}", ran.stderr);
        let shown = address.replace(&format!(":{PASSWORD}"), "");
        assert!(ran.stderr.contains(&shown), "{}", ran.stderr);
        dir.has_nowhere(PASSWORD, &ran);
    }
    assert_eq!(stub.count(), 0);
    assert_eq!(dir.names(), ["list.csv"], "and leaves nothing behind");
}

#[test]
fn the_password_of_a_server_is_said_nowhere() {
    let address = nowhere();
    let dir = Workdir::with(contacts(0..3));
    let equals = format!("--ledger={address}");
    for words in [
        &["send", "list.csv", "--sender-id", "OTPDRV", &equals][..],
        &["report", "--log-format", "json", "--ledger", &address],
        // What is no flag is repeated, and so is what is no command.
        &["send", "list.csv", "--ledgr", &address],
        &["status", &address],
        &[&address],
        // Nobody can tell where its password ends.
        &["status", "--ledger", &format!("{address}@db/x")],
    ] {
        let ran = dir.otpdrive(words).ends(2);
        dir.has_nowhere(PASSWORD, &ran);
    }
    let ran = dir.otpdrive(&["config", "--ledger", &address]).ends(0);
    assert!(ran.stdout.contains("ledger = \"postgres://otp@"));
    dir.has_nowhere(PASSWORD, &ran);
    dir.write("settings.toml", format!("ledger = \"{address}\"\n"));
    for line in ["status", "config"] {
        let ran = dir.line(line).args(&["--config", "settings.toml"]).run();
        assert!(ran.stdout.contains("//otp@") || ran.stderr.contains("//otp@"));
        let said = ran.stdout + &ran.stderr;
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[test]
fn who_joins_a_run_is_told_what_is_missing() {
    let dir = Workdir::new();
    for (line, words) in [
        ("work", "--ledger is needed"),
        ("work --ledger otpdrive.db", "is a file, which one process"),
        (
            "work --ledger postgres://db",
            "names a server and no database",
        ),
        ("work list.csv", "unexpected argument"),
        // What the run decides is nobody else's.
        ("work --rate 10/s", "unexpected argument"),
        ("work --max-attempts 2", "unexpected argument"),
    ] {
        dir.line(line).ends(2).says(words);
    }
    let ran = dir.otpdrive(&["work", "--wait", "1h", "--ledger", &nowhere()]);
    ran.ends(2).says("nobody listens at");
    assert_eq!(dir.names(), [""; 0], "and leaves nothing behind");
}
