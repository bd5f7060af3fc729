//! Rules between the two ends: what the client tells its server, and who each rule is for.

use super::{
    Filters, Place,
    list::In,
    rule::{Dialect, How, Kind, Rule, Side as For, Traits, prefix},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::Log,
    options::Options,
    proto::{Protocol, Side, filters},
    wire::{Reader, Writer},
};

impl Filters {
    /// Takes this side of the protocol, with the rules that follow from options. Before `exchange`.
    pub fn take_side(&mut self, side: Side, protocol: &Protocol, options: &Options, log: &Log) -> Result<()> {
        self.settings.sends = side.sends;
        self.settings.server = side.server;
        self.settings.version = protocol.version;
        self.settings.delete_excluded = options.delete_excluded;
        self.trusts_sender |= side.server || side.local;
        self.keep_partial_dir(side, protocol, options, log)
    }

    /// Settles with the other side who has which rules. Before any name is checked.
    pub fn exchange(
        &mut self,
        side: Side,
        protocol: &Protocol,
        options: &Options,
        reader: &mut Reader,
        writer: &mut Writer,
        log: &Log,
    ) -> Result<()> {
        let travels = filters::are_sent(side, protocol, options) && !options.reads_batch();
        if side.server {
            let told = if travels { filters::receive(reader)? } else { Vec::new() };
            return self.take_over(told, side, protocol, options, log);
        }
        self.hand_over(travels.then_some(writer), side, protocol, options, log)
    }

    /// Partial files are not to be sent or deleted. C: in compat.c setup_protocol
    fn keep_partial_dir(&mut self, side: Side, protocol: &Protocol, options: &Options, log: &Log) -> Result<()> {
        let Some(dir) = options.partial_dir.as_deref().filter(|dir| !dir.starts_with(b"/")) else { return Ok(()) };
        if side.server && !side.local {
            return Ok(());
        }
        let mut traits = Traits::NO_PREFIXES.with(Traits::DIRECTORY);
        if !side.sends || protocol.version >= 30 {
            traits = traits.with(Traits::PERISHABLE);
        }
        self.add_text(In::Main, dir, traits, How::PLAIN, Place::nowhere(log))
    }

    /// The client's part. C: exclude.c send_filter_list
    fn hand_over(
        &mut self,
        writer: Option<&mut Writer>,
        side: Side,
        protocol: &Protocol,
        options: &Options,
        log: &Log,
    ) -> Result<()> {
        let (cvs, modern) = (options.cvs_exclude, protocol.version >= 29);
        if cvs && side.sends {
            self.add_cvs_rules(modern, true, log)?;
        }
        let told = self.divide(options)?;
        if let Some(writer) = writer {
            filters::send(writer, told)?;
        }
        if cvs {
            self.add_cvs_rules(!side.sends || !modern, !side.sends, log)?;
        }
        Ok(())
    }

    /// The server's part. C: exclude.c recv_filter_list
    fn take_over(
        &mut self,
        told: Vec<Vec<u8>>,
        side: Side,
        protocol: &Protocol,
        options: &Options,
        log: &Log,
    ) -> Result<()> {
        let modern = protocol.version >= 29;
        let how = if modern { How::PLAIN } else { How::OLD_PREFIXES };
        for rule in told {
            self.add_text(In::Main, &rule, Traits::default(), how, Place::nowhere(log))?;
        }
        if options.cvs_exclude {
            let both = side.local || side.sends;
            self.add_cvs_rules(both || !modern, both, log)?;
        }
        if side.local {
            let to = self.dialect(options);
            self.rules.iter_mut().chain(&mut self.cvs).for_each(|rule| rule.side = side_of(rule, to));
        }
        Ok(())
    }

    /// The rules as lines that can be read again. C: in batch.c write_filter_rules
    pub fn lines(&self) -> Result<Vec<Vec<u8>>> {
        let line = |rule: &Rule| {
            if rule.pattern.contains(&b'\n') {
                let line = "cannot write a filter rule containing a newline to the batch replay script";
                return Err(Error::new(ExitCode::SYNTAX, line));
            }
            let slash: &[u8] = if rule.traits.has(Traits::DIRECTORY) { b"/" } else { b"" };
            Ok(bytes![prefix(rule.traits, &rule.pattern, None).unwrap_or_default(), *rule.pattern, slash])
        };
        self.rules.iter().map(line).collect()
    }

    fn add_cvs_rules(&mut self, per_dir: bool, built_in: bool, log: &Log) -> Result<()> {
        for text in [per_dir.then_some(b":C"), built_in.then_some(b"-C")].into_iter().flatten() {
            self.add_text(In::Main, text, Traits::default(), How::PLAIN, Place::nowhere(log))?;
        }
        Ok(())
    }

    fn dialect(&self, options: &Options) -> Dialect {
        let (version, sends) = (self.settings.version, self.settings.sends);
        Dialect { version, sends, delete_excluded: options.delete_excluded }
    }

    /// Decides who each rule is for; what the other side is to be told. C: exclude.c send_rules
    fn divide(&mut self, options: &Options) -> Result<Vec<Vec<u8>>> {
        let to = self.dialect(options);
        let mut told = Vec::new();
        for rule in &mut self.rules {
            rule.side = side_of(rule, to);
            if rule.side == For::Here {
                continue;
            }
            if rule.kind == Kind::Cvs {
                let spelled_out = tell_cvs(&mut self.cvs, to)?;
                if to.sends || to.version < 29 {
                    told.extend(spelled_out);
                    continue;
                }
            }
            told.extend(spell(rule, to)?);
        }
        Ok(told)
    }
}

fn tell_cvs(rules: &mut [Rule], to: Dialect) -> Result<Vec<Vec<u8>>> {
    let mut told = Vec::new();
    for rule in rules {
        rule.side = side_of(rule, to);
        if rule.side != For::Here {
            told.extend(spell(rule, to)?);
        }
    }
    Ok(told)
}

/// C: the first half of exclude.c send_rules
fn side_of(rule: &Rule, to: Dialect) -> For {
    let (here, there) = (For::Here, For::There);
    let (sender, receiver) = if to.sends { (here, there) } else { (there, here) };
    let traits = rule.traits;
    match (traits.has(Traits::SENDER), traits.has(Traits::RECEIVER)) {
        (true, true) => For::Both,
        (true, false) => sender,
        (false, true) => receiver,
        // what is excluded is deleted: the receiver does not look at it
        (false, false) if to.delete_excluded && (!traits.has(Traits::PER_DIR) || traits.has(Traits::NO_PREFIXES)) => {
            sender
        }
        (false, false) => For::Both,
    }
}

/// A rule as the other side reads it; `None` for one that says nothing.
fn spell(rule: &Rule, to: Dialect) -> Result<Option<Vec<u8>>> {
    let Some(mut text) = prefix(rule.traits, &rule.pattern, Some(to)) else {
        return Err(Error::new(ExitCode::PROTOCOL, "filter rules are too modern for remote rsync."));
    };
    text.extend_from_slice(&rule.pattern);
    if rule.traits.has(Traits::DIRECTORY) {
        text.push(b'/');
    }
    Ok((!text.is_empty()).then_some(text))
}
