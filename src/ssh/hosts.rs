//! The `Host machine-…` blocks that let editors, scp and rsync in without knowing us.
//!
//! Enters: one value a machine. Leaves: the text of `~/.ssh/config.d/machine`. Touches no disk.

use std::path::PathBuf;

use super::road::quote_path;

/// What one block says.
#[derive(Clone, Debug)]
pub struct HostBlock {
    /// The project's name; the host is `machine-NAME`.
    pub name: String,
    /// The fixed port, for clients that ignore `ProxyCommand`.
    pub port: u16,
    /// The shell line that reaches the machine, already quoted.
    pub proxy_command: String,
    /// Lima's private key.
    pub identity: PathBuf,
    /// The file with the pinned host key.
    pub known_hosts: PathBuf,
    /// The socket that is lent while a connection is open; `None` with `forward_agent = false`.
    pub agent: Option<PathBuf>,
}

/// Renders all blocks. ssh takes the first value it finds, so every option that a `Host *` could set is set here.
pub fn render_hosts(blocks: &[HostBlock]) -> String {
    let head = "# Written by machine: one block a machine. Changes are overwritten; `machine uninstall` removes it.\n";
    blocks.iter().map(render_block).fold(head.to_string(), |text, block| text + "\n" + &block)
}

fn render_block(block: &HostBlock) -> String {
    let agent = block.agent.as_ref().map(|path| quote_path(path));
    // ssh forwards no agent at all unless its own answers (ssh.c, `check_agent_present`): so both are the lent one.
    let (own, forwarded) = (agent.as_deref().unwrap_or("none"), agent.as_deref().unwrap_or("no"));
    let name = &block.name;
    let options = [
        "HostName 127.0.0.1".into(),
        format!("Port {}", block.port),
        "User dev".into(),
        format!("ProxyCommand {}", block.proxy_command),
        format!("HostKeyAlias machine-{name}"),
        format!("UserKnownHostsFile {}", quote_path(&block.known_hosts)),
        "GlobalKnownHostsFile /dev/null".into(),
        "StrictHostKeyChecking yes".into(),
        "UpdateHostKeys no".into(),
        "HostKeyAlgorithms ssh-ed25519".into(),
        format!("IdentityFile {}", quote_path(&block.identity)),
        "IdentitiesOnly yes".into(),
        format!("IdentityAgent {own}"),
        "PreferredAuthentications publickey".into(),
        format!("ForwardAgent {forwarded}"),
        "ForwardX11 no".into(),
        "ForwardX11Trusted no".into(),
        "ControlMaster no".into(),
        "ControlPath none".into(),
        "PermitLocalCommand no".into(),
        "SendEnv -*".into(),
    ];
    format!("Host machine-{name}\n  {}\n", options.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_sets_everything_a_wildcard_could() {
        let block = HostBlock {
            name: "blog".into(),
            port: 20_001,
            proxy_command: "/usr/bin/machine connect blog".into(),
            identity: "/home/a b/lima/_config/user".into(),
            known_hosts: "/s/1/known_hosts".into(),
            agent: None,
        };
        insta::assert_snapshot!(render_hosts(&[block]), @r#"
        # Written by machine: one block a machine. Changes are overwritten; `machine uninstall` removes it.

        Host machine-blog
          HostName 127.0.0.1
          Port 20001
          User dev
          ProxyCommand /usr/bin/machine connect blog
          HostKeyAlias machine-blog
          UserKnownHostsFile "/s/1/known_hosts"
          GlobalKnownHostsFile /dev/null
          StrictHostKeyChecking yes
          UpdateHostKeys no
          HostKeyAlgorithms ssh-ed25519
          IdentityFile "/home/a b/lima/_config/user"
          IdentitiesOnly yes
          IdentityAgent none
          PreferredAuthentications publickey
          ForwardAgent no
          ForwardX11 no
          ForwardX11Trusted no
          ControlMaster no
          ControlPath none
          PermitLocalCommand no
          SendEnv -*
        "#);
    }
}
