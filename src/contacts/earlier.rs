//! What a file says of itself that this program wrote: a result file that is an input again.

use csv::StringRecord;

use super::cell::{is_blank, unwrap};
use crate::job::{Channel, Operation, UnixMicros};
use crate::number::Number;
use crate::record::result_column;
use crate::status::Status;
use crate::text::without_neutralisers;

/// Where an earlier result file has what it says of a row.
#[derive(Clone, Debug)]
pub(super) struct Results {
    /// Did this program write the file?
    pub(super) ours: bool,
    line: Option<usize>,
    pub(super) campaign: Option<usize>,
    pub(super) phone: Option<usize>,
    channel: Option<usize>,
    status: Option<usize>,
    attempts: Option<usize>,
    settled_at: Option<usize>,
}

/// What an earlier result file says of a row, if it is one of the campaign in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// The line of the row that it was made from; none if that could not be used.
    pub(super) line: Option<u64>,
    /// When that got its answer.
    pub(super) settled_at: Option<UnixMicros>,
    /// What was done for it, if the same is to be done now: was a request made?
    pub(super) tried: Option<bool>,
    /// For this number, if that can still be read.
    pub(super) number: Option<Number>,
    /// On this channel.
    pub(super) channel: Option<Channel>,
}

impl Results {
    pub(super) fn find(names: &StringRecord) -> Self {
        let place = |wanted: &str| names.iter().position(|name| unwrap(name) == wanted);
        Self {
            ours: is_ours(names),
            line: place(result_column::LINE),
            campaign: place(result_column::CAMPAIGN),
            phone: place(result_column::PHONE),
            channel: place(result_column::CHANNEL),
            status: place(result_column::STATUS),
            attempts: place(result_column::ATTEMPTS),
            settled_at: place(result_column::SETTLED_AT),
        }
    }

    /// What the file says of a row of this campaign. A cell that a spreadsheet has spoilt, or a column
    /// that is gone, takes nothing back of what the others say.
    pub(super) fn own(
        &self,
        cells: &StringRecord,
        campaign: Option<&str>,
        operation: Operation,
    ) -> Own {
        let cell = |place: Option<usize>| place.and_then(|i| cells.get(i)).map(unwrap);
        let own = self.campaign.and_then(|i| cells.get(i)).map(campaign_name);
        let is_own = own.is_some_and(|own| Some(&*own) == campaign);
        let status = cell(self.status);
        let is = |of: &[Status]| {
            let status = status.as_deref().unwrap_or_default();
            of.iter().any(|of| of.name() == status)
        };
        if !is_own || is(&[Status::Invalid]) {
            return Own::default();
        }
        let settled = is(&[Status::Verified, Status::NotVerified, Status::Rejected]);
        let attempts = cell(self.attempts).and_then(|cell| cell.parse::<u64>().ok());
        let may_be = attempts.is_none_or(|attempts| attempts > 0);
        let number = cell(self.phone).and_then(|cell| cell.strip_prefix('+')?.parse().ok());
        let by = self.written_by(cells).unwrap_or(operation);
        Own {
            line: cell(self.line).and_then(|cell| cell.parse().ok()),
            settled_at: cell(self.settled_at)
                .filter(|_| settled)
                .and_then(|cell| cell.parse().ok()),
            tried: (by == operation).then_some(
                attempts > Some(0)
                    || may_be && (settled || is(&[Status::Sent, Status::Failed, Status::Unknown])),
            ),
            number: number.and_then(Number::new),
            channel: cell(self.channel).and_then(|cell| {
                let mut channels = Channel::ALL.into_iter();
                channels.find(|channel| channel.name() == cell)
            }),
        }
    }

    /// What wrote this row, if that shows: what `verify` writes names no channel.
    pub(super) fn written_by(&self, cells: &StringRecord) -> Option<Operation> {
        let cell = |place: Option<usize>| place.and_then(|i| cells.get(i)).map(unwrap);
        let channel = cell(self.channel)?;
        let status = cell(self.status)?;
        let asks_for_none = [Status::Invalid, Status::Duplicate].map(Status::name);
        if status.is_empty() || asks_for_none.contains(&&*status) {
            return None;
        }
        Some(if channel.is_empty() {
            Operation::Verify
        } else {
            Operation::Send
        })
    }
}

/// The campaign in a cell of a result file: its name may have blanks and quotes of its own.
pub(super) fn campaign_name(cell: &str) -> String {
    if is_blank(cell) {
        String::new()
    } else {
        without_neutralisers(cell)
    }
}

/// Is this the header of a file that the program wrote?
pub(super) fn is_ours(names: &StringRecord) -> bool {
    let has = |wanted: &str| names.iter().any(|name| unwrap(name) == wanted);
    has(result_column::PHONE) && has(result_column::STATUS)
}

/// Is this a column of ours?
pub(super) fn is_result(name: &str) -> bool {
    result_column::ALL.contains(&&*unwrap(name))
}
