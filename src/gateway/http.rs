//! The HTTP client: makes the requests, and tells what surely did not leave from what may have, by
//! types and not by texts.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, Uri};
use reqwest::{Proxy, Url};
use rustix::io::Errno;
use rustls::{AlertDescription, ClientConfig};
use secrecy::{ExposeSecret, SecretString};
use tokio::select;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::connection::{self, Connection, Connections, TimedOut, Warm};
use super::words::{self, Reply};
use super::{Cause, Gateway, NoConnection, Ready};
use crate::certificate::wrong_with;
use crate::clock::Clock;
use crate::job::{Job, Lane, Verdict, VerdictKind};
use crate::number::Number;
use crate::redact::{Redactor, without_code};
use crate::text::percent_encoded;

/// Bodies are not read beyond this many bytes.
const BODY_MAX: usize = 64 * 1_024;

/// What stands before an international number: encoded, or it would arrive as a space.
const PLUS: &str = "%2B";

const NOT_IN_TIME: &str = "no answer in time";

const TOO_LATE: &str = "the connection waited too long for its turn";

const CLOSED: &str = "the connection was closed before the request left";

const GONE: &str = "the connection was gone before the request left";

const NO_FILE_HANDLE: &str =
    "no file handle is left on this machine: raise the limit (ulimit -n), or lower --concurrency";

const NO_ROOTS: &str = "this machine has no certificates of authorities to trust: install ca-certificates, or name a file of them in SSL_CERT_FILE. Nothing was sent";

/// What the client needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where the API is: `https://kookoo.in/api/v1/TwoFactor`, no slash at the end, no query.
    pub endpoint: Url,
    /// The account's key.
    pub key: SecretString,
    /// The sender of text messages; empty when none are sent.
    pub sender_id: String,
    /// The caller of calls; empty when none are made.
    pub caller_id: String,
    /// For one request, from its first byte to the end of its answer.
    pub timeout: Duration,
    /// For name look-up, connection and TLS.
    pub connect_timeout: Duration,
    /// A proxy to go through; none is used unless named here.
    pub proxy: Option<Url>,
}

/// Speaks KooKoo's two-factor API.
pub struct KooKoo {
    connections: Connections,
    timeout: Duration,
    clock: Clock,
    redactor: Redactor,
    /// To which connections are made.
    host: String,
    /// Is that the proxy's?
    by_proxy: bool,
    /// What each request begins with, up to its parameters.
    endpoints: [String; Lane::ALL.len()],
    /// What each request says besides.
    headers: HeaderMap,
    key: SecretString,
    sender_id: String,
    caller_id: String,
}

impl KooKoo {
    /// A client; no connection is made yet.
    ///
    /// # Errors
    /// When TLS or the proxy cannot be set up.
    pub fn new(settings: &Settings, clock: Clock) -> Result<Self, String> {
        let is_plain = |url: &Url| url.scheme() == "http";
        let is_plain = is_plain(&settings.endpoint) && settings.proxy.iter().all(is_plain);
        let tls = connection::tls(is_plain).map_err(|error| format!("{NO_ROOTS} ({error})"))?;
        Self::with_tls(settings, clock, tls)
    }

    pub(super) fn with_tls(
        settings: &Settings,
        clock: Clock,
        tls: ClientConfig,
    ) -> Result<Self, String> {
        let headers = headers(settings, &tls)?;
        let proxy = settings.proxy.clone().map(Proxy::all).transpose();
        let proxy = proxy.map_err(|error| format!("--proxy: {}", describe(error)))?;
        let host = settings.proxy.as_ref().unwrap_or(&settings.endpoint);
        let connections = Connections::new(
            settings.endpoint.clone(),
            tls,
            proxy,
            settings.connect_timeout,
        );
        let endpoint = |lane| endpoint(settings, lane);
        Ok(Self {
            connections,
            headers,
            timeout: settings.timeout,
            clock,
            redactor: super::redactor(&settings.key),
            by_proxy: settings.proxy.is_some(),
            host: host.host_str().unwrap_or_default().to_owned(),
            endpoints: Lane::ALL.map(endpoint),
            key: SecretString::from(percent_encoded(settings.key.expose_secret())),
            sender_id: percent_encoded(&settings.sender_id),
            caller_id: percent_encoded(&settings.caller_id),
        })
    }

    /// What is asked for: parameters in the order of the API's documentation.
    fn uri(&self, job: &Job, lane: Lane) -> Result<Uri, String> {
        let (endpoint, key) = (&self.endpoints[lane.index()], self.key.expose_secret());
        let uri = match lane {
            Lane::Sms => format!(
                "{endpoint}?phone_no={PLUS}{}&api_key={key}&sender_id={}",
                job.number.digits(),
                self.sender_id
            ),
            Lane::Call => format!(
                "{endpoint}?api_key={key}&caller_id={}&phone_no={}",
                self.caller_id,
                national(job.number)
            ),
            Lane::Verify => format!(
                "{endpoint}?phone_no={PLUS}{}&otp={}&api_key={key}",
                job.number.digits(),
                job.code
                    .as_ref()
                    .map(|code| percent_encoded(code.expose_secret()))
                    .unwrap_or_default()
            ),
        };
        Uri::from_maybe_shared(Bytes::from(uri)).map_err(|error| error.to_string())
    }

    fn request(&self, uri: Uri) -> Request<String> {
        let mut request = Request::new(String::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Takes out of a verdict's text what must not be kept: the key, and the code.
    fn cleaned(&self, mut verdict: Verdict, code: Option<&SecretString>) -> Verdict {
        let text = self.redactor.clean(&verdict.text);
        verdict.text = words::cut(match code {
            Some(code) => without_code(&text, code).into_owned(),
            None => text.into_owned(),
        });
        verdict
    }

    /// Why no connection could be made. What lasts is named with its host.
    fn no_connection(&self, error: reqwest::Error, code: Option<&SecretString>) -> NoConnection {
        let host = &self.host;
        let (cause, why) = if no_file_handle(&error) {
            (Cause::Machine, NO_FILE_HANDLE.to_owned())
        } else if no_such_host(&error) {
            (Cause::NoSuchHost, format!("there is no host {host}"))
        } else if let Some(why) = bad_certificate(&error) {
            let why = format!("the certificate of {host} {why}");
            (Cause::Certificate, why)
        } else if let Some(why) = no_tls(&error) {
            (Cause::NoTls, format!("what answers at {host} {why}"))
        } else if asks_for_credentials(&error) {
            let why = format!("the proxy {host} asks for credentials, or for others (HTTP 407)");
            (Cause::ProxyCredentials, why)
        } else if self.by_proxy && is_refused(&error) {
            let why = format!("no connection to the proxy {host}: refused, nobody listens there");
            (Cause::Proxy, why)
        } else {
            (Cause::Gateway, describe(error))
        };
        let verdict = Verdict::new(VerdictKind::Unreachable, why);
        let why = self.cleaned(verdict, code).text;
        NoConnection { why, cause }
    }
}

impl Gateway for KooKoo {
    type Ready<'g> = Waiting<'g>;

    async fn connect(&self, job: &Job, lane: Lane) -> Result<Waiting<'_>, NoConnection> {
        if lane == Lane::Verify && job.code.is_none() {
            // Asking with an empty code would get "wrong", which would be taken for an answer.
            let why = "there is no code to check";
            return Err(Verdict::new(VerdictKind::Unreachable, why).into());
        }
        let uri = self.uri(job, lane);
        let uri = uri.map_err(|why| Verdict::new(VerdictKind::Unreachable, why))?;
        let way = if let Some(warm) = self.connections.warm() {
            Way::Warm(warm)
        } else {
            let opened = self.connections.open().await;
            Way::New(opened.map_err(|error| self.no_connection(error, job.code.as_ref()))?)
        };
        Ok(Waiting {
            gateway: self,
            lane,
            code: job.code.clone(),
            uri,
            way,
        })
    }

    fn lead(&self) -> Duration {
        self.connections.lead()
    }
}

/// A request that has its connection, and waits for its turn.
pub struct Waiting<'g> {
    gateway: &'g KooKoo,
    lane: Lane,
    code: Option<SecretString>,
    uri: Uri,
    way: Way<'g>,
}

enum Way<'g> {
    Warm(Warm<'g>),
    New(Connection),
}

impl Ready for Waiting<'_> {
    async fn go(self) -> Verdict {
        let gateway = self.gateway;
        let (connection, age) = match self.way {
            Way::New(connection) => (connection, None),
            Way::Warm(warm) => match warm.redeem() {
                Some((connection, age)) => {
                    // What the peer has done meanwhile is to be seen before anything is written: the
                    // runtime asks the system before it goes on with those who yield.
                    yield_now().await;
                    (connection, Some(age))
                }
                None => return Verdict::new(VerdictKind::Withdrawn, TOO_LATE),
            },
        };
        let exchanged = gateway.exchange(connection, age, self.uri, self.lane).await;
        match exchanged {
            Some(verdict) => gateway.cleaned(verdict, self.code.as_ref()),
            None => gateway.not_sent(age),
        }
    }
}

impl KooKoo {
    /// What is said of a request whose connection had ended; `age`: so long it had been idle.
    fn not_sent(&self, age: Option<Duration>) -> Verdict {
        let Some(age) = age else {
            return Verdict::new(VerdictKind::Unreachable, CLOSED);
        };
        self.connections.found_closed(age);
        Verdict::new(VerdictKind::Withdrawn, GONE)
    }

    /// Sends a request on a connection that has been idle for so long, if it was used before; says what
    /// came of it, or `None`: it surely was not sent.
    async fn exchange(
        &self,
        mut connection: Connection,
        age: Option<Duration>,
        uri: Uri,
        lane: Lane,
    ) -> Option<Verdict> {
        let mut alarm = connection.alarm(Instant::now() + self.timeout);
        let mut head = None;
        let came = {
            // Pinned here and not moved, for it is large.
            let answer = pin!(async {
                let answer = connection.send(self.request(uri)).await?;
                let retry_after = answer.headers().get(header::RETRY_AFTER).cloned();
                let idle_max = connection::idle_max(&answer);
                head = Some((answer.status().as_u16(), retry_after, idle_max));
                Ok(body(&mut connection, answer).await)
            });
            select! {
                biased;
                came = answer => Some(came),
                () = &mut alarm => None,
            }
        };
        let body = match came {
            Some(Ok(body)) => {
                connection.keep(alarm);
                body
            }
            Some(Err(error)) if hyper::Error::is_canceled(&error) => return None,
            Some(Err(error)) => {
                if let Some(age) = age {
                    self.connections.found_closed(age);
                }
                return Some(no_answer(&error));
            }
            None => Err(NOT_IN_TIME.to_owned()),
        };
        let Some((status, retry_after, idle_max)) = head else {
            return Some(Verdict::new(VerdictKind::NoAnswer, NOT_IN_TIME));
        };
        if age.is_some() {
            self.connections.was_kept();
        }
        let idle_max = idle_max.filter(|_| body.is_ok() && connection.is_ready());
        self.connections.take_back(connection, idle_max);
        let reply = Reply {
            status,
            retry_after: retry_after.as_ref().and_then(|value| value.to_str().ok()),
            body: body.as_deref().map_err(String::as_str),
        };
        Some(words::verdict(lane, &reply, self.clock.now()))
    }
}

/// Where the request of a lane goes. A proxy that is asked in the plain has to be told to whom.
fn endpoint(settings: &Settings, lane: Lane) -> String {
    let endpoint = &settings.endpoint;
    let base = endpoint.path().trim_end_matches('/');
    let path = format!("{base}/{}", words::request_name(lane));
    if is_forwarded(settings) {
        format!("http://{}{path}", authority(endpoint))
    } else {
        path
    }
}

/// Does the proxy read the requests? Else it is given a tunnel.
fn is_forwarded(settings: &Settings) -> bool {
    settings.proxy.is_some() && settings.endpoint.scheme() == "http"
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What each request says beside its address.
fn headers(settings: &Settings, tls: &ClientConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let agent = HeaderValue::from_static(connection::USER_AGENT);
    headers.insert(header::USER_AGENT, agent);
    let host = HeaderValue::try_from(authority(&settings.endpoint));
    headers.insert(header::HOST, host.map_err(|error| error.to_string())?);
    if let Some(proxy) = settings.proxy.as_ref().filter(|_| is_forwarded(settings)) {
        let client = connection::builder(tls.clone()).build().map_err(describe)?;
        // Made of what stands before the host in the address.
        let credentials = client.get(proxy.clone()).build().map_err(describe)?;
        if let Some(credentials) = credentials.headers().get(header::AUTHORIZATION) {
            headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
        }
    }
    Ok(headers)
}

/// The ten digits of an Indian number; the international form of others.
fn national(number: Number) -> String {
    number.indian_national().map_or_else(
        || format!("{PLUS}{}", number.digits()),
        |national| national.to_string(),
    )
}

/// The body, up to [`BODY_MAX`]; what is longer is no answer of this API, and is not read on.
async fn body(connection: &mut Connection, answer: Response<Incoming>) -> Result<Vec<u8>, String> {
    let too_long = || format!("longer than {BODY_MAX} bytes");
    let mut incoming = answer.into_body();
    if incoming.size_hint().lower() > BODY_MAX as u64 {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while !incoming.is_end_stream() {
        match connection.next_of(&mut incoming).await {
            Some(Ok(piece)) if body.len() + piece.len() > BODY_MAX => return Err(too_long()),
            Some(Ok(piece)) => body.extend_from_slice(&piece),
            Some(Err(error)) => return Err(root(&error)),
            None => break,
        }
    }
    Ok(body)
}

/// What it means that no answer came to a request that may have left. Something that is not HTTP
/// is an answer of a kind.
fn no_answer(error: &hyper::Error) -> Verdict {
    let kind = if error.is_parse() {
        VerdictKind::Ambiguous
    } else {
        VerdictKind::NoAnswer
    };
    Verdict::new(kind, root(error))
}

/// An error and its causes. One of the standard library hides the one that it was made of.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(made_of) => Some(made_of),
        None => error.source(),
    }
}

fn io_errors(error: &reqwest::Error) -> impl Iterator<Item = &io::Error> {
    chain(error).filter_map(|error| error.downcast_ref())
}

/// Has the process, or the machine, as many files open as it may?
fn no_file_handle(error: &reqwest::Error) -> bool {
    io_errors(error)
        .filter_map(Errno::from_io_error)
        .any(|why| matches!(why, Errno::MFILE | Errno::NFILE))
}

/// Is the resolver sure that nobody has that name, or no address? The standard library passes on
/// what it says as text only.
fn no_such_host(error: &reqwest::Error) -> bool {
    const SURE: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "nodename nor servname provided, or not known",
    ];
    io_errors(error).any(|error| {
        let said = error.to_string();
        SURE.iter().any(|sure| said.ends_with(sure))
    })
}

/// What is wrong with the certificate, if anything is.
fn bad_certificate(error: &reqwest::Error) -> Option<&'static str> {
    let why = chain(error).find_map(|error| match error.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    })?;
    let unknown = "is not trusted: nobody whom this machine trusts has signed it";
    Some(wrong_with(why, unknown))
}

/// Is what answers there something else than TLS, or too old? Only where no request left yet.
fn no_tls(error: &reqwest::Error) -> Option<&'static str> {
    chain(error).find_map(|error| match error.downcast_ref()? {
        rustls::Error::InvalidMessage(_) => {
            Some("does not speak TLS: http instead of https, or another port?")
        }
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Some("speaks only an old TLS: 1.2 or newer is needed")
        }
        _ => None,
    })
}

/// Has a proxy that was asked for a tunnel answered 407? The HTTP library passes that on as text only.
fn asks_for_credentials(error: &reqwest::Error) -> bool {
    chain(error).any(|error| error.to_string().ends_with("proxy authorization required"))
}

fn is_refused(error: &reqwest::Error) -> bool {
    io_errors(error).any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The error in words. reqwest's own text holds the address, with key and number: it is taken off
/// here, where errors enter the program, and of the rest only the root cause is kept.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    if chain(&error).any(<dyn Error>::is::<TimedOut>) {
        return TimedOut.to_string();
    }
    if error.is_timeout() {
        return if error.is_connect() {
            TimedOut.to_string()
        } else {
            NOT_IN_TIME.to_owned()
        };
    }
    if is_refused(&error) {
        return "no connection: refused, nobody listens there".to_owned();
    }
    let prefix = if error.is_connect() {
        "no connection: "
    } else {
        ""
    };
    format!("{prefix}{}", root(&error))
}

/// The root cause of an error, in words.
fn root(error: &(dyn Error + 'static)) -> String {
    let root = chain(error).last().map(ToString::to_string);
    words::tidy(&root.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, RowId};

    fn kookoo() -> KooKoo {
        let settings = Settings {
            endpoint: "https://kookoo.in/api/v1/TwoFactor".parse().unwrap(),
            key: SecretString::from("KK+1234"),
            sender_id: "OZ NTL".to_owned(),
            caller_id: "914012345678".to_owned(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            proxy: None,
        };
        KooKoo::new(&settings, Clock::start()).unwrap()
    }

    fn job(number: u64, code: Option<&str>) -> Job {
        Job {
            id: JobId(1),
            row: RowId(1),
            line: 2,
            number: Number::new(number).unwrap(),
            code: code.map(SecretString::from),
            lane: Lane::Sms,
            attempts: Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_three_requests_are_as_documented() {
        let kookoo = kookoo();
        let indian = job(919_876_543_210, Some("004512"));
        let base = "/api/v1/TwoFactor";
        let uri = |job: &Job, lane| kookoo.uri(job, lane).unwrap().to_string();
        assert_eq!(
            uri(&indian, Lane::Sms),
            format!("{base}/smsotp?phone_no=%2B919876543210&api_key=KK%2B1234&sender_id=OZ%20NTL")
        );
        assert_eq!(
            uri(&indian, Lane::Call),
            format!("{base}/callotp?api_key=KK%2B1234&caller_id=914012345678&phone_no=9876543210")
        );
        assert_eq!(
            uri(&indian, Lane::Verify),
            format!("{base}/verifyotp?phone_no=%2B919876543210&otp=004512&api_key=KK%2B1234")
        );
        let british = job(447_400_123_456, None);
        assert!(uri(&british, Lane::Call).ends_with("phone_no=%2B447400123456"));
    }

    #[tokio::test]
    async fn a_verdict_repeats_neither_key_nor_code() {
        let kookoo = kookoo();
        let job = job(919_876_543_210, Some("004512"));
        let cleaned = |text: &str| {
            let verdict = Verdict::new(VerdictKind::Rejected, text);
            kookoo.cleaned(verdict, job.code.as_ref()).text
        };
        assert_eq!(
            cleaned("KK+1234 KK%2B1234 004512 bad"),
            "[key] [key] ****** bad"
        );
        let across_the_cut = cleaned(&format!("{}KK+1234", "x".repeat(198)));
        assert!(!across_the_cut.contains("KK"), "{across_the_cut}");
    }
}
