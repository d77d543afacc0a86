//! The paragraphs of a text.

use std::io;

use super::{Line, Place, TextStream};

pub(super) struct Paragraph {
    pub place: Place,
    /// Empty if it is too long.
    pub text: String,
    pub is_too_long: bool,
    /// Whether the file was cut off inside it.
    pub is_cut_off: bool,
    /// Whether it is a code block, including its fences.
    pub is_code: bool,
}

/// The paragraphs in sequence. They are separated by empty lines; a Markdown heading begins one, together with what
/// follows it, and a block between code fences is never cut.
pub(super) struct Paragraphs<'a, 's> {
    stream: &'a mut TextStream<'s>,
    is_markdown: bool,
    is_done: bool,
}

/// The paragraph that is being read.
struct Building {
    paragraph: Paragraph,
    /// Whether it contains only headings so far.
    has_headings_only: bool,
    /// The code fence that is open.
    fence: Option<String>,
}

impl<'a, 's> Paragraphs<'a, 's> {
    pub(super) fn new(stream: &'a mut TextStream<'s>, is_markdown: bool) -> Self {
        Self {
            stream,
            is_markdown,
            is_done: false,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Paragraph>> {
        let mut building: Option<Building> = None;
        while !self.is_done {
            let (len, is_last) = match self.stream.line(self.stream.row_limit())? {
                Line::Whole(len) => (len, false),
                Line::Last(len) => (len, true),
                Line::TooLong => {
                    let begun = building.get_or_insert_with(|| Building::new(self.stream.place()));
                    begun.overflow();
                    self.stream.skip_line()?;
                    continue;
                }
            };
            let line = self.stream.text(len).trim_end();
            let begins_anew = self.is_markdown && is_heading(line);
            match &mut building {
                // The heading belongs to the next paragraph.
                Some(begun) if begins_anew && !begun.has_headings_only && begun.fence.is_none() => {
                    break;
                }
                Some(begun) => {
                    if line.is_empty() && begun.fence.is_none() && !begun.has_headings_only {
                        self.pass(len, is_last);
                        break;
                    }
                    begun.add(line, self.is_markdown, self.stream.row_limit());
                }
                None if line.is_empty() => {}
                None => {
                    let mut begun = Building::new(self.stream.place());
                    begun.add(line, self.is_markdown, self.stream.row_limit());
                    building = Some(begun);
                }
            }
            self.pass(len, is_last);
        }
        let is_cut_off = self.is_done && self.stream.decoder().is_cut_off();
        Ok(building.map(|building| building.finish(is_cut_off)))
    }

    fn pass(&mut self, len: usize, is_last: bool) {
        self.is_done = is_last;
        self.stream.advance(if is_last { len } else { len + 1 });
    }
}

impl Building {
    fn new(place: Place) -> Self {
        Self {
            paragraph: Paragraph {
                place,
                text: String::new(),
                is_too_long: false,
                is_cut_off: false,
                is_code: false,
            },
            has_headings_only: false,
            fence: None,
        }
    }

    fn add(&mut self, line: &str, is_markdown: bool, most: usize) {
        let is_first = self.paragraph.text.is_empty();
        let is_heading = is_markdown && is_heading(line) && self.fence.is_none();
        self.has_headings_only = is_heading && (is_first || self.has_headings_only)
            || self.has_headings_only && line.is_empty();
        if is_markdown {
            self.look_for_fence(line, is_first);
        }
        if self.paragraph.text.len() + line.len() > most {
            self.overflow();
        }
        if !self.paragraph.is_too_long {
            if !is_first {
                self.paragraph.text.push('\n');
            }
            self.paragraph.text += line;
        }
    }

    fn look_for_fence(&mut self, line: &str, is_first: bool) {
        let line = line.trim_start();
        let mark = line
            .chars()
            .next()
            .filter(|&mark| mark == '`' || mark == '~');
        let len = mark.map_or(0, |mark| line.len() - line.trim_start_matches(mark).len());
        match &self.fence {
            Some(open) if line.len() == len && line.starts_with(open.as_str()) => self.fence = None,
            Some(_) => {}
            None if len >= 3 => {
                self.fence = Some(line[..len].to_owned());
                self.paragraph.is_code = is_first;
            }
            None => {}
        }
    }

    fn overflow(&mut self) {
        self.paragraph.is_too_long = true;
        self.paragraph.text = String::new();
    }

    fn finish(mut self, is_cut_off: bool) -> Paragraph {
        self.paragraph.is_cut_off = is_cut_off;
        let len = self.paragraph.text.trim_end().len();
        self.paragraph.text.truncate(len);
        self.paragraph
    }
}

/// `# ` to `###### `.
fn is_heading(line: &str) -> bool {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    (1..=6).contains(&level) && rest.starts_with(' ')
}
