//! The agent protocol's bytes (draft-ietf-sshm-ssh-agent; OpenSSH's PROTOCOL.agent and PROTOCOL.sshsig): what is asked.
//!
//! Enters: frames from a guest or an agent, any bytes. Leaves: borrowed values, or `Malformed`. Decides nothing, and
//! allocates nothing that the bytes ask for.

use std::io::{ErrorKind, Read, Write};

/// The longest message taken from either side, in bytes: that of OpenSSH's own agent (`AGENT_MAX_LEN`).
pub(super) const FRAME_LIMIT: usize = 256 * 1024;
/// `SSH_AGENT_FAILURE`.
pub(super) const FAILURE: u8 = 5;
/// `SSH_AGENT_SUCCESS`.
pub(super) const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
/// `SSH2_MSG_USERAUTH_REQUEST`, the first byte after the session of what a login signs (RFC 4252, section 7).
const USERAUTH_REQUEST: u8 = 50;
const HOSTBOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";
/// What a client that only lists sends.
pub(super) const LIST: [u8; 1] = [REQUEST_IDENTITIES];

/// Bytes that are no message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'m> {
    /// Which keys there are.
    List,
    /// A signature over `data`.
    Sign { key: &'m [u8], data: &'m [u8] },
    /// To which host the connection leads from here on.
    Bind(Bind<'m>),
    /// Anything else, by its message number.
    Other(u8),
}

/// `session-bind@openssh.com`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bind<'m> {
    /// The host's public key.
    pub host_key: &'m [u8],
    /// The identifier of the ssh session, which the host has signed.
    pub session: &'m [u8],
    /// Whether the agent is lent to that host, not used to log in there.
    pub forwards: bool,
}

/// What a signature is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'m> {
    /// A login by public key.
    Login(Login<'m>),
    /// A file or commit, signed for a purpose that `namespace` names.
    Signature { namespace: &'m [u8] },
    /// None of the two: nobody can tell.
    Opaque,
}

/// What a login signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Login<'m> {
    pub session: &'m [u8],
    pub user: &'m [u8],
    pub key: &'m [u8],
    /// The host's key, which newer servers have signed as well.
    pub host_key: Option<&'m [u8]>,
}

/// The fields of a message, read from the front.
struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    fn take(&mut self, length: usize) -> Result<&'m [u8], Malformed> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|field| field[0])
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        let field = self.take(4)?;
        field.try_into().map(u32::from_be_bytes).or(Err(Malformed))
    }

    fn string(&mut self) -> Result<&'m [u8], Malformed> {
        let length = usize::try_from(self.number()?).or(Err(Malformed))?;
        self.take(length)
    }

    fn literal(&mut self, expected: &[u8]) -> Result<(), Malformed> {
        if self.string()? == expected { Ok(()) } else { Err(Malformed) }
    }

    const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Reads one request.
pub(super) fn parse_request(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut fields = Fields(message);
    let number = fields.byte()?;
    let request = match number {
        REQUEST_IDENTITIES => Request::List,
        SIGN_REQUEST => {
            let (key, data) = (fields.string()?, fields.string()?);
            // The flags choose the hash of an RSA signature (2, 4); others mean nothing yet.
            if fields.number()? & !6 != 0 {
                return Err(Malformed);
            }
            Request::Sign { key, data }
        }
        EXTENSION if fields.string()? == b"session-bind@openssh.com" => parse_bind(&mut fields)?,
        _ => return Ok(Request::Other(number)),
    };
    fields.end()?;
    Ok(request)
}

fn parse_bind<'m>(fields: &mut Fields<'m>) -> Result<Request<'m>, Malformed> {
    let (host_key, session) = (fields.string()?, fields.string()?);
    let mut signature = Fields(fields.string()?);
    let forwards = fields.flag()?;
    // OpenSSH would also take RSA with SHA-1 here.
    let kinds: [&[u8]; 8] = [
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
        b"rsa-sha2-256",
        b"rsa-sha2-512",
        b"sk-ssh-ed25519@openssh.com",
        b"sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    // A session's identifier is the hash of a key exchange, of 20 bytes and more.
    if session.len() < 20 || !kinds.contains(&signature.string()?) {
        return Err(Malformed);
    }
    Ok(Request::Bind(Bind { host_key, session, forwards }))
}

/// Tells what a signature is wanted for.
pub(super) fn parse_payload(data: &[u8]) -> Payload<'_> {
    let parsed = match data.strip_prefix(b"SSHSIG") {
        Some(rest) => parse_signature(rest),
        None => parse_login(data),
    };
    parsed.unwrap_or(Payload::Opaque)
}

fn parse_signature(rest: &[u8]) -> Result<Payload<'_>, Malformed> {
    let mut fields = Fields(rest);
    let (namespace, _reserved) = (fields.string()?, fields.string()?);
    let length = match fields.string()? {
        b"sha256" => 32,
        b"sha512" => 64,
        _ => return Err(Malformed),
    };
    if fields.string()?.len() != length {
        return Err(Malformed);
    }
    fields.end()?;
    Ok(Payload::Signature { namespace })
}

fn parse_login(data: &[u8]) -> Result<Payload<'_>, Malformed> {
    let mut fields = Fields(data);
    let session = fields.string()?;
    if fields.byte()? != USERAUTH_REQUEST {
        return Err(Malformed);
    }
    let user = fields.string()?;
    fields.literal(b"ssh-connection")?;
    let method = fields.string()?;
    if !fields.flag()? {
        return Err(Malformed);
    }
    let (_algorithm, key) = (fields.string()?, fields.string()?);
    let host_key = match method {
        b"publickey" => None,
        HOSTBOUND => Some(fields.string()?),
        _ => return Err(Malformed),
    };
    fields.end()?;
    Ok(Payload::Login(Login { session, user, key, host_key }))
}

/// A key that an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity<'m> {
    pub key: &'m [u8],
    /// The owner's own words.
    pub comment: &'m [u8],
}

/// The keys in an agent's answer to [`LIST`].
pub(super) fn parse_identities(answer: &[u8]) -> Result<Vec<Identity<'_>>, Malformed> {
    let mut fields = Fields(answer);
    if fields.byte()? != IDENTITIES_ANSWER {
        return Err(Malformed);
    }
    let count = fields.number()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(Identity { key: fields.string()?, comment: fields.string()? });
    }
    fields.end()?;
    Ok(keys)
}

/// An answer that lists `keys`; the comments of the host, which often name people and computers, stay there.
pub(super) fn render_identities<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Vec<u8> {
    let mut answer = vec![IDENTITIES_ANSWER];
    push_number(&mut answer, keys.len());
    for (number, key) in (1..).zip(keys) {
        push_string(&mut answer, key);
        push_string(&mut answer, format!("key {number} of the host").as_bytes());
    }
    answer
}

/// Whether an agent's answer is a signature.
pub(super) fn is_signature(answer: &[u8]) -> bool {
    answer.first() == Some(&SIGN_RESPONSE)
}

fn push_number(message: &mut Vec<u8>, number: usize) {
    // Everything that is counted here came in a frame, and so is small.
    message.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

fn push_string(message: &mut Vec<u8>, string: &[u8]) {
    push_number(message, string.len());
    message.extend(string);
}

/// Reads one frame; `None` when the other side has ended.
///
/// # Errors
/// When it breaks off in the middle, or announces more than [`FRAME_LIMIT`]; the stream is of no use then.
pub(super) fn read_frame(stream: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0u8; 4];
    match stream.read_exact(&mut head) {
        Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length == 0 || length > FRAME_LIMIT {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    // Memory is taken as bytes arrive, not as they are announced.
    Read::by_ref(stream).take(length as u64).read_to_end(&mut message)?;
    if message.len() < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(Some(message)) }
}

/// Writes one frame.
pub(super) fn write_frame(stream: &mut impl Write, message: &[u8]) -> std::io::Result<()> {
    let mut frame = Vec::with_capacity(message.len() + 4);
    push_string(&mut frame, message);
    stream.write_all(&frame)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
