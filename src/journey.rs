//! What one number went through over all campaigns of a ledger: the OTPs that it was sent, and what
//! became of the codes that it gave back. Facts of several campaigns side by side; rehearsals and
//! real campaigns are never in one journey.

use std::time::Duration;

use crate::job::{Attempt, Lane, UnixMicros};
use crate::record::CampaignId;
use crate::run::{Meaning, Runs};
use crate::status::{Status, outcome};

/// All that is known of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journey {
    /// The requests to send it an OTP that left, or may have, by their time.
    requests: Vec<SendRequest>,
    /// The codes that were answered, by their time.
    checks: Vec<Check>,
    /// The campaigns that check codes of it.
    checked_by: Vec<CampaignId>,
    /// Of some request it is not known what became of it, or a code is still to be checked.
    is_open: bool,
}

/// A request to send an OTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// Whose it was.
    pub campaign: CampaignId,
    /// On which lane.
    pub lane: Lane,
    /// When it left, as well as is known.
    pub left_at: UnixMicros,
    /// Was it sent? `None`: it may have been.
    is_sent: Option<bool>,
}

/// A code that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    campaign: CampaignId,
    /// When it was asked.
    pub at: UnixMicros,
    /// It was right.
    pub is_right: bool,
}

/// An OTP of a number, and what came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The OTP.
    pub otp: SendRequest,
    /// What came back; `None`: no code that was answered yet.
    pub check: Option<Check>,
    /// Which request it was that the number was sent since it last verified, from 1 on.
    pub nth: u32,
}

impl Journey {
    /// Takes in what a campaign did for the number; `has_code`: a code is kept, for it is still to be
    /// checked. To be followed by [`finish`](Self::finish).
    pub fn add(&mut self, campaign: CampaignId, attempts: &[Attempt], runs: &Runs, has_code: bool) {
        let lane = attempts.first().map_or(Lane::Sms, |first| first.lane);
        let outcome = outcome(lane, attempts, runs);
        let is_to_be_checked = [Status::Pending, Status::Failed].contains(&outcome.status);
        self.is_open |= outcome.status == Status::Unknown
            || outcome.is_in_flight
            || (has_code && is_to_be_checked);
        for attempt in attempts {
            let Some(left_at) = attempt.left_at() else {
                continue;
            };
            let meaning = runs.meaning(attempt);
            if attempt.lane != Lane::Verify {
                self.requests.push(SendRequest {
                    campaign,
                    lane: attempt.lane,
                    left_at,
                    is_sent: match meaning {
                        Meaning::Accepted => Some(true),
                        Meaning::Ambiguous => None,
                        _ => Some(false),
                    },
                });
                continue;
            }
            let is_right = meaning == Meaning::Accepted;
            let is_wrong = outcome.status == Status::NotVerified && meaning == Meaning::NotVerified;
            if is_right || is_wrong {
                let at = left_at;
                self.checks.push(Check {
                    campaign,
                    at,
                    is_right,
                });
            }
        }
    }

    /// Notes that a campaign checks codes of it.
    pub fn is_checked_by(&mut self, campaign: CampaignId) {
        self.checked_by.push(campaign);
    }

    /// Puts everything in the order of its time.
    pub fn finish(&mut self) {
        self.requests.sort_by_key(|request| request.left_at);
        self.checks.sort_by_key(|check| check.at);
    }

    /// Does this campaign check codes of it?
    #[must_use]
    pub fn knows(&self, campaign: CampaignId) -> bool {
        self.checked_by.contains(&campaign)
    }

    /// The OTPs that were sent, or may have been, the latest first.
    fn otps(&self) -> impl Iterator<Item = &SendRequest> {
        let requests = self.requests.iter().rev();
        requests.filter(|request| request.is_sent != Some(false))
    }

    /// The latest OTP that was sent, or may have been.
    #[must_use]
    pub fn latest_otp(&self) -> Option<&SendRequest> {
        self.otps().next()
    }

    /// Was an OTP of this campaign the last that happened to the number, is that known for sure, has
    /// the number not verified since, and is it so long ago? Only then may somebody send it one more.
    /// What a wrong clock noted for the future is taken to be just now.
    #[must_use]
    pub fn is_unverified(
        &self,
        campaign: CampaignId,
        now: UnixMicros,
        older_than: Duration,
    ) -> bool {
        let first = self.otps().filter(|otp| otp.campaign == campaign).last();
        let (Some(first), Some(latest)) = (first, self.latest_otp()) else {
            return false;
        };
        let mut checks = self.checks.iter();
        !self.is_open
            && latest.campaign == campaign
            && now.since(latest.left_at) >= older_than
            && !checks.any(|check| check.is_right && check.at >= first.left_at)
    }

    /// The OTP that counts for what `verifier` checked up to `until`: the latest before the code of
    /// its own that was right, or else wrong, or else before `until`. One of which it is not known
    /// whether it was sent counts only if a code came back.
    #[must_use]
    pub fn answered(&self, verifier: CampaignId, until: UnixMicros) -> Option<Answered> {
        let own = |is_right| {
            let of = |check: &&Check| check.campaign == verifier && check.is_right == is_right;
            self.checks.iter().rfind(of).copied()
        };
        let is_after_one = |check: &Check| self.otps().any(|otp| otp.left_at <= check.at);
        let own = own(true).or_else(|| own(false)).filter(is_after_one);
        let until = own.map_or(until, |check| check.at);
        let mut next = UnixMicros(i64::MAX);
        for otp in self.otps().filter(|otp| otp.left_at <= until) {
            let answers = |is_right| {
                let mut checks = self
                    .checks
                    .iter()
                    .filter(move |check| check.is_right == is_right);
                let end = next.min(until + Duration::from_micros(1));
                checks.rfind(|check| check.at >= otp.left_at && check.at < end)
            };
            let check = own.or_else(|| answers(true).or_else(|| answers(false)).copied());
            if otp.is_sent == Some(true) || check.is_some() {
                return Some(Answered {
                    otp: *otp,
                    check,
                    nth: self.nth(otp),
                });
            }
            next = otp.left_at;
        }
        None
    }

    fn nth(&self, otp: &SendRequest) -> u32 {
        let verified = |check: &&Check| check.is_right && check.at < otp.left_at;
        let since = self.checks.iter().rfind(verified).map(|check| check.at);
        let counts = |request: &&SendRequest| {
            Some(request.left_at) > since && request.left_at <= otp.left_at
        };
        u32::try_from(self.requests.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::VerdictKind::{self, Accepted, NoAnswer, NotVerified, Rejected};
    use crate::run::tests::{POLICY, RUN, attempt, one_run};

    const LIST: CampaignId = CampaignId(1);
    const SECOND: CampaignId = CampaignId(2);
    const CODES: CampaignId = CampaignId(3);

    /// What campaigns did, each at its second.
    fn journey(facts: &[(CampaignId, Lane, u64, VerdictKind)]) -> Journey {
        let runs = one_run(POLICY, &[]);
        let mut journey = Journey::default();
        for (campaign, lane, second, kind) in facts {
            let attempts = [attempt(RUN, *lane, *second, *kind)];
            journey.add(*campaign, &attempts, &runs, false);
        }
        journey.finish();
        journey
    }

    fn answered(journey: &Journey) -> Option<(CampaignId, Option<bool>, u32)> {
        let answered = journey.answered(CODES, UnixMicros(i64::MAX))?;
        let is_right = answered.check.map(|check| check.is_right);
        Some((answered.otp.campaign, is_right, answered.nth))
    }

    #[test]
    fn a_code_answers_the_latest_otp_before_it() {
        let sms = (LIST, Lane::Sms, 1, Accepted);
        let call = (SECOND, Lane::Call, 5, Accepted);
        let code = |second, kind| (CODES, Lane::Verify, second, kind);
        assert_eq!(answered(&journey(&[])), None);
        assert_eq!(answered(&journey(&[code(1, Accepted)])), None);
        assert_eq!(answered(&journey(&[sms])), Some((LIST, None, 1)));
        let one = journey(&[sms, call, code(4, Accepted)]);
        assert_eq!(answered(&one), Some((LIST, Some(true), 1)));
        let both = journey(&[code(9, Accepted), call, code(4, NotVerified), sms]);
        assert_eq!(answered(&both), Some((SECOND, Some(true), 2)));
        let wrong = journey(&[sms, call, code(9, NotVerified)]);
        assert_eq!(answered(&wrong), Some((SECOND, Some(false), 2)));
        // What came before any OTP is no answer to it.
        let early = journey(&[code(1, NotVerified), call]);
        assert_eq!(answered(&early), Some((SECOND, None, 1)));
        // One that was refused is no OTP, and one that may have been sent is one if it was answered.
        let refused = journey(&[(LIST, Lane::Sms, 1, Rejected), call]);
        assert_eq!(answered(&refused), Some((SECOND, None, 2)));
        let lost = (SECOND, Lane::Call, 5, NoAnswer);
        assert_eq!(answered(&journey(&[sms, lost])), Some((LIST, None, 1)));
        let came = journey(&[sms, lost, code(9, Accepted)]);
        assert_eq!(answered(&came), Some((SECOND, Some(true), 2)));
        // Whoever verified begins anew.
        let anew = journey(&[sms, (SECOND, Lane::Verify, 2, Accepted), call]);
        assert_eq!(answered(&anew), Some((SECOND, None, 1)));
    }

    #[test]
    fn only_an_otp_that_was_the_last_thing_to_happen_is_unverified() {
        let sms = (LIST, Lane::Sms, 10, Accepted);
        let left_at = journey(&[sms]).requests[0].left_at;
        let is = |facts: &[_], older_than| {
            let now = left_at + Duration::from_mins(1);
            journey(facts).is_unverified(LIST, now, Duration::from_secs(older_than))
        };
        assert!(is(&[sms], 60) && !is(&[sms], 61));
        let other = |second, kind| (SECOND, Lane::Sms, second, kind);
        assert!(is(&[sms, other(5, Accepted)], 0));
        assert!(!is(&[sms, other(15, Accepted)], 0) && is(&[sms, other(15, Rejected)], 0));
        assert!(
            !is(&[sms, other(5, NoAnswer)], 0),
            "of which nothing is known"
        );
        let code = |second, kind| (CODES, Lane::Verify, second, kind);
        assert!(!is(&[sms, code(15, Accepted)], 0) && is(&[sms, code(5, Accepted)], 0));
        assert!(is(&[sms, code(15, NotVerified)], 0) && !is(&[sms, code(15, NoAnswer)], 0));
    }
}
