//! `bare-reqwest URL REQUESTS CONNECTIONS [CERTIFICATE]`: the requests of `otpdrive send`, and nothing
//! else: no list, no pace, no ledger, no verdicts, no results.

use futures::{StreamExt, stream};
use reqwest::{Certificate, Client};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let requests: u64 = args[2].parse().expect("REQUESTS");
    let connections = args[3].parse().expect("CONNECTIONS");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder().http1_only().no_proxy().tcp_nodelay(true);
    if let Some(path) = args.get(4) {
        let pem = std::fs::read(path).expect("the certificate");
        client = client.tls_certs_only(Certificate::from_pem(&pem));
    }
    let client = client.build().expect("a client");
    let answered = stream::iter(0..requests)
        .map(|n| {
            let phone = 9_000_000_000 + n;
            let query = format!("phone_no=%2B91{phone}&api_key=KK0123456789abcdef0123456789abcdef&sender_id=OZONTL");
            let request = client.get(format!("{}/smsotp?{query}", args[1]));
            async { request.send().await?.bytes().await }
        })
        .buffer_unordered(connections)
        .filter(|answer| std::future::ready(answer.is_ok()))
        .count()
        .await;
    assert_eq!(answered as u64, requests, "some were not answered");
}
