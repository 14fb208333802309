"""Instances on disk: their folders, their state as Lima sees it, and what a new one is made of.

Enters: a name. Leaves: what `list` shows of it; or its files. Knows no command.
"""

import hashlib
import json
import os
import re
import socket
import subprocess
from collections import namedtuple
from pathlib import Path

from double.config import human, load, size
from double.log import Failure, log

HOME = Path(os.path.realpath(os.environ.get("LIMA_HOME") or Path.home() / ".lima"))
CONFIG = HOME / "_config"
Problem = namedtuple("Problem", "text shape", defaults=({},))  # An error, and what Lima makes of it in JSON.


def hostname(name):
    return "lima-" + re.sub(r"[._]", "-", name)


def instances():
    folders = HOME.iterdir() if HOME.exists() else ()
    return sorted(path.name for path in folders if path.is_dir() and path.name[0] not in "._")


def not_there(path):
    return Problem(f"open {path}: no such file or directory", {"Op": "open", "Path": str(path), "Err": 2})


def read_pid(path, problems):
    """The process of a pid file, 0 without one. The file of a dead process is removed."""
    try:
        text = path.read_text(encoding="ascii").strip()
        os.kill(int(text), 0)
    except FileNotFoundError:
        return 0
    except ProcessLookupError:
        path.unlink(missing_ok=True)
        return 0
    except ValueError:
        shape = {"Func": "Atoi", "Num": text, "Err": {}}
        problems.append(Problem(f"strconv.Atoi: parsing {json.dumps(text)}: invalid syntax", shape))
        return 0
    return int(text)


def ask_host_agent(path, problems):
    """The ssh port as the host agent knows it, 0 where it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(str(path))
            return json.loads(agent.recv(4096).split(b"\r\n\r\n")[1])["sshLocalPort"]
    except FileNotFoundError:
        problems.append(Problem(f"failed to connect to `{path}`: stat {path}: no such file or directory"))
    except (OSError, ValueError, IndexError):
        question = 'Get "http://lima-hostagent/v1/info"'
        reason = f"{question}: dial unix {path}: connect: connection refused"
        problems.append(Problem(f"failed to get Info from `{path}`: {reason}"))
    return 0


def inspect(name):
    """What `list` shows of an instance, and its problems; FileNotFoundError without lima.yaml."""
    folder, problems = HOME / name, []
    inst = {"name": name, "hostname": hostname(name), "status": "", "dir": str(folder), "vmType": "", "arch": ""}
    inst |= {"protected": (folder / "protected").exists(), "limaVersion": ""}
    try:
        config = load(folder / "lima.yaml", name, CONFIG)
    except Failure as error:
        return inst, [Problem(str(error))]
    inst |= {"vmType": config["vmType"], "arch": config["arch"], "cpus": config["cpus"], "config": config}
    inst |= {"memory": size(config["memory"]), "disk": size(config["disk"]), "sshAddress": "127.0.0.1"}
    inst |= {"limaVersion": "v2.2.0", "sshConfigFile": f"{folder}/ssh.config"}
    inst["sshLocalPort"] = config["ssh"]["localPort"]
    agent = read_pid(folder / "ha.pid", problems)
    if agent:
        inst["sshLocalPort"] = ask_host_agent(folder / "ha.sock", problems) or inst["sshLocalPort"]
    if not inst["sshLocalPort"] and (folder / "ssh.config").exists():
        inst["sshLocalPort"] = int((folder / "ssh.config").read_text(encoding="utf-8").rsplit("Port ")[1])
    driver = read_pid(folder / "qemu.pid", problems)
    if not problems and bool(agent) != bool(driver):
        running, not_running = ("host agent", "driver") if agent else ("qemu driver", "host agent")
        problems.append(Problem(f"{running} is running but {not_running} is not"))
    inst["status"] = "Broken" if problems else "Running" if agent else "Stopped"
    inst |= {"hostAgentPID": agent, "driverPID": driver, "param": config.get("param")}
    return {key: value for key, value in inst.items() if value or value is False or value == ""}, problems


def existing(name):
    """An instance that must be there."""
    try:
        return inspect(name)
    except FileNotFoundError:
        raise Failure(not_there(HOME / name / "lima.yaml").text) from None


def reconcile():
    """Stands for the networks Lima looks after at each change: their file, and a word on damaged instances."""
    CONFIG.mkdir(parents=True, exist_ok=True)
    (CONFIG / "networks.yaml").touch()
    for name in instances():
        path = HOME / name / "lima.yaml"
        if not path.exists():
            log("warning", f"Skipping instance `{name}` during network reconcile: {not_there(path).text}")


def broken(name):
    inst = {"name": name, "hostname": "", "status": "Broken", "dir": str(HOME / name), "vmType": "", "arch": ""}
    return inst | {"protected": False, "limaVersion": ""}, [not_there(HOME / name / "lima.yaml")]


def public_key():
    """The key all instances of this home share, made at the first need."""
    CONFIG.mkdir(parents=True, exist_ok=True)
    if not (CONFIG / "user.pub").exists():
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-C", "lima", "-f", CONFIG / "user"], check=True)
    return (CONFIG / "user.pub").read_text(encoding="utf-8").strip()


def write_read_only(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o444)


def prepare(folder, name, config):
    """Brings image, kernel and initrd into the instance, and the disk to its size."""
    if not (folder / "disk").exists():
        skipped = [f"skipped to download: `{i['location']}`: unsupported arch: `{i['arch']}`" for i in config["images"]]
        image = next((image for image in config["images"] if image["arch"] == config["arch"]), None)
        if not image:
            raise Failure(f"[{' '.join(skipped)}]")
        fetch(image, "the image", folder / "image")
        if "kernel" in image:
            fetch(image["kernel"], "the kernel", folder / "kernel")
            (folder / "kernel.cmdline").write_text(image["kernel"].get("cmdline", ""), encoding="utf-8")
        if "initrd" in image:
            fetch(image["initrd"], "the initrd", folder / "initrd")
        (folder / "image").rename(folder / "disk")
    asked = ["qemu-img", "info", "--output=json", folder / "disk"]
    disk = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)
    now, wanted = disk["virtual-size"], size(config["disk"])
    if now != wanted:
        log("info", f"Resize instance {name}'s disk from {human(now)} to {human(wanted)}")
        if wanted < now:
            raise Failure("disk shrinking is not supported")
        subprocess.run(["qemu-img", "resize", "-qf", disk["format"], folder / "disk", str(wanted)], check=True)


def fetch(file, what, target):
    source, digest = re.sub("^file://", "", file["location"]), file.get("digest", "")
    log("info", f"Attempting to download {what}", location=file["location"], arch=file["arch"], digest=digest)
    path, wrong = Path(source).expanduser(), f"failed to download `{file['location']}`: "
    if not path.exists():
        raise Failure(f"{wrong}failed to open source {path}: {not_there(path).text}")
    if digest:
        kind = digest.split(":")[0]
        with path.open("rb") as stream:
            actual = f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"
        if actual != digest:
            raise Failure(f"{wrong}expected digest `{digest}`, got `{actual}`")
    subprocess.run(["cp", "--sparse=auto", "--reflink=auto", "--no-preserve=all", path, target], check=True)
    log("info", f"Downloaded {what} from `{file['location']}`")
