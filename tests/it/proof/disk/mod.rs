//! Disks that are full, broken or lie: nothing leaves that cannot be recorded, and a damaged ledger
//! is told from a new one.

mod broken;
mod damage;
mod full;
mod making;

use std::collections::{BTreeMap, HashMap};

use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Ran, Workdir};

/// What a run that met a fault may end with: nothing was sent, or stopped early.
fn is_clear(ran: &Ran) -> bool {
    let told = ran.stderr.contains("otpdrive.db") || ran.stderr.contains("-results");
    matches!(ran.code, 2 | 3) && told && !ran.stderr.contains("panicked")
}

/// How many requests each number got.
fn requests(stub: &Stub) -> HashMap<String, usize> {
    let mut requests = HashMap::new();
    for request in stub.log() {
        *requests.entry(request.number).or_default() += 1;
    }
    requests
}

/// What happened how often.
type Tally = BTreeMap<String, usize>;

/// Judges a campaign of `rows` numbers at a gateway that accepts everything: the `faulty` command,
/// then the same with the disk in order.
///
/// The faulty one ends with 0, or 2 and nothing sent, or 3; with a message; whatever it requested
/// is in the ledger. The healthy one finishes. In the end each number was requested once, or is
/// `unknown` and was requested once at most: one of `in_flight` at the most.
fn judge(
    dir: &Workdir,
    stub: &Stub,
    rows: usize,
    in_flight: usize,
    faulty: Otpdrive,
    healthy: impl FnOnce() -> Otpdrive,
) -> Ran {
    stub.forget();
    let ran = faulty.start().end_soon();
    let before = requests(stub);
    assert!(ran.code == 0 || is_clear(&ran), "{ran:?}");
    assert!(ran.code != 2 || before.is_empty(), "sent: {ran:?}");
    let last = healthy().start().end_soon();
    assert!(matches!(last.code, 0 | 1), "{last:?} after {ran:?}");
    let results = dir.results();
    assert_eq!(results.len(), rows, "after {ran:?}");
    let requests = requests(stub);
    let mut unknown = 0;
    for row in &results {
        let number = &row["otp_phone"];
        let count = requests.get(number).copied().unwrap_or(0);
        match row["otp_status"].as_str() {
            "sent" => assert_eq!(count, 1, "{number} after {ran:?}"),
            "unknown" => assert!(count <= 1, "{number}: {count} after {ran:?}"),
            other => panic!("{number} is {other} after {ran:?}"),
        }
        unknown += usize::from(row["otp_status"] == "unknown");
    }
    assert!(unknown <= in_flight, "{unknown} unknown after {ran:?}");
    assert!(
        ran.code != 0 || unknown == 0,
        "{unknown} unknown after {ran:?}"
    );
    ran
}

/// What a run said first, without paths and figures: for tallies.
fn gist(ran: &Ran) -> String {
    let line = ran
        .stderr
        .lines()
        .find(|line| line.starts_with("otpdrive: "));
    let words = line.unwrap_or("nothing").trim_start_matches("otpdrive: ");
    let words = words.split([':', '(', '/']).take(2).collect::<String>();
    format!("exit {}: {}", ran.code, words.trim())
}
