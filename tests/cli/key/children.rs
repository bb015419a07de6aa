//! Who else may see the key: programs that are started, and processes of the same user.
