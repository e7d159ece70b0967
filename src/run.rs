//! What is true of a run and not of a number: its policy, its outages, a wave of one refusal,
//! whether the endpoint has proved right, how it ended. Facts, too: written when they turn up, never
//! changed; [`Runs`] says in their light what an attempt means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::{Attempt, Channel, Lane, UnixMicros, VerdictKind};

/// Names a run (one process working on one campaign) in a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

impl RunId {
    /// The run that would be made now, for plans: later than all others.
    pub const NEXT: Self = Self(i64::MAX);
}

/// What to do when it is not known whether a request was acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUncertain {
    /// It may have been sent: leave it to a person.
    Hold,
    /// Try it again.
    Retry,
}

/// What the user allows to be done for a number in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Requests for one number on one lane, at least 1.
    pub max_attempts: u32,
    /// The channel to try for a number that the first one surely did not reach.
    pub fallback: Option<Channel>,
    /// May a request be repeated although it may have been delivered?
    pub on_unknown: WhenUncertain,
    /// Is an answered 500 or 502 believed to mean "not sent" (retry), or may it have been (hold)?
    pub on_server_error: WhenUncertain,
}

/// Something that turned up during a run and is true of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFact {
    /// What failed on this lane (`None`: on all of them) from then on is the gateway's fault.
    OutageBegan {
        /// Where.
        lane: Option<Lane>,
        /// When the first failure of the streak was answered.
        from: UnixMicros,
        /// How it shows, in words for people.
        why: String,
    },
    /// That outage is over: what left before is part of it.
    OutageEnded {
        /// Where.
        lane: Option<Lane>,
        /// When the answer came that ended it.
        at: UnixMicros,
    },
    /// What was refused on this lane in these words, from then on, was refused for the account's
    /// sake and says nothing about the numbers.
    Wave {
        /// Where.
        lane: Lane,
        /// When the first of them was answered.
        from: UnixMicros,
        /// Their words, as [`alike`] makes them.
        words: String,
    },
    /// Something came back, in this run or an earlier one, that only the API itself can have said.
    EndpointProven,
}

/// The facts of one run, as far as they decide what its attempts mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// What it was allowed to do.
    pub policy: Policy,
    endpoint_proven: bool,
    outages: Vec<Outage>,
    waves: Vec<(Lane, UnixMicros, String)>,
}

/// From when until when the gateway was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    lane: Option<Lane>,
    from: UnixMicros,
    until: Option<UnixMicros>,
}

impl RunFacts {
    /// A run with this policy, of which nothing else is known yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            endpoint_proven: false,
            outages: Vec::new(),
            waves: Vec::new(),
        }
    }

    /// Takes a fact in; in the order in which they turned up.
    pub fn add(&mut self, fact: &RunFact) {
        match fact {
            RunFact::OutageBegan { lane, from, .. } => self.outages.push(Outage {
                lane: *lane,
                from: *from,
                until: None,
            }),
            RunFact::OutageEnded { lane, at } => {
                let mut open = self.outages.iter_mut().rev();
                if let Some(outage) = open.find(|o| o.lane == *lane && o.until.is_none()) {
                    outage.until = Some(*at);
                }
            }
            RunFact::Wave { lane, from, words } => self.waves.push((*lane, *from, words.clone())),
            RunFact::EndpointProven => self.endpoint_proven = true,
        }
    }

    /// Has the endpoint proved right?
    #[must_use]
    pub fn endpoint_proven(&self) -> bool {
        self.endpoint_proven
    }

    /// Was this answered, or lost, in an outage? Then it uses up no try.
    fn in_outage(&self, attempt: &Attempt) -> bool {
        let Some(answer) = &attempt.answer else {
            return false;
        };
        self.outages.iter().any(|outage| {
            outage.lane.is_none_or(|lane| lane == attempt.lane)
                && answer.answered_at >= outage.from
                && outage
                    .until
                    .is_none_or(|until| answer.left_at < Some(until))
        })
    }

    fn in_wave(&self, attempt: &Attempt) -> bool {
        let Some(answer) = &attempt.answer else {
            return false;
        };
        !self.waves.is_empty() && {
            let words = alike(&answer.verdict.text);
            self.waves.iter().any(|(lane, from, of_wave)| {
                *lane == attempt.lane && answer.answered_at >= *from && *of_wave == words
            })
        }
    }
}

/// A message with every group of digits as `#`: two refusals that differ only in the number, or in
/// a reference, are alike.
#[must_use]
pub fn alike(message: &str) -> String {
    let mut words = String::with_capacity(message.len());
    for c in message.chars() {
        if !c.is_numeric() {
            words.push(c);
        } else if !words.ends_with('#') {
            words.push('#');
        }
    }
    words
}

/// What an attempt means for its number, in the light of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Sent, or the code was right.
    Accepted,
    /// The code was wrong.
    NotVerified,
    /// The gateway will not do it for this number.
    Rejected,
    /// Surely not sent, and a try is used up.
    Failed,
    /// Surely not sent, and the gateway said when to come back: waiting, no try.
    Held,
    /// It may have been delivered.
    Ambiguous,
    /// Says nothing about the number.
    Nothing,
}

/// The runs of a campaign, the latest of which is the one whose policy is in force.
#[derive(Clone, Debug, Default)]
pub struct Runs(BTreeMap<RunId, RunFacts>);

/// The policy in force where there is no run at all.
const NO_POLICY: Policy = Policy {
    max_attempts: 1,
    fallback: None,
    on_unknown: WhenUncertain::Hold,
    on_server_error: WhenUncertain::Hold,
};

impl Runs {
    /// Adds a run, or replaces what is known of it.
    pub fn insert(&mut self, run: RunId, facts: RunFacts) {
        self.0.insert(run, facts);
    }

    /// Adds a fact of a run that is known.
    pub fn add(&mut self, run: RunId, fact: &RunFact) {
        if let Some(facts) = self.0.get_mut(&run) {
            facts.add(fact);
        }
    }

    /// What is known of a run.
    #[must_use]
    pub fn get(&self, run: RunId) -> Option<&RunFacts> {
        self.0.get(&run)
    }

    /// The latest run; `None` while there was none.
    #[must_use]
    pub fn latest(&self) -> Option<RunId> {
        self.0.keys().next_back().copied()
    }

    /// The policy in force: the latest run's.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.0
            .values()
            .next_back()
            .map_or(NO_POLICY, |facts| facts.policy)
    }

    /// The policy of the run that made this attempt.
    #[must_use]
    pub fn policy_of(&self, run: RunId) -> Policy {
        self.get(run).map_or(NO_POLICY, |facts| facts.policy)
    }

    /// What this attempt means for its number.
    #[must_use]
    pub fn meaning(&self, attempt: &Attempt) -> Meaning {
        let Some(verdict) = attempt.verdict() else {
            return Meaning::Ambiguous;
        };
        let run = self.get(attempt.run);
        let is = |what: fn(&RunFacts, &Attempt) -> bool| run.is_some_and(|run| what(run, attempt));
        match verdict.kind {
            VerdictKind::Accepted => Meaning::Accepted,
            VerdictKind::NotVerified => Meaning::NotVerified,
            VerdictKind::Rejected if is(RunFacts::in_wave) => Meaning::Nothing,
            VerdictKind::Rejected => Meaning::Rejected,
            VerdictKind::ServerError
                if self.policy_of(attempt.run).on_server_error == WhenUncertain::Hold =>
            {
                Meaning::Ambiguous
            }
            VerdictKind::Throttled | VerdictKind::ServerError if is(RunFacts::in_outage) => {
                Meaning::Nothing
            }
            VerdictKind::Throttled if verdict.retry_at.is_some() => Meaning::Held,
            VerdictKind::Throttled | VerdictKind::ServerError => Meaning::Failed,
            VerdictKind::Misdirected
                if is(|run, _| run.endpoint_proven) && !is(RunFacts::in_outage) =>
            {
                Meaning::Rejected
            }
            VerdictKind::Ambiguous | VerdictKind::NoAnswer => Meaning::Ambiguous,
            VerdictKind::Misdirected
            | VerdictKind::KeyRefused
            | VerdictKind::AccountRefused
            | VerdictKind::Unreachable
            | VerdictKind::Withdrawn => Meaning::Nothing,
        }
    }

    /// How many tries on `lane` these attempts used up in `run`.
    #[must_use]
    pub fn tries(&self, attempts: &[Attempt], run: RunId, lane: Lane) -> u32 {
        let (mut tries, mut held) = (0, 0);
        for attempt in attempts {
            if attempt.run != run || attempt.lane != lane {
                continue;
            }
            match self.meaning(attempt) {
                Meaning::Failed => tries += 1,
                Meaning::Ambiguous => {
                    let excused = self.get(run).is_some_and(|run| run.in_outage(attempt));
                    tries += u32::from(!excused);
                }
                Meaning::Held => held += 1,
                Meaning::Accepted | Meaning::NotVerified | Meaning::Rejected | Meaning::Nothing => {
                }
            }
        }
        tries + u32::saturating_sub(held, HELD_MAX)
    }
}

/// A number that is told to come back later so many times in one run, while it is no outage, is
/// itself the reason: from then on that uses up its tries. Or one number could keep a run for ever.
const HELD_MAX: u32 = 20;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Nothing was left to do.
    Complete,
    /// It stopped with rows left over.
    Stopped(Stop),
    /// A signal ended it.
    Interrupted(Signal),
}

/// Why a run stopped early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// For machines.
    pub kind: StopKind,
    /// For people: what happened and what to do.
    pub message: String,
}

/// The kinds of early stops, as in `stop_reason.kind` of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// The gateway refused the key.
    KeyRefused,
    /// The gateway refused the account: 402, or many numbers in a row in the same words.
    AccountRefused,
    /// Nothing but redirects and 4xx has ever come back from the endpoint.
    WrongEndpoint,
    /// The gateway was down for longer than `--max-outage`.
    Outage,
    /// `--limit` was reached.
    Limit,
    /// `--max-duration` was reached.
    MaxDuration,
    /// The ledger could not be written.
    Ledger,
}

impl StopKind {
    /// Is running the same command again of no use before somebody has changed something?
    #[must_use]
    pub fn needs_a_change(self) -> bool {
        matches!(
            self,
            Self::KeyRefused | Self::AccountRefused | Self::WrongEndpoint
        )
    }
}

/// The signals that end a run gracefully.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ctrl-C.
    Sigint,
    /// What `kill`, cron and systemd send.
    Sigterm,
}
