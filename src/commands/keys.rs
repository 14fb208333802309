//! `machine keys`: what a machine is lent of the ssh-agent: shown, its uses listed, granted, taken back.
//!
//! Enters: a project. Leaves: the state hop by hop, the log, or `[keys]` of config.toml changed.

use clap::Subcommand;
use serde_json::json;

use crate::commands::project_completer;
use crate::config::{KeyChange, change_keys};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::{GitAccount, HoldTime, KeyAsk, KeyName, KeyRules, Project, ProjectName};
use crate::record::{MachineRecord, held_until, release, take_turn_to_edit};
use crate::ssh::{Entry, read_log};
use crate::ui;
use crate::ui::for_as_long;
use crate::workspace::{
    KeyHop, Verdict, Workspace, check_git_host, check_hold, find_key, find_record, key_hops, serve_hold,
    start_hold,
};

/// Options of `keys`.
#[derive(clap::Args, Debug)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
A machine may log in with your keys to the hosts of its own repositories, and sign commits with your signing key; nothing \
else. Grants are kept in config.toml, below `[keys]` for every project and `[keys.for.NAME]` for one; they count at once, \
also in sessions that are open.

--json: `status` prints an object with project, ok and hops (name, verdict, text); `log` an array of its lines; \
`release` an object with project and released (whether they were held)"
)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Look at every hop from this computer's agent to the guest; the same as no word
    Status(Named),
    /// List what was asked of the agent, and what came of it
    Log(LogArgs),
    /// Grant more, or only some keys
    Grant(ChangeArgs),
    /// Let the machine use the keys for a time with no terminal open, for agents that go on working in it
    Hold(HoldArgs),
    /// End that time now
    Release(ReleaseArgs),
    /// What `hold` starts
    #[command(hide = true)]
    Serve(ServeArgs),
    /// Take grants back; without an option, all that the project has of its own
    Revoke(ChangeArgs),
}

#[derive(clap::Args, Debug)]
struct Named {
    /// The project
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct ReleaseArgs {
    #[command(flatten)]
    named: Named,
    /// Print what would be ended, and end nothing
    #[arg(long, conflicts_with = "json")]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct LogArgs {
    #[command(flatten)]
    named: Named,
    /// The last N requests
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    last: usize,
}

#[derive(clap::Args, Debug)]
struct ChangeArgs {
    /// The project
    #[arg(value_name = "PROJECT", add = project_completer(), conflicts_with = "all")]
    project: Option<String>,
    /// For every project that says nothing else
    #[arg(long)]
    all: bool,
    /// A key that may log in: its fingerprint, its public half, a file of that, or its comment in the agent.
    /// Once one is named, keys that are not named log in nowhere
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A host to log in to besides those of the project's repositories: `host`, `user@host`, `host:port`
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// A key that may sign commits besides the configured one
    #[arg(long, value_name = "KEY")]
    sign: Vec<String>,
    /// Whether you are asked before a key signs: `never`, `first` or `always`
    #[arg(long, value_name = "WHEN")]
    ask: Option<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct HoldArgs {
    /// The project
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// For how long: `30m`, `8h`, at most `7d`
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    time: String,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct ServeArgs {
    project: String,
    #[arg(long)]
    until: u64,
}

impl Args {
    /// Whether `--json` and `--dry-run` were given.
    pub fn answers(&self) -> (bool, bool) {
        match &self.verb {
            Some(Verb::Status(named)) => (self.json || named.json, false),
            Some(Verb::Release(release)) => (self.json || release.named.json, release.dry_run),
            Some(Verb::Log(log)) => (self.json || log.named.json, false),
            Some(Verb::Grant(change) | Verb::Revoke(change)) => (self.json, change.dry_run),
            Some(Verb::Hold(hold)) => (self.json, hold.dry_run),
            Some(Verb::Serve(_)) | None => (self.json, false),
        }
    }

    /// The project that is named before or behind the verb.
    fn project<'a>(&'a self, behind: Option<&'a str>) -> Result<Option<&'a str>> {
        match (self.project.as_deref(), behind) {
            (Some(one), Some(other)) if one != other => {
                Err(Failure::usage(format!("two projects are named, `{one}` and `{other}`")))
            }
            (before, behind) => Ok(before.or(behind)),
        }
    }
}

/// Does what is asked.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    if let Some(Verb::Serve(serve)) = &args.verb {
        serve_hold(context, &find_record(context, Some(&serve.project))?, serve.until)?;
        return Ok(0);
    }
    let has_none = match &args.verb {
        Some(Verb::Grant(_) | Verb::Hold(_) | Verb::Revoke(_)) => true,
        Some(Verb::Release(release)) => release.dry_run,
        _ => false,
    };
    if args.json && has_none {
        return Err(Failure::usage("`--json` is for `keys`, `keys status`, `keys log` and `keys release`")
            .hint("see what came of it afterwards: `machine keys PROJECT --json`"));
    }
    let changes = matches!(args.verb, Some(Verb::Grant(_) | Verb::Revoke(_))) && !context.options.dry_run;
    let _turn = if changes { Some(take_turn_to_edit(&context.layout)?) } else { None };
    let workspace = Workspace::load(context)?;
    let choose = |behind: Option<&str>| workspace.choose(context, args.project(behind)?);
    match &args.verb {
        None => status(context, &workspace, &choose(None)?),
        Some(Verb::Status(named)) => status(context, &workspace, &choose(named.project.as_deref())?),
        Some(Verb::Log(log)) => {
            show_log(context, &choose(log.named.project.as_deref())?, log.last);
            Ok(0)
        }
        Some(Verb::Hold(hold_args)) => hold(context, &choose(hold_args.project.as_deref())?, &hold_args.time),
        Some(Verb::Release(args)) => let_go(context, &choose(args.named.project.as_deref())?),
        Some(Verb::Serve(_)) => Ok(0),
        Some(Verb::Grant(change) | Verb::Revoke(change)) => {
            let project = if change.all { None } else { Some(choose(change.project.as_deref())?) };
            let is_grant = matches!(args.verb, Some(Verb::Grant(_)));
            alter(context, &workspace, project.as_ref().map(|project| &project.name), change, is_grant)
        }
    }
}

fn status(context: &Context, workspace: &Workspace, project: &Project) -> Result<u8> {
    let hops = key_hops(context, workspace, project)?;
    let is_bad = hops.iter().any(|hop| hop.verdict == Verdict::Bad);
    if context.options.json {
        let list: Vec<_> = hops.iter().map(to_json).collect();
        ui::answer_json(&json!({"project": project.name.as_str(), "ok": !is_bad, "hops": list}));
    } else {
        for hop in &hops {
            ui::answer(&line(hop));
        }
    }
    Ok(u8::from(is_bad))
}

fn line(hop: &KeyHop) -> String {
    let mark = match hop.verdict {
        Verdict::Good => "✓",
        Verdict::Remark => "·",
        Verdict::Bad => "✗",
    };
    format!("{mark} {:<9} {}", hop.name, hop.text)
}

fn to_json(hop: &KeyHop) -> serde_json::Value {
    let verdict = match hop.verdict {
        Verdict::Good => "ok",
        Verdict::Remark => "remark",
        Verdict::Bad => "problem",
    };
    json!({"name": hop.name, "verdict": verdict, "text": hop.text})
}

fn show_log(context: &Context, project: &Project, last: usize) {
    let entries = read_log(&context.layout.agent_log(project.name.as_str()));
    let recent = &entries[entries.len().saturating_sub(last)..];
    if context.options.json {
        ui::answer_json(&json!(recent));
    } else if recent.is_empty() {
        context.ui.say(&format!("`{}` has asked nothing of the agent yet", project.name));
    } else {
        for entry in recent {
            ui::answer(&sentence(entry));
        }
    }
}

/// `2026-01-31T12:00:00.000Z  allowed  sign login git@github.com SHA256:…`.
fn sentence(entry: &Entry) -> String {
    let place = match (&entry.user, &entry.host) {
        (Some(user), Some(host)) => Some(format!("{user}@{host}")),
        (None, host) => host.clone(),
        (user, None) => user.clone(),
    };
    let said = [Some(entry.request.clone()), entry.purpose.clone(), place, entry.key.clone()];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let reason = entry.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}  {:<7}  {}{reason}", entry.time, entry.verdict, said.join(" "))
}

fn hold(context: &Context, project: &Project, time: &str) -> Result<u8> {
    let time: HoldTime = time.parse().map_err(|cause| Failure::usage(format!("--for: {cause}")))?;
    let name = &project.name;
    if !project.forward_agent {
        return Err(Failure::usage(format!("`{name}` is lent no key: `forward_agent = false`")));
    }
    let record = find_record(context, Some(name.as_str()))?;
    check_hold(&record)?;
    if context.options.dry_run {
        ui::answer(&format!("# hold the keys of `{name}` {}", for_as_long(time.duration().as_secs())));
        return Ok(0);
    }
    start_hold(context, record, time.duration())?;
    context.ui.say(&format!(
        "`{name}` may use what it is granted {}, also with no terminal open; end it: `machine keys release {name}`",
        for_as_long(time.duration().as_secs())
    ));
    Ok(0)
}

fn let_go(context: &Context, project: &Project) -> Result<u8> {
    let name = &project.name;
    if context.options.dry_run {
        match held_until(&context.layout, name.as_str()) {
            Some(_) => ui::answer(&format!("# end the hold of the keys of `{name}`")),
            None => context.ui.say(&format!("the keys of `{name}` are not held")),
        }
        return Ok(0);
    }
    let released = release(&context.layout, name.as_str())?;
    if context.options.json {
        ui::answer_json(&json!({"project": name.as_str(), "released": released}));
    }
    let said = if released { "are held no longer" } else { "were not held" };
    context.ui.say(&format!("the keys of `{name}` {said}"));
    Ok(0)
}

fn alter(
    context: &Context,
    workspace: &Workspace,
    project: Option<&ProjectName>,
    args: &ChangeArgs,
    is_grant: bool,
) -> Result<u8> {
    let rules = project.map_or_else(KeyRules::default, |name| workspace.computer.keys.of(name.as_str()));
    let changes = changes(context, project, &rules, args, is_grant)?;
    let file = workspace.located.user.computer();
    // A link is written through, as people who keep their dotfiles in a repository expect.
    let file = std::fs::canonicalize(&file).unwrap_or(file);
    let text = disk::read_text_if_there(&file)?.unwrap_or_default();
    let text = change_keys(&text, project, &changes)?;
    if context.options.dry_run {
        ui::answer(&format!("# write `{}`", file.display()));
        ui::answer_text(&text);
        return Ok(0);
    }
    disk::ensure_private_folder(&workspace.located.user.dir)?;
    disk::write_atomic(&file, text.as_bytes(), 0o600)?;
    let keys = Workspace::load(context)?.computer.keys;
    let (name, rules) = match project {
        Some(name) => (name.to_string(), keys.of(name.as_str())),
        None => ("every project".into(), keys.defaults),
    };
    if let Some(name) = project.filter(|_| changes == [KeyChange::Forget]) {
        release(&context.layout, name.as_str())?;
    }
    context.ui.say(&format!("{name}: {}", describe(&rules)));
    Ok(0)
}

fn changes(
    context: &Context,
    project: Option<&ProjectName>,
    rules: &KeyRules,
    args: &ChangeArgs,
    is_grant: bool,
) -> Result<Vec<KeyChange>> {
    let change = |list: &'static str, item: String, inherited: Vec<String>| {
        if is_grant {
            KeyChange::Add { list, item, inherited }
        } else {
            KeyChange::Remove { list, item, inherited }
        }
    };
    let upstream =
        project.and_then(|name| MachineRecord::load(&context.layout, name.as_str()).ok().flatten());
    let mut changes = Vec::new();
    for (list, words, inherited) in [("only", &args.key, &rules.only), ("sign", &args.sign, &rules.sign)] {
        for word in words {
            let key = find_key(context, upstream.as_ref(), word)?;
            changes.push(change(list, key.to_string(), texts(inherited.as_deref())));
        }
    }
    for word in &args.host {
        let account: GitAccount = word.parse().map_err(|cause| Failure::usage(format!("--host: {cause}")))?;
        if is_grant {
            check_git_host(context, &account)?;
        }
        changes.push(change("hosts", account.to_string(), texts(rules.hosts.as_deref())));
    }
    if let Some(word) = &args.ask {
        let ask: KeyAsk = word.parse().map_err(|cause| Failure::usage(format!("--ask: {cause}")))?;
        changes.push(KeyChange::Ask(if is_grant { ask } else { KeyAsk::Never }));
    }
    match (changes.is_empty(), is_grant) {
        (true, true) => {
            Err(Failure::usage("nothing to grant is named").hint("--host, --key, --sign or --ask"))
        }
        (true, false) => Ok(vec![KeyChange::Forget]),
        _ => Ok(changes),
    }
}

fn texts<T: ToString>(list: Option<&[T]>) -> Vec<String> {
    list.unwrap_or_default().iter().map(T::to_string).collect()
}

fn describe(rules: &KeyRules) -> String {
    let join = |keys: &[KeyName]| match keys {
        [] => "no key".to_string(),
        keys => texts(Some(keys)).join(", "),
    };
    let only = rules.only.as_deref().map_or_else(|| "every key of the agent".into(), join);
    let hosts = match texts(rules.hosts.as_deref()).join(", ") {
        hosts if hosts.is_empty() => String::new(),
        hosts => format!(" and {hosts}"),
    };
    let sign = match texts(rules.sign.as_deref()).join(", ") {
        sign if sign.is_empty() => String::new(),
        sign => format!("; {sign} may sign commits too"),
    };
    let ask = rules
        .ask
        .filter(|ask| *ask != KeyAsk::Never)
        .map_or_else(String::new, |ask| format!("; asks: {ask}"));
    format!("{only} may log in to the hosts of its repositories{hosts}{sign}{ask}")
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
