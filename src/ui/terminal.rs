//! Our terminal while somebody else writes to it: cleaned where nobody sits at it, put right again after a session.
//!
//! Enters: bytes of a guest or of Lima. Leaves: clean ones, and after a session the modes that a shell expects.
//! Must not know whose bytes they are.

use std::io::{IsTerminal as _, Write};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::sanitize::Sanitizer;

/// Takes what a program says, in pieces that may end anywhere.
type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// What full-screen programs and line editors turn on, turned off again. Where a mode is off already, nothing happens.
const RESET: &str = concat!(
    // Soft reset: insert mode, origin, margins, character sets, cursor keys and keypad (DECSTR, VT510 manual).
    "\x1b[!p",
    // Lines wrap, no reverse video, the cursor is seen and has its own form.
    "\x1b[?7h\x1b[?5l\x1b[?25h\x1b[0 q",
    // No mouse, focus, paste, theme or resize reports, nothing held back (xterm's ctlseqs; terminal-wg).
    "\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l",
    "\x1b[?2004l\x1b[?2026l\x1b[?2031l\x1b[?2048l",
    // Keys as they always were: xterm's modifyOtherKeys, kitty's protocol with all that was pushed.
    "\x1b[>4m\x1b[<99u",
    // The main screen. The cursor is kept first, as leaving the other one puts it where it was kept last.
    "\x1b7\x1b[?1049l\x1b[?1047l\x1b[?47l\x1b[<99u",
    // No link, no colour, the usual letters.
    "\x1b]8;;\x1b\\\x1b[0m\x1b(B\x0f",
);

/// Puts the terminal right when dropped, after a session that could do with it what it liked.
pub struct TerminalGuard {
    input: Option<Termios>,
    resets: bool,
}

impl TerminalGuard {
    /// Remembers how the terminal reads keys. A dumb one knows no modes.
    pub fn new(is_dumb: bool) -> Self {
        let resets = std::io::stdout().is_terminal() && !is_dumb;
        Self { input: tcgetattr(std::io::stdin()).ok(), resets }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if let Some(input) = &self.input {
            // An ssh that was killed leaves it raw; a terminal that is gone needs nothing.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, input);
        }
        if self.resets {
            let mut output = std::io::stdout();
            let _ = output.write_all(RESET.as_bytes()).and_then(|()| output.flush());
        }
    }
}

/// Sinks for the bytes of a program without a terminal of its own: standard output and error, cleaned where they are
/// terminals. A stream that is none gets every byte as it is, and so no sink.
pub fn terminal_sinks() -> [Option<Sink>; 2] {
    [sink_to(std::io::stdout()), sink_to(std::io::stderr())]
}

fn sink_to<S: RawStream + Write + Send + 'static>(stream: S) -> Option<Sink> {
    if !stream.is_terminal() {
        return None;
    }
    let is_coloured = AutoStream::choice(&stream) != ColorChoice::Never;
    let sanitizer = if is_coloured { Sanitizer::keeping_colour() } else { Sanitizer::default() };
    let mut relay = Relay { stream, sanitizer };
    Some(Box::new(move |bytes: &[u8]| relay.write(bytes)))
}

/// One of our streams behind a sanitizer.
struct Relay<S: Write> {
    stream: S,
    sanitizer: Sanitizer,
}

impl<S: Write> Relay<S> {
    fn write(&mut self, bytes: &[u8]) {
        let clean = self.sanitizer.push(bytes);
        let _ = self.stream.write_all(clean.as_bytes()).and_then(|()| self.stream.flush());
    }
}

impl<S: Write> Drop for Relay<S> {
    fn drop(&mut self) {
        let _ = self.stream.write_all(self.sanitizer.finish().as_bytes()).and_then(|()| self.stream.flush());
    }
}
