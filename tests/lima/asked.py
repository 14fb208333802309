"""One limactl that is asked questions: its own home, faked QEMU and ssh, and answers without place and moment.

Enters: the path of a limactl. Leaves: text two programs can be compared by. Knows no question.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

FAKES = Path(__file__).resolve().with_name("fake-tools")
# What depends on the host's processor, or is printed only sometimes because Lima reads two logs at once.
NOISE = (
    r"Ciphers|GSSAPIAuthentication|Not adding QEMU argument|/dev/kvm|is supported only for debugging"
    r"|final requirement 1 of 1 is satisfied|QEMU has (already )?exited|SSH Local Port"
)


YAML = """\
# machine 01234567-89ab-cdef-0123-456789abcdef
minimumLimaVersion: 2.2.0
vmType: qemu
arch: x86_64
plain: true
images:
- location: DIR/image.raw
  arch: x86_64
  kernel: {location: DIR/vmlinuz, cmdline: root=/dev/vda rw console=ttyS0}
  initrd: {location: DIR/initrd}
cpus: 2
memory: 1GiB
disk: 8MiB
mounts: []
networks: []
portForwards: []
containerd: {system: false, user: false}
hostResolver: {enabled: false}
propagateProxyEnv: false
dns: [192.168.5.3]
ssh: {localPort: PORT, forwardAgent: false, forwardX11: false, loadDotSSHPubKeys: false}
user: {name: dev, comment: "", home: /home/dev, shell: /bin/bash, uid: 1000}
timezone: ""
firmware: {legacyBIOS: true}
video: {display: none}
env: {GREETING: hello}
provision:
- mode: system
  script: |
    #!/bin/sh
    echo "{{.Name}} of {{.User}} & <others>" >/root/mark
- script: |
    #!/bin/sh
    true
"""

LITTLE = """\
plain: true
images: [{location: DIR/image.qcow2}]
hostResolver: {enabled: false}
propagateProxyEnv: false
"""


class Lima:
    """One limactl with a home of its own; every answer is text that does not depend on the place or the moment."""

    def __init__(self, program):
        self.program = program
        self.dir = Path(tempfile.mkdtemp(prefix="lc.", dir="/tmp"))
        self.home = self.dir / "h"
        self.port = free_port()
        binaries = self.dir / "bin"
        binaries.mkdir()
        for name in ("ssh", "qemu-system-x86_64"):
            (binaries / name).symlink_to(FAKES)
        for name in ("image.raw", "vmlinuz", "initrd"):
            (self.dir / name).write_bytes(name.encode().ljust(4 << 20 if name == "image.raw" else 4096, b"\0"))
        self.env = dict(os.environ, LIMA_HOME=str(self.home), CONTRACT_LOG=str(self.dir / "calls"))
        self.env["PATH"] = f"{binaries}:{os.environ['PATH']}"
        self.env["QEMU_SYSTEM_X86_64"] = f"{binaries}/qemu-system-x86_64 -machine q35 -accel tcg -cpu max"
        for name in ("COLORTERM", "FAKE_QEMU", "FAKE_SSH", "http_proxy", "https_proxy", "SSH"):
            self.env.pop(name, None)

    def run(self, *command, **env):
        environment = {**self.env, **env}
        return subprocess.run(command, env=environment, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)  # fmt: skip

    def ask(self, *args, wrap=(), **env):
        """Runs limactl and gives its exit status and what it printed."""
        try:
            done = self.run(*wrap, self.program, *args, **env)
        except subprocess.TimeoutExpired:
            return "no end within a minute"
        return self.plain(f"exit {done.returncode}\n{indent('out', done.stdout)}{indent('err', done.stderr)}")

    def list(self, *args, config=False):
        """The list: one object with sorted keys a line; the configurations only where they are asked for."""
        done = self.run(self.program, "list", *(args or ("--format", "{{json .}}")))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            (line.get("config") or {}).get("containerd", {}).pop("archives", None)
            if not config:
                line["config"] = sorted(line.get("config") or [])
        text = "\n".join(json.dumps(line, sort_keys=True, indent=1 if config else None) for line in lines)
        return self.plain(f"exit {done.returncode}\n{text}\n{indent('err', done.stderr)}")

    def write(self, name, text=YAML):
        """Writes a template and gives its path."""
        path = self.dir / name
        path.write_text(text.replace("DIR", str(self.dir)).replace("PORT", str(self.port)), encoding="utf-8")
        return str(path)

    def create(self, name, text=YAML, *more):
        return self.ask("create", "--tty=false", *more, "--name", name, self.write(f"{name}.yaml", text))

    def tree(self):
        """All files below the home, with kind and rights."""
        before, rows = None, []
        while rows != before:  # A host agent may still be on its way out.
            before = rows
            time.sleep(0.3)
            kinds = [(path, path.lstat() if path.exists() else None) for path in sorted(self.home.rglob("*"))]
            rows = [f"{stat.st_mode:06o} {path.relative_to(self.home)}" for path, stat in kinds if stat]
        return "\n".join(rows)

    def calls(self, name):
        """The calls of a fake since the last time, one argument a line."""
        log = self.dir / "calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        calls = [json.loads(line) for line in lines]
        text = "\n\n".join("\n".join(call) for call in calls if call[0] == name)
        return self.plain(text.replace("\n-o\n", "\n-o "))

    def pid(self, name, kind):
        return int((self.home / name / f"{kind}.pid").read_text(encoding="ascii"))

    def plain(self, text):
        """Takes the place and the moment out of a text."""
        for pattern, replacement in (
            (str(self.dir), "$DIR"),
            (str(self.port), "PORT"),
            (r',?"?time"?[=:]"[^"]*" ?', ""),
            (r"(failed to unmarshal YAML \([^)]*\)): (?:[^\"\\]|\\.)*", r"\1: REASON"),
            (r"\biid-\d+", "IID"),
            (r"52:55:55(:\w\w){3}", "MAC"),
            (r"process \d+", "process PID"),
            (r"PID\": \d+", 'PID": "a number"'),
            (r"127.0.0.1:\d+-:22", "127.0.0.1:PORT-:22"),
            (r"ssh-ed25519 \S+", "ssh-ed25519 KEY"),
            (r"(Host(OS|Arch)\": )\"\w+\"", r'\1"HOST"'),
        ):
            text = re.sub(pattern, replacement, text)
        return "\n".join(line for line in text.splitlines() if not re.search(NOISE, line))

    def close(self):
        """Ends what this home has running, then removes it."""
        for pidfile in self.home.glob("*/*.pid"):
            try:
                os.kill(int(pidfile.read_text(encoding="ascii")), signal.SIGKILL)
            except (ValueError, ProcessLookupError, FileNotFoundError):
                continue
        time.sleep(0.2)
        shutil.rmtree(self.dir, ignore_errors=True)


def indent(name, text):
    return "".join(f"{name}| {line}\n" for line in text.splitlines())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
