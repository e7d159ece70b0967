//! Commands about a campaign, complete: for the page and for the screen.

use std::path::Path;

use crate::job::Operation;
use crate::number::mask_name;
use crate::record::CampaignRecord;
use crate::status::Status;
use crate::text::{shell_word, visible};

/// What is longer than this may be broken.
pub const PIECE_MAX: usize = 34;

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

/// A command line as it was given: whatever the pieces are, with blanks between they are that line.
#[must_use]
pub fn in_pieces(line: &str) -> Pieces {
    let mut flags = line.split(" --");
    let command = flags.next().map(str::to_owned);
    let flags = flags.flat_map(|flag| {
        let whole = format!("--{flag}");
        match whole.split_once(' ') {
            Some((name, value)) if whole.len() > PIECE_MAX => {
                vec![name.to_owned(), value.to_owned()]
            }
            _ => vec![whole],
        }
    });
    command.into_iter().chain(flags).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_stays_with_its_value_unless_both_are_long() {
        let line = "otpdrive send 'a --b.csv' --rate 5/s --endpoint https://gateway.example/api/v1/TwoFactor";
        let pieces = in_pieces(line);
        assert_eq!(pieces.join(" "), line);
        assert_eq!(pieces[2..4], ["--rate 5/s", "--endpoint"]);
    }
}
