//! Which names are taken, which are refused, and what is said of those.
//!
//! Enters: text of every class of mistake. Leaves: nothing; fails when a wrong name gets in.

use proptest::prelude::*;

use super::*;

fn refusal<T: FromStr<Err = Refused> + fmt::Debug>(text: &str) -> String {
    text.parse::<T>().unwrap_err().to_string()
}

#[test]
fn accepts_plain_names() {
    for name in ["a", "blog", "a-1", "x--y", "bake", &"a".repeat(30)] {
        assert_eq!(name.parse::<ProfileName>().unwrap().as_str(), name);
    }
    assert_eq!("bakery".parse::<ProjectName>().unwrap().to_string(), "bakery");
}

#[test]
fn refuses_other_names_with_a_reason() {
    let expected = "expected a project name of lower-case letters, digits and `-`, got ";
    let cases = [
        ("", "``: it is empty"),
        ("-v", "`-v`: it starts with `-`, like an option"),
        ("3d", "`3d`: it starts with a digit"),
        ("../etc", "`../etc`: it is a path"),
        ("a/b", "`a/b`: it is a path"),
        (".ssh", "`.ssh`: it is a path"),
        ("My Blog", "`My Blog`: it has capital letters; did you mean `my-blog`?"),
        ("my_blog", "`my_blog`: it has `_`; did you mean `my-blog`?"),
        ("a b", "`a b`: it has a space; did you mean `a-b`?"),
        ("blоg", "`blоg`: it has the character U+043E"),
        ("a\nb", "`a\\nb`: it has the character U+000A; did you mean `a-b`?"),
    ];
    for (name, message) in cases {
        assert_eq!(refusal::<ProjectName>(name), format!("{expected}{message}"));
    }
    assert_eq!(
        refusal::<ProfileName>(&"a".repeat(31)),
        format!(
            "expected a profile name of lower-case letters, digits and `-`, got `{}`: it has 31 characters, 30 \
             are allowed; did you mean `{}`?",
            "a".repeat(31),
            "a".repeat(30)
        )
    );
}

#[test]
fn keeps_its_own_words() {
    assert_eq!(refusal::<ProjectName>("up"), "`up` is a word of `machine` itself and cannot name a project");
    assert_eq!(
        refusal::<ProjectName>("bake-0f"),
        "`bake-0f` starts with `bake-`, which is kept for machines that build boxes"
    );
    for word in RESERVED {
        assert!(word.parse::<ProjectName>().is_err(), "{word}");
    }
    assert!(RESERVED.is_sorted(), "kept in order, so that a reader finds a word");
}

#[test]
fn environment_names_cannot_steer() {
    for name in ["A", "_x", "DATABASE_URL", "LDFLAGS", "PATHS"] {
        assert_eq!(name.parse::<EnvName>().unwrap().as_ref(), name);
    }
    for name in ["LD_PRELOAD", "DYLD_X", "BASH_ENV", "ENV", "IFS", "HOME", "USER", "SHELL", "SSH_AUTH_SOCK"] {
        assert_eq!(
            refusal::<EnvName>(name),
            format!("`{name}` steers the loader, the shell or ssh and cannot be set")
        );
    }
    assert_eq!(
        refusal::<EnvName>("PATH"),
        "`PATH` is put together by `machine`; use `path` in provision.toml"
    );
    for (name, shown) in
        [("", ""), ("1A", "1A"), ("A-B", "A-B"), ("A=B", "A=B"), ("Ä", "Ä"), ("A\0", "A\\u{0}")]
    {
        assert_eq!(
            refusal::<EnvName>(name),
            format!("expected the name of an environment variable, such as `DATABASE_URL`, got `{shown}`")
        );
    }
    assert!(STEERING.is_sorted());
}

#[test]
fn knows_two_images() {
    for image in ImageName::ALL {
        assert_eq!(image.as_str().parse::<ImageName>().unwrap(), image);
    }
    assert_eq!(refusal::<ImageName>("debian"), "expected `debian-13` or `ubuntu-24.04`, got `debian`");
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in any::<String>()) {
        for message in [
            text.parse::<ProjectName>().err(),
            text.parse::<ProfileName>().err(),
            text.parse::<EnvName>().err(),
            text.parse::<ImageName>().err(),
        ] {
            let message = message.map(|refused| refused.to_string()).unwrap_or_default();
            prop_assert!(!message.contains(char::is_control));
        }
    }

    #[test]
    fn names_round_trip(text in "[a-z][a-z0-9-]{0,29}") {
        prop_assert_eq!(text.parse::<ProfileName>().unwrap().to_string(), text);
    }
}
