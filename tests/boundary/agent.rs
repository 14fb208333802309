//! The agent filter between OpenSSH's own programs: `ssh` with our `Host` block, `machine connect`, `ssh-agent`, and three
//! `sshd`s of this computer that play the machine, a git host that it is granted, and one that it is not.
//!
//! Each refusal stands beside a success by the same means, so that a broken fixture cannot pass.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::folders::{give_away, is_root, put};
use crate::outcome::Outcome;
use crate::world::{World, skip, wait_until};

const SSHD: &str = "/usr/sbin/sshd";
const KNOWN: &str = "known";

/// A computer with an agent that holds two keys, of which one signs commits, and with the three hosts.
pub struct Stage {
    pub world: World,
    pub user: String,
    ports: [u16; 3],
    children: Vec<Child>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stage {
    /// `None` where there is no sshd.
    pub fn new() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            skip("there is no sshd here");
            return None;
        }
        let ports = [(); 3].map(|()| free_port());
        let user = if is_root() { "root".into() } else { own_name() };
        let mut stage = Self { world: World::new(), user, ports, children: Vec::new() };
        for key in ["machine", "git", "evil", "login", "work", "other"] {
            stage.make_key(key);
        }
        stage.start_hosts();
        stage.start_agent();
        stage.make_machine();
        Some(stage)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    pub fn public(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.path(key).with_extension("pub")).expect("a key");
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_string()
    }

    fn make_key(&self, name: &str) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "person@laptop", "-f"]).arg(self.path(name));
        assert!(command.status().expect("ssh-keygen").success());
    }

    fn start_hosts(&mut self) {
        if is_root() {
            std::fs::create_dir_all("/run/sshd").expect("sshd's own folder");
        }
        let keys = ["login", "work", "other"].map(|key| self.public(key)).join("\n");
        put(&self.path("authorized"), keys.as_bytes());
        let mut known = Vec::new();
        for (name, port) in ["machine", "git", "evil"].into_iter().zip(self.ports) {
            let options = [
                format!("Port={port}"),
                "ListenAddress=127.0.0.1".into(),
                format!("HostKey={}", self.path(name).display()),
                format!("AuthorizedKeysFile={}", self.path("authorized").display()),
                "PidFile=none".into(),
                "UsePAM=no".into(),
                "StrictModes=no".into(),
                "PermitRootLogin=prohibit-password".into(),
            ];
            let mut command = Command::new(SSHD);
            command.args(["-D", "-f", "/dev/null"]).args(options.iter().flat_map(|option| ["-o", option]));
            self.children.push(command.stderr(Stdio::null()).spawn().expect("sshd"));
            known.push(format!("[127.0.0.1]:{port} {}\n", self.public(name)));
        }
        put(&self.path(KNOWN), known.concat().as_bytes());
        for port in self.ports {
            wait_until("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
    }

    /// The keys belong to whoever runs `machine`; sshd has read its own before.
    fn start_agent(&mut self) {
        self.world.make_folder(&self.path("agent"));
        let mut command = self.world.command("/usr/bin/ssh-agent");
        command.arg("-D").arg("-a").arg(self.path("agent/socket"));
        self.children.push(command.stdout(Stdio::null()).spawn().expect("ssh-agent"));
        // The socket is there a moment before it takes connections.
        wait_until("the agent listens", || UnixStream::connect(self.path("agent/socket")).is_ok());
        for key in ["work", "other"] {
            give_away(&self.path(key));
            let mut add = self.with_agent("/usr/bin/ssh-add");
            assert_eq!(self.world.finish(add.arg("-q").arg(self.path(key))).code, 0);
        }
    }

    pub fn with_agent(&self, program: &str) -> Command {
        let mut command = self.world.command(program);
        command.env("SSH_AUTH_SOCK", self.path("agent/socket"));
        command
    }

    /// A machine, whose record then says that it is the first sshd.
    fn make_machine(&self) {
        let world = &self.world;
        world.write(".ssh/known_hosts", format!("127.0.0.1 {}\n", self.public("git")));
        let config = world.read(".config/machine/config.toml");
        let signing = format!("{config}\n[git]\nsigning_key = \"{}\"\n", self.public("work"));
        world.write(".config/machine/config.toml", signing);
        world.configure(&format!(
            "[hello]\nrepos = [\"ssh://{}@127.0.0.1/blog.git\"]\nsetup = false\n",
            self.user
        ));
        assert_eq!(world.finish(self.with_agent("machine").args(["up", "hello"])).code, 0);
        let path = ".local/state/machine/machines/hello/machine.json";
        let mut record: serde_json::Value = serde_json::from_str(&world.read(path)).expect("a record");
        record["port"] = self.ports[0].into();
        record["host_key"] = self.public("machine").into();
        world.write(path, record.to_string());
        let identity = world.home(".local/share/machine/lima/_config/user");
        std::fs::copy(self.path("login"), &identity).expect("copied");
        std::fs::set_permissions(&identity, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("mode");
        give_away(&identity);
    }

    /// ssh to the machine with these options and this command line, over our `Host` block.
    pub fn ssh(&self, options: &[&str], line: &str) -> Outcome {
        self.world.finish(&mut self.ssh_command(options, line))
    }

    /// As [`Self::ssh`], until what is told when the session ends: `connect` outlives its ssh by a moment.
    pub fn refused(&self, line: &str, reason: &str) -> Outcome {
        let running = self.world.start(&mut self.ssh_command(&[], line));
        running.wait_for(reason);
        running.wait()
    }

    pub fn ssh_command(&self, options: &[&str], line: &str) -> Command {
        let mut command = self.with_agent("/usr/bin/ssh");
        command.arg("-F").arg(self.world.home(".ssh/config.d/machine")).args(["-l", &self.user]);
        command.args(["-o", "BatchMode=yes"]).args(options).args(["machine-hello", line]);
        command
    }

    /// In the machine: a login at the host of this number.
    pub fn login(&self, host: usize, options: &str) -> String {
        format!(
            "/usr/bin/ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -o IdentityFile=none {options} -p {} {}@127.0.0.1 echo inside",
            self.path(KNOWN).display(),
            self.ports[host],
            self.user
        )
    }

    /// In the machine: a signature by a key, for a namespace.
    pub fn sign(&self, key: &str, namespace: &str) -> String {
        let public = self.path(key).with_extension("pub");
        format!("echo text | ssh-keygen -q -Y sign -n {namespace} -f {}", public.display())
    }

    /// What was asked, one line a request, the bare facts.
    fn log(&self) -> String {
        let text = self.world.read(".local/state/machine/machines/hello/agent.log");
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line"));
        let keys = ["request", "purpose", "user", "host", "verdict", "reason"];
        let said = lines.map(|line| {
            let words: Vec<&str> = keys.iter().filter_map(|key| line[*key].as_str()).collect();
            words.join(" ").replace(&self.user, "USER")
        });
        // The login to the machine itself looks for keys first.
        said.collect::<Vec<_>>().join("\n") + "\n"
    }

    /// The keys that the agent holds.
    fn held(&self) -> String {
        let outcome = self.world.finish(self.with_agent("/usr/bin/ssh-add").arg("-l"));
        outcome.stdout
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// What the login to the machine itself asks, each time: it finds no key, and needs none.
const OWN: &str = "bind the machine allowed\nlist allowed\n";

#[test]
fn logins_go_to_granted_hosts_only() {
    let Some(stage) = Stage::new() else { return };
    let listed = stage.ssh(&[], "ssh-add -l");
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 2), "{listed}");
    assert!(
        listed.stdout.contains("key 1 of the host") && !listed.stdout.contains("person@laptop"),
        "{listed}"
    );
    let granted = stage.ssh(&[], &stage.login(1, ""));
    assert_eq!(granted.stdout, "inside\n", "{granted}");
    let evil = stage.refused(&stage.login(2, ""), "is none that this project may log in to");
    assert_eq!((evil.code, evil.stdout.as_str()), (255, ""), "{evil}");
    assert!(evil.stderr.contains("warning: the agent refused `hello` a request"), "{evil}");
    // The agent itself would let the key in there.
    let mut direct = stage.with_agent("/bin/sh");
    assert_eq!(stage.world.finish(direct.arg("-c").arg(stage.login(2, ""))).stdout, "inside\n");
}

#[test]
fn another_user_is_refused_and_so_is_lending_on() {
    let Some(stage) = Stage::new() else { return };
    let other = stage.ssh(&[], &stage.login(1, "-l nobody"));
    assert_eq!(other.stdout, "", "{other}");
    let on = stage.login(1, "-A").replace("echo inside", "ssh-add -l");
    let lent_on = stage.refused(&on, "the agent was lent on to a further host");
    assert!(lent_on.stdout.is_empty() && lent_on.code != 0, "{lent_on}");
}

#[test]
fn only_git_is_signed_for() {
    let Some(stage) = Stage::new() else { return };
    let commit = stage.ssh(&[], &stage.sign("work", "git"));
    assert!(commit.stdout.starts_with("-----BEGIN SSH SIGNATURE-----"), "{commit}");
    for (key, namespace) in [("work", "file"), ("other", "git")] {
        let refused = stage.ssh(&[], &stage.sign(key, namespace));
        assert!(refused.code != 0 && refused.stdout.is_empty(), "{key} {namespace}: {refused}");
        assert!(refused.stderr.contains("agent refused operation"), "{refused}");
    }
}

#[test]
fn the_agent_cannot_be_changed() {
    let Some(stage) = Stage::new() else { return };
    let before = stage.held();
    assert_eq!(before.lines().count(), 2, "{before}");
    for line in
        ["ssh-add -D", "ssh-add -d work.pub", "SSH_ASKPASS_REQUIRE=force SSH_ASKPASS=/bin/echo ssh-add -x"]
    {
        let refused = stage.ssh(&[], &format!("cd {}; {line}", stage.path("").display()));
        assert!(refused.code != 0, "{line}: {refused}");
    }
    let smartcard = "SSH_ASKPASS_REQUIRE=force SSH_ASKPASS=/bin/echo ssh-add -s /usr/lib/libc.so.6";
    stage.refused(smartcard, "loading a smartcard's library is never granted");
    let add = "ssh-keygen -q -t ed25519 -N '' -f /tmp/added.$$ && ssh-add /tmp/added.$$; rm /tmp/added.$$*";
    stage.refused(add, "adding a key is never granted");
    assert_eq!(stage.held(), before);
}

#[test]
fn a_multiplexed_connection_is_no_way_around() {
    let Some(stage) = Stage::new() else { return };
    let control = format!("ControlPath={}", stage.path("agent/mux").display());
    let real = format!("ForwardAgent={}", stage.path("agent/socket").display());
    let master = ["-o", &control, "-o", "ControlMaster=yes", "-o", "ControlPersist=60"];
    assert_eq!(stage.ssh(&master, "true").code, 0);
    // The real agent is asked for, over the connection that is up; the filter answers.
    let over = ["-o", control.as_str(), "-o", real.as_str(), "-A"];
    let listed = stage.ssh(&over, "ssh-add -l");
    assert!(listed.stdout.contains("key 1 of the host"), "{listed}");
    assert_ne!(stage.ssh(&over, "ssh-add -D").code, 0);
    assert_eq!(stage.ssh(&over, &stage.login(2, "")).stdout, "");
    assert_eq!(stage.ssh(&over, &stage.login(1, "")).stdout, "inside\n");
    assert_eq!(stage.held().lines().count(), 2);
    let mut end = stage.world.command("/usr/bin/ssh");
    stage.world.finish(end.args(["-F", "none", "-o", &control, "-O", "exit", "machine-hello"]));
}

#[test]
fn after_the_session_nobody_answers() {
    let Some(stage) = Stage::new() else { return };
    let folder =
        std::fs::read_dir(stage.world.home(".local/share/machine/s")).expect("sockets").flatten().next();
    let socket = folder.expect("one machine").path().join("agent");
    let answers = || UnixStream::connect(&socket).is_ok();
    let ready = stage.path("agent/ready");
    let line = format!("touch {0}; while [ -e {0} ]; do sleep 0.1; done", ready.display());
    let session = stage.world.start(&mut stage.ssh_command(&[], &line));
    wait_until("the session is open", || ready.exists());
    assert!(answers());
    std::fs::remove_file(&ready).expect("removed");
    assert_eq!(session.wait().code, 0);
    wait_until("nobody serves", || !answers());
    assert!(socket.exists());
}

#[test]
fn the_log_has_every_request() {
    let Some(stage) = Stage::new() else { return };
    // Cloning asked nothing here: the guest's git is played.
    assert!(!stage.world.home(".local/state/machine/machines/hello/agent.log").exists());
    stage.ssh(&[], &stage.login(1, ""));
    stage.ssh(&[], &stage.login(2, ""));
    stage.ssh(&[], &stage.sign("work", "git"));
    stage.ssh(&[], &stage.sign("work", "file"));
    stage.ssh(&[], "ssh-add -D");
    let key = fingerprint(&stage, "evil");
    let evil = format!("a host with the key {key} is none that this project may log in to");
    let namespace = "a signature for `file` is not granted, only for `git`";
    let requests = [
        "bind 127.0.0.1 allowed\nlist allowed\nsign login USER 127.0.0.1 allowed\n".to_string(),
        format!("bind {key} refused {evil}\nlist refused {evil}\n"),
        "list allowed\nsign commit allowed\n".to_string(),
        format!("list allowed\nsign refused {namespace}\n"),
        // In today's words and in those of the first version of the protocol.
        "other refused removing keys is never granted\n".repeat(2),
    ];
    let expected = requests.map(|request| format!("{OWN}bind the machine allowed\n{request}"));
    assert_eq!(stage.log(), expected.concat());
}

pub fn fingerprint(stage: &Stage, key: &str) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(stage.path(key).with_extension("pub")).output();
    let text = String::from_utf8(output.expect("ssh-keygen").stdout).expect("text");
    text.split(' ').nth(1).expect("a fingerprint").to_string()
}
