//! Takes secrets out of what is to be sent to others.
//!
//! The last of several fences: nothing that is asked for holds any. It knows the secrets that this process can read and how secrets look
//! in logs of others.

use regex::Regex;
use zeroize::Zeroizing;

/// Takes secrets out of texts.
pub(super) struct Redactor {
    known: Vec<Zeroizing<String>>,
    looks: Vec<Regex>,
}

impl Redactor {
    /// Knows these secrets, beside how others look. What is shorter than [`KNOWN_MIN`] bytes would be found everywhere.
    pub(super) fn new(known: impl IntoIterator<Item = Zeroizing<String>>) -> Self {
        let looks = LOOKS.iter().map(|look| Regex::new(look));
        Self {
            known: known
                .into_iter()
                .filter(|secret| secret.len() >= KNOWN_MIN)
                .collect(),
            looks: looks
                .collect::<Result<_, _>>()
                .expect("the patterns are constant and tested"),
        }
    }

    /// The text without secrets that are known.
    pub(super) fn known(&self, text: String) -> String {
        let known = self.known.iter();
        known.fold(text, |text, secret| text.replace(secret.as_str(), REDACTED))
    }

    /// The text without those, and without what looks like one: for what others wrote.
    pub(super) fn everything(&self, text: String) -> String {
        let mut text = self.known(text);
        for look in &self.looks {
            text = look
                .replace_all(&text, |found: &regex::Captures<'_>| {
                    let kept = found.name("kept").map_or("", |kept| kept.as_str());
                    format!("{kept}{REDACTED}")
                })
                .into_owned();
        }
        text
    }
}

/// What stands in a secret's place.
pub(super) const REDACTED: &str = "(redacted)";
const KNOWN_MIN: usize = 6;

/// In this order, since a later one would leave half of what an earlier one takes.
const LOOKS: [&str; 4] = [
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    // A token of a service account is a JSON web token (RFC 7519).
    r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
    r"(?i)(?P<kept>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}",
    r#"(?i)(?P<kept>(?:password|passwd|secret|token|authorization)\w*\\?["']?\s*[:=]\s*\\?["']?)[^\s"'\\,;}]+"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new([
            Zeroizing::new("correct-horse".to_owned()),
            Zeroizing::new("ab".to_owned()),
        ])
    }

    #[test]
    fn known_secrets_go_wherever_they_stand() {
        let text = redactor().known("x correct-horse ycorrect-horsez, about".to_owned());
        assert_eq!(text, "x (redacted) y(redacted)z, about");
    }

    #[test]
    fn what_looks_like_a_secret_goes_and_its_name_stays() {
        for (line, left) in [
            ("password=hunter2 peer=tor", "password=(redacted) peer=tor"),
            (
                r#"{"password":"hunter2","peer":"tor"}"#,
                r#"{"password":"(redacted)","peer":"tor"}"#,
            ),
            (
                r#""{\"password\":\"hunter2\"}""#,
                r#""{\"password\":\"(redacted)\"}""#,
            ),
            (
                "Authorization: Bearer hunter2hunter2",
                "Authorization: (redacted) (redacted)",
            ),
            ("token eyJhbGci.eyJzdWIi.c2ln", "token (redacted)"),
            ("secretkey: hunter2", "secretkey: (redacted)"),
            (
                "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----",
                "(redacted)",
            ),
            ("vip 192.0.2.10 taken", "vip 192.0.2.10 taken"),
        ] {
            assert_eq!(redactor().everything(line.to_owned()), left);
        }
    }
}
