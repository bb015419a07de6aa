//! What a full read was made with: a credential that sees less makes rows look gone, so the first full read of another one
//! marks nothing as deleted.

use crate::connector::{Connector, Failure};
use crate::store::state::{View, Views};
use crate::vault::Opened;

/// What stands for a scope that could not be asked for.
const UNREADABLE: &str = "unreadable";

/// Returns what tells the credentials of a run from others: who set them anew, the same value or another, gave others. What
/// the provider replaces itself stays the same.
pub(super) fn credential(opened: &Opened) -> String {
    opened.given.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Returns what a full read is made with: one that goes on has no one credential, if it was begun with another.
pub(super) fn opened(credential: &str, begun: Option<&View>) -> View {
    joined(begun, credential.to_owned())
}

fn joined(begun: Option<&View>, now: String) -> View {
    let same = begun.is_none_or(|begun| begun.credential.as_ref() == Some(&now));
    View { credential: same.then_some(now), scope: None }
}

/// Adds what the credential sees to the view of a read that is complete, so that a group left while it was read is noticed.
/// Returns why that could not be asked for, if it could not.
pub(super) fn closed(view: &mut View, connector: &Connector<'_>) -> Result<Option<String>, Failure> {
    match connector.scope() {
        Ok(scope) => view.scope = scope,
        Err(
            Failure::Refused(error)
            | Failure::Skip(error)
            | Failure::Restart(error)
            | Failure::Stream(error)
            | Failure::Halve(error)
            | Failure::NoJob(error),
        ) => {
            view.scope = Some(UNREADABLE.to_owned());
            return Ok(Some(format!("what the credential sees cannot be told: {}", error.message)));
        }
        Err(failure) => return Err(failure),
    }
    Ok(None)
}

/// Returns why rows that a complete full read missed may be there all the same, if they may.
pub(super) fn doubt(views: &Views) -> Option<&'static str> {
    let open = views.open.as_ref()?;
    if open.credential.is_none() {
        return Some("the credential has changed while everything was read");
    }
    let last = views.last.as_ref()?;
    if last.credential != open.credential {
        return Some("the credential has changed since the last full read");
    }
    let both = last.scope.is_some() && open.scope.is_some();
    (both && last.scope != open.scope).then_some("what the credential sees has changed since the last full read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(credential: &str, scope: Option<&str>) -> View {
        View { credential: Some(credential.into()), scope: scope.map(str::to_owned) }
    }

    fn doubted(last: Option<View>, open: View) -> Option<&'static str> {
        doubt(&Views { last, open: Some(open) })
    }

    #[test]
    fn only_what_is_known_to_have_changed_is_doubted() {
        assert_eq!(doubted(None, view("a", None)), None);
        assert_eq!(doubted(Some(view("a", None)), view("a", Some("1"))), None);
        assert_eq!(doubted(Some(view("a", Some("1"))), view("a", Some("1"))), None);
        assert!(
            doubted(Some(view("a", Some("1"))), view("b", Some("1"))).unwrap().contains("the credential has changed")
        );
        assert!(doubted(Some(view("a", Some("1"))), view("a", Some("2"))).unwrap().contains("sees has changed"));
    }

    #[test]
    fn a_read_made_with_two_credentials_is_doubted_though_the_last_one_is_the_old_one() {
        let old = view("a", None);
        let begun_with_other = joined(Some(&view("b", None)), "a".into());
        assert!(doubted(Some(old.clone()), begun_with_other.clone()).is_some());
        assert!(doubted(Some(old.clone()), joined(Some(&begun_with_other), "a".into())).is_some());
        assert_eq!(joined(Some(&old), "a".into()), old);
        assert_eq!(joined(None, "a".into()), old);
    }
}
