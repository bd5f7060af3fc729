//! Source arguments: where a tree is entered, and under which name it appears in the list.

use super::MAX_PATH;
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::Speaker,
    text::path::{Clean, clean},
};

/// How an argument names what it names. C: NORMAL_NAME …
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameKind {
    Normal,
    /// `dir/` with `-R`: the directory by its name, a link to one followed.
    Slash,
    /// `.`, or `dir/` and the like without `-R`: the contents of a directory.
    Dot,
    /// Not there, but sent so that the receiver deletes it (`--delete-missing-args`).
    Missing,
}

/// A source argument taken apart. C: the head of flist.c send_file_list
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// The directory to go to, as typed; `None`: stay.
    pub dir: Option<Vec<u8>>,
    /// The name from there; with `-R` it may have several components or be absolute. Never empty.
    pub name: Vec<u8>,
    pub kind: NameKind,
    /// `-R` with `./` in front: the destination's own attributes are meant as well.
    pub leading_dot: bool,
}

impl Argument {
    /// Takes an argument apart; with `-R`, a `..` in the part that is transferred ends the run with status 1.
    pub fn parse(arg: &[u8], relative: bool, speaker: Speaker) -> Result<Self> {
        let mut arg = arg.to_vec();
        arg.truncate(MAX_PATH - 1);
        if relative { Self::relative(&arg) } else { Self::plain(arg, speaker) }
    }

    fn plain(mut arg: Vec<u8>, speaker: Speaker) -> Result<Self> {
        let kind = if arg == b"./" {
            arg.pop();
            NameKind::Dot
        } else if arg.is_empty() || arg.ends_with(b"/") {
            arg.push(b'.');
            NameKind::Dot
        } else if arg == b".." || arg.ends_with(b"/..") {
            arg.extend_from_slice(b"/.");
            NameKind::Dot
        } else if arg == b"." || arg.ends_with(b"/.") {
            NameKind::Dot
        } else {
            NameKind::Normal
        };
        if arg.len() >= MAX_PATH {
            let place = format!("] buffer overflow: send_file_list (file={}, line={})", file!(), line!());
            return Err(Error::new(ExitCode::MALLOC, bytes!["[", speaker.name(), place]));
        }
        let (dir, name) = match memchr::memrchr(b'/', &arg) {
            Some(0) => (Some(b"/".to_vec()), arg.split_off(1)),
            Some(slash) => {
                let name = arg.split_off(slash + 1);
                arg.truncate(slash);
                (Some(arg), name)
            }
            None => (None, arg),
        };
        Ok(Self { dir, name, kind, leading_dot: false })
    }

    fn relative(arg: &[u8]) -> Result<Self> {
        let (dir, active) = match memchr::memmem::find(arg, b"/./") {
            Some(dot) => {
                let dir = if dot == 0 { Some(b"/".to_vec()) } else { clean(&arg[..dot], Clean::default()) };
                let rest = &arg[dot + 3..];
                let start = rest.iter().position(|&byte| byte != b'/').unwrap_or(rest.len());
                (dir, &rest[start..])
            }
            None => (None, arg),
        };
        let leading_dot = active.starts_with(b"./") && active.len() > 2;
        let how = Clean { keep_trailing_slash: true, drop_trailing_dot: true, ..Clean::default() };
        let mut name = clean(active, how).unwrap_or_default();
        let mut kind = NameKind::Normal;
        if name == b"/" {
            name.push(b'.');
            kind = NameKind::Dot;
        } else if name == b"." {
            kind = NameKind::Dot;
        } else if name.ends_with(b"/") {
            name.pop();
            kind = if name == b"." { NameKind::Dot } else { NameKind::Slash };
        }
        if name.split(|&byte| byte == b'/').any(|part| part == b"..") {
            let line = bytes!["found \"..\" dir in relative path: ", name];
            return Err(Error::new(ExitCode::SYNTAX, line));
        }
        if name.is_empty() {
            name.push(b'.');
            kind = NameKind::Dot;
        }
        Ok(Self { dir, name, kind, leading_dot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(arg: &str, relative: bool) -> (String, String, NameKind) {
        let parsed = Argument::parse(arg.as_bytes(), relative, Speaker::Sender).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (parsed.dir.map_or("-".into(), text), text(parsed.name), parsed.kind)
    }

    #[test]
    fn plain_arguments() {
        use NameKind::{Dot, Normal};
        let cases = [
            ("a", "-", "a", Normal),
            ("a/b", "a", "b", Normal),
            ("/a", "/", "a", Normal),
            ("a/", "a", ".", Dot),
            ("a//", "a/", ".", Dot),
            ("", "-", ".", Dot),
            (".", "-", ".", Dot),
            ("./", "-", ".", Dot),
            ("/", "/", ".", Dot),
            ("..", "..", ".", Dot),
            ("a/..", "a/..", ".", Dot),
            ("a/.", "a", ".", Dot),
            ("a/...", "a", "...", Normal),
        ];
        for (arg, dir, name, kind) in cases {
            assert_eq!(parts(arg, false), (dir.into(), name.into(), kind), "{arg}");
        }
    }

    #[test]
    fn relative_arguments() {
        use NameKind::{Dot, Normal, Slash};
        let cases = [
            ("a/b", "-", "a/b", Normal),
            ("a/b/", "-", "a/b", Slash),
            ("a/./b/c", "a", "b/c", Normal),
            ("a//x/.//b", "a/x", "b", Normal),
            ("/./b", "/", "b", Normal),
            ("a/./", "a", ".", Dot),
            ("a/.", "-", "a", Slash),
            ("/", "-", "/.", Dot),
            ("/etc/x", "-", "/etc/x", Normal),
            ("./a/b", "-", "a/b", Normal),
            (".", "-", ".", Dot),
            ("./", "-", ".", Dot),
            ("a/./b/./c", "a", "b/c", Normal),
            ("../a/./b", "../a", "b", Normal),
        ];
        for (arg, dir, name, kind) in cases {
            assert_eq!(parts(arg, true), (dir.into(), name.into(), kind), "{arg}");
        }
        assert!(Argument::parse(b"./a", true, Speaker::Sender).unwrap().leading_dot);
        assert!(!Argument::parse(b"a/./b", true, Speaker::Sender).unwrap().leading_dot);
    }

    #[test]
    fn dot_dot_must_not_travel() {
        for arg in ["..", "a/../b", "x/./../b", "a/.."] {
            let error = Argument::parse(arg.as_bytes(), true, Speaker::Sender).unwrap_err();
            assert_eq!(error.code, ExitCode::SYNTAX);
            assert!(error.message.starts_with(b"found \"..\" dir in relative path: "), "{error}");
        }
        assert!(Argument::parse(b"a/..b", true, Speaker::Sender).is_ok());
    }
}
