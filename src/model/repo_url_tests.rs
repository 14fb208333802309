//! Tests of repository addresses: what is read, what is refused and in which words.
//!
//! Enters: addresses, one table a question. Leaves: nothing; no repository is asked.

use proptest::prelude::*;

use super::*;

fn refusal(text: &str) -> String {
    text.parse::<RepoUrl>().unwrap_err().to_string()
}

#[test]
fn reads_ssh_and_https() {
    let cases = [
        ("git@github.com:you/blog.git", Transport::Ssh, Some("git"), "github.com", None, "you/blog.git"),
        ("github-work:you/blog", Transport::Ssh, None, "github-work", None, "you/blog"),
        (
            "git@host.corp:/srv/git/blog.git",
            Transport::Ssh,
            Some("git"),
            "host.corp",
            None,
            "/srv/git/blog.git",
        ),
        ("git@git.sr.ht:~you/blog", Transport::Ssh, Some("git"), "git.sr.ht", None, "~you/blog"),
        ("ssh://git@host:2222/a/b", Transport::Ssh, Some("git"), "host", Some(2222), "/a/b"),
        ("ssh://192.168.5.2/a", Transport::Ssh, None, "192.168.5.2", None, "/a"),
        ("https://github.com/you/blog.git", Transport::Https, None, "github.com", None, "/you/blog.git"),
        (
            "https://github.com:8443/you/.github/",
            Transport::Https,
            None,
            "github.com",
            Some(8443),
            "/you/.github/",
        ),
    ];
    for (text, transport, user, host, port, path) in cases {
        let url: RepoUrl = text.parse().unwrap();
        assert_eq!((url.transport(), url.user.as_deref(), url.host()), (transport, user, host), "{text}");
        assert_eq!((url.port(), url.path.as_str(), url.as_str()), (port, path, text));
    }
}

#[test]
fn one_repository_has_one_identity() {
    let urls = [
        "git@github.com:you/blog.git",
        "git@GitHub.com:you/blog",
        "git@github.com:/you/blog.git",
        "ssh://git@github.com/you/blog.git",
        "ssh://github.com:22/you/blog/",
        "https://github.com/you/blog",
    ];
    for text in urls {
        let url: RepoUrl = text.parse().unwrap();
        assert_eq!(url.normalised(), "github.com/you/blog", "{text}");
        assert_eq!((url.short().as_str(), url.default_dir().as_str()), ("you/blog", "blog"), "{text}");
    }
    let deep: RepoUrl = "https://gitlab.com/group/sub/tool.git".parse().unwrap();
    assert_eq!((deep.short(), deep.normalised()), ("sub/tool".into(), "gitlab.com/group/sub/tool".into()));
    let flat: RepoUrl = "git@host:blog.git".parse().unwrap();
    assert_eq!((flat.short(), flat.default_dir()), ("blog".into(), "blog".into()));
}

#[test]
fn refuses_what_git_would_run_or_read_from_the_host() {
    let host_folder = "a folder of the host is not shared with the machine";
    let cases = [
        ("", "``: it is empty"),
        ("-oProxyCommand=evil", "`-oProxyCommand=evil`: it starts with `-`, like an option"),
        ("ssh://-oProxyCommand=evil/x", "`ssh://-oProxyCommand=evil/x`: its host is no host name"),
        ("git@-oProxy:x", "`git@-oProxy:x`: its host is no host name"),
        ("git@host:-x", "`git@host:-x`: its path has the part `-x`"),
        ("ext::sh -c evil", "`ext::sh -c evil`: it has white space"),
        ("ext::evil", "`ext::evil`: it names a program to run"),
        ("ext::evil://x", "`ext::evil://x`: it names a program to run"),
        ("foo::https://h/x", "`foo::https://h/x`: it names a program to run"),
        ("/srv/git/blog", &format!("`/srv/git/blog`: {host_folder}")),
        ("./blog", &format!("`./blog`: {host_folder}")),
        ("~/blog", &format!("`~/blog`: {host_folder}")),
        ("C:\\git", &format!("`C:\\git`: {host_folder}")),
        ("file:///srv/blog", &format!("`file:///srv/blog`: {host_folder}")),
        ("you/blog", "`you/blog`: it has no host"),
        ("https://h\n/x", "`https://h\\n/x`: it has white space"),
        ("git@h\u{1b}:x", "`git@h\\u{1b}:x`: it has the character U+001B"),
        ("git@gіthub.com:x/y", "`git@gіthub.com:x/y`: it has the character U+0456"),
        ("ftp://h/x", "`ftp://h/x`: only ssh and https are used"),
    ];
    for (text, message) in cases {
        assert_eq!(
            refusal(text),
            format!("expected a repository such as `git@github.com:you/blog.git`, got {message}")
        );
    }
}

#[test]
fn refuses_odd_parts() {
    let cases = [
        ("https:///x", "it has no host"),
        ("ssh://git@/x", "it has no host"),
        ("https://h", "it has no path"),
        ("https://h/", "it has no path"),
        ("git@h:", "it has no path"),
        ("https://[::1]/x", "what follows `:` is no port"),
        ("https://h:0/x", "a port is a number from 1 to 65535"),
        ("https://h:65536/x", "a port is a number from 1 to 65535"),
        ("https://h:/x", "a port is a number from 1 to 65535"),
        ("https://h:+22/x", "what follows `:` is no port"),
        ("git@h:you/.git", "its last part is no folder name"),
        ("git@h:you/.GIT", "its last part is no folder name"),
        ("git@h:you/...", "its last part is no folder name"),
        ("git@h:you/..", "its path has the part `..`"),
        ("https://h/a//b", "its path has the part ``"),
        ("https://h/a?b", "its path has `?`"),
        ("https://h/a;b", "its path has `;`"),
        ("a b@h:x", "it has white space"),
        ("@h:x", "the part before `@` is no login name"),
        ("a,b@h:x", "the part before `@` is no login name"),
        ("h..x:y", "its host is no host name"),
    ];
    for (text, reason) in cases {
        let message = refusal(text);
        assert!(message.ends_with(&format!("`: {reason}")), "{text}: {message}");
    }
}

#[test]
fn suggests_the_safe_address() {
    let cases = [
        (
            "http://github.com/you/blog",
            "http can be read and changed on its way",
            "https://github.com/you/blog",
        ),
        (
            "git://github.com/you/blog",
            "git:// can be read and changed on its way",
            "https://github.com/you/blog",
        ),
        ("git+ssh://git@h/x", "only ssh and https are used", "ssh://git@h/x"),
        ("HTTPS://h/x", "the scheme is written in lower case", "https://h/x"),
    ];
    for (text, reason, instead) in cases {
        let told = text.parse::<RepoUrl>().unwrap_err().to_string();
        assert!(told.ends_with(&format!("; did you mean `{instead}`?")), "{told}");
        assert!(
            refusal(text).ends_with(&format!("`: {reason}; did you mean `{instead}`?")),
            "{}",
            refusal(text)
        );
    }
}

#[test]
fn never_repeats_credentials() {
    let cases = [
        ("https://you:hunter2@github.com/you/blog", "https://***@github.com/you/blog"),
        ("https://hunter2@github.com/you/blog", "https://***@github.com/you/blog"),
        ("https://a:hunter2@b@github.com/you/blog", "https://***@github.com/you/blog"),
        ("ssh://git:hunter2@github.com/you/blog", "ssh://***@github.com/you/blog"),
        ("http://you:hunter2@github.com/you/blog", "http://***@github.com/you/blog"),
        ("https://you:hunter2 @github.com/you/blog", "https://***@github.com/you/blog"),
        ("https://you:hunter2'@github.com/you/blog", "https://***@github.com/you/blog"),
        ("you:hunter2@github.com:you/blog", "***@github.com:you/blog"),
        ("https://you:hunter2/x@github.com/you/blog", "https://***@github.com/you/blog"),
        ("you:hun/hunter2@github.com:you/blog", "***@github.com:you/blog"),
        ("ext::https://you:hunter2@h/x", "ext::https://***@h/x"),
    ];
    for (text, masked) in cases {
        let message = refusal(text);
        assert!(!message.contains("hunter2"), "{message}");
        assert!(message.contains(&format!("got `{masked}`")), "{message}");
        assert_eq!(text.parse::<RepoUrl>().unwrap_err().masked_value(), Some(masked));
    }
    assert_eq!(
        refusal("https://hunter2@github.com/you/blog"),
        "expected a repository such as `git@github.com:you/blog.git`, got `https://***@github.com/you/blog`: \
         credentials do not belong in an address; did you mean `https://github.com/you/blog`?"
    );
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in "\\PC{0,40}|(ssh|https|git@|ext::|)(://)?[a-z@:/.~ -]{0,30}") {
        match text.parse::<RepoUrl>() {
            Ok(url) => {
                prop_assert_eq!(url.as_str(), &text);
                prop_assert!(is_folder_name(&url.default_dir()));
                prop_assert!(!url.host().starts_with('-'));
            }
            Err(refused) => prop_assert!(!refused.to_string().contains(char::is_control)),
        }
    }

    #[test]
    fn addresses_round_trip(
        user in "[a-z]{1,8}", host in "[a-z]{1,8}(\\.[a-z]{2,5}){0,2}", port in 1_u16.., path in "[a-z]{1,8}/[a-z]{1,8}",
    ) {
        for text in [
            format!("ssh://{user}@{host}:{port}/{path}"),
            format!("{user}@{host}:{path}.git"),
            format!("https://{host}/{path}.git"),
        ] {
            let url: RepoUrl = text.parse().unwrap();
            prop_assert_eq!(url.to_string(), text);
            prop_assert_eq!(url.normalised(), format!("{}/{}", host, path));
        }
    }
}
