//! Completions for three shells: every name of every option, and what kind of thing its value is.

use oc_rsync::options::flags::{FLAGS, Flag};

use super::is_for_users;

/// How an option's value is completed.
enum Kind {
    File,
    Directory,
    /// One of these.
    Words(&'static [&'static str]),
    Free,
}

fn kind(flag: &Flag) -> Kind {
    match (flag.long, flag.value) {
        ("stderr", _) => Kind::Words(&["errors", "all", "client"]),
        ("outbuf", _) => Kind::Words(&["N", "L", "B"]),
        ("checksum-choice", _) => Kind::Words(&["auto", "xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none"]),
        ("protocol", _) => Kind::Words(&["27", "28", "29", "30", "31", "32"]),
        ("rsync-path" | "rsh", _) | (_, "FILE") => Kind::File,
        (_, "DIR") => Kind::Directory,
        _ => Kind::Free,
    }
}

/// What help says in its first line.
fn summary(flag: &Flag) -> &'static str {
    match flag.help.first() {
        Some((_, line)) => line,
        None => "an older or rarer option",
    }
}

fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| is_for_users(flag))
}

pub fn bash() -> String {
    let (mut words, mut files, mut dirs, mut cases) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for flag in flags() {
        let equals = if flag.takes_value() { "=" } else { "" };
        words.extend(flag.names().map(|name| format!("--{name}{equals}")));
        words.extend(flag.off.iter().map(|name| format!("--{name}")));
        if flag.short != 0 {
            words.push(format!("-{}", char::from(flag.short)));
        }
        if flag.takes_value() {
            let names: Vec<String> = names_typed(flag);
            match kind(flag) {
                Kind::File => files.extend(names),
                Kind::Directory => dirs.extend(names),
                Kind::Words(list) => {
                    cases += &format!(
                        "    {}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;\n",
                        names.join("|"),
                        list.join(" ")
                    );
                }
                Kind::Free => cases += &format!("    {}) return ;;\n", names.join("|")),
            }
        }
    }
    format!(
        "# bash completion for oc-rsync: made from its option table\n\
         _oc_rsync() {{\n    \
             local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n    \
             COMPREPLY=()\n    \
             # bash takes \"--name=value\" apart at the \"=\"\n    \
             if [[ $cur == = ]]; then\n        \
                 cur=\n    \
             elif [[ $prev == = ]]; then\n        \
                 prev=${{COMP_WORDS[COMP_CWORD-2]}}\n    \
             fi\n    \
             case $prev in\n    \
             {}) COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;\n    \
             {}) COMPREPLY=($(compgen -d -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;\n\
         {cases}    \
             esac\n    \
             if [[ $cur == -* ]]; then\n        \
                 COMPREPLY=($(compgen -W '{}' -- \"$cur\"))\n        \
                 if [[ ${{COMPREPLY[0]-}} == *= ]]; then compopt -o nospace 2>/dev/null; fi\n    \
             else\n        \
                 COMPREPLY=($(compgen -f -- \"$cur\") $(compgen -A hostname -S : -- \"$cur\"))\n        \
                 compopt -o filenames 2>/dev/null\n    \
             fi\n\
         }}\n\
         complete -F _oc_rsync oc-rsync\n",
        files.join("|"),
        dirs.join("|"),
        words.join(" ")
    )
}

/// The words that come before a value: `--rsh`, `-e`.
fn names_typed(flag: &Flag) -> Vec<String> {
    let short = (flag.short != 0).then(|| format!("-{}", char::from(flag.short)));
    flag.names().map(|name| format!("--{name}")).chain(short).collect()
}

pub fn zsh() -> String {
    let mut specs = String::new();
    for flag in flags() {
        let summary = summary(flag).replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let action = match kind(flag) {
            _ if !flag.takes_value() => String::new(),
            Kind::File => ":file:_files".to_owned(),
            Kind::Directory => ":directory:_files -/".to_owned(),
            Kind::Words(list) => format!(":value:({})", list.join(" ")),
            Kind::Free => format!(":{}: ", flag.value.replace(':', "\\:")),
        };
        let equals = if flag.takes_value() { "=" } else { "" };
        for name in flag.names() {
            specs += &format!("    '*--{name}{equals}[{summary}]{action}' \\\n");
        }
        for name in flag.off {
            specs += &format!("    '*--{name}[negation]' \\\n");
        }
        if flag.short != 0 {
            let plus = if flag.takes_value() { "+" } else { "" };
            specs += &format!("    '*-{}{plus}[{summary}]{action}' \\\n", char::from(flag.short));
        }
    }
    format!(
        "#compdef oc-rsync\n# zsh completion for oc-rsync: made from its option table\n\
         _oc_rsync_path() {{\n    \
             _alternative 'files:file:_files' 'hosts:host:_hosts -S :'\n\
         }}\n\
         _arguments -s -S \\\n{specs}    '*:path:_oc_rsync_path'\n"
    )
}

pub fn fish() -> String {
    let mut text = String::from("# fish completion for oc-rsync: made from its option table\n");
    for flag in flags() {
        let action = match kind(flag) {
            _ if !flag.takes_value() => String::new(),
            Kind::File => " -r -F".to_owned(),
            Kind::Directory => " -x -a '(__fish_complete_directories)'".to_owned(),
            Kind::Words(list) => format!(" -x -a '{}'", list.join(" ")),
            Kind::Free => " -x".to_owned(),
        };
        let summary = summary(flag).replace('\\', "\\\\").replace('\'', "\\'");
        let mut short = if flag.short == 0 { String::new() } else { format!(" -s {}", char::from(flag.short)) };
        for name in flag.names() {
            text += &format!("complete -c oc-rsync{short} -l {name}{action} -d '{summary}'\n");
            short.clear();
        }
        if !short.is_empty() {
            text += &format!("complete -c oc-rsync{short}{action} -d '{summary}'\n");
        }
        for name in flag.off {
            text += &format!("complete -c oc-rsync -l {name} -d 'negation'\n");
        }
    }
    text
}
