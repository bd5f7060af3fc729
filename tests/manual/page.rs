//! The man page: the frame and the texts of `docs/manual/`, the options and exit statuses of the program.

use oc_rsync::{
    error::ExitCode,
    options::{
        flags::{DAEMON_FLAGS, FLAGS, Flag, Group},
        help,
        parse::options_from,
    },
};

const FRAME: &str = include_str!("../../docs/manual/oc-rsync.1.in");
const TEXTS: &str = include_str!("../../docs/manual/options.txt");

/// The sections, in the order of the page.
const SECTIONS: &[(Group, &str)] = &[
    (Group::Choice, "What takes part"),
    (Group::Links, "Links"),
    (Group::Metadata, "Attributes"),
    (Group::Writing, "How files are written"),
    (Group::Removal, "Deleting"),
    (Group::Voice, "What is said"),
    (Group::FarSide, "The other end"),
    (Group::Wire, "The connection"),
];

/// The texts of the options by name, in the order of the file.
pub fn texts() -> Vec<(&'static str, String)> {
    let mut texts: Vec<(&str, String)> = Vec::new();
    for line in TEXTS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match (line.strip_prefix("    "), texts.last_mut()) {
            (None, _) => texts.push((line, String::new())),
            (Some(text), Some((_, whole))) => {
                if !whole.is_empty() {
                    whole.push(' ');
                }
                whole.push_str(text);
            }
            (Some(_), None) => panic!("a text without an option"),
        }
    }
    texts
}

pub fn man() -> String {
    let options = format!("{}{}", options(), daemon());
    FRAME
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@REFERENCE@", help::VERSION)
        .replace("@OPTIONS@", options.trim_end())
        .replace("@STATUSES@", statuses().trim_end())
}

fn options() -> String {
    let texts = texts();
    let mut page = String::new();
    for (group, title) in SECTIONS {
        page += &format!(".SS {title}\n");
        for flag in FLAGS.iter().filter(|flag| flag.group == *group) {
            let key = super::key(flag);
            let text = texts.iter().find(|(name, _)| *name == key).map_or("", |(_, text)| text);
            page += &item(flag, text);
        }
    }
    page
}

/// The daemon's own table: what help says of it is all that there is to say.
fn daemon() -> String {
    let mark = if options_from(&["--daemon"]).is_err_and(|error| error.code == ExitCode::UNSUPPORTED) {
        " Not yet: this version cannot be a daemon, nor call one."
    } else {
        ""
    };
    let mut page = format!(".SS The daemon\nWith\n.BR \\-\\-daemon ,\nthese and no other options.{mark}\n");
    for flag in DAEMON_FLAGS {
        if let Some((_, line)) = flag.help.first() {
            let mut line = (*line).to_owned();
            if let Some(first) = line.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            page += &item(flag, &(line + "."));
        }
    }
    page
}

/// One option: its names, then what it does.
fn item(flag: &Flag, text: &str) -> String {
    let value = if flag.takes_value() { flag.value } else { "" };
    let mut names: Vec<String> = Vec::new();
    if flag.short != 0 {
        let blank = if flag.long.is_empty() && !value.is_empty() {
            format!(" \\fI{}\\fR", plain(value))
        } else {
            String::new()
        };
        names.push(format!("\\fB\\-{}\\fR{blank}", char::from(flag.short)));
    }
    for name in flag.names() {
        let value = if value.is_empty() { String::new() } else { format!("=\\fI{}\\fR", plain(value)) };
        names.push(format!("\\fB\\-\\-{}\\fR{value}", plain(name)));
    }
    for name in flag.off {
        names.push(format!("\\fB\\-\\-{}\\fR", plain(name)));
    }
    format!(".TP\n{}\n{}\n", names.join(", "), roff(text))
}

/// Characters that roff would read otherwise.
fn plain(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('^', "\\(ha")
}

/// A text as roff: a sentence a line, what is typed in bold.
fn roff(text: &str) -> String {
    let mut page = String::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            page += &format!("\\fB{}\\fR", plain(part));
        } else {
            page += &part.replace('\\', "\\e").replace(". ", ".\n");
        }
    }
    page
}

fn statuses() -> String {
    let mut page = String::from(".TP\n0\nAll went well.\n");
    for code in 1..=u8::MAX {
        if let Some(text) = ExitCode(code).text() {
            page +=
                &format!(".TP\n{code}\n{}.\n", text.replace("(see previous errors)", "\\(em see the messages before"));
        }
    }
    page + ".TP\n255\nThe remote shell failed.\n"
}
