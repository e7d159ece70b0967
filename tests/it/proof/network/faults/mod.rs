//! Bad answers: each is given to one number among many that are answered well, by SMS, by call and
//! for a code; then the gateway is well again and the same command runs once more.

#[rustfmt::skip]
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wire::{Asked, Line, Wire, accepted, answer};
use super::{answers_are_everybodys_own, the_key_is_nowhere};
use crate::support::phone;
use crate::support::workdir::{Otpdrive, Workdir};

/// `--timeout` here: long enough for a good answer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What an answer means for its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Accepted,
    Rejected,
    Failed,
    Unknown,
}

impl Means {
    fn status(self, lane: &str) -> &'static str {
        match self {
            Self::Accepted if lane == "verify" => "verified",
            Self::Accepted => "sent",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Requests in a run with two tries, and in the next run, when all is well. A code may be
    /// checked twice; an OTP of unknown fate is never sent again.
    fn requests(self, lane: &str) -> [usize; 2] {
        match self {
            Self::Failed => [2, 1],
            Self::Unknown if lane == "verify" => [2, 1],
            Self::Accepted | Self::Rejected | Self::Unknown => [1, 0],
        }
    }
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It is kept alive.
    Keep,
    /// Closed.
    Fin,
    /// Reset.
    Rst,
    /// Nothing more is said and it stays open.
    Hang,
}

/// One row of the table. `{ok}` in an answer is the API's acceptance of this very number, `{n}`
/// that body's length, `{head}` the request as it came, key and all.
struct Fault {
    name: &'static str,
    means: Means,
    /// Said one after the other, with this pause before each.
    pieces: Vec<Vec<u8>>,
    pause: Duration,
    /// Every byte is a piece.
    drip: bool,
    after: After,
    /// The request is answered before it is read, and never read.
    unread: bool,
}

impl Fault {
    fn play(&self, line: &mut Line, asked: &Asked) {
        for piece in &self.pieces {
            let piece = filled(piece, asked);
            let size = if self.drip { 1 } else { piece.len().max(1) };
            for bytes in piece.chunks(size) {
                std::thread::sleep(self.pause);
                if !line.say(bytes) {
                    return;
                }
            }
        }
        match self.after {
            After::Keep | After::Fin => {}
            After::Rst => line.reset(),
            After::Hang => line.wait_for_close(),
        }
    }
}

/// The bytes with their placeholders filled in.
fn filled(bytes: &[u8], asked: &Asked) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.to_vec();
    };
    if !text.contains('{') {
        return bytes.to_vec();
    }
    let ok = accepted(&asked.phone);
    let head = asked.head.replace(['\r', '\n', '"'], " ");
    text.replace("{n}", &ok.len().to_string())
        .replace("{n16}", &format!("{:x}", ok.len()))
        .replace("{ok}", &ok)
        .replace("{half}", &ok[..ok.len() / 2])
        .replace("{head}", &head)
        .into_bytes()
}

/// Two numbers that are answered well follow each fault, so that no streak looks like an outage.
fn number_of(fault: usize) -> String {
    phone(3 * fault + 1)
}

/// A gateway with these faults, until it is told to be well.
fn gateway(faults: Vec<Fault>, well: Arc<AtomicBool>) -> Wire {
    let faults: HashMap<String, Fault> = faults
        .into_iter()
        .enumerate()
        .map(|(n, fault)| (number_of(n), fault))
        .collect();
    Wire::start(move |line| {
        while let Some(asked) = line.glimpse() {
            let fault = faults.get(&asked.phone);
            let fault = fault.filter(|_| !well.load(Ordering::SeqCst));
            if fault.is_none_or(|fault| !fault.unread) {
                line.take();
            }
            match fault {
                None => {
                    line.say(answer("200 OK", &accepted(&asked.phone)));
                }
                Some(fault) => {
                    fault.play(line, &asked);
                    if fault.after != After::Keep {
                        return;
                    }
                }
            }
        }
    })
}

fn command(dir: &Workdir, lane: &str, wire: &Wire) -> Otpdrive {
    let timeout = format!("{}ms", TIMEOUT.as_millis());
    let command = if lane == "verify" {
        dir.otpdrive(&["verify", "list.csv"])
            .default("--endpoint", &wire.http())
            .default("--rate", "unlimited")
            .default("--backoff", "1ms..5ms")
    } else {
        dir.send_to(&wire.http()).args(&["--channel", lane])
    };
    command
        .args(&["--concurrency", "16", "--max-attempts", "2", "-vvv"])
        .args(&["--max-outage", "3s"])
        .args(&["--timeout", &timeout, "--connect-timeout", "1s"])
}

/// Runs all faults at once, then all again with the gateway well.
fn try_out(lane: &str) {
    let faults = table::faults();
    let rows: Vec<_> = faults.iter().map(|f| (f.name, f.means)).collect();
    let well = Arc::new(AtomicBool::new(false));
    let wire = gateway(faults, Arc::clone(&well));
    let cell = if lane == "verify" { ",4711" } else { "" };
    let head = if lane == "verify" { ",otp" } else { "" };
    let lines = (0..3 * rows.len()).map(|n| format!("{}{cell}\n", phone(n)));
    let dir = Workdir::with(format!("phone{head}\n") + &lines.collect::<String>());

    let ran = command(&dir, lane, &wire).ends(1);
    the_key_is_nowhere(&dir, &ran);
    let results = dir.results();
    answers_are_everybodys_own(&results);
    let mut wrong = Vec::new();
    for (n, (name, means)) in rows.iter().enumerate() {
        let row = &results[3 * n + 1];
        let found = (
            row["otp_status"].as_str(),
            wire.count_for(&number_of(n)),
            row["otp_attempts"].clone(),
        );
        let [first, _] = means.requests(lane);
        if found != (means.status(lane), first, first.to_string()) {
            wrong.push(format!(
                "{name}: {means:?} it should be, {found:?} it is, {}",
                row["otp_detail"]
            ));
        }
        for well in [3 * n, 3 * n + 2] {
            let status = results[well]["otp_status"].as_str();
            if (status, wire.count_for(&phone(well))) != (Means::Accepted.status(lane), 1) {
                let detail = &results[well]["otp_detail"];
                wrong.push(format!("beside {name}: {status}, {detail}"));
            }
        }
    }

    well.store(true, Ordering::SeqCst);
    wire.forget();
    let ran = command(&dir, lane, &wire).run();
    the_key_is_nowhere(&dir, &ran);
    let results = dir.results();
    answers_are_everybodys_own(&results);
    for (n, (name, means)) in rows.iter().enumerate() {
        let row = &results[3 * n + 1];
        let [_, second] = means.requests(lane);
        let now = if second == 1 { Means::Accepted } else { *means };
        let found = (row["otp_status"].as_str(), wire.count_for(&number_of(n)));
        if found != (now.status(lane), second) {
            wrong.push(format!("{name}, again: {found:?}"));
        }
        for settled in [3 * n, 3 * n + 2] {
            if wire.count_for(&phone(settled)) > 0 {
                wrong.push(format!("beside {name}: sent again"));
            }
        }
    }
    assert!(wrong.is_empty(), "{lane}\n{}", wrong.join("\n"));
    println!(
        "{lane}: {} faults, each with its verdict, its requests and its second run",
        rows.len()
    );
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_an_sms_has_its_verdict_and_is_not_repeated_unasked() {
    try_out("sms");
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_a_call_has_its_verdict_and_is_not_repeated_unasked() {
    try_out("call");
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_a_code_has_its_verdict() {
    try_out("verify");
}

#[test]
#[ignore = "tests/prove network"]
fn a_refused_key_is_believed_even_when_the_rest_of_the_answer_never_comes() {
    for (status, after) in [
        ("401 No", After::Fin),
        ("401 No", After::Rst),
        ("403 No", After::Hang),
    ] {
        let fault = Fault {
            name: status,
            means: Means::Unknown,
            pieces: vec![format!("HTTP/1.1 {status}\r\ncontent-length: 900\r\n\r\n{{").into()],
            pause: Duration::ZERO,
            after,
            drip: false,
            unread: false,
        };
        let well = Arc::new(AtomicBool::new(false));
        let wire = gateway(vec![fault], Arc::clone(&well));
        let dir = Workdir::with(format!("phone\n{}\n{}\n", phone(1), phone(2)));
        let ran = command(&dir, "sms", &wire).args(&["--limit", "1"]).ends(4);
        the_key_is_nowhere(&dir, &ran);
        assert_eq!(dir.statuses(), ["pending", "pending"], "{status} {after:?}");
        well.store(true, Ordering::SeqCst);
        command(&dir, "sms", &wire).ends(0);
        assert_eq!(wire.count_for(&phone(1)), 2);
        assert_eq!(wire.count_for(&phone(2)), 1);
    }
}
