//! What the headers of an answer tell about rates: how long to wait, how many requests are left, how much is used up.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::window::LONGEST_HOLD;
use crate::http::Response;

/// Numbers from here on are moments in seconds since 1970, and from there on in milliseconds; smaller ones are seconds to
/// wait. Nobody is asked to wait for thirty years.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLISECONDS: f64 = 1e11;

/// Returns how long an answer asks to wait: `Retry-After` in seconds, as a date (RFC 9110 section 10.2.3) or a moment since
/// 1970, or `retry-after-ms`. Moments are read against the answer's own `Date`, so that clocks need not agree. 0 is a
/// moment that is over, and no advice; a day is the most that is believed.
fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    if let Some(text) = response.header("retry-after-ms") {
        return text.trim().parse::<f64>().ok().and_then(|milliseconds| length(milliseconds / 1000.0));
    }
    wait_in(response, "retry-after", now)
}

/// Returns how long an answer asks to wait, if that is any advice: some say 0, or a moment that is over.
pub(super) fn advice(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    retry_after(response, now).filter(|told| !told.is_zero())
}

/// Returns how long it is until what a header says: seconds from now, a date, or a moment since 1970.
pub(super) fn wait_in(response: &Response, header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = response.header(header)?.trim();
    let date = |text: &str| DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc());
    let told = response.header("date").and_then(date).unwrap_or(now);
    let until = |seconds: f64| length((seconds - told.timestamp_millis() as f64 / 1000.0).max(0.0));
    match text.parse::<f64>() {
        Ok(number) if number >= EPOCH_MILLISECONDS => until(number / 1000.0),
        Ok(number) if number >= EPOCH_SECONDS => until(number),
        Ok(seconds) => length(seconds),
        Err(_) => Some((date(text)? - told).to_std().unwrap_or_default().min(LONGEST_HOLD)),
    }
}

fn length(seconds: f64) -> Option<Duration> {
    let believed = seconds.is_finite() && seconds >= 0.0;
    believed.then(|| Duration::from_secs_f64(seconds.min(LONGEST_HOLD.as_secs_f64())))
}

/// Returns how many requests are left, as a header says.
pub(super) fn left(response: &Response, header: &str) -> Option<u64> {
    // Some count with a sign and go below nothing; some say more than one number.
    let number = response.header(header)?.split([',', ';']).next()?.trim().parse::<f64>().ok()?;
    number.is_finite().then_some(if number < 1.0 { 0 } else { number as u64 })
}

/// Returns how much is used of how much, as a header counts it, like `api-usage=18/5000`: the first such pair in it.
pub(super) fn used(response: &Response, header: &str) -> Option<(u64, u64)> {
    let text = response.header(header)?;
    let number = |text: &str| text.parse::<u64>().ok();
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    text.match_indices('/').find_map(|(slash, _)| {
        let (before, after) = (text[..slash].trim_end(), text[slash + 1..].trim_start());
        let start = before.rfind(|digit: char| !digit.is_ascii_digit()).map_or(0, |last| last + 1);
        // What comes before the digits may be a letter of any length.
        let start = (start..before.len()).find(|at| before.is_char_boundary(*at))?;
        let (used, all) = (number(&before[start..])?, number(&after[..digits(after)])?);
        (all > 0).then_some((used, all))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status: 429, headers, body: Vec::new(), spooled: None }
    }

    fn wait(headers: &[(&str, &str)]) -> Option<f64> {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        retry_after(&answer(headers), now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn a_wait_is_told_in_seconds_in_milliseconds_as_a_date_or_as_a_moment() {
        let day = Some(86_400.0);
        assert_eq!(wait(&[("retry-after", "7")]), Some(7.0));
        assert_eq!(wait(&[("retry-after", " 0.5 ")]), Some(0.5));
        assert_eq!(wait(&[("retry-after-ms", "1500"), ("retry-after", "2")]), Some(1.5));
        // 2026-11-22T12:00:30Z, which is in thirty seconds.
        assert_eq!(wait(&[("retry-after", "1795348830")]), Some(30.0));
        assert_eq!(wait(&[("retry-after", "1795348830250")]), Some(30.25));
        assert_eq!(wait(&[("retry-after", "Sun, 22 Nov 2026 12:00:30 GMT")]), Some(30.0));
        assert_eq!(wait(&[("retry-after", "0")]), Some(0.0));
        for never in ["-7", "soon", "", "NaN", "inf", "-inf", "1e999"] {
            assert_eq!(wait(&[("retry-after", never)]), None, "{never}");
        }
        assert_eq!(wait(&[("retry-after-ms", "-1")]), None);
        assert_eq!(wait(&[]), None);
        // Ten years, in each of the shapes.
        for ever in ["315360000", "2110968000", "2110968000000", "Sat, 22 Nov 2036 12:00:00 GMT"] {
            assert_eq!(wait(&[("retry-after", ever)]), day, "{ever}");
        }
        assert_eq!(wait(&[("retry-after-ms", "315360000000")]), day);
    }

    #[test]
    fn moments_are_read_against_the_answers_own_date() {
        let date = ("date", "Sun, 22 Nov 2026 15:00:00 GMT");
        assert_eq!(wait(&[("retry-after", "Sun, 22 Nov 2026 15:00:30 GMT"), date]), Some(30.0));
        assert_eq!(wait(&[("retry-after", "1795359630"), date]), Some(30.0));
        for over in ["Sun, 22 Nov 2026 14:00:00 GMT", "1795356000"] {
            assert_eq!(wait(&[("retry-after", over), date]), Some(0.0), "{over}");
        }
    }

    #[test]
    fn what_is_left_is_a_number_that_may_have_gone_below_nothing() {
        let left = |text: &str| left(&answer(&[("x", text)]), "x");
        let told = ["12", " 0 ", "-3", "99, 100;w=10", "1e3", "", "many"].map(left);
        assert_eq!(told, [Some(12), Some(0), Some(0), Some(99), Some(1000), None, None]);
    }

    #[test]
    fn what_is_used_is_the_first_pair_in_the_header() {
        let used = |text: &str| used(&answer(&[("x", text)]), "x");
        assert_eq!(used("api-usage=10018/100000"), Some((10_018, 100_000)));
        assert_eq!(used("api-usage=25/100; per-app-api-usage=17/250(appName=x)"), Some((25, 100)));
        assert_eq!(used("n/a 9 / 10"), Some((9, 10)));
        for none in ["", "api-usage", "5/0", "a/b", "/", "é/5", "99999999999999999999/5"] {
            assert_eq!(used(none), None, "{none}");
        }
    }
}
