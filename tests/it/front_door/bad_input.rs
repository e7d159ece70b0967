//! What makes a run impossible is said before the first request, with what, where and what to do.

use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone};

/// Ends with 2, asks nothing of the gateway, and says all of these.
#[track_caller]
fn refuses(stub: &Stub, command: Otpdrive, words: &[&str]) {
    let ran = command.ends(2);
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
    }
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_name_and_the_place() {
    let stub = Stub::start();
    for (text, words) in [
        (&b""[..], &["list.csv", "empty"][..]),
        (
            b"name,city\nA,B\n",
            &["list.csv", "phone", "\"city\"", "--phone-column"],
        ),
        (
            b"phone,mobile\n1,2\n",
            &["\"phone\"", "\"mobile\"", "--phone-column"],
        ),
        (b"9876543210\n9876543211\n", &["line 1", "header"]),
        (b"phone\n\n", &["list.csv", "no rows"]),
        (b"Leads\nname,fon\nA,9876543210\n", &["line 1", "a title"]),
        (
            b"name\tfon\nA\t9876543210\n",
            &["\"fon\" (#2)", "--phone-column", "--delimiter"],
        ),
        (b"p\0h\0o\0n\0e\0\n\0", &["UTF-16", "byte order mark"]),
        (
            b"phone,name\n9876543210,\"A\n9876543211,B\"\n",
            &["line 2", "--accept-multiline-cells"],
        ),
        (
            b"phone,otp_campaign,otp_phone,otp_status\n9876543210,one,,\n9876543211,two,,\n",
            &["\"one\"", "\"two\"", "--campaign"],
        ),
    ] {
        let dir = Workdir::with(text);
        refuses(&stub, dir.send(&stub), words);
        refuses(&stub, dir.otpdrive(&["check", "list.csv"]), words);
    }
    let dir = Workdir::new();
    refuses(&stub, dir.send(&stub), &["list.csv"]);
}

#[test]
fn a_missing_key_or_id_is_refused_with_how_to_give_it() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    refuses(
        &stub,
        dir.send(&stub).no_key(),
        &["KOOKOO_API_KEY", "--api-key-file"],
    );
    let no_sender = dir.send(&stub).without("--sender-id");
    refuses(&stub, no_sender, &["--sender-id", "KOOKOO_SENDER_ID"]);
    let no_caller = dir.send(&stub).without("--caller-id");
    let call = no_caller.clone().args(&["--channel", "call"]);
    refuses(&stub, call, &["--caller-id", "KOOKOO_CALLER_ID"]);
    let fallback = no_caller.args(&["--fallback", "call"]);
    refuses(&stub, fallback, &["--caller-id"]);
    let file = dir
        .send(&stub)
        .no_key()
        .args(&["--api-key-file", "none.txt"]);
    refuses(&stub, file, &["--api-key-file", "No such file"]);
    dir.write("key.txt", "two words\n");
    let odd = dir
        .send(&stub)
        .no_key()
        .args(&["--api-key-file", "key.txt"]);
    refuses(&stub, odd, &["key"]);
}

#[test]
fn the_key_is_read_from_a_file_and_the_ids_from_the_environment() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    dir.write("key.txt", "KKfile\n");
    dir.send(&stub)
        .no_key()
        .without("--sender-id")
        .env("KOOKOO_SENDER_ID", "FROMEN")
        .args(&["--api-key-file", "key.txt"])
        .ends(0);
    let target = &stub.log()[0].target;
    assert!(
        target.contains("api_key=KKfile&sender_id=FROMEN"),
        "{target}"
    );
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let with = |args: &[&str]| dir.send(&stub).args(args);
    refuses(
        &stub,
        with(&["--fallback", "sms"]),
        &["--fallback", "--channel"],
    );
    let call = ["--channel", "call", "--fallback", "call"];
    refuses(&stub, with(&call), &["--fallback"]);
    refuses(
        &stub,
        with(&["--connect-timeout", "40s"]),
        &["--connect-timeout"],
    );
    refuses(&stub, with(&["--rate", "0/s"]), &["--rate"]);
    refuses(&stub, with(&["--max-attempts", "0"]), &["--max-attempts"]);
    refuses(
        &stub,
        with(&["--endpoint", "http://192.0.2.1/x"]),
        &["--allow-http", "https"],
    );
    refuses(
        &stub,
        with(&["--endpoint", "http://localhost.example.com/x"]),
        &["--allow-http"],
    );
    refuses(&stub, with(&["--campaign", "../up"]), &["--campaign"]);
    let in_argv = with(&["--api-key", "KK1"]);
    refuses(&stub, in_argv, &["--api-key"]);
}

/// Refuses what a command line and a file of settings say, before it sees that there is no list, and
/// makes nothing.
#[track_caller]
fn refuses_at_once(line: &str, settings: &str, words: &[&str]) {
    let dir = Workdir::new();
    dir.write("run.toml", settings);
    let command = dir.line(line).flags("--config run.toml");
    // What is read first could be this list.
    let ran = command.args(&["none.csv"]).ends(2);
    for word in words {
        assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("none.csv"), "{}", ran.stderr);
    assert_eq!(dir.names(), ["run.toml"], "{line}");
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_is_read_or_made() {
    for (flags, words) in [
        ("--limit 0", &["--limit", "at least 1"][..]),
        ("--max-duration 0s", &["--max-duration", "more than 0s"]),
        ("--timeout 0s", &["--timeout", "more than 0s"]),
        ("--connect-timeout 0s", &["--connect-timeout", "more than"]),
        ("--header-line 0", &["--header-line", "at least 1"]),
        ("--max-invalid 101%", &["--max-invalid", "between"]),
        ("--phone-column=", &["--phone-column", "#2"]),
        ("--ledger mysql://me:secret@db/x", &["--ledger", "a file"]),
        (
            "--ledger postgres://me:secret@db/x?sslmode=prefer",
            &["--ledger", "sslmode"],
        ),
        ("--ledger=", &["--ledger", "a file"]),
        ("--out=", &["--out", "a folder"]),
        (
            "--exclude stop.csv",
            &["--exclude stop.csv", "No such file"],
        ),
        ("--exclude .", &["--exclude .", "directory"]),
        (
            "--phone-column a --channel-column a",
            &["--phone-column", "--channel-column"],
        ),
        (
            "--start-at 2050-01-01T00:00 --max-duration 1h --window 09:00-20:00",
            &["--window", "--max-duration"],
        ),
        (
            "--start-at 2050-01-01T21:00 --window 09:00-20:00 --deadline 23:00",
            &["--window", "--deadline"],
        ),
        (
            "--channel call --channel-column none --start-at 2050-01-01T09:00 --window 08:00-20:00 --call-window 11:00-12:00 --deadline 10:00",
            &["--call-window", "--deadline"],
        ),
        ("--budget 9", &["--budget", "--price"]),
        (
            "--budget 9 --price sms=1 --fallback call",
            &["--budget", "--price", "call=AMOUNT"],
        ),
        (
            "--budget 9 --price call=1 --channel sms --channel-column none",
            &["--budget", "--price", "sms=AMOUNT"],
        ),
        ("-q --progress always", &["--quiet", "--progress"]),
        ("-q -v", &["--quiet", "--verbose"]),
    ] {
        let ids = "sender_id = \"OTPDRV\"\ncaller_id = \"9140\"";
        refuses_at_once(&format!("send {flags}"), ids, words);
    }
    let no_ids = "--sender-id";
    refuses_at_once("send", "", &[no_ids, "KOOKOO_SENDER_ID"]);
    let fallback = "sender_id = \"OTPDRV\"\nfallback = \"call\"";
    refuses_at_once("send", fallback, &["--caller-id"]);
    let alone = "caller_id = \"9140\"\nchannel_column = \"none\"";
    refuses_at_once("send --channel sms", alone, &["--sender-id"]);
    for flags in ["--otp-length 0", "--otp-length 33"] {
        refuses_at_once(&format!("verify {flags}"), "", &["--otp-length"]);
    }
    let same = "phone_column = \"x\"";
    let words = ["--otp-column", "--phone-column"];
    refuses_at_once("verify --otp-column x", same, &words);
}

#[test]
fn of_two_settings_that_rule_each_other_out_only_the_stronger_source_may_say_the_switch() {
    let here = "endpoint = \"https://x.in/\"\nsandbox = true";
    refuses_at_once(
        "send",
        here,
        &["sandbox in run.toml", "endpoint in run.toml"],
    );
    let words = ["sandbox in run.toml", "--api-key-file"];
    refuses_at_once("send --api-key-file k", "sandbox = true", &words);
    refuses_at_once("send -v", "quiet = true", &["quiet in", "--verbose"]);
    // A file of settings can be rehearsed as it is.
    let dir = Workdir::with(contacts(0..2));
    dir.write(
        "run.toml",
        "endpoint = \"https://192.0.2.1/\"\nproxy = \"http://192.0.2.1:1/\"\napi_key_file = \"none\"",
    );
    dir.line("send list.csv --sandbox --config run.toml")
        .ends(0);
}

#[test]
fn what_only_the_list_can_tell_is_refused_before_there_is_a_ledger() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write("file", "");
    let names = dir.names();
    let with = |line: &str| dir.send(&stub).flags(line);
    let call = with("--channel call").without("--caller-id");
    refuses(&stub, call, &["--caller-id"]);
    let price = with("--budget 9 --price call=1");
    refuses(&stub, price, &["--budget", "sms=AMOUNT"]);
    let price = dir.otpdrive(&["check", "list.csv"]);
    refuses(
        &stub,
        price.flags("--budget 9 --price call=1"),
        &["sms=AMOUNT"],
    );
    refuses(&stub, with("--out file"), &["file", "--out"]);
    refuses(&stub, with("--out file/x"), &["file/x", "--out"]);
    refuses(
        &stub,
        with("--exclude list.csv"),
        &["--exclude", "input itself"],
    );
    let stdin = with("--exclude - --campaign x").input("-");
    refuses(&stub, stdin, &["--exclude", "input itself"]);
    assert_eq!(dir.names(), names);
    // Where rows choose, they may all choose what there is an id for.
    dir.write("list.csv", format!("phone,channel\n{},call\n", phone(1)));
    dir.send(&stub).without("--sender-id").ends(0);
}

#[test]
fn places_that_cannot_be_written_are_refused_before_the_first_request() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write("file", "");
    let out = dir.send(&stub).args(&["--out", "file/results"]);
    refuses(&stub, out, &["file/results"]);
    let ledger = dir.send(&stub).args(&["--ledger", "file/otpdrive.db"]);
    refuses(&stub, ledger, &["file/otpdrive.db", "folder"]);
    let ledger = dir.send(&stub).args(&["--ledger", "none/otpdrive.db"]);
    refuses(&stub, ledger, &["none/otpdrive.db"]);
    dir.send(&stub).ends(0);
    assert_eq!(stub.count(), 2, "nobody counts as tried before");
}

#[test]
fn a_file_that_is_no_ledger_is_refused_and_left_as_it_was() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write(
        "text.db",
        "this is no database, but it is long enough to look at".repeat(99),
    );
    let text = dir.read("text.db");
    let other = dir.path("other.db");
    let db = rusqlite::Connection::open(&other).unwrap();
    db.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
        .unwrap();
    drop(db);
    let before = std::fs::read(&other).unwrap();
    for name in ["text.db", "other.db"] {
        let command = dir.send(&stub).args(&["--ledger", name]);
        refuses(&stub, command, &[name, "not a ledger", "--ledger"]);
    }
    assert_eq!(dir.read("text.db"), text);
    assert_eq!(std::fs::read(&other).unwrap(), before);
}

#[test]
fn a_ledger_of_a_newer_version_is_refused_and_left_as_it_was() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(0);
    stub.forget();
    let db = rusqlite::Connection::open(dir.path("otpdrive.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    dir.write("list.csv", contacts(0..4));
    let before = std::fs::read(dir.path("otpdrive.db")).unwrap();
    refuses(
        &stub,
        dir.send(&stub),
        &["otpdrive.db", "99", "newer version"],
    );
    assert_eq!(std::fs::read(dir.path("otpdrive.db")).unwrap(), before);
    let status = dir.otpdrive(&["status"]).ends(2);
    assert!(status.stderr.contains("newer version"), "{}", status.stderr);
}

#[test]
fn too_many_unusable_rows_are_refused_and_leave_no_mark() {
    let stub = Stub::start();
    let dir = Workdir::with(format!("phone\n{}\nA\nB\n", phone(1)));
    refuses(
        &stub,
        dir.send(&stub),
        &["2 of 3", "--max-invalid", "--phone-column"],
    );
    dir.send(&stub).args(&["--max-invalid", "80%"]).ends(1);
    assert_eq!(dir.statuses(), ["sent", "invalid", "invalid"]);
}

#[test]
fn a_check_makes_no_request_and_leaves_nothing_behind() {
    let stub = Stub::start();
    let dir = Workdir::with(format!("phone\n{}\nA\n{}\n", phone(1), phone(2)));
    let check = ["check", "list.csv", "--endpoint", &stub.url()];
    let ran = dir.otpdrive(&check).no_key().ends(1);
    assert!(ran.stderr.contains("line 3"), "{}", ran.stderr);
    assert_eq!(dir.names(), ["list.csv"]);
    dir.write("list.csv", contacts(0..3));
    dir.otpdrive(&check).no_key().ends(0);
    assert_eq!(dir.names(), ["list.csv"]);
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_check_of_a_campaign_that_is_under_way_changes_nothing() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..4));
    dir.send(&stub).args(&["--limit", "2"]).ends(3);
    let results = dir.read("list-results/results.csv");
    let ran = dir.otpdrive(&["check", "list.csv"]).no_key().ends(0);
    ran.says("2 sms to 2 numbers, none tried before");
    dir.otpdrive(&["report"]).ends(0);
    assert_eq!(dir.read("list-results/results.csv"), results);
    dir.send(&stub).ends(0);
    assert_eq!(stub.count(), 4);
}
