//! Key commands that are real key managers: the key is fetched through them, sealed and synced with, and exchanged.
//!
//! They run where the tools are installed, and say so where they are not.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Lab, lab};
use crate::support::skipped;

/// Returns where a program is; says so where it is not.
fn tool(name: &str) -> Option<String> {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    if path.is_empty() {
        skipped(&format!("there is no `{name}` on this machine"));
        return None;
    }
    Some(path)
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Seals and syncs with the key that this command prints, and no file to read it from; then has a key of another
/// command put in its place.
fn seals_and_syncs_with(lab: &mut Lab, key_command: &str) {
    std::fs::remove_file(lab.world.key()).unwrap();
    lab.world.set("SKILLSCTL_KEY_FILE", "");
    lab.run("key check").fails(8).says(&["no master key is given"]);
    lab.world.set("SKILLSCTL_KEY_COMMAND", key_command);
    let status = lab.world.json("key status");
    assert_eq!(status["ready"], true, "{status}");
    lab.organization("acme", "aptem");
    assert_eq!(lab.sync("acme", 0)["total"]["inserted"], 16);
    assert_eq!(lab.world.json("key check")["credentials"], 1);
}

#[test]
fn a_key_that_age_decrypts_seals_syncs_and_is_exchanged() {
    let (Some(age), Some(keygen)) = (tool("age"), tool("age-keygen")) else { return };
    let mut lab = lab(12, 4);
    let home = lab.world.home().to_owned();
    let recipient = {
        output(Command::new(keygen).args(["-o", "identity"]).current_dir(&home));
        let identity = std::fs::read_to_string(home.join("identity")).unwrap();
        identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned()
    };
    let encrypt = |from: &str, to: &str| {
        output(Command::new(&age).args(["-r", &recipient, "-o", to, from]).current_dir(&home));
    };
    let decrypt = |file: &str| format!("'{age}' --decrypt -i '{0}/identity' '{0}/{file}'", home.display());
    encrypt("skillsctl.key", "key.age");
    seals_and_syncs_with(&mut lab, &decrypt("key.age"));

    lab.run("init --db other.db --key-file next.key").succeeds();
    encrypt("next.key", "next.age");
    std::fs::remove_file(home.join("next.key")).unwrap();
    lab.run(&format!("key rotate --new-key-command \"{}\"", decrypt("next.age"))).succeeds();
    let refused = lab.run("sync acme --json").fails(8);
    assert_eq!(refused.error()["code"], "key_replaced");
    lab.world.set("SKILLSCTL_KEY_COMMAND", &decrypt("next.age"));
    lab.sync("acme", 0);
    // What the tool says about a key it cannot have is told.
    lab.run(&format!("key check --key-command \"{}\"", decrypt("nothing.age"))).fails(8).says(&["no such file"]);
}

/// Something that plays the secrets manager of AWS on this machine; ended when dropped.
struct Cloud {
    server: Child,
    port: u16,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Cloud {
    fn start(program: &str) -> Cloud {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let cloud = Cloud { server: command.spawn().unwrap(), port };
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "`{program}` does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        cloud
    }

    /// Returns what stands before `aws` for it to call here, as the words of a command line.
    fn environment(&self) -> String {
        format!(
            "env AWS_ENDPOINT_URL=http://127.0.0.1:{} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
             AWS_DEFAULT_REGION=eu-west-2",
            self.port
        )
    }
}

#[test]
fn a_key_from_the_secrets_manager_of_aws_seals_and_syncs() {
    let (Some(server), Some(aws)) = (tool("moto_server"), tool("aws")) else { return };
    let mut lab = lab(12, 4);
    let cloud = Cloud::start(&server);
    let secret = format!("file://{}", lab.world.key().display());
    let create = format!(
        "{} '{aws}' secretsmanager create-secret --name skillsctl/key --secret-string '{secret}'",
        cloud.environment()
    );
    output(Command::new("sh").args(["-c", &create]));
    let fetch = format!(
        "{} '{aws}' secretsmanager get-secret-value --secret-id skillsctl/key --query SecretString --output text",
        cloud.environment()
    );
    seals_and_syncs_with(&mut lab, &fetch);
    lab.run("key check --key-command 'false'").fails(8);
    let missing = fetch.replace("skillsctl/key", "skillsctl/nothing");
    lab.run(&format!("key check --key-command \"{missing}\"")).fails(8).says(&["ResourceNotFoundException"]);
}
