//! `--out-format`: one line from a format and what it is about.

use super::item::{Run, columns};
use crate::{
    flist::Entry,
    options::{Options, check::format_has},
    proto::item::Flags,
    text::{mode::permission_string, number::Style, path},
};

/// The reference scans no further than this for the width of an escape.
const LONGEST_WIDTH: usize = 23;
/// No field is padded to more than a path's length.
const WIDEST: usize = 4095;

/// The format in force and what follows from its escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutFormat {
    text: Vec<u8>,
    /// 0: lines do not depend on what changed; 1: changed entries are itemized; 2 and more: all entries.
    /// C: stdout_format_has_i
    pub itemize: u8,
    /// Deletions follow the format too. C: stdout_format_has_o_or_i
    pub deletions: bool,
    /// A file is named before its data moves, as nothing in the line depends on that. C: log_before_transfer
    pub before_transfer: bool,
}

impl OutFormat {
    /// The format that the options ask for, if they ask for names at all.
    ///
    /// On a server nothing is printed by it, but it still says whether to itemize.
    pub fn of(options: &Options) -> Option<Self> {
        Some(Self {
            text: options.out_format.clone()?,
            itemize: options.out_format_has_i,
            deletions: options.out_format_has_o_or_i,
            before_transfer: options.log_before_transfer,
        })
    }

    /// The format of the log file, if there is one. On a server it holds, too. C: logfile_format
    pub fn of_log_file(options: &Options) -> Option<Self> {
        options.log_file.as_ref()?;
        let text = options.log_file_format.clone().unwrap_or_else(|| b"%i %n%L".to_vec());
        let itemize = u8::from(format_has(&text, b'i'));
        let deletions = itemize > 0 || format_has(&text, b'o');
        Some(Self { text, itemize, deletions, before_transfer: false })
    }

    /// Entries are told by it at all.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// A line shows permissions.
    pub fn shows_modes(&self) -> bool {
        format_has(&self.text, b'B')
    }

    /// A line may show what is known only after the data moved, and costs something: bytes and checksums.
    pub fn measures(&self) -> bool {
        b"bcC".iter().any(|&escape| format_has(&self.text, escape))
    }

    /// The line about an entry, without its newline.
    pub fn line(&self, subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
        expand(&self.text, subject, context)
    }

    /// The line about an entry that was deleted, without its newline. C: log.c log_delete
    pub fn deletion_line(&self, subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
        if self.deletions { self.line(subject, context) } else { deletion_line(subject, context) }
    }
}

/// `deleting NAME`, with a slash after a directory: the line where no format asks for another.
pub fn deletion_line(subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
    expand(b"deleting %n", subject, context)
}

/// What a line is about.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    pub mode: u32,
    pub size: u64,
    pub mtime: i64,
    /// 0 where owners are not kept.
    pub uid: u32,
    /// `None` where groups are not kept, or this one is not.
    pub gid: Option<u32>,
    /// Path relative to the transfer's root.
    pub name: Vec<u8>,
    /// On the sender: the directory that `name` is relative to, as the user named it. C: F_PATHNAME
    pub source: Option<&'a [u8]>,
    pub link_target: &'a [u8],
    /// What the entry was hard linked to.
    pub hard_link: &'a [u8],
    pub changes: Flags,
    /// Bytes that went out and came in for this entry.
    pub traffic: (u64, u64),
    /// The content's checksum in the order shown, where it is known.
    pub sum: Option<Vec<u8>>,
    /// How many bytes such a checksum has.
    pub sum_len: usize,
}

impl<'a> Subject<'a> {
    /// About an entry of the file list, with owners and groups as far as they are kept.
    pub fn entry(entry: Entry<'a>, changes: Flags, options: &Options) -> Self {
        Self {
            mode: entry.mode(),
            size: entry.size(),
            mtime: entry.mtime().0,
            uid: if options.owner { entry.uid() } else { 0 },
            gid: options.group.then(|| entry.gid()),
            name: entry.path(),
            link_target: entry.link_target(),
            changes,
            ..Self::default()
        }
    }

    /// About something that was deleted.
    pub fn deleted(name: &[u8], mode: u32) -> Self {
        Self { mode, name: name.to_vec(), changes: Flags::DELETED, ..Self::default() }
    }

    fn is_kind(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }
}

/// What a line says besides its subject.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub run: Run,
    /// Whether we are the sender (`send` and `recv`, and which bytes `%b` and `%c` are).
    pub sender: bool,
    pub pid: u32,
    /// Seconds since the epoch.
    pub now: i64,
    /// `2024/02/29 12:34:56` in local time.
    pub stamp: &'a dyn Fn(i64) -> String,
}

/// One `%` escape as written.
struct Escape {
    letter: u8,
    /// How many `'` stand around the width.
    quotes: u8,
    left: bool,
    zeros: bool,
    width: usize,
    /// Whether anything stood between `%` and the letter but quotes.
    formatted: bool,
    /// Bytes from `%` to the letter.
    len: usize,
}

/// Reads an escape; `None` where the text ends before a letter.
fn escape_at(text: &[u8]) -> Option<Escape> {
    let quotes = |at: usize| text.get(at..).unwrap_or_default().iter().take_while(|&&byte| byte == b'\'').count();
    let before = quotes(1);
    let mut at = 1 + before;
    let left = text.get(at) == Some(&b'-');
    at += usize::from(left);
    let digits: Vec<u8> = text
        .get(at..)
        .unwrap_or_default()
        .iter()
        .copied()
        .take(LONGEST_WIDTH - usize::from(left))
        .take_while(u8::is_ascii_digit)
        .collect();
    at += digits.len();
    let after = quotes(at);
    at += after;
    let width = digits.iter().fold(0_usize, |all, digit| (all * 10 + usize::from(digit - b'0')).min(WIDEST));
    Some(Escape {
        letter: *text.get(at)?,
        quotes: (before + after).min(3) as u8,
        left,
        zeros: !left && digits.first() == Some(&b'0'),
        width,
        formatted: left || !digits.is_empty(),
        len: at + 1,
    })
}

fn expand(text: &[u8], subject: &Subject<'_>, context: &Context<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(text.len() + subject.name.len() + 16);
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        line.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let Some(escape) = escape_at(rest) else { break };
        let (written, after) = rest.split_at(escape.len);
        match field(&escape, subject, context) {
            Some(field) => line.extend_from_slice(&field),
            None => line.extend_from_slice(written), // without a meaning it stands for itself
        }
        rest = after;
    }
    line.extend_from_slice(rest);
    line
}

fn field(escape: &Escape, subject: &Subject<'_>, context: &Context<'_>) -> Option<Vec<u8>> {
    let plain = match escape.letter {
        b'l' => Style::of_user(escape.quotes).integer(subject.size as i64).into_bytes(),
        b'U' => return Some(digits(escape, subject.uid)),
        b'G' => match subject.gid {
            Some(gid) => return Some(digits(escape, gid)),
            None => b"DEFAULT".to_vec(),
        },
        b'p' => return Some(digits(escape, context.pid)),
        b'M' => (context.stamp)(subject.mtime).replace(' ', "-").into_bytes(),
        b't' => (context.stamp)(context.now).into_bytes(),
        b'B' => permission_string(subject.mode)[1..].into(),
        b'o' if subject.changes.has(Flags::DELETED) => b"del.".to_vec(),
        b'o' => if context.sender { b"send" } else { b"recv" }.to_vec(),
        b'f' => full_name(subject),
        b'n' => shown_name(subject),
        b'L' => return Some(link(escape, subject)),
        // Only a daemon has a module.
        b'm' => Vec::new(),
        b'b' | b'c' => {
            let (out, back) = subject.traffic;
            let moved = subject.changes.has(Flags::TRANSFER);
            let bytes = if context.sender == (escape.letter == b'b') { out } else { back };
            Style::of_user(escape.quotes).integer(if moved { bytes as i64 } else { 0 }).into_bytes()
        }
        b'C' => match &subject.sum {
            Some(sum) => sum.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
            None => return Some(vec![b' '; subject.sum_len * 2]),
        },
        b'i' => columns(subject.mode, subject.changes, context.run).to_vec(),
        b'%' => b"%".to_vec(),
        _ => return None,
    };
    Some(padded(escape, plain, b' '))
}

fn padded(escape: &Escape, text: Vec<u8>, filler: u8) -> Vec<u8> {
    let missing = escape.width.saturating_sub(text.len());
    let filler = vec![filler; missing];
    if escape.left { [text, filler].concat() } else { [filler, text].concat() }
}

fn digits(escape: &Escape, number: u32) -> Vec<u8> {
    padded(escape, number.to_string().into_bytes(), if escape.zeros { b'0' } else { b' ' })
}

/// A directory's name has a slash behind it.
fn shown_name(subject: &Subject<'_>) -> Vec<u8> {
    let mut name = subject.name.clone();
    if subject.is_kind(libc::S_IFDIR) {
        name.push(b'/');
    }
    name
}

/// The name from where the user pointed, without a leading slash.
fn full_name(subject: &Subject<'_>) -> Vec<u8> {
    let joined = subject.source.map_or_else(|| subject.name.clone(), |dir| path::join(dir, &subject.name));
    let name = path::clean(&joined, path::Clean::default()).unwrap_or(joined);
    name.strip_prefix(b"/").unwrap_or(&name).to_vec()
}

/// ` => FIRST`, ` -> TARGET`, or with a width as many blanks.
fn link(escape: &Escape, subject: &Subject<'_>) -> Vec<u8> {
    let (arrow, target): (&[u8], &[u8]) = if !subject.hard_link.is_empty() {
        (b" => ", subject.hard_link)
    } else if subject.is_kind(libc::S_IFLNK) && !subject.changes.has(Flags::DELETED) {
        (b" -> ", subject.link_target)
    } else if escape.formatted {
        (b"    ", b"")
    } else {
        return Vec::new();
    };
    [arrow, &padded(escape, target.to_vec(), b' ')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(_: i64) -> String {
        "2026/11/22 15:33:50".into()
    }

    const CONTEXT: Context<'static> = Context {
        run: Run { outgoing: false, times: true, link_times: true },
        sender: true,
        pid: 9165,
        now: 0,
        stamp: &stamp,
    };

    fn file() -> Subject<'static> {
        Subject {
            mode: libc::S_IFREG | 0o644,
            size: 4096,
            name: b"q/f".to_vec(),
            gid: Some(0),
            changes: Flags::IS_NEW | Flags::TRANSFER,
            traffic: (49, 16),
            sum_len: 2,
            ..Subject::default()
        }
    }

    fn show(format: &str, subject: &Subject<'_>) -> String {
        String::from_utf8(expand(format.as_bytes(), subject, &CONTEXT)).unwrap()
    }

    // The expectations are what the reference printed for the same formats.
    #[test]
    fn widths_pad_either_side() {
        assert_eq!(show("[%10l][%-10l|%05l]", &file()), "[      4096][4096      | 4096]");
        assert_eq!(show("[%5U][%05U][%-5G|%5G]", &file()), "[    0][00000][0    |    0]");
        assert_eq!(show("[%B][%12B|%-12B|", &file()), "[rw-r--r--][   rw-r--r--|rw-r--r--   |");
        assert_eq!(show("[%n][%20n][%-20n|", &file()), "[q/f][                 q/f][q/f                 |");
        assert_eq!(show("[%15i|%-15i|", &file()), "[    >f+++++++++|>f+++++++++    |");
        assert_eq!(show("[%25M]", &file()), "[      2026/11/22-15:33:50]");
        assert_eq!(show("%t|%p", &file()), "2026/11/22 15:33:50|9165");
    }

    #[test]
    fn quotes_make_numbers_readable() {
        assert_eq!(show("%l %'l %''l %'''l %'5l|%5'l", &file()), "4096 4,096 4.10K 4.00K 4,096|4,096");
    }

    #[test]
    fn what_has_no_meaning_stands_for_itself() {
        for text in ["%z", "%5z", "%", "%5", "%5'", "%--5n", "%100000000000000000000000000000n", "%h%a%P%u"] {
            assert_eq!(show(text, &file()), text);
        }
        assert_eq!(show("[%m]", &file()), "[]");
        assert_eq!(show("%%|%5%|%-5%|%-%]", &file()), "%|    %|%    |%]");
    }

    #[test]
    fn links_show_where_they_lead() {
        assert_eq!(show("[%L|%10L|%-10L|", &file()), "[|              |              |");
        let link = Subject { mode: libc::S_IFLNK, link_target: b"f", ..file() };
        assert_eq!(show("[%L|%10L|%-10L|", &link), "[ -> f| ->          f| -> f         |");
        let hard = Subject { hard_link: b"first", ..file() };
        assert_eq!(show("%n%L", &hard), "q/f => first");
    }

    #[test]
    fn traffic_and_sum_belong_to_transfers() {
        assert_eq!(show("[%b][%c][%C]", &file()), "[49][16][    ]");
        let back = Context { sender: false, ..CONTEXT };
        assert_eq!(expand(b"%b %c %o", &file(), &back), b"16 49 recv");
        let still = Subject { changes: Flags::default(), sum: Some(vec![0x0b, 0xff]), ..file() };
        assert_eq!(show("[%b][%c][%C|%6C]", &still), "[0][0][0bff|  0bff]");
    }

    #[test]
    fn full_names_start_where_the_user_pointed() {
        let named = |source, name: &[u8]| {
            let subject = Subject { source, name: name.to_vec(), ..file() };
            show("%f", &subject)
        };
        assert_eq!(named(Some(b"/tmp/rp/q"), b"f"), "tmp/rp/q/f");
        assert_eq!(named(Some(b"/tmp//rp/./q/"), b"."), "tmp/rp/q/.");
        assert_eq!(named(None, b"q/d"), "q/d");
    }

    #[test]
    fn deletions_without_an_itemizing_format_are_plain_words() {
        let gone = Subject::deleted(b"q/d", libc::S_IFDIR);
        let line = |format: &str, deletions| {
            let options =
                Options { out_format: Some(format.into()), out_format_has_o_or_i: deletions, ..Options::default() };
            let format = OutFormat::of(&options).unwrap();
            String::from_utf8(format.deletion_line(&gone, &CONTEXT)).unwrap()
        };
        assert_eq!(line("%n", false), "deleting q/d/");
        assert_eq!(line("%i %n%L", true), "*deleting   q/d/");
        assert_eq!(line("%o %n", true), "del. q/d/");
    }
}
