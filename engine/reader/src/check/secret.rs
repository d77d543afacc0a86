//! Finds passwords, keys and addresses that should not be learned. They are recognized by their form, so each is a
//! hint, not a proof.

/// The prefix of a key, which characters follow, the minimum number of them, and the name of the key.
type Key = (&'static str, fn(char) -> bool, usize, &'static str);
const KEYS: [Key; 14] = [
    ("AKIA", is_upper_or_digit, 16, "an AWS access key"),
    ("ASIA", is_upper_or_digit, 16, "an AWS access key"),
    ("sk-", is_token, 20, "an API key"),
    ("sk_live_", is_token, 16, "a Stripe key"),
    ("rk_live_", is_token, 16, "a Stripe key"),
    ("ghp_", is_token, 36, "a GitHub token"),
    ("gho_", is_token, 36, "a GitHub token"),
    ("github_pat_", is_token, 40, "a GitHub token"),
    ("glpat-", is_token, 20, "a GitLab token"),
    ("hf_", is_token, 30, "a Hugging Face token"),
    ("npm_", is_token, 36, "an npm token"),
    ("xoxb-", is_token, 20, "a Slack token"),
    ("xoxp-", is_token, 20, "a Slack token"),
    ("AIza", is_token, 35, "a Google API key"),
];
/// Names of values that should stay secret.
const NAMES: [&str; 6] = [
    "password",
    "passwd",
    "secret_key",
    "api_key",
    "apikey",
    "access_token",
];
const MIN_VALUE: usize = 8;

fn is_upper_or_digit(character: char) -> bool {
    character.is_ascii_uppercase() || character.is_ascii_digit()
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

/// The kind of key or password that the text seems to contain.
pub fn secret(text: &str) -> Option<String> {
    let known = KEYS.iter().find(|(prefix, is_part, len, _)| {
        text.match_indices(prefix).any(|(at, _)| {
            // Part of a longer word is not a key.
            let is_start = !text[..at].ends_with(is_token);
            let rest = text[at + prefix.len()..].chars();
            is_start
                && rest
                    .take_while(|&character| is_part(character))
                    .take(*len)
                    .count()
                    == *len
        })
    });
    if let Some((_, _, _, what)) = known {
        return Some((*what).to_owned());
    }
    if is_private_key(text) {
        return Some("a private key".to_owned());
    }
    if is_web_token(text) {
        return Some("a signed web token".to_owned());
    }
    named(text).map(|name| format!("a value of `{name}`"))
}

fn is_private_key(text: &str) -> bool {
    text.match_indices("-----BEGIN ").any(|(at, _)| {
        let line = text[at..].lines().next().unwrap_or_default();
        line.contains("PRIVATE KEY-----")
    })
}

/// Three parts of base64 separated by dots, the first of which is JSON.
fn is_web_token(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| {
        let token: Vec<&str> = text[at..]
            .split(|character| !is_token(character) && character != '.')
            .next()
            .unwrap_or_default()
            .split('.')
            .collect();
        token.len() >= 3 && token[..3].iter().all(|part| part.len() >= 16)
    })
}

/// `password = "..."`: a name, a sign and a value with digits and letters.
fn named(text: &str) -> Option<&'static str> {
    // The same length, so that positions agree.
    let lower = text.to_ascii_lowercase();
    NAMES.into_iter().find(|name| {
        lower.match_indices(name).any(|(at, _)| {
            let rest = text[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
            let Some(rest) = rest.strip_prefix([':', '=']) else {
                return false;
            };
            let value: String = rest
                .trim_start_matches([' ', '"', '\'', '='])
                .chars()
                .take_while(|character| {
                    !character.is_whitespace() && !"\"',;)".contains(*character)
                })
                .collect();
            value.len() >= MIN_VALUE
                && value.contains(|character: char| character.is_ascii_digit())
                && value.contains(char::is_alphabetic)
        })
    })
}

/// An e-mail address in the text, with its middle hidden. Addresses of example domains do not count.
pub fn email(text: &str) -> Option<String> {
    text.match_indices('@').find_map(|(at, _)| {
        let is_local =
            |character: char| character.is_ascii_alphanumeric() || "._%+-".contains(character);
        let before = &text[..at];
        let start = before
            .char_indices()
            .rev()
            .take_while(|&(_, character)| is_local(character))
            .last()?
            .0;
        let is_domain =
            |character: char| character.is_ascii_alphanumeric() || ".-".contains(character);
        let domain: String = text[at + 1..]
            .chars()
            .take_while(|&character| is_domain(character))
            .collect();
        let domain = domain.trim_end_matches(['.', '-']);
        let (host, top) = domain.rsplit_once('.')?;
        let is_real = !host.is_empty()
            && top.len() >= 2
            && top.chars().all(|character| character.is_ascii_alphabetic())
            && !host.split('.').any(|part| part == "example")
            && top != "example";
        let first = before[start..].chars().next()?;
        (is_real && first.is_ascii_alphanumeric()).then(|| format!("{first}...@{domain}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no scanner takes this file for a leak.
    fn key(prefix: &str, rest: &str) -> String {
        format!("see {prefix}{rest}.")
    }

    #[test]
    fn keys_are_seen_and_words_are_not() {
        let run = "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7";
        for (prefix, rest) in [
            ("AKIA", "ABCDEFGH12345678"),
            ("sk-", run),
            ("ghp_", run),
            ("hf_", run),
            ("AIza", run),
            ("-----BEGIN RSA ", "PRIVATE KEY-----"),
            ("password: ", "hunter2hunter2"),
            ("API_KEY=\"", "abcd1234efgh"),
            (
                "eyJ",
                "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3.SflKxwRJSMeKKF2QT4fw",
            ),
        ] {
            assert!(secret(&key(prefix, rest)).is_some(), "{prefix}");
        }
        for text in [
            "task-force-of-many-words-in-a-row",
            "the risk-averse-and-rather-long-compound",
            "Reset your password: open the settings.",
            "api_key = YOUR_KEY",
            "AKIA is a prefix",
            "eyJ.a.b",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert_eq!(secret(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_seen_with_their_middle_hidden() {
        let address = ["Mail jane.doe+x", "post.somewhere.org, please"].join("@");
        assert_eq!(email(&address).as_deref(), Some("j...@post.somewhere.org"));
        for text in [
            "a @ b",
            "@user",
            "me@",
            "x@y",
            "you@example.com",
            "a@b.c1",
            "é@ü.de",
            "1@2.3",
        ] {
            assert_eq!(email(text), None, "{text}");
        }
    }
}
