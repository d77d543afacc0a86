//! Whether the first row of a table names its columns, and what stands above and next to the names.

use crate::output::Output;

/// Rows above the names that are looked for.
const MAX_TITLES: usize = 5;
const MAX_NAME_CHARS: usize = 200;
/// Characters and words of the name of a column.
const NAME_CHARS: usize = 60;
const NAME_WORDS: usize = 8;
/// Share of the rows from which on a column without a name is more than a few texts' delimiters.
const FILLED: f64 = 0.1;

/// What stands at the start of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub is_there: bool,
    /// Rows above it that are a title.
    pub num_titles: usize,
    /// Empty columns without a name, to the right of the others.
    pub num_unnamed: usize,
}

impl Header {
    /// Tells by the first rows of a table that has `num_columns` columns.
    pub(crate) fn of(rows: &[Vec<String>], num_columns: usize) -> Self {
        let num_titles = num_titles(rows, num_columns);
        let rows = &rows[num_titles..];
        let is_there = is_header(rows);
        let num_unnamed = match rows.first() {
            Some(header) if is_there => num_unnamed(header, &rows[1..]),
            _ => 0,
        };
        Self {
            is_there,
            num_titles,
            num_unnamed,
        }
    }

    /// Tells of a title, whose texts are `title`.
    pub(crate) fn tell(&self, file: &str, title: &[String], output: &mut Output) {
        if self.num_titles == 0 {
            return;
        }
        let what = match title {
            [] => "Empty rows".to_owned(),
            [title] => format!("The title {title:?}"),
            [title, ..] => format!("The title {title:?} and what follows it"),
        };
        let note = format!("{what} above the column names was skipped.");
        output.note(file, &note);
    }
}

fn is_filled(cell: &&String) -> bool {
    !cell.trim().is_empty()
}

/// Rows at the begin that have one text at most, where names of columns follow them.
fn num_titles(rows: &[Vec<String>], num_columns: usize) -> usize {
    let filled = |row: &Vec<String>| row.iter().filter(is_filled).count();
    let num_titles = rows.iter().take_while(|row| filled(row) <= 1).count();
    let is_title = (1..=MAX_TITLES).contains(&num_titles) && num_columns > 1;
    let after = rows.get(num_titles..).unwrap_or_default();
    let is_followed = after.len() > 1 && after[0].len() == num_columns && is_header(after);
    if is_title && is_followed {
        num_titles
    } else {
        0
    }
}

/// Columns at the right without a name that have nothing in them, but where a text's delimiters made further cells.
fn num_unnamed(header: &[String], rows: &[Vec<String>]) -> usize {
    let num_named = header.iter().rposition(|cell| is_filled(&cell));
    let num_unnamed = header.len() - num_named.map_or(header.len(), |last| last + 1);
    let whole: Vec<_> = rows
        .iter()
        .filter(|row| row.len() == header.len())
        .collect();
    let is_used = |row: &&&Vec<String>| {
        row[header.len() - num_unnamed..]
            .iter()
            .any(|cell| is_filled(&cell))
    };
    let num_used = whole.iter().filter(is_used).count();
    if num_used as f64 > FILLED * whole.len() as f64 {
        0
    } else {
        num_unnamed
    }
}

/// Whether the first row names the columns: unless something in it speaks against that.
fn is_header(rows: &[Vec<String>]) -> bool {
    let Some((first, others)) = rows.split_first() else {
        return true;
    };
    let num_named = first
        .iter()
        .rposition(|cell| is_filled(&cell))
        .map_or(0, |last| last + 1);
    let first = &first[..num_named];
    let is_named = first.iter().filter(is_filled).count() * 2 >= first.len();
    let has_number = first.iter().any(|cell| is_number(cell) && !is_year(cell));
    let is_repeated = first.iter().enumerate().any(|(column, cell)| {
        !cell.is_empty()
            && others.iter().any(|row| {
                row.get(column) == Some(cell) && row[..num_named.min(row.len())] != *first
            })
    });
    // A smiley or a line of dashes is not a name.
    let is_word = |cell: &String| {
        let cell = cell.trim();
        cell.chars().any(char::is_alphanumeric) || ["", "#", "№", "%"].contains(&cell)
    };
    is_named
        && !has_number
        && !is_repeated
        && !is_question_above_questions(first, others)
        && first.iter().all(|cell| is_short(cell) && is_word(cell))
}

/// Whether a question stands above questions, and so is one of them; those of a survey stand above their answers. Numbers
/// and dates below a word say all the same that the row has names, as does the time of each answer in a form that collects
/// questions.
fn is_question_above_questions(first: &[String], others: &[Vec<String>]) -> bool {
    let asks = |cell: &&String| cell.trim_end().ends_with(['?', '\u{ff1f}', '\u{61f}']);
    let counts = |cell: &&String| cell.starts_with(|first: char| first.is_ascii_digit());
    let below = |column: usize| {
        let cells = others.iter().filter_map(move |row| row.get(column));
        cells.filter(is_filled)
    };
    let is_mostly = |column: usize, is_it: &dyn Fn(&&String) -> bool| {
        let number = below(column).filter(|cell| is_it(cell)).count();
        number > 0 && number * 2 > below(column).count()
    };
    let mut columns = first.iter().enumerate();
    let is_name = |(column, cell): (usize, &String)| !counts(&cell) && is_mostly(column, &counts);
    !columns.clone().any(is_name)
        && columns.any(|(column, cell)| asks(&cell) && is_mostly(column, &asks))
}

/// Distinct names of columns; one without a name is called by its number.
pub(crate) fn column_names(cells: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(cells.len());
    let mut seen = std::collections::HashSet::new();
    for (index, cell) in cells.iter().enumerate() {
        let name: String = cell.trim().chars().take(MAX_NAME_CHARS).collect();
        let name = match name.as_str() {
            "" => format!("column {}", index + 1),
            _ => name,
        };
        let mut unique = name.clone();
        let mut number = 2;
        while !seen.insert(unique.clone()) {
            unique = format!("{name} ({number})");
            number += 1;
        }
        names.push(unique);
    }
    names
}

/// Whether a cell may be the name of a column.
pub(super) fn is_short(cell: &str) -> bool {
    let cell = cell.trim();
    let num_words = cell.split_whitespace().count();
    let is_sentence = num_words > 3 && cell.ends_with(['.', '!', ';', ':']);
    cell.chars().count() <= NAME_CHARS && num_words <= NAME_WORDS && !is_sentence
        || cell.ends_with('?') && cell.chars().count() <= 4 * NAME_CHARS
}

/// Whether a cell is a number, with a point or a comma before its fraction.
fn is_number(cell: &str) -> bool {
    let cell = cell.trim();
    let has_digit = cell.bytes().any(|byte| byte.is_ascii_digit());
    has_digit && (cell.parse::<f64>().is_ok() || cell.replacen(',', ".", 1).parse::<f64>().is_ok())
}

fn is_year(cell: &str) -> bool {
    cell.trim()
        .parse::<u32>()
        .is_ok_and(|year| (1800..2200).contains(&year))
}
