//! The flags as a page of the book.

use clap::Arg;

use super::typed;

/// All flags as Markdown: one section for each group, one line for each flag.
pub fn reference(name: &'static str) -> String {
    page(&typed::command(name, &[]), |_| true)
}

/// The flags that `plan` takes besides.
pub fn plan_reference(name: &'static str) -> String {
    page(&typed::plan_command(name, &[]), |heading| heading == "Plan flags")
}

/// The flags that `manifest` takes besides.
pub fn manifest_reference(name: &'static str) -> String {
    page(&typed::manifest_command(name, &[]), |heading| heading == "Manifest flags")
}

fn page(command: &clap::Command, is_asked: impl Fn(&str) -> bool) -> String {
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut headings: Vec<&str> = Vec::new();
    for heading in shown().filter_map(Arg::get_help_heading) {
        if is_asked(heading) && !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let section = |heading: &&str| {
        let flags = shown().filter(|arg| arg.get_help_heading() == Some(*heading));
        let lines: Vec<_> = flags.map(line).collect();
        let head = "| Flag | Default | Meaning |\n| --- | --- | --- |";
        format!("\n## {heading}\n\n{head}\n{}\n", lines.join("\n"))
    };
    headings.iter().map(section).collect::<Vec<_>>().concat()
}

fn line(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let long = arg.get_long().map(|long| match (arg.get_value_names(), arg.get_action()) {
        (Some([value, ..]), action) if action.takes_values() => format!("`--{long}` {value}"),
        _ => format!("`--{long}`"),
    });
    let flag = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    let default = if arg.is_hide_default_value_set() {
        String::new()
    } else {
        let defaults = arg.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|it| format!("`{}`", it.display())).collect();
        defaults.join(" ")
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let cells = [flag, default, help].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_on_the_page() {
        let page = reference("ccm");
        for flag in typed::command("ccm", &[]).get_arguments() {
            let Some(long) = flag.get_long() else { continue };
            assert!(page.contains(&format!("`--{long}`")), "--{long} is missing");
        }
        assert!(page.contains("| `--leader-elect-lease-duration` DURATION | `15s` | How long "));
        assert!(page.contains("`--version` true\\|raw |  | Print"));
        assert!(!page.contains("positional"));
    }
}
