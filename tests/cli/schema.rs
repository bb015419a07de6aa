//! `schema` through the binary: every file that is shipped is what its schema says.
