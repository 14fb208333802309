//! Runs commands: `run` quietly, `read` their output, `stream` it line by line, or `interactive` on our terminal.
//!
//! Enters: `Cmd`. Leaves: output or a `Failure`. Children get a built environment, never ours.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::wait::{Ended, hand_on, wait, wait_for_rest, wait_passing_signals};
use super::{Cmd, Companion, Input, Interrupt};
use crate::failure::{Context, Failure, Result};
use crate::model::{Secret, redact};

/// How many of a failed program's last lines are kept.
const TAIL_LINES: usize = 12;
/// How much output `read` accepts in bytes: answers are small, floods are attacks or bugs.
const READ_LIMIT: usize = 8 * 1024 * 1024;
/// How long after its end a program's output may stay open, held by a daemon it left behind.
const OUTPUT_LINGER: Duration = Duration::from_secs(2);

/// Takes what a program says, in pieces that may end anywhere.
pub type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program that ended, however.
#[derive(Debug)]
pub struct Finished {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// All of its standard output (`read`) or none (`run`, `stream`).
    pub stdout: Vec<u8>,
    /// The last lines of standard error, or of both streams for `stream`.
    pub tail: Vec<String>,
}

impl Finished {
    /// Standard output as text; foreign bytes are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The code to pass on: a signal becomes 128 + its number, as in shells.
    pub fn code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// What a program that prints a secret came to.
#[derive(Debug)]
pub struct Captured {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Its standard output; `None` when there was more of it than allowed, or its end never came.
    pub secret: Option<Secret>,
    /// The last lines of standard error.
    pub tail: Vec<String>,
}

/// Starts programs with a fixed environment.
#[derive(Clone)]
pub struct Runner {
    env: Vec<(OsString, OsString)>,
    path: OsString,
    interrupt: Interrupt,
    log: Option<fn(&str)>,
}

impl Runner {
    /// A runner whose children see `env` only; `log` gets the quoted line of each command.
    pub fn new(env: Vec<(OsString, OsString)>, interrupt: Interrupt, log: Option<fn(&str)>) -> Self {
        let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        Self { env, path: path.unwrap_or_default(), interrupt, log }
    }

    /// The flag that signals set.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Fails when a signal has asked us to stop.
    pub fn check_interrupt(&self) -> Result<()> {
        if self.interrupt.is_asked() { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// The absolute path of a program on PATH.
    pub fn find(&self, program: impl AsRef<std::ffi::OsStr>) -> Option<std::path::PathBuf> {
        which::which_in(program, Some(&self.path), "/").ok()
    }

    /// Runs quietly; a status other than 0 is a failure with the program's last words.
    pub fn run(&self, cmd: &Cmd) -> Result<()> {
        self.collect(cmd, &mut |_, _| ()).and_then(|finished| self.succeeded(cmd, finished)).map(|_| ())
    }

    /// Runs and returns standard output; a status other than 0 is a failure.
    pub fn read(&self, cmd: &Cmd) -> Result<Finished> {
        let finished = self.read_any_status(cmd)?;
        self.succeeded(cmd, finished)
    }

    /// Runs and returns standard output, whatever the status.
    pub fn read_any_status(&self, cmd: &Cmd) -> Result<Finished> {
        let mut stdout = Vec::new();
        let mut finished = self.collect(cmd, &mut |source, line| {
            if source == Source::Stdout && stdout.len() < READ_LIMIT {
                stdout.extend_from_slice(line);
            }
        })?;
        finished.stdout = stdout;
        Ok(finished)
    }

    /// Runs and takes standard output as a secret: no tail, log or error has any of it. More than `limit_bytes` is none.
    pub fn read_secret(&self, cmd: &Cmd, limit_bytes: usize) -> Result<Captured> {
        let mut child = self.spawn(cmd, stdin_of(cmd), [Stdio::piped(), Stdio::piped()])?;
        let (sender, captured) = channel();
        if let Some(pipe) = child.stdout.take() {
            std::thread::spawn(move || sender.send(capture(pipe, limit_bytes)));
        }
        let Finished { status, tail, .. } = self.attend(&mut child, cmd, &mut |_, _| ())?;
        let secret = captured.recv_timeout(OUTPUT_LINGER).ok().flatten();
        Ok(Captured { status, secret, tail })
    }

    /// Runs with its standard output in a file of its own; a status other than 0 is a failure, as is more than
    /// `limit_bytes`, and then there is no file.
    pub fn save(&self, cmd: &Cmd, path: &Path, limit_bytes: u64) -> Result<()> {
        let saved = self.try_save(cmd, path, limit_bytes);
        if saved.is_err() {
            crate::disk::remove_file(path)?;
        }
        saved
    }

    fn try_save(&self, cmd: &Cmd, path: &Path, limit_bytes: u64) -> Result<()> {
        let mut file = crate::disk::create_private(path)?;
        let mut child = self.spawn(cmd, stdin_of(cmd), [Stdio::piped(), Stdio::piped()])?;
        let (sender, copied) = channel();
        if let Some(pipe) = child.stdout.take() {
            std::thread::spawn(move || {
                sender.send(std::io::copy(&mut pipe.take(limit_bytes + 1), &mut file))
            });
        }
        let finished = self.attend(&mut child, cmd, &mut |_, _| ())?;
        let copied = copied.recv_timeout(OUTPUT_LINGER);
        if matches!(copied, Ok(Ok(bytes)) if bytes > limit_bytes) {
            let sentence = format!("`{}` printed more than {limit_bytes} bytes", cmd.program_name());
            return Err(Failure::operation(sentence));
        }
        self.succeeded(cmd, finished)?;
        let written = copied.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        written.map(drop).because(|| format!("failed to write `{}`", path.display()))
    }

    /// Runs and hands each line to `sink` as it comes; a status other than 0 is a failure.
    pub fn stream(&self, cmd: &Cmd, sink: &mut dyn FnMut(Source, &[u8])) -> Result<()> {
        self.collect(cmd, sink).and_then(|finished| self.succeeded(cmd, finished)).map(|_| ())
    }

    /// Runs quietly although a signal has asked us to stop: for the few things that must be put right before we do.
    pub fn clean_up(&self, cmd: &Cmd) {
        let undisturbed = Self { interrupt: Interrupt::default(), ..self.clone() };
        // Whatever it could not do, the next command finds and does.
        let _ = undisturbed.run(cmd);
    }

    /// Runs on our own terminal; its status is the answer, and Ctrl-C is its business.
    pub fn interactive(&self, cmd: &Cmd) -> Result<Finished> {
        let mut child = self.spawn(cmd, stdin_of(cmd), [Stdio::inherit(), Stdio::inherit()])?;
        let status = wait_passing_signals(&mut child, &self.interrupt);
        let status = status.because(|| format!("failed to wait for `{}`", cmd.program_name()))?;
        Ok(Finished { status, stdout: Vec::new(), tail: Vec::new() })
    }

    /// As [`Self::interactive`], but what it says goes to a sink as it comes, where there is one for that stream.
    pub fn relay(&self, cmd: &Cmd, [stdout, stderr]: [Option<Sink>; 2]) -> Result<Finished> {
        let stdio = |sink: &Option<Sink>| if sink.is_some() { Stdio::piped() } else { Stdio::inherit() };
        let mut child = self.spawn(cmd, stdin_of(cmd), [stdio(&stdout), stdio(&stderr)])?;
        let handed = [
            child.stdout.take().zip(stdout).map(|(pipe, sink)| hand_on(pipe, sink)),
            child.stderr.take().zip(stderr).map(|(pipe, sink)| hand_on(pipe, sink)),
        ];
        let status = wait_passing_signals(&mut child, &self.interrupt);
        handed.into_iter().flatten().for_each(|all| wait_for_rest(&all));
        let status = status.because(|| format!("failed to wait for `{}`", cmd.program_name()))?;
        Ok(Finished { status, stdout: Vec::new(), tail: Vec::new() })
    }

    /// Starts a program that outlives us: own process group, both outputs into `log`. Returns its process.
    pub fn detach(&self, cmd: &Cmd, log: &File) -> Result<Child> {
        let clone = || log.try_clone().map(Stdio::from).because(|| "failed to duplicate a log file");
        self.spawn(&cmd.clone().own_group(), stdin_of(cmd), [clone()?, clone()?])
    }

    /// Starts a program between two ends of pipes; what it has to say is in its status.
    pub fn filter(&self, cmd: &Cmd, input: Stdio, output: Stdio) -> Result<Child> {
        self.spawn(cmd, input, [output, Stdio::null()])
    }

    /// Starts a program, without output, that runs until the guard is dropped.
    pub fn accompany(&self, cmd: &Cmd) -> Result<Companion> {
        self.spawn(cmd, stdin_of(cmd), [Stdio::null(), Stdio::null()]).map(Companion::new)
    }

    /// As [`Self::detach`], with one end of a socket or pipe for its standard input.
    #[cfg(target_os = "linux")]
    pub fn attach(&self, cmd: &Cmd, input: std::os::fd::OwnedFd, log: &File) -> Result<Child> {
        let clone = || log.try_clone().map(Stdio::from).because(|| "failed to duplicate a log file");
        self.spawn(&cmd.clone().own_group(), input.into(), [clone()?, clone()?])
    }

    fn collect(&self, cmd: &Cmd, sink: &mut dyn FnMut(Source, &[u8])) -> Result<Finished> {
        let mut child = self.spawn(cmd, stdin_of(cmd), [Stdio::piped(), Stdio::piped()])?;
        self.attend(&mut child, cmd, sink)
    }

    fn attend(&self, child: &mut Child, cmd: &Cmd, sink: &mut dyn FnMut(Source, &[u8])) -> Result<Finished> {
        let mut tail = VecDeque::new();
        let ended = wait(child, cmd, &self.interrupt, &mut |source, line| {
            let line = redact(line);
            sink(source, &line);
            keep(&mut tail, &line);
        });
        let tail: Vec<String> = tail.into();
        match ended.because(|| format!("failed to wait for `{}`", cmd.program_name()))? {
            Ended::Exited(status) => Ok(Finished { status, stdout: Vec::new(), tail }),
            Ended::Interrupted => Err(Failure::interrupted()),
            Ended::TimedOut => {
                let limit = cmd.time_limit.unwrap_or_default().as_secs();
                Err(with_tail(Failure::operation(format!("`{cmd}` did not end within {limit} s")), &tail))
            }
        }
    }

    fn succeeded(&self, cmd: &Cmd, finished: Finished) -> Result<Finished> {
        if finished.status.success() {
            return Ok(finished);
        }
        // A child in our process group gets Ctrl-C itself and may be gone before we look at the flag.
        self.check_interrupt()?;
        Err(with_tail(Failure::operation(format!("`{cmd}` failed: {}", finished.status)), &finished.tail))
    }

    fn spawn(&self, cmd: &Cmd, stdin: Stdio, [stdout, stderr]: [Stdio; 2]) -> Result<Child> {
        if let Some(log) = self.log {
            log(&cmd.to_string());
        }
        let program = self.find(&cmd.program).ok_or_else(|| missing(cmd))?;
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        let mut command = Command::new(program);
        command.args(&cmd.args).env_clear().envs(self.env.iter().cloned());
        command.envs(cmd.inherited.iter().cloned()).envs(cmd.env.iter().cloned());
        command.current_dir(&cmd.cwd).stdin(stdin).stdout(stdout).stderr(stderr);
        if cmd.own_group {
            command.process_group(0);
        }
        let mut child = command.spawn().because(|| format!("failed to start `{}`", cmd.program_name()))?;
        feed(&mut child, &cmd.input);
        Ok(child)
    }
}

fn stdin_of(cmd: &Cmd) -> Stdio {
    match cmd.input {
        Input::Null => Stdio::null(),
        Input::Bytes(_) | Input::Secret(_) | Input::Open => Stdio::piped(),
        Input::Inherit => Stdio::inherit(),
    }
}

/// Writes the input on a thread of its own: a program may talk before it has read everything.
fn feed(child: &mut Child, input: &Input) {
    if *input == Input::Open {
        return;
    }
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.clone();
        std::thread::spawn(move || {
            let bytes = match &input {
                Input::Bytes(bytes) => bytes,
                Input::Secret(secret) => secret.expose(),
                Input::Null | Input::Open | Input::Inherit => return,
            };
            // A program that ends early closes the pipe; its status says what that means.
            let _ = pipe.write_all(bytes);
        });
    }
}

/// Reads to the end, or to one byte too many.
fn capture(pipe: impl Read, limit_bytes: usize) -> Option<Secret> {
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(limit_bytes + 1);
    let read = pipe.take(limit_bytes as u64 + 1).read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    (read.is_ok() && secret.expose().len() <= limit_bytes).then_some(secret)
}

fn keep(tail: &mut VecDeque<String>, line: &[u8]) {
    let text = String::from_utf8_lossy(line).trim_end().to_string();
    if text.is_empty() {
        return;
    }
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(text);
}

fn with_tail(failure: Failure, tail: &[String]) -> Failure {
    if tail.is_empty() {
        return failure;
    }
    let sentence = failure.error.to_string();
    Failure { error: anyhow::anyhow!("{}", tail.join("\n")).context(sentence), ..failure }
}

fn missing(cmd: &Cmd) -> Failure {
    let program = cmd.program_name();
    let package = match program.as_str() {
        "ssh" | "ssh-keygen" | "ssh-add" | "ssh-agent" => "openssh-client",
        "ps" => "procps",
        "limactl" => "lima",
        other => other,
    };
    Failure::operation(format!("the program `{program}` is not installed, or not on PATH"))
        .hint(format!("install it: `brew install {package}`, or your system's package `{package}`"))
}

/// Replaces this process by `program`, with our own environment. Returns only when that failed.
pub fn replace(program: &std::path::Path, args: &[OsString]) -> Failure {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts programs")]
    let cause = Command::new(program).args(args).exec();
    Failure::from(anyhow::Error::new(cause).context(format!("failed to run `{}`", program.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner() -> Runner {
        let env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("GIVEN".into(), "1".into())];
        Runner::new(env, Interrupt::default(), None)
    }

    #[test]
    fn a_child_sees_what_it_is_given_and_nothing_of_ours() {
        // Whatever runs the tests has more variables than these.
        let seen = runner().read(&Cmd::new("env").env("OWN", "2")).expect("ran").text();
        let mut names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["GIVEN", "OWN", "PATH"]);
    }

    #[test]
    fn who_prints_faster_than_is_read_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let done = folder.path().join("done");
        let script = "i=0; while [ $i -lt 300000 ]; do echo; i=$((i + 1)); done; : >\"$1\"";
        let cmd = Cmd::new("sh").args(["-c", script, "sh"]).arg(&done);
        let mut ahead = None;
        let counted = runner().stream(&cmd, &mut |_, _| {
            ahead.get_or_insert_with(|| {
                std::thread::sleep(Duration::from_secs(2));
                done.exists()
            });
        });
        counted.expect("run to its end");
        assert_eq!((ahead, done.exists()), (Some(false), true));
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("saved");
        let save = |script: &str| runner().save(&Cmd::new("sh").args(["-c", script]), &path, 4);
        save("printf 1234").expect("saved");
        assert_eq!(std::fs::read(&path).expect("there"), b"1234");
        crate::disk::remove_file(&path).expect("removed");
        let failure = save("yes").expect_err("refused");
        assert_eq!(failure.error.to_string(), "`sh` printed more than 4 bytes");
        assert!(!path.exists());
    }
}
