//! What is true of a run and not of a number: its policy, its outages, a wave of one refusal,
//! whether the endpoint has proved right, how it ended. Facts, too: written when they turn up, never
//! changed; [`Runs`] says in their light what an attempt means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::{Attempt, Channel, Found, Lane, UnixMicros, VerdictKind};
use crate::mistake::{Mistake, is_made};

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
    /// The machine's clock was set during the run, or the machine slept: from then on, by the run's
    /// own time, a clock on the wall showed so much more. Days are counted by the wall.
    ClockMoved {
        /// When, by the run's own time, which nothing moves.
        at: UnixMicros,
        /// How far the wall is ahead of it, in microseconds; negative: behind.
        ahead: i64,
    },
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Where; `None`: on all lanes.
    pub lane: Option<Lane>,
    /// When the first failure was answered.
    pub from: UnixMicros,
    /// When it was over; `None`: not in that run.
    pub until: Option<UnixMicros>,
    /// How it showed, in words for people.
    pub why: String,
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
            RunFact::OutageBegan { lane, from, why } => self.outages.push(Outage {
                lane: *lane,
                from: *from,
                until: None,
                why: why.clone(),
            }),
            RunFact::OutageEnded { lane, at } => {
                let mut open = self.outages.iter_mut().rev();
                if let Some(outage) = open.find(|o| o.lane == *lane && o.until.is_none()) {
                    outage.until = Some(*at);
                }
            }
            RunFact::Wave { lane, from, words } => self.waves.push((*lane, *from, words.clone())),
            RunFact::EndpointProven => self.endpoint_proven = true,
            // Says nothing about attempts.
            RunFact::ClockMoved { .. } => {}
        }
    }

    /// Has the endpoint proved right?
    #[must_use]
    pub fn endpoint_proven(&self) -> bool {
        self.endpoint_proven
    }

    /// The outages so far.
    #[must_use]
    pub fn outages(&self) -> &[Outage] {
        &self.outages
    }

    /// Was this answered, or lost, in an outage? Then it uses up no try.
    fn in_outage(&self, attempt: &Attempt) -> bool {
        if is_made(Mistake::OutageUsesTries) {
            return false;
        }
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

/// So many refusals alike in a row, when a run is interrupted or killed, may have been the beginning
/// of a wave.
pub const WAVE_BEGUN: usize = 2;

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

impl Meaning {
    /// Is the request billed, or may it be? What surely was not accepted costs nothing.
    #[must_use]
    pub fn is_billed(self) -> bool {
        matches!(self, Self::Accepted | Self::Ambiguous)
    }

    /// Did something go wrong that may be this number's own trouble?
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Failed | Self::Held | Self::Ambiguous)
    }
}

/// The runs of a campaign, the latest of which is the one whose policy is in force.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    facts: BTreeMap<RunId, RunFacts>,
    /// The runs that are on right now, for those who look at them from outside: what they have begun
    /// is under way, not lost.
    on: Vec<RunId>,
}

/// The policy in force where there is no run at all.
const NO_POLICY: Policy = Policy {
    max_attempts: 1,
    fallback: None,
    on_unknown: WhenUncertain::Hold,
    on_server_error: WhenUncertain::Hold,
};

impl Runs {
    /// Tells that a run is on right now, in another process.
    pub fn set_on(&mut self, run: RunId) {
        self.on.push(run);
    }

    /// The runs that are on right now, in other processes, of this campaign or others.
    #[must_use]
    pub fn on(&self) -> &[RunId] {
        &self.on
    }

    /// Is this run on right now, in another process?
    #[must_use]
    pub fn is_on(&self, run: RunId) -> bool {
        self.on.contains(&run)
    }

    /// Adds a run, or replaces what is known of it.
    pub fn insert(&mut self, run: RunId, facts: RunFacts) {
        self.facts.insert(run, facts);
    }

    /// Adds a fact of a run that is known.
    pub fn add(&mut self, run: RunId, fact: &RunFact) {
        if let Some(facts) = self.facts.get_mut(&run) {
            facts.add(fact);
        }
    }

    /// What is known of a run.
    #[must_use]
    pub fn get(&self, run: RunId) -> Option<&RunFacts> {
        self.facts.get(&run)
    }

    /// The latest run; `None` while there was none.
    #[must_use]
    pub fn latest(&self) -> Option<RunId> {
        self.facts.keys().next_back().copied()
    }

    /// The policy in force: the latest run's.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.facts
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
        match attempt.lookup.map(|lookup| lookup.found) {
            Some(_) if is_made(Mistake::LookupForgotten) => {}
            Some(Found::Sent) => return Meaning::Accepted,
            Some(Found::Unsent) => return Meaning::Nothing,
            None => {}
        }
        let Some(verdict) = attempt.verdict() else {
            if self.is_on(attempt.run) {
                return Meaning::Nothing;
            }
            if is_made(Mistake::NoAnswerNotSent) {
                return Meaning::Failed;
            }
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
                if self.policy_of(attempt.run).on_server_error == WhenUncertain::Hold
                    && !is_made(Mistake::ServerErrorBelieved) =>
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
            let of_run = attempt.run == run || is_made(Mistake::TriesOfAllRuns);
            if !of_run || attempt.lane != lane {
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
    /// Nothing but redirects and 4xx has ever come back from the endpoint, or there is no such host.
    WrongEndpoint,
    /// The certificate of the endpoint is not trusted, or not for its name.
    Certificate,
    /// The gateway was down for longer than `--max-outage`.
    Outage,
    /// `--limit` was reached.
    Limit,
    /// `--max-duration` was reached.
    MaxDuration,
    /// `--deadline` has passed.
    Deadline,
    /// The next request would have passed `--budget`.
    Budget,
    /// The ledger could not be written.
    Ledger,
}

impl StopKind {
    /// Did the user set this end?
    #[must_use]
    pub fn was_asked_for(self) -> bool {
        matches!(
            self,
            Self::Limit | Self::MaxDuration | Self::Deadline | Self::Budget
        )
    }

    /// Is running the same command again of no use before somebody has changed something?
    #[must_use]
    pub fn needs_a_change(self) -> bool {
        matches!(
            self,
            Self::KeyRefused | Self::AccountRefused | Self::WrongEndpoint | Self::Certificate
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
    /// The terminal is gone.
    Sighup,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{Answer, Verdict};

    const BEGIN: UnixMicros = UnixMicros(1_700_000_000_000_000);
    const LATENCY: Duration = Duration::from_millis(5);

    /// So many seconds after the tests' begin.
    pub(crate) fn second(n: u64) -> UnixMicros {
        BEGIN + Duration::from_secs(n)
    }

    pub(crate) const POLICY: Policy = Policy {
        max_attempts: 3,
        fallback: None,
        on_unknown: WhenUncertain::Hold,
        on_server_error: WhenUncertain::Retry,
    };

    pub(crate) const RETRY: Policy = Policy {
        on_unknown: WhenUncertain::Retry,
        ..POLICY
    };

    pub(crate) const CALL_NEXT: Policy = Policy {
        fallback: Some(Channel::Call),
        ..POLICY
    };

    pub(crate) const RUN: RunId = RunId(1);
    pub(crate) const NEXT_RUN: RunId = RunId(2);

    /// A verdict that says "said", and for a while if it is to.
    pub(crate) fn verdict(kind: VerdictKind, retry_at: Option<UnixMicros>) -> Verdict {
        Verdict {
            retry_at,
            ..Verdict::new(kind, "said")
        }
    }

    /// A request of this run that left in this second, and what came back.
    pub(crate) fn attempt(
        run: RunId,
        lane: Lane,
        at: u64,
        kind: impl Into<Option<VerdictKind>>,
    ) -> Attempt {
        let answer = kind.into().map(|kind| Answer {
            left_at: (!matches!(kind, VerdictKind::Unreachable | VerdictKind::Withdrawn))
                .then(|| second(at)),
            answered_at: second(at) + LATENCY,
            verdict: verdict(kind, None),
        });
        Attempt {
            lookup: None,
            n: 1,
            run,
            lane,
            begun_at: second(at),
            answer,
        }
    }

    /// As [`attempt`], told by the gateway to come back later.
    pub(crate) fn held(run: RunId, lane: Lane, at: u64) -> Attempt {
        let mut attempt = attempt(run, lane, at, VerdictKind::Throttled);
        if let Some(answer) = &mut attempt.answer {
            answer.verdict.retry_at = Some(second(at + 5));
        }
        attempt
    }

    /// The first run, and what turned up in it.
    pub(crate) fn one_run(policy: Policy, facts: &[RunFact]) -> Runs {
        let mut runs = Runs::default();
        runs.insert(RUN, RunFacts::new(policy));
        for fact in facts {
            runs.add(RUN, fact);
        }
        runs
    }

    /// An outage that began and ended where answers of these seconds came.
    pub(crate) fn outage(lane: Option<Lane>, from: u64, until: Option<u64>) -> Vec<RunFact> {
        let began = RunFact::OutageBegan {
            lane,
            from: second(from) + LATENCY,
            why: "HTTP 503".to_owned(),
        };
        let ended = until.map(|until| RunFact::OutageEnded {
            lane,
            at: second(until) + LATENCY,
        });
        [began].into_iter().chain(ended).collect()
    }

    /// "said" was refused for the account's sake from an answer in this second on.
    pub(crate) fn wave(lane: Lane, from: u64) -> RunFact {
        RunFact::Wave {
            lane,
            from: second(from) + LATENCY,
            words: alike("said"),
        }
    }

    #[test]
    fn words_are_alike_whatever_their_digits() {
        assert_eq!(alike("credit 12 of 5.50"), "credit # of #.#");
        assert_eq!(alike("no: 919876543210"), alike("no: ९१"));
        assert_ne!(alike("barred"), alike("Barred"));
        assert_ne!(alike("code 1"), alike("code"));
    }

    #[test]
    fn each_kind_of_answer_has_its_meaning() {
        use VerdictKind::{
            Accepted, AccountRefused, Ambiguous, KeyRefused, Misdirected, NoAnswer, NotVerified,
            Rejected, ServerError, Throttled, Unreachable, Withdrawn,
        };
        let runs = one_run(POLICY, &[]);
        for kind in VerdictKind::ALL {
            let expected = match kind {
                Accepted => Meaning::Accepted,
                NotVerified => Meaning::NotVerified,
                Rejected => Meaning::Rejected,
                Throttled | ServerError => Meaning::Failed,
                Ambiguous | NoAnswer => Meaning::Ambiguous,
                Misdirected | KeyRefused | AccountRefused | Unreachable | Withdrawn => {
                    Meaning::Nothing
                }
            };
            let meaning = runs.meaning(&attempt(RUN, Lane::Sms, 1, kind));
            assert_eq!(meaning, expected, "{kind:?}");
        }
        let unanswered = attempt(RUN, Lane::Sms, 1, None);
        assert_eq!(runs.meaning(&unanswered), Meaning::Ambiguous);
        assert_eq!(runs.meaning(&held(RUN, Lane::Sms, 1)), Meaning::Held);
    }

    #[test]
    fn a_server_error_means_what_the_policy_of_its_own_run_says() {
        let doubting = Policy {
            on_server_error: WhenUncertain::Hold,
            ..POLICY
        };
        let mut runs = one_run(doubting, &outage(None, 0, None));
        runs.insert(NEXT_RUN, RunFacts::new(POLICY));
        let meaning = |run| runs.meaning(&attempt(run, Lane::Sms, 1, VerdictKind::ServerError));
        assert_eq!(meaning(RUN), Meaning::Ambiguous, "in an outage, too");
        assert_eq!(meaning(NEXT_RUN), Meaning::Failed);
        assert_eq!(meaning(RunId(7)), Meaning::Ambiguous, "of an unknown run");
    }

    #[test]
    fn what_failed_in_an_outage_says_nothing_about_the_number() {
        let runs = one_run(POLICY, &outage(Some(Lane::Sms), 10, Some(20)));
        let meaning = |lane, at| runs.meaning(&attempt(RUN, lane, at, VerdictKind::Throttled));
        assert_eq!(meaning(Lane::Sms, 9), Meaning::Failed, "before");
        assert_eq!(meaning(Lane::Sms, 10), Meaning::Nothing, "the first");
        assert_eq!(meaning(Lane::Sms, 20), Meaning::Nothing, "left before");
        assert_eq!(meaning(Lane::Sms, 21), Meaning::Failed, "after");
        assert_eq!(meaning(Lane::Call, 15), Meaning::Failed, "elsewhere");
        let other_run = attempt(NEXT_RUN, Lane::Sms, 15, VerdictKind::Throttled);
        assert_eq!(runs.meaning(&other_run), Meaning::Failed);
        assert_eq!(runs.meaning(&held(RUN, Lane::Sms, 15)), Meaning::Nothing);
        for kind in [VerdictKind::Rejected, VerdictKind::Accepted] {
            let said = runs.meaning(&attempt(RUN, Lane::Sms, 15, kind));
            assert_ne!(said, Meaning::Nothing, "{kind:?}");
        }
        let lost = attempt(RUN, Lane::Sms, 15, VerdictKind::NoAnswer);
        assert_eq!(runs.meaning(&lost), Meaning::Ambiguous);
    }

    #[test]
    fn an_outage_ends_on_its_own_lane_only_and_may_come_again() {
        let mut facts = outage(None, 1, None);
        facts.extend(outage(Some(Lane::Call), 2, Some(5)));
        let still_down = attempt(RUN, Lane::Call, 9, VerdictKind::ServerError);
        assert_eq!(
            one_run(POLICY, &facts).meaning(&still_down),
            Meaning::Nothing
        );
        facts.push(RunFact::OutageEnded {
            lane: None,
            at: second(7),
        });
        assert_eq!(
            one_run(POLICY, &facts).meaning(&still_down),
            Meaning::Failed
        );
        facts.extend(outage(None, 8, None));
        assert_eq!(
            one_run(POLICY, &facts).meaning(&still_down),
            Meaning::Nothing
        );
    }

    #[test]
    fn a_wave_takes_back_the_refusals_of_its_words_lane_and_time() {
        let runs = one_run(POLICY, &[wave(Lane::Sms, 10)]);
        let meaning = |lane, at| runs.meaning(&attempt(RUN, lane, at, VerdictKind::Rejected));
        assert_eq!(meaning(Lane::Sms, 9), Meaning::Rejected);
        assert_eq!(meaning(Lane::Sms, 10), Meaning::Nothing);
        assert_eq!(meaning(Lane::Call, 10), Meaning::Rejected);
        let mut other = attempt(RUN, Lane::Sms, 10, VerdictKind::Rejected);
        other.answer.as_mut().unwrap().verdict.text = "barred".to_owned();
        assert_eq!(runs.meaning(&other), Meaning::Rejected);
    }

    #[test]
    fn an_answer_that_is_not_the_apis_counts_once_the_endpoint_has_proved_right() {
        let odd = attempt(RUN, Lane::Sms, 15, VerdictKind::Misdirected);
        let mut facts = vec![RunFact::EndpointProven];
        assert_eq!(one_run(POLICY, &facts).meaning(&odd), Meaning::Rejected);
        facts.extend(outage(Some(Lane::Sms), 10, None));
        let maintenance = one_run(POLICY, &facts);
        assert!(maintenance.get(RUN).unwrap().endpoint_proven());
        assert_eq!(maintenance.meaning(&odd), Meaning::Nothing);
        let later = attempt(NEXT_RUN, Lane::Sms, 15, VerdictKind::Misdirected);
        assert_eq!(maintenance.meaning(&later), Meaning::Nothing, "not proven");
    }

    #[test]
    fn tries_are_counted_for_each_run_and_lane() {
        use VerdictKind::{NoAnswer, Rejected, ServerError, Unreachable, Withdrawn};
        let mut runs = one_run(POLICY, &[]);
        runs.insert(NEXT_RUN, RunFacts::new(POLICY));
        let attempts = [
            attempt(RUN, Lane::Sms, 1, ServerError),
            attempt(RUN, Lane::Sms, 2, NoAnswer),
            attempt(RUN, Lane::Sms, 3, Withdrawn),
            attempt(RUN, Lane::Sms, 4, Unreachable),
            attempt(RUN, Lane::Sms, 5, Rejected),
            held(RUN, Lane::Sms, 6),
            attempt(RUN, Lane::Call, 7, ServerError),
            attempt(NEXT_RUN, Lane::Sms, 8, None),
        ];
        assert_eq!(runs.tries(&attempts, RUN, Lane::Sms), 2);
        assert_eq!(runs.tries(&attempts, RUN, Lane::Call), 1);
        assert_eq!(runs.tries(&attempts, NEXT_RUN, Lane::Sms), 1);
        assert_eq!(runs.tries(&attempts, NEXT_RUN, Lane::Call), 0);
    }

    #[test]
    fn an_outage_uses_up_no_try_not_even_of_what_may_have_been_delivered() {
        let runs = one_run(POLICY, &outage(None, 1, Some(3)));
        let attempts = [
            attempt(RUN, Lane::Verify, 1, VerdictKind::Throttled),
            attempt(RUN, Lane::Verify, 2, VerdictKind::Ambiguous),
            attempt(RUN, Lane::Verify, 3, VerdictKind::NoAnswer),
            attempt(RUN, Lane::Verify, 4, VerdictKind::NoAnswer),
            attempt(RUN, Lane::Verify, 5, None),
        ];
        assert_eq!(runs.tries(&attempts, RUN, Lane::Verify), 2);
    }

    #[test]
    fn a_number_that_is_held_again_and_again_uses_up_tries_in_the_end() {
        let runs = one_run(POLICY, &[]);
        let mut attempts = Vec::new();
        for n in 1..=23 {
            attempts.push(held(RUN, Lane::Sms, n));
            let tries = runs.tries(&attempts, RUN, Lane::Sms);
            assert_eq!(u64::from(tries), n.saturating_sub(20));
        }
        let outage = one_run(POLICY, &outage(None, 1, None));
        assert_eq!(outage.tries(&attempts, RUN, Lane::Sms), 0);
    }

    #[test]
    fn the_policy_in_force_is_that_of_the_latest_run() {
        let mut runs = one_run(CALL_NEXT, &[]);
        assert_eq!((runs.latest(), runs.policy()), (Some(RUN), CALL_NEXT));
        runs.insert(RunId::NEXT, RunFacts::new(RETRY));
        assert_eq!((runs.latest(), runs.policy()), (Some(RunId::NEXT), RETRY));
        assert_eq!(runs.policy_of(RUN), CALL_NEXT);
        assert_eq!(Runs::default().policy(), NO_POLICY);
        assert_eq!(Runs::default().policy_of(RUN), NO_POLICY);
    }
}
