//! What would be done, in lines for people: what a plan is made of.

/// What would be done about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intended {
    /// Kind and name.
    pub object: String,
    /// What would change on it.
    pub lines: Vec<Line>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it does.
    pub sign: Sign,
    /// What is changed, and how.
    pub text: String,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Something comes.
    Add,
    /// Something becomes different.
    Change,
    /// Something goes.
    Remove,
    /// Something goes and comes again: traffic stops for a while.
    Interrupt,
    /// What it will be cannot be said yet.
    Later,
}

impl Line {
    /// Something comes.
    pub fn add(text: String) -> Self {
        Self { sign: Sign::Add, text }
    }

    /// Something becomes different.
    pub fn change(text: String) -> Self {
        Self { sign: Sign::Change, text }
    }

    /// Something goes.
    pub fn remove(text: String) -> Self {
        Self { sign: Sign::Remove, text }
    }

    /// What it will be cannot be said yet.
    pub fn later(text: String) -> Self {
        Self { sign: Sign::Later, text }
    }
}
