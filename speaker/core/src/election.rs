//! Who should answer: a pure order of candidates.
