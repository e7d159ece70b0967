//! `bare-hyper ADDRESS REQUESTS CONNECTIONS`: the requests of `otpdrive send` over so many connections,
//! by what its HTTP client is built on, and nothing else.

use futures::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let address = args[1].as_str();
    let requests: u64 = args[2].parse().expect("REQUESTS");
    let connections: usize = args[3].parse().expect("CONNECTIONS");
    let of_each = (0..connections as u64).map(|first| async move {
        let stream = TcpStream::connect(address).await.expect("to connect");
        stream.set_nodelay(true).expect("no delay");
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        for n in (first..requests).step_by(connections) {
            let phone = 9_000_000_000 + n;
            let query = format!("phone_no=%2B91{phone}&api_key=KK0123456789abcdef0123456789abcdef&sender_id=OZONTL");
            let request = Request::get(format!("/smsotp?{query}"))
                .header("host", address)
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let answer = sender.send_request(request).await.expect("an answer");
            answer.into_body().collect().await.expect("a body");
        }
    });
    join_all(of_each).await;
}
