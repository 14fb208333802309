"""The configuration of an instance as Lima sees it: lima.yaml, the user's other files, and the defaults.

Enters: the path of a lima.yaml. Leaves: one mapping with every key that matters, or a Failure in Lima's words.
"""

import os
import pwd
import re

import yaml

from double.log import Failure

MODES = "`system`, `user`, `boot`, `data`, `dependency`, `ansible`, or `yq`"
TYPES = {"cpus": int, "plain": bool, "images": list, "provision": list, "env": dict, "ssh": dict, "user": dict}
DEFAULTS = """
  {vmType: qemu, os: Linux, arch: x86_64, disk: 100GiB, mountInotify: false, rosetta: {},
  ssh: {localPort: 0, loadDotSSHPubKeys: false, forwardAgent: false, forwardX11: false, forwardX11Trusted: false},
  firmware: {legacyBIOS: false}, audio: {device: "", interface: ""}, video: {display: none, vnc: {}},
  upgradePackages: false, guestInstallPrefix: /usr/local, containerd: {system: false, user: true},
  hostResolver: {enabled: true, ipv6: false}, propagateProxyEnv: true, caCerts: {removeDefaults: false}, plain: false,
  timezone: "", nestedVirtualization: false, tpm: false}
"""


def size(text):
    """Bytes of a size such as 4GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", str(text).lower())
    if not found:
        raise Failure(f"invalid size: '{text}'")
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2] or " "))


def human(number):
    power = max(p for p in range(5) if number >= 1024**p or p == 0)
    return f"{number / 1024**power:.4g}{['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}"


def parse(text, what):
    try:
        config = yaml.safe_load(text) or {}
        if not isinstance(config, dict):
            raise yaml.YAMLError("mapping is expected")
        for key, kind in TYPES.items():
            if not isinstance(config.get(key) or kind(), kind):
                raise yaml.YAMLError(f"cannot unmarshal {key}")
        return config
    except yaml.YAMLError as error:
        raise Failure(f"failed to unmarshal YAML ({what}): {error}") from error


def merge(over, under):
    """The first wins; mappings are merged, lists joined."""
    both = {**under, **{key: value for key, value in over.items() if value is not None}}
    for key in over.keys() & under.keys():
        if isinstance(over[key], dict) and isinstance(under[key], dict):
            both[key] = merge(over[key], under[key])
        elif isinstance(over[key], list) and isinstance(under[key], list):
            both[key] = over[key] + under[key]
    return both


def load(path, name, folder):
    """The configuration of an instance with what the user's other files and Lima add to it."""
    config = parse(path.read_text(encoding="utf-8"), f"main file `{path}`")
    for kind, file in (("default", folder / "default.yaml"), ("override", folder / "override.yaml")):
        if file.exists():
            other = parse(file.read_text(encoding="utf-8"), f"{kind} file `{file}`")
            config = merge(config, other) if kind == "default" else merge(other, config)
    return fill(config, name)


def fill(config, name):
    account = pwd.getpwuid(os.getuid())
    user = {"name": account.pw_name, "comment": account.pw_gecos.split(",")[0], "uid": account.pw_uid}
    user |= {"home": f"/home/{account.pw_name}.guest", "shell": "/bin/bash", "passwordlessSudo": True}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    computer = {"cpus": min(4, os.cpu_count()), "memory": human(min(4 << 30, memory // 2))}
    full = merge(config, {**yaml.safe_load(DEFAULTS), **computer, "user": user})
    user = full["user"]
    words = {"Name": name, "UID": user["uid"], "User": user["name"], "Home": user["home"]}
    words["Hostname"] = "lima-" + re.sub(r"[._]", "-", name)
    for image in full.get("images") or []:
        image.setdefault("arch", full["arch"])
        for part in {"kernel", "initrd"} & image.keys():
            image[part].setdefault("arch", image["arch"])
    for step in full.get("provision") or []:
        step.setdefault("mode", "system")
        step["script"] = expand(step["script"], words)
    for rule in full.get("portForwards") or []:
        fill_forward(rule)
    if full["plain"]:
        full |= {"timezone": "", "mounts": [], "containerd": {"system": False, "user": False}}
        full["portForwards"] = [rule for rule in full.get("portForwards") or [] if rule.get("static")]
    shown = {"portForwards", "mounts", "networks", "env", "param", "dns", "probes", "images", "provision"}
    return {key: value for key, value in full.items() if value or key not in shown}


def fill_forward(rule):
    """What Lima adds to a rule: the guest's loopback, the same port on both sides, every protocol."""
    zero = rule.get("guestIPMustBeZero") or rule.get("guestIP") == "0.0.0.0"
    rule.setdefault("guestIP", "0.0.0.0" if zero else "127.0.0.1")
    guest = [rule["guestPort"]] * 2 if rule.get("guestPort") else [1, 65535]
    rule |= {"guestIPMustBeZero": bool(rule.get("guestIPMustBeZero", zero)), "hostIP": rule.get("hostIP", "127.0.0.1")}
    rule.setdefault("guestPortRange", guest)
    host = [rule["hostPort"]] * 2 if rule.get("hostPort") else rule["guestPortRange"]
    rule.setdefault("hostPortRange", host)
    rule.setdefault("proto", "any")


def expand(text, words):
    """A script with Lima's {{.Words}} replaced."""
    return re.sub(r"\{\{ *\.(\w+) *\}\}", lambda found: str(words.get(found[1], found[0])), text)


def check(config):
    """Refuses what Lima refuses, in its words."""
    if not config.get("images"):
        raise Failure("field `images` must be set")
    for key in ("memory", "disk"):
        try:
            size(config[key])
        except Failure as error:
            raise Failure(f"field `{key}` has an invalid value: {error}") from error
    for index, rule in enumerate(config.get("portForwards", [])):
        if rule.get("guestPort") == 22:
            names = ("guestPort", "guestPortRange[0]", "guestPortRange[1]")
            raise Failure("\n".join(f"field `portForwards[{index}].{name}` must not be 22" for name in names))
    for index, step in enumerate(config.get("provision", [])):
        if f"`{step['mode']}`" not in MODES:
            raise Failure(f"field `provision[{index}].mode` must one of {MODES}")
