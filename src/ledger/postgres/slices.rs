//! The rows that this process has: slices of the input, which nobody else works on meanwhile.
//!
//! A slice ends when all of its jobs have come to rest, and is left to others when this process ends
//! before. That saves work and decides nothing: the key of an intent does.

use std::collections::{HashMap, HashSet};

use crate::job::{Job, JobId, Lane};

/// Names a slice of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Its lane.
    pub lane: Lane,
    /// Its first row.
    pub first: i64,
}

/// Slices, with what is still to be done in each.
#[derive(Default)]
pub struct Slices {
    open: HashMap<Slice, Open>,
    /// Those that are this process' as far as the server knows.
    held: HashSet<Slice>,
    of: HashMap<JobId, Slice>,
    /// Jobs of slices of other lanes, by the lane on which they go on.
    handed_over: [Vec<Job>; Lane::ALL.len()],
    ended: Vec<Slice>,
    /// Slices that are given back, but still this process' on the server.
    given_back: HashSet<Slice>,
    /// How often one was.
    times: usize,
}

#[derive(Default)]
struct Open {
    jobs: usize,
    /// Not all that could be done in it was: it is others' when this process ends,
    is_left: bool,
    /// or as soon as nothing of it is in hand any more.
    is_given_back: bool,
}

impl Slices {
    /// A slice has come into our hands, with these jobs and the lanes on which they are due. Returns
    /// those that are due on the slice's own.
    pub fn take(&mut self, slice: Slice, jobs: Vec<(Lane, Job)>) -> Vec<Job> {
        self.held.insert(slice);
        if jobs.is_empty() {
            self.ended.push(slice);
            return Vec::new();
        }
        let open = self.open.entry(slice).or_default();
        open.jobs += jobs.len();
        let mut own = Vec::with_capacity(jobs.len());
        for (lane, job) in jobs {
            self.of.insert(job.id, slice);
            if lane == slice.lane {
                own.push(job);
            } else {
                self.handed_over[lane.index()].push(job);
            }
        }
        own
    }

    /// Jobs that go on on this lane, of slices of others.
    pub fn handed_over(&mut self, lane: Lane) -> Vec<Job> {
        std::mem::take(&mut self.handed_over[lane.index()])
    }

    /// A job has come to rest. Gives the slice, if it is others' now.
    pub fn rests(&mut self, job: JobId) -> Option<Slice> {
        let slice = self.of.remove(&job)?;
        let open = self.open.get_mut(&slice)?;
        open.jobs -= 1;
        if open.jobs > 0 {
            return None;
        }
        let Open {
            is_left,
            is_given_back,
            ..
        } = *open;
        if is_given_back || !is_left {
            self.open.remove(&slice);
        }
        if !is_given_back && !is_left {
            self.ended.push(slice);
        }
        is_given_back.then_some(slice)
    }

    /// A job is for others. Gives the slice, if that is, too.
    pub fn gives_back(&mut self, job: JobId) -> Option<Slice> {
        let open = self.open.get_mut(self.of.get(&job)?)?;
        open.is_given_back = true;
        self.given_back.insert(*self.of.get(&job)?);
        self.times += 1;
        self.rests(job)
    }

    /// The server knows that a slice is others'.
    pub fn is_others(&mut self, slice: Slice) {
        self.given_back.remove(&slice);
        self.held.remove(&slice);
    }

    /// The server knows that these have ended.
    pub fn are_gone(&mut self, slices: &[Slice]) {
        for slice in slices {
            self.held.remove(slice);
        }
    }

    /// The first rows of those that are this process' on a lane. Another one that the server thinks is
    /// its own was taken by a statement whose reply was lost.
    pub fn held(&self, lane: Lane) -> Vec<i64> {
        let held = self.held.iter().filter(|slice| slice.lane == lane);
        held.map(|slice| slice.first).collect()
    }

    /// Are slices given back of which others cannot know yet? And how often that was so.
    pub fn giving_back(&self) -> (bool, usize) {
        (!self.given_back.is_empty(), self.times)
    }

    /// Something would still be done for a job. Gives the slice, if it is others' now.
    pub fn is_left(&mut self, job: JobId) -> Option<Slice> {
        self.open.get_mut(self.of.get(&job)?)?.is_left = true;
        self.rests(job)
    }

    /// Slices that have ended since the last call.
    pub fn ended(&mut self) -> Vec<Slice> {
        std::mem::take(&mut self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RowId;
    use crate::number::Number;

    fn job(id: i64) -> Job {
        Job {
            id: JobId(id),
            row: RowId(id),
            line: 2,
            number: Number::new(919_876_543_210).unwrap(),
            code: None,
            lane: Lane::Sms,
            attempts: Vec::new(),
        }
    }

    const SLICE: Slice = Slice {
        lane: Lane::Sms,
        first: 1,
    };

    #[test]
    fn a_slice_ends_when_all_its_jobs_rest_and_never_when_one_is_left() {
        let mut slices = Slices::default();
        let sms = |id| (Lane::Sms, job(id));
        assert_eq!(slices.take(SLICE, vec![sms(1), sms(2)]).len(), 2);
        slices.rests(JobId(1));
        slices.rests(JobId(1));
        assert_eq!(slices.ended(), []);
        slices.rests(JobId(2));
        assert_eq!(slices.ended(), [SLICE]);
        assert_eq!(slices.ended(), []);
        slices.take(SLICE, vec![sms(1), sms(2), sms(3)]);
        assert_eq!(slices.gives_back(JobId(2)), None);
        assert_eq!(slices.rests(JobId(1)), None, "one is in hand");
        assert_eq!(slices.gives_back(JobId(3)), Some(SLICE));
        assert_eq!(slices.ended(), [], "it is not done with");
        assert_eq!(slices.giving_back(), (true, 2));
        assert_eq!(slices.held(Lane::Sms), [1]);
        slices.is_others(SLICE);
        assert_eq!(slices.giving_back(), (false, 2));
        assert_eq!(slices.held(Lane::Sms), [0; 0]);
        slices.take(SLICE, vec![sms(3), sms(4)]);
        assert_eq!(slices.is_left(JobId(3)), None);
        assert_eq!(slices.rests(JobId(4)), None, "others have a part of it");
        assert_eq!(slices.ended(), []);
        assert!(slices.take(SLICE, Vec::new()).is_empty());
        assert_eq!(slices.ended(), [SLICE], "there was nothing in it");
    }

    #[test]
    fn a_job_that_goes_on_on_another_lane_is_handed_out_there() {
        let mut slices = Slices::default();
        assert!(slices.take(SLICE, vec![(Lane::Call, job(1))]).is_empty());
        assert!(slices.handed_over(Lane::Sms).is_empty());
        assert_eq!(slices.handed_over(Lane::Call).len(), 1);
        assert!(slices.handed_over(Lane::Call).is_empty());
        slices.rests(JobId(1));
        assert_eq!(slices.ended(), [SLICE]);
    }
}
