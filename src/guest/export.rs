//! Provisioning for plain Lima, which runs every script at every boot, only logs what fails, and has no `machine`.
//!
//! Enters: the steps of a machine for each architecture, its repositories. Leaves: scripts that find out by themselves
//! what is done, and a probe that clones, since Lima's own connection is the only one with an agent.

use super::repositories::{clone_script, setup_script};
use super::shell::{here_document, quote};
use super::step::Step;
use crate::model::{Arch, Repo, Setup, Transport};

const PREPARE: &str = include_str!("../../templates/export/prepare.sh");
const STEP: &str = include_str!("../../templates/export/step.sh");
const FINISH: &str = include_str!("../../templates/export/finish.sh");
const PROBLEMS: &str = include_str!("../../templates/export/problems.sh");
const PROBE: &str = include_str!("../../templates/export/probe.sh");

/// What plain Lima is to run, in order. Each begins with its `#!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// Run by root at every boot. The first expects the instance's name in `instance`.
    pub scripts: Vec<String>,
    /// Run by the login user at every start.
    pub probe: String,
}

/// Turns a machine's steps and repositories into scripts.
///
/// `steps` has one list for each architecture that the file is for.
pub fn export(steps: &[(Arch, Vec<Step>)], repos: &[Repo], setup: &Setup) -> Provisioning {
    let steps = for_any(steps);
    let scripts = steps.iter().enumerate().map(|(index, step)| step_script(step, index + 1, steps.len()));
    Provisioning {
        scripts: std::iter::once(prepare_script(repos, setup)).chain(scripts).collect(),
        probe: PROBE.to_string(),
    }
}

/// One list out of one for each architecture; the lists differ in downloads only, so they are equally long.
fn for_any(steps: &[(Arch, Vec<Step>)]) -> Vec<Step> {
    let of = |arch| steps.iter().find(|(known, _)| *known == arch).map(|(_, steps)| steps);
    match (of(Arch::Amd64), of(Arch::Arm64)) {
        (Some(amd64), Some(arm64)) => {
            amd64.iter().zip(arm64).map(|(amd64, arm64)| Step::for_either(amd64, arm64)).collect()
        }
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => Vec::new(),
    }
}

fn step_script(step: &Step, number: usize, count: usize) -> String {
    // A line of a name would be a line of the script.
    let name = step.name.replace(char::is_control, " ");
    let command = format!("/usr/local/lib/machine/step {} {}", quote(&name), quote(&step.stamp));
    format!(
        "#!/bin/bash\n# Step {number} of {count}.\n{}",
        here_document(&command, "MACHINE_STEP", &step.readable_script())
    )
}

fn prepare_script(repos: &[Repo], setup: &Setup) -> String {
    let place = |path: &str, mode: &str, text: &str| {
        here_document(&format!("\nplace {path} {mode}"), "MACHINE_FILE", text)
    };
    [
        PREPARE.to_string(),
        place("/usr/local/lib/machine/step", "0755", STEP),
        place("/etc/profile.d/zz-machine-problems.sh", "0644", PROBLEMS),
        place("/usr/local/bin/machine-finish", "0755", &finish_script(repos, setup)),
    ]
    .concat()
}

fn finish_script(repos: &[Repo], setup: &Setup) -> String {
    let clones = repos.iter().map(clone_call);
    let setups = repos.iter().enumerate().filter_map(|(index, repo)| {
        let script = setup_script(repo, index == 0, setup)?;
        Some(here_document(&format!("set_up {}", quote(&repo.dir)), "MACHINE_SCRIPT", &script))
    });
    let calls: String = clones.chain(setups).collect();
    format!("{FINISH}\nrepositories() {{\n:\n{calls}}}\n\nmain \"$@\"\nexit\n")
}

fn clone_call(repo: &Repo) -> String {
    let transport = match repo.url.transport() {
        Transport::Ssh => "ssh",
        Transport::Https => "https",
    };
    here_document(&format!("clone {} {transport}", quote(&repo.dir)), "MACHINE_SCRIPT", &clone_script(repo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};

    fn step(body: &str, previous: Option<&Step>) -> Step {
        Step::chained(
            "it's\na step".into(),
            body.into(),
            vec![("a.txt".into(), b"plain\n".to_vec())],
            previous,
        )
    }

    fn repo(url: &str, dir: &str) -> Repo {
        Repo { url: url.parse().expect("a URL"), dir: dir.into(), branch: None }
    }

    fn steps_of_both() -> [(Arch, Vec<Step>); 2] {
        let of = |arch: Arch| {
            let first = step("true\n", None);
            let second = step(&format!("echo {}\n", arch.debian()), Some(&first));
            let third = step("echo same\n", Some(&second));
            (arch, vec![first, second, third])
        };
        [of(Arch::Amd64), of(Arch::Arm64)]
    }

    fn example(setup: &Setup) -> Provisioning {
        let repos = [repo("git@github.com:you/blog.git", "blog"), repo("https://gitlab.com/you/x.git", "y")];
        export(&steps_of_both(), &repos, setup)
    }

    /// What a here-document gives to the command on the line that begins with `command`.
    fn here(script: &str, command: &str) -> String {
        let start = script.find(&format!("\n{command}")).unwrap_or_else(|| panic!("{command} in {script}"));
        let (line, rest) = script[start + 1..].split_once('\n').expect("a line");
        let (_, tag) = line.split_once("<<'").expect("a here-document");
        let end = format!("\n{}\n", tag.trim_end_matches('\''));
        rest.split_once(&end).expect("its end").0.to_string() + "\n"
    }

    #[test]
    fn a_step_is_run_by_its_stamp_and_can_be_read() {
        let scripts = example(&Setup::None).scripts;
        assert_eq!(scripts.len(), 4);
        let stamp = &steps_of_both()[0].1[0].stamp;
        let head = format!(
            "#!/bin/bash\n# Step 1 of 3.\n/usr/local/lib/machine/step 'it'\\''s a step' '{stamp}' <<'MACHINE_STEP'\n"
        );
        assert!(scripts[1].starts_with(&head), "{}", scripts[1]);
        assert!(scripts[1].contains("\ncat >'a.txt' <<'MACHINE_FILE'\nplain\nMACHINE_FILE\ntrue\n"));
        assert!(scripts[1].contains(&format!("/var/lib/machine/steps/{stamp}.new\n")));
    }

    #[test]
    fn what_differs_by_architecture_is_decided_in_the_guest() {
        let scripts = example(&Setup::None).scripts;
        let choice = "case $(dpkg --print-architecture) in\namd64)\necho amd64\n;;\narm64)\necho arm64\n;;\n";
        assert!(!scripts[1].contains("dpkg") && scripts[2].contains(choice) && !scripts[3].contains("dpkg"));
        // A step behind it has a stamp of both, since its own differs with what it builds on.
        let [(_, amd64), (_, arm64)] = steps_of_both();
        assert!(!scripts[3].contains(&amd64[2].stamp) && !scripts[3].contains(&arm64[2].stamp));
        let only = export(&steps_of_both()[1..], &[], &Setup::None).scripts;
        assert!(
            only[2].contains("echo arm64") && only[3].contains(&arm64[2].stamp) && !only[2].contains("case")
        );
    }

    #[test]
    fn repositories_are_cloned_first_and_set_up_as_the_project_says() {
        let finish = |setup| here(&example(&setup).scripts[0], "place /usr/local/bin/machine-finish 0755");
        let text = finish(Setup::Commands(vec!["npm ci".into()]));
        let calls: Vec<&str> =
            text.lines().filter(|line| line.starts_with("clone '") || line.starts_with("set_up '")).collect();
        assert_eq!(
            calls,
            [
                "clone 'blog' ssh <<'MACHINE_SCRIPT'",
                "clone 'y' https <<'MACHINE_SCRIPT'",
                "set_up 'blog' <<'MACHINE_SCRIPT'"
            ]
        );
        assert_eq!(finish(Setup::ByLockFile).matches("\nset_up '").count(), 2);
        assert!(!finish(Setup::None).contains("\nset_up '"));
    }

    #[test]
    fn every_script_is_whole_and_one_that_bash_parses() {
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let parse = |script: &str| {
            let cmd = Cmd::new("bash").args(["-n", "-s"]).input(script.to_string());
            runner.run(&cmd).unwrap_or_else(|failure| panic!("{script}\n{failure:?}"));
        };
        let Provisioning { scripts, probe } = example(&Setup::ByLockFile);
        for script in scripts.iter().chain([&probe]) {
            assert!(script.starts_with("#!/bin/bash\n") && script.ends_with('\n'));
            parse(script);
        }
        for placed in ["place /usr/local/lib/machine/step", "place /usr/local/bin/machine-finish"] {
            parse(&here(&scripts[0], placed));
        }
        scripts[1..].iter().for_each(|script| parse(&here(script, "/usr/local/lib/machine/step")));
        parse(&here(&export(&[], &[], &Setup::None).scripts[0], "place /usr/local/bin/machine-finish"));
    }
}
