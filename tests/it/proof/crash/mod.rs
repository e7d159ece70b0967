//! Real crashes: the program as it is built, killed with -9 over real sockets and a real disk, and
//! started again. The gateway's log is the judge. Power cuts are the matter of [`super::order`].

mod clock;
mod named;
mod pace;
mod random;
mod signals;
mod twice;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use crate::support::gate::{Gate, Logged, by_number};
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use crate::support::{code, e164, phone};

/// Faults of every kind that does not end a run: refused, failed, throttled, and doubtful ones.
const FAULTS: &str = "500=5%,rejected=4%,throttle=5%,408=2%,drop=2%,reset=1%,504=2%,html=1%";

/// Faults after which nobody knows whether it was delivered.
const DOUBTFUL: [&str; 7] = ["drop", "reset", "half", "504", "html", "garbage", "xml"];

/// Requests in flight at once.
const CONCURRENCY: usize = 4;

/// What a campaign does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sms,
    Call,
    Fallback,
    Column,
    Verify,
    VerifyHold,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Sms,
        Self::Call,
        Self::Fallback,
        Self::Column,
        Self::Verify,
        Self::VerifyHold,
    ];
}

/// A file in a folder of its own, and how to work through it.
struct Campaign {
    kind: Kind,
    dir: Workdir,
    numbers: Range<usize>,
    /// So often a run of it was killed.
    kills: usize,
}

impl Campaign {
    /// These numbers, then one that is none, and the first one again.
    fn new(kind: Kind, numbers: Range<usize>) -> Self {
        let line = |n: usize| match kind {
            Kind::Sms | Kind::Call | Kind::Fallback => phone(n),
            Kind::Column => format!("{},{}", phone(n), ["sms", "call", ""][n % 3]),
            Kind::Verify | Kind::VerifyHold if n % 7 == 3 => format!("{},0000", phone(n)),
            Kind::Verify | Kind::VerifyHold => format!("{},{}", phone(n), code(n)),
        };
        let header = match kind {
            Kind::Sms | Kind::Call | Kind::Fallback => "phone",
            Kind::Column => "phone,channel",
            Kind::Verify | Kind::VerifyHold => "phone,otp",
        };
        let bad = "12345".to_owned() + &",1".repeat(header.matches(',').count());
        let mut lines = vec![header.to_owned()];
        lines.extend(numbers.clone().map(line));
        lines.extend([bad, line(numbers.start)]);
        Self {
            kind,
            dir: Workdir::with(lines.join("\n") + "\n"),
            numbers,
            kills: 0,
        }
    }

    /// The command; running it again goes on.
    fn command(&self, gate: &Gate) -> Otpdrive {
        let command = match self.kind {
            Kind::Verify | Kind::VerifyHold => self.dir.verify_at(gate.url()),
            _ => self.dir.send_to(gate.url()),
        };
        let command = command.default("--concurrency", &CONCURRENCY.to_string());
        command.args(match self.kind {
            Kind::Sms | Kind::Verify => &[],
            Kind::Call => &["--channel", "call"],
            Kind::Fallback | Kind::Column => &["--fallback", "call"],
            Kind::VerifyHold => &["--on-unknown", "hold"],
        })
    }

    /// Runs this command of it, and kills it after this time. Gives the id that the process had.
    fn kill_after(&mut self, time: Duration, command: Otpdrive) -> u32 {
        let run = command.start();
        let process = run.id();
        std::thread::sleep(time);
        self.kills += usize::from(run.kill());
        process
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
        let rows = self.dir.results();
        assert_eq!(rows.len(), self.numbers.len() + 2, "{what}");
        let statuses = self.dir.statuses();
        assert_eq!(&statuses[self.numbers.len()..], ["invalid", "duplicate"]);
        let report = self.dir.report();
        let counts = report["counts"].as_object().unwrap();
        let mut sum = 0;
        for (status, count) in counts {
            let found = statuses.iter().filter(|found| *found == status).count();
            assert_eq!(count, found, "{status}, {what}");
            sum += found;
        }
        assert_eq!(sum, rows.len(), "{what}");
        assert_eq!(report["state"], "complete", "{what}");
        // There is an invalid row.
        assert_eq!(ran.code, 1, "{what}");

        let mut doubtful = 0;
        for (n, row) in self.numbers.clone().zip(&rows) {
            assert_eq!(row["otp_phone"], e164(n), "{what}");
            let none = Vec::new();
            let requests = seen.get(&e164(n)).unwrap_or(&none);
            let accepted = requests.iter().filter(|request| request.accepted).count();
            let of_doubt = |request: &&Logged| DOUBTFUL.contains(&request.action.as_str());
            let doubts = requests.iter().filter(of_doubt).count();
            doubtful += usize::from(doubts > 0);
            let tale = format!("{row:?}, {requests:?}, {what}");
            match row["otp_status"].as_str() {
                "sent" | "verified" => assert_eq!(accepted, 1, "{tale}"),
                "unknown" => assert!(accepted <= 1, "{tale}"),
                "rejected" | "failed" | "not_verified" => assert_eq!(accepted, 0, "{tale}"),
                other => panic!("{other}: {tale}"),
            }
            let path = |path: &str| requests.iter().all(|request| request.path == path);
            match self.kind {
                Kind::Sms => assert!(path("smsotp"), "{tale}"),
                Kind::Call => assert!(path("callotp"), "{tale}"),
                Kind::Verify | Kind::VerifyHold => assert!(path("verifyotp"), "{tale}"),
                Kind::Fallback | Kind::Column => {}
            }
            // Every request is in the accounts.
            let attempts: usize = row["otp_attempts"].parse().unwrap();
            assert!(requests.len() <= attempts, "{tale}");
            if self.kind != Kind::Verify {
                // Whatever was doubtful is the last that was tried.
                assert!(doubts <= 1, "{tale}");
                let last = requests.last().is_none_or(|last| of_doubt(&last));
                assert!(doubts == 0 || last, "{tale}");
            }
        }
        let unknown = statuses
            .iter()
            .filter(|status| *status == "unknown")
            .count();
        let most = self.kills * CONCURRENCY + doubtful;
        assert!(unknown <= most, "{unknown} unknown, {most} allowed, {what}");
        unknown
    }
}
