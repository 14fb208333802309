//! What a machine may ask of the agent: pure rules over grants, the hops of a connection and a request.
//!
//! Enters: who is granted what, and decoded requests. Leaves: a purpose that is allowed, or why it is refused.
//! The reasons are read by people, in the log and at the end of a session.

use super::wire::{Bind, Login, Payload};
use crate::model::{KeyAsk, KeyName, shown};

/// A host that a machine may log in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What people call it.
    pub name: String,
    /// Its pinned public keys.
    pub keys: Vec<Vec<u8>>,
    /// The users it may log in as.
    pub users: Vec<String>,
}

/// Everything that one machine is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The machine's own pinned public key.
    pub machine_key: Vec<u8>,
    /// Where it may log in.
    pub destinations: Vec<Destination>,
    /// The keys that may log in; `None`: all that the agent holds.
    pub only: Option<Vec<KeyName>>,
    /// Keys that may sign commits and tags.
    pub signers: Vec<KeyName>,
    /// When their owner is asked.
    pub ask: KeyAsk,
}

/// One ssh connection on the way from here to where the agent is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// The host's public key.
    pub host_key: Vec<u8>,
    /// The session's identifier.
    pub session: Vec<u8>,
    /// Whether the agent was lent to the host.
    pub forwards: bool,
}

/// What a signature is allowed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A login at a host.
    Login { user: String, host: String },
    /// A commit or tag.
    Commit,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the message is not of the agent protocol")]
    Malformed,
    #[error("{0} is never granted")]
    Operation(&'static str),
    #[error(
        "this computer's ssh did not say which machine it leads to: that takes OpenSSH 8.9 or later here"
    )]
    Unbound,
    #[error("it came by another road than this machine's own connection")]
    WrongMachine,
    #[error("a login to the machine itself takes no key of the agent")]
    OwnLogin,
    #[error("the host's signature of its session is not valid")]
    Unverified,
    #[error("the connection was bound to a host already")]
    Rebound,
    #[error(
        "the program in the guest did not say which host it logs in to: only OpenSSH 8.9 and later does, so let it \
         use the guest's `ssh`"
    )]
    NotSaid,
    #[error("a host with the key {0} is none that this project may log in to")]
    UnknownHost(KeyName),
    #[error("the agent was lent on to a further host")]
    LentOn,
    #[error("the login is for another session than the host has signed")]
    OtherSession,
    #[error("the login names another host key than the host has shown")]
    OtherHostKey,
    #[error("the login as `{user}` at {host} is not granted")]
    WrongUser { user: String, host: String },
    #[error("the signature is asked of one key and names another")]
    OtherKey,
    #[error("the key {0} is not granted")]
    KeyNotGranted(KeyName),
    #[error("its owner said no, or nothing within a minute")]
    Declined,
    #[error("its owner is to be asked, and there is no program to ask with: set SSH_ASKPASS")]
    NobodyToAsk,
    #[error("nobody can tell what would be signed")]
    Opaque,
    #[error("a signature for `{0}` is not granted, only for `git`")]
    Namespace(String),
    #[error("the key {0} is not the one that signs this project's commits")]
    NotASigner(KeyName),
    #[error("no ssh-agent answers on this computer")]
    NoAgent,
    #[error("the ssh-agent of this computer refused: is it locked, is the key in it, was it confirmed?")]
    AgentRefused,
    #[error("the agent has no key that is granted")]
    NoKey,
    #[error("what is granted could not be read: {0}")]
    Settings(String),
    #[error("more than 8 connections at one time")]
    TooMany,
}

impl Policy {
    /// The hop that a bind adds to `hops`, once its signature is verified.
    pub(super) fn judge_bind(&self, hops: &[Hop], bind: &Bind) -> Result<Hop, Refusal> {
        let is_machine = || bind.host_key == self.machine_key;
        match hops {
            [] => is_machine().then_some(()).ok_or(Refusal::WrongMachine),
            [first] if first.session == bind.session || !first.forwards => Err(Refusal::Rebound),
            [_] => {
                let unknown = || Refusal::UnknownHost(KeyName::of(bind.host_key));
                self.at(bind.host_key).next().map(drop).ok_or_else(unknown)
            }
            _ => Err(Refusal::Rebound),
        }?;
        let (host_key, session) = (bind.host_key.to_vec(), bind.session.to_vec());
        Ok(Hop { host_key, session, forwards: bind.forwards })
    }

    /// Whether keys are shown at the end of `hops`: in the machine, and to a host that is granted. Not to this computer's
    /// own ssh, which looks for a key to log in to the machine with; it has one, and that is not in the agent.
    pub(super) fn judge_list(hops: &[Hop]) -> Result<bool, Refusal> {
        match hops {
            [] => Err(Refusal::Unbound),
            [only] => Ok(only.forwards),
            [.., last] if last.forwards => Err(Refusal::LentOn),
            _ => Ok(true),
        }
    }

    /// Whether a key is of any use to the machine.
    pub(super) fn shows(&self, key: &[u8]) -> bool {
        let name = KeyName::of(key);
        self.may_log_in(&name) || self.signers.contains(&name)
    }

    fn may_log_in(&self, name: &KeyName) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    /// What a signature by `key` over `payload` is allowed for.
    pub(super) fn judge_sign(&self, hops: &[Hop], key: &[u8], payload: Payload) -> Result<Purpose, Refusal> {
        if !Self::judge_list(hops)? {
            return Err(Refusal::OwnLogin);
        }
        match (payload, hops) {
            (Payload::Login(login), [_, last]) => self.judge_login(last, key, &login),
            (Payload::Login(_), _) => Err(Refusal::NotSaid),
            (Payload::Signature { namespace }, _) => self.judge_signature(key, namespace),
            (Payload::Opaque, _) => Err(Refusal::Opaque),
        }
    }

    fn judge_login(&self, last: &Hop, key: &[u8], login: &Login) -> Result<Purpose, Refusal> {
        if login.session != last.session {
            return Err(Refusal::OtherSession);
        }
        if login.host_key.is_some_and(|host_key| host_key != last.host_key) {
            return Err(Refusal::OtherHostKey);
        }
        if login.key != key {
            return Err(Refusal::OtherKey);
        }
        let name = KeyName::of(key);
        if !self.may_log_in(&name) {
            return Err(Refusal::KeyNotGranted(name));
        }
        let names: Vec<&Destination> = self.at(&last.host_key).collect();
        let granted = names.iter().find(|host| host.users.iter().any(|user| user.as_bytes() == login.user));
        let user = shown(&String::from_utf8_lossy(login.user));
        let host = granted.or(names.first()).map(|host| host.name.clone()).unwrap_or_default();
        if granted.is_some() {
            Ok(Purpose::Login { user, host })
        } else {
            Err(Refusal::WrongUser { user, host })
        }
    }

    fn judge_signature(&self, key: &[u8], namespace: &[u8]) -> Result<Purpose, Refusal> {
        if namespace != b"git" {
            return Err(Refusal::Namespace(shown(&String::from_utf8_lossy(namespace))));
        }
        let name = KeyName::of(key);
        if self.signers.contains(&name) { Ok(Purpose::Commit) } else { Err(Refusal::NotASigner(name)) }
    }

    /// What a host with this key is called; the machine itself is called that.
    pub(super) fn name_of(&self, host_key: &[u8]) -> Option<String> {
        if host_key == self.machine_key {
            return Some("the machine".into());
        }
        self.at(host_key).next().map(|host| host.name.clone())
    }

    fn at<'p>(&'p self, host_key: &'p [u8]) -> impl Iterator<Item = &'p Destination> {
        self.destinations.iter().filter(move |host| host.keys.iter().any(|key| key == host_key))
    }
}

/// The name of an operation that no guest is granted, by its message number.
pub(super) const fn operation(number: u8) -> &'static str {
    match number {
        7 | 17 | 25 => "adding a key",
        8 | 9 | 18 | 19 => "removing keys",
        20 | 26 => "loading a smartcard's library",
        21 => "removing a smartcard",
        22 | 23 => "locking",
        27 => "an unknown extension",
        _ => "an unknown operation",
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
