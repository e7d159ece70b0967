//! What the ledger says in the end, row by row: it must be what the gateway saw.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use otpdrive::job::{Lane, Operation, UnixMicros};
use otpdrive::number::Number;
use otpdrive::record::{Row, RowState, Suppression};
use otpdrive::run::{End, RunFact, StopKind};
use otpdrive::status::Status;

use super::judge::{Case, Verdicts, hold};
use super::lists::Line;
use super::process::Said;
use super::weather::SECOND;
use super::world::{Intent, Request};

impl Said {
    pub fn has_wave(&self) -> bool {
        let mut facts = self.facts.iter();
        facts.any(|fact| matches!(fact, RunFact::Wave { .. }))
    }

    fn status(&self, row: &Row) -> Status {
        row.outcome(&self.runs).status
    }

    /// Whoever says "complete" has left nothing over; and after a healthy run nothing can be wanting.
    pub fn all_is_done(&self, healthy: bool) -> Verdicts {
        let complete = self.end == End::Complete;
        hold!(complete || !healthy, "a healthy run ends {:?}", self.end);
        for row in &self.rows {
            let status = self.status(row);
            let over = matches!(status, Status::Pending | Status::Failed);
            hold!(
                !(over && healthy),
                "{status:?} after a healthy run: {row:?}"
            );
            let pending = status == Status::Pending;
            hold!(!(pending && complete), "complete, but {row:?}");
        }
        Ok(())
    }
}

impl Case<'_> {
    /// Judges a process that was not killed by what it left behind.
    pub fn a_process_that_ended(&self, said: &Said) -> Verdicts {
        self.end_is_true(said)?;
        for (row, line) in said.rows.iter().zip(&self.story.list().lines) {
            self.attempts_are_sound(said, row, &line.otp)?;
            self.a_row_is_true(said, row, Some(line))?;
        }
        // What code a former row had is not told.
        let sends = self.orders.operation == Operation::Send;
        for row in said.former.iter().filter(|_| sends) {
            self.attempts_are_sound(said, row, "")?;
            self.a_row_is_true(said, row, None)?;
        }
        self.each_counts_once(said)?;
        self.nobody_drops_out(said)?;
        self.notice(said);
        Ok(())
    }

    /// The facts in the ledger keep the rules, and are those of the gateway.
    fn attempts_are_sound(&self, said: &Said, row: &Row, code: &str) -> Verdicts {
        if matches!(row.state, RowState::Invalid(_) | RowState::Duplicate { .. }) {
            return Ok(());
        }
        let (policy, attempts) = (said.runs.policy(), row.attempts());
        let outage = |fact: &RunFact| matches!(fact, RunFact::OutageBegan { .. });
        let outages = said.facts.iter().any(outage);
        for (n, attempt) in (1..).zip(attempts) {
            hold!(attempt.n == n, "attempt {} is the {n}-th", attempt.n);
        }
        for lane in Lane::ALL {
            let of_run = attempts
                .iter()
                .filter(|a| (a.run, a.lane) == (said.run, lane));
            let left = of_run.filter(|attempt| !attempt.never_left());
            let tries = said.runs.tries(attempts, said.run, lane);
            hold!(tries <= policy.max_attempts, "{tries} tries: {attempts:?}");
            let counted = left.filter(|a| a.verdict().is_none_or(|v| v.retry_at.is_none()));
            let (counted, most) = (counted.count(), policy.max_attempts as usize);
            // Without an outage there are no free tries.
            hold!(outages || counted <= most, "{counted} tries of {most}");
        }
        let asked = self.asked(row, code).count();
        let left = attempts.iter().filter(|a| !a.never_left());
        let known = left.clone().filter(|a| a.answer.is_some()).count();
        let left = left.count();
        hold!(
            (known..=left).contains(&asked),
            "{asked} requests, {left} in the ledger, {known} answers: {attempts:?}"
        );
        Ok(())
    }

    /// The requests for what a row asks for, whose code is this.
    fn asked(&self, row: &Row, code: &str) -> impl Iterator<Item = &Request> {
        self.of_campaign()
            .filter(move |r| is_meant(row, code, r.number, r.code.as_deref()))
    }

    /// The status of a row is what became of its number, or of its code at the gateway, and of no
    /// other.
    fn a_row_is_true(&self, said: &Said, row: &Row, line: Option<&Line>) -> Verdicts {
        let (status, operation) = (said.status(row), self.orders.operation);
        let code = line.map_or("", |line| &line.otp);
        let asked: Vec<&Request> = self.asked(row, code).collect();
        let wanted = match (status, operation) {
            (Status::Sent, Operation::Send) | (Status::Verified, Operation::Verify) => Some(true),
            (Status::NotVerified, Operation::Verify)
            | (Status::Rejected | Status::Failed | Status::Pending | Status::Suppressed, _) => {
                Some(false)
            }
            (Status::Unknown | Status::Invalid | Status::Duplicate, _) => None,
            (other, _) => return Err(format!("a row is {other:?}")),
        };
        let accepted = asked.iter().any(|request| request.accepted);
        let is_true = wanted.is_none_or(|wanted| wanted == accepted);
        hold!(is_true, "{status:?}, but: {asked:?}");
        match (status, line) {
            (Status::Duplicate, _) => return Ok(()),
            (Status::Invalid, Some(line)) => {
                let unread = line.number.is_none()
                    || operation == Operation::Verify
                        && (line.otp.is_empty() || line.masked.is_some());
                hold!(unread, "invalid: {row:?} for {line:?}");
                return Ok(());
            }
            (Status::Suppressed, _) => return self.was_left_out_for_a_reason(row),
            (Status::Unknown, _) => self.is_in_doubt(row, code)?,
            _ => {}
        }
        let known = asked.iter().any(|r| r.is_known_to_be_accepted());
        let is_told = !known || wanted == Some(true);
        hold!(is_told, "{status:?}, though accepted: {asked:?}");
        Ok(())
    }

    /// There was a request since anybody looked it up.
    fn is_in_doubt(&self, row: &Row, code: &str) -> Verdicts {
        let key = row.number.map(|number| (self.orders.campaign, number));
        let lookups = self.world.lookups.borrow();
        let since = key.and_then(|key| lookups.get(&key)).copied();
        let is_since = |intent: &&Intent| since.is_none_or(|run| intent.run >= run);
        let intents = self.world.intents.borrow();
        let mut intents = intents.iter().filter(is_since);
        let campaign = self.orders.campaign;
        let doubt = intents
            .any(|i| i.campaign == campaign && is_meant(row, code, i.number, i.code.as_deref()));
        hold!(doubt, "unknown without a request: {row:?}");
        Ok(())
    }

    /// It stands in a list, or another campaign sent to it then, or may have, within the cool-down.
    fn was_left_out_for_a_reason(&self, row: &Row) -> Verdicts {
        let RowState::Suppressed(why, _) = &row.state else {
            return Err(format!("left out for no reason: {row:?}"));
        };
        let (orders, reached) = (self.orders, &self.world.reached);
        let Suppression::Recent { campaign, at } = why else {
            let listed = row
                .number
                .map(|number| orders.excluded.contains_key(&number));
            hold!(listed == Some(true), "in no list: {row:?}");
            reached.note("left out by a suppression list");
            return Ok(());
        };
        let ago = orders.wall.since(*at);
        hold!(ago < orders.cooldown, "left out for {ago:?} ago");
        let is_it = |of: usize, number| {
            (&self.story.lists[of].name, Some(number)) == (campaign, row.number)
        };
        let near = |when: UnixMicros| when.since(*at).max(at.since(when)) < SECOND;
        let requests = self.log.iter().filter(|r| is_it(r.campaign, r.number));
        let requests = requests.filter(|r| r.lane != Lane::Verify && near(r.wall));
        let in_doubt = |r: &Request| r.may_be_accepted() || !r.recorded;
        let intents = self.world.intents.borrow();
        let mut intents = intents.iter().filter(|i| is_it(i.campaign, i.number));
        let begun = intents.any(|intent| intent.begun_at == *at);
        let is_true = begun || requests.clone().any(in_doubt);
        let sends = orders.operation == Operation::Send;
        hold!(sends && is_true, "{why:?}, but: {:?}", self.log);
        let sent = requests.clone().any(Request::is_known_to_be_accepted);
        reached.note_if(sent, "left out: another campaign sent to it");
        reached.note_if(!sent, "left out: another campaign may have sent to it");
        Ok(())
    }

    /// One row counts for a number, or for its code.
    fn each_counts_once(&self, said: &Said) -> Verdicts {
        let mut seen = BTreeSet::new();
        for (row, line) in said.rows.iter().zip(&self.story.list().lines) {
            if !matches!(said.status(row), Status::Invalid | Status::Duplicate) {
                let verify = self.orders.operation == Operation::Verify;
                let who = (row.number, verify.then_some(&line.otp));
                hold!(seen.insert(who), "{who:?} has two rows that count");
            }
        }
        Ok(())
    }

    /// Whoever was tried and is in no row is a former one, once.
    fn nobody_drops_out(&self, said: &Said) -> Verdicts {
        let verify = self.orders.operation == Operation::Verify;
        let rows = said.rows.iter().zip(&self.story.list().lines);
        let rows = rows.filter(|(row, _)| !matches!(row.state, RowState::Invalid(_)));
        let in_rows: BTreeSet<_> = rows
            .map(|(row, line)| (row.number, verify.then_some(line.otp.as_str())))
            .collect();
        // For each number how many codes are asked for by no row: surely, and at most.
        let mut left: BTreeMap<Number, [BTreeSet<Option<&str>>; 2]> = BTreeMap::new();
        let mut add = |place: usize, number: Number, code| {
            if !in_rows.contains(&(Some(number), code)) {
                left.entry(number).or_default()[place].insert(code);
            }
        };
        for request in self.of_campaign() {
            add(0, request.number, request.code.as_deref());
        }
        let intents = self.world.intents.borrow();
        let of_campaign = |i: &&Intent| i.campaign == self.orders.campaign;
        for intent in intents.iter().filter(of_campaign) {
            add(1, intent.number, intent.code.as_deref());
        }
        let mut former: BTreeMap<Number, usize> = BTreeMap::new();
        for row in &said.former {
            *former.entry(row.number.unwrap()).or_default() += 1;
        }
        for number in left.keys().chain(former.keys()) {
            let of = left
                .get(number)
                .map_or([0, 0], |of| [of[0].len(), of[1].len()]);
            let count = former.get(number).copied().unwrap_or(0);
            let is_right = (of[0]..=of[1]).contains(&count);
            hold!(is_right, "{number:?} is former {count} times, not {of:?}");
        }
        Ok(())
    }

    /// A crash leaves no more in doubt than was in flight.
    pub fn doubts_are_few(&self, said: &Said, crashes_in_flight: usize) -> Verdicts {
        let all = said.rows.iter().chain(&said.former);
        let unknown = all
            .filter(|row| said.status(row) == Status::Unknown)
            .count();
        let doubtful = self.of_campaign().filter(|r| r.doubtful).count();
        hold!(
            unknown <= doubtful + crashes_in_flight,
            "{unknown} unknown, {doubtful} doubtful answers, {crashes_in_flight} in flight at crashes"
        );
        Ok(())
    }

    /// States of the whole run that were reached.
    fn notice(&self, said: &Said) {
        let reached = &self.world.reached;
        let mut first: HashMap<_, Lane> = HashMap::new();
        let mut of_run = self.of_run();
        let fell_back = of_run.any(|r| *first.entry(r.who()).or_insert(r.lane) != r.lane);
        reached.note_if(fell_back, "a fallback");
        let refused =
            matches!(&said.end, End::Stopped(stop) if stop.kind == StopKind::AccountRefused);
        let in_doubt = said.has_wave() && !refused;
        reached.note_if(in_doubt, "refusals in doubt at an end");
        let down = said.facts.iter().filter_map(|fact| match fact {
            RunFact::OutageBegan { lane, .. } => *lane,
            _ => None,
        });
        for lane in down {
            let works = self.of_run().any(|r| r.lane != lane && r.accepted);
            reached.note_if(works, "an outage of one lane while another works");
        }
        let list = self.story.list();
        for (row, line) in said.rows.iter().zip(&list.lines) {
            let tried = !row.attempts().is_empty();
            let back = tried && row.number.is_some_and(|n| list.former.contains(&n));
            reached.note_if(back, "a former number comes back");
            if line.masked.is_some() && self.orders.operation == Operation::Verify {
                let refused = line.number.is_some() && matches!(row.state, RowState::Invalid(_));
                reached.note_if(refused, "a masked code cannot be told");
                reached.note_if(tried, "a masked code is told");
            }
        }
    }
}

/// Is this number, or its code, what a row asks for, whose code is `of_row`?
fn is_meant(row: &Row, of_row: &str, number: Number, code: Option<&str>) -> bool {
    row.number == Some(number) && code.is_none_or(|code| code == of_row)
}
