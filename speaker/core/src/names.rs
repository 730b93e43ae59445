//! What Kubernetes lets be a name, a label key or a label value.
//!
//! Rules: "Object Names and IDs" and "Labels and Selectors" of the Kubernetes documentation, RFC 1123.

/// Refuses what is no RFC 1123 label: lower-case letters, digits and `-`, at most 63 characters.
pub fn check_label_name(text: &str) -> Result<(), String> {
    if text.len() <= 63 && is_dns_label(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no name: lower-case letters, digits and '-', at most 63 characters"
    ))
}

/// Refuses what is no RFC 1123 subdomain: labels joined by `.`, at most 253 characters.
pub fn check_subdomain(text: &str) -> Result<(), String> {
    if text.len() <= 253 && text.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no name: lower-case letters, digits, '-' and '.', at most 253 characters"
    ))
}

/// Refuses what is no key of a label or annotation: `name` or `prefix/name`.
pub fn check_key(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let prefix_is_good = prefix.is_none_or(|prefix| check_subdomain(prefix).is_ok());
    if prefix_is_good && !name.is_empty() && is_label_text(name) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no label key: an optional DNS name and '/', then up to 63 letters, digits, '-', '_' and '.'"
    ))
}

/// Refuses what cannot be the value of a label; an empty one can.
pub fn check_label_value(text: &str) -> Result<(), String> {
    if is_label_text(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is no label value: up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    ))
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_text(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let ends = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

/// The known word that a misspelt one was most likely meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase());
    known
        .map(|known| (distance(known), known))
        .filter(|(distance, _)| *distance <= TYPOS_MAX)
        .min()
        .map(|(_, known)| known)
}

const TYPOS_MAX: usize = 3; // past that it is another word

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_kubernetes_has_them() {
        for good in ["a", "web-1", "0"] {
            assert_eq!(check_label_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(check_label_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_subdomain("a.b-c.0"), Ok(()));
        for bad in ["", "a..b", ".a", "a.", &"a.".repeat(127)] {
            assert!(check_subdomain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_keys_have_one_slash_at_most() {
        for good in ["a", "app.kubernetes.io/name", "A_b.c"] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "a b", "-a", "Ex.com/a"] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_value_may_be_empty() {
        for good in ["", "a", "1.2-3_4"] {
            assert_eq!(check_label_value(good), Ok(()), "{good}");
        }
        for bad in ["b c", "-", "a.", &"a".repeat(64)] {
            assert!(check_label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_word_far_from_all_known_ones_has_no_neighbour() {
        assert_eq!(
            nearest("IPAdressPool", ["IPAddressPool", "Community"].into_iter()),
            Some("IPAddressPool")
        );
        assert_eq!(
            nearest("Deployment", ["IPAddressPool", "Community"].into_iter()),
            None
        );
    }
}
