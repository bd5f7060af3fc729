//! The walk's first part: source arguments, and the directories that `-R` names imply.

use std::os::fd::AsFd;

use super::{
    Flags, Segment,
    build::{Implied, Missing, Waiting, Walker, Work, opened},
    examine::{Level, Place},
    io_error,
    names::{Argument, NameKind},
    rests::Rests,
    split_path,
};
use crate::{
    bytes,
    error::Result,
    filter::Name,
    fs::{UNTRUSTED_LINK, is_untrusted_link},
    log::LogCode,
    sys::stat::Stat,
};

impl Walker {
    /// C: flist.c send_file_list
    pub(super) fn argument(&mut self, segment: &mut Segment, arg: &[u8]) -> Result<()> {
        let argument = Argument::parse(arg, self.plan.relative, self.speaker())?;
        let Some(source) = self.enter(&argument) else { return Ok(()) };
        let name = argument.name.as_slice();
        let content = if self.plan.recurse { Flags::CONTENT_DIR } else { Flags::NONE };
        if argument.leading_dot && !self.said_dot {
            self.said_dot = true;
            self.list_path(segment, source, b".", None, Flags::IMPLIED_DIR, Level::Found)?;
        }
        let follow = self.examiner.copy_dirlinks || argument.kind != NameKind::Normal;
        let Some(stat) = self.stat_argument(source, name, follow)? else { return Ok(()) };
        if argument.kind != NameKind::Dot && stat.mode != 0 && self.argument_excluded(source, name, stat.is_dir()) {
            return Ok(());
        }
        if stat.is_dir() && !self.examiner.dirs {
            self.examiner.log.say(LogCode::Info, bytes!["skipping directory ", name]);
            return Ok(());
        }
        self.trust(source, name, &stat);
        if self.plan.relative && self.plan.inc_recurse {
            if let Some(slash) = memchr::memchr(b'/', &name[1..]).map(|at| at + 1) {
                let kind = if stat.mode == 0 { NameKind::Missing } else { argument.kind };
                return self.implied_incremental(segment, source, name, 0, slash, kind);
            }
        } else if self.plan.implied_dirs
            && let Some(slash) = memchr::memrchr(b'/', name).filter(|&slash| slash > 0)
        {
            self.implied_at_once(segment, source, &name[..slash])?;
        }
        self.examiner.filesystem = stat.dev;
        let as_dir = self.plan.recurse || (self.examiner.dirs && argument.kind != NameKind::Normal);
        let flags = if as_dir { content.with(Flags::TOP_DIR).with(Flags::CONTENT_DIR) } else { content };
        let listed = self.list_path(segment, source, name, Some(stat), flags, Level::Named)?;
        let enters = listed.filter(|&at| as_dir && segment.entry(at).is_dir());
        if enters.is_some() && (!self.plan.inc_recurse || argument.kind == NameKind::Dot) {
            if self.plan.inc_recurse && !std::mem::replace(&mut self.entered_dot, true) {
                self.go_to(source, name, 0)?;
            }
            self.work.push(Work::Scan { source, path: name.to_vec(), flags: content, mode: stat.mode });
        }
        Ok(())
    }

    /// Whether the rules leave an argument out.
    fn argument_excluded(&mut self, source: u32, name: &[u8], is_dir: bool) -> bool {
        let Self { sources, examiner, .. } = self;
        let Some(source) = sources.get(source) else { return false };
        examiner.filters.start_at(source.shown());
        examiner.filters.excludes(Name::new(name, is_dir), &examiner.log)
    }

    /// Opens the directory that an argument is looked up in. C: flist.c change_pathname
    fn enter(&mut self, argument: &Argument) -> Option<u32> {
        let dir = argument.dir.as_deref();
        match self.sources.enter(dir, &argument.name) {
            Ok(source) => {
                self.sources.go_to(source, &self.examiner.log);
                Some(source)
            }
            Err((name, error)) => {
                self.examiner.fail(bytes!["change_dir ", name, " failed"], &error);
                self.sources.go_back(&self.examiner.log);
                None
            }
        }
    }

    /// The user's own path to a name is good, also where it leads over links.
    fn trust(&mut self, source: u32, name: &[u8], stat: &Stat) {
        let (dir, _, slash) = split_path(name);
        if slash && !dir.is_empty() {
            self.sources.trust(source, dir);
        }
        if stat.is_dir() && name != b"." {
            self.sources.trust(source, name);
        }
    }

    /// What an argument is; one that is missing is complained of, left out, or has mode 0, as the options want it.
    fn stat_argument(&mut self, source: u32, name: &[u8], follow: bool) -> Result<Option<Stat>> {
        let Self { sources, examiner, .. } = self;
        let Some((source, trees)) = opened(sources, source) else { return Ok(None) };
        let error = match examiner.link_stat_named((source, &trees), name, follow)? {
            Ok(stat) => return Ok(Some(stat)),
            Err(error) => error,
        };
        if is_untrusted_link(&error) {
            examiner.log.say(LogCode::Error, UNTRUSTED_LINK);
        }
        let gone = error.raw_os_error() == Some(libc::ENOENT);
        match self.plan.missing {
            Missing::Ignore if gone => return Ok(None),
            Missing::Delete if gone => return Ok(Some(Stat::default())),
            _ => {}
        }
        if !gone {
            examiner.io_error |= io_error::GENERAL;
        }
        let what = bytes!["link_stat ", source.full_name(name), " failed"];
        examiner.log.syserr(LogCode::ErrorXfer, what, &error);
        Ok(None)
    }

    /// Lists one name that was not found by reading a directory; its position.
    fn list_path(
        &mut self,
        segment: &mut Segment,
        source: u32,
        path: &[u8],
        known: Option<Stat>,
        flags: Flags,
        level: Level,
    ) -> Result<Option<usize>> {
        let who = self.speaker();
        let Self { sources, examiner, .. } = self;
        let Some((named, trees)) = opened(sources, source) else { return Ok(None) };
        let (dir, base, slash) = split_path(path);
        let dir = segment.dir(dir, slash, source, who)?;
        // Of what is missing not even the directory need be there.
        let is_missing = known.is_some_and(|stat| stat.mode == 0);
        let (handle, leaf) = match trees.parent(if is_missing { b"." } else { path }) {
            Ok(found) => found,
            Err(error) => {
                examiner.lost(named.full_name(path), false, &error);
                return Ok(None);
            }
        };
        let place = Place { source: named, trees: &trees, at: handle.as_fd(), leaf, dir, base, found: false };
        examiner.list(segment, place, known, flags, level)
    }

    /// Lists the directories that lead to a `-R` name, as far as the name before did not. C: flist.c send_implied_dirs
    fn implied_at_once(&mut self, segment: &mut Segment, source: u32, dirs: &[u8]) -> Result<()> {
        let last = &self.implied.path;
        let common = std::iter::zip(dirs, last).take_while(|(a, b)| a == b).count();
        if common == dirs.len() && matches!(last.get(common), None | Some(b'/')) {
            return Ok(());
        }
        // the last slash that both have: what it ends was listed before
        let start = memchr::memrchr(b'/', &dirs[..common]).unwrap_or(0);
        let slashes = memchr::memchr_iter(b'/', dirs).filter(|&slash| slash > start);
        let ends: Vec<usize> = slashes.chain([dirs.len()]).collect();
        let mut depth = memchr::memchr_iter(b'/', &dirs[..common]).count();
        for end in ends {
            depth += 1;
            if let Some(at) = self.list_implied(segment, source, &dirs[..end])?
                && segment.entry(at).is_dir()
            {
                self.go_to(source, &dirs[..end], depth)?;
            }
        }
        self.implied.path = dirs.to_vec();
        Ok(())
    }

    /// Implied directories are looked at through links and listed whatever `-r`, `-d` say.
    fn list_implied(&mut self, segment: &mut Segment, source: u32, path: &[u8]) -> Result<Option<usize>> {
        let saved = (self.examiner.copy_links, self.examiner.dirs);
        (self.examiner.copy_links, self.examiner.dirs) = (true, true);
        let listed = self.list_path(segment, source, path, None, Flags::IMPLIED_DIR, Level::Implied);
        (self.examiner.copy_links, self.examiner.dirs) = saved;
        listed
    }

    /// Lists the first directory of a `-R` name that is not in the list yet (it ends at `slash`); the rest waits for
    /// that directory's own segment. C: flist.c send_implied_dirs
    fn implied_incremental(
        &mut self,
        segment: &mut Segment,
        source: u32,
        name: &[u8],
        start: usize,
        slash: usize,
        kind: NameKind,
    ) -> Result<()> {
        debug_assert!(start < slash && slash < name.len());
        let (dir, rest) = (&name[..slash], &name[slash + 1..]);
        // One that is gone is looked for again by each name.
        if self.implied.group.is_none() || self.implied.source != Some(source) || self.implied.path != dir {
            let listed = self.list_implied(segment, source, dir)?;
            let is_dir = listed.is_some_and(|at| segment.entry(at).is_dir());
            self.implied = Implied { path: dir.to_vec(), source: Some(source), group: None };
            if is_dir {
                self.implied.group = Some(self.waiting.len());
                self.waiting.push(Waiting { source, path: dir.to_vec(), rests: Rests::default() });
            }
        }
        if let Some(waiting) = self.implied.group.and_then(|group| self.waiting.get_mut(group)) {
            waiting.rests.push(rest, kind);
        }
        Ok(())
    }

    /// C: the second half of flist.c send1extra
    pub(super) fn rests_work(&mut self, segment: &mut Segment, source: u32, path: &[u8], rests: Rests) -> Result<()> {
        let content = Flags::CONTENT_DIR;
        for (rest, kind) in rests.iter() {
            let name = [path, b"/", rest].concat();
            if let Some(slash) = memchr::memchr(b'/', rest) {
                let start = path.len() + 1;
                self.implied_incremental(segment, source, &name, start, start + slash, kind)?;
                continue;
            }
            let known = match kind {
                NameKind::Normal => None,
                NameKind::Missing => Some(Stat::default()),
                NameKind::Slash | NameKind::Dot => {
                    let Some((named, trees)) = opened(&self.sources, source) else { continue };
                    match self.examiner.link_stat_named((named, &trees), &name, true)? {
                        Ok(stat) => Some(stat),
                        Err(error) => {
                            self.examiner.lost(named.full_name(&name), true, &error);
                            continue;
                        }
                    }
                }
            };
            let flags = content.with(Flags::TOP_DIR);
            self.list_path(segment, source, &name, known, flags, Level::Found)?;
        }
        Ok(())
    }
}
