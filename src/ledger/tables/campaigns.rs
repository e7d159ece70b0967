//! The campaigns of a ledger.

use super::db::{Columns, Db};
use super::error::{Result, out_of_range};
use crate::job::Operation;
use crate::ledger::{Campaign, CampaignKey, Span};
use crate::record::{CampaignId, CampaignRecord, InputRecord};

/// To be read by [`campaign`].
pub const SELECT_CAMPAIGN: &str =
    "SELECT id, operation, name, sandbox, input_name, input_sha256, rows,
        header, first_row, reading FROM campaign";

/// A campaign and the settings with which its input was read.
pub fn campaign(row: &Columns<'_>) -> Result<(Campaign, String)> {
    let operation: String = row.get(1)?;
    let rows: i64 = row.get(6)?;
    let first: i64 = row.get(8)?;
    // No ledger counts so far; a damaged one may.
    let in_range = rows >= 0 && first >= 0;
    let end = first.checked_add(rows).filter(|_| in_range);
    let end = end.ok_or_else(|| out_of_range(6))?;
    let record = CampaignRecord {
        id: CampaignId(row.get(0)?),
        operation: if operation == Operation::Verify.name() {
            Operation::Verify
        } else {
            Operation::Send
        },
        name: row.get(2)?,
        sandbox: row.get(3)?,
        input: InputRecord {
            name: row.get(4)?,
            sha256: row.get(5)?,
            rows: rows.cast_unsigned(),
            header: row.get(7)?,
        },
    };
    Ok((Campaign::new(record, Span { first, end }), row.get(9)?))
}

/// All campaigns, in the order in which they were first run.
pub fn all(db: Db<'_>) -> Result<Vec<Campaign>> {
    let sql = format!("{SELECT_CAMPAIGN} ORDER BY id");
    db.all(&sql, &[], |row| Ok(campaign(row)?.0))
}

/// The campaign of this id.
pub fn of(db: Db<'_>, id: CampaignId) -> Result<Campaign> {
    let sql = format!("{SELECT_CAMPAIGN} WHERE id = ?1");
    db.one(&sql, &[id.0.into()], |row| Ok(campaign(row)?.0))
}

/// The campaign that is meant, if there is one, and the settings with which its input was read.
pub fn find(db: Db<'_>, key: &CampaignKey) -> Result<Option<(Campaign, String)>> {
    let sql = format!("{SELECT_CAMPAIGN} WHERE name = ?1 AND operation = ?2 AND sandbox = ?3");
    let values = [
        (&key.name).into(),
        key.operation.name().into(),
        key.sandbox.into(),
    ];
    db.first(&sql, &values, campaign)
}
