//! Who runs the program: the owner of its files, or somebody else whom sudo lets run it in the owner's place.

use rustix::process::{getegid, geteuid, getgid, getuid};

use super::Environment;
use crate::error::{Exit, UserError};

/// The caller, as the kernel and sudo say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The process is the caller's own: the kernel lets it do what its user may do, whatever the program says.
    Owner,
    /// Sudo made the process another user's for this one, by name.
    Through(String),
}

impl Caller {
    /// Returns the caller of this process. What a caller through sudo might set themselves is not asked: sudo sets its
    /// variables last.
    pub(crate) fn of_process(environment: &Environment) -> Result<Self, UserError> {
        if getuid() != geteuid() || getgid() != getegid() {
            return Err(refused("the program is installed setuid or setgid", "take the bit off: `chmod ug-s`"));
        }
        Self::told(environment, geteuid().as_raw())
    }

    fn told(environment: &Environment, uid: u32) -> Result<Self, UserError> {
        // These tell of a caller as sudo does, but nothing here knows how far they are to be trusted.
        for other in ["DOAS_USER", "PKEXEC_UID"] {
            if environment.raw(other).is_some() {
                let message = format!("{other} is set: only sudo may run the program for somebody else");
                return Err(refused(
                    &message,
                    "call it through sudo, or from a shell of its user without that variable",
                ));
            }
        }
        let caller = (environment.raw("SUDO_UID"), environment.raw("SUDO_USER"));
        let (number, name) = match caller {
            (None, None) => return Ok(Caller::Owner),
            (number, name) => (number, name),
        };
        let text = |value: Option<std::ffi::OsString>| value.and_then(|value| value.into_string().ok());
        let (Some(number), Some(name)) = (text(number).and_then(|number| number.parse::<u32>().ok()), text(name))
        else {
            return Err(refused("SUDO_UID and SUDO_USER do not say who calls", "unset both, or call it through sudo"));
        };
        // Root may be anybody, and who stays the same user gains nothing.
        if number == 0 || number == uid { Ok(Caller::Owner) } else { Ok(Caller::Through(name)) }
    }
}

fn refused(message: &str, hint: &str) -> UserError {
    UserError::new(Exit::Refused, "caller_unknown", message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<Caller, &'static str> {
        Caller::told(&Environment::of_map(variables), 990).map_err(|error| error.code)
    }

    #[test]
    fn a_caller_is_whom_sudo_names() {
        assert_eq!(told(&[("USER", "ann")]), Ok(Caller::Owner));
        assert_eq!(told(&[("SUDO_UID", "1000"), ("SUDO_USER", "ann")]), Ok(Caller::Through("ann".into())));
        assert_eq!(told(&[("SUDO_UID", "990"), ("SUDO_USER", "skillsctl")]), Ok(Caller::Owner));
        assert_eq!(told(&[("SUDO_UID", "0"), ("SUDO_USER", "root")]), Ok(Caller::Owner));
    }

    #[test]
    fn what_is_half_said_is_nobody() {
        for variables in [
            &[("SUDO_UID", "1000")][..],
            &[("SUDO_USER", "ann")],
            &[("SUDO_UID", "x"), ("SUDO_USER", "ann")],
            &[("SUDO_UID", "-1"), ("SUDO_USER", "ann")],
            &[("SUDO_UID", "0")],
            &[("DOAS_USER", "ann")],
            &[("PKEXEC_UID", "1000")],
            &[("PKEXEC_UID", "1000"), ("SUDO_UID", "0"), ("SUDO_USER", "root")],
        ] {
            assert_eq!(told(variables), Err("caller_unknown"), "{variables:?}");
        }
    }
}
