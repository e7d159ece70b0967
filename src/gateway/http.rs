//! The HTTP client: everything that a library might do on its own is off, and what surely did not
//! leave is told from what may have, by types and not by texts.

use std::time::Duration;

use reqwest::{Client, Method, Proxy, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use super::Gateway;
use super::words::{self, Reply};
use crate::clock::Clock;
use crate::outcome::{Job, Lane, Number, Verdict};
use crate::redact::{Redactor, without_code};
use crate::text::percent_encoded;

/// Bodies are not read beyond this many bytes.
const BODY_MAX: usize = 64 * 1_024;

/// Connections idle for longer are closed by us: most servers close theirs after 5 s or more, and
/// a request that meets a closing connection has an unknown fate.
const IDLE_MAX: Duration = Duration::from_secs(4);

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
    /// For one request, from its start to the end of its answer.
    pub timeout: Duration,
    /// For name look-up, connection and TLS; shorter than `timeout`, or a request that never left
    /// would look as if it had.
    pub connect_timeout: Duration,
    /// A proxy to go through; none is used unless named here.
    pub proxy: Option<Url>,
    /// Requests at once, for the size of the pool.
    pub concurrency: usize,
}

/// Speaks KooKoo's two-factor API.
pub struct KooKoo {
    client: Client,
    clock: Clock,
    redactor: Redactor,
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
        let client = client(settings).map_err(describe)?;
        let endpoint = |name| {
            let mut url = settings.endpoint.clone();
            let path = format!("{}/{name}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            url
        };
        Ok(Self {
            client,
            clock,
            redactor: super::redactor(&settings.key),
            endpoints: [
                endpoint("smsotp"),
                endpoint("callotp"),
                endpoint("verifyotp"),
            ],
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
    fn cleaned(&self, verdict: Verdict, job: &Job) -> Verdict {
        verdict.map_text(|text| {
            let text = self.redactor.clean(&text);
            words::cut(match &job.code {
                Some(code) => without_code(&text, code).into_owned(),
                None => text.into_owned(),
            })
        })
    }
}

impl Gateway for KooKoo {
    async fn request(&self, job: &Job, lane: Lane) -> Verdict {
        if lane == Lane::Verify && job.code.is_none() {
            // Asking with an empty code would get "wrong", which would be taken for an answer.
            return Verdict::Rejected("there is no code to check".to_owned());
        }
        let url = self.url(job, lane);
        let verdict = match self.client.request(Method::GET, url).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = response
                    .headers()
                    .get(reqwest::header::RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned);
                let body = body(response).await;
                let reply = Reply {
                    status,
                    retry_after: retry_after.as_deref(),
                    body: body.as_deref().map_err(String::as_str),
                };
                words::verdict(lane, &reply, self.clock.now())
            }
            Err(error) => words::no_answer(surely_not_sent(&error), describe(error)),
        };
        self.cleaned(verdict, job)
    }
}

/// Everything explicit, in one place.
fn client(settings: &Settings) -> reqwest::Result<Client> {
    // An error means that another client has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("otpdrive/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(settings.concurrency)
        .tcp_nodelay(true)
        .connection_verbose(false);
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(Proxy::all(proxy.clone())?);
    }
    builder.build()
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

/// Did this request surely not leave? Name, connection and TLS come before it; and hyper hands
/// back unwritten what it could not write at all, which reqwest does not count as "connect".
/// Everything else may have left.
fn surely_not_sent(error: &reqwest::Error) -> bool {
    error.is_builder() || error.is_connect() || chain(error).any(is_canceled)
}

fn is_canceled(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_canceled)
}

/// An error and its causes.
fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The error in words. reqwest's own text holds the address, with key and number: it is taken off
/// here, where errors enter the program, and of the rest only the root cause is kept.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return if error.is_connect() {
            "no connection in time".to_owned()
        } else {
            "no answer in time".to_owned()
        };
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
    use crate::outcome::{JobId, RowId};

    fn kookoo() -> KooKoo {
        let settings = Settings {
            endpoint: "https://kookoo.in/api/v1/TwoFactor".parse().unwrap(),
            key: SecretString::from("KK+1234"),
            sender_id: "OZ NTL".to_owned(),
            caller_id: "914012345678".to_owned(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            proxy: None,
            concurrency: 1,
        };
        KooKoo::new(&settings, Clock::start()).unwrap()
    }

    fn job(number: u64, code: Option<&str>) -> Job {
        Job {
            id: JobId(1),
            row: RowId(1),
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
        let verdict = Verdict::Rejected("KK+1234 KK%2B1234 004512 bad".to_owned());
        assert_eq!(
            kookoo.cleaned(verdict, &job),
            Verdict::Rejected("[key] [key] ****** bad".to_owned())
        );
        let across_the_cut = Verdict::Rejected(format!("{}KK+1234", "x".repeat(198)));
        let cleaned = kookoo.cleaned(across_the_cut, &job);
        assert!(!cleaned.text().contains("KK"), "{cleaned:?}");
    }
}
