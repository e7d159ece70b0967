//! otpdrive: bulk phone verification that never sends twice unknowingly. This page is the map of
//! the house; the `README` is the manual.
//!
//! # The idea
//!
//! The **ledger** is the only thing written while a campaign runs. It stores *facts*: rows as read,
//! requests begun, requests answered. *Judgements* (`sent`, `failed`, `unknown`, what to do next) are
//! derived from the facts by two functions, [`outcome::outcome`] and [`outcome::next_step`]; the
//! progress line, the result files, `status` and recovery after a crash all use these two, so they
//! cannot disagree. A request that was begun and never answered *is* the definition of `unknown`.
//! Result files are pure renderings of the ledger, made when a run ends and again at any time.
//!
//! ```text
//!  file ──contacts──▶ Contact ──plan──▶ ledger ──▶ Job ──campaign──▶ Attempt ──▶ ledger ──report──▶ results.csv
//!                                                   │  ▲                                            report.json
//!                     slot, durable intent, pace    │  │ Verdict
//!                                                   ▼  │
//!                                                  gateway   (one request, one verdict)
//! ```
//!
//! # The rooms, in reading order
//!
//! | room | what lives there | what it sees |
//! |---|---|---|
//! | [`outcome`] | the nouns (number, lane, job, attempt, verdict, status), the fold, the table of next steps | nothing |
//! | [`campaign`] | the engine: who is next, may it go now, begin, send, settle, decide | `outcome` `record` `clock` `pace` `retry` `outage`, and the traits of `gateway` and `ledger` |
//! | [`gateway`] | KooKoo's words and the HTTP client: one request, one verdict | `outcome` `clock` `redact` |
//! | [`ledger`] | the durable memory: one trait, one SQLite file | `outcome` `record` |
//! | [`pace`] | the rate: who leaves when | nothing |
//! | [`retry`] | backoff with jitter, and the budget for retries | nothing |
//! | [`outage`] | the circuit breaker | `outcome` |
//! | [`contacts`] | file bytes to contacts: encoding, dialect, columns, numbers, codes | `outcome` |
//! | [`record`] | what a ledger knows of campaigns, runs and rows, as a report reads it | `outcome` |
//! | [`summary`] | counts, latencies and messages of rows, added up | `outcome` `record` |
//! | [`report`] | renderings: `results.csv`, `report.json`; the one place that writes them | `outcome` `record` `redact` `summary` |
//! | [`sandbox`] | the imitation gateway: a real HTTP server with magic numbers and faults | `outcome` |
//! | [`clock`] | the wall clock, read once a run | `outcome` |
//! | [`redact`] | makes texts fit to be shown: no keys, no codes, nothing a terminal obeys | nothing |
//! | [`cli`] | arguments to a validated config to the composition to an exit code; the screen | all |
//!
//! A flower, not a chain: `contacts`, `gateway`, `ledger`, `pace`, `retry`, `outage`, `report` and
//! `sandbox` never see each other. A change to CSV reading, to the provider, to the retry rule, to
//! storage or to a report is a change in one room. A second ledger (shared by several machines)
//! fits behind [`ledger::Ledger`], another provider behind [`gateway::Gateway`].
//!
//! # What is absent, on purpose
//!
//! - `campaign` opens no file and knows no HTTP; it names neither `ledger::sqlite` nor
//!   `gateway::http`. Ledger, gateway, clock, seed and stop signal are handed to it.
//! - Nothing outside `gateway` knows HTTP but the sandbox, which imitates it by hand, and
//!   `cli::config`, which borrows its URL type.
//! - Nothing outside `ledger/sqlite` knows SQL. Nothing stores a judgement.
//! - Nothing reads a result file back.
//! - No library re-sends on its own: redirects, retries, referers and proxies of the environment
//!   are off in `gateway::http`, and every retry is an [`outcome::Attempt`] in the ledger.
//! - Every outside crate has its room.
//! - A key and a code are `SecretString`s, a number prints masked unless
//!   [`outcome::Number::e164`] is written out; no flag takes the key.
//! - No `unsafe`, and no `process::exit` but at the second Ctrl-C.
//!
//! `tests/it/house.rs` keeps the table of rooms and the README true.

pub mod campaign;
pub mod cli;
pub mod clock;
pub mod contacts;
pub mod gateway;
pub mod ledger;
pub mod outage;
pub mod outcome;
pub mod pace;
pub mod record;
pub mod redact;
pub mod report;
pub mod retry;
pub mod sandbox;
pub mod summary;
