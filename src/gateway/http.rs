//! The HTTP client: makes the requests, and tells what surely did not leave from what may have, by
//! types and not by texts.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::{Client, Method, Proxy, Request, Response, Url, header};
use rustix::io::Errno;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::connection::{self, Connections, New, NotSent, Warm};
use super::words::{self, Reply};
use super::{Cause, Gateway, NoConnection, Ready};
use crate::clock::Clock;
use crate::job::{Job, Lane, Verdict, VerdictKind};
use crate::number::Number;
use crate::redact::{Redactor, without_code};
use crate::text::percent_encoded;

/// Bodies are not read beyond this many bytes.
const BODY_MAX: usize = 64 * 1_024;

const NOT_IN_TIME: &str = "no answer in time";

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
    endpoints: [Url; Lane::ALL.len()],
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
        let proxy = settings.proxy.clone().map(Proxy::all).transpose();
        let proxy = proxy.map_err(|error| format!("--proxy: {}", describe(error)))?;
        let host = settings.proxy.as_ref().unwrap_or(&settings.endpoint);
        let endpoint = |lane| {
            let mut url = settings.endpoint.clone();
            let base = url.path().trim_end_matches('/');
            let path = format!("{base}/{}", words::request_name(lane));
            url.set_path(&path);
            url
        };
        Ok(Self {
            connections: Connections::new(tls, proxy, settings.connect_timeout),
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

    /// The request's address: parameters in the order of the API's documentation.
    fn url(&self, job: &Job, lane: Lane) -> Url {
        let mut url = self.endpoints[lane.index()].clone();
        let key = self.key.expose_secret();
        let query = match lane {
            Lane::Sms => format!(
                "phone_no={}&api_key={key}&sender_id={}",
                international(job.number),
                self.sender_id
            ),
            Lane::Call => format!(
                "api_key={key}&caller_id={}&phone_no={}",
                self.caller_id,
                national(job.number)
            ),
            Lane::Verify => format!(
                "phone_no={}&otp={}&api_key={key}",
                international(job.number),
                job.code
                    .as_ref()
                    .map(|code| percent_encoded(code.expose_secret()))
                    .unwrap_or_default()
            ),
        };
        url.set_query(Some(&query));
        url
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
        let request = Request::new(Method::GET, self.url(job, lane));
        let way = if let Some(warm) = self.connections.warm() {
            Way::Warm(warm, Box::new(request))
        } else {
            let opened = self.connections.open(request).await;
            Way::New(opened.map_err(|error| self.no_connection(error, job.code.as_ref()))?)
        };
        Ok(Waiting {
            gateway: self,
            lane,
            code: job.code.clone(),
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
    way: Way<'g>,
}

enum Way<'g> {
    Warm(Warm<'g>, Box<Request>),
    New(New),
}

impl Ready for Waiting<'_> {
    async fn go(self) -> Verdict {
        let deadline = Instant::now() + self.gateway.timeout;
        let verdict = match self.way {
            Way::Warm(warm, request) => {
                self.gateway
                    .go_warm(warm, *request, self.lane, deadline)
                    .await
            }
            Way::New(new) => self.gateway.go_new(new, self.lane, deadline).await,
        };
        self.gateway.cleaned(verdict, self.code.as_ref())
    }
}

impl KooKoo {
    async fn go_warm(
        &self,
        warm: Warm<'_>,
        request: Request,
        lane: Lane,
        deadline: Instant,
    ) -> Verdict {
        let withdrawn = |why| Verdict::new(VerdictKind::Withdrawn, why);
        let Some((client, age)) = warm.redeem() else {
            return withdrawn("the connection waited too long for its turn".to_owned());
        };
        match timeout_at(deadline, client.execute(request)).await {
            Ok(Err(error)) if surely_not_sent(&error) => {
                self.connections.found_closed(age);
                withdrawn(describe(error))
            }
            came => self.answer(client, came, lane, deadline).await,
        }
    }

    async fn go_new(&self, new: New, lane: Lane, deadline: Instant) -> Verdict {
        let (client, sent) = new.go();
        match timeout_at(deadline, sent).await {
            Ok(Err(error)) if surely_not_sent(&error) => {
                Verdict::new(VerdictKind::Unreachable, describe(error))
            }
            came => self.answer(client, came, lane, deadline).await,
        }
    }

    /// What came back for a request that has left, or may have.
    async fn answer(
        &self,
        client: Client,
        came: Result<reqwest::Result<Response>, Elapsed>,
        lane: Lane,
        deadline: Instant,
    ) -> Verdict {
        let response = match came {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return no_answer(error),
            Err(_) => return Verdict::new(VerdictKind::NoAnswer, NOT_IN_TIME),
        };
        let idle_max = connection::idle_max(&response);
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        let body = timeout_at(deadline, body(response)).await;
        let body = body.unwrap_or_else(|_| Err(NOT_IN_TIME.to_owned()));
        self.connections
            .take_back(client, idle_max.filter(|_| body.is_ok()));
        let reply = Reply {
            status,
            retry_after: retry_after.as_ref().and_then(|value| value.to_str().ok()),
            body: body.as_deref().map_err(String::as_str),
        };
        words::verdict(lane, &reply, self.clock.now())
    }
}

/// `%2B919876543210`: the plus encoded, or it would arrive as a space.
fn international(number: Number) -> String {
    format!("%2B{}", number.digits())
}

/// The ten digits of an Indian number; the international form of others.
fn national(number: Number) -> String {
    number
        .indian_national()
        .map_or_else(|| international(number), |national| national.to_string())
}

/// The body, up to [`BODY_MAX`]; what is longer is no answer of this API, and is not read on.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let too_long = || format!("longer than {BODY_MAX} bytes");
    if response
        .content_length()
        .is_some_and(|length| length > BODY_MAX as u64)
    {
        return Err(too_long());
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_MAX => return Err(too_long()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(describe(error)),
        }
    }
}

/// What it means that no answer came to a request that may have left. Something that is not HTTP
/// is an answer of a kind.
fn no_answer(error: reqwest::Error) -> Verdict {
    let is_unreadable = hyper_errors(&error).any(hyper::Error::is_parse);
    let kind = if is_unreadable {
        VerdictKind::Ambiguous
    } else {
        VerdictKind::NoAnswer
    };
    Verdict::new(kind, describe(error))
}

/// Did this request surely not leave? Name, connection and TLS come before it; and hyper hands
/// back unwritten what it could not write at all, which reqwest does not count as "connect".
/// Everything else may have left.
fn surely_not_sent(error: &reqwest::Error) -> bool {
    error.is_builder() || error.is_connect() || hyper_errors(error).any(hyper::Error::is_canceled)
}

fn hyper_errors(error: &reqwest::Error) -> impl Iterator<Item = &hyper::Error> {
    chain(error).filter_map(|error| error.downcast_ref())
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
    Some(match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, if this machine's clock is right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, if this machine's clock is right"
        }
        CertificateError::UnknownIssuer => {
            "is not trusted: nobody whom this machine trusts has signed it"
        }
        _ => "is not trusted",
    })
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

fn is_refused(error: &reqwest::Error) -> bool {
    io_errors(error).any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The error in words. reqwest's own text holds the address, with key and number: it is taken off
/// here, where errors enter the program, and of the rest only the root cause is kept.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    if let Some(why) = chain(&error).find_map(|error| error.downcast_ref::<NotSent>()) {
        return why.to_string();
    }
    if error.is_timeout() {
        return if error.is_connect() {
            NotSent::TimedOut.to_string()
        } else {
            NOT_IN_TIME.to_owned()
        };
    }
    if is_refused(&error) {
        return "no connection: refused, nobody listens there".to_owned();
    }
    let root = chain(&error).last().map(ToString::to_string);
    let prefix = if error.is_connect() {
        "no connection: "
    } else {
        ""
    };
    format!("{prefix}{}", words::tidy(&root.unwrap_or_default()))
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
        let base = "https://kookoo.in/api/v1/TwoFactor";
        assert_eq!(
            kookoo.url(&indian, Lane::Sms).as_str(),
            format!("{base}/smsotp?phone_no=%2B919876543210&api_key=KK%2B1234&sender_id=OZ%20NTL")
        );
        assert_eq!(
            kookoo.url(&indian, Lane::Call).as_str(),
            format!("{base}/callotp?api_key=KK%2B1234&caller_id=914012345678&phone_no=9876543210")
        );
        assert_eq!(
            kookoo.url(&indian, Lane::Verify).as_str(),
            format!("{base}/verifyotp?phone_no=%2B919876543210&otp=004512&api_key=KK%2B1234")
        );
        let british = job(447_400_123_456, None);
        assert!(
            kookoo
                .url(&british, Lane::Call)
                .as_str()
                .ends_with("phone_no=%2B447400123456")
        );
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
