//! Purging some campaigns changes nothing of the others, whatever they went through.

use std::collections::HashMap;

use super::*;
use crate::journey::Journey;
use crate::ledger::LeaveOut;
use crate::ledger::Purged;
use crate::record::RunRecord;

/// When everything is long over.
const DAYS_LATER: UnixMicros = UnixMicros(NOW.0 + 3 * 86_400_000_000);

/// A stretch of a campaign's life: a list, and what came of some of its people.
async fn live(home: &Home, random: &mut fastrand::Rng, name: &str, operation: Operation) {
    let lane = match operation {
        Operation::Send => Lane::Sms,
        Operation::Verify => Lane::Verify,
    };
    let rows: Vec<Contact> = (2..random.u64(4..12))
        .map(|line| {
            let code = (lane == Lane::Verify).then(|| plain(&random.u8(1..4).to_string()));
            contact(line, random.u64(1..9), code)
        })
        .collect();
    let mut ledger = Store::open(&home.path()).unwrap();
    let key = CampaignKey {
        name: name.to_owned(),
        ..key(operation)
    };
    let rows_in = rows.iter().cloned().map(Ok::<_, Infallible>);
    let intake = ledger.take_in(&key, &input(&rows), "reading", rows_in);
    let intake = intake.unwrap().unwrap();
    let excluded = HashMap::from([(number(random.u64(1..9)), "stop.csv".into())]);
    let whom = LeaveOut {
        now: NOW,
        cooldown: Duration::ZERO,
        max_age: None,
        excluded: &excluded,
    };
    let runs = intake.runs(&RUN).unwrap();
    intake.leave_out(&runs, &whom).unwrap();
    let (campaign, run) = intake.begin_run(NOW, &RUN).unwrap();
    let clock = Clock::at(LATER);
    let ledger = ledger.start(&campaign, run, clock, Execution::Inline, None);
    let ledger = ledger.unwrap();
    for mut job in all_due(&ledger, lane).await {
        for _ in 0..random.u8(0..3) {
            begin(&ledger, &mut job, run).await;
            if random.u8(0..4) > 0 {
                // Only a code can be wrong.
                let fits =
                    |kind: &VerdictKind| lane == Lane::Verify || *kind != VerdictKind::NotVerified;
                let kinds: Vec<_> = VerdictKind::ALL.into_iter().filter(fits).collect();
                let kind = random.choice(kinds).unwrap();
                give(&ledger, &mut job, answer(kind)).await;
            }
        }
        if random.bool() {
            ledger.rest(&job, Rest::Settled).await;
        }
    }
    let ledger = close(ledger).await;
    if random.bool() {
        ledger
            .finish_run(run, LATER, &End::Complete, Some(NOW))
            .unwrap();
    }
}

/// All that is known of a campaign.
fn known(ledger: &Store, of: &Campaign) -> (Vec<Row>, Vec<Row>, String, Option<RunRecord>) {
    let id = of.record.id;
    let mut former = Vec::new();
    let mut each = |_: &str, row: &Row| {
        former.push(row.clone());
        ControlFlow::Continue(())
    };
    ledger.for_each_former(id, &mut each).unwrap();
    let runs = format!("{:?}", ledger.runs(id).unwrap());
    (
        rows(ledger, of),
        former,
        runs,
        ledger.latest_run(id).unwrap(),
    )
}

#[tokio::test]
async fn purging_some_campaigns_changes_nothing_of_the_others() {
    for seed in 0..12 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let home = Home::new();
        for _ in 0..6 {
            let name = random.choice(["a", "b", "c"]).unwrap();
            let operation = random.choice([Operation::Send, Operation::Verify]).unwrap();
            live(&home, random, name, operation).await;
        }
        let mut ledger = Store::open(&home.path()).unwrap();
        assert_eq!(ledger.verify().unwrap().wrong, [""; 0], "{seed}");
        let mut gone = ledger
            .due_for_purge(DAYS_LATER, Duration::ZERO, &[])
            .unwrap();
        let all = ledger.campaigns().unwrap();
        assert_eq!(gone.len(), all.len(), "{seed}");
        gone.retain(|_| random.bool());
        let stays = |of: &&Campaign| gone.iter().all(|gone| gone.campaign != of.record);
        let stay: Vec<&Campaign> = all.iter().filter(stays).collect();
        let before: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        // Its requests are gone at once, or later: nothing hangs on them.
        let now = random.choice([LATER, DAYS_LATER]).unwrap();
        assert!(ledger.purge(&gone, now).unwrap());
        let after: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        assert_eq!(after, before, "{seed}");
        assert_eq!(ledger.verify().unwrap().wrong, [""; 0], "{seed}");
        let purged = ledger.purged().unwrap();
        let counts = |of: &Purged| (of.campaign.id, of.counts, of.earlier);
        assert!(
            purged.iter().map(counts).eq(gone.iter().map(counts)),
            "{seed}"
        );
        let mut each = |_: &str, _: &Row, journey: &Journey| {
            let mut gone = gone.iter().map(|gone| gone.campaign.id);
            assert!(!gone.any(|id| journey.knows(id)), "{seed}");
            ControlFlow::Continue(())
        };
        for of in &stay {
            ledger
                .for_each_journey(of, Records::Read, &[], &mut each)
                .unwrap();
        }
        drop(ledger);
        // And the ledger goes on as one that was never purged.
        live(&home, random, "d", Operation::Send).await;
        assert_eq!(home.wrong(), [""; 0], "{seed}");
        let ledger = Store::open_to_read(&home.path()).unwrap();
        let later: Vec<_> = stay.iter().map(|of| known(&ledger, of)).collect();
        assert_eq!(later, before, "{seed}");
    }
}

#[tokio::test]
async fn a_ledger_of_format_3_is_read_as_it_is_and_can_be_purged() {
    let home = Home::new();
    let random = &mut fastrand::Rng::with_seed(1);
    live(&home, random, "a", Operation::Send).await;
    // Its run may have been killed; whoever opens it then takes that in.
    drop(Store::open(&home.path()).unwrap());
    home.change("DROP TABLE purged; PRAGMA user_version = 3");
    let before = std::fs::read(home.path()).unwrap();
    let reader = Store::open_to_read(&home.path()).unwrap();
    assert_eq!(reader.purged().unwrap(), []);
    let due = reader.due_for_purge(DAYS_LATER, Duration::ZERO, &[]);
    let due = due.unwrap();
    drop(reader);
    assert_eq!(std::fs::read(home.path()).unwrap(), before);
    let mut ledger = Store::open(&home.path()).unwrap();
    assert!(ledger.purge(&due, DAYS_LATER).unwrap());
    assert_eq!(ledger.purged().unwrap()[0].counts, due[0].counts);
    assert_eq!(ledger.verify().unwrap().wrong, [""; 0]);
}
