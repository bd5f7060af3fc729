//! Process entry: everything happens in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    oc_rsync::cli::main()
}
