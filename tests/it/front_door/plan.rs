//! The plan: what it tells people and programs, and what it writes for them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::stub::Stub;
use crate::support::workdir::{Workdir, column, rows};
use crate::support::{contacts, phone};

/// Six numbers whose digits a spreadsheet has lost, one that is fixed, and one that is good.
fn messy() -> String {
    let lost = "lost,9.19877E+11\n".repeat(6);
    format!(
        "name,Mobile No.\n{lost}fixed,02223456789\ngood,{}\n",
        phone(0)
    )
}

#[test]
fn a_plan_fits_a_terminal_says_whether_it_is_real_and_groups_what_cannot_be_used() {
    let dir = Workdir::with(messy());
    let check = || dir.line("check list.csv --max-invalid 90% --campaign");
    let name = "a campaign of which the name is long, long and longer, until it fits no line";
    let ran = check().args(&[name, "--sender-id", "OZONTL"]).ends(1);
    let wide = ran.stderr.lines().filter(|line| line.chars().count() > 80);
    let wide: Vec<&str> = wide.map(str::trim).collect();
    assert_eq!(
        wide.iter().filter(|line| !line.contains(name)).count(),
        0,
        "{wide:?}"
    );
    for words in [
        "send list.csv: REAL, every request can cost money",
        "8 rows; UTF-8, commas; header on line 1",
        "column \"Mobile No.\", read as IN: 022******89 -> +9122******89",
        "6 a number in scientific notation: a spreadsheet has lost its digits; format the column as Number with no decimals and export again; lines 2, 3, 4, 5, 6, ...",
        "but may be called; call it: --channel call",
        "sms from OZONTL; https://kookoo.in/api/v1/TwoFactor",
        "1 sms to 1 number, none tried before",
        "at 10/s (--rate), done at",
        "nothing was sent: this was a check",
    ] {
        ran.says(words);
    }
    assert!(!ran.stderr.contains(&phone(0)), "{}", ran.stderr);
    let ran = check().args(&["x", "--sandbox"]).ends(1);
    ran.says("send list.csv: a rehearsal, nothing leaves this machine");
}

#[test]
fn a_plan_for_programs_is_all_that_is_printed_also_where_it_is_refused() {
    let (stub, dir) = (Stub::start(), Workdir::with(messy()));
    for (flags, code) in [("--max-invalid 90%", 1), ("", 2)] {
        let ran = dir.check(&stub).flags("--json").flags(flags).ends(code);
        let plan = ran.json();
        assert_eq!(plan["schema"], "otpdrive.plan/1");
        assert_eq!(
            (&plan["operation"], &plan["usable"]),
            (&"send".into(), &1.into())
        );
        let lost = &plan["unusable"][0];
        assert_eq!(lost["count"], 6);
        assert_eq!(lost["lines"].as_array().unwrap().len(), 5);
        assert_eq!(plan["to_start"]["sms"], 1);
        assert_eq!(plan["counts"]["invalid"], 7);
        assert!(!ran.stdout.contains(&phone(0)) && !ran.stderr.contains("usable  "));
    }
    // Numbers in names are masked, and whatever a terminal obeys is escaped.
    let name = format!("list {}", phone(7));
    dir.write(&format!("{name}.csv"), contacts(0..2));
    let check = dir.check(&stub).input(&format!("{name}.csv"));
    let ran = check.flags("--json").ends(0);
    assert_eq!(ran.json()["campaign"]["name"], "list +98******07");
    assert!(!ran.stdout.contains(&phone(7)), "{}", ran.stdout);
}

#[test]
fn the_rows_that_cannot_be_used_are_written_to_be_mended_and_sent() {
    let (stub, dir) = (Stub::start(), Workdir::with(messy()));
    dir.write("bad.csv", "before");
    fs::set_permissions(dir.path("bad.csv"), fs::Permissions::from_mode(0o644)).unwrap();
    let check = || {
        dir.check(&stub)
            .flags("--max-invalid 90% --problems bad.csv")
    };
    let ran = check().ends(1);
    assert!(
        ran.stderr.contains("wrote 7 unusable rows to bad.csv"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        fs::metadata(dir.path("bad.csv"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let bad = dir.read("bad.csv");
    let written = rows(&bad);
    assert_eq!(
        column(&written, "otp_line"),
        ["2", "3", "4", "5", "6", "7", "8"]
    );
    assert_eq!(column(&written, "otp_status"), ["invalid"; 7]);
    assert!(written[0]["otp_detail"].contains("scientific notation"));
    let remedy = "mend them, then `otpdrive send bad.csv --campaign list`";
    assert!(ran.stderr.contains(remedy), "{}", ran.stderr);
    // Before anything was sent, and after it.
    for (n, first) in [(1, true), (2, false)] {
        let mended = bad.replacen("9.19877E+11", &phone(n), 1);
        dir.write("mended.csv", mended);
        let send = || dir.send(&stub).flags("--max-invalid 90%");
        send().input("mended.csv").flags("--campaign list").ends(1);
        assert_eq!(stub.count(), 1, "nobody but the one that was mended");
        if first {
            send().ends(1);
            assert_eq!(stub.count(), 2);
        }
        stub.forget();
    }
}

#[test]
fn the_rows_that_cannot_be_used_are_written_over_nothing_of_the_runs_own() {
    let (stub, dir) = (Stub::start(), Workdir::with(messy()));
    dir.send(&stub).flags("--max-invalid 90%").ends(1);
    symlink("list.csv", dir.path("link.csv")).unwrap();
    fs::create_dir(dir.path("folder")).unwrap();
    dir.write("stop.csv", contacts(5..6));
    let before = dir.files();
    for (name, what) in [
        ("./list.csv", "the input itself"),
        ("link.csv", "the input itself"),
        ("stop.csv", "the input itself"),
        ("otpdrive.db", "the ledger itself"),
        ("folder", "no file"),
        ("none/bad.csv", "cannot be written"),
    ] {
        let check = dir
            .check(&stub)
            .flags("--max-invalid 90% --exclude stop.csv --problems");
        let ran = check.args(&[name]).ends(2);
        assert!(ran.stderr.contains(what), "{name}: {}", ran.stderr);
    }
    dir.line("status --verify").ends(0);
    for (name, bytes) in before {
        let is_ledger = name.starts_with("otpdrive.db");
        assert!(
            is_ledger || fs::read(dir.path(&name)).unwrap() == bytes,
            "{name}"
        );
    }
}

#[test]
fn a_file_of_codes_is_planned_as_what_it_is_and_says_how_to_plan_it_otherwise() {
    let stub = Stub::start();
    let planned = |list: &str, flags: &str| {
        let dir = Workdir::with(list);
        let ran = dir
            .line("check list.csv --json --max-invalid 100%")
            .flags(flags)
            .run();
        let plan = ran.json();
        let due = plan["due"].clone();
        (
            plan["operation"].as_str().unwrap().to_owned(),
            due,
            plan["notes"].to_string(),
        )
    };
    let codes = format!(
        "phone,otp\n{},012345\n{},not received\n",
        phone(0),
        phone(1)
    );
    let (operation, due, _) = planned(&codes, "");
    assert_eq!((&*operation, &due["verify"]), ("verify", &1.into()));
    for flags in ["--otp-column none", "--channel call"] {
        assert_eq!(planned(&codes, flags).0, "send", "{flags}");
    }
    let branches = format!("phone,code\n{},IN-MH\n{},IN-KA\n", phone(0), phone(1));
    let (operation, due, notes) = planned(&branches, "");
    assert_eq!((&*operation, &due["sms"]), ("send", &2.into()));
    assert!(notes.contains("--otp-column"), "{notes}");
    assert_eq!(planned(&branches, "--otp-column code").0, "verify");
    assert_eq!(
        planned(&format!("phone,isd code\n{},91\n", phone(0)), "").0,
        "send"
    );

    // What each command wrote is what it was.
    let dir = Workdir::with(&codes);
    dir.send(&stub).ends(0);
    dir.write("sent.csv", dir.read("list-results/results.csv"));
    dir.verify(&stub).flags("--out v").ends(1);
    dir.write("checked.csv", dir.read("v/results.csv"));
    for (file, operation) in [("sent.csv", "send"), ("checked.csv", "verify")] {
        let ran = dir
            .line("check --json --max-invalid 100%")
            .args(&[file])
            .run();
        let plan = ran.json();
        assert_eq!(plan["operation"], operation, "{file}");
        assert_eq!(plan["due"]["sms"], 0);
        assert_eq!(plan["due"]["verify"], 0);
    }
    let ran = dir.line("check list.csv").ends(1);
    ran.says("verify list.csv: REAL, each wrong code uses up one of its owner's tries");
    ran.says("taken for codes to verify, and --otp-column none plans a send");
    assert!(!ran.stderr.contains("012345"), "{}", ran.stderr);
}

/// A first list is counted while it is written; whoever wants its problems has it read back.
#[test]
fn a_plan_is_the_same_whether_a_first_list_is_read_back_or_not() {
    let dir = Workdir::new();
    let row = |n: usize| format!("{},{}", phone(n), ["sms", "call"][n % 2]);
    let twice: Vec<String> = (0..20).chain(5..15).map(row).collect();
    let twice = twice.join("\n");
    dir.write("list.csv", format!("phone,channel\n12,sms\n{twice}\nx,\n"));
    let codes = |n| format!("{},12345{n}\n{},******", phone(n), phone(n + 5));
    let codes: Vec<String> = (0..8).map(codes).collect();
    let codes = codes.join("\n");
    dir.write("codes.csv", format!("phone,otp\n{codes}\n1,1234\n"));
    for (file, flags) in [
        (
            "list.csv",
            "--limit 7 --sender-id OTPDRV --caller-id 914012345678",
        ),
        ("codes.csv", "--otp-column otp"),
    ] {
        let plan = |more: &str| {
            let check = dir.otpdrive(&["check", file, "--json", "--max-invalid", "90%"]);
            let mut plan = check.flags(flags).flags(more).ends(1).json();
            plan["time"].take();
            plan
        };
        let (told, read) = (plan(""), plan("--problems bad.csv"));
        assert!(told["counts"]["invalid"].as_u64() > Some(1), "{told}");
        assert_eq!(told, read);
    }
}
