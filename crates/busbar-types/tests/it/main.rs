//! Tests through the public API.

mod descriptors;
