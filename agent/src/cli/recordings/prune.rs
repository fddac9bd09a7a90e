//! `demarc recordings prune`: what is old is listed, or removed once somebody said that it is meant.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{PruneArgs, count, table, worker::Worker};
use crate::{
    recordings::{Outcome, Progress, Work, files::Listed},
    settings::load::Loaded,
    state::StateDir,
};

/// Names that are listed without `--all`.
const FEW: u64 = 20;

/// Lists, or asks and removes.
pub(super) fn run(args: &PruneArgs, worker: &Worker, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let older_than = args.older_than.map(|age| age.as_secs());
    if args.dry_run {
        let names = if args.all { u64::MAX } else { FEW };
        let outcome = worker.work(&Work::DryRun { older_than, names }, &mut |_| {})?;
        let list = StateDir::new(&loaded.settings.state_dir).recordings_list();
        let listed = usize::try_from(outcome.listed).unwrap_or(usize::MAX);
        let names = BufReader::new(File::open(list)?).lines().take(listed);
        super::super::end_quietly_with_the_reader();
        return show_dry_run(args, &outcome, names).map(|()| ExitCode::SUCCESS);
    }
    let mut expected = None;
    if !args.yes {
        if args.json || !io::stdin().is_terminal() {
            bail!("removing recordings cannot be taken back: say --yes, or --dry-run to see what would go");
        }
        let outcome = worker.work(&Work::DryRun { older_than, names: 0 }, &mut |_| {})?;
        println!("{}", summary(&outcome));
        if outcome.due.files == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if !confirmed(&mut io::stdin().lock())? {
            println!("Nothing was removed.");
            return Ok(ExitCode::SUCCESS);
        }
        expected = Some(outcome.due.files);
    }
    let bar = bar(args, expected);
    let shown = worker.work(&Work::Prune { older_than }, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let outcome = shown?;
    report(args, &outcome)
}

fn report(args: &PruneArgs, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    let troubles: Vec<String> = troubles(outcome).collect();
    if args.json {
        println!(
            "{}",
            json!({ "older_than": outcome.older_than, "removed": outcome.removed, "failed": outcome.failed,
                "changed": outcome.changed, "kept_by_holds": outcome.kept_by_holds, "troubles": troubles })
        );
    } else {
        let removed = count(outcome.removed.files, "file");
        println!("Removed for good: {removed}, {}.", table::size(outcome.removed.bytes));
        println!("{}", holds(outcome));
        if outcome.changed > 0 {
            println!("Somebody was changing {}, which stayed.", count(outcome.changed, "file"));
        }
        troubles.iter().for_each(|trouble| println!("{trouble}"));
    }
    if outcome.failed > 0 {
        bail!("{} could not be removed", count(outcome.failed, "file"));
    }
    Ok(ExitCode::SUCCESS)
}

fn show_dry_run(
    args: &PruneArgs,
    outcome: &Outcome,
    names: impl Iterator<Item = io::Result<String>>,
) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let left_out = outcome.due.files - outcome.listed;
    if args.json {
        let head = json!({ "older_than": outcome.older_than, "due": outcome.due, "kept_by_holds": outcome.kept_by_holds,
            "left_out": left_out, "troubles": troubles(outcome).collect::<Vec<_>>() });
        // A long list is passed on line by line.
        let head = head.to_string();
        write!(out, "{},\"names\":[", head.trim_end_matches('}'))?;
        for (number, line) in names.enumerate() {
            write!(out, "{}\n{}", if number == 0 { "" } else { "," }, line?)?;
        }
        writeln!(out, "]}}")?;
        return Ok(out.flush()?);
    }
    writeln!(out, "{}", summary(outcome))?;
    for line in names {
        let listed: Listed = serde_json::from_str(&line?)?;
        writeln!(
            out,
            "  {}  {:>9}  {}",
            table::day(listed.changed),
            table::size(listed.bytes),
            table::plain(&listed.path)
        )?;
    }
    if left_out > 0 {
        writeln!(out, "  and {left_out} more; --all lists them")?;
    }
    troubles(outcome).try_for_each(|trouble| writeln!(out, "{trouble}"))?;
    Ok(out.flush()?)
}

fn summary(outcome: &Outcome) -> String {
    let age = outcome.older_than.map(table::age).unwrap_or_default();
    let due = match outcome.due.files {
        0 => format!("Older than {age}, and to be removed: none."),
        files => format!(
            "Older than {age}, and to be removed: {}, {}.",
            count(files, "file"),
            table::size(outcome.due.bytes)
        ),
    };
    format!("{due}\n{}", holds(outcome))
}

fn holds(outcome: &Outcome) -> String {
    let kept = outcome.kept_by_holds;
    format!("Kept by a hold although old: {}, {}.", count(kept.files, "file"), table::size(kept.bytes))
}

fn troubles(outcome: &Outcome) -> impl Iterator<Item = String> + '_ {
    let of_trees = outcome
        .trees
        .iter()
        .flat_map(|tree| tree.troubles.iter().map(|trouble| format!("{}: {trouble}", tree.path.display())));
    of_trees.chain(outcome.troubles.iter().cloned())
}

/// Whether the owner says yes.
fn confirmed(answers: &mut impl BufRead) -> io::Result<bool> {
    print!("They cannot be brought back. Remove them? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn bar(args: &PruneArgs, expected: Option<u64>) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let bar = match expected {
        Some(files) => ProgressBar::new(files),
        None => ProgressBar::new_spinner(),
    };
    let template =
        if expected.is_some() { "{bar:30} {pos}/{len} removed, {msg}" } else { "{spinner} {pos} removed, {msg}" };
    // A template of our own cannot be wrong.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_position(progress.removed.files);
    bar.set_message(format!("{} ({} looked at)", table::size(progress.removed.bytes), progress.looked_at));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::Sum;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("no\n", false), ("yep\n", false)]
        {
            assert_eq!(confirmed(&mut answer.as_bytes()).unwrap(), expected, "{answer:?}");
        }
    }

    #[test]
    fn what_would_go_is_said_in_numbers() {
        let outcome = Outcome {
            older_than: Some(90 * 86_400),
            due: Sum { files: 1, bytes: 2_500_000 },
            kept_by_holds: Sum { files: 2, bytes: 0 },
            ..Outcome::default()
        };
        let expected =
            "Older than 90 days, and to be removed: 1 file, 2.5 MB.\nKept by a hold although old: 2 files, 0 B.";
        assert_eq!(summary(&outcome), expected);
        assert!(
            summary(&Outcome { older_than: Some(86_400), ..Outcome::default() })
                .contains("1 day, and to be removed: none.")
        );
    }
}
