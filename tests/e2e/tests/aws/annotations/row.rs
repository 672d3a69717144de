//! A row of the table: what a Service says, step by step, and what its load balancer shows then.

/// Annotations, named as `annotation_key` takes them, and their values.
pub(super) type Says = Vec<(&'static str, String)>;

/// One annotation of a Service, and what is seen of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The annotation's key.
    pub(super) about: &'static str,
    pub(super) ports: Vec<u16>,
    /// What the Service says from its beginning to its end.
    pub(super) beside: Says,
    /// What it says in each of its steps, and no longer.
    with: Says,
    /// How the annotation is set when the Service is made, and what lines show that.
    pub(super) made: Option<Step>,
    /// What it is set to then, one after the other, before it is taken away.
    pub(super) steps: Vec<Step>,
    /// What is otherwise than before when all was taken away: how lines ended, and end now. Nothing and
    /// a whole line is one more.
    stays: Vec<(String, String)>,
}

/// What is set, and what comes of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) says: Says,
    /// Texts of lines that are there now and were not before anything was set; with a `-` before it
    /// one of a line that is gone with nothing in its place.
    pub(super) shows: Vec<String>,
    /// The reason of an event that says that nothing comes of it.
    pub(super) event: Option<&'static str>,
}

impl Row {
    /// One about this annotation.
    pub(super) fn of(about: &'static str) -> Self {
        Self {
            about,
            ports: vec![80],
            beside: Says::new(),
            with: Says::new(),
            made: None,
            steps: Vec::new(),
            stays: Vec::new(),
        }
    }

    pub(super) fn ports(self, ports: &[u16]) -> Self {
        Self { ports: ports.to_vec(), ..self }
    }

    /// Another annotation, which is there all the time.
    pub(super) fn beside(mut self, key: &'static str, value: &str) -> Self {
        self.beside.push((key, value.to_owned()));
        self
    }

    /// Another annotation, which comes and goes with the row's.
    pub(super) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.with.push((key, value.to_owned()));
        self
    }

    /// The value with which the Service is made, and what some line shows of it.
    pub(super) fn made(mut self, value: &str, shows: &[&str]) -> Self {
        self.made = Some(self.says(value, shows, None));
        self
    }

    /// The next value, and what the lines show that are then there.
    pub(super) fn then(mut self, value: &str, shows: &[&str]) -> Self {
        let step = self.says(value, shows, None);
        self.steps.push(step);
        self
    }

    /// The next value, of which an event says that it needs a new load balancer.
    pub(super) fn in_vain(mut self, value: &str, event: &'static str) -> Self {
        let step = self.says(value, &[], Some(event));
        self.steps.push(step);
        self
    }

    /// What is otherwise than before at the end: how lines ended then, and end now.
    pub(super) fn stays(mut self, had: impl Into<String>, has: impl Into<String>) -> Self {
        self.stays.push((had.into(), has.into()));
        self
    }

    fn says(&self, value: &str, shows: &[&str], event: Option<&'static str>) -> Step {
        let mut says = self.with.clone();
        says.push((self.about, value.to_owned()));
        Step { says, shows: shows.iter().map(|text| (*text).to_owned()).collect(), event }
    }

    /// Whether these are the lines of a Service that has been through all, or what is wrong with them.
    pub(super) fn judge_end(&self, before: &[String], lines: &[String]) -> Result<(), String> {
        let end = self.end(before);
        if end == lines {
            return Ok(());
        }
        Err(format!("missing {:#?}; odd {:#?}", beside(&end, lines), beside(lines, &end)))
    }

    fn end(&self, before: &[String]) -> Vec<String> {
        let mut lines = before.to_vec();
        for (had, has) in &self.stays {
            if had.is_empty() {
                lines.push(has.clone());
            } else {
                for line in &mut lines {
                    if let Some(rest) = line.strip_suffix(had.as_str()) {
                        *line = format!("{rest}{has}");
                    }
                }
            }
        }
        lines.sort();
        lines
    }
}

impl Step {
    /// Whether the lines show the step and nothing else, or what is wrong with them.
    pub(super) fn judge(&self, before: &[String], lines: &[String]) -> Result<(), String> {
        let (new, mut lost) = (beside(lines, before), beside(before, lines));
        let (gone, shown): (Vec<&str>, Vec<&str>) =
            self.shows.iter().map(String::as_str).partition(|text| text.starts_with('-'));
        let gone: Vec<_> = gone.iter().map(|text| &text[1..]).collect();
        let has = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
        let missing = shown.iter().filter(|text| !has(&new, text));
        let there = gone.iter().filter(|text| !has(&lost, text));
        let missing: Vec<_> = missing.chain(there).collect();
        let is_meant = |line: &String, texts: &[&str]| texts.iter().any(|it| line.contains(it));
        let odd: Vec<_> = new.iter().filter(|line| !is_meant(line, &shown)).collect();
        lost.retain(|line| !is_meant(line, &gone));
        if missing.is_empty() && odd.is_empty() && lost.len() <= new.len() {
            return Ok(());
        }
        Err(format!("missing {missing:?}; new {new:#?}; lost {lost:#?}"))
    }
}

/// Lines without others.
fn beside(lines: &[String], others: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !others.contains(line)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_step_shows_what_it_says_and_nothing_else() {
        let row = Row::of("idle").then("60", &["idle=60"]).then("", &["-idle"]);
        let [set, gone] = &row.steps[..] else { panic!("{row:?}") };
        let before = lines("idle=9 zone=b");
        assert_eq!(set.judge(&before, &lines("idle=60 zone=b")), Ok(()));
        for wrong in ["idle=9 zone=b", "idle=60 zone=c", "idle=60", "idle=60 zone=b more=c"] {
            assert!(set.judge(&before, &lines(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(gone.judge(&before, &lines("zone=b")), Ok(()));
        assert!(gone.judge(&before, &before).is_err());
        assert!(gone.judge(&before, &[]).is_err());
    }

    #[test]
    fn what_stays_is_there_at_the_end() {
        let row = Row::of("tags").stays("=a", "=b").stays("", "more");
        let before = lines("x=a y=ab");
        assert_eq!(row.judge_end(&before, &lines("more x=b y=ab")), Ok(()));
        for wrong in ["x=b y=ab", "more x=a y=ab", "more x=b", "more more x=b y=ab"] {
            assert!(row.judge_end(&before, &lines(wrong)).is_err(), "{wrong}");
        }
    }
}
