//! The circuit breaker: tells an outage of the gateway from trouble with a number, so that an
//! outage costs time and never rows. Pure policy: time is passed in.
//!
//! It opens when nothing but failures comes back: [`UNREACHABLE_MAX`] failures to connect, or
//! failures for [`SICK_MAX`] different numbers (one number that fails again and again says nothing
//! about the gateway). While it is open one probe goes out from time to time; anything but a
//! failure closes it. What failed in the streak that opened it, and while it is open, does not use
//! up anybody's tries: the engine gives those back.

use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::{JobId, Verdict};

/// Failures to connect in a row that open it.
const UNREACHABLE_MAX: u32 = 3;

/// Different numbers failing in a row that open it.
const SICK_MAX: usize = 20;

/// The wait before the first probe; doubles up to [`PROBE_MAX`].
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two probes.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Watches what comes back from the gateway.
#[derive(Debug)]
pub struct Outage {
    max: Duration,
    /// The current run of failures.
    since: Option<Instant>,
    unreachable: u32,
    sick: Vec<JobId>,
    open: Option<Open>,
    epoch: u32,
}

#[derive(Debug)]
struct Open {
    probe_at: Instant,
    wait: Duration,
    /// The job whose request is the probe in flight.
    probing: Option<JobId>,
}

/// May a request go now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Closed,
    /// One, as a probe: say so with [`Outage::probe`].
    Probe,
    /// Not before this time.
    Wait(Instant),
    /// Not before the probe in flight comes back.
    Probing,
}

impl Outage {
    /// A gateway believed to be up, and how long to wait out an outage.
    #[must_use]
    pub fn new(max: Duration) -> Self {
        Self {
            max,
            since: None,
            unreachable: 0,
            sick: Vec::with_capacity(SICK_MAX),
            open: None,
            epoch: 0,
        }
    }

    /// Takes note of what came back for a job.
    pub fn record(&mut self, now: Instant, job: JobId, verdict: &Verdict) {
        match verdict {
            Verdict::Unreachable(_) => self.unreachable += 1,
            // The gateway is up, and says itself when to come back.
            Verdict::Throttled {
                retry_at: Some(_), ..
            } => {}
            Verdict::Throttled { retry_at: None, .. }
            | Verdict::ServerError(_)
            | Verdict::Ambiguous(_) => {
                if !self.sick.contains(&job) && self.sick.len() < SICK_MAX {
                    self.sick.push(job);
                }
            }
            Verdict::Accepted(_)
            | Verdict::NotVerified(_)
            | Verdict::Rejected(_)
            | Verdict::Misdirected(_)
            | Verdict::KeyRefused(_) => {
                self.since = None;
                self.unreachable = 0;
                self.sick.clear();
                self.open = None;
                return;
            }
        }
        self.since.get_or_insert(now);
        match &mut self.open {
            Some(open) if open.probing == Some(job) => {
                open.probing = None;
                open.wait = (open.wait * 2).min(PROBE_MAX);
                open.probe_at = now + open.wait;
            }
            None if self.unreachable >= UNREACHABLE_MAX || self.sick.len() >= SICK_MAX => {
                self.epoch += 1;
                self.open = Some(Open {
                    probe_at: now + PROBE_FIRST,
                    wait: PROBE_FIRST,
                    probing: None,
                });
            }
            Some(_) | None => {}
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

    /// The request of this job goes as the probe.
    pub fn probe(&mut self, job: JobId) {
        if let Some(open) = &mut self.open {
            open.probing = Some(job);
        }
    }

    /// The request of this job did not leave after all.
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
        self.open.as_ref()?;
        self.since.map(|since| since + self.max)
    }

    /// Is there an outage?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Could the latest failures turn out to be an outage?
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        self.open.is_none() && self.since.is_some()
    }

    /// How many outages there were: tells that one has just turned up.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_mins(15);

    fn unreachable() -> Verdict {
        Verdict::Unreachable("refused".to_owned())
    }

    fn failed() -> Verdict {
        Verdict::ServerError("HTTP 500".to_owned())
    }

    fn accepted() -> Verdict {
        Verdict::Accepted("SM1".to_owned())
    }

    fn down(now: Instant) -> Outage {
        let mut outage = Outage::new(MAX);
        for _ in 0..UNREACHABLE_MAX {
            outage.record(now, JobId(1), &unreachable());
        }
        outage
    }

    #[test]
    fn a_few_failures_to_connect_in_a_row_are_an_outage() {
        let now = Instant::now();
        let mut outage = Outage::new(MAX);
        for _ in 0..10 {
            outage.record(now, JobId(1), &unreachable());
            outage.record(now, JobId(1), &unreachable());
            outage.record(now, JobId(2), &accepted());
        }
        assert!(!outage.is_open());
        assert!(down(now).is_open());
    }

    #[test]
    fn one_number_that_always_fails_is_none_and_twenty_are() {
        let now = Instant::now();
        let mut outage = Outage::new(MAX);
        for _ in 0..1_000 {
            outage.record(now, JobId(1), &failed());
        }
        assert!(!outage.is_open() && outage.is_suspected());
        for n in 2..=20 {
            assert!(!outage.is_open(), "after {}", n - 1);
            outage.record(now, JobId(n), &failed());
        }
        assert!(outage.is_open());
        assert_eq!(outage.epoch(), 1);
    }

    #[test]
    fn probes_go_out_one_by_one_and_ever_more_rarely() {
        let mut now = Instant::now();
        let mut outage = down(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Gate::Wait(probe_at) = outage.gate(now) else {
                panic!("it waits");
            };
            waits.push((probe_at - now).as_millis());
            now = probe_at;
            assert_eq!(outage.gate(now), Gate::Probe);
            outage.probe(JobId(1));
            assert_eq!(outage.gate(now + MAX), Gate::Probing);
            outage.record(now, JobId(1), &unreachable());
        }
        assert_eq!(
            waits,
            [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]
        );
    }

    #[test]
    fn anything_but_a_failure_ends_it() {
        for verdict in [
            accepted(),
            Verdict::NotVerified(String::new()),
            Verdict::Rejected(String::new()),
            Verdict::Misdirected(String::new()),
            Verdict::KeyRefused(String::new()),
        ] {
            let now = Instant::now();
            let mut outage = down(now);
            assert_eq!(outage.deadline(), Some(now + MAX));
            outage.record(now, JobId(7), &verdict);
            assert_eq!(outage.gate(now), Gate::Closed);
            assert_eq!(outage.deadline(), None);
            assert!(!outage.is_suspected());
        }
    }

    #[test]
    fn a_probe_that_did_not_leave_leaves_room_for_another() {
        let now = Instant::now();
        let mut outage = down(now);
        outage.probe(JobId(1));
        outage.withdrawn(JobId(2));
        assert_eq!(outage.gate(now + PROBE_FIRST), Gate::Probing);
        outage.withdrawn(JobId(1));
        assert_eq!(outage.gate(now + PROBE_FIRST), Gate::Probe);
    }
}
