//! What is done with ledgers: made-up stories of some runs, lists, people and purges.

use std::collections::BTreeSet;
use std::ops::Range;

use otpdrive::job::{Operation, VerdictKind};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;

/// Of whom stories tell.
pub const NUMBERS: Range<u64> = 1..5;

/// The campaigns of a story: two that send, one that verifies, and a rehearsal.
pub const CAMPAIGNS: [(&str, Operation, bool); 4] = [
    ("a", Operation::Send, false),
    ("b", Operation::Send, false),
    ("a", Operation::Verify, false),
    ("a", Operation::Send, true),
];

/// A list, as numbers and what is made of each.
pub type List = Vec<(u64, u8)>;

/// Something that is done with a ledger.
#[derive(Clone, Debug)]
pub enum Step {
    Run(Stretch),
    /// A list is looked at, and left.
    Plan(usize, List),
    Settle {
        campaign: usize,
        numbers: BTreeSet<u64>,
        sent: bool,
    },
    /// Of these campaigns, as bits, long afterwards or at once.
    Purge {
        which: u8,
        late: bool,
    },
}

/// A run.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub campaign: usize,
    /// `None`: the list that it had before.
    pub list: Option<List>,
    pub retry: bool,
    pub cools: bool,
    pub stopped: u64,
    /// To whom something is done, and what.
    pub acts: Vec<(u8, Act)>,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// A request is begun, or the one that is under way comes to this.
    Comes(VerdictKind),
    /// It comes to "not now", with a `Retry-After`.
    Held,
    /// The endpoint has proved right.
    Proven,
    /// All is read.
    Look,
}

#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Complete,
    Interrupted,
    Killed,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let list = || vec((NUMBERS, 0..8_u8), 1..8);
    let kinds = vec![
        VerdictKind::Accepted,
        VerdictKind::NotVerified,
        VerdictKind::Rejected,
        VerdictKind::Throttled,
        VerdictKind::ServerError,
        VerdictKind::Misdirected,
        VerdictKind::Ambiguous,
        VerdictKind::NoAnswer,
        VerdictKind::Unreachable,
        VerdictKind::Withdrawn,
    ];
    let act = prop_oneof![
        12 => select(kinds).prop_map(Act::Comes),
        1 => Just(Act::Held),
        1 => Just(Act::Proven),
        1 => Just(Act::Look),
    ];
    let acts = vec((any::<u8>(), act), 0..16);
    let endings = vec![Ending::Complete, Ending::Interrupted, Ending::Killed];
    let ending = select(endings);
    let list_of_run = proptest::option::of(list());
    let policy = (any::<bool>(), any::<bool>(), 0..NUMBERS.end * 2);
    let stretch = (
        select(vec![0, 0, 0, 1, 1, 2, 2, 3]),
        list_of_run,
        policy,
        acts,
        ending,
    );
    let run = stretch.prop_map(|(campaign, list, policy, acts, ending)| {
        let (retry, cools, stopped) = policy;
        Step::Run(Stretch {
            campaign,
            list,
            retry,
            cools,
            stopped,
            acts,
            ending,
        })
    });
    let numbers = btree_set(NUMBERS, 1..4);
    let settle =
        (0..2_usize, numbers, any::<bool>()).prop_map(|(campaign, numbers, sent)| Step::Settle {
            campaign,
            numbers,
            sent,
        });
    let purge = (any::<u8>(), any::<bool>()).prop_map(|(which, late)| Step::Purge { which, late });
    let step = prop_oneof![
        12 => run,
        1 => (0..CAMPAIGNS.len(), list()).prop_map(|(campaign, list)| Step::Plan(campaign, list)),
        4 => settle,
        1 => purge,
    ];
    vec(step, 6..16)
}
