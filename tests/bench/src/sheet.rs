//! Where figures go: each is printed as soon as it is measured, so that a run that is ended keeps what it has measured.
//!
//! It knows nothing of benches, nor of how anything was measured.

use crate::figure::{self, Figure};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::io::Write;

/// How figures are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    Table,
    /// One object a line.
    Json,
}

/// Takes figures, in the order in which they are measured.
pub(crate) struct Sheet<'a> {
    output: Output,
    to: &'a mut (dyn Write + Send),
    has_head: bool,
}

impl<'a> Sheet<'a> {
    /// Nothing is printed before there is a figure.
    pub(crate) fn new(output: Output, to: &'a mut (dyn Write + Send)) -> Self {
        Self {
            output,
            to,
            has_head: false,
        }
    }

    /// Prints a figure, at once.
    pub(crate) fn add(&mut self, figure: &Figure) -> Result<()> {
        let line = match self.output {
            Output::Table => figure::row(figure),
            Output::Json => serde_json::to_string(figure)?,
        };
        if self.output == Output::Table && !self.has_head {
            writeln!(self.to, "{}", figure::head()).context(UNTOLD)?;
            self.has_head = true;
        }
        writeln!(self.to, "{line}").context(UNTOLD)?;
        self.to.flush().context(UNTOLD)
    }

    /// Prints figures that were measured together.
    pub(crate) fn extend(&mut self, figures: impl IntoIterator<Item = Figure>) -> Result<()> {
        figures.into_iter().try_for_each(|figure| self.add(&figure))
    }
}

const UNTOLD: &str = "failed to print a figure";

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What reached it when it was last flushed.
    #[derive(Default)]
    struct Paper {
        written: Vec<u8>,
        flushed: RefCell<String>,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.written.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            *self.flushed.borrow_mut() = String::from_utf8_lossy(&self.written).into_owned();
            Ok(())
        }
    }

    fn lines_after(output: Output, count: usize) -> usize {
        let mut paper = Paper::default();
        let mut sheet = Sheet::new(output, &mut paper);
        for number in 0..count {
            sheet
                .add(&Figure::new("b", "f", number as f64, "ns"))
                .unwrap();
        }
        paper.flushed.take().lines().count()
    }

    #[test]
    fn each_figure_is_out_before_the_next_is_measured() {
        for count in 0..4 {
            assert_eq!(lines_after(Output::Json, count), count);
            let head = usize::from(count > 0);
            assert_eq!(lines_after(Output::Table, count), head + count);
        }
    }
}
