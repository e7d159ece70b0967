//! Disks that are full, broken or lie: nothing leaves that cannot be recorded, and a damaged ledger
//! is told from a new one.

mod broken;
mod damage;
mod full;
mod making;

use std::collections::BTreeMap;

use crate::proof::nobody_twice_nobody_lost;
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Ran, Workdir};

/// What a run that meets a fault may end with: it has not, nothing was sent, it stopped early.
const CLEAR: [i32; 3] = [0, 2, 3];

/// What happened how often.
type Tally = BTreeMap<String, usize>;

/// Judges a campaign of `rows` numbers at a gateway that accepts everything: the `faulty` command,
/// then the same with the disk in order.
///
/// The faulty one ends in one of these ways, with 2 only if nothing was sent, and says why;
/// whatever it requested is in the ledger. The healthy one finishes, and leaves a sound ledger. In
/// the end each number was requested once, or is `unknown` and was requested once at most: so many
/// as were in flight at the most.
fn judge(
    dir: &Workdir,
    stub: &Stub,
    (rows, in_flight): (usize, usize),
    ends: &[i32],
    faulty: Otpdrive,
    healthy: impl FnOnce() -> Otpdrive,
) -> Ran {
    stub.forget();
    let ran = faulty.start().end_soon();
    let before = stub.counts();
    let names = |name| ran.stderr.contains(name);
    let told = names("otpdrive.db") || names("-results");
    let is_clear = (ran.code < 2 || told) && !ran.stderr.contains("panicked");
    assert!(is_clear && ends.contains(&ran.code), "{ran:?}");
    assert!(ran.code != 2 || before.is_empty(), "sent: {ran:?}");
    stub.forget();
    let last = healthy().start().end_soon();
    assert!(matches!(last.code, 0 | 1), "{last:?} after {ran:?}");
    let unknown = nobody_twice_nobody_lost(dir, rows, &before, &stub.counts());
    let most = if ran.code == 0 { 0 } else { in_flight };
    assert!(unknown <= most, "{unknown} unknown after {ran:?}");
    ran
}

/// What a run said first, without paths and figures: for tallies.
fn gist(ran: &Ran) -> String {
    let mut lines = ran.stderr.lines();
    let line = lines.find_map(|line| Some(line.split_once("otpdrive: ")?.1));
    let words = line.unwrap_or("nothing").split([':', '(', '/']).take(2);
    format!("exit {}: {}", ran.code, words.collect::<String>().trim())
}

/// Did a run end so?
fn met(tally: &Tally, gist: &str) -> bool {
    tally.keys().any(|met| met.starts_with(gist))
}
