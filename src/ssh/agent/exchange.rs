//! One client's conversation with the agent: each request judged, written down, and answered.
//!
//! Enters: frames of the guest's. Leaves: answers; what is allowed was asked of the host's agent.
//! Once a bind was refused, so is everything after it: nobody knows any more where the connection leads.

use std::os::unix::net::UnixStream;

use super::ask::Asker;
use super::client::{OWNER, connect, talk};
use super::log::{Entry, Log};
use super::policy::{Hop, Policy, Purpose, Refusal, operation};
use super::serve::Loan;
use super::verify::Verifier;
use super::wire::{
    Bind, FAILURE, LIST, Malformed, Request, SUCCESS, is_signature, parse_identities, parse_payload,
    parse_request, render_identities,
};
use crate::failure::Result;
use crate::model::KeyName;

/// What all exchanges of one server share.
pub(super) struct Desk {
    pub log: Log,
    pub verifier: Verifier,
    pub asker: Asker,
}

/// A client and what is known of it.
pub(super) struct Exchange<'s> {
    desk: &'s Desk,
    loan: Result<Loan>,
    ssh_pid: Option<i32>,
    hops: Vec<Hop>,
    barred: Option<Refusal>,
    /// The binds of the hops, as they came.
    binds: Vec<Vec<u8>>,
    /// How many of them the host's agent has heard of.
    told: usize,
    agent: Option<UnixStream>,
}

impl<'s> Exchange<'s> {
    /// A client that has said nothing yet.
    pub fn new(desk: &'s Desk, loan: Result<Loan>, ssh_pid: Option<i32>) -> Self {
        let (hops, binds) = (Vec::new(), Vec::new());
        Self { desk, loan, ssh_pid, hops, barred: None, binds, told: 0, agent: None }
    }

    /// The answer to one request.
    pub fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let mut entry = Entry { ssh_pid: self.ssh_pid, ..Entry::default() };
        let outcome = match parse_request(message) {
            Ok(Request::List) => self.list(&mut entry),
            Ok(Request::Bind(bind)) => self.bind(&bind, message, &mut entry),
            Ok(Request::Sign { key, data }) => self.sign(key, data, message, &mut entry),
            Ok(Request::Other(number)) => other(&mut entry, Refusal::Operation(operation(number))),
            Err(Malformed) => other(&mut entry, Refusal::Malformed),
        };
        let noted = self.desk.log.note(entry, outcome.as_ref().err());
        match outcome {
            Ok(answer) if noted.is_ok() => answer,
            Err(Refusal::NoKey) => render_identities(std::iter::empty()),
            _ => vec![FAILURE],
        }
    }

    fn loan(&self) -> Result<&Loan, Refusal> {
        if let Some(refusal) = &self.barred {
            return Err(refusal.clone());
        }
        self.loan.as_ref().map_err(|failure| Refusal::Settings(format!("{:#}", failure.error)))
    }

    fn bind(&mut self, bind: &Bind, message: &[u8], entry: &mut Entry) -> Result<Vec<u8>, Refusal> {
        entry.request = "bind".into();
        entry.host = Some(self.name_of(bind.host_key));
        let judged = self.loan().and_then(|loan| loan.policy.judge_bind(&self.hops, bind));
        let verified = judged.and_then(|hop| {
            if self.desk.verifier.is_true(message) { Ok(hop) } else { Err(Refusal::Unverified) }
        });
        match verified {
            Ok(hop) => {
                self.hops.push(hop);
                self.binds.push(message.to_vec());
                Ok(vec![SUCCESS])
            }
            Err(refusal) => {
                self.barred = Some(refusal.clone());
                Err(refusal)
            }
        }
    }

    fn list(&mut self, entry: &mut Entry) -> Result<Vec<u8>, Refusal> {
        entry.request = "list".into();
        self.loan()?;
        if !Policy::judge_list(&self.hops)? {
            return Ok(render_identities(std::iter::empty()));
        }
        let answer = self.ask(&LIST)?;
        let found = parse_identities(&answer).or(Err(Refusal::AgentRefused))?;
        let policy = &self.loan()?.policy;
        let keys: Vec<&[u8]> =
            found.into_iter().map(|identity| identity.key).filter(|key| policy.shows(key)).collect();
        if keys.is_empty() { Err(Refusal::NoKey) } else { Ok(render_identities(keys.into_iter())) }
    }

    fn sign(
        &mut self,
        key: &[u8],
        data: &[u8],
        message: &[u8],
        entry: &mut Entry,
    ) -> Result<Vec<u8>, Refusal> {
        entry.request = "sign".into();
        entry.key = Some(KeyName::of(key).to_string());
        let purpose = self.loan()?.policy.judge_sign(&self.hops, key, parse_payload(data))?;
        let what = match purpose {
            Purpose::Commit => "sign a commit or tag".into(),
            Purpose::Login { ref user, ref host } => format!("log in to {host} as {user}"),
        };
        match purpose {
            Purpose::Commit => entry.purpose = Some("commit".into()),
            Purpose::Login { user, host } => {
                entry.purpose = Some("login".into());
                (entry.user, entry.host) = (Some(user), Some(host));
            }
        }
        let question =
            format!("May the machine `{}` {what} with the key {}?", self.desk.log.machine, KeyName::of(key));
        let loan = self.loan()?;
        self.desk.asker.confirm(loan.policy.ask, loan.ask_with.as_ref(), &question)?;
        let answer = self.ask(message)?;
        if is_signature(&answer) { Ok(answer) } else { Err(Refusal::AgentRefused) }
    }

    /// What a host is called in the log.
    fn name_of(&self, host_key: &[u8]) -> String {
        let policy = self.loan.as_ref().map(|loan| &loan.policy).ok();
        policy
            .and_then(|policy| policy.name_of(host_key))
            .unwrap_or_else(|| KeyName::of(host_key).to_string())
    }

    /// Asks the host's agent, which first hears of the hops: it may hold keys with rules of their own. Whether it knows
    /// binds is its own affair; these have been verified.
    fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut agent = if let Some(agent) = self.agent.take() {
            agent
        } else {
            let socket = self.loan()?.upstream.clone().ok_or(Refusal::NoAgent)?;
            self.told = 0;
            connect(&socket, OWNER).or(Err(Refusal::NoAgent))?
        };
        for bind in &self.binds[self.told..] {
            talk(&mut agent, bind).or(Err(Refusal::NoAgent))?;
        }
        self.told = self.binds.len();
        let answer = talk(&mut agent, message).or(Err(Refusal::NoAgent))?;
        // One that broke off in the middle of an answer is not kept.
        self.agent = Some(agent);
        Ok(answer)
    }
}

fn other(entry: &mut Entry, refusal: Refusal) -> Result<Vec<u8>, Refusal> {
    entry.request = "other".into();
    Err(refusal)
}
