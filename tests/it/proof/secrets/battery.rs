//! Every kind of work and every failure, as loud as it can be; then every byte is looked at.

use std::time::Duration;

use serde_json::json;

use super::needles::{Allowed, KEY, KOOKOO_KEY, Needles, forms, number_forms, whole_forms};
use super::{hunt, in_parallel, loud};
use crate::proof::quick_or_long;
use crate::support::stub::{Reply, Request, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone, wait_until};

const ROWS: usize = 6;

fn code(n: usize) -> String {
    format!("q{n}Zw7K")
}

pub fn needles() -> Needles {
    let numbers: Vec<String> = (0..ROWS).map(phone).collect();
    let codes: Vec<String> = (0..ROWS).map(code).collect();
    Needles::new(&numbers, &codes)
}

/// A list for `verify`.
pub fn list() -> String {
    let lines = (0..ROWS).map(|n| format!("{},{}\n", phone(n), code(n)));
    "phone,otp\n".to_owned() + &lines.collect::<String>()
}

/// The ways to work.
const WAYS: usize = 3;
const VERIFY: usize = 2;

/// A folder with a list, and one of the three ways to work through it at this address; with short
/// waits for what goes wrong. No codes in a list for `send`: those would be the user's own columns.
fn work(way: usize, url: &str) -> (Workdir, Otpdrive) {
    let dir = Workdir::with(contacts(0..ROWS));
    let run = match way {
        0 => dir.send_to(url),
        1 => dir.send_to(url).flags("--channel call --fallback sms"),
        _ => {
            dir.write("list.csv", list());
            dir.verify_at(url).flags("--on-unknown hold")
        }
    };
    let short = "--connect-timeout 300ms --max-outage 200ms --max-attempts 2 --concurrency 4";
    let run = loud(run, &dir).flags(short).default("--timeout", "400ms");
    (dir, run)
}

/// One disguise of everything that a request holds.
fn echo(request: &Request, form: usize) -> String {
    let numbers = number_forms(&request.number[3..]);
    let some = |forms: &[String]| forms[form % forms.len()].clone();
    format!(
        "no: {} / {} / {} / {}",
        some(&forms(KEY)),
        // Another's key is known by its shape only.
        some(&whole_forms(KOOKOO_KEY)),
        some(&numbers),
        // A part of a code is none.
        some(&whole_forms(&request.otp)),
    )
}

fn said(status: u16, word: &str, message: &str) -> Reply {
    let body = json!({"status": word, "message": message});
    Reply::new(status, body.to_string())
}

/// Answers by status, word and message, in which `@` repeats the secrets; without a word the
/// message is all.
const ANSWERS: [(u16, &str, &str); 18] = [
    (200, "Error", "Authentication Error @"),
    (401, "Error", "@"),
    (403, "", "<html>@"),
    (302, "", "@"),
    (404, "no", "@"),
    (400, "Error", "@"),
    (500, "Error", "@"),
    (502, "", "@"),
    (503, "Error", "@"),
    (504, "Error", "@"),
    (429, "Error", "@"),
    (200, "Error", "too many @"),
    (200, "", "\0@\u{1b}"),
    (200, "@", "@"),
    (200, "", r#"{"status":"Error","message":{"why":["@"]}}"#),
    (200, "Error", "@"),
    (200, "success", "@"),
    (200, "Error", "OTP code verification failed @"),
];

/// The answers above, and some that say it in another manner.
const KINDS: usize = ANSWERS.len() + 6;

fn answer(kind: usize, echo: &str) -> Reply {
    let in_a_line = echo.replace(char::is_whitespace, "");
    if let Some((status, word, message)) = ANSWERS.get(kind) {
        let (word, message) = (word.replace('@', echo), message.replace('@', echo));
        let reply = match word.as_str() {
            "" => Reply::new(*status, message),
            word => said(*status, word, &message),
        };
        return match status {
            302 => reply.header("location", &format!("/{in_a_line}")),
            429 => reply.header("retry-after", &in_a_line),
            _ => reply,
        };
    }
    match kind - ANSWERS.len() {
        0 => said(200, "success", echo).half_body(),
        1 => Reply::dropped(),
        2 => Reply::reset(),
        3 => Reply::silence(),
        4 => said(200, "Error", &format!("{}{echo}", "é".repeat(180))),
        _ => said(200, "Error", &echo.repeat(2_000)),
    }
}

/// What else goes wrong: flags with which nobody answers (`STUB` speaks no TLS), system calls that
/// fail, or what becomes of stdout and stderr.
const FAILURES: [(&str, &str); 11] = [
    ("--endpoint http://127.0.0.1:9/api", ""),
    ("--endpoint STUB", ""),
    ("--endpoint https://nothing.invalid/api", ""),
    ("--endpoint STUB --proxy http://KEY:KEY@127.0.0.1:9", ""),
    ("-v", "inject=pwrite64:error=ENOSPC:when=1+"),
    ("-v", "inject=pwrite64:error=ENOSPC:when=40+"),
    ("-v", "inject=fdatasync:error=EIO:when=3+"),
    ("-v", "inject=fsync,rename,renameat2:error=EIO:when=1+"),
    ("-v", "2>&-"),
    ("-v", ">&- 2>&-"),
    ("-v", "2>/dev/full"),
];

/// A run that goes wrong so, and the codes with which it may end.
fn failing(run: Otpdrive, stub: &Stub, (flags, fails): (&str, &str)) -> (Otpdrive, &'static [i32]) {
    let https = stub.url().replace("http:", "https:");
    let run = run.flags(flags.replace("STUB", &https).replace("KEY", KOOKOO_KEY));
    match fails {
        "" => (run, &[3, 4]),
        call if call.starts_with("inject") => {
            (run.strace("/dev/null", &["-e", call]), &[0, 1, 2, 3])
        }
        closed => (
            run.in_shell(&format!("exec \"$@\" {closed}")),
            &[0, 1, 2, 3],
        ),
    }
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_answer_and_no_failure_brings_a_secret_to_light() {
    const SCENES: usize = KINDS + FAILURES.len();
    let needles = needles();
    let runs = SCENES * WAYS * quick_or_long(1, 6);
    let bytes = in_parallel(runs, |n| {
        let (scene, way) = (n % SCENES, n / SCENES % WAYS);
        let stub = Stub::start();
        stub.default(move |index, request| {
            let echo = echo(request, n * 7 + index);
            match scene {
                0..KINDS => answer(scene, &echo),
                _ => said(200, ["success", "Error"][index % 2], &echo),
            }
        });
        let format = ["text", "json"][(n + n / SCENES) % 2];
        let (dir, run) = work(way, &stub.url());
        let run = run.args(&["--log-format", format, "--progress", "always"]);
        let (run, codes): (_, &[i32]) = match scene.checked_sub(KINDS) {
            None => (run, &[0, 1, 3, 4]),
            Some(failure) => failing(run, &stub, FAILURES[failure]),
        };
        let ran = run.run();
        let what = format!("scene {scene}, way {way}, {format}");
        assert!(
            codes.contains(&ran.code),
            "{what}: {} {}",
            ran.code,
            ran.stderr
        );
        assert!(scene >= KINDS || stub.count() > 0, "{what}: {}", ran.stderr);
        let open = ["pending", "failed", "unknown"];
        let is_open = |status: &String| open.contains(&status.as_str());
        let has_results = dir.path("list-results/results.csv").exists();
        let settled = way != VERIFY || has_results && !dir.statuses().iter().any(is_open);
        let mut looked_at = hunt(&what, &dir, &ran, &needles, settled);
        for command in ["report", "status"] {
            let ran = loud(dir.otpdrive(&[command]), &dir).run();
            looked_at += hunt(&format!("{what}, {command}"), &dir, &ran, &needles, settled);
        }
        let all = "sent,verified,not_verified,rejected,failed,unknown,invalid,duplicate,pending";
        let ran = loud(dir.otpdrive(&["report", "--only", all]), &dir).run();
        // Its rows hold numbers on purpose.
        needles.are_not_in(&what, ran.stdout.as_bytes(), Allowed::Numbers);
        needles.are_not_in(&what, ran.stderr.as_bytes(), Allowed::Nothing);
        looked_at + ran.stdout.len()
    });
    let (failures, disguises) = (FAILURES.len(), forms(KEY).len());
    println!(
        "{runs} runs over {KINDS} kinds of answers that repeat the secrets in one of {disguises} \
         forms, and {failures} other failures: none in {bytes} bytes"
    );
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_signal_brings_a_secret_to_light() {
    let needles = needles();
    in_parallel(6, |n| {
        let stub = Stub::start();
        stub.hold();
        let (dir, run) = work(n % 2 * VERIFY, &stub.url());
        let mut running = run.clone().args(&["--timeout", "10s"]).start();
        stub.wait_for(4);
        // Another run finds the ledger held.
        hunt("held", &dir, &run.ends(5), &needles, false);
        match n / 2 {
            0 => {
                running.signal("TERM");
                stub.release();
            }
            1 => {
                running.signal("TERM");
                std::thread::sleep(Duration::from_millis(50));
                running.signal("TERM");
                wait_until("it ended", || running.has_ended());
            }
            _ => running.signal("KILL"),
        }
        hunt("signal", &dir, &running.end_soon(), &needles, false);
        for command in ["report", "status"] {
            let ran = loud(dir.otpdrive(&[command]), &dir).run();
            hunt("after a signal", &dir, &ran, &needles, false);
        }
        stub.release();
        0
    });
}

#[test]
#[ignore = "tests/prove secrets"]
fn what_is_looked_for_is_found() {
    let needles = needles();
    let numbers = number_forms(&phone(2)).into_iter();
    // These two are read as spaces by nobody but people.
    let numbers = numbers.filter(|form| !form.contains("%20") && !form.contains('\u{a0}'));
    let codes = [code(1), code(1).to_uppercase()];
    let keys = [forms(KEY), forms(KOOKOO_KEY)].concat().into_iter();
    for text in keys.chain(numbers).chain(codes) {
        let found = needles.find(format!("a {text} b").as_bytes(), Allowed::Nothing);
        assert!(found.is_some(), "{text}");
    }
    let line = b"an ordinary line 2026-11-25T19:00:00.123456Z";
    needles.are_not_in("", line, Allowed::Nothing);
}
