//! Nothing that comes from outside steers a terminal, fakes a line or runs in a spreadsheet.

use serde_json::json;

use crate::support::phone;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Ran, Workdir, rows};

/// All that a terminal may obey, and marks to see where it went.
const NASTY: &str = "A\u{1b}[31mB\u{1b}]0;title\u{7}C\u{9b}5nD\u{202e}E\u{2066}F\u{200b}G\u{85}H\u{7f}I\u{8}J\u{2028}K";

/// The same with line ends, to fake a line.
const FAKE: &str = "x\r\notpdrive: all is well\rotpdrive: all is well";

/// Runs it on a terminal of its own; stdout and stderr come out as one.
fn on_a_terminal(run: Otpdrive) -> Ran {
    let script = "printf -v line '%q ' \"$@\"; exec script -qec \"stty -onlcr; $line\" /dev/null";
    run.env("SHELL", "/bin/bash")
        .env("TERM", "xterm")
        .under(&["bash", "-c", script, "pty"])
        .run()
}

/// Is there anything but text? The bar's own movements are taken out first when there is one.
#[track_caller]
fn is_plain(what: &str, text: &str, bar: bool) {
    let mut text = text.to_owned();
    if bar {
        let mut own: Vec<String> = (1..9)
            .flat_map(|n| [format!("\u{1b}[{n}A"), format!("\u{1b}[{n}B")])
            .collect();
        own.extend(
            [
                "\u{1b}[2K",
                "\u{1b}[K",
                "\u{1b}[J",
                "\u{1b}[?25l",
                "\u{1b}[?25h",
                "\u{1b}[0m",
                "\r",
            ]
            .map(str::to_owned),
        );
        for movement in own {
            text = text.replace(&movement, "");
        }
    }
    let hidden = |c: char| {
        c != '\n'
            && c != '\t'
            && (c.is_control()
                || ('\u{2028}'..='\u{202e}').contains(&c)
                || ('\u{2060}'..='\u{206f}').contains(&c)
                || c == '\u{200b}')
    };
    if let Some(at) = text.find(hidden) {
        panic!("{what}: {:?} in {text:?}", text[at..].chars().next());
    }
    for line in text.lines() {
        assert!(!line.starts_with("otpdrive: all is well"), "{what}: {text}");
    }
}

/// A gateway that says such things in each way.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|index, _| {
        let message = format!("{NASTY} {FAKE}");
        let said = |status: u16, word: &str| {
            Reply::new(
                status,
                json!({"status": word, "message": message}).to_string(),
            )
        };
        match index % 7 {
            0 => said(200, "success"),
            1 => said(200, "Error"),
            2 => said(400, "Error"),
            3 => said(500, "Error"),
            4 => Reply::new(200, json!({"status": NASTY, "message": FAKE}).to_string()),
            5 => said(504, "x"),
            _ => Reply::new(200, message.clone()).header("retry-after", "\u{9b}5n"),
        }
    });
    stub
}

fn list() -> String {
    let lines = (0..21).map(|n| format!("{},\"{NASTY}\",sms\n", phone(n)));
    let bad = format!(
        "98765\u{1b}[31m,\"{NASTY}\",{NASTY}\n\"{FAKE}\",,\n{},,\"{NASTY}\"\n",
        phone(99)
    );
    format!(
        "phone,\"na{NASTY}me\",channel\n{}{bad}",
        lines.collect::<String>()
    )
}

#[test]
#[ignore = "tests/prove secrets"]
fn a_terminal_obeys_neither_a_gateway_nor_a_file() {
    let mut bytes = 0;
    for format in ["text", "json"] {
        for progress in ["always", "never", "auto"] {
            let stub = gateway();
            let dir = Workdir::with(list());
            let what = format!("{format}, {progress}");
            let args = [
                "-vvv",
                "--log-format",
                format,
                "--progress",
                progress,
                "--max-attempts",
                "2",
            ];
            let ran = on_a_terminal(dir.send(&stub).args(&args));
            assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
            assert!(ran.stdout.contains("answered"), "{what}: {}", ran.stdout);
            is_plain(&what, &ran.stdout, progress != "never");
            bytes += ran.stdout.len();
            if format == "json" && progress == "never" {
                for line in ran.stdout.lines().filter(|line| line.starts_with('{')) {
                    serde_json::from_str::<serde_json::Value>(line).unwrap();
                }
            }
            let plain = dir.send(&stub).args(&args).run();
            is_plain(&what, &plain.stderr, progress == "always");
            is_plain(&what, &dir.read("list-results/report.json"), false);
            for result in dir.results() {
                is_plain(
                    &what,
                    &format!("{} {}", result["otp_detail"], result["otp_reference"]),
                    false,
                );
            }
            for args in [
                &["status"][..],
                &["report", "-vvv"],
                &["report", "--only", "sent,rejected,unknown,failed,invalid"],
            ] {
                let ran = on_a_terminal(dir.otpdrive(args));
                assert_eq!(ran.code, 0, "{what}: {}", ran.stdout);
                is_plain(&format!("{args:?}"), &ran.stdout, false);
                bytes += ran.stdout.len();
            }
        }
    }
    println!("{bytes} bytes on a terminal: nothing but text, and the bar's own movements");
}

#[test]
#[ignore = "tests/prove secrets"]
fn rows_that_go_to_a_file_keep_their_cells_and_on_a_terminal_are_shown() {
    let stub = Stub::start();
    stub.always(Reply::error("no"));
    let dir = Workdir::with(format!("phone,note\n{},\"{NASTY}\n{FAKE}\"\n", phone(1)));
    dir.send(&stub).ends(1);
    let only = || dir.otpdrive(&["report", "--only", "rejected"]);
    let piped = only().ends(0);
    assert_eq!(rows(&piped.stdout)[0]["note"], format!("{NASTY}\n{FAKE}"));
    let shown = on_a_terminal(only());
    is_plain("--only", &shown.stdout, false);
    assert!(shown.stdout.contains("A\\u001b[31mB"), "{}", shown.stdout);
}

#[test]
#[ignore = "tests/prove secrets"]
fn a_terminal_obeys_no_name() {
    let stub = Stub::start();
    // A slash is the only character that no name can hold.
    let name = format!("li{NASTY}{FAKE}st.csv");
    let dir = Workdir::new();
    dir.write(&name, format!("phone\n{}\n", phone(1)));
    dir.write("list.csv", format!("{NASTY},x\n1,2\n"));
    dir.write("latin.csv", b"phone\n\xe9\n");
    std::fs::rename(dir.path("latin.csv"), dir.path(&format!("latin{name}"))).unwrap();
    let missing = format!("no{name}");
    let latin = format!("latin{name}");
    let url = stub.url();
    let flags = ["--endpoint", &url, "--sender-id", "OTPDRV"];
    let with = |args: &[&str]| {
        [args, &flags]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let cases = [
        with(&["send", &name, "--campaign", "a\u{202e}b"]),
        with(&[
            "send",
            &name,
            "--campaign",
            "c",
            "--out",
            &name[..9],
            "--ledger",
            &format!("{FAKE}.db"),
        ]),
        with(&[
            "send",
            &name,
            "--campaign",
            "c",
            "--out",
            &format!("out{FAKE}"),
        ]),
        with(&["send", &name, "--campaign", "c", "--out", &name]),
        with(&["send", &missing, "--campaign", "c"]),
        with(&["send", &latin, "--campaign", "c"]),
        with(&["send", &name]),
        with(&["send", "list.csv"]),
        with(&["send", "list.csv", "--phone-column", NASTY]),
        with(&["send", "list.csv", &name]),
        with(&["send", "list.csv", "--rate", &name]),
        with(&["send", "list.csv", "--region", NASTY]),
        with(&["send", "list.csv", "--api-key-file", &name]),
        with(&["send", &name, "--campaign", "c", "--ledger", &name]),
        with(&["check", &name, "--campaign", "c", "--sender-id", NASTY])[..6].to_vec(),
        vec![name.clone()],
        vec!["status".to_owned()],
        vec!["status".to_owned(), "--ledger".to_owned(), missing.clone()],
        vec!["report".to_owned()],
        vec!["report".to_owned(), "--campaign".to_owned(), name.clone()],
        vec![
            "sandbox".to_owned(),
            "--log".to_owned(),
            format!("none/{FAKE}"),
        ],
        vec!["sandbox".to_owned(), "--listen".to_owned(), name.clone()],
    ];
    let mut shown = 0;
    for args in &cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for format in ["text", "json"] {
            let ran = on_a_terminal(dir.otpdrive(&args).args(&["--log-format", format]));
            assert!(!ran.stdout.is_empty(), "{args:?}");
            assert_ne!(ran.code, 70, "{}", ran.stdout);
            is_plain(&format!("{args:?}"), &ran.stdout, true);
            shown += usize::from(
                ran.stdout.contains("\\u001b")
                    || ran.stdout.contains("\\u000d")
                    || ran.stdout.contains("\\u202e"),
            );
            let ran = dir.otpdrive(&args).run();
            is_plain(&format!("{args:?}"), &(ran.stdout + &ran.stderr), false);
        }
    }
    let report = dir.read("a\u{202e}b-results/report.json");
    is_plain("report.json", &report, false);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["input"]["name"], name);
    println!(
        "{} commands with names that hold commands: {shown} outputs show them, none sends them",
        cases.len()
    );
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_message_of_a_gateway_is_a_formula() {
    let formulas = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        " =1",
        "\u{a0}=1",
        "\u{200b}=1",
        "\u{feff}@x",
        "＝1+1",
        "＋1",
        "－1",
        "＠x",
        "\"=1\"",
        "'=1",
        "\"\"+1",
        "=cmd|' /C calc'!A0",
        "x;=1",
        "x; ＝1",
        "x;\"=1\"",
        "a,=1",
        "\n=1",
        "\u{202e}=1",
        "=HYPERLINK(\"http://x\",\"y\")",
    ];
    let stub = Stub::start();
    for (n, formula) in formulas.iter().enumerate() {
        for (endpoint, word, from) in [("smsotp", "Error", 0), ("smsotp", "success", 100)] {
            let reply = Reply::new(200, json!({"status": word, "message": formula}).to_string());
            stub.script(endpoint, &crate::support::e164(from + n), [reply]);
        }
    }
    let numbers = (0..formulas.len()).chain(100..100 + formulas.len());
    let dir = Workdir::with(crate::support::contacts(numbers));
    dir.send(&stub).ends(1);
    let only = dir.otpdrive(&["report", "--only", "sent,rejected"]).ends(0);
    for csv in [dir.read("list-results/results.csv"), only.stdout] {
        let cells: Vec<String> = rows(&csv)
            .iter()
            .map(|row| format!("{}{}", row["otp_detail"], row["otp_reference"]))
            .collect();
        assert_eq!(cells.len(), 2 * formulas.len());
        for cell in &cells {
            // As a spreadsheet reads it that takes semicolons for separators, too.
            for part in cell.split(';') {
                let bare = part.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
                assert!(
                    !bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']),
                    "{cell:?}"
                );
            }
        }
        assert!(cells.iter().filter(|cell| cell.starts_with('\'')).count() >= 40);
    }
    println!(
        "{} beginnings of formulas: none is one in results.csv",
        formulas.len()
    );
}
