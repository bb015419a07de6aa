//! A reader that knows the place of every byte it has handed out, and stops at what no memory would hold: nesting without
//! end, and text that is not UTF-8.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Read, Result};

/// As deep as `serde_json` goes into what it builds.
const DEEPEST: usize = 128;
const CHUNK: usize = 64 << 10;

/// Reads JSON. It hands out one byte at a time, which is how `serde_json` asks for them, so that the place is exact.
pub(super) struct Counted<'c, R> {
    inner: R,
    chunk: Vec<u8>,
    next: usize,
    /// The first bytes of a character that goes on in the next chunk.
    cut: Vec<u8>,
    place: &'c Cell<usize>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl<'c, R: Read> Counted<'c, R> {
    pub(super) fn new(inner: R, place: &'c Cell<usize>) -> Self {
        let (chunk, cut) = (Vec::with_capacity(CHUNK), Vec::new());
        Counted { inner, chunk, next: 0, cut, place, depth: 0, in_string: false, escaped: false }
    }

    fn fill(&mut self) -> Result<()> {
        self.next = 0;
        self.chunk.clear();
        self.inner.by_ref().take(CHUNK as u64).read_to_end(&mut self.chunk)?;
        let mut text = std::mem::take(&mut self.cut);
        text.extend_from_slice(&self.chunk);
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() && !self.chunk.is_empty() => {
                self.cut = text.split_off(error.valid_up_to());
                Ok(())
            }
            Err(_) => Err(Error::new(ErrorKind::InvalidData, "it is not UTF-8")),
        }
    }

    fn follow(&mut self, byte: u8) -> Result<()> {
        if self.in_string {
            let escaped = std::mem::take(&mut self.escaped);
            match byte {
                b'"' if !escaped => self.in_string = false,
                b'\\' => self.escaped = !escaped,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > DEEPEST { Err(Error::new(ErrorKind::InvalidData, "it is nested too deeply")) } else { Ok(()) }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        if self.next == self.chunk.len() {
            self.fill()?;
        }
        let (Some(byte), Some(out)) = (self.chunk.get(self.next).copied(), out.first_mut()) else { return Ok(0) };
        self.follow(byte)?;
        self.next += 1;
        self.place.set(self.place.get() + 1);
        *out = byte;
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<usize> {
        let place = Cell::new(0);
        Counted::new(bytes, &place).read_to_end(&mut Vec::new())?;
        Ok(place.get())
    }

    #[test]
    fn every_byte_is_counted_and_endless_nesting_is_stopped() {
        assert_eq!(read(br#"{"a":"\"[["}"#).unwrap(), 12);
        assert_eq!(read(&b"[".repeat(128)).unwrap(), 128);
        assert!(read(&b"[".repeat(129)).is_err());
        assert_eq!(read(&[b"[\"".as_slice(), &b"[".repeat(500), b"\"]"].concat()).unwrap(), 504);
    }

    #[test]
    fn a_character_may_be_cut_by_a_chunk_but_not_by_the_end() {
        for before in CHUNK - 4..CHUNK + 1 {
            let text = format!("{}\u{1f600}.", " ".repeat(before));
            assert_eq!(read(text.as_bytes()).unwrap(), text.len());
            assert!(read(&text.as_bytes()[..before + 3]).is_err(), "{before}");
        }
        assert!(read(b"ab\xff").is_err());
    }
}
