//! What people look up with the provider, whose own records are right.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use otpdrive::job::{Found, Lookup, UnixMicros};
use otpdrive::ledger::sqlite::SqliteLedger;
use otpdrive::ledger::{Campaign, Noted, Records, Store as _};
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
        for (number, status) in &before {
            let unknown = *status == Status::Unknown;
            if unknown && truth(*number) == found && random.bool() {
                expected.noted += 1;
                looked_up.insert(*number, found);
                world.look_up(of, *number, found, run);
            } else if unknown || random.u32(0..8) > 0 {
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
    for (number, status) in statuses(&ledger, &campaign) {
        let (found, before) = (looked_up.get(&number), before[&number]);
        let is_right = match found {
            Some(Found::Sent) => status == Status::Sent,
            Some(Found::Unsent) => !matches!(status, Status::Sent | Status::Unknown),
            None => status == before,
        };
        hold!(is_right, "looked up {found:?}: {before:?}, then {status:?}");
    }
    Ok(())
}

/// What became of each number of a campaign.
fn statuses(ledger: &SqliteLedger, campaign: &Campaign) -> BTreeMap<Number, Status> {
    let runs = ledger.runs(campaign.record.id).unwrap();
    let mut rows = former(ledger, campaign);
    let read = ledger.for_each_row(campaign, Records::Skip, &mut |row| {
        rows.push(row.clone());
        ControlFlow::Continue(())
    });
    read.unwrap();
    let status = |row: &Row| Some((row.number?, row.outcome(&runs).status));
    let of_jobs =
        |(_, status): &(Number, Status)| !matches!(status, Status::Invalid | Status::Duplicate);
    rows.iter().filter_map(status).filter(of_jobs).collect()
}
