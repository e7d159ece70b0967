//! What people look up with the provider, whose own records are right.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use otpdrive::job::{Found, Lookup, UnixMicros};
use otpdrive::ledger::{Campaign, Noted, Records, Store};
use otpdrive::number::Number;
use otpdrive::record::Row;
use otpdrive::status::Status;

use super::judge::{Verdicts, hold};
use super::process::{former, open};
use super::story::Story;
use super::world::World;

/// Settles some numbers of the list that are unknown; what is not, and who is not in it, stays as
/// it is. `run` is the next process.
pub fn settle(
    world: &World,
    folder: &Path,
    story: &mut Story,
    run: usize,
    at: UnixMicros,
) -> Verdicts {
    let (of, mut random) = (story.now, story.random.fork());
    let list = story.list();
    let mut ledger = open(folder);
    let campaigns = ledger.campaigns().unwrap();
    let is_it = |c: &Campaign| (&c.record.name, c.record.operation) == (&list.name, list.operation);
    let Some(campaign) = campaigns.into_iter().find(is_it) else {
        return Ok(());
    };
    let before = statuses(&ledger, &campaign);
    let mut looked_up = BTreeMap::new();
    for found in [Found::Sent, Found::Unsent] {
        let truth = |number| {
            let log = world.log.borrow();
            let mut sent = log.iter().filter(|r| r.campaign == of && r.accepted);
            if sent.any(|r| r.number == number) {
                Found::Sent
            } else {
                Found::Unsent
            }
        };
        let mut expected = Noted::default();
        let mut numbers = vec![Number::new(919_876_599_999).unwrap()];
        expected.strange = 1;
        for (number, known) in &before {
            let unknown = known.status == Status::Unknown;
            if unknown && truth(*number) == found && random.bool() {
                expected.noted += 1;
                expected.former += u64::from(known.is_former);
                looked_up.insert(*number, found);
                world.look_up(of, *number, found, run);
            } else if unknown || known.is_looked_up || random.u32(0..8) > 0 {
                // What was found before could be put right, but it is.
                continue;
            } else {
                expected.not_unknown += 1;
            }
            numbers.push(*number);
        }
        let noted = ledger.settle(&campaign, &numbers, Lookup { found, at });
        let noted = noted.unwrap();
        hold!(noted == expected, "noted {noted:?}, not {expected:?}");
    }
    for (number, Known { status, .. }) in statuses(&ledger, &campaign) {
        let (found, before) = (looked_up.get(&number), before[&number].status);
        let is_right = match found {
            Some(Found::Sent) => status == Status::Sent,
            Some(Found::Unsent) => !matches!(status, Status::Sent | Status::Unknown),
            None => status == before,
        };
        hold!(is_right, "looked up {found:?}: {before:?}, then {status:?}");
    }
    Ok(())
}

/// What is known of a number.
struct Known {
    status: Status,
    /// The last thing that was done for it was to look it up.
    is_looked_up: bool,
    is_former: bool,
}

/// What became of each number of a campaign.
fn statuses(ledger: &Store, campaign: &Campaign) -> BTreeMap<Number, Known> {
    let runs = ledger.runs(campaign.record.id).unwrap();
    let mut known = BTreeMap::new();
    let mut add = |row: &Row, is_former| {
        let status = row.outcome(&runs).status;
        let is_job = !matches!(status, Status::Invalid | Status::Duplicate);
        let last = row.attempts().last();
        let of = Known {
            status,
            is_looked_up: last.is_some_and(|last| last.lookup.is_some()),
            is_former,
        };
        known.extend(row.number.filter(|_| is_job).map(|number| (number, of)));
    };
    for row in former(ledger, campaign) {
        add(&row, true);
    }
    let read = ledger.for_each_row(campaign, Records::Skip, &mut |row| {
        add(row, false);
        ControlFlow::Continue(())
    });
    read.unwrap();
    known
}
