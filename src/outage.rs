//! The circuit breaker: tells an outage of the gateway from trouble with a number, so that an
//! outage costs time and never rows. Pure policy: time is passed in.
//!
//! There is one per lane, for answers that are failures, and a common one, for connections that
//! cannot be made. A breaker opens when nothing but failures comes back. While it is open one probe
//! goes out from time to time; the first answer that is no failure closes it.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::{JobId, UnixMicros};
use crate::mistake::{Mistake, is_made};

/// Different numbers failing in a row that open a lane's breaker. One number that fails again and
/// again says nothing about the gateway.
const NUMBERS_MAX: usize = 20;

/// Failures to connect in a row that open the common breaker, whosever they are.
const UNREACHABLE_MAX: usize = 3;

/// Where nothing else is left to do, so many different numbers failing alike are an outage, too.
const NUMBERS_AT_THE_END: usize = 2;

/// The same where others have worked in this run: two rows at the end of a list may be odd ones.
const NUMBERS_AFTER_OTHERS: usize = 3;

/// The wait before the first probe; doubles up to [`PROBE_MAX`].
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two probes.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Watches what comes back from the gateway, or from one of its endpoints.
#[derive(Debug)]
pub struct Breaker {
    /// How long an outage may last.
    max: Duration,
    watched: Watched,
    streak: Option<Streak>,
    /// When the latest request left that worked.
    worked_at: Option<UnixMicros>,
    open: Option<Open>,
    /// So many probe, this one included.
    probers: u32,
}

/// What a breaker watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// Answers to the requests of a lane.
    Lane,
    /// The making of connections.
    Connections,
}

/// Failures in a row.
#[derive(Debug)]
struct Streak {
    /// When the first was answered.
    from: UnixMicros,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Open {
    probe_at: Instant,
    wait: Duration,
    /// The job whose request is the probe in flight.
    probing: Option<JobId>,
    deadline: Instant,
}

/// A number that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub job: JobId,
    /// When its request left, or would have.
    pub left_at: UnixMicros,
    /// What was said, digits apart.
    pub words: String,
    /// What it says about the gateway.
    pub evidence: Evidence,
}

/// What a failure says about the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Surely not sent, and it is not known to be this number's own trouble.
    Strong,
    /// It may be an outage where many others fail, too.
    Weak,
    /// Nothing: this number failed before, while others did not.
    None,
}

/// May a request go now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Closed,
    /// One, as a probe: say so with [`Breaker::probe`].
    Probe,
    /// Not before this time.
    Wait(Instant),
    /// Not before the probe in flight comes back.
    Probing,
}

impl Breaker {
    /// For the answers on one lane; `max` is how long to wait out an outage.
    #[must_use]
    pub fn of_lane(max: Duration) -> Self {
        Self::new(max, Watched::Lane)
    }

    /// For the making of connections, which all lanes share.
    #[must_use]
    pub fn of_connections(max: Duration) -> Self {
        Self::new(max, Watched::Connections)
    }

    fn new(max: Duration, watched: Watched) -> Self {
        Self {
            max,
            watched,
            streak: None,
            worked_at: None,
            open: None,
            probers: 1,
        }
    }

    /// From now on so many probe, this one included, and each the less often.
    pub fn probe_together(&mut self, probers: u32) {
        self.probers = probers.max(1);
    }

    /// A failure was answered `at`; `now` is the same time. Says from when on there is an outage, if
    /// that turns up now.
    pub fn failed(&mut self, now: Instant, at: UnixMicros, failure: Failure) -> Option<UnixMicros> {
        let streak = self.streak.get_or_insert(Streak {
            from: at,
            failures: Vec::new(),
        });
        let job = failure.job;
        let mut failures = streak.failures.iter();
        let (known, threshold) = match self.watched {
            Watched::Lane => (failures.any(|known| known.job == job), NUMBERS_MAX),
            Watched::Connections => (false, UNREACHABLE_MAX),
        };
        if !known && failure.evidence != Evidence::None && streak.failures.len() < threshold {
            streak.failures.push(failure);
        }
        if let Some(open) = &mut self.open {
            if open.probing == Some(job) {
                open.probing = None;
                if !is_made(Mistake::ManyProbes) {
                    open.wait = (open.wait * 2).min(PROBE_MAX);
                }
                open.probe_at = now + open.wait;
            }
            return None;
        }
        if streak.failures.len() >= threshold && !is_made(Mistake::NeverOpens) {
            self.open(now, at)
        } else {
            None
        }
    }

    /// Something came back, for a request that left at `left_at`, that is no failure. Says whether
    /// that ends an outage.
    ///
    /// Only what left after the first failure was answered shows that the gateway works again: what
    /// was under way then may have been answered before it fell.
    pub fn worked(&mut self, left_at: UnixMicros) -> bool {
        self.worked_at = self.worked_at.max(Some(left_at));
        if self
            .streak
            .as_ref()
            .is_none_or(|streak| streak.from <= left_at)
        {
            self.streak = None;
            return self.open.take().is_some();
        }
        false
    }

    /// Nothing else is left to do that could show whether this is an outage: then it is one when
    /// several numbers fail alike, and none that left after them worked. Says from when on.
    pub fn nothing_else_left(&mut self, now: Instant) -> Option<UnixMicros> {
        let streak = self.streak.as_ref()?;
        let from = streak.from;
        let since_it_worked = |failure: &&Failure| {
            failure.evidence == Evidence::Strong && Some(failure.left_at) > self.worked_at
        };
        let strong = || streak.failures.iter().filter(since_it_worked);
        let alike = |one: &Failure| strong().filter(|other| other.words == one.words).count();
        let most = strong().map(alike).max().unwrap_or(0);
        let enough = match self.worked_at {
            None => NUMBERS_AT_THE_END,
            Some(_) => NUMBERS_AFTER_OTHERS,
        };
        if self.open.is_none() && most >= enough {
            self.open(now, from)
        } else {
            None
        }
    }

    /// There is an outage, from `from` at the latest on; says from when on.
    pub fn open(&mut self, now: Instant, from: UnixMicros) -> Option<UnixMicros> {
        if self.open.is_some() {
            return None;
        }
        let streak = self.streak.get_or_insert(Streak {
            from,
            failures: Vec::new(),
        });
        streak.from = streak.from.min(from);
        self.open = Some(Open {
            probe_at: now + PROBE_FIRST,
            wait: PROBE_FIRST,
            probing: None,
            deadline: now + self.max,
        });
        Some(streak.from)
    }

    /// The failures so far are the numbers' own.
    pub fn forget(&mut self) {
        self.streak = None;
    }

    /// The gateway asked to wait: the time beyond the next probe's own wait is no outage.
    pub fn held_until(&mut self, until: Instant) {
        if let Some(open) = &mut self.open {
            open.deadline += until.saturating_duration_since(open.probe_at);
            open.probe_at = open.probe_at.max(until);
        }
    }

    /// For so long nothing could leave in any case: that is no outage.
    pub fn was_closed(&mut self, time: Duration) {
        if let Some(open) = &mut self.open {
            open.deadline += time;
        }
    }

    /// May a request go?
    #[must_use]
    pub fn gate(&self, now: Instant) -> Gate {
        match &self.open {
            None => Gate::Closed,
            Some(open) if open.probing.is_some() => Gate::Probing,
            Some(open) => match open.probe_at + open.wait * (self.probers - 1) {
                at if at <= now => Gate::Probe,
                at => Gate::Wait(at),
            },
        }
    }

    /// If it is open, the request of this job goes as the probe.
    pub fn probe(&mut self, job: JobId) {
        if let Some(open) = &mut self.open {
            open.probing = Some(job);
        }
    }

    /// The request of this job did not leave after all, or its answer said nothing.
    pub fn withdrawn(&mut self, job: JobId) {
        if let Some(open) = &mut self.open
            && open.probing == Some(job)
        {
            open.probing = None;
        }
    }

    /// When an outage that goes on has lasted too long; `None` while there is none.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let open = self
            .open
            .as_ref()
            .filter(|_| !is_made(Mistake::NeverTooLong));
        open.map(|open| open.deadline)
    }

    /// Is there an outage?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Since when nothing but failures has come back, while it is not known to be an outage: what
    /// failed from then on may turn out to be part of one.
    #[must_use]
    pub fn suspected_from(&self) -> Option<UnixMicros> {
        let streak = self.streak.as_ref()?;
        self.open.is_none().then_some(streak.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_mins(15);
    const FROM: UnixMicros = UnixMicros(7);
    const LATER: UnixMicros = UnixMicros(9);

    fn failure(n: i64) -> Failure {
        Failure {
            job: JobId(n),
            left_at: FROM,
            words: "HTTP 503".to_owned(),
            evidence: Evidence::Strong,
        }
    }

    fn down(now: Instant) -> Breaker {
        let mut breaker = Breaker::of_connections(MAX);
        for _ in 1..UNREACHABLE_MAX {
            assert_eq!(breaker.failed(now, FROM, failure(1)), None);
        }
        let opened = breaker.failed(now, LATER, failure(1));
        assert_eq!(opened, Some(FROM), "what failed before is part of it");
        breaker
    }

    #[test]
    fn failures_to_connect_in_a_row_are_an_outage_and_others_are_not() {
        let now = Instant::now();
        let mut breaker = Breaker::of_connections(MAX);
        for _ in 0..10 {
            let _ = breaker.failed(now, FROM, failure(1));
            let _ = breaker.failed(now, FROM, failure(1));
            assert!(!breaker.worked(LATER));
        }
        assert!(!breaker.is_open());
        assert!(down(now).is_open());
    }

    #[test]
    fn one_number_that_always_fails_is_none_and_twenty_are() {
        let now = Instant::now();
        let mut breaker = Breaker::of_lane(MAX);
        for _ in 0..1_000 {
            assert_eq!(breaker.failed(now, FROM, failure(1)), None);
        }
        assert_eq!(breaker.suspected_from(), Some(FROM));
        for n in 2..20 {
            assert_eq!(breaker.failed(now, LATER, failure(n)), None, "after {n}");
        }
        let own_trouble = Failure {
            evidence: Evidence::None,
            ..failure(99)
        };
        assert_eq!(breaker.failed(now, LATER, own_trouble), None);
        assert_eq!(breaker.failed(now, LATER, failure(20)), Some(FROM));
        assert_eq!(breaker.suspected_from(), None);
    }

    #[test]
    fn what_had_left_before_the_first_failure_shows_nothing() {
        let now = Instant::now();
        let mut breaker = down(now);
        assert!(!breaker.worked(UnixMicros(FROM.0 - 1)));
        assert!(breaker.is_open());
        assert!(breaker.worked(FROM), "what left then came later");
    }

    #[test]
    fn where_nothing_else_is_left_a_few_numbers_alike_are_enough() {
        let now = Instant::now();
        let opens = |failures: &[Failure], worked_at: Option<i64>| {
            let mut breaker = Breaker::of_lane(MAX);
            for failure in failures {
                assert_eq!(breaker.failed(now, LATER, failure.clone()), None);
            }
            if let Some(at) = worked_at {
                breaker.worked(UnixMicros(at));
            }
            breaker.nothing_else_left(now)
        };
        assert_eq!(opens(&[], None), None);
        assert_eq!(opens(&[failure(1)], None), None);
        assert_eq!(opens(&[failure(1), failure(1)], None), None);
        assert_eq!(opens(&[failure(1), failure(2)], None), Some(LATER));
        // Where others worked before, two may be odd ones.
        assert_eq!(opens(&[failure(1), failure(2)], Some(1)), None);
        let three = [failure(1), failure(2), failure(3)];
        assert_eq!(opens(&three, Some(1)), Some(LATER));
        // One that left behind them worked, although it had left before they were answered.
        assert_eq!(opens(&three, Some(8)), None);
        let other = |words: &str, evidence| Failure {
            words: words.to_owned(),
            evidence,
            ..failure(2)
        };
        let another = other("HTTP 500", Evidence::Strong);
        assert_eq!(opens(&[failure(1), another], None), None);
        let weak = other("HTTP 503", Evidence::Weak);
        assert_eq!(opens(&[failure(1), weak], None), None);
    }

    #[test]
    fn probes_go_out_one_by_one_and_ever_more_rarely() {
        let mut now = Instant::now();
        let mut breaker = down(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Gate::Wait(probe_at) = breaker.gate(now) else {
                panic!("it waits");
            };
            waits.push((probe_at - now).as_millis());
            now = probe_at;
            assert_eq!(breaker.gate(now), Gate::Probe);
            breaker.probe(JobId(1));
            // An older request that fails now says nothing about the probe.
            let _ = breaker.failed(now, LATER, failure(2));
            assert_eq!(breaker.gate(now + MAX), Gate::Probing);
            let _ = breaker.failed(now, LATER, failure(1));
        }
        assert_eq!(
            waits,
            [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]
        );
    }

    #[test]
    fn what_works_ends_it() {
        let now = Instant::now();
        let mut breaker = down(now);
        assert_eq!(breaker.deadline(), Some(now + MAX));
        assert!(breaker.worked(LATER));
        assert_eq!(breaker.gate(now), Gate::Closed);
        assert_eq!((breaker.deadline(), breaker.suspected_from()), (None, None));
    }

    #[test]
    fn waiting_that_the_gateway_asked_for_is_no_outage() {
        let now = Instant::now();
        let mut breaker = down(now);
        breaker.held_until(now + Duration::from_millis(100));
        assert_eq!(breaker.deadline(), Some(now + MAX), "a probe waits longer");
        let until = now + PROBE_FIRST + 60 * Duration::from_secs(1);
        breaker.held_until(until);
        assert_eq!(breaker.gate(now), Gate::Wait(until));
        let expected = now + MAX + 60 * Duration::from_secs(1);
        assert_eq!(breaker.deadline(), Some(expected));
    }

    #[test]
    fn a_probe_that_did_not_leave_leaves_room_for_another() {
        let now = Instant::now();
        let mut breaker = down(now);
        breaker.probe(JobId(1));
        breaker.withdrawn(JobId(2));
        assert_eq!(breaker.gate(now + PROBE_FIRST), Gate::Probing);
        breaker.withdrawn(JobId(1));
        assert_eq!(breaker.gate(now + PROBE_FIRST), Gate::Probe);
    }
}
