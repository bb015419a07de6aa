//! What a read is made with: a credential that sees less makes rows look gone, and one that sees more has new rows with old
//! times of change. So the first read of another view is a full one that marks nothing as deleted.

use crate::connector::{Connector, Failure};
use crate::domain::completeness::Doubt;
use crate::store::state::View;
use crate::vault::Opened;

/// What stands for a scope that could not be asked for.
const UNREADABLE: &str = "unreadable";

/// Returns what tells the credentials of a run from others: who set them anew, the same value or another, gave others. What
/// the provider replaces itself stays the same.
pub(super) fn credential(opened: &Opened) -> String {
    opened.given.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Returns a digest of what the credential sees, none where the manifest does not say how to ask, and why that could not be
/// asked for, if it could not.
pub(super) fn scope(connector: &Connector<'_>) -> Result<(Option<String>, Option<String>), Failure> {
    match connector.scope() {
        Ok(scope) => Ok((scope, None)),
        Err(Failure::Refused(error)) if error.code != "not_allowed" => Err(Failure::Refused(error)),
        Err(
            Failure::Refused(error)
            | Failure::Skip(error)
            | Failure::Restart(error)
            | Failure::Stream(error)
            | Failure::Distrust(error)
            | Failure::Halve(error)
            | Failure::NoJob(error),
        ) => {
            let why = format!("what the credential sees cannot be told: {}", error.message);
            Ok((Some(UNREADABLE.to_owned()), Some(why)))
        }
        Err(failure) => Err(failure),
    }
}

/// Returns in what a view is known to differ from the one before. Not to be told is as another scope.
pub(super) fn difference(before: &View, now: &View) -> Option<Doubt> {
    let differs = |before: &Option<String>, now: &Option<String>| before.is_some() && now.is_some() && before != now;
    if differs(&before.credential, &now.credential) {
        return Some(Doubt::Credential);
    }
    differs(&before.scope, &now.scope).then_some(Doubt::Scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(credential: &str, scope: Option<&str>) -> View {
        View { credential: Some(credential.into()), scope: scope.map(str::to_owned) }
    }

    #[test]
    fn only_what_is_known_to_have_changed_is_doubted() {
        assert_eq!(difference(&View::default(), &view("a", None)), None);
        assert_eq!(difference(&view("a", None), &view("a", Some("1"))), None);
        assert_eq!(difference(&view("a", Some("1")), &view("a", Some("1"))), None);
        assert_eq!(difference(&view("a", Some("1")), &view("b", Some("1"))), Some(Doubt::Credential));
        assert_eq!(difference(&view("a", Some("1")), &view("a", Some("2"))), Some(Doubt::Scope));
        assert_eq!(difference(&view("a", Some("1")), &view("a", Some(UNREADABLE))), Some(Doubt::Scope));
    }
}
