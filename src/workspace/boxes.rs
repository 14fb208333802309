//! The cache of boxes as a person sees it: what is there, what was left unfinished, what may go.
//!
//! Enters: the cache and the machines that build. Leaves: a table, one box, or less of both.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::select::{Workspace, site};
use crate::boxes::{CachedBox, Found, Store};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::{ByteSize, ProjectName};
use crate::plan::{Site, remove_machine};
use crate::record::{ProjectLock, Waiting};
use crate::ui::render_table;

/// What is in the cache.
pub struct BoxTable {
    boxes: Vec<(String, Found)>,
    unfinished: Vec<String>,
}

/// What pruning came to.
#[derive(Debug, Default)]
pub struct Pruned {
    /// A line for everything that went, or would.
    pub lines: Vec<String>,
    /// What it took on the disk.
    pub freed_bytes: u64,
}

/// Looks at all of it.
pub fn box_table(context: &Context) -> BoxTable {
    BoxTable { boxes: Store::new(&context.layout).list(), unfinished: unfinished(context) }
}

/// Machines that build a box, or did when they were cut off.
fn unfinished(context: &Context) -> Vec<String> {
    let names = disk::names_in(&context.layout.machines()).into_iter();
    names.chain(disk::names_in(&context.layout.lima_home())).filter(|name| ProjectName::is_bake(name)).fold(
        Vec::new(),
        |mut all, name| {
            if !all.contains(&name) {
                all.push(name);
            }
            all
        },
    )
}

/// The one box whose key begins with `key`.
///
/// # Errors
/// When there is none, or it is damaged, or several keys begin like that.
pub fn find_box(context: &Context, key: &str) -> Result<CachedBox> {
    let store = Store::new(&context.layout);
    let keys = disk::names_in(store.folder()).into_iter().filter(|name| !name.starts_with('.'));
    let mut matching = keys.filter(|name| !key.is_empty() && name.starts_with(key));
    let list = "`machine box list` shows the keys";
    match (matching.next(), matching.next()) {
        (Some(one), None) => match store.find(&one) {
            Found::Whole(cached) => Ok(*cached),
            Found::Damaged(why) => Err(Failure::operation(format!("the box `{one}` is damaged: {why}"))
                .hint("remove it: `machine box prune`")),
            Found::Missing => Err(Failure::operation(format!("the box `{one}` is gone"))),
        },
        (None, _) => Err(Failure::operation(format!("there is no box `{key}` in the cache")).hint(list)),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several boxes begin with `{key}`")).hint(list)),
    }
}

impl BoxTable {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty() && self.unfinished.is_empty()
    }

    /// The table; with `packages`, what is installed in each below it.
    pub fn render(&self, packages: bool) -> String {
        let head = ["BOX", "KEY", "IMAGE", "SIZE", "WARM", "BUILT", "LAST USED"].map(String::from).to_vec();
        let mut rows = vec![head];
        rows.extend(self.boxes.iter().map(|(key, found)| row(key, found)));
        rows.extend(self.unfinished.iter().map(|name| {
            let dash = || "-".to_string();
            vec!["unfinished".into(), name.clone(), dash(), dash(), dash(), dash(), dash()]
        }));
        let mut text = render_table(&rows);
        let listed = self.boxes.iter().filter_map(|(_, found)| whole(found)).filter(|_| packages);
        text.extend(listed.map(|cached| {
            let manifest = &cached.manifest;
            format!("\n\n{}  {}\n{}", manifest.name, manifest.key, indent(&cached.packages()))
        }));
        text
    }

    /// The array of `--json`.
    pub fn to_json(&self) -> Value {
        let boxes = self.boxes.iter().map(|(key, found)| match found {
            Found::Whole(cached) => json!({
                "key": key,
                "state": "whole",
                "name": cached.manifest.name,
                "image": cached.manifest.image,
                "arch": cached.manifest.arch,
                "created": cached.manifest.created,
                "stale": cached.manifest.is_stale(now()),
                "last_used": cached.last_used(),
                "used_bytes": cached.allocated_bytes(),
                "warm": warm_to_json(cached),
                "disk_bytes": cached.manifest.disk.bytes,
                "digest": cached.manifest.disk.digest,
                "packages": cached.packages().lines().collect::<Vec<_>>(),
            }),
            Found::Damaged(why) => json!({"key": key, "state": "damaged", "note": why}),
            Found::Missing => json!({"key": key, "state": "gone"}),
        });
        let unfinished = self.unfinished.iter().map(|name| json!({"machine": name, "state": "unfinished"}));
        Value::Array(boxes.chain(unfinished).collect())
    }
}

fn whole(found: &Found) -> Option<&CachedBox> {
    if let Found::Whole(cached) = found { Some(cached) } else { None }
}

fn row(key: &str, found: &Found) -> Vec<String> {
    let short = key.get(..8).unwrap_or(key).to_string();
    match found {
        Found::Whole(cached) => {
            let manifest = &cached.manifest;
            let stale = if manifest.is_stale(now()) { ", old" } else { "" };
            vec![
                manifest.name.clone(),
                short,
                format!("{} {}", manifest.image, manifest.arch),
                ByteSize::from_bytes(cached.allocated_bytes()).human(),
                cached.warm().map_or("-".into(), |_| ByteSize::from_bytes(cached.warm_bytes()).human()),
                days_ago(manifest.created) + stale,
                days_ago(cached.last_used()),
            ]
        }
        Found::Damaged(why) => ["damaged", &short, "-", "-", "-", "-", why].map(String::from).to_vec(),
        Found::Missing => ["gone", &short, "-", "-", "-", "-", "-"].map(String::from).to_vec(),
    }
}

/// What new machines go on from, and on what size it is.
fn warm_to_json(cached: &CachedBox) -> Value {
    cached.warm().map_or(Value::Null, |warm| {
        json!({"cpus": warm.cpus, "memory_bytes": warm.memory_bytes, "used_bytes": cached.warm_bytes()})
    })
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn days_ago(seconds: u64) -> String {
    match now().saturating_sub(seconds) / 86_400 {
        0 => "today".into(),
        1 => "1 day ago".into(),
        days => format!("{days} days ago"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Removes what was not used for so many days (`None`: everything), what is damaged, and what was cut off. Nothing that
/// another process is at work on.
pub fn prune_boxes(context: &Context, unused_for_days: Option<u64>, dry_run: bool) -> Result<Pruned> {
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let store = Store::new(&context.layout);
    let mut pruned = Pruned::default();
    for (key, found) in store.list() {
        let Some(why) = why_go(&found, unused_for_days) else { continue };
        let name = ProjectName::of_bake(key.get(..8).unwrap_or(&key));
        let Some(_lock) = try_lock(context, name.as_str(), &mut pruned)? else { continue };
        let freed_bytes = whole(&found).map_or(0, |cached| cached.allocated_bytes() + cached.warm_bytes());
        pruned.freed_bytes += freed_bytes;
        let label = whole(&found).map_or("a box", |cached| cached.manifest.name.as_str());
        pruned.lines.push(format!("{label}  {}  {why}", key.get(..8).unwrap_or(&key)));
        if !dry_run {
            store.remove(&key)?;
        }
    }
    prune_unfinished(context, &site, &store, dry_run, &mut pruned)?;
    Ok(pruned)
}

fn prune_unfinished(
    context: &Context,
    site: &Site,
    store: &Store,
    dry_run: bool,
    pruned: &mut Pruned,
) -> Result<()> {
    for name in unfinished(context) {
        let Some(_lock) = try_lock(context, &name, pruned)? else { continue };
        let file = context.layout.instance(&name).join("disk");
        pruned.freed_bytes += disk::file_allocated_bytes(&file);
        pruned.lines.push(format!("{name}  a build that was cut off"));
        if !dry_run {
            site.driver().check_version(site.accept_unknown_lima)?;
            remove_machine(site, &name)?;
        }
    }
    for left in disk::names_in(store.folder()).into_iter().filter(|name| name.starts_with('.')) {
        let key = left.trim_start_matches(".new-").trim_start_matches(".old-");
        let name = ProjectName::of_bake(key.get(..8).unwrap_or(key));
        let Some(_lock) = try_lock(context, name.as_str(), pruned)? else { continue };
        pruned.freed_bytes += disk::file_allocated_bytes(&store.folder().join(&left).join("disk"));
        pruned.lines.push(format!("{left}  what a build left"));
        if !dry_run {
            store.remove_left(&left)?;
        }
    }
    Ok(())
}

/// Why a box may go; `None` when it stays.
fn why_go(found: &Found, unused_for_days: Option<u64>) -> Option<String> {
    match (found, unused_for_days) {
        (Found::Damaged(why), _) => Some(format!("damaged: {why}")),
        (Found::Missing, _) => None,
        (Found::Whole(_), None) => Some("all of them".into()),
        (Found::Whole(cached), Some(limit)) => {
            let days = now().saturating_sub(cached.last_used()) / 86_400;
            (days >= limit).then(|| format!("not used for {days} days"))
        }
    }
}

/// The lock of a box; `None` when somebody builds it or makes a machine from it just now.
fn try_lock(context: &Context, name: &str, pruned: &mut Pruned) -> Result<Option<ProjectLock>> {
    let waiting = Waiting { no_wait: true, say: &|_| (), interrupt: context.runner.interrupt() };
    match ProjectLock::exclusive(&context.layout, name, "box prune", &waiting) {
        Ok(lock) => Ok(Some(lock)),
        Err(failure) if failure.kind == crate::failure::Kind::Busy => {
            pruned.lines.push(format!("{name}  stays: another `machine` is at work on it"));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
