//! What is seen: the bar, the closing summary, the answer to a signal, `status`.

use std::time::Duration;

use crate::support::stub::{Reply, Stub};
use crate::support::terminal::Terminal;
use crate::support::workdir::{Workdir, rows};
use crate::support::{contacts, e164};

const NAME: &str = "leads of the spring campaign, all of them, in every city";

#[test]
fn a_bar_is_never_torn_or_wrapped_at_any_width() {
    for width in [40, 80, 200] {
        let stub = Stub::start();
        stub.script("smsotp", &e164(3), [Reply::error("barred")]);
        let dir = Workdir::with(contacts(0..20));
        let ran = dir
            .send(&stub)
            .args(&["--rate", "40/s", "--yes", "--campaign", NAME])
            .env("COLUMNS", &width.to_string())
            .on_a_terminal()
            .ends_with(1);
        assert!(ran.stdout.contains("\u{1b}[32m"), "painted: {}", ran.stdout);
        let frames = Terminal::frames(width, &ran.stdout);
        let is_bar = |row: &&String| row.contains("/20  ") || row.contains(['░', '█']);
        let mut bars = 0;
        for rows in &frames {
            let at: Vec<_> = rows.iter().filter(is_bar).collect();
            assert!(at.len() <= 1, "{width}: {rows:#?}");
            if let [bar] = at[..] {
                assert!(bar.chars().count() < width && bar.contains('%'), "{bar}");
                let below = rows.iter().skip_while(|row| *row != bar).skip(1);
                assert!(below.count() <= 1, "{width}: {rows:#?}");
                bars += 1;
            }
        }
        assert!(bars > 3, "{width}: {} frames", frames.len());
        let end = frames.last().unwrap();
        assert!(!end.iter().any(|row| row.contains(['░', '█'])), "{end:#?}");
        let closing = end.iter().skip_while(|row| !row.contains(": done in"));
        assert!(closing.count() > 5, "{end:#?}");
        // The plan too is as narrow as it can be.
        let is_below = end.iter().any(|row| row == "  results");
        assert_eq!(is_below, width == 40, "{end:#?}");
        let is_torn = |row: &String| row.starts_with("  file ") && row.chars().count() == width;
        assert!(!end.iter().any(is_torn), "{end:#?}");
    }
}

#[test]
fn nothing_moves_where_nobody_looks_and_nothing_is_painted_against_the_users_will() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..5));
    let send = |campaign: &str| {
        let args = ["--yes", "--progress", "always", "--cooldown", "0s"];
        dir.send(&stub).args(&args).args(&["--campaign", campaign])
    };
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let ran = send(name).env(name, value).on_a_terminal().ends_with(0);
        assert!(!ran.stdout.contains("\u{1b}[3"), "{name}: {}", ran.stdout);
        assert_eq!(
            ran.stdout.contains('\u{1b}'),
            name != "TERM",
            "{}",
            ran.stdout
        );
    }
    let piped = send("pipe").ends(0);
    assert!(!piped.stderr.contains('\u{1b}'), "{}", piped.stderr);
}

#[test]
fn the_closing_summary_fits_and_its_command_works() {
    let stub = Stub::start();
    stub.script(
        "smsotp",
        &e164(1),
        [Reply::error("This number cannot be reached")],
    );
    stub.script("smsotp", &e164(2), [Reply::new(504, "")]);
    let dir = Workdir::with(contacts(0..1_500) + "9.8765E+11\n");
    let given = [
        "--campaign",
        "June leads",
        "--ledger",
        "a rather long name of a ledger.db",
    ];
    let ran = dir.send(&stub).args(&given).ends(1);
    let (_, closing) = ran.stderr.split_once("June leads: done in").unwrap();
    for line in closing.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for line in [
        "  sent      1,498  99.8%",
        "  rejected      1  <0.1%  This number cannot be reached",
        "  unknown       1  <0.1%  may have been delivered; held, not sent again",
        "  rows      1,501         answers: p50 ",
        "  next      look at the 3:",
    ] {
        assert!(
            closing.contains(&format!("\n{line}")),
            "{line}, in: {closing}"
        );
    }
    let (_, command) = closing.split_once("look at the 3:").unwrap();
    let (_, args) = command.split_once("otpdrive ").unwrap();
    let shell = format!("exec \"$1\" {args}");
    let only = dir.otpdrive(&[]).in_shell(&shell).ends(0).stdout;
    assert_eq!(rows(&only).len(), 3, "{only}");
    assert_eq!(dir.send(&stub).args(&given).flags("-q").ends(1).stderr, "");
}

#[test]
fn a_signal_asks_how_the_run_stands_and_disturbs_nothing() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..9));
    let run = dir.send(&stub).flags("-q --concurrency 4").start();
    stub.wait_for(4);
    for _ in 0..2 {
        run.signal("USR1");
        std::thread::sleep(Duration::from_millis(300));
    }
    stub.release();
    let ran = run.end_soon();
    assert_eq!((ran.code, dir.count("sent")), (0, 9), "{}", ran.stderr);
    let told = ran
        .stderr
        .matches("4 answers awaited, the oldest for 0.")
        .count();
    assert_eq!(told, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("list: 0/9 (0%)"), "{}", ran.stderr);
}

#[test]
fn the_status_is_a_table_or_json_and_can_be_watched() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..6));
    stub.hold();
    let run = dir
        .send(&stub)
        .flags("--concurrency 2 --campaign 9876512340")
        .start();
    stub.wait_for(2);
    let narrow = dir.line("status").env("COLUMNS", "40").on_a_terminal();
    for line in narrow.ends_with(0).stdout.lines() {
        assert!(line.chars().count() < 40, "{line}");
    }
    let watched = dir.line("status --watch").start();
    let json = dir.line("status --json").ends(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "otpdrive.status/1");
    assert_eq!(json["campaign"], "+98******40");
    assert_eq!(
        (&json["state"], &json["in_flight"]),
        (&"running".into(), &2.into())
    );
    assert_eq!(json["counts"]["pending"], 6);
    std::thread::sleep(Duration::from_millis(300));
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    let watched = watched.end_soon().stdout;
    let header = watched.lines().filter(|line| line.starts_with("CAMPAIGN"));
    assert!(header.count() >= 2, "{watched}");
    assert!(
        watched.contains("running") && watched.contains("complete"),
        "{watched}"
    );
}
