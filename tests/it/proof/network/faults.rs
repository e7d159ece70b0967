//! Bad answers (`faults.txt`): each is given to one number among many that are answered well, by
//! SMS, by call, for a code, and over TLS; then the gateway is well again and the same command runs
//! once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use super::{accepted, answer, results};
use crate::support::authority::{Authority, Config, Version, trusting};
use crate::support::wire::{Line, Request, Wire};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{e164, phone};

/// A row of the table, which says what the columns mean.
#[derive(Clone, Copy)]
struct Fault {
    means: &'static str,
    how: &'static str,
    name: &'static str,
    bytes: &'static str,
}

impl Fault {
    fn new(line: &'static str) -> Self {
        let mut cells = line.splitn(4, '|').map(str::trim);
        let [means, how, name, bytes] = [(); 4].map(|()| cells.next().unwrap());
        Self {
            means,
            how,
            name,
            bytes,
        }
    }

    /// The rows that can be played with TLS or without.
    fn all(with_tls: bool) -> Vec<Self> {
        let lines = include_str!("faults.txt").lines();
        let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_here = |row: &Self| !row.is(if with_tls { "unread" } else { "below" });
        rows.map(Self::new).filter(is_here).collect()
    }

    fn is(&self, word: &str) -> bool {
        self.how.split(' ').any(|how| how == word)
    }

    fn millis(&self, word: &str) -> Option<Duration> {
        let mut words = self.how.split(' ');
        let millis = words.find_map(|how| how.strip_prefix(word)?.strip_prefix('='));
        millis.map(|millis| Duration::from_millis(millis.parse().unwrap()))
    }

    /// The status of a number that gets this answer on this lane.
    fn status(&self, lane: &str, with_tls: bool) -> &'static str {
        match (self.means, lane) {
            _ if self.is("cut") && with_tls => "unknown",
            ("accepted", "verify") => "verified",
            ("accepted", _) => "sent",
            (means, _) => means,
        }
    }

    fn play(&self, line: &mut Line, asked: &Request) {
        let bytes = filled(self.bytes, asked);
        std::thread::sleep(self.millis("late").unwrap_or_default());
        if let Some(pause) = self.millis("drip") {
            let mut bytes = bytes.into_iter();
            while bytes.next().is_some_and(|byte| line.say([byte])) {
                std::thread::sleep(pause);
            }
        } else if self.is("below") {
            // Whether the other side is still there is its business.
            let _ = std::io::Write::write_all(&mut line.socket, &bytes);
        } else {
            line.say(bytes);
        }
        match () {
            () if self.is("rst") => line.reset(),
            () if self.is("hang") => line.wait_for_close(),
            () if self.is("notify") => line.close_notify(),
            () => {}
        }
    }
}

/// The bytes that a text of the table stands for.
fn filled(text: &str, asked: &Request) -> Vec<u8> {
    let mut parts = text.split('{');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let repeated = part.split_once('*').and_then(|(times, rest)| {
            let (unit, rest) = rest.split_once('}')?;
            Some(unit.repeat(times.parse().ok()?) + rest)
        });
        whole += &repeated.unwrap_or_else(|| format!("{{{part}"));
    }
    let ok = accepted(&asked.number);
    let whole = whole
        .replace("{n}", &ok.len().to_string())
        .replace("{n16}", &format!("{:x}", ok.len()))
        .replace("{ok}", &ok)
        .replace("{half}", &ok[..ok.len() / 2])
        .replace("{head}", &asked.head.replace(['\r', '\n', '"'], " "))
        .replace("\\r", "\r")
        .replace("\\n", "\n")
        .replace("\\0", "\0");
    // What is no text is there as `\xff`.
    let mut parts = whole.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// A gateway with these faults, until it is told to be well. Two numbers that are answered well
/// stand beside each fault, so that no streak looks like an outage.
fn gateway(faults: Vec<Fault>, tls: Option<Config>, well: Arc<AtomicBool>) -> Wire {
    Wire::start(move |line| {
        if let Some(config) = &tls {
            // It says itself what it thinks of the certificate.
            let _ = line.secure(config);
        }
        while let Some(asked) = line.glimpse() {
            let n: usize = asked.number[8..].parse().unwrap();
            let is_faulty = n % 3 == 1 && !well.load(Ordering::SeqCst);
            let fault = faults.get(n / 3).filter(|_| is_faulty);
            if fault.is_none_or(|fault| !fault.is("unread")) {
                line.take();
            }
            if let Some(fault) = fault {
                fault.play(line, &asked);
                if !fault.is("keep") {
                    return;
                }
            } else {
                line.say(answer("200 OK", &accepted(&asked.number)));
            }
        }
    })
}

fn command(dir: &Workdir, lane: &str, url: &str) -> Otpdrive {
    let command = match lane {
        "verify" => dir.verify_at(url),
        _ => dir.send_to(url).flags("--channel").flags(lane),
    };
    // The time-out is long enough for a good answer on a busy machine.
    command
        .flags("--concurrency 16 --max-attempts 2 --max-outage 3s -vvv")
        .flags("--timeout 2s --connect-timeout 1s")
}

/// Runs all faults at once, then all again with the gateway well.
fn try_out(lane: &str, tls: Option<(&Authority, Version)>) {
    let with_tls = tls.is_some();
    let faults = Fault::all(with_tls);
    let well = Arc::new(AtomicBool::new(false));
    let config = tls.map(|(authority, version)| authority.good(version));
    let wire = gateway(faults.clone(), config, Arc::clone(&well));
    let url = if with_tls { wire.https() } else { wire.url() };
    let cell = if lane == "verify" { ",4711" } else { "" };
    let head = if lane == "verify" { ",otp" } else { "" };
    let lines = (0..3 * faults.len()).map(|n| format!("{}{cell}\n", phone(n)));
    let dir = Workdir::with(format!("phone{head}\n{}", lines.collect::<String>()));
    let good = Fault::new("accepted | keep | a good answer | ");
    let mut wrong = Vec::new();
    for again in [false, true] {
        wire.forget();
        well.store(again, Ordering::SeqCst);
        let command = command(&dir, lane, &url);
        let ran = trusting(command, tls.map(|(authority, _)| authority)).run();
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        for (n, row) in results(&dir, &ran).iter().enumerate() {
            let fault = if n % 3 == 1 { &faults[n / 3] } else { &good };
            let means = fault.status(lane, with_tls);
            // With two tries in a run. A code may be checked twice; an OTP of unknown fate is never
            // sent again.
            let is_repeated = means == "failed" || means == "unknown" && lane == "verify";
            let right = match (again, is_repeated) {
                (false, true) => (means, 2, "2"),
                (true, true) => (good.status(lane, false), 1, "3"),
                (false, false) => (means, 1, "1"),
                (true, false) => (means, 0, "1"),
            };
            let (status, attempts) = (row["otp_status"].as_str(), row["otp_attempts"].as_str());
            let found = (status, wire.count_for(&e164(n)), attempts);
            if found != right {
                let (name, why) = (fault.name, &row["otp_detail"]);
                wrong.push(format!("{n}, {name}: {found:?}, not {right:?}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{lane}\n{}", wrong.join("\n"));
    println!("{lane}, TLS {with_tls}: all have their verdict");
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_an_sms_has_its_verdict_and_is_not_repeated_unasked() {
    try_out("sms", None);
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_a_call_has_its_verdict_and_is_not_repeated_unasked() {
    try_out("call", None);
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_of_a_code_has_its_verdict() {
    try_out("verify", None);
}

#[test]
#[ignore = "tests/prove network"]
fn each_fault_behind_a_handshake_has_its_verdict() {
    let authority = Authority::new("authority");
    for version in [&TLS12, &TLS13] {
        try_out("sms", Some((&authority, version)));
    }
}

#[test]
#[ignore = "tests/prove network"]
fn a_refused_key_is_believed_even_when_the_rest_of_the_answer_never_comes() {
    for line in [
        r"| fin | closed | HTTP/1.1 401 No\r\ncontent-length: 900\r\n\r\n{",
        r"| rst | reset | HTTP/1.1 401 No\r\ncontent-length: 900\r\n\r\n{",
        r"| hang | silence | HTTP/1.1 403 No\r\ncontent-length: 900\r\n\r\n{",
    ] {
        let well = Arc::new(AtomicBool::new(false));
        let wire = gateway(vec![Fault::new(line)], None, Arc::clone(&well));
        let dir = Workdir::with(format!("phone\n{}\n{}\n", phone(1), phone(2)));
        let send = command(&dir, "sms", &wire.url());
        let ran = send.clone().flags("--limit 1").ends(4);
        results(&dir, &ran);
        assert_eq!(dir.statuses(), ["pending"; 2], "{line}");
        well.store(true, Ordering::SeqCst);
        send.ends(0);
        assert_eq!([1, 2].map(|n| wire.count_for(&e164(n))), [2, 1]);
    }
}
