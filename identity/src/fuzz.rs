//! What must hold of each reader whatever the bytes: one function a reader. As `wire`'s: the same
//! functions run as bounded tests and under a coverage-guided fuzzer (`fuzz/`); they panic when
//! something does not hold, and the product does not call them.

use crate::{Certificate, RevocationList, SERIALS_MAX};

/// [`RevocationList::parse`]: what is accepted is written as the same bytes, within its bounds.
pub fn revocations(bytes: &[u8]) {
    let Ok(list) = RevocationList::parse(bytes) else { return };
    assert_eq!(list.as_bytes(), bytes, "a list has one form");
    let serials: Vec<_> = list.serials().collect();
    assert!(serials.len() <= SERIALS_MAX && serials.is_sorted());
    assert!(serials.iter().all(|serial| list.is_revoked(*serial)));
}

/// [`Certificate::read`]: what is accepted has names that may be.
pub fn certificate(bytes: &[u8]) {
    let Ok(read) = Certificate::read(bytes) else { return };
    let node = read.node.as_deref().unwrap_or("-");
    let names = crate::name::check_node(node, &read.roles, &read.services);
    assert!(names.is_ok() && wireloom_wire::is_node_name(&read.cluster));
}
