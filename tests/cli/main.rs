//! Every command through the real binary, as a person or a script calls it: stdout, stderr and exit code.

mod init;
mod support;
