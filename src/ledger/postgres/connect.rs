//! One connection to a server, and plain words for why there is none.

use std::error::Error;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as Tls;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use super::address::{Address, Host, Place, SslMode};
use super::tls;
use crate::certificate::wrong_with;
use crate::text::visible;

/// What moves a connection, until it ends; why it ended is told to nobody else.
pub type Wire = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// Why there is no connection. The text fits behind "failed to …: " and says what to do; it has no
/// password, and no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoConnection {
    /// In words for people.
    pub why: String,
    /// Who has to do something about it.
    pub cause: Cause,
}

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server, or the way to it: it may come back.
    Server,
    /// This machine lacks something: it may get it.
    Machine,
    /// There is no host of that name.
    NoSuchHost,
    /// The server speaks no TLS.
    NoTls,
    /// The certificate is not trusted, or not for that name.
    Certificate,
    /// The server does not let in who knocks, or not like that.
    Credentials,
    /// It has no such database.
    NoDatabase,
    /// It wants no such connection.
    Refused,
}

/// Makes a connection to the first of the hosts that lets us in. Nothing comes through it unless the
/// second part is polled, by a runtime that knows sockets. `noticed` gets what the server says
/// unasked, before the answer to the statement that it says it of.
///
/// # Errors
/// Why none of them did.
pub async fn connect(
    address: &Address,
    mut noticed: impl FnMut(&DbError) + Send + 'static,
) -> Result<(Client, Wire), NoConnection> {
    let mut failures: Vec<NoConnection> = Vec::new();
    for host in address.hosts() {
        let addresses = match ways_to(address, host).await {
            Ok(addresses) => addresses,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        let before = failures.len();
        for ip in addresses {
            match enter(address, host, ip).await {
                Ok((client, connection)) => {
                    let wire = async move { drive(connection, &mut noticed).await };
                    return Ok((client, Box::pin(wire)));
                }
                // The addresses of a host differ in nothing but whether they are there.
                Err(failure) => {
                    failures.truncate(before);
                    failures.push(failure);
                }
            }
        }
    }
    Err(NoConnection::of(failures))
}

/// The addresses of a host; a socket has none.
async fn ways_to(address: &Address, host: &Host) -> Result<Vec<Option<IpAddr>>, NoConnection> {
    let (name, port) = match &host.place {
        Place::Socket(_) => return Ok(vec![None]),
        Place::Tcp(_, Some(known)) => return Ok(vec![Some(*known)]),
        Place::Tcp(name, None) => (name.as_str(), host.port),
    };
    let found = timeout(address.connect_timeout(), lookup_host((name, port))).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let error = match found.map(|found| found.map(|it| Some(it.ip())).collect::<Vec<_>>()) {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => io::ErrorKind::NotFound.into(),
        Err(error) => error,
    };
    // A resolver that cannot be asked now is told apart by its words alone.
    let is_passing =
        error.kind() == io::ErrorKind::TimedOut || error.to_string().contains("Temporary failure");
    let (cause, why) = if is_passing {
        let why = format!("the address of {name} could not be looked up");
        (Cause::Server, format!("{why}: {}", said(&error)))
    } else {
        let why =
            format!("there is no host {name}: is its name right in the address of the ledger?");
        (Cause::NoSuchHost, why)
    };
    Err(NoConnection { why, cause })
}

type Opened = (
    Client,
    Connection<
        Socket,
        <tokio_postgres_rustls::MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream,
    >,
);

/// Tries one address of a host.
async fn enter(address: &Address, host: &Host, ip: Option<IpAddr>) -> Result<Opened, NoConnection> {
    let mode = address.ssl_mode(host);
    let mut config = address.config();
    config.port(host.port);
    match &host.place {
        Place::Socket(folder) => config.host_path(folder),
        Place::Tcp(name, _) => config.host(name),
    };
    if let Some(ip) = ip {
        config.hostaddr(ip);
    }
    config.ssl_mode(match mode {
        SslMode::Disable => Tls::Disable,
        _ => Tls::Require,
    });
    let connector = tls::connector(mode, address.root_certificates())?;
    let limit = address.connect_timeout();
    match timeout(limit, config.connect(connector)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(no_connection(address, host, mode, &error)),
        Err(_) => Err(NoConnection {
            why: format!("{host} did not answer within {} s", limit.as_secs()),
            cause: Cause::Server,
        }),
    }
}

/// Moves a connection until it ends.
async fn drive<S: TlsStream + Unpin>(
    mut connection: Connection<Socket, S>,
    noticed: &mut impl FnMut(&DbError),
) -> Result<(), tokio_postgres::Error>
where
    Connection<Socket, S>: Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message? {
            noticed(&notice);
        }
    }
    Ok(())
}

impl NoConnection {
    /// What is said of several hosts. While one of them may come back, so may the ledger.
    fn of(failures: Vec<Self>) -> Self {
        let passing = failures.iter().find(|it| it.cause == Cause::Server);
        let cause = passing.or(failures.last()).map(|failure| failure.cause);
        let why: Vec<_> = failures.into_iter().map(|failure| failure.why).collect();
        Self {
            why: why.join("; "),
            cause: cause.unwrap_or(Cause::Server),
        }
    }
}

/// Why a host did not let us in.
fn no_connection(
    address: &Address,
    host: &Host,
    mode: SslMode,
    error: &tokio_postgres::Error,
) -> NoConnection {
    let (cause, why) = if let Some(error) = error.as_db_error() {
        refused(address, host, mode, error)
    } else if let Some(found) = tls_error(error) {
        of_tls(host, found)
    } else {
        of_the_way(host, mode, error)
    };
    NoConnection { why, cause }
}

/// The server itself said no.
fn refused(address: &Address, host: &Host, mode: SslMode, error: &DbError) -> (Cause, String) {
    let (database, said) = (visible(address.database()), in_short(error));
    match *error.code() {
        SqlState::INVALID_PASSWORD => (
            Cause::Credentials,
            format!(
                "{host} does not take this user with this password ({said}): look at the address of the ledger, or at PGPASSWORD"
            ),
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION if mode == SslMode::Disable => (
            Cause::Credentials,
            format!(
                "{host} does not let this user in without TLS, or not from here ({said}): name an sslmode in the address of the ledger, or look at the server's pg_hba.conf"
            ),
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => (
            Cause::Credentials,
            format!(
                "{host} does not let this user in, or not from here ({said}): look at the address of the ledger and at the server's pg_hba.conf"
            ),
        ),
        SqlState::INVALID_CATALOG_NAME => (
            Cause::NoDatabase,
            format!(
                "{host} has no database {database} ({said}): create it, or name another in the address of the ledger"
            ),
        ),
        SqlState::TOO_MANY_CONNECTIONS
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN => (
            Cause::Server,
            format!("{host} takes no connections now ({said})"),
        ),
        _ => (
            Cause::Refused,
            format!("{host} refused the connection ({said})"),
        ),
    }
}

fn of_tls(host: &Host, error: &rustls::Error) -> (Cause, String) {
    const UNKNOWN: &str =
        "is not trusted: nobody whom this machine, or sslrootcert, trusts has signed it";
    match error {
        rustls::Error::InvalidCertificate(why) => (
            Cause::Certificate,
            format!(
                "the certificate of {host} {}. sslrootcert=FILE in the address of the ledger names the authority to trust",
                wrong_with(why, UNKNOWN)
            ),
        ),
        other => (Cause::NoTls, format!("no TLS with {host}: {other}")),
    }
}

/// It is not there, or broke off, or what was said could not be understood.
fn of_the_way(host: &Host, mode: SslMode, error: &tokio_postgres::Error) -> (Cause, String) {
    let cause = error.source();
    let words = cause.map(ToString::to_string).unwrap_or_default();
    let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    match (io.map(io::Error::kind), words.as_str()) {
        (Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound), _) => (
            Cause::Server,
            format!(
                "nobody listens at {host}: does PostgreSQL run there, and are host and port right in the address of the ledger?"
            ),
        ),
        (Some(io::ErrorKind::TimedOut), _) => (
            Cause::Server,
            format!("{host} cannot be reached: it did not answer in time"),
        ),
        (Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), _) => (
            Cause::Server,
            format!("{host} closed the connection without a word"),
        ),
        (Some(_), _) => (
            Cause::Server,
            format!("no connection to {host}: {}", visible(&words)),
        ),
        (None, "server does not support TLS") => (
            Cause::NoTls,
            format!(
                "{host} speaks no TLS, and sslmode={} asks for it. Turn it on there (ssl = on); only where nobody else can be on the line name sslmode=disable in the address of the ledger",
                mode.name()
            ),
        ),
        (None, "password missing") => (
            Cause::Credentials,
            format!(
                "{host} asks for a password: set PGPASSWORD, or write it into the address of the ledger"
            ),
        ),
        (None, _) if error.is_closed() => (
            Cause::Server,
            format!("{host} closed the connection without a word"),
        ),
        (None, _) => (
            Cause::Refused,
            format!("no connection to {host}: {}", describe(error)),
        ),
    }
}

/// The error of TLS in one of the database's library.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let io = error.source()?.downcast_ref::<io::Error>()?;
    io.get_ref()?.downcast_ref()
}

/// What the database said, without what it quotes: details, and whatever it could not read, have
/// numbers of people in them.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return in_short(said);
    }
    let mut words = error.to_string();
    if let Some(cause) = error.source() {
        // Writing to a String cannot fail.
        let _ = write!(words, ": {}", visible(&cause.to_string()));
    }
    words
}

fn in_short(error: &DbError) -> String {
    /// Data that cannot be what they should be: the message has them.
    const DATA: &str = "22";
    let code = error.code().code();
    if code.starts_with(DATA) {
        return format!("SQLSTATE {code}");
    }
    format!("{}, SQLSTATE {code}", visible(error.message()))
}

/// What the system said.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => visible(&error.to_string()).into_owned(),
    }
}
