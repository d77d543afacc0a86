//! The front matter of a dataset's README.md, of which only the names of labels are read: lines by how far they are indented.

use super::{Column, Feature, Features};

/// Names of a label that are kept.
const MAX_NAMES: usize = 10_000;

/// The labels that a card's `dataset_info` has.
pub(super) fn of_card(text: &str) -> Option<Features> {
    let matter = text.trim_start().strip_prefix("---")?;
    let matter = matter.split("\n---").next()?;
    let mut lines = matter.lines().map(|line| {
        let text = line.trim();
        let text = text.strip_prefix("- ").unwrap_or(text);
        (line.len() - line.trim_start().len(), text.trim())
    });
    let mut configs: Vec<Vec<Column>> = Vec::new();
    let mut name = "";
    let mut peeked = None;
    while let Some((indent, line)) = peeked.take().or_else(|| lines.next()) {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        match key {
            "features" => configs.push(Vec::new()),
            "name" => name = unquoted(value),
            "class_label" => {
                let mut names = Vec::new();
                for (inner, line) in lines.by_ref() {
                    if inner <= indent && !line.is_empty() {
                        peeked = Some((inner, line));
                        break;
                    }
                    let entry = line.split_once(':');
                    let is_number = |key: &str| unquoted(key).parse::<usize>() == Ok(names.len());
                    if let Some((_, value)) = entry.filter(|(key, _)| is_number(key))
                        && names.len() < MAX_NAMES
                    {
                        names.push(unquoted(value).to_owned());
                    }
                }
                if let Some(columns) = configs.last_mut().filter(|_| !name.is_empty()) {
                    columns.push(Column::new(name.to_owned(), Feature::Class(names)));
                }
            }
            _ => {}
        }
    }
    Features::common(
        configs
            .into_iter()
            .map(|columns| Some(Features { columns })),
    )
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}
