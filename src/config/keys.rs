//! `[keys]` of config.toml: what machines may use of the ssh-agent.
//!
//! Enters: the table. Leaves: `KeyGrants`. A repository's file has no such key: grants are the user's own.

use super::walk::{Schema, Table, Value, Walk};
use crate::model::{KeyGrants, KeyRules, ProjectName};

const KEYS: Schema =
    Schema { what: "`[keys]`", keys: &["only", "hosts", "sign", "ask", "for"], later: &[], elsewhere: &[] };
const PROJECT: Schema =
    Schema { what: "`[keys.for.NAME]`", keys: &["only", "hosts", "sign", "ask"], later: &[], elsewhere: &[] };

/// Reads the table.
pub(super) fn read_keys(value: &Value<'_>, walk: &mut Walk<'_>) -> KeyGrants {
    let Some(table) = value.table("a table with `only`, `hosts`, `sign`, `ask` or `for`", walk) else {
        return KeyGrants::default();
    };
    table.check_keys(&KEYS, walk);
    let mut grants = KeyGrants { defaults: read_rules(&table, walk), ..KeyGrants::default() };
    let projects = table.get("for").and_then(|value| value.table("tables such as `[keys.for.blog]`", walk));
    for (key, value) in projects.iter().flat_map(Table::entries) {
        let name = match key.parse::<ProjectName>() {
            Ok(name) => name,
            Err(refused) => {
                walk.problems.add(value.key_span.clone(), format!("keys.for: {refused}"));
                continue;
            }
        };
        let Some(table) = value.table("a table with `only`, `hosts`, `sign` or `ask`", walk) else {
            continue;
        };
        table.check_keys(&PROJECT, walk);
        grants.projects.insert(name, read_rules(&table, walk));
    }
    grants
}

fn read_rules(table: &Table<'_>, walk: &mut Walk<'_>) -> KeyRules {
    let mut keys = |name: &str| {
        let list = table.get(name).map(|value| value.parse_all("a key's fingerprint or a public key", walk));
        list.map(|list| list.into_iter().map(|(key, _)| key).collect())
    };
    let (only, sign) = (keys("only"), keys("sign"));
    let hosts = table.get("hosts").map(|value| value.parse_all("a host such as `git.example.com`", walk));
    KeyRules {
        only,
        sign,
        hosts: hosts.map(|list| list.into_iter().map(|(account, _)| account).collect()),
        ask: table.get("ask").and_then(|value| value.parse("`never`, `first` or `always`", walk)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::syntax::parse;
    use crate::config::testing::judge;
    use crate::model::KeyAsk;
    use insta::assert_snapshot;

    const KEY: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    fn read(text: &str) -> (KeyGrants, String) {
        let mut grants = KeyGrants::default();
        let report = judge(text, |source, problems| {
            let mut walk = Walk { source, problems: std::mem::take(problems) };
            if let Some(tree) = parse(source, &mut walk.problems) {
                grants = read_keys(&Table::root(&tree).get("keys").unwrap(), &mut walk);
            }
            *problems = walk.problems;
        });
        (grants, report)
    }

    #[test]
    fn every_key_is_read() {
        let text = format!(
            "[keys]\nonly = [\"{KEY}\"]\nask = \"first\"\n[keys.for.blog]\nonly = []\nhosts = [\"me@h:22\"]\nsign = [\"{KEY}\"]\n"
        );
        let (grants, report) = read(&text);
        assert_eq!(report, "");
        let blog = grants.of("blog");
        assert_eq!((blog.only, blog.ask), (Some(Vec::new()), Some(KeyAsk::First)));
        assert_eq!((blog.hosts.unwrap()[0].to_string(), blog.sign.unwrap().len()), ("me@h:22".into(), 1));
        assert_eq!(grants.of("other").only.unwrap()[0].to_string(), KEY);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = format!(
            "[keys]\nonly = [\"me@laptop\", \"{KEY}\", \"{KEY}\"]\nhosts = [\"-oX\", 1]\nsign = \"x\"\nask = \"often\"\nhost = []\n\
             [keys.for.Blog]\n[keys.for.shop]\nfor = {{}}\nonly = [\"-----BEGIN OPENSSH PRIVATE KEY-----\"]\n"
        );
        assert_snapshot!(read(&text).1, @r#"
        error: projects.toml:2:9: keys.only[0]: expected a key such as `SHA256:…`, as `ssh-add -l` shows it, or `ssh-ed25519 AAAA…`, got `me@laptop`
          2 | only = ["me@laptop", "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", "SHA256:+DiY3wvvV6TuJJhbp…
            |         ^^^^^^^^^^^
        error: projects.toml:2:76: keys.only[2]: listed twice
          2 | …0zPMSvHdkr4UvCOqU", "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]
            |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        error: projects.toml:3:10: keys.hosts[0]: expected a host such as `git.example.com` or `user@git.example.com:2222`, got `-oX`
          3 | hosts = ["-oX", 1]
            |          ^^^^^
        error: projects.toml:3:17: keys.hosts[1]: expected a host such as `git.example.com`, got `1`
          3 | hosts = ["-oX", 1]
            |                 ^
        error: projects.toml:4:8: keys.sign: expected a list, each a key's fingerprint or a public key, got `"x"`
          4 | sign = "x"
            |        ^^^
        error: projects.toml:5:7: keys.ask: expected `never`, `first` or `always`, got `often`
          5 | ask = "often"
            |       ^^^^^^^
        error: projects.toml:6:1: unknown key `host`; did you mean `hosts`?
          6 | host = []
            | ^^^^
        error: projects.toml:7:11: keys.for: expected a project name of lower-case letters, digits and `-`, got `Blog`: it has capital letters; did you mean `blog`?
          7 | [keys.for.Blog]
            |           ^^^^
        error: projects.toml:9:1: unknown key `for`
          9 | for = {}
            | ^^^
        error: projects.toml:10:9: keys.for.shop.only[0]: this is a private key; the public one, or its fingerprint, belongs here
          10 | only = ["***"]
             |         ^^^^^
        hint: `[keys.for.NAME]` has the keys only, hosts, sign, ask
        hint: edit `DIR/projects.toml`
        "#);
    }
}
