//! How often each hard state was reached: a proof that never got there says so.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The states, and how often each has to be reached in a thousand seeds.
const STATES: [(&str, u64); 22] = [
    ("a connection is gone when its turn comes", 100),
    ("a fallback", 100),
    ("a hold from before is ignored", 10),
    ("a hold from before is kept", 10),
    ("a key is refused", 10),
    ("a limit", 50),
    ("a second OTP is risked", 20),
    ("a time to start numbers is over", 10),
    ("a wave", 20),
    ("a wave with a fallback", 5),
    ("an account is refused with a 402", 5),
    ("an outage", 100),
    ("an outage is too long", 20),
    ("an outage is waited out", 50),
    ("an outage of one lane", 20),
    ("an outage of one lane while another works", 5),
    ("an outage while numbers are parked", 50),
    ("connections stall", 100),
    ("intents without an answer at a restart", 50),
    ("polite outage", 10),
    ("refusals in doubt at an interruption", 2),
    ("short list in an outage", 20),
];

/// Counts them.
#[derive(Default)]
pub struct Reached(RefCell<BTreeMap<&'static str, u64>>);

impl Reached {
    pub fn note(&self, state: &'static str) {
        *self.0.borrow_mut().entry(state).or_default() += 1;
    }

    pub fn note_if(&self, so: bool, state: &'static str) {
        if so {
            self.note(state);
        }
    }

    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        self.0.take()
    }
}

/// Prints the counts; says which states were reached too seldom, where so many seeds were played
/// that it is no accident.
pub fn too_seldom(counts: &BTreeMap<&'static str, u64>, seeds: u64) -> Vec<&'static str> {
    for (state, count) in counts {
        println!("  {count:>9} {state}");
    }
    let unknown = |state: &&&str| STATES.iter().all(|(known, _)| *known != **state);
    assert_eq!(counts.keys().find(unknown), None, "a state without a floor");
    let seldom = STATES.iter().filter(|(state, floor)| {
        seeds >= 1_000 && counts.get(state).copied().unwrap_or(0) < floor * seeds / 1_000
    });
    seldom.map(|(state, _)| *state).collect()
}
