"""The part of the double that lives as long as its virtual machine: seed disk, QEMU, the waits, and the way down.

Enters: an instance's folder, name, configuration and ssh port. Leaves: the files of Lima's host agent, and its events.
"""

import datetime
import hashlib
import json
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import yaml

from double.log import Failure, log

# In plain mode, where some of the forwards are static.
ALLOWED = " Static port forwarding is allowed."
PLAIN = (
    "Running in plain mode. Mounts, dynamic port forwarding, containerd, etc. will be ignored."
    " Guest agent will not be running."
)
FIRMWARE = ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd"]
SEED = Path(__file__).with_name("seed")
DEVICES = """
  -device qemu-xhci,id=usb-bus -drive file={dir}/disk,if=none,discard=on,id=boot-disk
  -device virtio-blk-pci,drive=boot-disk,bootindex=1 -boot order=c,splash-time=0,menu=on
  -drive id=cdrom0,if=none,format=raw,readonly=on,file={dir}/cidata.iso
  -device virtio-scsi,id=scsi0 -device scsi-cd,bus=scsi0.0,drive=cdrom0
"""
CHANNELS = """
  -netdev user,id=net0,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:{port}-:22
  -device virtio-net-pci,netdev=net0,mac={mac} -device virtio-rng-pci -audiodev none,id=snd0
  -display none -vga none -parallel none
  -chardev socket,id=char-serial,path={dir}/serial.sock,server=on,wait=off,logfile={dir}/serial.log
  -serial chardev:char-serial
  -chardev socket,id=char-serial-virtio,path={dir}/serialv.sock,server=on,wait=off,logfile={dir}/serialv.log
  -device virtio-serial-pci,id=virtio-serial0,max_ports=1
  -device virtconsole,chardev=char-serial-virtio,id=console0
  -chardev socket,id=char-qmp,path={dir}/qmp.sock,server=on,wait=off -qmp chardev:char-qmp
  -name lima-{name} -pidfile {dir}/qemu.pid
"""


# The seed disk.


def mac(folder):
    """An address that stays the instance's own."""
    machine = Path("/etc/machine-id").read_text(encoding="ascii") if Path("/etc/machine-id").exists() else ""
    digest = hashlib.sha256(f"{machine.strip()}{folder}".encode()).hexdigest()
    return "52:55:55:" + ":".join(digest[i : i + 2] for i in (0, 2, 4))


def cloud_config(config, public_key):
    """The part of user-data that is the same at each start."""
    user, sudo = config["user"], config["user"]["passwordlessSudo"]
    account = {"name": user["name"], "uid": str(user["uid"]), "gecos": user["comment"], "homedir": user["home"]}
    account |= {"shell": user["shell"], "sudo": "ALL=(ALL) NOPASSWD:ALL" if sudo else "ALL=(ALL) ALL"}
    account |= {"lock_passwd": bool(sudo), "ssh-authorized-keys": [public_key]}
    data = {"growpart": {"mode": "auto", "devices": ["/"]}, "timezone": config["timezone"]}
    data["users"] = [{key: value for key, value in account.items() if value != ""}]
    certificates = config["caCerts"]
    if certificates.get("certs"):
        data["ca_certs"] = {"remove_defaults": certificates["removeDefaults"], "trusted": certificates["certs"]}
    data["bootcmd"] = [(SEED / "wait-for-address.sh").read_text(encoding="utf-8")]
    return {key: value for key, value in data.items() if value}


class Layout(yaml.SafeDumper):
    """Writes YAML as Lima's template lays it out: a sealed guest reads the lines of it, not the YAML."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, indentless=False)

    def represent_words(self, text):
        style = "|" if "\n" in text else '"' if text.startswith("ssh-") and " " in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Layout.add_representer(str, Layout.represent_words)


def user_data(data):
    """Only the commands of a boot stand at the margin."""
    commands = "".join("- |\n" + textwrap.indent(command, "  ") for command in data.get("bootcmd", ()))
    others = {key: value for key, value in data.items() if key != "bootcmd"}
    text = yaml.dump(others, Dumper=Layout, sort_keys=False, width=math.inf)
    return "#cloud-config\n" + text + ("bootcmd:\n" + commands if commands else "")


def write_seed(folder, name, hostname, config, public_key):
    """Makes cidata.iso, with a new instance-id, which it gives back."""
    iid = f"iid-{int(time.time())}"
    data = cloud_config(config, public_key)
    script = {"path": "/var/lib/cloud/scripts/per-boot/00-lima.boot.sh", "owner": "root:root", "permissions": "0755"}
    data["write_files"] = [{"content": (SEED / "per-boot.sh").read_text(encoding="utf-8"), **script}]
    card = {"match": {"macaddress": mac(folder)}, "dhcp4": True, "set-name": "eth0", "dhcp-identifier": "mac"}
    card["dhcp4-overrides"] = {"route-metric": 200}
    if config.get("dns"):
        card["nameservers"] = {"addresses": config["dns"]}
        data |= {"manage_resolv_conf": True, "resolv_conf": {"nameservers": list(config["dns"])}}
    words = {"iid": iid, "name": name, "user": config["user"], "sudo": int(config["user"]["passwordlessSudo"]) or ""}
    files = {
        "user-data": user_data(data),
        "meta-data": f"instance-id: {iid}\nlocal-hostname: {hostname}\n",
        "network-config": yaml.safe_dump({"version": 2, "ethernets": {"eth0": card}}, sort_keys=False),
        "lima.env": (SEED / "lima.env").read_text(encoding="utf-8").format(**words),
        "param.env": "".join(f"PARAM_{key}={value}\n" for key, value in config.get("param", {}).items()),
        "etc_environment": "\n".join(["#LIMA-START", *map("=".join, config.get("env", {}).items()), "#LIMA-END", ""]),
        "boot.sh": (SEED / "boot.sh").read_text(encoding="utf-8"),
    }
    for index, step in enumerate(config.get("provision", [])):
        files[f"provision.system/{index:08}"] = step["script"]
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = Path(root, path)
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
            target.chmod(0o700)
        subprocess.run(["genisoimage", "-quiet", "-R", "-V", "cidata", "-o", folder / "cidata.iso", root], check=True)
    return iid


# QEMU.


def accelerator():
    if Path("/dev/kvm").exists():
        return "kvm"
    missing = "stat /dev/kvm: no such file or directory"
    log("warning", "/dev/kvm is not available. Disabling KVM. Expect very poor performance.", error=missing)
    return "tcg"


def firmware(exe):
    beside = [Path.home() / ".local", Path(exe).parent.parent]
    for path in [f"{place}/share/qemu/edk2-x86_64-code.fd" for place in beside] + FIRMWARE:
        if Path(path).exists():
            log("info", f"Using system firmware (`{path}`)")
            return ["-drive", f"if=pflash,format=raw,readonly=on,file={path}"]
    raise Failure("could not find firmware for `x86_64` (hint: try setting `firmware.legacyBIOS` to `true`)")


def qemu_command(folder, name, config, memory, port):
    """The command line of Lima's QEMU driver, after the questions that driver asks QEMU."""
    program, *given = shlex.split(os.environ.get("QEMU_SYSTEM_X86_64") or "qemu-system-x86_64")
    if given:
        shown = f"Specifying args ([{' '.join(given)}]) via $QEMU_SYSTEM_X86_64"
        log("warning", f"{shown} is supported only for debugging!")
    exe = shutil.which(program)
    if not exe:
        raise Failure(f'exec: "{program}": executable file not found in $PATH')
    questions = ("-M none -accel help", "-M none -netdev help", "-machine help", "-cpu help -machine q35", "--version")
    helps = [subprocess.run([exe, *q.split()], capture_output=True, text=True, check=False).stdout for q in questions]
    accel = accelerator()
    if accel not in helps[0]:
        raise Failure(f"accelerator `{accel}` is not supported by {exe}")
    args = list(given)

    def add(key, value):
        if key in given:
            taken = given[given.index(key) + 1]
            log("warning", f"Not adding QEMU argument `{key}` `{value}`, as it conflicts with `{key}` `{taken}`")
        else:
            args.extend((key, value))

    add("-m", str(memory >> 20))
    add("-cpu", "host" if accel == "kvm" else "max")
    add("-machine", "q35,accel=kvm" if accel == "kvm" else "q35,vmport=off")
    if accel == "tcg":
        add("-accel", "tcg,thread=multi,tb-size=512")
        args += ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"]
    add("-smp", f"{config['cpus']},sockets=1,cores={config['cpus']},threads=1")
    args += [] if config["firmware"]["legacyBIOS"] else firmware(exe)
    places = {"dir": folder, "port": port, "mac": mac(folder), "name": name}
    args += [word.format(**places) for word in DEVICES.split()]
    for key, file in (("-kernel", "kernel"), ("-append", "kernel.cmdline"), ("-initrd", "initrd")):
        if (folder / file).exists():
            add(key, (folder / file).read_text(encoding="utf-8") if key == "-append" else str(folder / file))
    return [exe, *args, *(word.format(**places) for word in CHANNELS.split())]


def power_down(folder, qemu):
    """Presses the power button and waits; kills what does not listen."""
    log("info", "Shutting down QEMU with the power button")
    try:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(f"{folder}/qmp.sock")
            log("info", "Sending QMP system_powerdown command")
            for command in ("qmp_capabilities", "system_powerdown"):
                monitor.recv(4096)
                monitor.sendall(json.dumps({"execute": command}).encode())
            qemu.wait(180)
            log("info", "QEMU has exited")
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"dial unix {folder}/qmp.sock: connect: {getattr(error, 'strerror', error)}".lower()
        log("warning", f"failed to open the QMP socket `{folder}/qmp.sock`, forcibly killing QEMU", error=reason)
        log("info", "QEMU has already exited" if qemu.poll() is not None else "QEMU has exited, after killing forcibly")
        qemu.kill()
        (folder / "qemu.pid").unlink(missing_ok=True)


# ssh and the host agent itself.


def ssh_options(folder, config):
    """The options of every ssh, as KEY=VALUE."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    ciphers = "aes128-gcm@openssh.com,aes256-gcm@openssh.com" if " aes " in flags else "chacha20-poly1305@openssh.com"
    common = "NoHostAuthenticationForLocalhost=yes PreferredAuthentications=publickey Compression=no BatchMode=yes"
    options = [f'IdentityFile="{folder.parent}/_config/user"', "StrictHostKeyChecking=no"]
    options += ["UserKnownHostsFile=/dev/null", *common.split(), "IdentitiesOnly=yes", f'Ciphers="^{ciphers}"', f"User={config['user']['name']}"]
    options += ["ControlMaster=auto", f'ControlPath="{folder}/ssh.sock"', "ControlPersist=yes"]
    return options + ["ForwardAgent=yes"] * config["ssh"]["forwardAgent"]


def ssh_command(options, port, *rest):
    """The command line of an ssh with these options; the rest stands before the address, what follows -- after it."""
    cut = rest.index("--") if "--" in rest else len(rest)
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", "-F", "/dev/null", *words, *rest[:cut], "-p", str(port), "127.0.0.1", *rest[cut:]]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class HostAgent:
    """Runs one virtual machine from its start to its end."""

    def __init__(self, folder, name, hostname, config):
        self.folder, self.name, self.hostname, self.config = folder, name, hostname, config
        self.port = config["ssh"]["localPort"] or free_port()
        self.options = ssh_options(folder, config)
        self.stopping = threading.Event()

    def emit(self, **status):
        moment = datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
        print(json.dumps({"time": moment, "status": status}, separators=(",", ":")), flush=True)

    def run(self, memory, public_key):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            self.iid = write_seed(self.folder, self.name, self.hostname, self.config, public_key)
            self.write_ssh_config()
            self.listen()
            for leftover in ("serial.sock", "serial.log", "serialv.sock", "serialv.log", "qmp.sock"):
                (self.folder / leftover).unlink(missing_ok=True)
            command = qemu_command(self.folder, self.name, self.config, memory, self.port)
            self.attend(command)
        finally:
            self.emit(exiting=True)
            (self.folder / "ha.sock").unlink(missing_ok=True)

    def write_ssh_config(self):
        lines = [option.replace("=", " ", 1) for option in self.options]
        path = self.folder / "ssh.config"
        path.write_text(
            "# This SSH config file can be passed to 'ssh -F'.\n"
            "# This file is created by Lima, but not used by Lima itself currently.\n"
            "# Modifications to this file will be lost on restarting the Lima instance.\n"
            + "\n  ".join([f"Host {self.hostname}", *lines, "Hostname 127.0.0.1", f"Port {self.port}"]) + "\n",
            encoding="utf-8",
        )
        path.chmod(0o600)

    def listen(self):
        """Answers every connection to ha.sock with the ssh port."""
        path = self.folder / "ha.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        log("info", f"hostagent socket created at {path}")

        def answer():
            while True:
                with listener.accept()[0] as connection:
                    body = json.dumps({"sshLocalPort": self.port})
                    connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}".encode())

        threading.Thread(target=answer, daemon=True).start()

    def attend(self, command):
        log("info", f"Starting QEMU (hint: to watch the boot progress, see `{self.folder}/serial*.log`)")
        log("debug", f"qCmd.Args: [{' '.join(command)}]")
        pipe = subprocess.PIPE
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, process_group=0)
        for kind, stream in (("stdout", qemu.stdout), ("stderr", qemu.stderr)):
            threading.Thread(target=self.repeat, args=(kind, stream), daemon=True).start()
        self.emit(sshLocalPort=self.port)
        threading.Thread(target=self.wait_for_guest, daemon=True).start()
        while qemu.poll() is None and not self.stopping.wait(0.2):
            pass
        if self.stopping.is_set():
            log("info", "Received SIGINT, shutting down the host agent")
        else:
            log("info", f"Driver stopped due to error: `exit status {qemu.returncode}`")
        log("info", "Shutting down the host agent")
        if (self.folder / "ssh.sock").exists():
            subprocess.run(ssh_command(self.options, self.port, "-O", "exit"), capture_output=True, check=False)
        power_down(self.folder, qemu)

    def repeat(self, kind, stream):
        for line in stream:
            log("debug", f"qemu[{kind}]: {line.rstrip()}")

    def wait_for_guest(self):
        log("info", PLAIN + ALLOWED * bool(self.config.get("portForwards")))
        alone = ["ControlMaster=no", "ControlPath=none", "ControlPersist=no"]
        alone += [option for option in self.options if not option.startswith("Control")]
        done = f'test "$(cat /run/lima-boot-done 2>/dev/null)" = {self.iid}'
        self.require("essential requirement 1 of 2", "ssh", alone, "true")
        self.require("essential requirement 2 of 2", "Explicitly start ssh ControlMaster", self.options, "true")
        self.forward_ports()
        self.require("final requirement 1 of 1", "boot scripts must have finished", self.options, done)
        self.emit(running=True, sshLocalPort=self.port)

    def forward_ports(self):
        """Sets the static forwards up, once: none for a port with the number of our own, and one on the host for each port of the guest."""
        rules = self.config.get("portForwards", [])
        for rule in rules:
            guest = rule["guestPort"]
            if guest == self.port:
                continue
            first = next(other for other in rules if other["guestPort"] == guest)
            local, remote = f"127.0.0.1:{first['hostPortRange'][0]}", f"{rule['guestIP']}:{guest}"
            log("info", f"Setting up static TCP forwarding from {remote} to {local}")
            words = ["-T", "-O", "forward", "-L", f"{local}:{remote}", "-N", "-f"]
            done = subprocess.run(ssh_command(self.options, self.port, *words, "--"), capture_output=True, check=False)
            if done.returncode:
                log("warning", f"failed to set up static TCP forwarding {remote} -> {local}", error=str(done.stderr))

    def require(self, count, what, options, command):
        log("info", f"Waiting for the {count}: `{what}`")
        call, nothing = ssh_command(options, self.port, "--", command), subprocess.DEVNULL
        while subprocess.run(call, stdin=nothing, stdout=nothing, stderr=nothing, check=False).returncode:
            time.sleep(3)
        log("info", f"The {count} is satisfied")
