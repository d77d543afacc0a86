//! XML as spreadsheet programs write it, token by token, none of which may be much longer than a cell, which has at most 32,767 characters.

use std::io::{self, BufRead, BufReader, Read};

use crate::source::StreamError;

const MAX_TOKEN_BYTES: u64 = 4 << 20;
const SLICE_BYTES: usize = 64 << 10;

/// A piece of XML. Names are without their prefixes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'x> {
    Start {
        name: &'x str,
        attributes: Attributes<'x>,
    },
    /// Follows the start of an element without content, too.
    End(&'x str),
    Text(&'x str),
}

/// What stands after a name in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes<'x>(&'x str);

impl Attributes<'_> {
    /// The value of an attribute.
    pub(super) fn get(self, name: &str) -> Option<String> {
        let mut rest = self.0;
        loop {
            let (key, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after
                .chars()
                .next()
                .filter(|quote| "\"'".contains(*quote))?;
            let (value, after) = after[1..].split_once(quote)?;
            if local(key.trim()) == name {
                return Some(decoded(value));
            }
            rest = after;
        }
    }
}

pub(super) struct Xml<R> {
    input: BufReader<R>,
    token: Vec<u8>,
    text: String,
    is_in_tag: bool,
    /// Whether the end of the last element is still to be told.
    is_empty: bool,
}

impl<R: Read> Xml<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(SLICE_BYTES, input),
            token: Vec::new(),
            text: String::new(),
            is_in_tag: false,
            is_empty: false,
        }
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Token<'_>>> {
        if self.is_empty {
            self.is_empty = false;
            return Ok(Some(Token::End(name(&self.text))));
        }
        loop {
            self.token.clear();
            if !self.is_in_tag {
                self.is_in_tag = self.read_until(b'<')?;
                if self.token.is_empty() && !self.is_in_tag {
                    return Ok(None);
                }
                if !self.token.is_empty() {
                    self.text = decoded(&String::from_utf8_lossy(&self.token));
                    return Ok(Some(Token::Text(&self.text)));
                }
            } else {
                self.is_in_tag = false;
                self.read_tag()?;
                if let Some(data) = self.token.strip_prefix(b"![CDATA[") {
                    let data = data.strip_suffix(b"]]").unwrap_or(data);
                    self.text = String::from_utf8_lossy(data).into_owned();
                    return Ok(Some(Token::Text(&self.text)));
                }
                if !matches!(self.token.first(), None | Some(b'?' | b'!')) {
                    break;
                }
            }
        }
        self.text = String::from_utf8_lossy(&self.token).into_owned();
        if let Some(end) = self.text.strip_prefix('/') {
            return Ok(Some(Token::End(name(end))));
        }
        self.is_empty = self.text.ends_with('/');
        let attributes = self.text.split_once(char::is_whitespace);
        Ok(Some(Token::Start {
            name: name(&self.text),
            attributes: Attributes(attributes.map_or("", |(_, attributes)| attributes)),
        }))
    }

    /// Reads the rest of a tag.
    fn read_tag(&mut self) -> io::Result<()> {
        loop {
            let is_there = self.read_until(b'>')?;
            let tag = self.token.as_slice();
            let is_whole = if tag.starts_with(b"!--") {
                tag.len() >= 5 && tag.ends_with(b"--")
            } else if tag.starts_with(b"![CDATA[") {
                tag.ends_with(b"]]")
            } else {
                tag.iter().filter(|&&byte| byte == b'"').count() % 2 == 0
            };
            if is_whole || !is_there {
                return Ok(());
            }
            self.token.push(b'>');
        }
    }

    /// Appends what stands before that byte; whether it was there.
    fn read_until(&mut self, byte: u8) -> io::Result<bool> {
        let most = MAX_TOKEN_BYTES.saturating_sub(self.token.len() as u64);
        let num_bytes = (&mut self.input)
            .take(most)
            .read_until(byte, &mut self.token)?;
        let is_there = num_bytes > 0 && self.token.last() == Some(&byte);
        if is_there {
            self.token.pop();
        } else if self.token.len() as u64 >= MAX_TOKEN_BYTES {
            let what = "a text in it is too long".to_owned();
            return Err(io::Error::other(StreamError::Damaged(what)));
        }
        Ok(is_there)
    }
}

fn name(tag: &str) -> &str {
    let end = tag.find(|c: char| c.is_whitespace() || c == '/');
    local(&tag[..end.unwrap_or(tag.len())])
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// A text with the characters that its references stand for.
fn decoded(text: &str) -> String {
    let mut rest = text;
    let mut decoded = String::with_capacity(text.len());
    while let Some(at) = rest.find('&') {
        decoded += &rest[..at];
        let reference = rest[at + 1..]
            .split_once(';')
            .filter(|(name, _)| name.len() < 10);
        let character = reference.and_then(|(name, _)| match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            name => {
                let number = name.strip_prefix('#')?;
                let number = match number.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(number)
            }
        });
        match (character, reference) {
            (Some(character), Some((_, after))) => {
                decoded.push(character);
                rest = after;
            }
            _ => {
                decoded.push('&');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded + rest
}
