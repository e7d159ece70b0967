//! Commands about a campaign, complete: for the page and for the screen.

use std::path::Path;

use crate::job::Operation;
use crate::number::mask_name;
use crate::record::CampaignRecord;
use crate::status::Status;
use crate::text::{shell_word, visible};

/// A command line in pieces: a flag and its value stay on one line.
pub type Pieces = Vec<String>;

/// What every command about this campaign needs; `ledger` where it is not the default one.
fn about(campaign: &CampaignRecord, ledger: Option<&Path>) -> Pieces {
    let mut pieces = Vec::new();
    if campaign.sandbox {
        pieces.push("--sandbox".to_owned());
    }
    if let Some(ledger) = ledger {
        let ledger = mask_name(&ledger.to_string_lossy());
        pieces.push(format!("--ledger {}", visible(&shell_word(&ledger))));
    }
    let name = mask_name(&campaign.name);
    pieces.push(format!("--campaign {}", visible(&shell_word(&name))));
    pieces
}

/// Prints the rows with these statuses.
#[must_use]
pub fn only(campaign: &CampaignRecord, ledger: Option<&Path>, statuses: &[Status]) -> Pieces {
    let mut pieces = vec!["otpdrive report".to_owned()];
    pieces.extend(about(campaign, ledger));
    if campaign.operation == Operation::Verify {
        pieces.push("--operation verify".to_owned());
    }
    let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
    pieces.push(format!("--only {}", names.join(",")));
    pieces
}

/// Notes what was looked up with the provider.
#[must_use]
pub fn settle(campaign: &CampaignRecord, ledger: Option<&Path>) -> Pieces {
    let mut pieces = vec!["otpdrive settle unknown.csv".to_owned()];
    pieces.extend(about(campaign, ledger));
    pieces.push("--as sent".to_owned());
    pieces
}
