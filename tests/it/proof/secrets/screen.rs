//! Nothing that comes from outside steers a terminal, fakes a line or runs in a spreadsheet.

use serde_json::json;

use crate::support::phone;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Ran, Workdir, rows};

/// All that a terminal may obey, and marks to see where it went.
const NASTY: &str = "A\u{1b}[31mB\u{1b}]0;title\u{7}C\u{9b}5nD\u{202e}E\u{2066}F\u{200b}G\u{85}H\u{7f}I\u{8}J\u{2028}K";

/// The same with line ends, to fake a line.
const FAKE: &str = "x\r\notpdrive: all is well\rotpdrive: all is well";

fn on_a_terminal(run: Otpdrive) -> Ran {
    run.env("NO_COLOR", "1").on_a_terminal().run()
}

/// Where there is a bar, its movements taken out.
fn but_for_a_bar(text: &str, bar: bool) -> String {
    let mut text = text.to_owned();
    if bar {
        let lines = (1..9).flat_map(|n| [format!("[{n}A"), format!("[{n}B")]);
        let others = ["[2K", "[K", "[J", "[?25l", "[?25h", "[0m"].map(str::to_owned);
        for movement in lines.chain(others) {
            text = text.replace(&format!("\u{1b}{movement}"), "");
        }
        text = text.replace('\r', "");
    }
    text
}

/// Fails when there is anything but text.
#[track_caller]
fn is_plain(what: &str, text: &str) {
    let hidden = |c: char| match c {
        '\n' | '\t' => false,
        '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        _ => c.is_control(),
    };
    if let Some(at) = text.find(hidden) {
        panic!("{what}: {:?} in {text:?}", text[at..].chars().next());
    }
    assert!(!text.contains("\notpdrive: all is well"), "{what}: {text}");
}

/// A gateway that says such things in each way.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|index, _| {
        let message = format!("{NASTY} {FAKE}");
        let (status, word) = match index % 7 {
            0 => (200, "success"),
            1 => (200, "Error"),
            2 => (400, "Error"),
            3 => (500, "Error"),
            4 => (200, NASTY),
            5 => (504, "x"),
            _ => return Reply::new(200, message).header("retry-after", "\u{9b}5n"),
        };
        let body = json!({"status": word, "message": message});
        Reply::new(status, body.to_string())
    });
    stub
}

fn list() -> String {
    let lines = (0..21).map(|n| format!("{},\"{NASTY}\",sms\n", phone(n)));
    let lines: String = lines.collect();
    let unusable = format!("98765\u{1b}[31m,\"{NASTY}\",{NASTY}\n\"{FAKE}\",,\n");
    let channel = format!("{},,\"{NASTY}\"\n", phone(99));
    format!("phone,\"na{NASTY}me\",channel\n{lines}{unusable}{channel}")
}

#[test]
#[ignore = "tests/prove secrets"]
fn a_terminal_obeys_neither_a_gateway_nor_a_file() {
    let mut bytes = 0;
    let formats = ["text", "json"];
    let all = formats.map(|format| ["always", "never", "auto"].map(|progress| (format, progress)));
    for (format, progress) in all.into_iter().flatten() {
        let stub = gateway();
        let dir = Workdir::with(list());
        let what = format!("{format}, {progress}");
        let args =
            format!("-vvv --log-format {format} --progress {progress} --max-attempts 2 --yes");
        let run = || dir.send(&stub).flags(&args);
        let ran = on_a_terminal(run());
        assert_eq!(ran.code, 1, "{what}: {}", ran.stdout);
        assert!(ran.stdout.contains("answered"), "{what}: {}", ran.stdout);
        is_plain(&what, &but_for_a_bar(&ran.stdout, progress != "never"));
        bytes += ran.stdout.len();
        if format == "json" && progress == "never" {
            for line in ran.stdout.lines().filter(|line| line.starts_with('{')) {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
        let piped = run().run();
        is_plain(&what, &but_for_a_bar(&piped.stderr, progress == "always"));
        is_plain(&what, &dir.read("list-results/report.json"));
        for row in dir.results() {
            is_plain(&what, &row["otp_detail"]);
            is_plain(&what, &row["otp_reference"]);
        }
        for args in [
            "status",
            "report -vvv",
            "report --only sent,rejected,unknown,failed,invalid",
        ] {
            let ran = on_a_terminal(dir.otpdrive(&[]).flags(args));
            assert_eq!(ran.code, 0, "{what}: {}", ran.stdout);
            is_plain(args, &ran.stdout);
            bytes += ran.stdout.len();
        }
    }
    println!("{bytes} bytes on a terminal: nothing but text, and the bar's own movements");
}

#[test]
#[ignore = "tests/prove secrets"]
fn rows_that_go_to_a_file_keep_their_cells_and_on_a_terminal_are_shown() {
    let stub = Stub::start();
    // The user's cells are the user's; a gateway's message is no formula.
    stub.always(Reply::error("\u{200b}=1+1;＠x"));
    let dir = Workdir::with(format!("phone,note\n{},\"{NASTY}\n{FAKE}\"\n", phone(1)));
    dir.send(&stub).ends(1);
    let only = || dir.otpdrive(&["report", "--only", "rejected"]);
    let piped = only().ends(0);
    for row in [&rows(&piped.stdout)[0], &dir.results()[0]] {
        assert_eq!(row["note"], format!("{NASTY}\n{FAKE}"));
        assert_eq!(row["otp_detail"], "' =1+1;'＠x");
    }
    let shown = on_a_terminal(only());
    is_plain("--only", &shown.stdout);
    assert!(shown.stdout.contains("A\\u001b[31mB"), "{}", shown.stdout);
}

/// Command lines with `NAME` of a file, or anything else, that holds commands; those that send get
/// an address.
const NAMES: &str = "send NAME --campaign a\u{202e}b
send NAME --campaign ab
send NAME --campaign c --out NASTY --ledger FAKE.db
send NAME --campaign c --out outFAKE
send NAME --campaign c --out NAME
send noNAME --campaign c
send latinNAME --campaign c
send NAME
send list.csv
send list.csv --phone-column NASTY
send list.csv NAME
send list.csv --rate NAME
send list.csv --region NASTY
send list.csv --api-key-file NAME
send NAME --campaign c --ledger NAME
check NAME --campaign c --sender-id NASTY
NAME
status
status --ledger noNAME
report
report --campaign NAME
sandbox --log none/FAKE
sandbox --listen NAME";

#[test]
#[ignore = "tests/prove secrets"]
fn a_terminal_obeys_no_name() {
    let stub = Stub::start();
    let url = stub.url();
    // A slash is the only character that no name can hold.
    let name = format!("li{NASTY}{FAKE}st.csv");
    let dir = Workdir::new();
    dir.write(&name, format!("phone\n{}\n", phone(1)));
    dir.write("list.csv", format!("{NASTY},x\n1,2\n"));
    dir.write(&format!("latin{name}"), b"phone\n\xe9\n");
    let mut shown = 0;
    for line in NAMES.lines() {
        let fill = |word: &str| {
            let word = word.replace("NAME", &name);
            word.replace("NASTY", NASTY).replace("FAKE", FAKE)
        };
        let args: Vec<String> = line.split(' ').map(fill).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut run = dir.otpdrive(&args);
        if args[0] == "send" {
            run = run
                .default("--endpoint", &url)
                .default("--sender-id", "OTPDRV");
        }
        for format in ["text", "json"] {
            let ran = on_a_terminal(run.clone().args(&["--log-format", format]));
            assert!(!ran.stdout.is_empty(), "{args:?}");
            assert_ne!(ran.code, 70, "{}", ran.stdout);
            is_plain(line, &but_for_a_bar(&ran.stdout, true));
            let escapes = ["\\u001b", "\\u000d", "\\u202e"];
            shown += usize::from(escapes.iter().any(|escape| ran.stdout.contains(escape)));
            let ran = run.clone().run();
            is_plain(line, &(ran.stdout + &ran.stderr));
        }
    }
    let report = dir.read("ab-results/report.json");
    is_plain("report.json", &report);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["input"]["name"], name);
    println!("names that hold commands: {shown} outputs show them, none sends them");
    assert!(shown > 20, "{shown}");
}
