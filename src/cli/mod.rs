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

use clap::Parser as _;

use crate::ledger::LedgerError;
use crate::report::ReportError;
use args::{Cli, Command};
use config::Config;
pub use exit::Exit;
use screen::Screen;

/// The whole program.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // To stderr, or to stdout for --help; there is nobody to tell if that is closed.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let screen = Screen::new(&cli.log);
    match dispatch(cli, &screen) {
        Ok(exit) => exit,
        Err(error) => {
            screen.error(&format!("otpdrive: {error:#}"));
            exit_for(&error)
        }
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
