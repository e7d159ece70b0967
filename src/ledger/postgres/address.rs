//! Where a ledger on a server is: `postgres://USER@HOST/DATABASE?schema=NAME`, and how sure its
//! server has to be.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{self, LoadBalanceHosts};

/// What an address begins with; in any case, or a slip of it would name a file.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The schema that our tables live in.
const SCHEMA: &str = "otpdrive";

/// PostgreSQL cuts longer names.
const SCHEMA_LENGTH_MAX: usize = 63;

const PORT: u16 = 5432;

/// For each address that a host has: until it lets us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long bytes may be on their way before a connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);

/// From when on, and how often, a silent connection is looked at.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVES_RETRIES: u32 = 3;

/// What shows on the server who we are.
const APPLICATION_NAME: &str = "otpdrive";

/// Where a ledger on a server is. Nothing that it prints has its password.
#[derive(Clone)]
pub struct Address {
    /// As it was written, but for the password.
    public: String,
    /// All but the hosts.
    config: Config,
    hosts: Vec<Host>,
    database: String,
    schema: String,
    /// Where it was written.
    ssl_mode: Option<SslMode>,
    root_certificates: Option<PathBuf>,
}

/// What a server has to prove, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Nothing, and all is said in the open.
    Disable,
    /// Nothing, but nobody reads along.
    Require,
    /// That an authority which is trusted has signed its certificate.
    VerifyCa,
    /// And that the certificate is for its name.
    VerifyFull,
}

/// A server, or one of several that take over from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) place: Place,
    pub(super) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its name, and its address where that need not be looked up.
    Tcp(String, Option<IpAddr>),
    /// The folder of its socket.
    Socket(PathBuf),
}

/// Why an address is none. The texts never repeat it, for it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It begins like none.
    #[error("the address of the ledger's database begins with postgres://")]
    Scheme,
    /// It can be read in more than one way.
    #[error(
        "the address of the ledger's database cannot be told apart into its parts: within a user name or password write @ as %40, / as %2F, ? as %3F, # as %23 and % as %25; or leave the password out and set PGPASSWORD"
    )]
    Ambiguous,
    /// It does not say where.
    #[error(
        "the address of the ledger's database names no server: postgres://USER@HOST/DATABASE, or postgres://USER@/DATABASE?host=/var/run/postgresql for the socket in that folder"
    )]
    NoHost,
    /// It does not say in which database.
    #[error(
        "the address of the ledger's database names a server and no database: postgres://USER@HOST/DATABASE"
    )]
    NoDatabase,
    /// Something in it is not understood.
    #[error("the address of the ledger's database is not understood: {0}")]
    NotUnderstood(String),
}

impl SslMode {
    /// In order.
    pub const ALL: [Self; 4] = [
        Self::Disable,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// As an address has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Address {
    /// Is this the address of a database, and not the name of a file?
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        after_scheme(text).is_some()
    }

    /// Reads an address. The password may stand in the variable `PGPASSWORD` instead; `variable`
    /// gives those of the environment.
    ///
    /// # Errors
    /// When it does not say clearly what is meant.
    pub fn parse(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, AddressError> {
        let parts = Parts::of(text)?;
        let whole = configured(&parts.whole())?;
        let hosts = hosts(&whole)?;
        let database = whole.get_dbname().ok_or(AddressError::NoDatabase)?;
        let mut config = configured(&parts.without_hosts())?;
        if config.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD").filter(|password| !password.is_empty())
        {
            config.password(password);
        }
        defaults(&mut config, &parts);
        let address = Self {
            public: parts.public(),
            database: database.to_owned(),
            schema: schema(parts.value("schema"))?,
            ssl_mode: ssl_mode(parts.value("sslmode"))?,
            root_certificates: parts.value("sslrootcert").map(PathBuf::from),
            config,
            hosts,
        };
        address.is_consistent()?;
        Ok(address)
    }

    /// The address as it was written, but without its password: for messages, reports, and commands
    /// to go on with.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Which ledger it is, in whatever way and as whomever it is reached: its hosts with their ports
    /// in order, its database and its schema.
    #[must_use]
    pub fn place(&self) -> String {
        let mut hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let (hosts, database, schema) = (hosts.join(","), &self.database, &self.schema);
        format!("{hosts}/{database}/{schema}")
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The schema that our tables live in: a name that needs no quotes.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// For how long an address that a host has is tried.
    pub(super) fn connect_timeout(&self) -> Duration {
        let timeout = self.config.get_connect_timeout();
        timeout.copied().unwrap_or(CONNECT_TIMEOUT)
    }

    /// The servers in the order in which they are to be tried.
    pub(super) fn hosts(&self) -> Vec<&Host> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            fastrand::shuffle(&mut hosts);
        }
        hosts
    }

    /// What a server has to prove: everything, unless it was written otherwise or nobody else can be
    /// on the line.
    pub(super) fn ssl_mode(&self, host: &Host) -> SslMode {
        match (&host.place, self.ssl_mode) {
            (Place::Socket(_), _) => SslMode::Disable,
            (Place::Tcp(..), Some(written)) => written,
            (Place::Tcp(..), None) if host.is_loopback() => SslMode::Disable,
            (Place::Tcp(..), None) => SslMode::VerifyFull,
        }
    }

    /// The file with the authorities that are trusted, where they are not those of the machine.
    pub(super) fn root_certificates(&self) -> Option<&Path> {
        self.root_certificates.as_deref()
    }

    /// What a connection to one host begins with.
    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    fn is_consistent(&self) -> Result<(), AddressError> {
        let wrong = match (self.ssl_mode, &self.root_certificates) {
            (Some(SslMode::VerifyCa), None) => {
                "sslmode=verify-ca needs sslrootcert=FILE, for anybody can have a certificate of a public authority"
            }
            (Some(SslMode::Disable | SslMode::Require), Some(_)) => {
                "with sslrootcert nothing is verified unless sslmode is verify-ca or verify-full"
            }
            _ => return Ok(()),
        };
        Err(AddressError::NotUnderstood(wrong.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.public).finish()
    }
}

impl Host {
    fn is_loopback(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        match &self.place {
            Place::Socket(_) => true,
            Place::Tcp(_, Some(address)) => is_loopback(*address),
            Place::Tcp(name, None) => name == "localhost" || name.parse().is_ok_and(is_loopback),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.place {
            Place::Socket(folder) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
            Place::Tcp(name, _) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Place::Tcp(name, _) => write!(f, "{name}:{port}"),
        }
    }
}

/// An address in pieces, as they were written.
struct Parts<'t> {
    scheme: &'t str,
    user: &'t str,
    password: Option<&'t str>,
    hosts: &'t str,
    /// With its slash.
    database: &'t str,
    parameters: Vec<Parameter<'t>>,
}

struct Parameter<'t> {
    written: &'t str,
    name: String,
    value: String,
}

impl<'t> Parts<'t> {
    /// Takes an address apart where that can be done in one way only: a piece of a password in a
    /// wrong place would be shown.
    fn of(text: &'t str) -> Result<Self, AddressError> {
        let rest = after_scheme(text).ok_or(AddressError::Scheme)?;
        let scheme = &text[..text.len() - rest.len()];
        let (who, at) = match rest.split_once('@') {
            Some((who, at)) => (who, at),
            None => ("", rest),
        };
        if who.contains(['/', '?', '#']) || at.contains(['@', '#']) {
            return Err(AddressError::Ambiguous);
        }
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (who, None),
        };
        let (at, query) = at.split_once('?').unwrap_or((at, ""));
        let (hosts, database) = at.split_at(at.find('/').unwrap_or(at.len()));
        let parameters = query.split('&').filter(|written| !written.is_empty());
        Ok(Self {
            scheme,
            user,
            password,
            hosts,
            database,
            parameters: parameters.map(Parameter::of).collect::<Result<_, _>>()?,
        })
    }

    /// What a parameter says that was written, the last if several times.
    fn value(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().rev();
        let found = named.find(|parameter| parameter.name == name);
        found.map(|parameter| parameter.value.as_str())
    }

    /// As the database's library understands it.
    fn whole(&self) -> String {
        self.written(SCHEMES[0], self.password, self.hosts, |name| {
            !["sslmode", "sslrootcert", "schema"].contains(&name)
        })
    }

    fn without_hosts(&self) -> String {
        let ours = ["sslmode", "sslrootcert", "schema"];
        let hosts = ["host", "hostaddr", "port"];
        self.written(SCHEMES[0], self.password, "", |name| {
            !ours.contains(&name) && !hosts.contains(&name)
        })
    }

    fn public(&self) -> String {
        self.written(self.scheme, None, self.hosts, |name| name != "password")
    }

    fn written(
        &self,
        scheme: &str,
        password: Option<&str>,
        hosts: &str,
        is_kept: impl Fn(&str) -> bool,
    ) -> String {
        let who = match password {
            Some(password) => format!("{}:{password}@", self.user),
            None if self.user.is_empty() => String::new(),
            None => format!("{}@", self.user),
        };
        let kept = self.parameters.iter().filter(|it| is_kept(&it.name));
        let kept: Vec<_> = kept.map(|parameter| parameter.written).collect();
        let mark = if kept.is_empty() { "" } else { "?" };
        let (database, kept) = (self.database, kept.join("&"));
        format!("{scheme}{who}{hosts}{database}{mark}{kept}")
    }
}

impl<'t> Parameter<'t> {
    fn of(written: &'t str) -> Result<Self, AddressError> {
        // Without a name it may be a piece of anything.
        let (name, value) = written.split_once('=').ok_or(AddressError::Ambiguous)?;
        Ok(Self {
            written,
            name: decoded(name)?,
            value: decoded(value)?,
        })
    }
}

fn after_scheme(text: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// A text without its percent signs. What is no escape stays, as the database's library has it.
fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.first_chunk().filter(|_| *first == b'%');
        let digits = digits.and_then(|[a, b]: &[u8; 2]| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*a)? << 4 | digit(*b)?).ok()
        });
        bytes.push(digits.unwrap_or(*first));
        rest = if digits.is_some() {
            &behind[2..]
        } else {
            behind
        };
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Ambiguous)
}

/// The library's texts name the parameter, and not what it was said to be.
fn configured(address: &str) -> Result<Config, AddressError> {
    use std::error::Error as _;
    address.parse().map_err(|error: tokio_postgres::Error| {
        let why = error.source().map(ToString::to_string);
        AddressError::NotUnderstood(why.unwrap_or_else(|| error.to_string()))
    })
}

fn hosts(config: &Config) -> Result<Vec<Host>, AddressError> {
    let (names, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = names.len().max(addresses.len());
    let is_right = |there: usize| there == 0 || there == count;
    if count == 0 {
        return Err(AddressError::NoHost);
    }
    if !is_right(names.len())
        || !is_right(addresses.len())
        || !(ports.len() == 1 || is_right(ports.len()))
    {
        let why = "there are not as many hosts, addresses (hostaddr) and ports";
        return Err(AddressError::NotUnderstood(why.to_owned()));
    }
    let host = |n: usize| {
        let address = addresses.get(n).copied();
        let place = match (names.get(n), address) {
            (Some(config::Host::Tcp(name)), _) if name.is_empty() => {
                return Err(AddressError::NoHost);
            }
            (Some(config::Host::Tcp(name)), _) => Place::Tcp(name.to_ascii_lowercase(), address),
            (Some(config::Host::Unix(folder)), _) => Place::Socket(folder.clone()),
            (None, Some(address)) => Place::Tcp(address.to_string(), Some(address)),
            (None, None) => return Err(AddressError::NoHost),
        };
        let port = ports.get(n).or_else(|| ports.first());
        Ok(Host {
            place,
            port: port.copied().unwrap_or(PORT),
        })
    };
    (0..count).map(host).collect()
}

/// What holds unless it was written.
fn defaults(config: &mut Config, parts: &Parts) {
    let is_written = |name| parts.value(name).is_some();
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if !is_written("keepalives_idle") {
        config.keepalives_idle(KEEPALIVES_IDLE);
    }
    if !is_written("keepalives_interval") {
        config.keepalives_interval(KEEPALIVES_INTERVAL);
    }
    if !is_written("keepalives_retries") {
        config.keepalives_retries(KEEPALIVES_RETRIES);
    }
}

fn schema(written: Option<&str>) -> Result<String, AddressError> {
    let name = written.unwrap_or(SCHEMA);
    let is_letter = |c: char| c == '_' || c.is_ascii_lowercase();
    let is_right = name.starts_with(is_letter)
        && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && name.len() <= SCHEMA_LENGTH_MAX;
    if is_right {
        return Ok(name.to_owned());
    }
    let why =
        "schema is a name of small letters, digits and _, at most 63 of them, and no digit first";
    Err(AddressError::NotUnderstood(why.to_owned()))
}

fn ssl_mode(written: Option<&str>) -> Result<Option<SslMode>, AddressError> {
    let Some(written) = written else {
        return Ok(None);
    };
    let mode = SslMode::ALL.into_iter().find(|mode| mode.name() == written);
    let names = SslMode::ALL.map(SslMode::name).join(", ");
    let why = format!(
        "sslmode is one of {names}: what goes on in the open where TLS fails is no choice here"
    );
    mode.map(Some).ok_or(AddressError::NotUnderstood(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn read(text: &str) -> Result<Address, AddressError> {
        Address::parse(text, |_| None)
    }

    fn modes(text: &str) -> Vec<SslMode> {
        let address = address(text);
        let hosts = address.hosts().into_iter();
        hosts.map(|host| address.ssl_mode(host)).collect()
    }

    #[test]
    fn off_loopback_a_server_proves_who_it_is_unless_told_otherwise() {
        use SslMode::{Disable, Require, VerifyFull};
        for near in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "%2Fvar%2Frun%2Fpostgresql",
        ] {
            assert_eq!(
                modes(&format!("postgres://u@{near}/d")),
                [Disable],
                "{near}"
            );
        }
        for far in [
            "db.example.com",
            "10.0.0.1",
            "[2001:db8::1]",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "128.0.0.1",
        ] {
            let text = format!("postgres://u@{far}/d");
            assert_eq!(modes(&text), [VerifyFull], "{far}");
            for mode in [Disable, Require] {
                assert_eq!(modes(&format!("{text}?sslmode={}", mode.name())), [mode]);
            }
        }
        // What counts is where the bytes go.
        let elsewhere = "postgres://u@localhost/d?hostaddr=10.0.0.1";
        assert_eq!(modes(elsewhere), [VerifyFull]);
        let several = "postgres://u@localhost:1,db.example.com/d";
        assert_eq!(modes(several), [Disable, VerifyFull]);
        assert_eq!(modes("postgres://u@localhost/d?sslmode=require"), [Require]);
        let socket = "postgres:///d?host=/run/postgresql&sslmode=verify-full";
        assert_eq!(modes(socket), [Disable], "no TLS goes through a socket");
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        for text in [
            "postgres://u:s3cr%40t@h/d?application_name=x",
            "postgres://u@h/d?password=s3cr%40t&application_name=x",
            "postgres://u@h/d?application_name=x&pass%77ord=s3cr%40t",
        ] {
            let address = address(text);
            assert_eq!(address.config.get_password(), Some(&b"s3cr@t"[..]));
            let public = "postgres://u@h/d?application_name=x";
            assert_eq!(address.public(), public);
            let shown = format!("{address} {address:?} {}", address.place());
            assert!(!shown.contains("s3cr"), "{shown}");
        }
        let elsewhere = |name: &str| (name == "PGPASSWORD").then(|| "other".to_owned());
        let password = |text| {
            let address = Address::parse(text, elsewhere).unwrap();
            address.config.get_password().unwrap().to_owned()
        };
        assert_eq!(password("postgres://u@h/d"), b"other");
        assert_eq!(password("postgres://u:own@h/d"), b"own");
        assert_eq!(password("postgres://u:a:b@h/d"), b"a:b");
        assert_eq!(address("postgres://h/d").config.get_password(), None);
    }

    /// Each of these would show a piece of a password as something else.
    #[test]
    fn what_can_be_read_in_two_ways_is_refused_unseen() {
        for text in [
            "postgres://u:s3cr@t@h/d",
            "postgres://u:s3/cr@h/d",
            "postgres://u:s3?cr@h/d",
            "postgres://u:s3#cr@h/d",
            "postgres://u@h/d?password=s3@cr",
            "postgres://u@h/d?s3cr",
            "postgres://u:s3cr/d",
            "postgres://u:%s3cr@h/d?x%FF=1",
            "postgres://u:s3cr@h:x/d",
            "postgres://u:s3cr@h/d?connect_timeout=s3cr",
            "postgres://u:s3cr@/d",
            "postgres://u:s3cr@h",
            "postgres://u:s3cr@h/?schema=s3cr;",
            "postgres://u:s3cr@h/d?schema=s3cr;",
            "postgres://u:s3cr@h/d?sslmode=s3cr",
            "file:u:s3cr@h/d",
        ] {
            let error = read(text).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("s3"), "{text}: {said}");
        }
    }

    #[test]
    fn an_address_that_says_too_little_or_the_impossible_is_refused() {
        for (text, why) in [
            ("postgres:///d", "names no server"),
            ("postgres://u@,h/d", "names no server"),
            ("postgres://u@h", "no database"),
            ("postgres://u@h/", "no database"),
            ("postgres://u@h/d?sslmode=prefer", "disable, require"),
            ("postgres://u@h/d?sslmode=verify-ca", "needs sslrootcert"),
            (
                "postgres://u@h/d?sslmode=require&sslrootcert=f",
                "nothing is verified",
            ),
            ("postgres://u@h/d?sslkey=f", "unknown option `sslkey`"),
            ("postgres://u@a,b/d?hostaddr=::1", "not as many"),
            ("postgres://u@a:1,b:2/d?port=3", "not as many"),
            ("postgres://u@h:70000/d", "`port`"),
            ("postgres://u@h/d?schema=", "small letters"),
            ("postgres://u@h/d?schema=Otp", "small letters"),
            ("postgres://u@h/d?schema=1a", "small letters"),
            ("postgres://u@h/d?schema=a%22b", "small letters"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
        let name = "s".repeat(63);
        let text = |name| format!("postgres://u@h/d?schema={name}");
        assert_eq!(address(&text(name.clone())).schema(), name);
        assert!(read(&text(name + "s")).is_err());
        assert_eq!(address("postgres://u@h/d").schema(), "otpdrive");
    }

    #[test]
    fn what_the_address_says_goes_before_what_holds_otherwise() {
        let config = |text| address(text).config();
        let usual = config("postgres://u@h/d");
        assert_eq!(usual.get_application_name(), Some("otpdrive"));
        assert_eq!(usual.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert_eq!(usual.get_keepalives_idle(), KEEPALIVES_IDLE);
        assert_eq!(usual.get_keepalives_interval(), Some(KEEPALIVES_INTERVAL));
        let written = "postgres://u@h/d?application_name=a&tcp_user_timeout=1&keepalives_idle=2\
            &keepalives_interval=3&keepalives_retries=4&connect_timeout=5&target_session_attrs=read-write";
        let own = config(written);
        assert_eq!(own.get_application_name(), Some("a"));
        assert_eq!(own.get_tcp_user_timeout(), Some(&Duration::from_secs(1)));
        assert_eq!(own.get_keepalives_idle(), Duration::from_secs(2));
        assert_eq!(own.get_keepalives_interval(), Some(Duration::from_secs(3)));
        assert_eq!(own.get_keepalives_retries(), Some(4));
        assert_eq!(address(written).connect_timeout(), Duration::from_secs(5));
        assert_eq!(address("postgres://h/d").connect_timeout(), CONNECT_TIMEOUT);
    }

    #[test]
    fn a_ledger_is_the_same_however_it_is_reached() {
        let place = |text| address(text).place();
        assert_eq!(place("postgres://u:p@H/d"), "h:5432/d/otpdrive");
        for same in [
            "POSTGRESQL://v@h:5432/d?sslmode=require",
            "postgres:///d?host=h&port=5432&connect_timeout=3",
        ] {
            assert_eq!(place(same), "h:5432/d/otpdrive", "{same}");
        }
        let several = "a:1,b:5432/d/otpdrive";
        assert_eq!(place("postgres://b,a:1/d"), several);
        assert_eq!(place("postgres://a:1,b/d"), several);
        assert_eq!(place("postgres://[::1]/d?schema=s"), "[::1]:5432/d/s");
        let socket = place("postgres:///d?host=%2Frun%2Fpg&port=6");
        assert_eq!(socket, "/run/pg/.s.PGSQL.6/d/otpdrive");
        assert_ne!(place("postgres://h/d"), place("postgres://h/D"));
    }

    #[test]
    fn a_file_is_not_taken_for_an_address() {
        for file in [
            "otpdrive.db",
            "postgres",
            "postgres:/x",
            "./postgres://x",
            "पोस्ट",
        ] {
            assert!(!Address::is_meant_by(file), "{file}");
        }
        assert!(Address::is_meant_by("Postgres://x"));
    }
}
