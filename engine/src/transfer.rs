//! A download as it goes: how long nothing has come, whether all of it has come, and what is tried next where what came
//! is not right.
//!
//! ```text
//! begin -> answered? -> received* -> ended?          look, several times a second, until the end
//!           404, a page, ...         too short       20 seconds of silence
//! ```
//!
//! It knows no browser and no clock: the caller tells it what happens and when. Nothing of the file passes through it,
//! only counts. What a whole but wrong file leads to is an [`Attempt`].

use protocol::{Failure, FailureKind};

/// How long a server may send nothing, before its answer or in the middle of it.
pub const PATIENCE_MILLIS: f64 = 20_000.0;
/// The longest time between two looks that counts as silence: a computer that sleeps is not a server that is silent.
const MAX_LOOK_MILLIS: f64 = 2_000.0;

/// What a server says before it sends a file: the status and three headers, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// The HTTP status; 200 is the only one that brings the whole file.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// `Content-Length`, in bytes of what is sent.
    pub content_length: Option<&'a str>,
}

/// Why a file was not downloaded. The texts are what the user reads.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TransferProblem {
    /// No connection, or one that broke before the answer; with what the browser says.
    #[error("The server could not be reached ({0}).")]
    Unreachable(String),
    /// Status 404 or 410.
    #[error("The server has no such file (404).")]
    Missing,
    /// Any other status but 200.
    #[error("The server answered {0} instead of the model.")]
    Status(u16),
    /// HTML: a page that says why there is no file, or a sign-in page of the network.
    #[error("The server sent a web page instead of the model.")]
    Page,
    /// An answer of no bytes.
    #[error("The server's answer is empty.")]
    Empty,
    /// No answer for so many seconds.
    #[error("The server did not answer for {0} seconds.")]
    NoAnswer(u64),
    /// An answer that stopped coming; `done` of `total` bytes had come.
    #[error("Nothing more of the model came for {secs} seconds, after {}.", so_far(*.done, *.total))]
    Silent {
        secs: u64,
        done: u64,
        total: Option<u64>,
    },
    /// A connection that broke during the answer; with what the browser says.
    #[error("The download broke off after {} ({said}).", so_far(*.done, *.total))]
    Broken {
        said: String,
        done: u64,
        total: Option<u64>,
    },
    /// Fewer bytes than the server had announced.
    #[error("The download ended too early, after {}.", so_far(*.done, Some(*.total)))]
    Short { done: u64, total: u64 },
}

impl TransferProblem {
    /// Makes what the user reads, with `url` as its place and a remedy by whether trying again can help.
    pub fn failure(&self, url: &str) -> Failure {
        let remedy = match self {
            Self::Missing | Self::Page | Self::Empty => {
                "Drop a model file here instead. Whoever runs this page's server should check that the model is on it."
            }
            _ => {
                "Check the connection and that the page's server is running, then try again; or drop a model file here."
            }
        };
        Failure::new(FailureKind::Network, self.to_string())
            .at(url)
            .remedy(remedy)
    }
}

/// Writes how much has come: "30.0 of 98.4 MB", or "30.0 MB" if the total is unknown.
fn so_far(done: u64, total: Option<u64>) -> String {
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    match total {
        Some(total) => format!("{} of {} MB", megabytes(done), megabytes(total)),
        None => format!("{} MB", megabytes(done)),
    }
}

/// One request and its answer, from the moment it is sent.
#[derive(Debug)]
pub struct Transfer {
    is_answered: bool,
    /// As the server announced, where that is the number of bytes that arrive here.
    total: Option<u64>,
    done: u64,
    /// The time of the last look or the last bytes.
    last_millis: f64,
    silent_millis: f64,
}

impl Transfer {
    /// Begins with the request just sent. Times are milliseconds on any clock, the same for all calls.
    pub fn begin(now_millis: f64) -> Self {
        Self {
            is_answered: false,
            total: None,
            done: 0,
            last_millis: now_millis,
            silent_millis: 0.0,
        }
    }

    /// Returns the number of bytes that have come.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns the number of bytes that will come, if that is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Takes in that the server answered, and checks that the answer is a file.
    ///
    /// # Errors
    /// [`TransferProblem::Missing`], [`TransferProblem::Status`] or [`TransferProblem::Page`] if it is not.
    pub fn answered(
        &mut self,
        answer: &Answer<'_>,
        now_millis: f64,
    ) -> Result<(), TransferProblem> {
        self.hear(now_millis);
        self.is_answered = true;
        match answer.status {
            200 => {}
            404 | 410 => return Err(TransferProblem::Missing),
            other => return Err(TransferProblem::Status(other)),
        }
        let is_page = |kind: &str| {
            kind.trim_start()
                .to_ascii_lowercase()
                .starts_with("text/html")
        };
        if answer.content_type.is_some_and(is_page) {
            return Err(TransferProblem::Page);
        }
        // The length of a compressed answer is that of what is sent, while the bytes arrive unpacked.
        let is_plain = answer
            .content_encoding
            .is_none_or(|encoding| ["", "identity"].contains(&encoding.trim()));
        self.total = answer
            .content_length
            .filter(|_| is_plain)
            .and_then(|length| length.trim().parse().ok());
        Ok(())
    }

    /// Takes in that bytes came.
    pub fn received(&mut self, num_bytes: u64, now_millis: f64) {
        self.hear(now_millis);
        self.done += num_bytes;
        // What was announced was something else, for example the length of a compressed answer that does not say so.
        self.total = self.total.filter(|&total| total >= self.done);
    }

    /// Looks at the clock, several times a second: silence is the sum of the times between looks, at most two seconds
    /// each.
    ///
    /// # Errors
    /// [`TransferProblem::NoAnswer`] or [`TransferProblem::Silent`] if nothing has come for [`PATIENCE_MILLIS`].
    pub fn look(&mut self, now_millis: f64) -> Result<(), TransferProblem> {
        self.silent_millis += (now_millis - self.last_millis).clamp(0.0, MAX_LOOK_MILLIS);
        self.last_millis = now_millis;
        if self.silent_millis < PATIENCE_MILLIS {
            return Ok(());
        }
        let secs = (self.silent_millis / 1000.0) as u64;
        Err(match self.is_answered {
            false => TransferProblem::NoAnswer(secs),
            true => TransferProblem::Silent {
                secs,
                done: self.done,
                total: self.total,
            },
        })
    }

    /// Returns the problem of a connection that broke; with what the browser says.
    pub fn broken(&self, said: String) -> TransferProblem {
        match self.is_answered {
            false => TransferProblem::Unreachable(said),
            true => TransferProblem::Broken {
                said,
                done: self.done,
                total: self.total,
            },
        }
    }

    /// Takes in that the answer is at its end.
    ///
    /// # Errors
    /// [`TransferProblem::Empty`] or [`TransferProblem::Short`] if that is too early.
    pub fn ended(&self) -> Result<(), TransferProblem> {
        match self.total {
            _ if self.done == 0 => Err(TransferProblem::Empty),
            Some(total) if self.done < total => Err(TransferProblem::Short {
                done: self.done,
                total,
            }),
            _ => Ok(()),
        }
    }

    /// Ends a silence.
    fn hear(&mut self, now_millis: f64) {
        self.last_millis = now_millis;
        self.silent_millis = 0.0;
    }
}

/// One way to get a file whose hash is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Whether it is kept for the next visit, or held in memory.
    pub is_kept: bool,
    /// Whether the browser's cache of what was downloaded before is passed over.
    pub is_past_cache: bool,
}

/// What was wrong with a file that was downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its hash is another one, so it is another file or a damaged one.
    Unexpected,
    /// The browser does not give back the bytes that it kept.
    Unreadable,
}

impl Attempt {
    /// The first attempt: the file is kept, and the browser's cache may answer.
    pub const FIRST: Self = Self {
        is_kept: true,
        is_past_cache: false,
    };

    /// Returns what to try next; `None` if nothing can help. A wrong file may be one that the browser's cache kept, so
    /// the server is asked again, once. A file that cannot be read again was kept badly, not sent badly, so it is held
    /// in memory the next time. So there are three attempts at most.
    pub fn after(self, flaw: Flaw) -> Option<Self> {
        match flaw {
            Flaw::Unexpected if !self.is_past_cache => Some(Self {
                is_past_cache: true,
                ..self
            }),
            Flaw::Unreadable if self.is_kept => Some(Self {
                is_kept: false,
                ..self
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Answer<'static> = Answer {
        status: 200,
        content_type: Some("application/octet-stream"),
        content_encoding: None,
        content_length: Some("100000000"),
    };

    fn answered(answer: &Answer<'_>) -> Transfer {
        let mut transfer = Transfer::begin(0.0);
        transfer.answered(answer, 1.0).unwrap();
        transfer
    }

    /// Looks four times a second until `end_millis`.
    fn wait(
        transfer: &mut Transfer,
        from_millis: f64,
        end_millis: f64,
    ) -> Result<(), TransferProblem> {
        let mut now = from_millis;
        while now < end_millis {
            now += 250.0;
            transfer.look(now)?;
        }
        Ok(())
    }

    #[test]
    fn silence_ends_a_download_and_says_how_far_it_was() {
        let mut transfer = Transfer::begin(500.0);
        wait(&mut transfer, 500.0, 20_250.0).unwrap();
        assert_eq!(
            wait(&mut transfer, 20_250.0, 21_000.0),
            Err(TransferProblem::NoAnswer(20))
        );

        let mut transfer = answered(&PLAIN);
        transfer.received(30_000_000, 1_000.0);
        let problem = wait(&mut transfer, 1_000.0, 60_000.0).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "Nothing more of the model came for 20 seconds, after 30.0 of 100.0 MB."
        );
        let failure = problem.failure("http://here/model.gguf");
        assert_eq!(failure.kind, FailureKind::Network);
        assert_eq!(failure.place.as_deref(), Some("http://here/model.gguf"));
    }

    #[test]
    fn a_byte_every_ten_seconds_is_no_silence() {
        let mut transfer = answered(&PLAIN);
        for round in 0..100 {
            let start = f64::from(round) * 10_000.0;
            wait(&mut transfer, start, start + 10_000.0).unwrap();
            transfer.received(1, start + 10_000.0);
        }
        assert_eq!(transfer.done(), 100);
    }

    #[test]
    fn a_computer_that_slept_is_no_silent_server() {
        let mut transfer = answered(&PLAIN);
        transfer.look(8.0 * 3_600_000.0).unwrap();
        // A clock that was set back, neither.
        transfer.look(0.0).unwrap();
        assert!(wait(&mut transfer, 0.0, 17_000.0).is_ok());
        assert!(wait(&mut transfer, 17_000.0, 40_000.0).is_err());
    }

    #[test]
    fn only_a_whole_file_is_an_answer() {
        let reject = |answer: Answer<'_>| Transfer::begin(0.0).answered(&answer, 1.0).unwrap_err();
        for status in [404, 410] {
            assert_eq!(reject(Answer { status, ..PLAIN }), TransferProblem::Missing);
        }
        // Among them answers that browsers count as fine, but without a file or with a part of one.
        for status in [0, 204, 206, 304, 403, 500, 503] {
            assert_eq!(
                reject(Answer { status, ..PLAIN }),
                TransferProblem::Status(status)
            );
        }
        for kind in ["text/html", "Text/HTML; charset=utf-8", " text/html"] {
            let content_type = Some(kind);
            assert_eq!(
                reject(Answer {
                    content_type,
                    ..PLAIN
                }),
                TransferProblem::Page
            );
        }
        for content_type in [None, Some(""), Some("text/plain"), Some("binary/html")] {
            answered(&Answer {
                content_type,
                ..PLAIN
            });
        }
    }

    #[test]
    fn the_announced_length_counts_only_where_it_is_that_of_the_file() {
        let mut transfer = answered(&PLAIN);
        transfer.received(99_999_999, 2.0);
        assert_eq!(
            transfer.ended().unwrap_err().to_string(),
            "The download ended too early, after 100.0 of 100.0 MB."
        );
        transfer.received(1, 3.0);
        assert_eq!(transfer.ended(), Ok(()));
        // More than announced: the hash decides.
        transfer.received(1, 4.0);
        assert_eq!((transfer.total(), transfer.ended()), (None, Ok(())));

        for encoding in ["gzip", "br", "deflate, gzip"] {
            let content_encoding = Some(encoding);
            let mut transfer = answered(&Answer {
                content_encoding,
                ..PLAIN
            });
            transfer.received(5, 2.0);
            assert_eq!((transfer.total(), transfer.ended()), (None, Ok(())));
        }
        for content_length in [None, Some(""), Some("many"), Some("-1"), Some("1e9")] {
            let mut transfer = answered(&Answer {
                content_length,
                ..PLAIN
            });
            assert_eq!(transfer.ended(), Err(TransferProblem::Empty));
            transfer.received(5, 2.0);
            assert_eq!((transfer.total(), transfer.ended()), (None, Ok(())));
        }
    }

    #[test]
    fn a_broken_connection_says_how_far_it_was() {
        let said = || "network error".to_owned();
        assert_eq!(
            Transfer::begin(0.0).broken(said()).to_string(),
            "The server could not be reached (network error)."
        );
        let mut transfer = answered(&Answer {
            content_length: None,
            ..PLAIN
        });
        transfer.received(2_000_000, 2.0);
        assert_eq!(
            transfer.broken(said()).to_string(),
            "The download broke off after 2.0 MB (network error)."
        );
    }

    #[test]
    fn attempts_come_to_an_end() {
        let again = Attempt::FIRST.after(Flaw::Unexpected).unwrap();
        assert!(again.is_past_cache && again.is_kept);
        assert_eq!(again.after(Flaw::Unexpected), None);
        let held = Attempt::FIRST.after(Flaw::Unreadable).unwrap();
        assert!(!held.is_kept && !held.is_past_cache);
        assert_eq!(held.after(Flaw::Unreadable), None);
        // One after the other, in either order: three attempts at most.
        for [first, second] in [
            [Flaw::Unexpected, Flaw::Unreadable],
            [Flaw::Unreadable, Flaw::Unexpected],
        ] {
            let last = Attempt::FIRST.after(first).unwrap().after(second).unwrap();
            assert!(last.is_past_cache && !last.is_kept);
            assert_eq!(last.after(first), None);
            assert_eq!(last.after(second), None);
        }
    }
}
