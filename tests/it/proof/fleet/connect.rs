//! Who is let in by a server, with which certificate, password and database; and what is said to
//! whoever is not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use otpdrive::ledger::postgres::{Address, Cause, Driver, connect, describe, wait};
use rcgen::CertificateParams;

use super::enter;
use crate::support::authority::{Authority, localhost};
use crate::support::postgres::{Cluster, PASSWORD, PASSWORD_ENCODED, Sync};

/// Nobody is let in here, for this reason; and nothing that is said has the password.
#[track_caller]
fn is_kept_out(address: &str, cause: Cause, why: &str) {
    let error = enter(address).expect_err(address);
    assert_eq!(error.cause, cause, "{error}");
    assert!(error.why.contains(why), "{error}");
    for form in [PASSWORD, PASSWORD_ENCODED, "0123456789"] {
        assert!(!format!("{error} {error:?}").contains(form), "{error}");
    }
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_server_proves_as_much_as_sslmode_asks_for() {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let other = CertificateParams::new(["db.example.com".to_owned()]).unwrap();
    let right = Cluster::behind_tls(&authority, &localhost());
    let wrong_name = Cluster::behind_tls(&authority, &other);
    let at = |cluster: &Cluster, mode: &str| {
        let address = cluster.address_of("localhost", "postgres");
        format!("{address}?sslmode={mode}")
    };
    let with = |cluster: &Cluster, mode: &str, authority: &Authority| {
        let (address, file) = (at(cluster, mode), authority.path().display());
        format!("{address}&sslrootcert={file}")
    };
    for mode in ["verify-ca", "verify-full"] {
        let entered = enter(&with(&right, mode, &authority)).unwrap();
        assert!(entered.by_tls, "{mode}");
        assert_eq!(entered.name, "otpdrive");
        let why = "is not trusted: nobody whom";
        is_kept_out(&with(&right, mode, &stranger), Cause::Certificate, why);
    }
    assert!(enter(&at(&right, "require")).unwrap().by_tls, "of whomever");
    assert!(enter(&at(&wrong_name, "require")).unwrap().by_tls);
    let by_authority = with(&wrong_name, "verify-ca", &authority);
    assert!(enter(&by_authority).unwrap().by_tls);
    let by_name = with(&wrong_name, "verify-full", &authority);
    is_kept_out(&by_name, Cause::Certificate, "is for another name");
    // Of the machine's own authorities, none has signed it.
    let by_machine = at(&right, "verify-full");
    is_kept_out(&by_machine, Cause::Certificate, "is not trusted");
    // The server does not talk in the open.
    for near in [at(&right, "disable"), right.address()] {
        is_kept_out(&near, Cause::Credentials, "without TLS");
    }
    let nothing = format!("{}&sslrootcert=/dev/null", at(&right, "verify-full"));
    is_kept_out(&nothing, Cause::Machine, "sslrootcert=/dev/null");
}

/// And where nobody else can be on the line it is asked for only if that was written.
#[test]
#[ignore = "tests/prove fleet"]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let server = Cluster::start();
    let far = server.address_of("127.0.0.1", "postgres");
    assert!(!enter(&far).unwrap().by_tls);
    for mode in ["require", "verify-full"] {
        let far = format!("{far}?sslmode={mode}");
        is_kept_out(&far, Cause::NoTls, "speaks no TLS");
    }
    let (socket, port) = (server.socket().display(), server.port());
    let socket = format!("postgres://postgres@/postgres?host={socket}&port={port}");
    assert!(!enter(&socket).unwrap().by_tls);
}

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_not_let_in_is_told_why() {
    let mut server = Cluster::start();
    let right = server.address();
    let wrong = right.replace(PASSWORD_ENCODED, "another");
    is_kept_out(&wrong, Cause::Credentials, "with this password");
    let none = right.replace(&format!(":{PASSWORD_ENCODED}"), "");
    is_kept_out(&none, Cause::Credentials, "asks for a password");
    let address = Address::parse(&none, |name| {
        (name == "PGPASSWORD").then(|| PASSWORD.to_owned())
    });
    let driver = Driver::start().unwrap();
    wait(driver.connect(&address.unwrap(), |_| ())).unwrap();
    let missing = server.address_of("127.0.0.1", "no_such");
    is_kept_out(&missing, Cause::NoDatabase, "has no database no_such");
    let nowhere = server.address_of("no-such-host.invalid", "postgres");
    is_kept_out(&nowhere, Cause::NoSuchHost, "no-such-host.invalid");
    // Of several hosts one is enough, whichever it is.
    let port = server.port();
    let several = right.replace(
        "127.0.0.1",
        &format!("no-such-host.invalid:{port},127.0.0.1"),
    );
    enter(&format!("{several}?sslmode=disable")).unwrap();
    let standby = format!("{right}?target_session_attrs=read-only");
    is_kept_out(&standby, Cause::Server, "not read only");
    server.stop();
    is_kept_out(&right, Cause::Server, "nobody listens at 127.0.0.1:");
    server.go_on();
    enter(&right).unwrap();
}

/// A server that takes connections and says nothing is given up in time, also where the connection
/// itself was made at once.
#[test]
#[ignore = "tests/prove fleet"]
fn a_server_that_stands_still_holds_nobody_up_for_good() {
    let server = Cluster::start();
    let address = format!("{}?connect_timeout=1", server.address());
    server.pause();
    let began = Instant::now();
    is_kept_out(&address, Cause::Server, "did not answer within 1 s");
    assert!(began.elapsed() < Duration::from_secs(10));
    server.resume();
    enter(&address).unwrap();
}

/// What waits for an answer hears that there will be none, and what was acknowledged is there.
#[test]
#[ignore = "tests/prove fleet"]
fn a_connection_that_breaks_off_is_told_to_whoever_waits() {
    let mut server = Cluster::with(Sync::On, &[]);
    let address = Address::parse(&server.address(), |_| None).unwrap();
    let driver = Driver::start().unwrap();
    let client = wait(driver.connect(&address, |_| ())).unwrap();
    wait(client.batch_execute("CREATE TABLE kept AS SELECT 7 AS n")).unwrap();
    std::thread::scope(|scope| {
        let sleep = scope.spawn(|| wait(client.batch_execute("SELECT pg_sleep(60)")));
        let is_asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        crate::support::wait_until("it sleeps", || !server.sql(is_asleep).is_empty());
        server.restart_immediately();
        let error = sleep.join().unwrap().unwrap_err();
        assert!(!describe(&error).is_empty());
    });
    assert!(client.is_closed() || wait(client.batch_execute("SELECT 1")).is_err());
    let client = wait(driver.connect(&address, |_| ())).unwrap();
    let kept = wait(client.query_one("SELECT n FROM kept", &[])).unwrap();
    assert_eq!(kept.get::<_, i32>(0), 7);
    assert_eq!(
        server.sql("SELECT n, NULL FROM kept"),
        [[Some("7".to_owned()), None]]
    );
}

/// What the server says unasked is known before the answer is; and of an error nothing is said that
/// it quotes.
#[tokio::test]
#[ignore = "tests/prove fleet"]
async fn a_warning_comes_before_the_answer_and_errors_quote_nothing() {
    let server = Cluster::start();
    let address = Address::parse(&server.address(), |_| None).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let (client, wire) = connect(&address, move |notice| {
        listener
            .lock()
            .unwrap()
            .push(notice.code().code().to_owned());
    })
    .await
    .unwrap();
    let wire = tokio::spawn(wire);
    let warn = "DO $$ BEGIN RAISE WARNING 'look out'; END $$";
    client.batch_execute(warn).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["01000"]);
    for (quoting, code) in [
        (
            "CREATE TABLE t (n int8 PRIMARY KEY); INSERT INTO t VALUES (919876543210), (919876543210)",
            "23505",
        ),
        ("SELECT 'x919876543210'::int8", "22P02"),
    ] {
        let error = client.batch_execute(quoting).await.unwrap_err();
        let said = describe(&error);
        assert!(
            said.contains(code) && !said.contains("9876543210"),
            "{said}"
        );
    }
    drop(client);
    wire.await.unwrap().unwrap();
}
