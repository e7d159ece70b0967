//! A report posted to whoever wants to know of it (`--notify`). It has nothing to do with OTPs, so it
//! may be repeated.

use std::time::Duration;

use reqwest::{Proxy, Response, Url, header};
use tokio::time::sleep;

use super::connection::{builder, tls};
use super::http::describe;

/// How often it is tried.
const TRIES: u32 = 3;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Posts JSON. Nothing is followed, and no proxy leads to this machine itself.
///
/// # Errors
/// Why nobody took it, in words, without the address.
pub async fn post(url: &Url, proxy: Option<&Url>, json: Vec<u8>) -> Result<(), String> {
    let is_plain = url.scheme() == "http";
    let tls = tls(is_plain).map_err(|error| error.to_string())?;
    let mut builder = builder(tls).timeout(TIMEOUT);
    if let Some(proxy) = proxy.filter(|_| !is_plain) {
        builder = builder.proxy(Proxy::all(proxy.clone()).map_err(describe)?);
    }
    let client = builder.build().map_err(describe)?;
    let mut tries = 0;
    loop {
        let request = client.post(url.clone()).body(json.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let why = match request.send().await.map(|answer| Response::status(&answer)) {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) => format!("it answered {}", status.as_u16()),
            Err(error) => describe(error),
        };
        tries += 1;
        if tries == TRIES {
            return Err(format!("{why}, {TRIES} times"));
        }
        sleep(PAUSE).await;
    }
}
