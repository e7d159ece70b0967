//! The course of a run: what is next, what is heard from others, and how it ends.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::slots::Next;
use super::watch::Ends;
use super::{Engine, Finished, Outage, Stall, Why};
use crate::gateway::Gateway;
use crate::job::{Lane, UnixMicros};
use crate::ledger::{Due, Ledger, LedgerError, News};
use crate::number::mask_numbers;
use crate::run::{End, Stop, StopKind};

/// Waits for the pace that are shorter are not mentioned.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// What is said of a run that `--max-duration` ends.
const TIME_IS_OVER: &str = "--max-duration has passed; run the same command again to go on";

/// What is said of a run that `--deadline` ends.
const IT_IS_LATE: &str = "--deadline has passed; run the same command again to go on";

/// What is said of a run that `--limit` ends.
const LIMIT_IS_REACHED: &str = "--limit was reached; run the same command again to go on";

impl<'a, L: Ledger, G: Gateway> Engine<'a, L, G> {
    /// What is next; ends the run when an outage takes too long.
    pub(super) fn next(&self, now: Instant) -> Next<'a> {
        self.look_at_time(now);
        let deadline = self.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) && !self.has_ended() {
            let message = format!(
                "{}, for longer than --max-outage ({:?}); run the same command again when that is over",
                self.watch.outage(),
                self.settings.max_outage
            );
            self.stop(StopKind::Outage, &message);
        }
        let next = self.slots.next(now, self.context.gateway.lead());
        if let Next::At(_, why) = next
            && !matches!(why, Why::Pace | Why::Backoff | Why::Outage)
            && self.slots.taken() == 0
            && let Some((kind, message)) = self.out_of_time.get()
        {
            // Those that were started would keep the run for hours.
            self.stop(kind, message);
            return Next::Nothing;
        }
        self.context.progress.stall(self.stalled(&next, now));
        let Next::At(at, why) = next else {
            return next;
        };
        let look_again = self.allowance.look_again(now);
        let times = [Some(at), self.start_until.get(), deadline, look_again];
        Next::At(times.into_iter().flatten().min().unwrap_or(at), why)
    }

    /// Why nothing moves, if that is worth saying.
    fn stalled(&self, next: &Next<'_>, now: Instant) -> Option<Stall> {
        let (until, why) = match next {
            Next::At(at, why) if *why != Why::Pace || *at > now + WORTH_SAYING => (*at, *why),
            // A probe is on its way.
            Next::Nothing if self.watch.down_since().is_some() => (now, Why::Outage),
            _ => return None,
        };
        let outage = self.watch.down_since().map(|since| Outage {
            shown: self.watch.outage(),
            since,
            deadline: self.deadline(),
        });
        let outage = outage.filter(|_| why == Why::Outage);
        Some(Stall { why, until, outage })
    }

    /// Starts no more numbers when it is time to end; what waits for its hours is in no outage.
    fn look_at_time(&self, now: Instant) {
        let ends = if self.start_until.get().is_some_and(|until| until <= now) {
            Some((StopKind::MaxDuration, TIME_IS_OVER))
        } else if self.allowance.is_late() {
            Some((StopKind::Deadline, IT_IS_LATE))
        } else {
            None
        };
        if ends.is_some() && self.out_of_time.get().is_none() {
            self.start_until.set(None);
            self.out_of_time.set(ends);
            self.slots.start_no_more();
        }
        let passed = now - self.looked.replace(now);
        let closed = |lane| self.allowance.is_waiting(lane);
        if Lane::ALL.into_iter().any(closed) {
            let busy = |lane| self.is_busy(lane);
            self.watch.was_closed(passed, closed, busy);
        }
    }

    /// Is there anything to do on this lane?
    fn is_busy(&self, lane: Lane) -> bool {
        self.in_hand[lane.index()].get() > 0 || !self.slots.starts_nothing(lane)
    }

    /// When an outage will have lasted too long for those who wait for its end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.watch.deadline(|lane| self.is_busy(lane))
    }

    pub(super) fn take_in(&self, lane: Lane, read: Result<Due, LedgerError>) {
        match read {
            Ok(due) => self.slots.add(lane, due),
            Err(error) => self.stop(StopKind::Ledger, &error.to_string()),
        }
    }

    pub(super) fn take_count(
        &self,
        day: &Range<UnixMicros>,
        left: Result<[u64; Lane::ALL.len()], LedgerError>,
    ) {
        match left {
            Ok(left) => self.allowance.counted(day, left),
            Err(error) => self.stop(StopKind::Ledger, &error.to_string()),
        }
    }

    /// Others ran into something.
    pub(super) fn hear(&self, news: News) {
        match news {
            News::Hold(lane, at) => self.watch.hold(lane, self.held(lane, at)),
            News::Fact(fact) => self.watch.told(&fact),
            News::Probers(lane, count) => self.watch.probe_together(lane, count),
            News::Counted(elsewhere) => {
                self.allowance.told(&elsewhere);
                self.slots.started_elsewhere(elsewhere.started);
            }
            News::Stop(stop) => self.stop(stop.kind, &stop.message),
        }
    }

    /// Settles the doubts of lanes on which nothing more can come back.
    pub(super) fn settle_doubts(&self) {
        let now = Instant::now();
        let only_doubts =
            |lane: Lane| self.in_hand[lane.index()].get() == self.watch.doubting(lane);
        let fallback = self.settings.policy.fallback.map(Lane::from);
        for lane in Lane::ALL.into_iter().filter(|_| !self.has_ended()) {
            let others = Lane::ALL.into_iter().filter(|other| *other != lane);
            let fed = fallback == Some(lane) && others.into_iter().any(|other| self.is_busy(other));
            if self.watch.doubting(lane) > 0
                && only_doubts(lane)
                && self.slots.starts_nothing(lane)
                && !fed
                && let Some((kind, message)) = self.watch.nothing_else_left(now, lane)
            {
                self.stop(kind, &message);
            }
        }
        // At the end, what is still in flight may show what it was.
        if self.has_ended() && Lane::ALL.into_iter().all(only_doubts) {
            let shared = self.pace.common.is_shared();
            self.watch
                .ended(if shared { Ends::Here } else { Ends::ForAll });
        }
    }

    pub(super) fn stop(&self, kind: StopKind, message: &str) {
        if self.has_ended() {
            return;
        }
        let message = mask_numbers(message);
        self.finish(End::Stopped(Stop { kind, message }));
    }

    /// Nothing leaves any more. The first reason counts.
    pub(super) fn finish(&self, end: End) {
        let interrupted = matches!(end, End::Interrupted(_));
        self.context.progress.ends(interrupted);
        self.end.borrow_mut().get_or_insert(end);
        self.slots.end();
        self.ended.send_replace(true);
        self.context.ledger.ends();
    }

    /// The last entries become durable; says how it ended.
    pub(super) async fn close(&self) -> Finished {
        self.pass_on_news().await;
        if !self.has_ended() && self.slots.has_new() {
            let out_of_time = self.out_of_time.get();
            let (kind, message) = out_of_time.unwrap_or((StopKind::Limit, LIMIT_IS_REACHED));
            self.stop(kind, message);
        }
        let mut end = self.end.take().unwrap_or(End::Complete);
        if let Err(error) = self.context.ledger.flush().await {
            end = End::Stopped(Stop {
                kind: StopKind::Ledger,
                message: error.to_string(),
            });
        }
        Finished {
            end,
            last_left_at: self.last_left_at.get(),
        }
    }
}
