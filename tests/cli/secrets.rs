//! Secrets on their way: when a machine gets them, when it is asked, and that no value is anywhere else.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::secret_sources::given;
use crate::world::{World, skip};

const CANARY: &str = "canary-4f1d-value";
const PROJECT: &str = "[hello]\nrepos = [\"git@github.com:you/hello.git\"]\nsetup = [\"echo set up\"]\n\n\
    [hello.secrets]\nTOKEN = { command = [\"pass\", \"show\", \"npm\"] }\n";

/// A world with a project that has one secret, the machine's box built.
fn with_canary(project: &str) -> World {
    let world = World::new();
    world.configure(project);
    world.knob("pass", &format!("{CANARY}\n"));
    world.bake("hello");
    world
}

/// Every file below a folder that holds the text.
fn holding(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            holding(&path, text, found);
        } else if kind.is_file()
            && fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        {
            found.push(path.display().to_string());
        }
    }
}

/// Whether the kernel of its last boot clears what is freed.
fn clears_freed(world: &World) -> bool {
    let launch = world.read(".local/share/machine/lima/hello/launch.json");
    let launch: serde_json::Value = serde_json::from_str(&launch).expect("JSON");
    launch["clears_freed"] == true
}

#[test]
fn a_machine_with_secrets_boots_so_that_none_sleeps_with_it() {
    if !cfg!(target_os = "linux") {
        skip("machines do not sleep on this system");
        return;
    }
    let world = with_canary(PROJECT);
    world.configure("[hello]\n");
    world.must(&["up", "hello"]);
    assert!(!clears_freed(&world));
    // One that runs is told by the guest; it counts from the next boot on.
    world.configure(PROJECT);
    world.must(&["up", "hello"]);
    assert!(!clears_freed(&world));
    world.must(&["down", "hello"]);
    world.must(&["run", "hello", "--", "true"]);
    assert!(clears_freed(&world));
    world.configure("[hello]\n");
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert!(!clears_freed(&world));
}

#[test]
fn they_come_before_setup_and_are_nowhere_else() {
    let world = with_canary(PROJECT);
    let outcome = world.run(&["-v", "up", "hello"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(!outcome.to_string().contains(CANARY), "{outcome}");
    assert!(
        outcome.stderr.contains(" -- 'sudo -n /usr/local/lib/machine/secrets fill' <<'secrets'"),
        "{outcome}"
    );
    assert_snapshot!(world.effects(), @r#"
    git who commits
    limactl list
    pass show npm
    ssh resolve github.com
    git -c credential.helper= ls-remote --heads -- git@github.com:you/hello.git
    ssh resolve github.com
    git who commits
    ssh-keygen -q -t ed25519 -N  -C machine-hello -f ~/.local/state/machine/machines/hello/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/hello/host_key
    limactl create --name hello ~/.local/state/machine/machines/hello/lima.yaml
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step git
    guest step HASH
    ssh close master
    ssh open master, agent lent
    guest secrets filled
    ssh session, agent lent: "plain" "" "bash" "-c" "<clone>"
    guest git clone --progress -- git@github.com:you/hello.git .cloning-hello
    ssh session: "plain" "" "bash" "-c" "<setup>"
    "#);
    assert!(given(&world).contains(CANARY));
    let mut found = Vec::new();
    holding(&world.home(""), CANARY, &mut found);
    assert!(found.is_empty(), "{found:?}");
    holding(&world.path("play"), CANARY, &mut found);
    found.retain(|path| !path.ends_with("/knobs/pass") && !path.contains("/hello/memory-"));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_setup_that_tells_is_not_repeated() {
    let project = PROJECT.replace("echo set up", "echo it is canary-4f1d-value; false");
    let world = with_canary(&project);
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("machine-setup: echo it is ***; false"), "{outcome}");
    let outcome = world.run(&["up", "hello", "--json"]);
    assert!(!outcome.to_string().contains(CANARY) && outcome.stdout.contains("it is ***"), "{outcome}");
    let mut found = Vec::new();
    holding(&world.home(".local"), CANARY, &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_session_asks_only_over_a_new_connection_and_fills_what_is_gone() {
    let world = with_canary(PROJECT);
    world.must(&["up", "hello"]);
    world.effects();
    world.must(&["run", "hello", "--", "true"]);
    world.must(&["up", "hello"]);
    assert_snapshot!(world.effects(), @r#"
    ssh session, agent lent: "plain" "code/hello" "true"
    git who commits
    limactl list
    "#);
    // The connection ended, the guest did not.
    let road = world
        .command(world.path("bin/ssh"))
        .args(["-F"])
        .arg(config(&world))
        .args(["-O", "exit", "guest"])
        .status();
    assert!(road.expect("ssh").success());
    world.log_taken();
    world.must(&["run", "hello", "--", "true"]);
    assert_snapshot!(world.effects(), @r#"
    limactl list
    ssh open master, agent lent
    ssh ask for secrets
    ssh session, agent lent: "plain" "code/hello" "true"
    "#);
    world.crash("hello");
    world.log_taken();
    let outcome = world.must(&["run", "hello", "--", "true"]);
    assert!(outcome.stderr.contains("1 secret is in /run/secrets"), "{outcome}");
    assert!(world.effects().contains("pass show npm\nguest secrets filled\n"));
}

/// The configuration of the machine's connection.
fn config(world: &World) -> std::path::PathBuf {
    let folder = fs::read_dir(world.home(".local/share/machine/s")).expect("a folder");
    folder.flatten().map(|entry| entry.path().join("config")).find(|path| path.exists()).expect("a config")
}

#[test]
fn a_changed_configuration_is_followed_and_none_means_none() {
    let world = with_canary(PROJECT);
    world.must(&["up", "hello"]);
    world.configure(&PROJECT.replace("TOKEN =", "OTHER ="));
    world.must(&["run", "hello", "--", "true"]);
    assert!(given(&world).contains("\nOTHER 0 17\n") && !given(&world).contains("TOKEN"));
    let (without, _) = PROJECT.split_once("[hello.secrets]").expect("a table");
    world.configure(without);
    world.log_taken();
    world.must(&["run", "hello", "--", "true"]);
    assert!(world.effects().starts_with("guest secrets cleared\n"));
    world.must(&["run", "hello", "--", "true"]);
    assert!(!world.effects().contains("secrets"));
    world.configure(PROJECT);
    world.must(&["up", "hello"]);
    world.configure(without);
    assert!(world.must(&["up", "hello"]).stderr.contains("✓ secrets   none any more"));
}

#[test]
fn a_session_opens_although_a_source_fails() {
    let world = with_canary(PROJECT);
    world.must(&["up", "hello"]);
    world.crash("hello");
    world.knob("pass-fails", "");
    world.knob("pass-says", "locked\n");
    assert_snapshot!(world.run(&["run", "hello", "--", "echo", "here"]), @"
    exit code 0
    --- stdout
    here
    --- stderr
    ✓ boot      ssh ready T s
    warning: a secret of `hello` cannot be read: TOKEN, from the command `pass`: exit status: 1: locked
    fill them once that is mended: `machine secrets hello`
    ");
    world.release("pass-fails");
    world.knob("refuse-secrets", "");
    assert_snapshot!(world.run(&["secrets", "hello"]), @"
    exit code 1
    --- stderr
    error: failed to put the secrets of `hello` into `/run/secrets`
    caused by: `ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n /usr/local/lib/machine/secrets fill' <<'secrets'` failed: exit status: 1
    caused by: machine: /run/secrets is a link
    ");
    world.release("refuse-secrets");
    assert_snapshot!(world.run(&["secrets", "hello"]), @"
    exit code 0
    --- stderr
    1 secret is in /run/secrets of `hello`
    ");
}

#[test]
fn what_is_there_is_listed_without_values_and_can_be_taken_away() {
    let world = with_canary(&PROJECT.replace("] }\n", "], export = true }\nURL = \"op://Dev/blog/url\"\n"));
    world.knob("op", &format!("{CANARY}-2"));
    world.must(&["up", "hello"]);
    world.configure(PROJECT);
    assert_snapshot!(world.run(&["secrets", "hello", "--status"]), @"
    exit code 0
    --- stdout
    NAME   SOURCE                   EXPORT  AGE
    TOKEN  the command `pass`       -       7 s
    URL    not configured any more  -       7 s
    ");
    assert_snapshot!(world.run(&["secrets", "hello", "--status", "--json"]), @r#"
    exit code 0
    --- stdout
    [
      {
        "name": "TOKEN",
        "source": "the command `pass`",
        "export": false,
        "present": true,
        "age_seconds": 7
      },
      {
        "name": "URL",
        "source": null,
        "export": false,
        "present": true,
        "age_seconds": 7
      }
    ]
    "#);
    world.log_taken();
    assert_snapshot!(world.run(&["secrets", "hello", "--clear"]), @"
    exit code 0
    --- stderr
    `hello` has no secrets any more
    ");
    assert_snapshot!(world.effects(), @"guest secrets cleared");
    world.must(&["down", "hello"]);
    world.log_taken();
    assert_snapshot!(world.run(&["secrets", "hello", "--status"]), @"
    exit code 0
    --- stdout
    NAME   SOURCE              EXPORT  AGE
    TOKEN  the command `pass`  -       missing
    ");
    assert_snapshot!(world.run(&["secrets", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` does not run
    hint: start it, which fills them: `machine up hello`
    ");
    assert_snapshot!(world.run(&["secrets", "hello", "--clear"]), @"
    exit code 0
    --- stderr
    `hello` does not run, so it has no secrets
    ");
    assert!(!world.effects().contains("ssh"));
}

#[test]
fn a_token_reaches_git_by_a_pipe_and_the_guest_by_name() {
    let project = PROJECT.replace("git@github.com:you/hello.git", "https://git.corp:8443/you/hello.git");
    let world = with_canary(&format!("{project}\n[hello.git]\ntoken = \"TOKEN\"\nusername = \"me\"\n"));
    let outcome = world.run(&["-v", "up", "hello"]);
    assert!(!outcome.to_string().contains(CANARY), "{outcome}");
    let log = world.log_taken();
    let check = log.lines().find(|line| line.contains("ls-remote")).expect("checked");
    assert_snapshot!(check, @r#"git -c credential.helper= -c credential.https://git.corp:8443.helper=!f() { test "$1" = get || exit 0; printf password=; cat <&9; echo; }; f -c credential.https://git.corp:8443.username=me ls-remote --heads -- https://git.corp:8443/you/hello.git"#);
    // The same helper, asked by the real git for two hosts.
    let helper = check.split(" -c ").find(|option| option.contains(".helper=!")).expect("a helper");
    let ask = |host: &str| {
        let script = format!(
            "exec 9<&0; printf 'protocol=https\nhost={host}\n\n' | exec git -c \"$1\" -c credential.username=me credential fill"
        );
        let mut asked = world.command("/bin/sh");
        asked
            .args(["-c", &script, "sh", helper])
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false");
        asked
            .env("PATH", "/usr/bin:/bin")
            .stdin(fs::File::open(world.path("play/knobs/pass")).expect("a value"));
        String::from_utf8_lossy(&asked.output().expect("ran").stdout).into_owned()
    };
    assert!(ask("git.corp:8443").contains(&format!("password={CANARY}\n")));
    assert!(!ask("git.evil").contains(CANARY));
    let unknown = format!("{project}\n[hello.git]\ntoken = \"ghp_0123456789\"\n");
    world.configure(&unknown);
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 2
    --- stderr
    error: git.token of `hello` in `~/.config/machine/projects.toml`: expected the name of one of its secrets; it has `TOKEN`
    hint: add it below `[hello.secrets]`
    ");
    assert!(world.run(&["secrets", "hello"]).stderr.contains("`~/.config/machine/projects.toml`: expected"));
    world.configure(&project);
    world.knob("fail-ls-remote", "fatal: could not read Username for 'https://git.corp:8443'\n");
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    error: `https://git.corp:8443/you/hello.git` cannot be cloned
    caused by: fatal: could not read Username for 'https://git.corp:8443'
    hint: is the address right? a private repository needs an ssh address, such as `git@host:path`, or a token: a secret that `git = { token = "NAME" }` of the project names
    "#);
}
