//! `machine ports`: the ports of the guest that appear on this computer, listed, added, removed.
//!
//! Enters: a project, perhaps ports. Leaves: a table, or JSON; forwards at once, and an edited projects.toml.

use serde_json::{Value, json};

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::model::{PortForward, Project, list_ports};
use crate::record::MachineRecord;
use crate::ui;
use crate::ui::render_table;
use crate::workspace::{
    PortRow, Workspace, agree_to_ports, close_opened, declare_ports, look_at_ports, open_ports, require_trust,
};

/// Options of `ports`.
#[derive(clap::Args, Debug)]
#[command(
    subcommand_precedence_over_arg = true,
    disable_help_subcommand = true,
    after_help = "\
A PORT is one number for both sides, or HOST:GUEST. On this computer it listens at 127.0.0.1 alone.

States:
  declared   it leads nowhere: the machine does not run, or nobody holds it
  taken      somebody else has the port; who, is said beside it
  forwarded  it leads into the guest, where nothing listens at 127.0.0.1
  answering  it leads to something that listens in the guest"
)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Open PORT until the machine stops, without declaring it
    #[arg(long, value_name = "PORT")]
    open: Vec<PortForward>,
    /// Print a JSON array
    #[arg(long, conflicts_with = "open")]
    pub json: bool,
    /// Print what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Declare ports in projects.toml, and open them at once if the machine runs
    Add(Ports),
    /// Take ports out of projects.toml, and close them at once
    Remove(Ports),
}

#[derive(clap::Args, Debug)]
struct Ports {
    /// Ports, each as PORT or HOST:GUEST
    #[arg(value_name = "PORT", required = true)]
    ports: Vec<PortForward>,
}

/// Lists, adds, removes or opens.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    if args.json && args.action.is_some() {
        return Err(Failure::usage("`--json` is for the list of ports; `add` and `remove` print none")
            .hint("see them afterwards: `machine ports PROJECT --json`"));
    }
    let workspace = Workspace::load(context)?;
    let project = workspace.choose_own(context, args.project.as_deref())?;
    if args.action.is_some() || !args.open.is_empty() {
        require_trust(context, &project)?;
    }
    match &args.action {
        Some(Action::Add(add)) => add_ports(context, &workspace, &project, &add.ports)?,
        Some(Action::Remove(remove)) => remove_ports(context, &workspace, &project, &remove.ports)?,
        None if args.open.is_empty() => list(context, &workspace, &project, args.json)?,
        None => open(context, &workspace, &project, &args.open)?,
    }
    Ok(0)
}

fn list(context: &Context, workspace: &Workspace, project: &Project, json: bool) -> Result<()> {
    let rows = look_at_ports(context, workspace, project)?;
    if json {
        ui::answer_json(&Value::Array(rows.iter().map(to_json).collect()));
    } else if rows.is_empty() {
        let name = &project.name;
        context.ui.say(&format!("`{name}` declares no ports; to add one: `machine ports {name} add 3000`"));
    } else {
        let head = ["HOST", "GUEST", "STATE", ""].map(String::from).to_vec();
        let lines = rows.iter().map(|row| {
            let PortForward { host, guest } = row.port;
            let note = row.note.clone().unwrap_or_default();
            vec![format!("127.0.0.1:{host}"), guest.to_string(), row.state.word().into(), note]
        });
        ui::answer(&render_table(&std::iter::once(head).chain(lines).collect::<Vec<_>>()));
    }
    Ok(())
}

fn to_json(row: &PortRow) -> Value {
    json!({
        "host": row.port.host,
        "guest": row.port.guest,
        "declared": row.declared,
        "state": row.state.word(),
        "note": row.note,
    })
}

fn add_ports(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    ports: &[PortForward],
) -> Result<()> {
    let name = project.name.as_str();
    with_more(project, ports)?;
    agree_to_ports(context, name, ports)?;
    declare_ports(context, name, &|project| with_more(project, ports))?;
    for (other, port) in also_declared(workspace, project, ports) {
        context.ui.say(&format!("`{other}` declares port {port} too: only one of them can run at a time"));
    }
    tell(context, &format!("`{name}` declares {}", list_ports(ports)));
    Ok(())
}

fn with_more(project: &Project, ports: &[PortForward]) -> Result<Vec<PortForward>> {
    let name = &project.name;
    let mut wanted = project.ports.clone();
    for port in ports {
        if let Some(declared) = wanted.iter().find(|one| one.host == port.host || one.guest == port.guest) {
            let sentence = format!("`{name}` declares `{declared}` already, so it cannot have `{port}` too");
            return Err(Failure::usage(sentence)
                .hint(format!("each port of either side stands once; see them: `machine ports {name}`")));
        }
        wanted.push(*port);
    }
    Ok(wanted)
}

/// Other projects that want the same port of this computer.
fn also_declared(workspace: &Workspace, project: &Project, ports: &[PortForward]) -> Vec<(String, u16)> {
    let others = workspace.catalog.projects.values().filter(|other| other.name != project.name);
    let same = |other: &Project| {
        let name = other.name.to_string();
        let clashes = ports.iter().filter(|port| other.ports.iter().any(|theirs| theirs.host == port.host));
        clashes.map(|port| (name.clone(), port.host)).collect::<Vec<_>>()
    };
    others.flat_map(same).collect()
}

fn remove_ports(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    ports: &[PortForward],
) -> Result<()> {
    let name = project.name.as_str();
    let hosts: Vec<u16> = ports.iter().map(|port| port.host).collect();
    let record = MachineRecord::load(&context.layout, name)?;
    let opened = record.map(|record| record.opened).unwrap_or_default();
    let known = |host: &u16| project.ports.iter().chain(&opened).any(|port| port.host == *host);
    if let Some(unknown) = hosts.iter().find(|host| !known(host)) {
        let list = if project.ports.is_empty() { "none".into() } else { list_ports(&project.ports) };
        return Err(Failure::usage(format!("`{name}` declares no port {unknown}; it declares {list}")));
    }
    declare_ports(context, name, &|project| {
        Ok(project.ports.iter().copied().filter(|port| !hosts.contains(&port.host)).collect())
    })?;
    if !context.options.dry_run && opened.iter().any(|port| hosts.contains(&port.host)) {
        close_opened(context, workspace, name, &hosts)?;
    }
    tell(context, &format!("`{name}` gives up {}", list_ports(ports)));
    Ok(())
}

fn open(context: &Context, workspace: &Workspace, project: &Project, ports: &[PortForward]) -> Result<()> {
    let (name, list) = (project.name.as_str(), list_ports(ports));
    agree_to_ports(context, name, ports)?;
    if context.options.dry_run {
        ui::answer(&format!("# lead {list} into `{name}` until it stops"));
        return Ok(());
    }
    open_ports(context, workspace, project, ports)?;
    tell(context, &format!("`{name}` has {list} open until it stops"));
    Ok(())
}

fn tell(context: &Context, sentence: &str) {
    if !context.options.dry_run {
        context.ui.say(sentence);
    }
}
