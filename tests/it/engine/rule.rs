//! A gateway that answers by a rule: after this time, this.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

use otpdrive::gateway::{Gateway, NoConnection, Ready};
use otpdrive::job::{Job, JobId, Lane, Verdict, VerdictKind};
use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::{MS, accepted};

/// A request that wants a connection, or an answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// How many came before it, for any number: of connections, or of requests that left.
    pub index: usize,
    pub job: JobId,
    pub lane: Lane,
    /// How many attempts were made for this number before.
    pub before: usize,
}

/// A request as it left, and its answer.
#[derive(Clone, Debug)]
pub struct Sent {
    pub left: Instant,
    pub answered: Option<Instant>,
    pub job: JobId,
    pub lane: Lane,
    /// Nothing was attempted for this number before.
    pub first: bool,
    pub verdict: Option<Verdict>,
}

type Answers<'m> = Box<dyn FnMut(Asked) -> (Duration, Verdict) + 'm>;
type Connects<'m> = Box<dyn FnMut(Asked) -> (Duration, Option<Verdict>) + 'm>;

pub struct Rule<'m> {
    pub memory: &'m Memory,
    answer: RefCell<Answers<'m>>,
    connect: RefCell<Connects<'m>>,
    pub lead: Duration,
    pub log: RefCell<Vec<Sent>>,
    pub connects: Cell<usize>,
    in_flight: Cell<usize>,
    pub in_flight_max: Cell<usize>,
}

impl<'m> Rule<'m> {
    /// Connections are there at once; this is answered. `Withdrawn` and `Unreachable` mean that it
    /// does not leave.
    pub fn new(memory: &'m Memory, answer: impl FnMut(Asked) -> (Duration, Verdict) + 'm) -> Self {
        Self {
            memory,
            answer: RefCell::new(Box::new(answer)),
            connect: RefCell::new(Box::new(|_| (Duration::ZERO, None))),
            lead: Duration::ZERO,
            log: RefCell::default(),
            connects: Cell::new(0),
            in_flight: Cell::new(0),
            in_flight_max: Cell::new(0),
        }
    }

    /// Connections take this time, and cannot be made for this reason.
    pub fn connecting(
        mut self,
        connect: impl FnMut(Asked) -> (Duration, Option<Verdict>) + 'm,
    ) -> Self {
        self.connect = RefCell::new(Box::new(connect));
        self
    }

    /// All is well but in this time, counted from now in seconds, when nothing but this comes back
    /// on these lanes.
    pub fn down(
        memory: &'m Memory,
        seconds: Range<u64>,
        lanes: &'static [Lane],
        verdict: impl Fn() -> Verdict + Clone + 'm,
    ) -> Self {
        let start = Instant::now();
        let is_down = move |asked: Asked| {
            lanes.contains(&asked.lane) && seconds.contains(&start.elapsed().as_secs())
        };
        let (down, why) = (is_down.clone(), verdict.clone());
        let no_connection = |verdict: &Verdict| verdict.kind == VerdictKind::Unreachable;
        Self::new(memory, move |asked| {
            let down = is_down(asked).then(&verdict);
            let verdict = down.filter(|verdict| !no_connection(verdict));
            (10 * MS, verdict.unwrap_or_else(accepted))
        })
        .connecting(move |asked| (MS, down(asked).then(&why).filter(no_connection)))
    }

    pub fn times(&self) -> Vec<Instant> {
        self.log.borrow().iter().map(|sent| sent.left).collect()
    }

    /// When requests left on this lane.
    pub fn times_on(&self, lane: Lane) -> Vec<Instant> {
        let log = self.log.borrow();
        let of_lane = log.iter().filter(|sent| sent.lane == lane);
        of_lane.map(|sent| sent.left).collect()
    }

    /// How many requests left for this number.
    pub fn requests_for(&self, job: JobId) -> usize {
        let log = self.log.borrow();
        log.iter().filter(|sent| sent.job == job).count()
    }

    fn fly(&self) -> Flight<'_, 'm> {
        self.in_flight.set(self.in_flight.get() + 1);
        let most = self.in_flight_max.get().max(self.in_flight.get());
        self.in_flight_max.set(most);
        Flight(self)
    }
}

/// A request from its wish for a connection to its answer.
struct Flight<'g, 'm>(&'g Rule<'m>);

impl Drop for Flight<'_, '_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

pub struct Connected<'g, 'm> {
    flight: Flight<'g, 'm>,
    asked: Asked,
}

impl<'m> Gateway for Rule<'m> {
    type Ready<'g>
        = Connected<'g, 'm>
    where
        Self: 'g;

    async fn connect(&self, job: &Job, lane: Lane) -> Result<Self::Ready<'_>, NoConnection> {
        let flight = self.fly();
        let asked = Asked {
            index: self.connects.get(),
            job: job.id,
            lane,
            before: job.attempts.len(),
        };
        self.connects.set(asked.index + 1);
        let (time, none) = (self.connect.borrow_mut())(asked);
        sleep(time).await;
        match none {
            Some(why) => Err(why.into()),
            None => Ok(Connected { flight, asked }),
        }
    }

    fn lead(&self) -> Duration {
        self.lead
    }
}

impl Ready for Connected<'_, '_> {
    async fn go(self) -> Verdict {
        let rule = self.flight.0;
        let Asked { job, lane, .. } = self.asked;
        let noted = rule.memory.with_job(job, |known| known.attempts.clone());
        let last = noted.last().expect("it is written down before it leaves");
        assert_eq!((last.lane, &last.answer), (lane, &None));
        let index = rule.log.borrow().len();
        let (time, verdict) = (rule.answer.borrow_mut())(Asked {
            index,
            ..self.asked
        });
        if matches!(
            verdict.kind,
            VerdictKind::Withdrawn | VerdictKind::Unreachable
        ) {
            sleep(time).await;
            return verdict;
        }
        rule.memory.left.set(rule.memory.left.get() + 1);
        rule.log.borrow_mut().push(Sent {
            left: Instant::now(),
            answered: None,
            job,
            lane,
            first: noted.len() == 1,
            verdict: None,
        });
        sleep(time).await;
        let sent = &mut rule.log.borrow_mut()[index];
        sent.answered = Some(Instant::now());
        sent.verdict = Some(verdict.clone());
        verdict
    }
}
