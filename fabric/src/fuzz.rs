//! What must hold of the readers of configuration whatever the bytes: as `wire`'s, the same
//! functions run as bounded tests and under a coverage-guided fuzzer (`fuzz/`). They panic when
//! something does not hold, and the product does not call them.

use crate::access::{
    Decision, Effect, POLICY_LINES_MAX, POLICY_WORDS_MAX, Policy, ROLES_MAX, Subject, Verb,
};

/// Faults that are told of a text at most.
const FAULTS_MAX: usize = 64;

/// Lines and nodes that are looked at closely.
const LOOKED_AT: usize = 8;

/// Longer texts are not compared with themselves.
const COMPARED_BYTES_MAX: usize = 4_096;

/// [`Policy::parse`]: what is accepted is within its bounds, changes nothing against itself, and
/// decides as its lines say: a deny that means somebody wins, and nothing is allowed without an
/// allow.
pub fn policy(bytes: &[u8]) {
    let policy = match Policy::parse("fuzz", bytes) {
        Ok(policy) => policy,
        Err(error) => {
            assert!((1..=FAULTS_MAX).contains(&error.faults().len()), "faults are told, a few");
            return;
        }
    };
    assert!(policy.lines().count() + policy.limits().count() <= POLICY_LINES_MAX);
    assert!(policy.roles().count() <= ROLES_MAX && policy.nodes().len() <= POLICY_WORDS_MAX);
    let nodes = policy.nodes();
    let nodes = nodes.iter().take(LOOKED_AT).map(|name| Subject::node(name));
    let roles = policy.roles().take(LOOKED_AT).map(Subject::role);
    for subject in nodes.chain(roles) {
        for line in policy.lines().take(LOOKED_AT) {
            // A pattern as it stands is a name only where it is exact; others are nobody's.
            for name in line.types().iter().take(LOOKED_AT).map(|types| types.as_str()) {
                decided(&policy, &subject, name);
            }
        }
    }
    // It compares each pattern with each other, for everybody.
    if bytes.len() <= COMPARED_BYTES_MAX {
        assert_eq!(policy.changes(&policy), [], "no policy differs from itself");
    }
}

/// Every verb of somebody with a type.
fn decided(policy: &Policy, subject: &Subject, name: &str) {
    for verb in Verb::ALL {
        let says = |line: &crate::PolicyLine| {
            let of = line.verbs().any(|own| own == verb);
            of && line.types().iter().any(|types| types.matches(name))
        };
        match policy.authorise(subject, verb, name) {
            Decision::Allowed(line) => assert!(line.effect() == Effect::Allow && says(line)),
            Decision::Denied(line) => assert!(line.effect() == Effect::Deny && says(line)),
            Decision::DeniedByDefault => {}
        }
        assert!(!policy.authorise(&Subject::default(), verb, name).is_allowed(), "nobody may");
    }
}
