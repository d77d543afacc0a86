//! The server as a client on the network meets it.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use server::{HEADERS, Limits, ServeError, Server, Site};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

/// Nothing that is waited for here takes so long.
const SOON: Duration = Duration::from_secs(20);
/// For what does not come.
const A_MOMENT: Duration = Duration::from_millis(300);

fn folder() -> Result<TempDir, Box<dyn Error>> {
    let folder = TempDir::new()?;
    std::fs::write(folder.path().join("index.html"), "start")?;
    std::fs::write(folder.path().join("digits.txt"), "0123456789")?;
    Ok(folder)
}

fn start(root: &Path, limits: Limits) -> Result<Server, ServeError> {
    let site = Site::new(root)?;
    Server::start_with(0, limits, move |request| {
        let site = site.clone();
        async move { site.answer(&request).await }
    })
}

fn connect(server: &Server) -> Result<TcpStream, Box<dyn Error>> {
    let connection = TcpStream::connect(server.origin().replace("http://", ""))?;
    connection.set_read_timeout(Some(SOON))?;
    Ok(connection)
}

/// An answer: its first line and headers, and its body.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// Sends these lines on a connection of its own, and reads up to its end.
fn ask(server: &Server, lines: &[&str]) -> Result<Answer, Box<dyn Error>> {
    let mut connection = connect(server)?;
    let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
    connection.write_all(head.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    Ok(Answer {
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

fn get(server: &Server, path: &str, more: &[&str]) -> Result<Answer, Box<dyn Error>> {
    let first = format!("GET {path} HTTP/1.1");
    ask(server, &[&[&first, "Host: localhost"], more].concat())
}

#[test]
fn the_page_is_served_under_this_machines_names_only() -> Outcome {
    let folder = folder()?;
    let server = start(folder.path(), Limits::default())?;
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:65535",
    ] {
        let answer = ask(&server, &["GET / HTTP/1.1", &format!("Host: {host}")])?;
        assert_eq!((answer.status(), &*answer.body), ("200", "start"), "{host}");
    }
    let good = "Host: localhost";
    for lines in [
        &["GET / HTTP/1.1", "Host: evil.example"] as &[&str],
        &["GET / HTTP/1.1", "Host: evil.example:8080"],
        &["GET / HTTP/1.1", "Host: localhost.evil.example"],
        &["GET / HTTP/1.1", "Host: evil.example@localhost"],
        &["GET / HTTP/1.1", "Host: localhost@evil.example"],
        &["GET / HTTP/1.1", "Host: 127.0.0.2"],
        &["GET / HTTP/1.1", "Host: 0.0.0.0"],
        &["GET / HTTP/1.1", "Host: [::]"],
        &["GET / HTTP/1.1", "Host: localhost, evil.example"],
        &["GET / HTTP/1.1", "Host:"],
        &["GET / HTTP/1.1"],
        &["GET / HTTP/1.0"],
        &["GET / HTTP/1.1", good, "Host: evil.example"],
        &["GET / HTTP/1.1", good, good],
        &["GET http://evil.example/ HTTP/1.1", good],
        &["GET http://localhost/ HTTP/1.1", "Host: evil.example"],
        &["HEAD / HTTP/1.1", "Host: evil.example"],
        &["POST / HTTP/1.1", "Host: evil.example"],
    ] {
        let answer = ask(&server, lines)?;
        assert_eq!(answer.status(), "421", "{lines:?}");
        assert!(!answer.body.contains("start"), "{lines:?}");
        for (name, value) in HEADERS {
            assert_eq!(answer.header(name), Some(value), "{lines:?}: {name}");
        }
    }
    let answer = ask(&server, &["GET / HTTP/1.1", "Host: evil.example"])?;
    assert_eq!(
        answer.body,
        "This server answers only for localhost, 127.0.0.1 and [::1].\n"
    );
    let answer = ask(&server, &["GET http://127.0.0.1:80/ HTTP/1.1", good])?;
    assert_eq!(answer.status(), "200");
    Ok(())
}

#[test]
fn no_link_leads_out_of_the_folder() -> Outcome {
    let (folder, outside) = (folder()?, TempDir::new()?);
    let root = folder.path();
    std::fs::write(outside.path().join("index.html"), "secret")?;
    std::fs::create_dir(root.join("models"))?;
    std::fs::write(root.join("models/model.gguf"), "model")?;
    symlink(outside.path().join("index.html"), root.join("file"))?;
    symlink(outside.path(), root.join("out"))?;
    symlink(root.join("file"), root.join("twice"))?;
    symlink("..", root.join("models/up"))?;
    symlink("nowhere", root.join("dangling"))?;
    symlink("self", root.join("self"))?;
    symlink("models/model.gguf", root.join("near.gguf"))?;
    symlink(root.join("models"), root.join("also"))?;
    // The folder itself may be one, too.
    let link = outside.path().join("site");
    symlink(root, &link)?;
    let server = start(&link, Limits::default())?;
    for path in [
        "/file",
        "/out",
        "/out/",
        "/out/index.html",
        "/twice",
        "/dangling",
        "/self",
    ] {
        let answer = get(&server, path, &[])?;
        assert_eq!(
            (answer.status(), &*answer.body),
            ("404", "Not found\n"),
            "{path}"
        );
    }
    for (path, text) in [
        ("/near.gguf", "model"),
        ("/also/model.gguf", "model"),
        ("/models/up/digits.txt", "0123456789"),
    ] {
        let answer = get(&server, path, &[])?;
        assert_eq!((answer.status(), &*answer.body), ("200", text), "{path}");
    }
    Ok(())
}

#[test]
fn a_part_goes_with_parts_of_the_same_file_only() -> Outcome {
    let folder = folder()?;
    let server = start(folder.path(), Limits::default())?;
    let tag = get(&server, "/digits.txt", &[])?;
    let tag = tag.header("ETag").ok_or("no ETag")?.to_owned();
    let ask = |if_range: &str| get(&server, "/digits.txt", &["Range: bytes=2-4", if_range]);
    let answer = ask(&format!("If-Range: {tag}"))?;
    assert_eq!((answer.status(), &*answer.body), ("206", "234"));
    assert_eq!(answer.header("Content-Range"), Some("bytes 2-4/10"));
    for other in [
        "\"another\"",
        &format!("W/{tag}"),
        "Wed, 21 Oct 2026 07:28:00 GMT",
    ] {
        let answer = ask(&format!("If-Range: {other}"))?;
        assert_eq!(
            (answer.status(), &*answer.body),
            ("200", "0123456789"),
            "{other}"
        );
        assert_eq!(answer.header("Content-Range"), None, "{other}");
    }
    // A file that has changed has another tag, even if it is as long.
    std::fs::write(folder.path().join("digits.txt"), "abcdefghij")?;
    let answer = ask(&format!("If-Range: {tag}"))?;
    assert_eq!((answer.status(), &*answer.body), ("200", "abcdefghij"));
    Ok(())
}

#[test]
fn what_the_browser_has_is_not_sent_again() -> Outcome {
    let folder = folder()?;
    let server = start(folder.path(), Limits::default())?;
    let tag = get(&server, "/digits.txt", &[])?;
    let tag = tag.header("ETag").ok_or("no ETag")?.to_owned();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = get(
            &server,
            "/digits.txt",
            &[&format!("If-None-Match: {known}")],
        )?;
        assert_eq!((answer.status(), &*answer.body), ("304", ""), "{known}");
        assert_eq!(answer.header("ETag"), Some(&*tag), "{known}");
    }
    let answer = get(&server, "/digits.txt", &["If-None-Match: \"other\""])?;
    assert_eq!((answer.status(), &*answer.body), ("200", "0123456789"));
    Ok(())
}

#[test]
fn a_head_tells_of_the_file_without_its_bytes() -> Outcome {
    let folder = folder()?;
    let server = start(folder.path(), Limits::default())?;
    let answer = ask(&server, &["HEAD /digits.txt HTTP/1.1", "Host: localhost"])?;
    assert_eq!((answer.status(), &*answer.body), ("200", ""));
    assert_eq!(answer.header("Content-Length"), Some("10"));
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    Ok(())
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() -> Outcome {
    const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let folder = folder()?;
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let server = start(folder.path(), limits)?;
    let mut byte = [0];
    let (mut first, mut second) = (connect(&server)?, connect(&server)?);
    for connection in [&mut first, &mut second] {
        connection.write_all(HEAD)?;
        connection.read_exact(&mut byte)?;
    }
    let mut third = connect(&server)?;
    third.write_all(HEAD)?;
    third.set_read_timeout(Some(A_MOMENT))?;
    let kind = third.read(&mut byte).err().map(|error| error.kind());
    assert!(
        matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{kind:?}"
    );
    drop(first);
    third.set_read_timeout(Some(SOON))?;
    third.read_exact(&mut byte)?;
    assert_eq!(&byte, b"H");
    Ok(())
}

/// Whether the server soon ends a connection on which these bytes come, one now and then.
fn ends(mut connection: TcpStream, pieces: impl Iterator<Item = u8>) -> bool {
    let start = Instant::now();
    let mut pieces = pieces.fuse();
    let _ = connection.set_read_timeout(Some(Duration::from_millis(20)));
    while start.elapsed() < SOON {
        if let Some(piece) = pieces.next()
            && connection.write_all(&[piece]).is_err()
        {
            return true;
        }
        match connection.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn a_request_that_does_not_come_to_an_end_is_not_waited_for() -> Outcome {
    let folder = folder()?;
    let limits = Limits {
        head: A_MOMENT,
        ..Limits::default()
    };
    let server = start(folder.path(), limits)?;
    assert!(ends(connect(&server)?, std::iter::empty()), "nothing comes");
    let endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".iter().copied();
    let endless = endless.chain(std::iter::repeat(b'x'));
    assert!(ends(connect(&server)?, endless), "a byte now and then");
    let once = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".iter().copied();
    assert!(ends(connect(&server)?, once), "a kept connection");
    Ok(())
}

#[test]
fn a_head_without_end_is_refused() -> Outcome {
    let folder = folder()?;
    let server = start(folder.path(), Limits::default())?;
    let mut connection = connect(&server)?;
    let mut head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec();
    head.resize(160 << 10, b'x');
    // The server may hang up before all of it is sent.
    let _ = connection.write_all(&head);
    assert!(ends(connection, std::iter::empty()));
    Ok(())
}

/// A file that takes no room on the disk.
fn large_file(folder: &Path, len_bytes: u64) -> Outcome {
    let file = std::fs::File::create(folder.join("large.bin"))?;
    Ok(file.set_len(len_bytes)?)
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() -> Outcome {
    const LEN_BYTES: u64 = 64 << 20;
    let folder = folder()?;
    large_file(folder.path(), LEN_BYTES)?;
    let limits = Limits {
        unread: A_MOMENT,
        ..Limits::default()
    };
    let server = start(folder.path(), limits)?;
    let request = b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connection = connect(&server)?;
    connection.write_all(request)?;
    std::thread::sleep(6 * A_MOMENT);
    let mut rest = Vec::new();
    // What was on its way may still come, and the end may be a reset.
    let _ = connection.read_to_end(&mut rest);
    assert!((rest.len() as u64) < LEN_BYTES, "{} bytes", rest.len());
    // A client that only pauses gets everything.
    let mut connection = connect(&server)?;
    connection.write_all(request)?;
    let (mut all, mut piece) = (0, vec![0; 4 << 20]);
    while all < LEN_BYTES {
        std::thread::sleep(A_MOMENT / 10);
        all += connection.read(&mut piece)? as u64;
    }
    Ok(())
}

#[test]
fn the_end_of_the_server_is_the_end_of_its_connections() -> Outcome {
    let folder = folder()?;
    large_file(folder.path(), 1 << 30)?;
    let server = start(folder.path(), Limits::default())?;
    let port = server.origin().replace("http://127.0.0.1:", "").parse()?;
    let (idle, mut kept, mut busy) = (connect(&server)?, connect(&server)?, connect(&server)?);
    kept.write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    kept.read_exact(&mut [0])?;
    busy.write_all(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    busy.read_exact(&mut [0])?;
    let start = Instant::now();
    drop(server);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    let again = TcpListener::bind(("127.0.0.1", port))?;
    for connection in [idle, kept, busy] {
        assert!(ends(connection, std::iter::empty()));
    }
    drop(again);
    Ok(())
}

#[test]
fn a_file_that_shrinks_is_not_passed_off_as_whole() -> Outcome {
    let folder = folder()?;
    large_file(folder.path(), 64 << 20)?;
    let server = start(folder.path(), Limits::default())?;
    let mut connection = connect(&server)?;
    connection.write_all(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    connection.read_exact(&mut [0])?;
    large_file(folder.path(), 1)?;
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "{} bytes", rest.len());
    let head = String::from_utf8_lossy(&rest[..rest.len().min(1000)]);
    let announced = format!("content-length: {}\r\n", 64 << 20);
    assert!(head.contains(&announced), "{head}");
    Ok(())
}
