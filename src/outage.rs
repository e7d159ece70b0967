//! The circuit breaker: tells an outage of the gateway from trouble with a number, so that an
//! outage costs time and never rows. Pure policy: time is passed in.
//!
//! There is one per lane, for answers that are failures, and a common one, for connections that
//! cannot be made. A breaker opens when nothing but failures comes back. While it is open one probe
//! goes out from time to time; the first answer that is no failure closes it.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::{JobId, UnixMicros};

/// Different numbers failing in a row that open a lane's breaker.
pub const NUMBERS_MAX: usize = 20;

/// Failures to connect in a row that open the common breaker.
pub const UNREACHABLE_MAX: usize = 3;

/// Where nothing else is left to do, so many different numbers failing in a row are an outage, too.
/// One number that fails again and again says nothing about the gateway.
const NUMBERS_AT_THE_END: usize = 2;

/// The wait before the first probe; doubles up to [`PROBE_MAX`].
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two probes.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Watches what comes back from the gateway, or from one of its endpoints.
#[derive(Debug)]
pub struct Breaker {
    /// How long an outage may last.
    max: Duration,
    /// This much evidence opens it.
    threshold: usize,
    streak: Option<Streak>,
    open: Option<Open>,
}

/// Failures in a row.
#[derive(Debug)]
struct Streak {
    from: UnixMicros,
    /// Different numbers, as far as they are evidence.
    numbers: Vec<JobId>,
}

#[derive(Debug)]
struct Open {
    probe_at: Instant,
    wait: Duration,
    /// The job whose request is the probe in flight.
    probing: Option<JobId>,
    deadline: Instant,
}

/// What a failure says about the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// This number fails, which worked or was not tried before.
    Of(JobId),
    /// It could not even be connected to.
    Unreachable,
    /// Nothing new: this number failed before, while others did not.
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
    /// A gateway believed to be up; `max` is how long to wait out an outage, `threshold` how much
    /// evidence of one is enough.
    #[must_use]
    pub fn new(max: Duration, threshold: usize) -> Self {
        Self {
            max,
            threshold,
            streak: None,
            open: None,
        }
    }

    /// A failure was answered `at`; `now` is the same time. Says from when on there is an outage, if
    /// that turns up now.
    pub fn failed(
        &mut self,
        now: Instant,
        at: UnixMicros,
        job: JobId,
        evidence: Evidence,
    ) -> Option<UnixMicros> {
        let streak = self.streak.get_or_insert(Streak {
            from: at,
            numbers: Vec::new(),
        });
        let known = match evidence {
            Evidence::Of(job) => streak.numbers.contains(&job),
            Evidence::Unreachable => false,
            Evidence::None => true,
        };
        if !known && streak.numbers.len() < self.threshold {
            streak.numbers.push(job);
        }
        if let Some(open) = &mut self.open {
            if open.probing == Some(job) {
                open.probing = None;
                open.wait = (open.wait * 2).min(PROBE_MAX);
                open.probe_at = now + open.wait;
            }
            return None;
        }
        if streak.numbers.len() >= self.threshold {
            self.open(now, at)
        } else {
            None
        }
    }

    /// Something came back that is no failure. Says whether that ends an outage.
    pub fn worked(&mut self) -> bool {
        self.streak = None;
        self.open.take().is_some()
    }

    /// Nothing else is left to do that could show whether this is an outage: then it is one when
    /// several numbers fail. Says from when on.
    pub fn nothing_else_left(&mut self, now: Instant) -> Option<UnixMicros> {
        let streak = self.streak.as_ref()?;
        let from = streak.from;
        if self.open.is_none() && streak.numbers.len() >= NUMBERS_AT_THE_END {
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
            numbers: Vec::new(),
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

    /// May a request go?
    #[must_use]
    pub fn gate(&self, now: Instant) -> Gate {
        match &self.open {
            None => Gate::Closed,
            Some(open) if open.probing.is_some() => Gate::Probing,
            Some(open) if open.probe_at <= now => Gate::Probe,
            Some(open) => Gate::Wait(open.probe_at),
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
        self.open.as_ref().map(|open| open.deadline)
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

    fn of(n: i64) -> Evidence {
        Evidence::Of(JobId(n))
    }

    fn down(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(MAX, UNREACHABLE_MAX);
        for _ in 1..UNREACHABLE_MAX {
            assert_eq!(
                breaker.failed(now, FROM, JobId(1), Evidence::Unreachable),
                None
            );
        }
        let opened = breaker.failed(now, LATER, JobId(1), Evidence::Unreachable);
        assert_eq!(opened, Some(FROM), "what failed before is part of it");
        breaker
    }

    #[test]
    fn failures_to_connect_in_a_row_are_an_outage_and_others_are_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(MAX, UNREACHABLE_MAX);
        for _ in 0..10 {
            let _ = breaker.failed(now, FROM, JobId(1), Evidence::Unreachable);
            let _ = breaker.failed(now, FROM, JobId(1), Evidence::Unreachable);
            assert!(!breaker.worked());
        }
        assert!(!breaker.is_open());
        assert!(down(now).is_open());
    }

    #[test]
    fn one_number_that_always_fails_is_none_and_twenty_are() {
        let now = Instant::now();
        let mut breaker = Breaker::new(MAX, NUMBERS_MAX);
        for _ in 0..1_000 {
            assert_eq!(breaker.failed(now, FROM, JobId(1), of(1)), None);
        }
        assert_eq!(breaker.suspected_from(), Some(FROM));
        for n in 2..20 {
            assert_eq!(
                breaker.failed(now, LATER, JobId(n), of(n)),
                None,
                "after {n}"
            );
        }
        assert_eq!(breaker.failed(now, LATER, JobId(99), Evidence::None), None);
        assert_eq!(breaker.failed(now, LATER, JobId(20), of(20)), Some(FROM));
        assert_eq!(breaker.suspected_from(), None);
    }

    #[test]
    fn where_nothing_else_is_left_two_numbers_are_enough_and_one_is_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(MAX, NUMBERS_MAX);
        assert_eq!(breaker.nothing_else_left(now), None);
        assert_eq!(breaker.failed(now, FROM, JobId(1), of(1)), None);
        assert_eq!(breaker.nothing_else_left(now), None);
        assert_eq!(breaker.failed(now, LATER, JobId(2), of(2)), None);
        assert_eq!(breaker.nothing_else_left(now), Some(FROM));
        assert_eq!(breaker.nothing_else_left(now), None, "it is known already");
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
            let _ = breaker.failed(now, LATER, JobId(2), Evidence::Unreachable);
            assert_eq!(breaker.gate(now + MAX), Gate::Probing);
            let _ = breaker.failed(now, LATER, JobId(1), Evidence::Unreachable);
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
        assert!(breaker.worked());
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
