//! `check`: the plan of a `send` or a `verify`, and no request.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::config::{Config, Key};
use super::exit::Exit;
use super::files;
use super::prepare::{Form, Wanted, ensure_usable, open, take_in};
use super::screen::Screen;
use super::settings::{SEND, Setting};
use super::values::Values;
use crate::contacts::{self, Purpose};
use crate::gateway;
use crate::job::Operation::{Send, Verify};
use crate::ledger::sqlite::Restored;
use crate::ledger::{At, Opening, Store};
use crate::status::Status;

/// Shows the plan and makes no request. A ledger that is not there is not made.
///
/// # Errors
/// As `send` or `verify` before its first request; when the unusable rows cannot be written.
pub fn check(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let (config, file, purpose) = find_purpose(values, screen)?;
    let config = &config;
    let problems = values.path("problems");
    let input = open(file, config, Key::NotNeeded, screen)?;
    if let Some(problems) = &problems {
        files::ensure_can_be_replaced(config, problems, &config.out(&input.campaign.name))?;
    }
    let scratch = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("no place for a temporary file; set TMPDIR")?;
    let there = input.find_ledger(config)?;
    let at = match (there, config.restored, config.ledger.file()) {
        (true, Restored::Accept, Some(file)) => At::File(copied(file, scratch.path())?),
        (true, ..) => config.ledger.clone(),
        (false, ..) => At::File(scratch.path().join("ledger.db")),
    };
    // Codes are not looked at.
    let opening = Opening {
        key: None,
        ..config.opening()
    };
    let mut ledger = Store::open_as(&at, &opening)?;
    let wanted = Wanted {
        purpose,
        form: values.choose("json", Form::Json, Form::Table),
        problems: problems.as_deref(),
    };
    let (_, plan, _) = take_in(config, input, &wanted, &mut ledger, screen)?;
    ensure_usable(config, &plan)?;
    if let Err(missing) = config.ids_for(&plan.lanes()) {
        screen.say(&format!("warning: {missing}"));
    }
    config.prices_for(&plan.lanes())?;
    if wanted.form == Form::Table {
        screen.say("nothing was sent: this was a check");
    }
    Ok(if plan.count(Status::Invalid) > 0 {
        Exit::NeedsPerson
    } else {
        Exit::Done
    })
}

/// What the file is for: what flags say, or else what it seems to be.
fn find_purpose(
    values: &Values,
    screen: &Screen,
) -> anyhow::Result<(Config, contacts::Input, Option<Purpose>)> {
    let config = Config::new(Send, Key::NotNeeded, values)?;
    screen.hide(gateway::redactor(&config.gateway.key));
    files::ensure_lists(&config)?;
    let file = contacts::open(&config.input, config.read.clone())?;
    let column: Option<String> = values.optional("otp-column", str::parse)?;
    let is_flag = |name| values.has_flag_of(|setting| setting.name == name);
    let verifies = match column.as_deref() {
        Some("none") => return Ok((config, file, None)),
        Some(_) if is_flag("otp-column") => None,
        _ if is_flag("otp-length") => None,
        _ if values.has_flag_of(is_of_sending) => return Ok((config, file, None)),
        _ => match file.purpose()? {
            purpose @ Purpose::Send { .. } => return Ok((config, file, Some(purpose))),
            purpose @ Purpose::Verify { .. } => Some(purpose),
        },
    };
    let config = Config::new(Verify, Key::NotNeeded, &values.for_verify())?;
    let file = file.with(config.read.clone());
    Ok((config, file, verifies))
}

/// Is this a setting that means nothing to `verify`?
fn is_of_sending(setting: &Setting) -> bool {
    let mut of_sending = SEND.iter().map(|setting| setting.name);
    !["input", "on-unknown"].contains(&setting.name) && of_sending.any(|name| name == setting.name)
}

/// A copy of a ledger and its log: what may lack requests has to say so the next time, too.
fn copied(ledger: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let copy = folder.join("ledger.db");
    for end in ["", "-wal"] {
        let with_end = |path: &Path| {
            let mut whole = path.as_os_str().to_owned();
            whole.push(end);
            whole
        };
        match std::fs::copy(with_end(ledger), with_end(&copy)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("the ledger cannot be copied for a look at it");
            }
            _ => {}
        }
    }
    Ok(copy)
}
