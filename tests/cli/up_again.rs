//! `up` on what is there already, and on repositories that can or cannot be had.

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

#[test]
fn a_document_is_the_only_answer_of_json() {
    let world = World::new();
    world.configure(BARE);
    world.bake("hello");
    assert_snapshot!(world.run(&["up", "hello", "--json"]), @r#"
    exit code 0
    --- stdout
    {
      "project": "hello",
      "ready": true,
      "phases": [
        {
          "phase": "box",
          "detail": "bare  cached, built today",
          "ms": N
        },
        {
          "phase": "create",
          "detail": "disk up to 40 GiB",
          "ms": N
        },
        {
          "phase": "boot",
          "detail": "ssh ready",
          "ms": N
        },
        {
          "phase": "provision",
          "detail": "1 of 5 steps run",
          "ms": N
        },
        {
          "phase": "ssh",
          "detail": "Host machine-hello",
          "ms": N
        }
      ],
      "problems": [],
      "ms": N
    }
    "#);
    assert_snapshot!(world.run(&["up", "hello", "--json"]), @r#"
    exit code 0
    --- stdout
    {
      "project": "hello",
      "ready": true,
      "phases": [],
      "problems": [],
      "ms": N
    }
    "#);
}

#[test]
fn a_failed_up_is_a_document_with_its_time() {
    let world = World::new();
    world.configure(BARE);
    world.knob("fail-start", "");
    let outcome = world.run(&["up", "hello", "--json"]);
    assert_eq!(outcome.code, 1);
    let document: serde_json::Value =
        serde_json::from_str(&outcome.stdout.replace(": N", ": 1")).expect("one document");
    assert_eq!(document["ready"], false);
    assert!(document["error"].as_str().is_some_and(|text| text.contains("qemu died")), "{document}");
    let phases: Vec<&str> = document["phases"]
        .as_array()
        .expect("phases")
        .iter()
        .filter_map(|phase| phase["phase"].as_str())
        .collect();
    assert_eq!(phases, ["image", "create", "boot"]);
    assert_ne!(document["ms"], 0);
}

#[test]
fn a_project_that_fails_keeps_none_of_the_others() {
    let world = World::new();
    world.configure("[one]\n[two.secrets]\nTOKEN = { env = \"GONE\" }\n[three]\n");
    let outcome = world.run(&["up", "one", "two", "three", "--json"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.starts_with("error: "), "{outcome}");
    let documents: serde_json::Value =
        serde_json::from_str(&outcome.stdout.replace(": N", ": 1")).expect("one array");
    let documents = documents.as_array().expect("an array");
    let told: Vec<_> =
        documents.iter().map(|one| (one["project"].as_str(), one["ready"].as_bool())).collect();
    assert_eq!(told, [(Some("one"), Some(true)), (Some("two"), Some(false)), (Some("three"), Some(true))]);
    assert!(documents[1]["error"].as_str().is_some_and(|text| text.contains("GONE")), "{outcome}");
    let outcome = world.run(&["up", "two", "one"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.ends_with("one is ready.   machine ssh one\n"), "{outcome}");
    // What could not be begun is an answer as well, by itself a bare object.
    let outcome = world.run(&["up", "two", "--json"]);
    let document: serde_json::Value =
        serde_json::from_str(&outcome.stdout.replace(": N", ": 1")).expect("one object");
    assert_eq!((outcome.code, document["project"].as_str()), (1, Some("two")));
}

#[test]
fn a_stopped_machine_starts_without_a_step_run_again() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    assert_snapshot!(world.run(&["down", "hello"]), @"
    exit code 0
    --- stderr
    ✓ down      hello stopped, disk kept T s
    ");
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ boot      ssh ready T s
    ✓ provision 5 steps, all done before T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh ask
    ");
}

#[test]
fn a_changed_project_runs_what_changed() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.effects();
    world.configure("[hello]\nenv = { A = \"1\" }\nmemory = \"2GiB\"\n");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 2 GiB
    ✓ boot      was running T s
      · environment: PATH, +1 T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-hello T s
    the new size counts from the next start on: `machine down hello && machine up hello`
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ssh ask
    ssh stop steps left over
    guest step environment
    ssh close master
    ssh open master, agent lent
    ");
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert!(world.read(".local/share/machine/lima/hello/lima.yaml").contains("\nmemory: 2GiB\n"));
}

/// A project with a repository, and a setup that leaves a file in it.
const CLONED: &str =
    "[blog]\nrepos = [\"git@github.com:you/blog.git\"]\nsetup = [\"echo installed >>done\"]\n";

#[test]
fn repositories_are_checked_cloned_and_set_up() {
    let world = World::new();
    world.configure(CLONED);
    world.bake("blog");
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 0
    --- stderr
    blog  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
      · apt: git T s
    ✓ provision 2 of 6 steps run T s
    ✓ repos     you/blog → ~/code/blog T s
    ✓ setup     echo installed >>done T s
    ✓ ssh       Host machine-blog T s
    Ready in T s.   machine ssh blog   ·   ssh machine-blog
    ");
    assert_snapshot!(world.effects(), @r#"
    git who commits
    limactl list
    ssh resolve github.com
    git -c credential.helper= ls-remote --heads -- git@github.com:you/blog.git
    ssh resolve github.com
    git who commits
    ssh-keygen -q -t ed25519 -N  -C machine-blog -f ~/.local/state/machine/machines/blog/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/blog/host_key
    limactl create --name blog ~/.local/state/machine/machines/blog/lima.yaml
    limactl list
    limactl start --timeout=30m blog
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step git
    guest step HASH
    ssh close master
    ssh open master, agent lent
    ssh session, agent lent: "plain" "" "bash" "-c" "<clone>"
    guest git clone --progress -- git@github.com:you/blog.git .cloning-blog
    ssh session: "plain" "" "bash" "-c" "<setup>"
    "#);
}

#[test]
fn a_clone_is_made_and_set_up_once() {
    let world = World::new();
    world.configure(CLONED);
    world.must(&["up"]);
    world.must(&["down"]);
    assert_snapshot!(world.run(&["up"]), @"
    exit code 0
    --- stderr
    blog  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ boot      ssh ready T s
    ✓ provision 6 steps, all done before T s
    ✓ ssh       Host machine-blog T s
    Ready in T s.   machine ssh blog   ·   ssh machine-blog
    ");
    let done = world.path("play/guests/blog/home/code/blog/done");
    assert_eq!(std::fs::read_to_string(done).expect("set up"), "installed\n");
}

#[test]
fn a_clone_that_fails_leaves_the_rest_to_finish() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@github.com:you/blog.git\"]\n");
    world.bake("blog");
    world.knob("fail-clone", "");
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 1
    --- stderr
    blog  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
      · apt: git T s
    ✓ provision 2 of 6 steps run T s
    ✗ repos     you/blog T s
    warning: cloning `git@github.com:you/blog.git` failed: git@github.com: Permission denied (publickey).
    no ssh-agent runs here (SSH_AUTH_SOCK is not set): start one and `ssh-add` your key, then: `machine up blog`
    ✓ ssh       Host machine-blog T s
    blog is up, but something is missing: see the warnings above.
    ");
    world.release("fail-clone");
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 0
    --- stderr
    blog  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ boot      was running T s
    ✓ provision 6 steps, all done before T s
    ✓ repos     you/blog → ~/code/blog T s
    ✓ ssh       Host machine-blog T s
    Ready in T s.   machine ssh blog   ·   ssh machine-blog
    ");
}

#[test]
fn a_refused_repository_stops_before_a_boot() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@github.com:you/blgo.git\"]\n");
    world.knob(
        "fail-ls-remote",
        "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n",
    );
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 1
    --- stderr
    error: `git@github.com:you/blgo.git` cannot be cloned
    caused by: ERROR: Repository not found.
               fatal: Could not read from remote repository.
    hint: no ssh-agent runs here (SSH_AUTH_SOCK is not set), and a machine has nothing but the agent: start one and `ssh-add` your key
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl --version
    ssh resolve github.com
    git -c credential.helper= ls-remote --heads -- git@github.com:you/blgo.git
    ");
    assert!(!world.home(".local/share/machine/lima").exists());
}

#[test]
fn an_unreachable_repository_only_warns() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"https://github.com/you/blog.git\"]\n");
    world.bake("blog");
    world.knob(
        "fail-ls-remote",
        "fatal: unable to access 'https://github.com/': Could not resolve host: github.com\n",
    );
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 0
    --- stderr
    warning: `https://github.com/you/blog.git` cannot be reached from here; going on: fatal: unable to access 'https://github.com/': Could not resolve host: github.com
    blog  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
      · apt: git T s
    ✓ provision 2 of 6 steps run T s
    ✓ repos     you/blog → ~/code/blog T s
    ✓ ssh       Host machine-blog T s
    Ready in T s.   machine ssh blog   ·   ssh machine-blog
    ");
}
