//! Real crashes: the program as it is built, killed with -9 over real sockets and a real disk, and
//! started again. The gateway's log is the judge. Power cuts are the matter of [`super::order`].

mod clock;
mod killed;
mod pace;
mod signals;
mod twice;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use self::pace::peak;
use crate::support::gate::{Gate, Logged, by_number};
use crate::support::workdir::{Otpdrive, Ran, Workdir, column};
use crate::support::{code, e164, phone};

/// Faults of every kind that does not end a run: refused, failed, throttled, and doubtful ones.
const FAULTS: &str = "500=5%,rejected=4%,throttle=5%,408=2%,drop=2%,reset=1%,504=2%,html=1%";

/// Faults after which nobody knows whether it was delivered.
const DOUBTFUL: [&str; 4] = ["drop", "reset", "504", "html"];

/// Requests in flight at once.
const CONCURRENCY: usize = 4;

/// What a campaign does: its command, the columns of its file, and how the endpoint is called that
/// it asks.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub command: &'static str,
    columns: &'static str,
    endpoint: &'static str,
}

#[rustfmt::skip]
pub const KINDS: [Kind; 6] = [
    Kind { command: "send", columns: "phone", endpoint: "smsotp" },
    Kind { command: "send --channel call", columns: "phone", endpoint: "callotp" },
    Kind { command: "send --fallback call", columns: "phone", endpoint: "otp" },
    Kind { command: "send --fallback call", columns: "phone,channel", endpoint: "otp" },
    Kind { command: "verify", columns: "phone,otp", endpoint: "verifyotp" },
    Kind { command: "verify --on-unknown hold", columns: "phone,otp", endpoint: "verifyotp" },
];

const SMS: Kind = KINDS[0];
const FALLBACK: Kind = KINDS[2];

/// A file in a folder of its own, and how to work through it.
pub struct Campaign {
    kind: Kind,
    pub dir: Workdir,
    numbers: Range<usize>,
    /// So often a run of it was killed.
    kills: usize,
}

impl Campaign {
    /// These numbers, then one that is none, and the first one again.
    pub fn new(kind: Kind, numbers: Range<usize>) -> Self {
        let line = |phone: &str, n: usize| match kind.columns {
            "phone" => format!("{phone}\n"),
            "phone,channel" => format!("{phone},{}\n", ["sms", "call", ""][n % 3]),
            _ if n % 7 == 3 => format!("{phone},0000\n"),
            _ => format!("{phone},{}\n", code(n)),
        };
        let first = numbers.start;
        let lines: String = numbers.clone().map(|n| line(&phone(n), n)).collect();
        let (bad, again) = (line("12345", first), line(&phone(first), first));
        Self {
            kind,
            dir: Workdir::with(format!("{}\n{lines}{bad}{again}", kind.columns)),
            numbers,
            kills: 0,
        }
    }

    /// The command; running it again goes on.
    pub fn command(&self, gate: &Gate) -> Otpdrive {
        let words: Vec<_> = self.kind.command.split(' ').collect();
        let command = match words[0] {
            "send" => self.dir.send_to(gate.url()),
            _ => self.dir.verify_at(gate.url()),
        };
        let command = command.default("--concurrency", &CONCURRENCY.to_string());
        command.args(&words[1..])
    }

    /// Runs this command of it, and kills it after this time. Gives the id that the process had.
    fn kill_after(&mut self, time: Duration, command: Otpdrive) -> u32 {
        let run = command.start();
        let process = run.id();
        std::thread::sleep(time);
        self.kills += usize::from(run.kill());
        process
    }

    /// Kills so many runs of it at this rate, each within so many milliseconds. Gives the number of
    /// requests.
    #[track_caller]
    fn kill_at_random(&mut self, gate: &Gate, kills: usize, rate: usize, most: usize) -> usize {
        let mut random = fastrand::Rng::with_seed(self.numbers.start as u64);
        let earlier = gate.settled_log().len();
        for nth in 0..kills {
            let command = self.command(gate).flags(format!("--rate {rate}/s"));
            let micros = random.u64(0..1_000 * most as u64);
            self.kill_after(Duration::from_micros(micros), command);
            if nth % 5 == 4 {
                // What is known in between adds up as well.
                let report = self.dir.line("report --out list-results").run();
                assert_ne!(report.code, 70, "{}", report.stderr);
            }
        }
        let log = &gate.settled_log()[earlier..];
        let peak = peak(rate, log.iter().map(|request| request.t));
        let (what, killed, requests) = (self.kind.command, self.kills, log.len());
        println!("{what}, {rate}/s: {killed} kills, {requests} requests, {peak} in a second");
        requests
    }

    /// Runs it once with a kill at the entry of the n-th of these system calls. Did that happen?
    fn kill_at(&mut self, gate: &Gate, calls: &str, nth: usize) -> bool {
        let kill = format!("signal=SIGKILL:when={nth}");
        let command = self.command(gate).inject("/dev/null", calls, &kill, &[]);
        let ran = command.run();
        assert!([-1, 1].contains(&ran.code), "{}", ran.stderr);
        self.kills += usize::from(ran.code == -1);
        ran.code == -1
    }

    /// Runs it to its end, and holds the end against all that the gateway saw. Gives the number of
    /// rows that are `unknown`.
    #[track_caller]
    fn judge(&self, gate: &Gate) -> usize {
        let ran = self.command(gate).run();
        self.judge_result(&ran, &by_number(&gate.settled_log()))
    }

    #[track_caller]
    fn judge_result(&self, ran: &Ran, seen: &HashMap<String, Vec<Logged>>) -> usize {
        let what = format!("{:?} {:?}: {}", self.kind, self.numbers, ran.stderr);
        assert_eq!(ran.code, 1, "there is an invalid row: {what}");
        let (rows, report) = (self.dir.results(), self.dir.report());
        let others = column(&rows[self.numbers.len()..], "otp_status");
        assert_eq!(others, ["invalid", "duplicate"], "{what}");
        assert_eq!(report["state"], "complete", "{what}");
        let counts = report["counts"].clone();
        let counts: BTreeMap<String, usize> = serde_json::from_value(counts).unwrap();
        assert!(
            counts
                .iter()
                .all(|(status, n)| self.dir.count(status) == *n)
        );
        assert_eq!(counts.values().sum::<usize>(), rows.len(), "{what}");

        let is_doubtful = |logged: &Logged| DOUBTFUL.contains(&logged.action.as_str());
        let mut doubtful = 0;
        for (n, row) in self.numbers.clone().zip(&rows) {
            let requests = seen.get(&e164(n)).map_or(&[][..], Vec::as_slice);
            let tale = format!("{row:?}, {requests:?}, {what}");
            assert_eq!(row["otp_phone"], e164(n), "{tale}");
            let accepted = requests.iter().filter(|request| request.accepted).count();
            let is_right = match row["otp_status"].as_str() {
                "sent" | "verified" => accepted == 1,
                "unknown" => accepted <= 1,
                "rejected" | "failed" | "not_verified" => accepted == 0,
                _ => false,
            };
            assert!(is_right, "{tale}");
            let path = |request: &Logged| request.path.ends_with(self.kind.endpoint);
            assert!(requests.iter().all(path), "{tale}");
            let attempts: usize = row["otp_attempts"].parse().unwrap();
            assert!(requests.len() <= attempts, "missing in the account: {tale}");
            let doubt = requests.iter().position(is_doubtful);
            doubtful += usize::from(doubt.is_some());
            // Only a code that is checked without `hold` is asked for again after a doubt.
            let is_last = doubt.is_none_or(|at| at + 1 == requests.len());
            assert!(is_last || self.kind.command == "verify", "{tale}");
        }
        let (unknown, most) = (counts["unknown"], self.kills * CONCURRENCY + doubtful);
        assert!(unknown <= most, "{unknown} unknown, {most} allowed, {what}");
        unknown
    }
}
