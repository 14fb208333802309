//! Clones the repositories that are not there, with the agent lent, and sets fresh clones up without it.
//!
//! Enters: what the guest has. Leaves: clones, or a warning each with what to do; the rest of `up` goes on.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use super::execute::Work;
use super::names::look_up;
use super::report::Reporter;
use crate::failure::{Failure, Kind, Result};
use crate::guest::{Observation, clone_script, setup_script};
use crate::model::{Repo, Transport};
use crate::process::Cmd;
use crate::ssh::{Remote, Road, refused_since, timestamp};
use crate::ui::Phase;

/// The longest a clone, or a setup, may take.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Clones and sets up what is missing.
pub(super) fn repositories(work: &Work, seen: &Observation, reporter: &mut Reporter) -> Result<()> {
    let repos = &work.goal.repos;
    if repos.is_empty() {
        return Ok(());
    }
    let cloned = clone_missing(work, seen, reporter)?;
    for (index, repo) in repos.iter().enumerate() {
        let there = cloned.contains(&repo.dir) || seen.cloned.contains(&repo.dir);
        if there && !seen.set_up.contains(&repo.dir) {
            set_up(work, repo, index == 0, reporter)?;
        }
    }
    Ok(())
}

fn clone_missing(work: &Work, seen: &Observation, reporter: &mut Reporter) -> Result<Vec<String>> {
    let missing: Vec<&Repo> =
        work.goal.repos.iter().filter(|repo| !seen.cloned.contains(&repo.dir)).collect();
    let mut cloned = Vec::new();
    if missing.is_empty() {
        return Ok(cloned);
    }
    let lend = work.goal.forward_agent;
    let road = work.road();
    // For as long as this phase lasts, and not for provisioning or setup.
    // What is lent is read from the record.
    work.record.save(work.site.layout)?;
    // The name that stays the same in the guest is for sessions: a clone is over before.
    let _server = lend.then(|| work.site.serve_agent(&work.record, LIMIT)).transpose()?;
    let begun = timestamp(SystemTime::now());
    for repo in missing {
        let phase = reporter.phase("repos");
        phase.now(&repo.url.short());
        match run(work, &clone_command(&road, repo, lend)?, &phase) {
            Ok(_) => {
                reporter.done(phase, &format!("{} → ~/code/{}", repo.url.short(), repo.dir));
                cloned.push(repo.dir.clone());
            }
            Err(failure) if failure.kind == Kind::Interrupted => return Err(failure),
            Err(failure) => {
                let problem = format!(
                    "cloning `{}` failed: {}\n{}",
                    repo.url,
                    cause(&failure),
                    advice(work, repo, &begun)
                );
                reporter.failed(phase, &repo.url.short(), &problem);
            }
        }
    }
    Ok(cloned)
}

/// The command of one clone.
pub(super) fn clone_command(road: &Road, repo: &Repo, lend_agent: bool) -> Result<Cmd> {
    command(road, clone_script(repo), lend_agent)
}

/// The command of one setup.
pub(super) fn setup_command(road: &Road, script: String) -> Result<Cmd> {
    command(road, script, false)
}

fn command(road: &Road, script: String, lend_agent: bool) -> Result<Cmd> {
    let words = [OsString::from("bash"), "-c".into(), script.into()];
    // One shell more is nothing here, and `--dry-run` shows a line that can be read.
    let line = Remote::Plain(words.to_vec()).helper_line("")?;
    Ok(road.session(&line, false, lend_agent).own_group().time_limit(LIMIT))
}

fn set_up(work: &Work, repo: &Repo, is_first: bool, reporter: &mut Reporter) -> Result<()> {
    let Some(script) = setup_script(repo, is_first, &work.goal.setup) else { return Ok(()) };
    let phase = reporter.phase("setup");
    phase.now(&repo.dir);
    match run(work, &setup_command(&work.road(), script)?, &phase) {
        Ok(said) if said.is_empty() => {
            // Nothing to set up is no news.
            reporter.forget(phase);
            Ok(())
        }
        Ok(said) => {
            reporter.done(phase, &said.join(", "));
            Ok(())
        }
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) => {
            let name = &work.goal.name;
            let problem = format!(
                "the setup of `{}` failed: {}\ntry again: `machine up {name}`",
                repo.dir,
                cause(&failure)
            );
            reporter.failed(phase, &repo.dir, &problem);
            Ok(())
        }
    }
}

/// Runs a command and returns what it announced by `machine-setup:` lines.
fn run(work: &Work, cmd: &Cmd, phase: &Phase) -> Result<Vec<String>> {
    let mut announced = Vec::new();
    work.site.runner.stream(cmd, &mut |_, line| {
        let text = String::from_utf8_lossy(line);
        for part in text.split('\r').map(str::trim).filter(|part| !part.is_empty()) {
            phase.now(part);
            if let Some(what) = part.strip_prefix("machine-setup: ") {
                announced.push(what.to_string());
            }
        }
    })?;
    Ok(announced)
}

/// The failing program's own last words; the command line above them is base64.
fn cause(failure: &Failure) -> String {
    failure.error.chain().last().map(ToString::to_string).unwrap_or_default()
}

/// The door that a clone would need and that is closed. What goes through a proxy needs none.
fn closed_door(work: &Work, repo: &Repo) -> Option<String> {
    if work.goal.proxy.is_some() && repo.url.transport() == Transport::Https {
        return None;
    }
    let alias = repo.url.host();
    let known = work.goal.git_hosts.iter().find(|host| host.alias == alias);
    let host = known.map_or(alias, |host| host.hostname.as_str());
    let usual = if repo.url.transport() == Transport::Ssh { 22 } else { 443 };
    let port = repo.url.port().or(known.and_then(|host| host.port)).unwrap_or(usual);
    let refused = look_up(host).into_iter().any(|address| work.goal.openings.refuse(address, port));
    refused.then(|| format!("{host}:{port}"))
}

fn advice(work: &Work, repo: &Repo, begun: &str) -> String {
    let again = format!("then: `machine up {}`", work.goal.name);
    if let Some(door) = closed_door(work, repo) {
        let name = &work.goal.name;
        return format!(
            "the network around this computer is closed to the machine, `{door}` with it: put \
             `allow = [\"{door}\"]` below `[{name}]` in your own projects.toml, {again}"
        );
    }
    match repo.url.transport() {
        Transport::Ssh if !work.goal.forward_agent && work.goal.repository.is_some() => {
            format!(
                "the ssh-agent is not lent to the project of a repository's file unless you say so: \
                 `forward_agent = true` in `{}` asks for it; or write it below `[{}]` in your own projects.toml, {again}",
                work.goal.config_file.display(),
                work.goal.name
            )
        }
        Transport::Ssh if !work.goal.forward_agent => {
            format!(
                "`forward_agent = false` keeps the agent out of this machine; use an https address, {again}"
            )
        }
        Transport::Ssh
            if (work.site.lend)(work.goal.name.as_str()).is_ok_and(|loan| loan.upstream.is_none()) =>
        {
            format!(
                "no ssh-agent runs here (SSH_AUTH_SOCK is not set): start one and `ssh-add` your key, {again}"
            )
        }
        Transport::Ssh => {
            let log = work.site.layout.agent_log(work.goal.name.as_str());
            let refused = refused_since(&log, begun)
                .into_iter()
                .map(|(reason, _)| format!("the agent refused: {reason}\n"));
            let refused: String = refused.collect();
            format!(
                "{refused}check that the key is loaded (`ssh-add -l`) and may read the repository, {again}"
            )
        }
        Transport::Https => {
            let proxy = match &work.goal.proxy {
                Some(proxy) => format!("see whether the proxy of config.toml, `{proxy}`, lets it through\n"),
                None if !work.site.proxies.is_empty() => {
                    "this computer uses a proxy, and machines do so only where \
                     config.toml names it: `network = { proxy = \"http://…\" }`\n"
                        .into()
                }
                None => String::new(),
            };
            format!(
                "{proxy}a private repository needs an ssh address, or a token: `git = {{ token = \"NAME\" }}`, {again}"
            )
        }
    }
}
