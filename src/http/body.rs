//! Reads an answer to its end, unpacked, within limits: in memory while it is small, else in a file without a name.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{NoAnswer, Spooled, inside, no_answer};

/// How much of a body is read at once.
const BUFFER: usize = 64 << 10;

/// The most of an answer that is held in memory; a larger one goes to a file without a name.
const HELD: u64 = 2 << 20;

/// As much of a larger answer is kept at hand, for rules that look into errors.
const HEAD: usize = 4 << 10;

/// No honest text is made more than so many times smaller by gzip. Measured at its highest level: 25 times of learners, 150
/// times of records that have an id and two hundred empty columns.
const RATIO: u64 = 200;

/// Up to so many bytes nobody asks how small they were packed.
const UNSUSPICIOUS: u64 = 32 << 20;

/// Returns a body of about `length` bytes to its end, and not more than `limit` of it. What is compressed is known by its
/// first two bytes: headers are wrong at times, and no JSON, CSV or XML begins so. It is unpacked once: what is packed
/// within is no text.
pub(super) fn whole(
    stream: impl Read,
    (length, limit): (u64, u64),
    folder: Option<&Path>,
) -> Result<(Vec<u8>, Option<Spooled>), NoAnswer> {
    let packed = Cell::new(0);
    let mut stream = BufReader::with_capacity(BUFFER, Counted { stream, bytes: &packed });
    let length = length.min(HELD);
    if stream.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]) {
        let unpacked = Unpacked { stream: MultiGzDecoder::new(stream), bytes: 0, packed: &packed };
        held(unpacked, (length, limit), folder)
    } else {
        held(stream, (length, limit), folder)
    }
}

/// A stream whose bytes are counted as they are read.
struct Counted<'c, R> {
    stream: R,
    bytes: &'c Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// A stream that is unpacked, as long as it does not become too much of too little.
struct Unpacked<'c, R> {
    stream: R,
    bytes: u64,
    packed: &'c Cell<u64>,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > UNSUSPICIOUS && self.bytes / RATIO > self.packed.get() {
            return Err(io::Error::other(TooDense));
        }
        Ok(read)
    }
}

/// An answer that becomes much larger by unpacking than any honest one.
#[derive(Debug)]
struct TooDense;

impl std::fmt::Display for TooDense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("packed as no honest answer is")
    }
}

impl std::error::Error for TooDense {}

/// Returns what a stream has, or its head and all of it in a file if that is too large to be held.
fn held(
    mut stream: impl Read,
    (length, limit): (u64, u64),
    folder: Option<&Path>,
) -> Result<(Vec<u8>, Option<Spooled>), NoAnswer> {
    let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    stream.by_ref().take(HELD.min(limit) + 1).read_to_end(&mut body).map_err(broken)?;
    let mut bytes = body.len() as u64;
    if bytes <= HELD.min(limit) {
        return Ok((body, None));
    }
    let no_room = |error: io::Error| NoAnswer::NoRoom(error.kind().to_string());
    let mut file = folder.map_or_else(tempfile::tempfile, tempfile::tempfile_in).map_err(no_room)?;
    file.write_all(&body).map_err(no_room)?;
    body.truncate(HEAD);
    body.shrink_to_fit();
    let mut chunk = vec![0; BUFFER];
    loop {
        if bytes > limit {
            return Err(NoAnswer::TooLarge(limit));
        }
        let read = stream.read(&mut chunk).map_err(broken)?;
        if read == 0 {
            return Ok((body, Some(Spooled { file, bytes })));
        }
        file.write_all(&chunk[..read]).map_err(no_room)?;
        bytes += read as u64;
    }
}

/// Says why an answer could not be read to its end.
fn broken(error: io::Error) -> NoAnswer {
    match error.kind() {
        _ if inside::<TooDense>(&error).is_some() => NoAnswer::Bomb,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            NoAnswer::Broken("the answer is compressed, but cannot be unpacked".into())
        }
        _ => no_answer(&ureq::Error::from(error)),
    }
}
