//! Fields by path: `question`, `data.question`, `answers[0].text`, `answers.0.text`.

use serde_json::Value;

/// The fields of a record, in the order of the file.
pub type Fields = [(String, Value)];

/// The value at `path`; a field whose own name looks like a path is found first. Null counts as absent.
pub fn get<'a>(fields: &'a Fields, path: &str) -> Option<&'a Value> {
    let (name, value) = fields
        .iter()
        .filter(|(name, _)| {
            let rest = path.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
        .max_by_key(|(name, _)| name.len())?;
    descend(value, &path[name.len()..]).filter(|value| !value.is_null())
}

fn descend<'a>(mut value: &'a Value, mut rest: &str) -> Option<&'a Value> {
    while !rest.is_empty() {
        rest = rest.strip_prefix(['.', '[']).unwrap_or(rest);
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (step, after) = rest.split_at(end);
        let step = step.strip_suffix(']').unwrap_or(step);
        value = match value {
            Value::Object(fields) => fields.get(step)?,
            Value::Array(list) => list.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
        rest = after;
    }
    Some(value)
}

/// The name that a path ends with: `text` of `data.text`.
pub fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// The first name of a path that `fields` contains, which can be searched for in the row's text.
pub fn first_name<'a>(fields: &'a Fields, path: &str) -> Option<&'a str> {
    let names = fields.iter().map(|(name, _)| name.as_str());
    names
        .filter(|name| path.starts_with(name))
        .max_by_key(|name| name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_paths_and_steps_lead_into_lists() {
        let record = serde_json::json!({
            "a.b": 1, "a": {"b": 2, "c": [{"d": 3}, null]}, "a.b.c": {"e": [4]},
        });
        let fields: Vec<_> = record.as_object().unwrap().clone().into_iter().collect();
        let at = |path: &str| get(&fields, path).and_then(Value::as_u64);
        assert_eq!(at("a.b"), Some(1));
        assert_eq!(at("a.c[0].d"), Some(3));
        assert_eq!(at("a.c.0.d"), Some(3));
        assert_eq!(at("a.b.c.e[0]"), Some(4));
        for absent in [
            "",
            "b",
            "a.c[1]",
            "a.c[2]",
            "a.c.x",
            "a.c[0].d.e",
            "ab",
            "a.b[0",
        ] {
            assert_eq!(at(absent), None, "{absent}");
        }
        assert_eq!(first_name(&fields, "a.c[0].d"), Some("a"));
        assert_eq!(first_name(&fields, "x"), None);
    }
}
