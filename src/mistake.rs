//! Deliberate mistakes, to show that the proofs can fail. None can be made unless this is built with
//! `--cfg otpdrive_mistakes`, which `tests/prove simulate` does; else the compiler takes them out.

macro_rules! mistakes {
    ($($name:ident: $what:literal,)+) => {
        /// A mistake that can be made on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mistake {
            $(#[doc = $what] $name,)+
        }

        impl Mistake {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What is wrong, in words.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)+
                }
            }
        }
    };
}

mistakes! {
    // The engine.
    IntentIgnored: "an intent that could not be written is ignored",
    LeavesAfterEnd: "what waits for its turn leaves after the end",
    WithdrawnForgotten: "a withdrawn number is forgotten",
    NoTurn: "a request does not wait for its turn",
    OneTooMany: "one request too many is in flight",
    HoldIgnored: "Retry-After holds nothing back",
    KeyGoesOn: "a refused key does not stop the run",
    NoDistance: "a resumed run keeps no distance",
    AnswerLost: "an answer is not written down",
    LimitOneMore: "--limit counts one too few",
    NoWave: "a wave is no reason to stop",
    NoDoubt: "a refusal that may be part of a wave is taken at its word",
    HoursIgnored: "requests leave outside of their hours",
    CapsIgnored: "a day's cap is no limit",
    BudgetIgnored: "the budget is no limit",
    StartIgnored: "requests leave before --start-at",
    DeadlineIgnored: "numbers are started after --deadline",
    CallRateIgnored: "calls have no rate of their own",
    CallPlacesIgnored: "calls have no number in flight of their own",
    CallHoursIgnored: "calls have no hours of their own",
    CallCapIgnored: "calls have no cap of their own",
    // The rules.
    NoAnswerNotSent: "no answer means not sent",
    DoubtTriedAgain: "what may have been delivered is tried again",
    RiskWithoutEnd: "more than one OTP is risked",
    FallbackAfterDoubt: "the other channel is tried after a doubt",
    OneTryTooMany: "one try too many",
    AcceptedAgain: "an accepted OTP is sent again",
    LookupForgotten: "what was looked up is forgotten",
    DoubtForgotten: "an earlier doubt is forgotten in the status",
    ServerErrorBelieved: "a 500 is believed against orders",
    OutageUsesTries: "an outage uses up tries",
    TriesOfAllRuns: "tries of earlier runs count",
    // The provider's words.
    GatewayTimeoutNotSent: "a 504 means not sent",
    UnclearRefused: "what cannot be understood means refused",
    Milliseconds: "Retry-After is taken for milliseconds",
    KeyRejected: "a 401 is the number's fault",
    // The pace.
    RateTooHigh: "the rate is one request too high",
    PauseMadeUp: "a pause is made up for",
    // Outages and retries.
    NeverOpens: "the breaker never opens",
    NeverTooLong: "no outage is too long",
    ManyProbes: "probes come as often as at first",
    NoBackoff: "the wait before a retry does not double",
    LongestBackoff: "retries all wait for the longest time",
    RetriesFirst: "retries crowd out new numbers",
    // The ledger.
    NotDurable: "a request leaves before its intent is durable",
    OneRowShort: "what is due is read to one row short",
    OneRowLate: "what is due is looked for from one row too late on",
    HoldForgotten: "Retry-After is forgotten between runs",
    NoDuplicate: "the second row of a number is not a duplicate",
    LineIsIdentity: "identity is the line, not the number",
    LastRowLost: "the last row is lost",
    NoCooldown: "what another campaign has just sent does not count",
    DoubtCoolsNothing: "what another campaign may have sent does not count",
    AnyCode: "a masked code stands for any code of its number",
    FormerDropped: "numbers that the input has no more are dropped",
    EndpointForgotten: "that an endpoint has proved right is forgotten",
}

/// Is this mistake made?
#[cfg(not(otpdrive_mistakes))]
#[must_use]
pub const fn is_made(_: Mistake) -> bool {
    false
}

/// Is this mistake made: does the variable name it?
#[cfg(otpdrive_mistakes)]
#[must_use]
pub fn is_made(mistake: Mistake) -> bool {
    static MADE: std::sync::OnceLock<Option<Mistake>> = std::sync::OnceLock::new();
    let made = MADE.get_or_init(|| {
        let name = std::env::var("OTPDRIVE_MISTAKE").ok()?;
        let mut all = Mistake::ALL.iter();
        all.find(|mistake| format!("{mistake:?}") == name).copied()
    });
    *made == Some(mistake)
}
