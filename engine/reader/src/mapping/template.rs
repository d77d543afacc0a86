//! Texts with the row's fields in them.

use super::{Fields, RowFault, first_name, get, scalar};

/// Puts fields into `{field}`; `{{` and `}}` are braces.
pub(super) fn fill(fields: &Fields, template: &str) -> Result<String, RowFault> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = after;
            continue;
        }
        let Some((path, after)) = (brace == "{").then(|| rest.split_once('}')).flatten() else {
            let what = format!("the template has a `{brace}` without its counterpart");
            return Err(RowFault::new("", what, "Write literal braces twice."));
        };
        let path = path.trim();
        match get(fields, path) {
            Some(value) => filled.push_str(&scalar(value).unwrap_or_else(|| value.to_string())),
            // Null, or an optional part of an object.
            None if first_name(fields, path).is_some() => {}
            None => {
                let what = format!("the template uses `{path}`, which the row does not have");
                return Err(RowFault::new(
                    "",
                    what,
                    "Correct the template, or remove the row.",
                ));
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
