//! How often each hard state was reached: a proof that never got there says so.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The states, and how often each has to be reached in a thousand seeds.
const STATES: [(&str, u64); 49] = [
    ("a connection is gone when its turn comes", 300),
    ("a budget is used up", 10),
    ("a call within its hours", 200),
    ("a day's cap is reached", 5),
    ("a day's cap of calls is reached", 4),
    ("a deadline", 20),
    ("a fallback", 40),
    ("a former number comes back", 100),
    ("a hold from before is ignored", 5),
    ("a hold from before is kept", 15),
    ("a key is refused", 15),
    ("a limit", 25),
    ("a list is gone on with", 20),
    ("a masked code cannot be told", 120),
    ("a masked code is told", 700),
    ("a part of the list is sent", 60),
    ("a result file is fed back", 100),
    ("a retry after the deadline", 60),
    ("a second OTP is risked", 250),
    ("a time to start is waited for", 100),
    ("a time to start numbers is over", 5),
    ("a wave", 25),
    ("a wave with a fallback", 10),
    ("an accident after a process was killed", 150),
    ("an account is refused with a 402", 12),
    ("an endpoint is wrong", 10),
    ("an outage", 120),
    ("an outage is too long", 3),
    ("an outage is waited out", 90),
    ("an outage of one lane", 40),
    ("an outage of one lane while another works", 15),
    ("an outage that says when to come back", 2),
    ("an outage while numbers are parked", 70),
    ("an outage with few numbers", 45),
    ("calls in flight are as many as may be", 30),
    ("connections stall", 200),
    ("intents without an answer at a restart", 250),
    ("left out by a suppression list", 400),
    ("left out: another campaign may have sent to it", 400),
    ("left out: another campaign sent to it", 1200),
    ("looked up: it was not sent", 80),
    ("looked up: it was sent", 70),
    ("refusals in doubt at an end", 1),
    ("sent to again after the cool-down", 600),
    ("sent to by two campaigns on purpose", 50),
    ("the list is copied", 100),
    ("the list is edited", 350),
    ("the list is replaced", 50),
    ("unknown numbers are looked up", 70),
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
