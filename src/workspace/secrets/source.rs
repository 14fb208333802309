//! Reads values from where they are kept: programs, variables, files.
//!
//! Enters: typed sources. Leaves: all values of a project, or one failure that names each source that gave none. A value
//! is in no argument, no environment and no file of ours, and what a source says is shown without it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::digest;
use crate::context::{Context, secret_variable, source_variables};
use crate::failure::{Failure, Kind, Result};
use crate::guest::SecretValues;
use crate::model::{HostOs, ProjectName, Secret, SecretSource, SecretSpec, Secrets, redact_text};
use crate::process::{Cmd, forbid_core_files};

/// The most that one secret may have.
const LIMIT_BYTES: usize = 1 << 20;
/// Linux takes at most 128 KiB in one variable of an environment.
const EXPORT_LIMIT_BYTES: usize = 100 << 10;

/// Why a source gave nothing: one sentence.
type Refusal = String;

/// Reads all secrets of a project, one after another: several questions for one password are none too few.
///
/// # Errors
/// One failure with every source that gave none. Nothing has been sent anywhere then.
pub fn read_values(context: &Context, name: &ProjectName, secrets: &Secrets) -> Result<SecretValues> {
    let mut values = SecretValues { digest: digest(secrets).unwrap_or_default(), ..SecretValues::default() };
    if secrets.wanted.is_empty() {
        return Ok(values);
    }
    forbid_core_files();
    let mut refusals = Vec::new();
    for (secret, spec) in &secrets.wanted {
        context.runner.check_interrupt()?;
        match read(context, spec) {
            Ok(value) => drop(values.values.insert(secret.clone(), (value, spec.export))),
            Err(Unread::Interrupted) => return Err(Failure::interrupted()),
            Err(Unread::Refused(why)) => refusals.push(format!("{secret}, from {}: {why}", spec.source)),
        }
    }
    if refusals.is_empty() {
        return Ok(values);
    }
    let what = if refusals.len() == 1 { "a secret" } else { "secrets" };
    Err(Failure::operation(redact_text(&refusals.join("\n")))
        .because(format!("{what} of `{name}` cannot be read"))
        .hint("sources are in the table `secrets` of your projects.toml"))
}

/// Why there is no value.
enum Unread {
    Interrupted,
    Refused(Refusal),
}

impl From<Refusal> for Unread {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

fn read(context: &Context, spec: &SecretSpec) -> Result<Secret, Unread> {
    let raw = match &spec.source {
        SecretSource::OnePassword(reference) => {
            let cmd = Cmd::new("op").args(["read", reference]);
            run(context, &cmd, spec)?
        }
        SecretSource::OnePasswordEnvironment { id, variable } => environment(context, id, variable, spec)?,
        SecretSource::Command(argv) => {
            let (program, arguments) = argv.split_first().ok_or_else(|| "it is empty".to_string())?;
            run(context, &Cmd::new(program).args(arguments), spec)?
        }
        SecretSource::Variable(name) => {
            Secret::new(secret_variable(name).ok_or_else(|| "it is not set".to_string())?)
        }
        SecretSource::File(path) => read_file(&expand(path, &context.layout.home))?,
        SecretSource::Keychain { service, account } => {
            let cmd = keychain_command(context.host.os, service, account.as_deref());
            run(context, &cmd, spec)?
        }
    };
    let value = without_line_end(raw);
    value.conceal();
    check(&value, spec.export)?;
    Ok(value)
}

/// A keychain's own program that prints one entry.
fn keychain_command(os: HostOs, service: &str, account: Option<&str>) -> Cmd {
    match (os, account) {
        (HostOs::MacOs, None) => Cmd::new("security").args(["find-generic-password", "-w", "-s", service]),
        (HostOs::MacOs, Some(account)) => {
            Cmd::new("security").args(["find-generic-password", "-w", "-s", service, "-a", account])
        }
        (HostOs::Linux, None) => Cmd::new("secret-tool").args(["lookup", "service", service]),
        (HostOs::Linux, Some(account)) => {
            Cmd::new("secret-tool").args(["lookup", "service", service, "account", account])
        }
    }
}

/// What a program prints. Where a person sits at a terminal it may ask them; elsewhere it gets a process group of its
/// own, so that nothing of it outlives its time.
fn run(context: &Context, cmd: &Cmd, spec: &SecretSpec) -> Result<Secret, Unread> {
    let mut cmd = cmd.clone().time_limit(spec.time_limit);
    for (name, value) in source_variables(&cmd.program_name()) {
        cmd = cmd.inherit_env(name, value);
    }
    if !context.ui.can_ask() {
        cmd = cmd.own_group();
    }
    let captured = context.runner.read_secret(&cmd, LIMIT_BYTES).map_err(|failure| {
        if failure.kind == Kind::Interrupted {
            return Unread::Interrupted;
        }
        Unread::Refused(describe(&failure, &cmd, spec))
    })?;
    if let Some(value) = &captured.secret {
        // It may have said on its other output what it also printed.
        value.conceal();
    }
    let said = redact_text(&captured.tail.join("; ")).into_owned();
    if !captured.status.success() {
        let said = if said.is_empty() { "it said nothing".to_string() } else { said };
        return Err(Unread::Refused(format!("{}: {said}", captured.status)));
    }
    captured.secret.ok_or_else(|| "it printed more than 1 MiB, or did not stop".to_string().into())
}

/// The command line is in `-v`; a failure that shows it would show arguments.
fn describe(failure: &Failure, cmd: &Cmd, spec: &SecretSpec) -> Refusal {
    let sentence = failure.error.to_string();
    if sentence.contains("did not end within") {
        return format!("`{}` gave no answer within {} s", cmd.program_name(), spec.time_limit.as_secs());
    }
    sentence
}

/// A variable of a 1Password Environment, by whichever of its two ways this `op` has.
fn environment(context: &Context, id: &str, variable: &str, spec: &SecretSpec) -> Result<Secret, Unread> {
    let offers = |words: &[&str], option: &str| {
        let help = Cmd::new("op").args(words).arg("--help").time_limit(spec.time_limit);
        let answer = context.runner.read_any_status(&help).ok();
        answer.is_some_and(|finished| finished.status.success() && finished.text().contains(option))
    };
    if offers(&["environment", "read"], "") {
        let all = run(context, &Cmd::new("op").args(["environment", "read", id]), spec)?;
        return pick(&all, variable).ok_or_else(|| format!("it has no variable `{variable}`").into());
    }
    if offers(&["run"], "--environment") {
        // Its child has the value in its environment for a moment; there is no other way to ask this `op`.
        let words = ["run", "--no-masking", "--environment", id, "--", "printenv", variable];
        return run(context, &Cmd::new("op").args(words), spec);
    }
    Err(Unread::Refused("this `op` is missing, or offers no 1Password Environments: `op update`".into()))
}

/// One variable of lines `NAME=value`, the value perhaps in quotes.
fn pick(all: &Secret, variable: &str) -> Option<Secret> {
    let mut lines = all.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let start = format!("{variable}=");
    let value = lines.find_map(|line| line.strip_prefix(start.as_bytes()))?;
    let bare = match value {
        [b'"', inner @ .., b'"'] => unescape(inner),
        [b'\'', inner @ .., b'\''] => inner.to_vec(),
        bare => bare.to_vec(),
    };
    Some(Secret::new(bare))
}

fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(byte) = rest.next() {
        plain.push(match (byte, byte == &b'\\') {
            (_, true) => match rest.next() {
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            },
            (byte, false) => *byte,
        });
    }
    plain
}

fn expand(path: &Path, home: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |below| home.join(below))
}

fn read_file(path: &Path) -> Result<Secret, Refusal> {
    let unreadable = |cause: std::io::Error| cause.to_string();
    // Looked at before it is opened, since opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to user {}, not to you", metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(format!("its mode is {mode:04o}, so others may read it: `chmod 600 {}`", path.display()));
    }
    let mut bytes = Vec::with_capacity(LIMIT_BYTES + 1);
    file.take(LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let secret = Secret::new(bytes);
    if secret.expose().len() > LIMIT_BYTES { Err("it has more than 1 MiB".into()) } else { Ok(secret) }
}

/// Programs and editors end a line that is none of the secret. A value of several lines stays as it is.
fn without_line_end(raw: Secret) -> Secret {
    let bytes = raw.expose();
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    match line {
        Some(line) if !line.contains(&b'\n') => Secret::new(line.to_vec()),
        _ => raw,
    }
}

fn check(value: &Secret, export: bool) -> Result<(), Refusal> {
    let bytes = value.expose();
    if bytes.is_empty() {
        return Err("it gave nothing".into());
    }
    if export && bytes.contains(&0) {
        return Err("it has a NUL in it, which no variable can hold: leave `export` out".into());
    }
    if export && bytes.len() > EXPORT_LIMIT_BYTES {
        return Err("it has more than 100 KiB, which no variable can hold: leave `export` out".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::write_atomic;
    use std::os::unix::fs::PermissionsExt;

    fn line(bytes: &[u8]) -> Vec<u8> {
        without_line_end(Secret::new(bytes.to_vec())).expose().to_vec()
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_value_but_those_within_are() {
        assert_eq!(line(b"a\n"), b"a");
        assert_eq!(line(b"a\r\n"), b"a");
        assert_eq!(line(b"a b "), b"a b ");
        assert_eq!(line(b"-----BEGIN\nx\n-----END\n"), b"-----BEGIN\nx\n-----END\n");
        assert_eq!(line(b"\n"), b"");
    }

    #[test]
    fn keychains_are_asked_by_their_own_programs() {
        let shown = |os, account| keychain_command(os, "git hub", account).to_string();
        assert_eq!(shown(HostOs::MacOs, None), "security find-generic-password -w -s 'git hub'");
        assert_eq!(shown(HostOs::MacOs, Some("me")), "security find-generic-password -w -s 'git hub' -a me");
        assert_eq!(shown(HostOs::Linux, None), "secret-tool lookup service 'git hub'");
        assert_eq!(shown(HostOs::Linux, Some("me")), "secret-tool lookup service 'git hub' account me");
    }

    #[test]
    fn one_variable_of_an_environment() {
        let all = Secret::new(b"AB=no\nB=\"it \\\"is\\\" \\\\ x\\ny\"\nC='a\"b'\n D=a=b \r\nE=\n".to_vec());
        let found =
            |name: &str| pick(&all, name).map(|value| String::from_utf8_lossy(value.expose()).into_owned());
        assert_eq!(found("B").as_deref(), Some("it \"is\" \\ x\ny"));
        assert_eq!(found("C").as_deref(), Some("a\"b"));
        assert_eq!(found("D").as_deref(), Some("a=b"));
        assert_eq!(found("E").as_deref(), Some(""));
        assert_eq!(found("A"), None);
    }

    #[test]
    fn a_file_must_be_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        assert!(read_file(&path).expect_err("missing").contains("No such file"));
        assert_eq!(read_file(folder.path()).expect_err("a folder"), "it is not a regular file");
        write_atomic(&path, b"from-a-file\n", 0o600).expect("written");
        assert_eq!(read_file(&path).expect("read").expose(), b"from-a-file\n");
        for (mode, shown) in [(0o644, "0644"), (0o620, "0620"), (0o604, "0604")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
            assert!(read_file(&path).expect_err("open to others").contains(shown));
        }
        write_atomic(&path, &vec![b'x'; LIMIT_BYTES + 1], 0o600).expect("written");
        assert_eq!(read_file(&path).expect_err("too large"), "it has more than 1 MiB");
    }

    #[test]
    fn what_a_variable_cannot_hold_is_not_exported() {
        let value = |bytes: &[u8]| Secret::new(bytes.to_vec());
        assert!(check(&value(b"a\0b"), false).is_ok());
        assert!(check(&value(b"a\0b"), true).expect_err("NUL").contains("NUL"));
        assert!(check(&value(&vec![b'x'; EXPORT_LIMIT_BYTES + 1]), true).is_err());
        assert_eq!(check(&value(b""), false).expect_err("empty"), "it gave nothing");
        assert!(check(&value(b"a\nb"), true).is_ok());
    }
}
