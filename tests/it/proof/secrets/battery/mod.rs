//! Every command and every failure, as loud as it can be; then every byte is looked at.

mod answers;
mod refusals;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::needles::{KEY, KOOKOO_KEY, Needles, forms, number_forms};
use super::{hunt, loud};
use crate::support::stub::{self, Stub};
use crate::support::wait_until;
use crate::support::workdir::{Otpdrive, Workdir};
use answers::{echo, said};

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

/// Codes that may still be checked stay in the ledger.
fn codeless() -> Needles {
    Needles::new(&(0..ROWS).map(number).collect::<Vec<_>>(), &[])
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

/// Runs a command in a bad place.
type Outer = dyn Fn(Otpdrive) -> Otpdrive + Sync;

fn fill(dir: &Workdir, way: usize) {
    dir.write("list.csv", if way == 2 { list() } else { contacts() });
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
        let what = format!("{name}, way {way}");
        hunt(&what, &dir, Some(&ran), &codeless());
        needles.are_not_in(&what, ran.stderr.as_bytes(), true);
    });
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_signal_brings_a_secret_to_light() {
    let needles = needles();
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
        hunt("held", &dir, Some(&held), &codeless());
        needles.are_not_in("held", held.stderr.as_bytes(), true);
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
        let ran = running.end_soon();
        hunt("signal", &dir, Some(&ran), &codeless());
        for args in [&["report"][..], &["status"]] {
            let ran = loud(dir.otpdrive(args), &dir).run();
            hunt("after a signal", &dir, Some(&ran), &codeless());
            needles.are_not_in("after a signal", ran.stderr.as_bytes(), true);
        }
        stub.release();
    });
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_broken_disk_and_no_closed_screen_brings_a_secret_to_light() {
    let needles = needles();
    let broken = |calls| {
        Box::new(move |run: Otpdrive| run.strace("/dev/null", &["-e", calls])) as Box<Outer>
    };
    let closed = |how| Box::new(move |run: Otpdrive| run.in_shell(&format!("exec \"$@\" {how}")));
    let outers: [(&str, Box<Outer>); 7] = [
        ("no room", broken("inject=pwrite64:error=ENOSPC:when=1+")),
        (
            "no room later",
            broken("inject=pwrite64:error=ENOSPC:when=40+"),
        ),
        ("no sync", broken("inject=fdatasync:error=EIO:when=3+")),
        (
            "no names",
            broken("inject=fsync,rename,renameat2:error=EIO:when=1+"),
        ),
        ("no stderr", closed("2>&-")),
        ("no output", closed(">&- 2>&-")),
        ("a full stderr", closed("2>/dev/full")),
    ];
    in_parallel(outers.len() * 2, |n| {
        let ((what, outer), way) = (&outers[n / 2], n % 2 * 2);
        let stub = Stub::start();
        stub.default(|index, request| {
            said(200, ["success", "Error"][index % 2], &echo(request, index))
        });
        let dir = Workdir::new();
        fill(&dir, way);
        let ran = outer(loud(work(&dir, way, &stub.url()), &dir)).run();
        assert!(
            (0..4).contains(&ran.code),
            "{what}: {} {}",
            ran.code,
            ran.stderr
        );
        hunt(what, &dir, Some(&ran), &codeless());
        for text in [&ran.stdout, &ran.stderr] {
            needles.are_not_in(what, text.as_bytes(), true);
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
