//! Whose Services these are: which classes this process serves. Pure.

use std::collections::BTreeSet;

/// The classes of load balancers that are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Values of `spec.loadBalancerClass`.
    pub classes: BTreeSet<String>,
    /// Whether Services without a class are served.
    pub classless: bool,
}

impl Claims {
    /// Whether a Service of this class is served. One of another class is somebody else's, and
    /// never touched.
    pub fn serve(&self, class: Option<&str>) -> bool {
        class.map_or(self.classless, |class| self.classes.contains(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_classes_are_served_and_the_classless_unless_told_otherwise() {
        let claims = Claims { classes: ["ours.example/lb".to_owned()].into(), classless: true };
        assert!(claims.serve(None) && claims.serve(Some("ours.example/lb")));
        assert!(!claims.serve(Some("theirs.example/lb")));
        let claims = Claims { classless: false, ..claims };
        assert!(!claims.serve(None) && claims.serve(Some("ours.example/lb")));
    }
}
