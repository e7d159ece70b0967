//! Answers that repeat what the request held, in every disguise.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::needles::{KEY, KOOKOO_KEY, Needles, forms, number_forms, whole_forms};
use super::super::{hunt, loud};
use super::{codeless, fill, in_parallel, needles, work};
use crate::proof::quick_or_long;
use crate::support::stub::{Reply, Request, Stub};
use crate::support::workdir::Workdir;

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

pub fn said(status: u16, word: &str, message: &str) -> Reply {
    Reply::new(
        status,
        json!({"status": word, "message": message}).to_string(),
    )
}

/// One disguise of everything that a request holds.
pub fn echo(request: &Request, form: usize) -> String {
    let keys = forms(KEY);
    let national = &request.number[3..];
    let numbers = number_forms(national);
    let others = whole_forms(KOOKOO_KEY);
    let codes = if request.otp.is_empty() {
        vec![String::new()]
    } else {
        whole_forms(&request.otp)
    };
    format!(
        "no: {} / {} / {} / {}",
        keys[form % keys.len()],
        others[form % others.len()],
        numbers[form % numbers.len()],
        codes[form % codes.len()],
    )
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
        // Codes in the ledger are the matter of `codes`.
        let unsettled =
            way == 2 && ran.code != 0 && !["rejected", "wrong code", "a long text"].contains(&name);
        if unsettled {
            bytes.fetch_add(
                hunt(&what, &dir, Some(&ran), &codeless()),
                Ordering::Relaxed,
            );
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
