//! Behaviour of the functional core: folders of data in, text out.

mod scenario;
