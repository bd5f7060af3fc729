//! From texts and files to lists of rules, and the per-directory files that come and go with the walk.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileTypeExt,
    sync::Arc,
};

use super::{
    Filters, Place,
    list::{Check, Found, In, Lists, find},
    rule::{How, Kind, Malformed, Rule, Token, Traits, is_space, next, prefix},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
    fs::{UNTRUSTED_LINK, is_untrusted_link},
    log::{Log, LogCode},
    options::Debug,
    text::path::{Clean, DotDot, base, clean, inside},
};

/// A pattern is shorter than this, as is a path. C: MAXPATHLEN
pub(super) const MAX_PATTERN: usize = 4096;
/// A line of a file is shorter than this. C: BIGPATHBUFLEN
const MAX_LINE: usize = 4096 + 1024;
/// How deep merge files may name each other. C: MAX_MERGE_DEPTH
const MAX_DEPTH: usize = 32;

/// How many per-directory files may be at work: each may name further ones, and every check asks them all.
const MAX_PER_DIR: usize = 1000;

/// What `-C` ignores. C: DEFAULT_CVSIGNORE
const CVS_IGNORE: &[u8] = b"RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* \
    *$ *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ \
    .bzr/";

/// Rules that a directory above brought, and what that one found from above.
#[derive(Debug)]
struct Inherited {
    rules: Vec<Rule>,
    above: Chain,
}

type Chain = Option<Arc<Inherited>>;

/// A per-directory file and what it brought so far.
#[derive(Clone, Debug)]
pub(super) struct PerDir {
    /// Of the rule that names it.
    traits: Traits,
    name: Vec<u8>,
    /// As the trace shows it. C: debug_type
    label: Vec<u8>,
    /// The rules of the directory at hand.
    rules: Vec<Rule>,
    inherited: Chain,
}

/// What a per-directory file had brought before a directory was entered.
#[derive(Clone, Debug)]
struct Before {
    own: Chain,
    inherited: Chain,
}

/// What to come back to when a directory is left.
#[derive(Clone, Debug)]
pub(super) struct Saved(Vec<Option<Before>>);

impl PerDir {
    /// Makes the rules at hand inherited ones; what was before.
    fn descend(&mut self) -> Before {
        let inherited = self.inherited.take();
        let own = (!self.rules.is_empty())
            .then(|| Arc::new(Inherited { rules: std::mem::take(&mut self.rules), above: inherited.clone() }));
        self.inherited = own.clone().or_else(|| inherited.clone());
        Before { own, inherited }
    }

    fn come_back(&mut self, before: Before) {
        self.inherited = before.inherited;
        self.rules = match before.own.map(Arc::try_unwrap) {
            None => Vec::new(),
            Some(Ok(own)) => own.rules,
            Some(Err(shared)) => shared.rules.clone(),
        };
    }
}

impl Lists for Filters {
    fn cvs(&self) -> &[Rule] {
        &self.cvs
    }

    fn per_dir<'r>(&'r self, number: usize, check: Check<'_>) -> Option<Found<'r>> {
        let file = self.per_dir.get(number)?.as_ref()?;
        let list = In::PerDir(number);
        let mut found = find(&file.rules, list, check, self);
        let mut above = &file.inherited;
        while let (None, Some(dir)) = (found, above) {
            found = find(&dir.rules, list, check, self);
            above = &dir.above;
        }
        found
    }
}

// Reading rules.
impl Filters {
    /// Adds the rules of a text to a list. C: exclude.c parse_filter_str
    pub(super) fn add_text(&mut self, to: In, text: &[u8], template: Traits, how: How, at: Place<'_>) -> Result<()> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let mut rest = &text[..end];
        loop {
            let read = next(&mut rest, template, how, self.settings.delete_excluded);
            match read.map_err(|what| self.malformed(what, rest))? {
                Some(token) => self.add_token(to, token, how, at)?,
                None => return Ok(()),
            }
        }
    }

    #[track_caller]
    fn malformed(&self, what: Malformed, text: &[u8]) -> Error {
        let none = Traits::default();
        let shown = self.origin.text(none, text);
        let line = match what {
            Malformed::Unknown => bytes!["Unknown filter rule: ", shown],
            Malformed::TwoSides => bytes!["specified-side merge file contains specified-side filter: ", shown],
            Malformed::TrailingClear => bytes!["'!' rule has trailing characters: ", shown],
            Malformed::NoPattern => bytes!["unexpected end of filter rule: ", shown],
            Malformed::Modifier(byte, position) => {
                let place = bytes![" '", [byte], "' at position ", position];
                bytes!["invalid modifier", self.origin.detail(none, &place)[..], " in filter rule: ", shown]
            }
        };
        Error::new(ExitCode::SYNTAX, line)
    }

    fn add_token(&mut self, to: In, token: Token<'_>, how: How, at: Place<'_>) -> Result<()> {
        let Token { traits, mut pattern } = token;
        let traits = if self.origin.hides(traits) { traits.with(Traits::FROM_FILE) } else { traits };
        self.has_xattr |= traits.has(Traits::XATTR);
        self.trusts_sender |= traits.has(Traits::PER_DIR);
        if pattern.len() >= MAX_PATTERN {
            let line = bytes!["discarding over-long filter: ", self.origin.text(Traits::default(), pattern)];
            at.log.say(LogCode::Error, line);
            return Ok(());
        }
        if traits.has(Traits::CLEAR) {
            self.clear(to, at.log);
            return Ok(());
        }
        let mut traits = traits;
        if traits.has(Traits::MERGE) {
            if pattern.is_empty() {
                pattern = b".cvsignore";
            }
            if traits.has(Traits::EXCLUDE_SELF) {
                self.add(to, base(pattern), traits.only(Traits::FROM_FILE), How::PLAIN, at.log)?;
                traits = traits.without(Traits::EXCLUDE_SELF);
            }
            if !traits.has(Traits::PER_DIR) {
                return match self.merge_name(traits, pattern, at.log) {
                    Some(file) => self.add_file(to, &file, traits, How::FATAL, at),
                    None => Ok(()),
                };
            }
            if self.scanning_parents {
                if let Some(name) = self.merge_name(traits, pattern, at.log) {
                    self.add(to, &name, traits, How::PLAIN, at.log)?;
                }
                return Ok(());
            }
        }
        self.add(to, pattern, traits, how, at.log)?;
        if traits.has(Traits::CVS) && !traits.has(Traits::MERGE) { self.add_cvs(traits, at) } else { Ok(()) }
    }

    /// C: exclude.c add_rule
    fn add(&mut self, to: In, pattern: &[u8], traits: Traits, how: How, log: &Log) -> Result<()> {
        self.trace_rule(to, pattern, traits, log);
        let far_side = if self.settings.sends { Traits::RECEIVER } else { Traits::SENDER };
        if how.has(How::ANCHORED) && traits.only(Traits::SIDES) == far_side {
            return Ok(()); // read here, but not meant for us
        }
        let mut rule = Rule::new(traits, pattern, how, &self.dir);
        if traits.has(Traits::PER_DIR) {
            let Some(number) = self.activate(&rule, log) else { return Ok(()) };
            if number >= MAX_PER_DIR {
                let line = bytes!["too many per-directory filter files (limit ", MAX_PER_DIR, ")"];
                return Err(Error::new(ExitCode::FILE_IO, line));
            }
            rule.kind = Kind::PerDir(number);
        }
        if let Some(list) = self.list_mut(to) {
            list.push(rule);
        }
        Ok(())
    }

    fn trace_rule(&self, to: In, pattern: &[u8], traits: Traits, log: &Log) {
        let level = log.debug(Debug::Filter);
        let note: &[u8] = match pattern.last() {
            Some(b' ' | b'\t') if level >= 1 => b" -- CAUTION: trailing whitespace!",
            _ if level >= 2 => b"",
            _ => return,
        };
        let prefix = prefix(traits, pattern, None).unwrap_or_default();
        let origin = &self.origin;
        let shown = bytes![origin.detail(traits, &prefix)[..], origin.text(traits, pattern)];
        let line = bytes!["add_rule(", shown, ")", self.label(to), origin.detail(traits, note)[..]];
        say(log, line);
    }

    /// The list's name in the trace. C: debug_type
    pub(super) fn label(&self, list: In) -> Vec<u8> {
        match list {
            In::Main => Vec::new(),
            In::Cvs => b" [global CVS]".to_vec(),
            In::PerDir(number) => self.file(number).map_or_else(Vec::new, |file| file.label.clone()),
        }
    }

    fn file(&self, number: usize) -> Option<&PerDir> {
        self.per_dir.get(number)?.as_ref()
    }

    fn list_mut(&mut self, list: In) -> Option<&mut Vec<Rule>> {
        match list {
            In::Main => Some(&mut self.rules),
            In::Cvs => Some(&mut self.cvs),
            In::PerDir(number) => self.per_dir.get_mut(number)?.as_mut().map(|file| &mut file.rules),
        }
    }

    /// Registers a per-directory file; its number, or `None` if one of that name is known already.
    fn activate(&mut self, rule: &Rule, log: &Log) -> Option<usize> {
        let name = base(&rule.pattern);
        if self.per_dir.iter().flatten().any(|file| base(&file.name) == name) {
            return None;
        }
        let number = self.per_dir.len();
        let label = bytes![" [per-dir ", self.origin.text(rule.traits, name), "]"];
        if log.debug(Debug::Filter) >= 2 {
            say(log, bytes!["activating mergelist #", number, label]);
        }
        let file =
            PerDir { traits: rule.traits, name: rule.pattern.to_vec(), label, rules: Vec::new(), inherited: None };
        self.per_dir.push(Some(file));
        Some(number)
    }

    /// Forgets rules; per-directory files that they named are no longer read. C: exclude.c free_filters
    fn discard(&mut self, rules: Vec<Rule>, log: &Log) {
        for rule in rules {
            let Kind::PerDir(number) = rule.kind else { continue };
            if log.debug(Debug::Filter) >= 2
                && let Some(file) = self.file(number)
            {
                let last = self.per_dir.len().saturating_sub(1);
                say(log, bytes!["deactivating mergelist #", last, file.label]);
            }
            if let Some(file) = self.per_dir.get_mut(number) {
                *file = None;
            }
            while matches!(self.per_dir.last(), Some(None)) {
                self.per_dir.pop();
            }
        }
    }

    /// `!`: forgets what a list has, inherited rules too.
    fn clear(&mut self, to: In, log: &Log) {
        if log.debug(Debug::Filter) >= 2 {
            say(log, bytes!["clearing filter list", self.label(to)]);
        }
        let rules = self.list_mut(to).map(std::mem::take).unwrap_or_default();
        self.discard(rules, log);
        if let In::PerDir(number) = to
            && let Some(Some(file)) = self.per_dir.get_mut(number)
        {
            file.inherited = None;
        }
    }

    /// What `-C` ignores: the built-in list, the user's own, the environment's. C: exclude.c get_cvs_excludes
    fn add_cvs(&mut self, traits: Traits, at: Place<'_>) -> Result<()> {
        if std::mem::replace(&mut self.has_cvs, true) {
            return Ok(());
        }
        let own = if self.settings.version >= 30 { traits.with(Traits::PERISHABLE) } else { traits };
        self.add_text(In::Cvs, CVS_IGNORE, own, How::PLAIN, at)?;
        let variable = |name: &str| std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec);
        if let Some(home) = variable("HOME") {
            let file = crate::text::path::join(&home, b".cvsignore");
            if file.len() < MAX_PATTERN {
                self.add_file(In::Cvs, &file, traits, How::PLAIN, at)?;
            }
        }
        match variable("CVSIGNORE") {
            Some(text) => self.add_text(In::Cvs, &text, traits, How::PLAIN, at),
            None => Ok(()),
        }
    }

    /// The path of a merge file: a name without slashes as it is, others from the directory at hand; `None` (said) if it
    /// gets too long. C: exclude.c parse_merge_name
    fn merge_name(&self, traits: Traits, name: &[u8], log: &Log) -> Option<Vec<u8>> {
        if !self.scanning_parents && !name.contains(&b'/') {
            return Some(name.to_vec());
        }
        let how = Clean { dot_dot: DotDot::Collapse, ..Clean::default() };
        let name = clean(name, how)?;
        if name.starts_with(b"/") {
            return Some(name);
        }
        if self.dir.len() + name.len() >= MAX_PATTERN {
            let line = bytes!["merge-file name overflows: ", self.origin.text(traits, &name)];
            log.say(LogCode::Error, line);
            return None;
        }
        clean(&[self.dir.as_slice(), &name].concat(), how)
    }
}

// Reading files.
impl Filters {
    /// Adds the rules of a file to a list. C: exclude.c parse_filter_file
    pub(super) fn add_file(&mut self, to: In, path: &[u8], template: Traits, how: How, at: Place<'_>) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        if self.depth >= MAX_DEPTH {
            let (who, shown) = (at.log.speaker().name(), self.origin.text(template, path));
            let line = bytes!["[", who, "] merge-file include depth limit (", MAX_DEPTH, ") exceeded at ", shown];
            if how.has(How::FATAL) {
                return Err(Error::new(ExitCode::FILE_IO, line));
            }
            at.log.say(LogCode::Error, line);
            return Ok(());
        }
        let opened = self.open(path, how.has(How::FATAL), at);
        self.trace_file(path, template, how, opened.is_ok(), at.log);
        let file = match opened {
            Ok(file) => file,
            Err(error) if how.has(How::FATAL) => return Err(self.unreadable(path, template, &error, at.log)),
            Err(_) => return Ok(()),
        };
        let inside = self.origin.inside(template, path);
        let outside = std::mem::replace(&mut self.origin, inside);
        self.depth += 1;
        let read = self.add_lines(to, file, template, how, at);
        self.depth -= 1;
        self.origin = outside;
        read
    }

    fn trace_file(&self, path: &[u8], template: Traits, how: How, found: bool, log: &Log) {
        if log.debug(Debug::Filter) < 2 {
            return;
        }
        let shown = self.origin.text(template, path);
        let note: &[u8] = if found { b"" } else { b" [not found]" };
        let numbers = format!(",{:x},{:x})", template.0, how.0);
        say(log, bytes!["parse_filter_file(", shown, numbers, self.origin.detail(template, note)[..]]);
    }

    #[track_caller]
    fn unreadable(&self, path: &[u8], template: Traits, error: &io::Error, log: &Log) -> Error {
        let kind = if template.has(Traits::INCLUDE) { "in" } else { "ex" };
        let what = bytes!["failed to open ", kind, "clude file ", self.origin.text(template, path)];
        if self.origin.hides(template) {
            return Error::new(ExitCode::FILE_IO, what); // not even whether it exists
        }
        let refused = if is_untrusted_link(error) { bytes![UNTRUSTED_LINK, "\n"] } else { Vec::new() };
        let line = bytes![refused, "rsync: [", log.speaker().name(), "] ", what, ": ", errno_text(error)];
        Error::new(ExitCode::FILE_IO, line)
    }

    /// `named`: the user names the file, who may mean a pipe. What a directory happens to hold must not make us wait.
    fn open(&self, path: &[u8], named: bool, at: Place<'_>) -> io::Result<Box<dyn Read>> {
        if named && path == b"-" && !self.settings.server {
            return Ok(Box::new(io::stdin()));
        }
        // The tree itself may lie out of bounds.
        if !self.settings.named.is_bounded()
            && let Some((root, dir)) = at.tree
            && let Some(leaf) = path.strip_prefix(self.dir.as_slice()).filter(|leaf| !leaf.contains(&b'/'))
        {
            match root.open_read(&inside(dir, leaf), libc::O_NONBLOCK) {
                Ok(file) => return plain(file),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Err(error),
                Err(_) => {} // over a link, perhaps: the rule for merge files is another than the tree's
            }
        }
        let path = if path.starts_with(b"/") { path.to_vec() } else { inside(&self.base, path) };
        if named {
            return Ok(Box::new(self.settings.named.open_file(&path, libc::O_RDONLY)?));
        }
        plain(self.settings.named.open_file(&path, libc::O_RDONLY | libc::O_NONBLOCK)?)
    }

    /// Reads a file's lines (or words) as rules.
    fn add_lines(&mut self, to: In, file: Box<dyn Read>, template: Traits, how: How, at: Place<'_>) -> Result<()> {
        let mut lines = Lines {
            file: BufReader::new(file),
            words: template.has(Traits::WORDS),
            zeros: self.settings.from0,
            line: Vec::new(),
        };
        loop {
            self.origin.next_line();
            let Some(fits) = lines.next() else { return Ok(()) };
            if !fits {
                let line = bytes!["discarding over-long filter: ", self.origin.text(template, b"")];
                at.log.say(LogCode::Error, line);
                continue;
            }
            let comment = !lines.words && matches!(lines.line.first(), Some(b';' | b'#'));
            if !comment && !lines.line.is_empty() {
                let line = std::mem::take(&mut lines.line);
                self.add_text(to, &line, template, how, at)?;
                lines.line = line;
            }
        }
    }
}

/// What is neither a file nor a link to one brings no rules.
fn plain(file: File) -> io::Result<Box<dyn Read>> {
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Ok(Box::new(io::empty()));
    }
    Ok(Box::new(file))
}

/// A rule file's lines.
struct Lines {
    file: BufReader<Box<dyn Read>>,
    words: bool,
    /// Lines end with a NUL byte.
    zeros: bool,
    line: Vec<u8>,
}

impl Lines {
    /// Puts the next one into `line`; `None` at the end, false for one that is too long. What cannot be read is the end.
    fn next(&mut self) -> Option<bool> {
        self.line.clear();
        let mut fits = true;
        let mut any = false;
        while let Some(byte) = self.byte() {
            any = true;
            if self.ends(byte) {
                return Some(fits);
            }
            if self.line.len() < MAX_LINE - 1 {
                self.line.push(byte);
            } else {
                fits = false;
            }
        }
        any.then_some(fits)
    }

    fn ends(&mut self, byte: u8) -> bool {
        if self.words && is_space(byte) {
            return true;
        }
        if self.zeros {
            return byte == 0;
        }
        if byte == b'\r' && self.peek() == Some(b'\n') {
            self.file.consume(1);
        }
        matches!(byte, b'\n' | b'\r')
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.file.fill_buf() {
                Ok(buffer) => return buffer.first().copied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.file.consume(1);
        Some(byte)
    }
}

// Walking.
impl Filters {
    /// Reads what the directory at hand brings; what was before. C: exclude.c push_local_filters
    pub(super) fn push(&mut self, path: &[u8], at: Place<'_>) -> Result<Option<Saved>> {
        self.set_dir(path);
        let tracing = at.log.debug(Debug::Filter) >= 2;
        if tracing {
            say(at.log, bytes!["pushing local filters for ", self.dir]);
        }
        if self.per_dir.is_empty() {
            return Ok(None);
        }
        let mut saved: Vec<Option<Before>> = Vec::with_capacity(self.per_dir.len());
        saved.extend(self.per_dir.iter_mut().map(|file| file.as_mut().map(PerDir::descend)));
        let mut number = 0;
        while number < self.per_dir.len() {
            if self.file(number).is_some() {
                if tracing {
                    say(at.log, bytes!["pushing mergelist #", number, self.label(In::PerDir(number))]);
                }
                self.push_file(number, path, at)?;
            }
            number += 1;
        }
        Ok(Some(Saved(saved)))
    }

    fn push_file(&mut self, number: usize, path: &[u8], at: Place<'_>) -> Result<()> {
        let Some(Some(file)) = self.per_dir.get_mut(number) else { return Ok(()) };
        if file.traits.has(Traits::NO_INHERIT) {
            file.inherited = None;
        }
        if file.traits.has(Traits::UNFINISHED) {
            file.traits = file.traits.without(Traits::UNFINISHED);
            if self.scan_parents(number, at)? {
                self.set_dir(path);
            }
        }
        let Some(file) = self.file(number) else { return Ok(()) };
        let (traits, whole) = (file.traits, [self.dir.as_slice(), &file.name].concat());
        if whole.len() < MAX_PATTERN {
            return self.add_file(In::PerDir(number), &whole, traits, How::ANCHORED, at);
        }
        let shown = self.origin.text(traits, &bytes!["\"", self.dir, "\""]);
        at.log.say(LogCode::Error, bytes!["cannot add local filter rules in long-named directory: ", shown]);
        Ok(())
    }

    /// A file that is named with its directory is read from there down to the directory at hand, if that lies below.
    /// True if it was named so. C: exclude.c setup_merge_file
    fn scan_parents(&mut self, number: usize, at: Place<'_>) -> Result<bool> {
        let Some(file) = self.file(number) else { return Ok(false) };
        let (traits, label) = (file.traits, file.label.clone());
        let Some(whole) = self.merge_name(traits, &file.name, at.log).filter(|name| name.starts_with(b"/")) else {
            return Ok(false);
        };
        let tracing = at.log.debug(Debug::Filter) >= 2;
        if tracing {
            say(at.log, bytes!["performing parent_dirscan for mergelist #", number, label]);
        }
        let name = base(&whole).to_vec();
        let top = whole[..whole.len() - name.len()].to_vec();
        if let Some(Some(file)) = self.per_dir.get_mut(number) {
            file.name.clone_from(&name);
        }
        let outside = Place { tree: None, ..at };
        let dir = std::mem::take(&mut self.dir);
        let below = dir.strip_prefix(top.as_slice()).unwrap_or_default();
        self.scanning_parents = true;
        let mut end = dir.len() - below.len();
        while end < dir.len() {
            self.dir = dir[..end].to_vec();
            let path = [self.dir.as_slice(), &name].concat();
            let read = self.add_file(In::PerDir(number), &path, traits, How::ANCHORED, outside);
            self.settle_parent(number, at.log);
            if read.is_err() {
                self.scanning_parents = false;
                return read.map(|()| true);
            }
            end += memchr::memchr(b'/', &dir[end..]).map_or(dir.len() - end, |slash| slash + 1);
        }
        self.scanning_parents = false;
        self.dir = dir;
        if tracing {
            say(at.log, bytes!["completed parent_dirscan for mergelist #", number, label]);
        }
        Ok(true)
    }

    /// What a directory above the first one brought is inherited, or else forgotten.
    fn settle_parent(&mut self, number: usize, log: &Log) {
        let Some(Some(file)) = self.per_dir.get_mut(number) else { return };
        if file.traits.has(Traits::NO_INHERIT) {
            let rules = std::mem::take(&mut file.rules);
            self.discard(rules, log);
        } else {
            file.descend();
        }
    }

    /// Comes back from a directory. C: exclude.c pop_local_filters
    pub(super) fn pop(&mut self, saved: Option<Saved>, log: &Log) {
        let tracing = log.debug(Debug::Filter) >= 2;
        if tracing {
            say(log, bytes!["popping local filters"]);
        }
        let saved = saved.map(|saved| saved.0).unwrap_or_default();
        for number in (0..self.per_dir.len()).rev() {
            if self.file(number).is_some() {
                self.pop_file(number, number < saved.len(), log);
            }
        }
        for (number, before) in saved.into_iter().enumerate() {
            if let (Some(Some(file)), Some(before)) = (self.per_dir.get_mut(number), before) {
                file.come_back(before);
            }
        }
    }

    fn pop_file(&mut self, number: usize, known: bool, log: &Log) {
        let tracing = log.debug(Debug::Filter) >= 2;
        if tracing {
            say(log, bytes!["popping mergelist #", number, self.label(In::PerDir(number))]);
        }
        let rules = self.list_mut(In::PerDir(number)).map(std::mem::take).unwrap_or_default();
        self.discard(rules, log);
        // what its first directory found above itself, where there is nothing to come back to
        if tracing && !known && self.file(number).is_some_and(|file| file.inherited.is_some()) {
            let label = self.label(In::PerDir(number));
            say(log, bytes!["freeing parent_dirscan filters of mergelist #", number, label]);
        }
    }

    /// C: exclude.c set_filter_dir
    fn set_dir(&mut self, path: &[u8]) {
        let whole = match path {
            [b'/', ..] => path.to_vec(),
            path if self.base.len() + 1 + path.len() >= MAX_PATTERN => inside(&self.base, b""),
            path => inside(&self.base, path),
        };
        let how = Clean { drop_trailing_dot: true, dot_dot: DotDot::Collapse, ..Clean::default() };
        self.dir = clean(&whole, how).unwrap_or(whole);
        if !self.dir.ends_with(b"/") {
            self.dir.push(b'/');
        }
    }
}

pub(super) fn say(log: &Log, line: Vec<u8>) {
    log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] ", line]);
}
