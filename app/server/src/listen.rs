//! The socket: how many connections there are at a time, and how long each may keep the server busy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutWriter;

use crate::{Request, Response, ServeError, Site};

/// A request's head is refused beyond this, and an answer's bytes wait for the network up to about this.
const BUFFER_BYTES: usize = 64 << 10;

/// How long reads that are under way are waited for at the end.
const END: Duration = Duration::from_secs(2);

/// Before the next try where a connection cannot be taken, as when all file handles are in use.
const PAUSE: Duration = Duration::from_millis(50);

/// What one server takes on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections; more wait until one is closed.
    pub connections: usize,
    /// The time from a connection's start, or from an answer, to the end of the next request's head.
    pub head: Duration,
    /// How long the other end may take no byte of an answer. A page may well stop reading for a while.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A browser opens six for each tab.
            connections: 256,
            head: Duration::from_secs(60),
            unread: Duration::from_secs(600),
        }
    }
}

/// Listens on 127.0.0.1, in a thread of its own, until it is dropped.
pub struct Server {
    address: SocketAddr,
    /// The thread ends when this is dropped.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a page; port 0 takes any free port.
    ///
    /// # Errors
    /// Where the port is taken, or no thread can be started.
    pub fn start(site: Site, port: u16) -> Result<Self, ServeError> {
        Self::start_with(port, Limits::default(), move |request| {
            let site = site.clone();
            async move { site.answer(&request).await }
        })
    }

    /// Serves what `answer` gives, such as a [`Site`]'s answers with something done to them.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with<A, F>(port: u16, limits: Limits, answer: A) -> Result<Self, ServeError>
    where
        A: Fn(Request) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let port_error = |source| ServeError::Port { port, source };
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(port_error)?;
        let address = listener.local_addr().map_err(port_error)?;
        listener
            .set_nonblocking(true)
            .map_err(ServeError::Runtime)?;
        // One thread is enough for a few browsers on the same machine, which need the others.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Runtime)?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).map_err(ServeError::Runtime)?
        };
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.spawn(accept(listener, limits, answer));
            // Nothing is ever sent: this ends when the other half is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(END);
        };
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(serve)
            .map_err(ServeError::Runtime)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The page's origin without a trailing slash, e.g. `http://127.0.0.1:8080`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends all connections and frees the port.
impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept<A, F>(listener: TcpListener, limits: Limits, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    // It is never closed, so there is always a place to wait for.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((connection, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    serve(connection, limits, answer).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Answers the requests of one connection until the other end closes it or oversteps a limit.
async fn serve<A, F>(connection: TcpStream, limits: Limits, answer: A)
where
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    // An answer's last bytes would wait for the browser to confirm those before them.
    let _ = connection.set_nodelay(true);
    let mut connection = TimeoutWriter::new(connection);
    connection.set_timeout(Some(limits.unread));
    let answered = service_fn(move |request| {
        let response = answer(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    // A visitor who hangs up, or sends something that is not a request, is not our failure.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(connection)), answered)
        .await;
}
