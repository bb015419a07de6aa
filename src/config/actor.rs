//! Who calls, for the audit: the user the kernel says it is, and beside it what sudo, the login and a CI job claim.

use super::Environment;

/// A claim may be so long, in characters.
const LONGEST: usize = 64;

/// A CI service, and its documented variables.
struct Service {
    name: &'static str,
    /// The variable that tells that a job of it runs, and its value where that matters.
    marker: (&'static str, Option<&'static str>),
    /// The number of the run, the repository or job it is of, and who set it off.
    run: &'static str,
    of: &'static str,
    by: Option<&'static str>,
}

/// <https://docs.github.com/actions/reference/workflows-and-actions/variables>,
/// <https://docs.gitlab.com/ci/variables/predefined_variables/>,
/// <https://learn.microsoft.com/azure/devops/pipelines/build/variables>,
/// <https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables>
const SERVICES: [Service; 4] = [
    Service {
        name: "github run",
        marker: ("GITHUB_ACTIONS", Some("true")),
        run: "GITHUB_RUN_ID",
        of: "GITHUB_REPOSITORY",
        by: Some("GITHUB_ACTOR"),
    },
    Service {
        name: "gitlab job",
        marker: ("GITLAB_CI", Some("true")),
        run: "CI_JOB_ID",
        of: "CI_PROJECT_PATH",
        by: Some("GITLAB_USER_LOGIN"),
    },
    Service {
        name: "azure build",
        marker: ("TF_BUILD", Some("True")),
        run: "BUILD_BUILDID",
        of: "BUILD_REPOSITORY_NAME",
        by: Some("BUILD_REQUESTEDFOR"),
    },
    Service { name: "jenkins build", marker: ("JENKINS_URL", None), run: "BUILD_NUMBER", of: "JOB_NAME", by: None },
];

/// Returns who calls, like `ann`, `root (sudo by ann)` or `runner (github run 123 of acme/setup by ann)`. What stands in
/// brackets is claimed by the environment, except `login`, which the kernel keeps from login on.
pub(crate) fn actor(environment: &Environment) -> String {
    let uid = rustix::process::getuid().as_raw();
    // Tests want the same actor on every machine.
    if cfg!(debug_assertions)
        && let Some(user) = environment.raw("SKILLSCTL_TEST_USER")
    {
        return described(&user.to_string_lossy(), None, environment);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|uid| uid.trim().parse().ok());
    // What the kernel says of a process that nobody logged in for.
    let login = login.filter(|login| *login != u32::MAX && *login != uid);
    match name_of(&users, uid) {
        Some(user) => described(&user, login.map(|uid| named(&users, uid)), environment),
        None => {
            let claimed = environment.raw("USER").map(|user| format!(" as {}", claim(&user.to_string_lossy())));
            described(&format!("uid {uid}{}", claimed.unwrap_or_default()), None, environment)
        }
    }
}

/// Returns a user with all that is claimed of them.
fn described(user: &str, login: Option<String>, environment: &Environment) -> String {
    let text = |name: &str| environment.raw(name).map(|value| claim(&value.to_string_lossy()));
    let mut claims = Vec::new();
    claims.extend(text("SUDO_USER").filter(|sudo| sudo != user).map(|sudo| format!("sudo by {sudo}")));
    claims.extend(login.map(|login| format!("login {login}")));
    let running = SERVICES.iter().find(|service| {
        let (marker, value) = service.marker;
        environment.raw(marker).is_some_and(|found| value.is_none_or(|value| found == value))
    });
    claims.extend(running.map(|service| {
        let part = |word: &str, name: Option<&str>| {
            name.and_then(text).map(|value| format!(" {word}{value}")).unwrap_or_default()
        };
        let Service { name, run, of, by, .. } = service;
        format!("{name}{}{}{}", part("", Some(run)), part("of ", Some(of)), part("by ", *by))
    }));
    if claims.is_empty() { user.to_owned() } else { format!("{user} ({})", claims.join(", ")) }
}

/// Returns a claim that can pretend to be nothing else: no brackets, no commas, no control characters, and of limited length.
fn claim(text: &str) -> String {
    let harmless = |letter: char| match letter {
        letter if letter.is_alphanumeric() || "-_.@/+ ".contains(letter) => letter,
        _ => '?',
    };
    text.chars().take(LONGEST).map(harmless).collect()
}

fn named(users: &str, uid: u32) -> String {
    name_of(users, uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// Returns the name of a user in the text of `/etc/passwd`. Users of directories are not in it.
fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| claim(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(variables: &[(&str, &str)]) -> String {
        described("runner", None, &Environment::of_map(variables))
    }

    #[test]
    fn the_name_is_that_of_the_uid() {
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n+::::::\n";
        assert_eq!(name_of(users, 1000).as_deref(), Some("ann"));
        assert_eq!((name_of(users, 7), named(users, 7)), (None, "uid 7".to_owned()));
        // Names are no way in either.
        assert_eq!(name_of("a(b)\u{1b}:x:5:5::/:\n", 5).as_deref(), Some("a?b??"));
    }

    #[test]
    fn the_kernel_is_believed_and_not_the_variable() {
        let environment = Environment::of_map(&[("USER", "admin"), ("LOGNAME", "admin")]);
        let uid = rustix::process::getuid().as_raw();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let actor = actor(&environment);
        match name_of(&users, uid) {
            Some(name) => assert!(actor == name || actor.starts_with(&format!("{name} (login ")), "{actor}"),
            None => assert_eq!(actor, format!("uid {uid} as admin")),
        }
    }

    #[test]
    fn sudo_logins_and_ci_jobs_are_told_beside_the_user() {
        assert_eq!(by(&[("SUDO_USER", "ann")]), "runner (sudo by ann)");
        assert_eq!(by(&[("SUDO_USER", "runner")]), "runner");
        assert_eq!(described("root", Some("ann".into()), &Environment::of_map(&[])), "root (login ann)");
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_RUN_ID", "123"),
            ("GITHUB_REPOSITORY", "acme/setup"),
            ("GITHUB_ACTOR", "octocat"),
        ];
        assert_eq!(by(&github), "runner (github run 123 of acme/setup by octocat)");
        assert_eq!(by(&[("GITHUB_ACTIONS", "false"), ("GITHUB_RUN_ID", "1")]), "runner");
        assert_eq!(
            by(&[("GITLAB_CI", "true"), ("CI_JOB_ID", "9"), ("SUDO_USER", "ann")]),
            "runner (sudo by ann, gitlab job 9)"
        );
        let azure = [("TF_BUILD", "True"), ("BUILD_BUILDID", "5"), ("BUILD_REQUESTEDFOR", "Ann Example")];
        assert_eq!(by(&azure), "runner (azure build 5 by Ann Example)");
        let jenkins = [("JENKINS_URL", "https://ci.example/"), ("JOB_NAME", "setup/main"), ("BUILD_NUMBER", "7")];
        assert_eq!(by(&jenkins), "runner (jenkins build 7 of setup/main)");
    }

    #[test]
    fn a_claim_cannot_pretend_to_be_another_row_or_another_claim() {
        let forged = "x)\n43\t2026-11-30\troot, login root (\u{1b}[2J\u{202e}";
        let actor = by(&[("SUDO_USER", forged)]);
        assert_eq!(actor, "runner (sudo by x??43?2026-11-30?root? login root ???2J?)");
        assert!(by(&[("SUDO_USER", &"a".repeat(1000))]).chars().count() < 100);
    }
}
