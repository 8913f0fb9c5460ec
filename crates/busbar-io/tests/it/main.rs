//! Pipes as programs use them: one conformance suite over every transport.

mod conformance;
