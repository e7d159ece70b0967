//! Every command and every failure, as loud as it can be; then every byte is looked at.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::needles::{KEY, KOOKOO_KEY, Needles, forms, number_forms};
use super::{hunt, loud};
use crate::proof::quick_or_long;
use crate::support::stub::{self, Reply, Request, Stub};
use crate::support::wait_until;
use crate::support::workdir::{Otpdrive, Workdir};

const ROWS: usize = 6;

fn number(n: usize) -> String {
    format!("98437{:05}", 26_153 + n)
}

fn code(n: usize) -> String {
    format!("q{n}Zw7K")
}

fn list() -> String {
    let lines = (0..ROWS).map(|n| format!("{},{}\n", number(n), code(n)));
    "phone,otp\n".to_owned() + &lines.collect::<String>()
}

/// A list for `send`: no codes in it, for those would be the user's own columns.
fn contacts() -> String {
    let lines = (0..ROWS).map(|n| number(n) + "\n");
    "phone\n".to_owned() + &lines.collect::<String>()
}

fn needles() -> Needles {
    let numbers: Vec<String> = (0..ROWS).map(number).collect();
    let codes: Vec<String> = (0..ROWS).map(code).collect();
    Needles::new(&numbers, &codes)
}

/// One disguise of everything that a request holds.
fn echo(request: &Request, form: usize) -> String {
    let keys = forms(KEY);
    let national = &request.number[3..];
    let numbers = number_forms(national);
    let codes = if request.otp.is_empty() {
        vec![String::new()]
    } else {
        forms(&request.otp)
    };
    // What a code is in base64 or in hex is not looked for: too short to be told from words.
    let codes = &codes[..codes.len().min(16)];
    format!(
        "no: {} / {} / {} / {}",
        keys[form % keys.len()],
        forms(KOOKOO_KEY)[form % 16],
        numbers[form % numbers.len()],
        codes[form % codes.len()],
    )
}

type Failure = (&'static str, fn(&str) -> Reply);

/// What comes back, given a text that repeats the secrets.
const ANSWERS: &[Failure] = &[
    ("authentication error", |e| {
        said(200, "Error", &format!("Authentication Error {e}"))
    }),
    ("401", |e| said(401, "Error", e)),
    ("403 with a page", |e| Reply::new(403, format!("<html>{e}"))),
    ("302", |e| {
        Reply::new(302, e).header(
            "location",
            &format!("/{}", e.replace(char::is_whitespace, "")),
        )
    }),
    ("404", |e| said(404, "no", e)),
    ("400 with an error", |e| said(400, "Error", e)),
    ("500", |e| said(500, "Error", e)),
    ("502 with a page", |e| Reply::new(502, e)),
    ("503", |e| said(503, "Error", e)),
    ("504", |e| said(504, "Error", e)),
    ("429", |e| {
        said(429, "Error", e).header("retry-after", &e.replace(char::is_whitespace, ""))
    }),
    ("too many", |e| said(200, "Error", &format!("too many {e}"))),
    ("garbage", |e| Reply::new(200, format!("\u{0}{e}\u{1b}"))),
    ("an unknown word", |e| said(200, e, e)),
    ("a message that is no text", |e| {
        Reply::new(
            200,
            json!({"status": "Error", "message": {"why": [e]}}).to_string(),
        )
    }),
    ("half an answer", |e| said(200, "success", e).half_body()),
    ("dropped", |_| Reply::dropped()),
    ("reset", |_| Reply::reset()),
    ("silence", |_| Reply::silence()),
    ("rejected", |e| said(200, "Error", e)),
    ("accepted", |e| said(200, "success", e)),
    ("wrong code", |e| {
        said(200, "Error", &format!("OTP code verification failed {e}"))
    }),
    ("a long text", |e| {
        said(200, "Error", &format!("{}{e}", "é".repeat(180)))
    }),
    ("too long a text", |e| said(200, "Error", &e.repeat(2_000))),
];

fn said(status: u16, word: &str, message: &str) -> Reply {
    Reply::new(
        status,
        json!({"status": word, "message": message}).to_string(),
    )
}

/// Short waits for what goes wrong.
fn short(command: Otpdrive) -> Otpdrive {
    command
        .default("--timeout", "400ms")
        .default("--connect-timeout", "300ms")
        .default("--max-outage", "200ms")
        .default("--max-attempts", "2")
        .default("--concurrency", "4")
}

/// Works through the numbers below `count` on a few threads.
fn in_parallel(count: usize, each: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    each(n);
                }
            });
        }
    });
}

/// The three ways to work, to this address.
fn work(dir: &Workdir, way: usize, url: &str) -> Otpdrive {
    let stub_url = url.to_owned();
    let send = || short(dir.send_to(&stub_url));
    match way {
        0 => send(),
        1 => send().args(&["--channel", "call", "--fallback", "sms"]),
        _ => short(
            dir.otpdrive(&["verify", "list.csv"])
                .default("--endpoint", url)
                .default("--rate", "unlimited")
                .default("--backoff", "1ms..5ms")
                .default("--on-unknown", "hold"),
        ),
    }
}

fn fill(dir: &Workdir, way: usize) {
    dir.write("list.csv", if way == 2 { list() } else { contacts() });
}

/// Then the other commands, and a look at everything.
fn aftermath(what: &str, dir: &Workdir, needles: &Needles) -> usize {
    let mut looked_at = 0;
    for args in [&["report"][..], &["status"]] {
        let ran = loud(dir.otpdrive(args), dir).run();
        looked_at += hunt(&format!("{what}, {args:?}"), dir, Some(&ran), needles);
    }
    let all = "sent,verified,not_verified,rejected,failed,unknown,invalid,duplicate,pending";
    let ran = loud(dir.otpdrive(&["report", "--only", all]), dir).run();
    // Its rows hold numbers on purpose.
    needles.are_not_in(what, ran.stdout.as_bytes(), false);
    needles.are_not_in(what, ran.stderr.as_bytes(), true);
    looked_at + ran.stdout.len()
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_answer_of_a_gateway_brings_a_secret_back_to_light() {
    let needles = needles();
    let (runs, bytes, forms_seen) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let rounds = quick_or_long(1, 6);
    in_parallel(ANSWERS.len() * 3 * rounds, |n| {
        let (name, reply) = ANSWERS[n % ANSWERS.len()];
        let way = n / ANSWERS.len() % 3;
        let stub = Stub::start();
        let first = n * 7;
        stub.default(move |index, request| reply(&echo(request, first + index)));
        let dir = Workdir::new();
        fill(&dir, way);
        let format = ["text", "json"][(n + n / ANSWERS.len()) % 2];
        let what = format!("{name}, way {way}, {format}");
        let run = loud(work(&dir, way, &stub.url()), &dir);
        let ran = run
            .args(&["--log-format", format, "--progress", "always"])
            .run();
        assert!(
            [0, 1, 3, 4].contains(&ran.code),
            "{what}: {} {}",
            ran.code,
            ran.stderr
        );
        assert!(stub.count() > 0, "{what}: {}", ran.stderr);
        // Codes that may still be checked stay in the ledger; those are looked for elsewhere.
        let unsettled =
            way == 2 && ran.code != 0 && !["rejected", "wrong code", "a long text"].contains(&name);
        if unsettled {
            let codeless = Needles::new(&(0..ROWS).map(number).collect::<Vec<_>>(), &[]);
            bytes.fetch_add(hunt(&what, &dir, Some(&ran), &codeless), Ordering::Relaxed);
            for text in [
                &ran.stdout,
                &ran.stderr,
                &dir.read("list-results/results.csv"),
                &dir.read("list-results/report.json"),
            ] {
                needles.are_not_in(&what, text.as_bytes(), false);
            }
        } else {
            bytes.fetch_add(hunt(&what, &dir, Some(&ran), &needles), Ordering::Relaxed);
            bytes.fetch_add(aftermath(&what, &dir, &needles), Ordering::Relaxed);
        }
        runs.fetch_add(1, Ordering::Relaxed);
        forms_seen.fetch_add(stub.count(), Ordering::Relaxed);
    });
    println!(
        "{} runs over {} kinds of answers, {} answers that repeat the secrets in one of {} forms: none in {} bytes",
        runs.into_inner(),
        ANSWERS.len(),
        forms_seen.into_inner(),
        forms(KEY).len(),
        bytes.into_inner()
    );
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_network_that_fails_brings_a_secret_to_light() {
    let needles = needles();
    let stub = Stub::start();
    let plain = stub.url().replace("http:", "https:");
    let down = stub::url(Stub::nowhere());
    let proxy_down = format!("http://{KOOKOO_KEY}:{KOOKOO_KEY}@{}", Stub::nowhere());
    let cases: &[(&str, &str, &[&str])] = &[
        ("down", &down, &[]),
        ("no TLS", &plain, &[]),
        ("no such name", "https://nothing.invalid/api", &[]),
        (
            "proxy down",
            "https://nothing.invalid/api",
            &["--proxy", &proxy_down],
        ),
    ];
    in_parallel(cases.len() * 3, |n| {
        let (name, url, args) = cases[n % cases.len()];
        let way = n / cases.len();
        let dir = Workdir::new();
        fill(&dir, way);
        let format = ["text", "json"][n % 2];
        let run = loud(work(&dir, way, url), &dir).args(args);
        let ran = run.args(&["--log-format", format]).ends(3);
        let codeless = Needles::new(&(0..ROWS).map(number).collect::<Vec<_>>(), &[]);
        let what = format!("{name}, way {way}");
        hunt(&what, &dir, Some(&ran), &codeless);
        needles.are_not_in(&what, ran.stderr.as_bytes(), true);
    });
}

#[test]
#[ignore = "tests/prove secrets"]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn no_refusal_to_start_repeats_a_secret() {
    let needles = needles();
    let odd = number(3);
    let two_columns = format!("phone,mobile\n{odd},{odd}\n");
    let open_quote = format!("phone,name\n{odd},\"x\n{odd},y\n");
    let wrong = format!("name,x {odd},{odd}1,98437 2615,9843726\na,b,c,d,e\n");
    let binary = [b"phone\n".as_slice(), odd.as_bytes(), b"\xff\xfe\n"].concat();
    let useless = format!("phone\n{odd}9\n{odd}8\n{odd}7,{odd}\n");
    let key_urls = [
        format!("https://kookoo.in/api?api_key={KEY}"),
        format!("https://kookoo.in/api?api_key={KOOKOO_KEY}"),
        format!("https://me:{KEY}@kookoo.in/"),
        format!("https://kookoo.in:{KEY}/"),
        format!("{KEY}://x"),
        format!("https://[{KOOKOO_KEY}]/"),
        KEY.to_owned(),
        KOOKOO_KEY.to_owned(),
        format!("http://{KOOKOO_KEY}.example/"),
    ];
    let mut cases: Vec<(Vec<&str>, bool)> = Vec::new();
    for url in &key_urls {
        cases.push((vec!["send", "list.csv", "--endpoint", url], true));
        cases.push((
            vec![
                "verify",
                "list.csv",
                "--proxy",
                url,
                "--endpoint",
                "http://127.0.0.1:9/",
                "--max-outage",
                "1ms",
            ],
            true,
        ));
    }
    for key in [KEY, KOOKOO_KEY] {
        for args in [
            &["send", "list.csv", "--api-key", key][..],
            &["send", "list.csv", key],
            &["send", key],
            &["send", "list.csv", "--rate", key],
            &["send", "list.csv", "--region", key],
            &["send", "list.csv", "--channel", key],
            &["send", "list.csv", "--phone-column", key],
            &["send", "list.csv", "--campaign", key, "--endpoint", "x"],
            &[
                "send",
                "list.csv",
                "--ledger",
                "none/none",
                "--sender-id",
                key,
            ],
            &["verify", key],
            &["check", "list.csv", "--delimiter", key],
            &["report", key],
            &["status", "--log-format", key],
            &["sandbox", "--listen", key],
            &[key],
        ] {
            cases.push((args.to_vec(), true));
        }
    }
    cases.push((vec!["sandbox", "--faults", KOOKOO_KEY], true));
    // Given the key instead of the name of its file.
    cases.push((
        vec!["send", "list.csv", "--api-key-file", "kEy+Q7-9x&Wv~3-pL%2"],
        true,
    ));
    for file in ["newline", "empty", "binary", "folder", "none"] {
        cases.push((vec!["send", "list.csv", "--api-key-file", file], true));
        cases.push((
            vec!["sandbox", "--listen", "127.0.0.1:0", "--api-key-file", file],
            true,
        ));
    }
    for file in ["two", "quote", "wrong", "bin", "useless", "folder"] {
        cases.push((vec!["send", file], true));
        cases.push((vec!["verify", file], true));
        cases.push((vec!["check", file], true));
        cases.push((vec!["check", file, "--phone-column", &odd], false));
    }
    for args in [
        &["send", "list.csv", "--ledger", "folder"][..],
        &["send", "list.csv", "--ledger", "list.csv"],
        &["send", "list.csv", "--out", "list.csv"],
        &["report", "--ledger", "list.csv"],
        &["report", "--campaign", KOOKOO_KEY],
        &["status"],
    ] {
        cases.push((args.to_vec(), true));
    }
    for args in [
        &["--help"][..],
        &["--version"],
        &["send", "--help"],
        &["report", "--schema"],
    ] {
        cases.push((args.to_vec(), true));
    }
    let count = AtomicUsize::new(0);
    in_parallel(cases.len(), |n| {
        let (args, numbers_too) = &cases[n];
        let dir = Workdir::with(list());
        dir.write("two", &two_columns);
        dir.write("quote", &open_quote);
        dir.write("wrong", &wrong);
        dir.write("bin", &binary);
        dir.write("useless", &useless);
        dir.write("newline", format!("{}\n{}\n", &KEY[..12], &KEY[12..]));
        dir.write("empty", "\n");
        dir.write("binary", [b"\xff", KEY.as_bytes()].concat());
        std::fs::create_dir(dir.path("folder")).unwrap();
        let ran = loud(dir.otpdrive(args), &dir).default("--sender-id", "OTPDRV");
        let ran = if ["send", "verify"].contains(&args[0]) {
            ran
        } else {
            ran.without("--sender-id")
        };
        let ran = if args[0] == "verify" {
            ran.without("--sender-id")
        } else {
            ran
        };
        let ran = ran.run();
        let what = format!("{args:?}");
        assert!(ran.code <= 3, "{what}: {}", ran.stderr);
        for text in [&ran.stdout, &ran.stderr] {
            needles.are_not_in(&what, text.as_bytes(), *numbers_too);
        }
        for name in dir.names().iter().filter(|name| name.contains(".db")) {
            // Codes are in it: nothing was checked.
            let bytes = std::fs::read(dir.path(name)).unwrap();
            Needles::new(&[], &[]).are_not_in(&what, &bytes, false);
        }
        count.fetch_add(1, Ordering::Relaxed);
    });
    println!(
        "{} refusals and helps: no secret in any",
        count.into_inner()
    );
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_signal_brings_a_secret_to_light() {
    let needles = needles();
    let codeless = Needles::new(&(0..ROWS).map(number).collect::<Vec<_>>(), &[]);
    in_parallel(6, |n| {
        let way = n % 2 * 2;
        let stub = Stub::start();
        stub.hold();
        let dir = Workdir::new();
        fill(&dir, way);
        let mut running = loud(work(&dir, way, &stub.url()), &dir)
            .args(&["--timeout", "10s"])
            .start();
        stub.wait_for(4);
        // Another run finds the ledger held.
        let held = loud(work(&dir, way, &stub.url()), &dir).ends(5);
        hunt("held", &dir, Some(&held), &codeless);
        needles.are_not_in("held", held.stderr.as_bytes(), true);
        match n / 2 {
            0 => {
                running.signal("TERM");
                stub.release();
            }
            1 => {
                running.signal("TERM");
                std::thread::sleep(std::time::Duration::from_millis(50));
                running.signal("TERM");
                wait_until("it ended", || running.has_ended());
            }
            _ => running.signal("KILL"),
        }
        let ran = running.end_soon();
        hunt("signal", &dir, Some(&ran), &codeless);
        for args in [&["report"][..], &["status"]] {
            let ran = loud(dir.otpdrive(args), &dir).run();
            hunt("after a signal", &dir, Some(&ran), &codeless);
            needles.are_not_in("after a signal", ran.stderr.as_bytes(), true);
        }
        stub.release();
    });
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_broken_disk_and_no_closed_screen_brings_a_secret_to_light() {
    let needles = needles();
    let codeless = Needles::new(&(0..ROWS).map(number).collect::<Vec<_>>(), &[]);
    let broken = |calls: &str| {
        let strace = "strace -f -qq -o /dev/null -e"
            .split(' ')
            .map(str::to_owned);
        strace.chain([calls.to_owned()]).collect::<Vec<_>>()
    };
    let closed = |how: &str| {
        let script = format!("exec \"$@\" {how}");
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    };
    let outers = [
        broken("inject=pwrite64:error=ENOSPC:when=1+"),
        broken("inject=pwrite64:error=ENOSPC:when=40+"),
        broken("inject=fdatasync:error=EIO:when=3+"),
        broken("inject=fsync,rename,renameat2:error=EIO:when=1+"),
        closed("2>&-"),
        closed(">&- 2>&-"),
        closed("2>/dev/full"),
    ];
    in_parallel(outers.len() * 2, |n| {
        let (outer, way) = (&outers[n / 2], n % 2 * 2);
        let stub = Stub::start();
        stub.default(|index, request| {
            said(200, ["success", "Error"][index % 2], &echo(request, index))
        });
        let dir = Workdir::new();
        fill(&dir, way);
        let outer: Vec<&str> = outer.iter().map(String::as_str).collect();
        let ran = loud(work(&dir, way, &stub.url()), &dir).under(&outer).run();
        assert!(
            (0..4).contains(&ran.code),
            "{outer:?}: {} {}",
            ran.code,
            ran.stderr
        );
        hunt(&format!("{outer:?}"), &dir, Some(&ran), &codeless);
        for text in [&ran.stdout, &ran.stderr] {
            needles.are_not_in(&format!("{outer:?}"), text.as_bytes(), true);
        }
    });
}

#[test]
#[ignore = "tests/prove secrets"]
fn what_is_looked_for_is_found() {
    let needles = needles();
    let missed: Vec<String> = forms(KEY)
        .into_iter()
        .chain(forms(KOOKOO_KEY))
        .chain(
            number_forms(&number(2))
                .into_iter()
                .filter(|form| !form.contains("%20") && !form.contains('\u{a0}')),
        )
        .chain([code(1), code(1).to_uppercase()])
        .filter(|text| {
            needles
                .find(format!("a {text} b").as_bytes(), true)
                .is_none()
        })
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
    needles.are_not_in("", b"an ordinary line 2026-11-25T19:00:00.123456Z", true);
}
