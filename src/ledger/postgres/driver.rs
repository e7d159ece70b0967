//! Keeps connections moving on a thread of their own.
//!
//! What is asked through a connection needs no runtime, only the connection itself does. So whoever
//! asks can simply wait, on any thread: one without a runtime, or one that a runtime of its own is
//! at work on.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::{self, JoinHandle, Thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::task::unconstrained;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use super::{Address, Cause, NoConnection, connect};

/// The thread that moves the connections of a ledger. Dropped, it ends, and they with it.
pub struct Driver {
    runtime: Handle,
    /// Dropped to end it.
    on: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Turns true when the server is waited for no more: no connection moves from then on.
    gave_up: watch::Sender<bool>,
    /// When the server last said something.
    heard_at: Arc<Mutex<Instant>>,
    /// What gives up, if anything does, and since when.
    patience: Mutex<Option<(Instant, AbortHandle)>>,
}

impl Driver {
    /// Starts the thread; it has no connection yet.
    ///
    /// # Errors
    /// When the system has no thread, or no file handle.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (on, off) = oneshot::channel();
        let thread = thread::Builder::new().name("ledger".to_owned());
        let thread = thread.spawn(move || {
            // It is never sent anything.
            let _: Result<(), _> = runtime.block_on(off);
            // A name that is being looked up holds nobody up.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            runtime: handle,
            on: Some(on),
            thread: Some(thread),
            gave_up: watch::Sender::new(false),
            heard_at: Arc::new(Mutex::new(Instant::now())),
            patience: Mutex::new(None),
        })
    }

    /// Makes a connection, which moves from then on until its client is dropped. Can be awaited
    /// anywhere, [`wait`] included.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(
        &self,
        address: &Address,
        noticed: impl FnMut(&DbError) + Send + 'static,
    ) -> Result<Client, NoConnection> {
        let (connected, is_connected) = oneshot::channel();
        let address = address.clone();
        let mut gave_up = self.gave_up.subscribe();
        self.spawn(async move {
            let moves = async {
                match connect(&address, noticed).await {
                    Ok((client, wire)) => {
                        // Nobody waits for it any more: without its client it ends at once.
                        let _ = connected.send(Ok(client));
                        // Whoever uses the client hears that it is closed.
                        let _ = wire.await;
                    }
                    Err(error) => {
                        let _ = connected.send(Err(error));
                    }
                }
            };
            tokio::select! {
                biased;
                _ = gave_up.wait_for(|gave_up| *gave_up) => {}
                () = moves => {}
            }
        });
        let gone = |_| NoConnection {
            why: "the server is not waited for any more".to_owned(),
            cause: Cause::Server,
        };
        is_connected.await.map_err(gone)?
    }

    /// The server has said something.
    pub fn heard(&self) {
        *lock(&self.heard_at) = Instant::now();
    }

    /// From now on the server is given up when it says nothing for so long: all that is asked of it
    /// ends then, however long it would stand still.
    pub fn give_up_after(&self, silence: Duration) {
        let mut patience = lock(&self.patience);
        if patience.is_some() {
            return;
        }
        self.heard();
        let (heard_at, gave_up) = (Arc::clone(&self.heard_at), self.gave_up.clone());
        let task = self.runtime.spawn(async move {
            loop {
                let until = *lock(&heard_at) + silence;
                if until <= Instant::now() {
                    break;
                }
                sleep_until(until).await;
            }
            gave_up.send_replace(true);
        });
        *patience = Some((Instant::now(), task.abort_handle()));
    }

    /// It is waited for again however long it takes, if it was not given up.
    pub fn wait_again(&self) {
        if let Some((_, task)) = lock(&self.patience).take() {
            task.abort();
        }
    }

    /// Since when it is not waited for however long it takes.
    pub fn gives_up_since(&self) -> Option<Instant> {
        lock(&self.patience).as_ref().map(|(since, _)| *since)
    }

    /// Was the server given up?
    pub fn gave_up(&self) -> bool {
        *self.gave_up.borrow()
    }

    /// Has the thread do this too.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.on = None;
        if let Some(thread) = self.thread.take() {
            // It panicked: that was told then.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on this thread for what needs no runtime, as what is asked through a client does not.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    // Within a task of another runtime, that one's account of fairness would hold it up for good.
    let mut future = pin!(unconstrained(future));
    let waker = Arc::new(Waiting(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(came) = future.as_mut().poll(&mut context) {
            return came;
        }
        thread::park();
    }
}

/// Wakes a thread that waits.
struct Waiting(Thread);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::{Duration, sleep};

    use super::*;

    /// Has the thread send so many numbers, with a timer and a task between them, and adds them up.
    fn sum(driver: &Driver, count: u64) -> u64 {
        let (numbers, mut said) = mpsc::channel(1);
        driver.spawn(async move {
            for n in 0..count {
                if n == 1 {
                    sleep(Duration::from_millis(1)).await;
                }
                numbers.send(n).await.unwrap();
            }
        });
        wait(async {
            let mut sum = 0;
            while let Some(n) = said.recv().await {
                sum += n;
            }
            sum
        })
    }

    #[test]
    fn a_thread_without_a_runtime_can_wait() {
        let driver = Driver::start().unwrap();
        assert_eq!(sum(&driver, 10), 45);
        let threads: Vec<u64> = thread::scope(|scope| {
            let ask = || scope.spawn(|| sum(&driver, 100));
            let asked: Vec<_> = (0..3).map(|_| ask()).collect();
            asked.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(threads, [4_950; 3]);
    }

    /// More than a task may do in one go by its runtime's account.
    #[tokio::test(start_paused = true)]
    async fn a_task_of_another_runtime_can_wait() {
        let driver = Driver::start().unwrap();
        assert_eq!(sum(&driver, 1_000), 499_500);
        let inner = wait(async { wait(async { 1 }) + 1 });
        assert_eq!(inner, 2);
        drop(driver);
    }

    #[test]
    fn what_is_on_its_way_ends_with_the_thread() {
        let driver = Driver::start().unwrap();
        let (never, mut said) = mpsc::channel::<()>(1);
        driver.spawn(async move {
            sleep(Duration::from_hours(1)).await;
            drop(never);
        });
        drop(driver);
        assert_eq!(wait(said.recv()), None);
    }

    #[test]
    fn no_server_is_told_in_words() {
        let driver = Driver::start().unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let address = format!("postgres://u:s3cret@127.0.0.1:{port}/d");
        let address = Address::parse(&address, |_| None).unwrap();
        let error = wait(driver.connect(&address, |_| ())).unwrap_err();
        assert_eq!(error.cause, Cause::Server);
        let why = format!("nobody listens at 127.0.0.1:{port}");
        assert!(error.why.starts_with(&why), "{error}");
    }
}
