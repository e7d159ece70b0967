//! `ledger copy`: from a file to a server, or back.

use anyhow::{Context as _, ensure};

use super::config::{at, key_if_given};
use super::exit::Exit;
use super::report::print;
use super::screen::Screen;
use super::values::Values;
use crate::ledger::{Store, Verified};
use crate::text::visible;

/// Copies a ledger.
///
/// # Errors
/// When it is not said which and where to, and as [`Store::copy`].
pub fn ledger(values: &Values, _: &Screen) -> anyhow::Result<Exit> {
    let what: Option<String> = values.optional("input", str::parse)?;
    ensure!(
        what.as_deref() == Some("copy"),
        "say what to do: otpdrive ledger copy --from LEDGER --to LEDGER"
    );
    let named = |flag: &'static str| {
        let ledger = values.path(flag.trim_start_matches('-'));
        at(flag, ledger.with_context(|| format!("{flag} is missing"))?)
    };
    let (from, to) = (named("--from")?, named("--to")?);
    let key = key_if_given(values.path("api-key-file").as_deref())?;
    let Verified {
        campaigns,
        rows,
        attempts,
        ..
    } = Store::copy(&from, &to, key.as_ref())?;
    let (from, to) = (from.to_string(), to.to_string());
    let (from, to) = (visible(&from), visible(&to));
    let text = format!(
        "campaigns: {campaigns}; rows: {rows}; requests: {attempts}. All of {from} is in {to}, and was found sound there\n\
         From now on send with one of them only: neither knows whom the other sends to, so people would be sent to twice. If you go on with {to}, put {from} away\n"
    );
    print(std::io::stdout().lock(), text.as_bytes())
}
