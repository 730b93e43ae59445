//! The timeline of one fault as text: a row for each VIP, a column for each stretch of time, a sign for who answered in it.

use super::judge::Answer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::frame::Mac;

/// What is drawn.
pub(super) struct Timeline<'a> {
    pub(super) answers: &'a [Answer],
    pub(super) vips: &'a [IpAddr],
    /// First and last moment, nanoseconds.
    pub(super) span: (u64, u64),
    /// Moments to mark, each with a sign.
    pub(super) marks: &'a [(u64, char)],
    pub(super) names: &'a BTreeMap<Mac, String>,
}

/// Draws it: the last digit of the node's name, `.` for nobody, `X` for two, `?` for a host that is no node.
pub(super) fn draw(timeline: &Timeline<'_>) -> String {
    let (from, until) = timeline.span;
    let width = (until.saturating_sub(from) / COLUMNS as u64).max(1);
    let column = |at: u64| usize::try_from(at.saturating_sub(from) / width).unwrap_or(0);
    let mut text = String::new();
    let mut marks = vec![' '; COLUMNS];
    for (at, sign) in timeline.marks {
        if let Some(cell) = marks.get_mut(column(*at).min(COLUMNS - 1)) {
            *cell = *sign;
        }
    }
    text += &format!(
        "  {:<18} {}\n",
        "",
        marks.iter().collect::<String>().trim_end()
    );
    for vip in timeline.vips {
        let mut cells = vec![BTreeSet::new(); COLUMNS];
        for answer in timeline.answers.iter().filter(|a| a.vip == *vip) {
            if let Some(cell) = cells.get_mut(column(answer.at)) {
                cell.insert(sign(timeline.names.get(&answer.mac)));
            }
        }
        let row: String = cells.iter().map(cell).collect();
        text += &format!("  {:<18} {row}\n", vip.to_string());
    }
    text += &format!("  {:<18} one column is {} ms\n", "", width / 1_000_000);
    text
}

fn sign(name: Option<&String>) -> char {
    name.and_then(|name| name.chars().last()).unwrap_or('?')
}

fn cell(signs: &BTreeSet<char>) -> char {
    let mut signs = signs.iter();
    match (signs.next(), signs.next()) {
        (None, _) => '.',
        (Some(sign), None) => *sign,
        (Some(_), Some(_)) => 'X',
    }
}

const COLUMNS: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_says_who_answered_in_it() {
        let vip: IpAddr = "192.0.2.100".parse().expect("an address");
        let (one, two) = (Mac([1; 6]), Mac([2; 6]));
        let names = BTreeMap::from([(one, "n1".to_owned()), (two, "n2".to_owned())]);
        let at = |at, mac| Answer {
            at,
            vip,
            mac,
            to: two,
        };
        let answers = [
            at(0, one),
            at(1, one),
            at(2, two),
            at(5, two),
            at(5, one),
            at(6, Mac([9; 6])),
        ];
        let text = draw(&Timeline {
            answers: &answers,
            vips: &[vip],
            span: (0, 96),
            marks: &[(1, '|')],
            names: &names,
        });
        let row = text.lines().nth(1).expect("a row for the VIP");
        assert!(row.contains("112..X?..."), "{text}");
        let marks = text.lines().next().expect("a row of marks");
        assert_eq!(marks.find('|'), row.find("12..X"));
    }
}
