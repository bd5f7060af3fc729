//! Filter rules: what is left out of a transfer, and what a deletion spares.
//!
//! Rules come from the command line, from files, from per-directory files that are met on the way, and on a server from
//! its client. `rule` is the grammar, `list` matches, `merge` reads texts and files and keeps what a directory
//! brought until it is left, `exchange` is the rules' way to the other side, `origin` knows what may be said of a rule.
//!
//! Each walk over a tree has a [`Filters`] of its own: the sender's, and the generator's over the destination.

mod exchange;
mod list;
mod merge;
mod origin;
mod rule;

use crate::{
    error::Result,
    fs::{Named, Root},
    log::{Log, LogCode, Speaker},
    options::{Debug, FilterArg, FilterOption, Options},
};

pub use list::Name;
use list::{Check, Found, In, Layout, find};
use merge::{PerDir, Saved};
use origin::Origin;
use rule::{How, Rule, Side, Traits};

/// What the rules say of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Excluded,
    Included,
    /// No rule applies.
    Open,
}

/// Where rules are read: the voice that tells of it, and the tree that the walk goes through, with the path there of
/// the directory at hand.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub log: &'a Log,
    pub tree: Option<(&'a Root, &'a [u8])>,
}

impl<'a> Place<'a> {
    /// Outside of any walk.
    pub fn nowhere(log: &'a Log) -> Self {
        Self { log, tree: None }
    }
}

/// What decides how rules are read.
#[derive(Clone, Debug)]
struct Settings {
    /// We are the transfer's sender.
    sends: bool,
    server: bool,
    delete_excluded: bool,
    from0: bool,
    version: u8,
    /// How files of rules are reached.
    named: Named,
}

/// All rules of one walk, and where the walk is.
#[derive(Clone, Debug)]
pub struct Filters {
    settings: Settings,
    rules: Vec<Rule>,
    cvs: Vec<Rule>,
    has_cvs: bool,
    has_xattr: bool,
    /// A per-directory rule was seen: only the sender knows what it leaves out. C: trust_sender_filter
    trusts_sender: bool,
    per_dir: Vec<Option<PerDir>>,
    /// The directory that names are relative to, absolute. C: curr_dir
    base: Vec<u8>,
    /// The directory at hand, absolute, with a slash at its end. C: dirbuf
    dir: Vec<u8>,
    scanning_parents: bool,
    depth: usize,
    origin: Origin,
    dying: bool,
    /// Directories entered and not left.
    nested: Vec<Option<Saved>>,
    /// By depth, for walks that go from directory to directory in the list's order. C: filt_array
    levels: Vec<Option<Saved>>,
    layout: Layout,
}

impl Filters {
    /// The rules of the command line. Files that it names are read now; a rule that does not parse ends the run.
    pub fn from_options(options: &Options, log: &Log) -> Result<Self> {
        let settings = Settings {
            sends: false,
            server: options.is_server(),
            delete_excluded: false,
            from0: options.from0,
            version: options.protocol.unwrap_or(32),
            named: Named::new(options.insecure_links, options.confine_root.as_deref()),
        };
        let mut filters = Self {
            settings,
            rules: Vec::new(),
            cvs: Vec::new(),
            has_cvs: false,
            has_xattr: false,
            trusts_sender: options.trust_sender,
            per_dir: Vec::new(),
            base: Vec::new(),
            dir: Vec::new(),
            scanning_parents: false,
            depth: 0,
            origin: Origin::default(),
            dying: false,
            nested: Vec::new(),
            levels: Vec::new(),
            layout: Layout::default(),
        };
        for option in &options.filters {
            filters.add_option(option, log)?;
        }
        filters.settings.delete_excluded = options.delete_excluded;
        filters.settings.from0 = options.from0;
        Ok(filters)
    }

    /// Adds an option's rules as things stood when it was said.
    fn add_option(&mut self, option: &FilterOption, log: &Log) -> Result<()> {
        self.settings.delete_excluded = option.delete_excluded;
        self.settings.from0 = option.from0;
        let log = &log.with_debug(Debug::Filter, option.trace);
        let at = Place::nowhere(log);
        let (exclude, include) = (Traits::default(), Traits::INCLUDE);
        let from_file = How::FATAL.with(How::OLD_PREFIXES);
        match &option.arg {
            FilterArg::Filter(text) => self.add_text(In::Main, text, exclude, How::PLAIN, at),
            FilterArg::PerDir(1) => self.add_text(In::Main, b": /.rsync-filter", exclude, How::PLAIN, at),
            FilterArg::PerDir(_) => self.add_text(In::Main, b"- .rsync-filter", exclude, How::PLAIN, at),
            FilterArg::Exclude(text) => self.add_text(In::Main, text, exclude, How::OLD_PREFIXES, at),
            FilterArg::Include(text) => self.add_text(In::Main, text, include, How::OLD_PREFIXES, at),
            FilterArg::ExcludeFrom(file) => self.add_file(In::Main, file, exclude, from_file, at),
            FilterArg::IncludeFrom(file) => self.add_file(In::Main, file, include, from_file, at),
        }
    }

    /// Whether no name is ever excluded: nothing need be asked or read.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether rules for the names of extended attributes were given. C: saw_xattr_filter
    pub fn has_xattr(&self) -> bool {
        self.has_xattr
    }

    /// Names are from now on relative to this absolute directory.
    pub fn start_at(&mut self, base: &[u8]) {
        if self.base != base {
            self.base = base.to_vec();
        }
    }

    /// What the rules of this side say of a name; the rule that decides is told. C: exclude.c check_filter
    pub fn check(&self, name: Name<'_>, log: &Log) -> Verdict {
        if self.rules.is_empty() {
            return Verdict::Open;
        }
        self.decide(Side::There, name, log)
    }

    /// Whether the rules leave a name out here.
    pub fn excludes(&self, name: Name<'_>, log: &Log) -> bool {
        self.check(name, log) == Verdict::Excluded
    }

    /// Whether the rules leave out an extended attribute.
    pub fn excludes_xattr(&self, name: &[u8], log: &Log) -> bool {
        self.excludes(Name { dir: b"", leaf: name, is_dir: false, xattr: true }, log)
    }

    /// Whether a sender that kept to our rules would not have offered this name. C: exclude.c check_server_filter
    pub fn forbids(&self, name: Name<'_>, log: &Log) -> bool {
        !self.trusts_sender && !self.rules.is_empty() && self.decide(Side::Here, name, log) == Verdict::Excluded
    }

    fn decide(&self, skip: Side, name: Name<'_>, log: &Log) -> Verdict {
        if name.leaf.is_empty() {
            return Verdict::Open;
        }
        let check = Check { skip, dying: self.dying, ..Check::new(name, &self.base, &self.layout) };
        let Some(found) = find(&self.rules, In::Main, check, self) else { return Verdict::Open };
        self.report(found, name, log);
        if found.rule.traits.has(Traits::INCLUDE) { Verdict::Included } else { Verdict::Excluded }
    }

    /// C: exclude.c report_filter_result
    fn report(&self, found: Found<'_>, name: Name<'_>, log: &Log) {
        let quiet = matches!(log.speaker(), Speaker::Receiver | Speaker::ReceiverStart);
        if log.debug(Debug::Filter) < if quiet { 3 } else { 1 } {
            return;
        }
        let traits = found.rule.traits;
        let doing = match (log.speaker() == Speaker::Generator, traits.has(Traits::INCLUDE)) {
            (false, true) => "showing ",
            (false, false) => "hiding ",
            (true, true) => "risking ",
            (true, false) => "protecting ",
        };
        let kind = match name {
            Name { xattr: true, .. } => "xattr ",
            Name { is_dir: true, .. } => "directory ",
            _ => "file ",
        };
        let pattern = self.origin.text(traits, &found.rule.pattern);
        let slash: &[u8] = if traits.has(Traits::DIRECTORY) { b"/" } else { b"" };
        let slash = self.origin.detail(traits, slash);
        let label = self.label(found.list);
        let line = crate::bytes![
            "[",
            log.speaker().name(),
            "] ",
            doing,
            kind,
            name.dir,
            name.leaf,
            " because of pattern ",
            pattern,
            *slash,
            label
        ];
        log.say(LogCode::Info, line);
    }

    /// Enters a directory of the walk: reads its per-directory files. C: exclude.c push_local_filters
    pub fn enter(&mut self, path: &[u8], at: Place<'_>) -> Result<()> {
        let saved = self.push(path, at)?;
        self.nested.push(saved);
        Ok(())
    }

    /// Leaves the directory entered last. C: exclude.c pop_local_filters
    pub fn leave(&mut self, log: &Log) {
        if let Some(saved) = self.nested.pop() {
            self.pop(saved, log);
        }
    }

    /// Goes on to a directory at this depth, leaving those that are as deep or deeper.
    /// C: exclude.c change_local_filter_dir
    pub fn go_to(&mut self, path: &[u8], depth: usize, at: Place<'_>) -> Result<()> {
        self.leave_from(depth, at.log);
        self.levels.resize_with(depth, || None);
        let saved = self.push(path, at)?;
        self.levels.push(saved);
        Ok(())
    }

    /// Leaves all directories that `go_to` went to.
    pub fn leave_all(&mut self, log: &Log) {
        self.leave_from(0, log);
    }

    fn leave_from(&mut self, depth: usize, log: &Log) {
        while self.levels.len() > depth {
            if let Some(saved) = self.levels.pop().flatten() {
                self.pop(Some(saved), log);
            }
        }
    }

    /// In a directory that is itself being deleted perishable rules spare nothing. C: ignore_perishable
    pub fn set_dying(&mut self, dying: bool) {
        self.dying = dying;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt, path::Path};

    use super::*;
    use crate::fs::Follow;

    fn log() -> Log {
        Log::unheard(Speaker::Sender)
    }

    fn filters(rules: &[&str]) -> Filters {
        let mut options = Options::default();
        rules.iter().for_each(|rule| options.add_filter(FilterArg::Filter(rule.as_bytes().to_vec())));
        Filters::from_options(&options, &log()).unwrap()
    }

    /// In a directory's tree.
    fn enter(filters: &mut Filters, top: &Path, path: &str) -> Result<()> {
        let base = top.as_os_str().as_bytes();
        let root = Root::open(base, Follow::Never).unwrap();
        filters.start_at(base);
        filters.enter(path.as_bytes(), Place { log: &log(), tree: Some((&root, path.as_bytes())) })
    }

    fn excludes(filters: &Filters, path: &str) -> bool {
        filters.excludes(Name::new(path.as_bytes(), false), &log())
    }

    #[test]
    fn what_a_directory_brings_goes_with_it() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("a/b")).unwrap();
        fs::write(top.path().join(".r"), "- x\n- /y\n").unwrap();
        fs::write(top.path().join("a/.r"), "+ x\n- z\n").unwrap();
        fs::write(top.path().join("a/b/.r"), "!\n: .s\n").unwrap();
        fs::write(top.path().join("a/b/.s"), "- s\n").unwrap();
        let mut filters = filters(&[": .r", "- last"]);
        let said = |filters: &Filters, dir: &str| {
            ["x", "y", "z", "s", "last"].map(|name| excludes(filters, &format!("{dir}{name}")))
        };
        enter(&mut filters, top.path(), ".").unwrap();
        assert_eq!(said(&filters, ""), [true, true, false, false, true]);
        enter(&mut filters, top.path(), "a").unwrap();
        assert_eq!(said(&filters, "a/"), [false, false, true, false, true]);
        enter(&mut filters, top.path(), "a/b").unwrap();
        assert_eq!(said(&filters, "a/b/"), [false, false, false, true, true]);
        filters.leave(&log());
        assert_eq!(said(&filters, "a/"), [false, false, true, false, true]);
        filters.leave(&log());
        assert_eq!(said(&filters, ""), [true, true, false, false, true]);
        filters.leave(&log());
        assert_eq!(said(&filters, ""), [false, false, false, false, true]);
    }

    #[test]
    fn files_that_name_files_come_to_an_end() {
        let top = tempfile::tempdir().unwrap();
        for number in 0..1100 {
            fs::write(top.path().join(format!(".r{number}")), format!(": .r{}\n", number + 1)).unwrap();
        }
        let error = enter(&mut filters(&[": .r0"]), top.path(), ".").unwrap_err();
        assert_eq!(error.message, b"too many per-directory filter files (limit 1000)");
    }

    #[test]
    fn what_is_no_file_makes_nobody_wait() {
        let top = tempfile::tempdir().unwrap();
        let pipe = top.path().join(".r");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        enter(&mut filters(&[": .r"]), top.path(), ".").unwrap();
    }

    #[test]
    fn dying_directories_spare_less() {
        let mut filters = filters(&["-p a", "- b"]);
        assert!(excludes(&filters, "a") && excludes(&filters, "b"));
        filters.set_dying(true);
        assert!(!excludes(&filters, "a") && excludes(&filters, "b"));
    }
}
