//! otpdrive: bulk phone verification that never sends twice unknowingly. This page is the map of
//! the house; `README.md` shows how to begin, and [`doc`] is the manual.
//!
//! # The idea
//!
//! The **ledger** is the only thing written while a campaign runs. It stores *facts*: rows as read,
//! requests begun, requests answered, what turned up in a run. Facts stay facts: an attempt is
//! written twice in its life, begun and answered, and never changed; what is true of a run and not
//! of a number (its policy, "outage from … until …", a wave of one refusal, a proven endpoint) is a
//! fact of the run. *Judgements* (`sent`, `failed`, `unknown`, what to do next) are derived by one
//! fold over both, [`status::outcome`], and one table, [`next::next_step`]; the engine, the progress
//! line, the result files, `status` and recovery after a crash all use these two, so they cannot
//! disagree. A request that was begun and never answered *is* the definition of `unknown`. Result
//! files are pure renderings of the ledger, made when a run ends and again at any time.
//!
//! ```text
//!  file ──contacts──▶ Contact ──plan──▶ ledger ──▶ Job ──deliver──▶ Attempt ──▶ ledger ──report──▶ results.csv
//!                                                   │  ▲                                           report.json
//!                  slot, connection, intent, turn   │  │ Verdict
//!                                                   ▼  │
//!                                                  gateway   (one request, one verdict)
//! ```
//!
//! # The rooms, in reading order
//!
//! | level | room | what lives there |
//! |---|---|---|
//! | 0 | [`number`] [`job`] | the nouns: number, lane, row, job, attempt, answer, verdict |
//! | 0 | [`run`] | what is true of a run, and what an attempt means in its light |
//! | 0 | [`status`] [`next`] | the fold from facts to a status; the table of next steps |
//! | 0 | [`journey`] | one number over all campaigns: its OTPs, and the codes that came back |
//! | 0 | [`record`] [`summary`] [`requests`] | campaigns, runs and rows as a report reads them; counts that add up |
//! | 0 | [`text`] [`decode`] [`redact`] | what is invisible, wide, obeyed by a terminal or encoded; keys and codes taken out |
//! | 0 | [`certificate`] | what is wrong with one, in words |
//! | 0 | [`figures`] | numbers, shares and times as people read them |
//! | 0 | [`money`] [`calendar`] | amounts and prices, exact; hours, days and caps in a time zone |
//! | 0 | [`exit`] | how the program ends |
//! | 0 | [`clock`] | the wall clock, read once per run |
//! | 0 | [`doc`] | the reference, a topic per file: what `help TOPIC`, the manual page and rustdoc show |
//! | 0 | [`mistake`] | switches for the mistakes that the proofs have to catch; nothing in a build |
//! | 1 | [`contacts`] | file bytes to contacts: encoding, dialect, columns, numbers, codes |
//! | 1 | [`gateway`] | one request, one verdict; all that is KooKoo's, and HTTP |
//! | 1 | [`ledger`] | the durable memory behind two traits; rules; one SQLite file |
//! | 1 | [`pace`] [`retry`] [`outage`] | pure policy: the rate, delays and their budget, the breaker |
//! | 1 | [`report`] | renderings: `results.csv`, `report.json`, `report.html`, metrics; the one place that writes them |
//! | 2 | [`campaign`] | the engine: `deliver` is one number's whole life; slots, watch |
//! | 3 | [`sandbox`] | the imitation gateway: a real HTTP server with magic numbers and faults |
//! | 4 | [`cli`] | settings to a config to the composition to an exit code; the screen |
//!
//! A flower, not a chain: the rooms of level 1 never see each other, and each room sees only lower
//! levels (`campaign` neither `contacts` nor `report`). A change to CSV reading, to the provider, to
//! the retry rule, to storage or to a report is a change in one room. A ledger that several machines
//! share fits behind [`ledger::Ledger`], another provider behind [`gateway::Gateway`].
//!
//! # What is absent, on purpose
//!
//! - `campaign` opens no file and knows no HTTP; it names neither `ledger::sqlite` nor
//!   `gateway::http`. Ledger, gateway, clock, seed and stop signal are handed to it.
//! - Nothing outside `gateway` knows HTTP or the provider's words but the sandbox, which imitates
//!   them by hand, and `cli`, which borrows its URL type.
//! - Nothing outside `ledger/sqlite` knows SQL. Nothing stores a judgement, and nothing that was
//!   stored is corrected.
//! - Nothing reads a result file back, but as the input that it is for the next run.
//! - No library re-sends on its own: redirects, retries, referers and proxies of the environment
//!   are off in `gateway::http`, and every retry is an [`job::Attempt`] in the ledger.
//! - No request leaves without a durable intent, nor before its turn: a connection that has to be
//!   made first waits at the threshold.
//! - A key and a code are `SecretString`s, a number prints masked unless
//!   [`number::Number::e164`] is written out; no flag takes the key.
//! - No `unsafe`, and no `process::exit` but at the second Ctrl-C.
//!
//! # One word, one meaning
//!
//! - **campaign**: what "never twice" refers to: one number, one campaign, one OTP.
//! - **run**: one process working on a campaign. A series of failures is a *streak*.
//! - **lane**: one of the provider's three requests: SMS, call, verify. A *channel* is how an OTP
//!   travels: SMS or call.
//! - **job**: one number (to verify: and one code) within a campaign. **Row**: a line of the input.
//! - **attempt**: one request for a job, begun and maybe answered. **Intent**: its first half, written
//!   before it leaves. **Try**: an attempt that counts against `--max-attempts`.
//! - **verdict**: what an answer says, a fact. **Meaning**: what it says of the number, in the light
//!   of its run. **Status**: what became of the row.
//! - **held**: a lane that waits for a `Retry-After`. A ledger that another process works with is
//!   *locked*. `--on-unknown hold` leaves a number to a person.
//! - **slot**: a place among the requests in flight. **Turn**: the moment at which the pace lets a
//!   request leave. **Parked**: in hand, without a slot.
//! - **in doubt**: it may still turn out that a failure is the outage's, or a refusal the account's.
//! - **wave**: many numbers in a row refused in the same words.
//! - **journey**: what one number went through over all campaigns of a ledger that count the same.
//! - **purged**: a campaign whose people were taken out of the ledger; its counts are left.
//! - **probe**: the one request that goes out now and then while a breaker is open.
//!
//! `tests/it/house.rs` keeps the table of rooms, the reference and the README true.

pub mod calendar;
pub mod campaign;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod contacts;
pub mod decode;
pub mod doc;
pub mod exit;
pub mod figures;
pub mod gateway;
pub mod job;
pub mod journey;
pub mod ledger;
pub mod mistake;
pub mod money;
pub mod next;
pub mod number;
pub mod outage;
pub mod pace;
pub mod record;
pub mod redact;
pub mod report;
pub mod requests;
pub mod retry;
pub mod run;
pub mod sandbox;
pub mod status;
pub mod summary;
pub mod text;
