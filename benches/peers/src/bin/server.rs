//! Answers every request in the words of the API, and notes when each arrived.
//!
//! `server LATENCY_MS ARRIVALS [CERTIFICATE]`: prints its address; at SIGTERM writes the arrivals, in
//! microseconds since 1970, one per line. The clock on the wall is read once, so a clock that is set
//! moves none of them. With a file for its certificate it speaks TLS.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: &str = r#"{"status":"success","message":"9f86d081884c7d65"}"#;

type Arrivals = Rc<RefCell<Vec<Instant>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let latency = Duration::from_millis(args[1].parse().expect("LATENCY_MS"));
    let acceptor = args.get(3).map(|path| acceptor(path));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("127.0.0.1:{}", listener.local_addr()?.port());
    let arrivals = Arrivals::default();
    let (start, since_1970) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed());
    let since_1970 = since_1970.expect("a clock that is right");
    let tasks = tokio::task::LocalSet::new();
    let noted = Rc::clone(&arrivals);
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (arrivals, acceptor) = (Rc::clone(&noted), acceptor.clone());
            tokio::task::spawn_local(async move {
                match acceptor {
                    None => answer(stream, latency, &arrivals).await,
                    Some(tls) => answer(tls.accept(stream).await?, latency, &arrivals).await,
                }
            });
        }
    };
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tasks.run_until(accept) => return ended,
        _ = end.recv() => {}
    }
    let arrivals = arrivals.borrow();
    let mut file = io::BufWriter::new(std::fs::File::create(&args[2])?);
    for arrival in arrivals.iter() {
        let at = since_1970 + arrival.duration_since(start);
        writeln!(file, "{}", at.as_micros())?;
    }
    file.flush()
}

fn acceptor(path: &str) -> TlsAcceptor {
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let CertifiedKey { cert, signing_key } = made;
    std::fs::write(path, cert.pem()).expect("to write the certificate");
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a key that fits");
    TlsAcceptor::from(Arc::new(config))
}

/// Answers what comes over one connection, request by request; heads end with an empty line.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    latency: Duration,
    arrivals: &Arrivals,
) -> io::Result<()> {
    let said = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut head = Vec::with_capacity(4_096);
    while stream.read_buf(&mut head).await? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        arrivals.borrow_mut().push(Instant::now());
        if !latency.is_zero() {
            sleep(latency).await;
        }
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}
