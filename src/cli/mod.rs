//! The composition: arguments, a validated config, the rooms put together, an exit code.

mod args;
mod config;
mod exit;
mod plan;
mod report;
mod run;
mod sandbox;
mod screen;
mod signals;
mod values;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser as _;

use crate::ledger::LedgerError;
use crate::report::ReportError;
use crate::text::visible;
use args::{Cli, Command};
use config::Config;
pub use exit::Exit;
use screen::{Cleaner, Screen};

/// The whole program.
#[must_use]
pub fn main() -> Exit {
    let cleaner = Cleaner::new();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // There is nobody to tell if stdout or stderr is closed.
            if !error.use_stderr() {
                let _ = error.print();
                return Exit::Done;
            }
            // Arguments are repeated in it: names of files may hold what a terminal obeys.
            let shown = std::env::args_os().map(|arg| visible(&arg.to_string_lossy()).into_owned());
            let error = Cli::try_parse_from(shown).err().unwrap_or(error);
            let text = cleaner.lines(&error.render().to_string());
            let _ = std::io::stderr().write_all(text.as_bytes());
            return Exit::Usage;
        }
    };
    let screen = Screen::new(&cli.log, cleaner);
    screen.report_panics();
    // Nothing of what was unwound is used afterwards.
    match catch_unwind(AssertUnwindSafe(|| dispatch(cli, &screen))) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            screen.error(&format!("otpdrive: {error:#}"));
            exit_for(&error)
        }
        // It has said so itself.
        Err(_) => Exit::Bug,
    }
}

fn dispatch(cli: Cli, screen: &Screen) -> anyhow::Result<Exit> {
    signals::survive_file_limits()?;
    let log_numbers = cli.log.log_numbers;
    match cli.command {
        Command::Send(args) => run::run(&Config::send(args, true, log_numbers)?, screen),
        Command::Verify(args) => run::run(&Config::verify(args, log_numbers)?, screen),
        Command::Check(args) => run::check(&Config::send(args, false, log_numbers)?, screen),
        Command::Report(args) => report::report(&args, screen),
        Command::Status(args) => report::status(&args),
        Command::Sandbox(args) => sandbox::serve(args, screen),
    }
}

/// What goes wrong after the first request is dealt with where it happens, by [`run`].
fn exit_for(error: &anyhow::Error) -> Exit {
    if let Some(LedgerError::Held { .. }) = error.downcast_ref() {
        return Exit::Held;
    }
    match error.downcast_ref::<ReportError<LedgerError>>() {
        Some(ReportError::Unbalanced { .. }) => Exit::Bug,
        Some(_) | None => Exit::Usage,
    }
}
