//! Addresses of git repositories: ssh and https only, without anything that git would take as a command.
//!
//! Enters: text. Leaves: an address whose parts are safe as arguments and whose last part is a folder name.
//! Must not know whether the repository exists.

use std::fmt;
use std::str::FromStr;

use super::refused::{Refused, shown};

const HOST_FOLDER: &str = "a folder of the host is not shared with the machine";

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// `ssh://…` or `user@host:path`.
    Ssh,
    /// `https://…`.
    Https,
}

/// The address of a git repository, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoUrl {
    text: String,
    transport: Transport,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// What follows the host: with a leading `/` in `ssh://` and `https://` addresses.
    path: String,
}

impl RepoUrl {
    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The user to log in as, where one is written.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host, as written; for ssh it may be an alias of the user's ssh configuration.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The folder a clone gets: the last part of the path without `.git`.
    pub fn default_dir(&self) -> String {
        basename(&self.path).to_owned()
    }

    /// `host/path` for comparing: host in lower case, no user, no port, no `.git`.
    pub fn normalised(&self) -> String {
        format!("{}/{}", self.host.to_ascii_lowercase(), strip_git(self.path.trim_matches('/')))
    }

    /// The last two parts of the path, as in `you/blog`.
    pub fn short(&self) -> String {
        let path = strip_git(self.path.trim_matches('/'));
        let start = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
        path[start..].to_owned()
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for RepoUrl {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let url = match text.split_once("://") {
            Some((scheme, rest)) => read_url(text, scheme, rest)?,
            None => read_scp_like(text)?,
        };
        check_host(&url)?;
        check_path(&url)?;
        Ok(url)
    }
}

fn refuse(text: &str, reason: &str) -> Refused {
    let masked = mask_login(text);
    Refused::new(format!(
        "expected a repository such as `git@github.com:you/blog.git`, got `{}`: {reason}",
        shown(masked.as_deref().unwrap_or(text))
    ))
    .masked(masked)
}

/// The text with everything up to its last `@` hidden, unless that is no more than an ssh login name. A password may
/// itself have `/`, `@` or a space, so nothing in front of that `@` is looked at any closer.
fn mask_login(text: &str) -> Option<String> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (login, rest) = text[start..].rsplit_once('@')?;
    let may_have_login = start == 0 || text[..start].ends_with("ssh://");
    let is_plain = may_have_login && !login.contains(':');
    (!is_plain).then(|| format!("{}***@{rest}", &text[..start]))
}

/// Characters that are wrong anywhere, told before the parts are looked at.
fn check_characters(text: &str) -> Result<(), Refused> {
    if text.is_empty() {
        return Err(refuse(text, "it is empty"));
    }
    if text.starts_with('-') {
        return Err(refuse(text, "it starts with `-`, like an option"));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(refuse(text, "it has white space"));
    }
    match text.chars().find(|character| !matches!(character, '!'..='~')) {
        Some(odd) => Err(refuse(text, &format!("it has the character U+{:04X}", u32::from(odd)))),
        None => Ok(()),
    }
}

fn read_url(text: &str, scheme: &str, rest: &str) -> Result<RepoUrl, Refused> {
    let transport = match scheme {
        "ssh" => Transport::Ssh,
        "https" => Transport::Https,
        _ => return Err(refuse_scheme(text, scheme, rest)),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    check_credentials(text, transport, user, &format!("{scheme}://{address}{path}"))?;
    check_characters(text)?;
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(read_port(text, port)?)),
        None => (address, None),
    };
    let user = user.map(str::to_owned);
    Ok(RepoUrl { text: text.into(), transport, user, host: host.into(), port, path: path.into() })
}

/// An https login, even a bare one, is mostly a token; the password of an ssh login is never used.
fn check_credentials(
    text: &str,
    transport: Transport,
    user: Option<&str>,
    clean: &str,
) -> Result<(), Refused> {
    let Some(user) = user else { return Ok(()) };
    let has_secret = transport == Transport::Https || user.contains(':');
    if has_secret {
        let refused = refuse(text, "credentials do not belong in an address");
        return Err(if clean.parse::<RepoUrl>().is_ok() { refused.instead(clean) } else { refused });
    }
    check_user(text, user)
}

fn check_user(text: &str, user: &str) -> Result<(), Refused> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(is_plain) {
        return Err(refuse(text, "the part before `@` is no login name"));
    }
    Ok(())
}

fn read_port(text: &str, port: &str) -> Result<u16, Refused> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok(number),
        _ if !digits && !port.is_empty() => Err(refuse(text, "what follows `:` is no port")),
        _ => Err(refuse(text, "a port is a number from 1 to 65535")),
    }
}

fn refuse_scheme(text: &str, scheme: &str, rest: &str) -> Refused {
    let other = |scheme: &str| {
        let url = format!("{scheme}://{rest}");
        url.parse::<RepoUrl>().is_ok().then_some(url)
    };
    let (reason, instead) = match scheme.to_ascii_lowercase().as_str() {
        "http" => ("http can be read and changed on its way".to_owned(), other("https")),
        "git" => ("git:// can be read and changed on its way".to_owned(), other("https")),
        "https" => ("the scheme is written in lower case".to_owned(), other("https")),
        "ssh" => ("the scheme is written in lower case".to_owned(), other("ssh")),
        "git+ssh" | "ssh+git" => ("only ssh and https are used".to_owned(), other("ssh")),
        "file" => (HOST_FOLDER.to_owned(), None),
        _ if scheme.contains("::") => ("it names a program to run".to_owned(), None),
        _ => ("only ssh and https are used".to_owned(), None),
    };
    let refused = refuse(text, &reason);
    match instead {
        Some(instead) => refused.instead(instead),
        None => refused,
    }
}

/// `[user@]host:path`, as scp has it.
fn read_scp_like(text: &str) -> Result<RepoUrl, Refused> {
    check_characters(text)?;
    if text.contains("::") {
        return Err(refuse(text, "it names a program to run"));
    }
    if text.starts_with(['/', '.', '~']) {
        return Err(refuse(text, HOST_FOLDER));
    }
    let Some((login, path)) = text.split_once(':').filter(|(login, _)| !login.contains('/')) else {
        return Err(refuse(text, "it has no host"));
    };
    let has_login = path.rfind('@').is_some_and(|at| !path[..at].contains('/') || path[at..].contains(':'));
    if has_login {
        return Err(refuse(text, "credentials do not belong in an address"));
    }
    let (user, host) = match login.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, login),
    };
    if let Some(user) = user {
        check_user(text, user)?;
    }
    if user.is_none() && host.len() == 1 {
        return Err(refuse(text, HOST_FOLDER));
    }
    let (user, path) = (user.map(str::to_owned), path.to_owned());
    Ok(RepoUrl { text: text.into(), transport: Transport::Ssh, user, host: host.into(), port: None, path })
}

fn check_host(url: &RepoUrl) -> Result<(), Refused> {
    let is_label = |label: &str| {
        let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        !label.is_empty() && !label.starts_with('-') && label.chars().all(is_plain)
    };
    match url.host.as_str() {
        "" => Err(refuse(&url.text, "it has no host")),
        host if host.starts_with('[') => Err(refuse(&url.text, "a host is given by name or IPv4 address")),
        host if host.len() <= 253 && host.split('.').all(is_label) => Ok(()),
        _ => Err(refuse(&url.text, "its host is no host name")),
    }
}

fn check_path(url: &RepoUrl) -> Result<(), Refused> {
    let path = url.path.strip_prefix('/').unwrap_or(&url.path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Err(refuse(&url.text, "it has no path"));
    }
    if let Some(odd) = path.chars().find(|character| "\\\"'`<>|^{}?#*$;&()[]".contains(*character)) {
        return Err(refuse(&url.text, &format!("its path has `{odd}`")));
    }
    let is_odd = |part: &str| matches!(part, "" | "." | "..") || part.starts_with('-');
    if let Some(part) = path.split('/').find(|part| is_odd(part)) {
        return Err(refuse(&url.text, &format!("its path has the part `{part}`")));
    }
    if !is_folder_name(basename(path)) {
        return Err(refuse(&url.text, "its last part is no folder name"));
    }
    Ok(())
}

/// Whether a text is one safe component of a path: what `default_dir` gives and `dir` may say.
pub fn is_folder_name(text: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-+@~".contains(character);
    let is_odd =
        text.starts_with(['-', '~']) || text.eq_ignore_ascii_case(".git") || text.chars().all(|c| c == '.');
    !text.is_empty() && text.len() <= 100 && !is_odd && text.chars().all(is_plain)
}

fn basename(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    strip_git(path.rsplit('/').next().unwrap_or(path))
}

/// A part that is nothing but `.git` keeps it, and so is seen to be odd.
fn strip_git(path: &str) -> &str {
    match path.strip_suffix(".git") {
        Some(stripped) if !stripped.is_empty() && !stripped.ends_with('/') => stripped,
        _ => path,
    }
}

#[cfg(test)]
#[path = "repo_url_tests.rs"]
mod tests;
