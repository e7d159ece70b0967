//! Log lines for machines (`--log-format json`): everything on stderr is then one JSON object per line,
//! with the keys and events that `otpdrive help logs` lists. Nothing else may be printed.

use serde_json::{Map, Value as Json, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::screen::Screen;
use crate::status::Status;

/// What a line says besides its message, by stable names.
pub type Fields = Map<String, Json>;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug,
    /// As expected.
    Info,
    /// Worth a look.
    Warn,
    /// Somebody has to do something.
    Error,
}

impl Level {
    /// `debug`, `info`, `warn`, `error`
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What stands in front of a warning.
const WARNING: &str = "warning: ";

/// Something that is said.
pub struct Line<'a> {
    /// How grave it is.
    pub level: Level,
    /// What happened, by a stable name.
    pub event: &'a str,
    /// The same for people.
    pub text: &'a str,
    /// What else is known.
    pub fields: Fields,
}

impl<'a> Line<'a> {
    /// A text for people. What it is, it says in front: `warning: …`.
    pub fn of(text: &'a str) -> Self {
        let (level, event) = if text.starts_with(WARNING) {
            (Level::Warn, "warning")
        } else {
            (Level::Info, "message")
        };
        Self {
            level,
            event,
            text,
            fields: Fields::new(),
        }
    }

    /// The text without what says in front what it is.
    pub fn message(&self) -> &'a str {
        let fronts = [WARNING, "otpdrive: ", "error: "];
        let mut bare = fronts
            .iter()
            .filter_map(|front| self.text.strip_prefix(front));
        bare.next().unwrap_or(self.text).trim_end()
    }

    /// An error.
    pub fn error(text: &'a str) -> Self {
        Self {
            level: Level::Error,
            event: "error",
            text,
            fields: Fields::new(),
        }
    }

    /// The same as this event, with this to say besides.
    pub fn named(self, event: &'a str, fields: &[(&str, Json)]) -> Self {
        let fields = fields.iter().cloned();
        Self {
            event,
            fields: fields.map(|(name, is)| (name.to_owned(), is)).collect(),
            ..self
        }
    }
}

/// Rows by status, those that occur; indexed by [`Status::index`].
pub fn by_status(counts: &[u64]) -> Json {
    let counts = Status::ALL.into_iter().zip(counts);
    let counts = counts.filter(|(_, count)| **count > 0);
    let counts = counts.map(|(status, count)| (status.name().to_owned(), json!(count)));
    Json::Object(counts.collect())
}

/// Are lines for machines wanted? For what is said before the command line can be read.
pub fn json_is_wanted() -> bool {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let mut given = args.iter().enumerate().filter_map(|(place, arg)| {
        let arg = arg.to_str()?;
        match arg.strip_prefix("--log-format")? {
            "" => args.get(place + 1)?.to_str(),
            value => value.strip_prefix('='),
        }
    });
    given.next_back() == Some("json")
}

/// Makes such lines of what the engine logs.
pub struct JsonLines(pub Screen);

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        let mut seen = Seen::default();
        event.record(&mut seen);
        // Those that nobody has named have the name of their place.
        let name = match metadata.name() {
            place if place.starts_with("event ") => match level {
                Level::Error => "error",
                Level::Warn => "warning",
                _ => "message",
            },
            name => name,
        };
        self.0.tell(Line {
            level,
            event: name,
            text: &seen.message,
            fields: seen.fields,
        });
    }
}

/// The fields of an event of the log.
#[derive(Default)]
struct Seen {
    message: String,
    fields: Fields,
}

impl Seen {
    fn take(&mut self, field: &Field, is: Json) {
        match (field.name(), is) {
            ("message", Json::String(text)) => self.message = text,
            // An empty one says nothing.
            (_, Json::String(text)) if text.is_empty() => {}
            (name, is) => {
                self.fields.insert(name.to_owned(), is);
            }
        }
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.take(field, json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, json!(value));
    }
}
