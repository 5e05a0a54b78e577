//! The house rules, held over every tracked file.
//!
//! One module per family of rules; each rule is a function from a file to its complaints and has a
//! unit test on a snippet that breaks it. The tests below run each rule over the whole tree, so the
//! name of the failing test is the name of the broken rule. This test reads files and changes none.
#![forbid(unsafe_code)]

mod fence;
mod markdown;
mod mask;
mod scripts;
mod shape;
mod tree;
mod words;

use tree::{Complaint, File, Tree};

/// Fails with one line per complaint that `rule` has against any file of the tree.
fn hold(rule: impl Fn(&File) -> Vec<Complaint>) {
    hold_tree(|tree| tree.files.iter().flat_map(&rule).collect());
}

/// The same for a rule that must see all files at once.
fn hold_tree(rule: impl Fn(&Tree) -> Vec<Complaint>) {
    let tree = Tree::read();
    assert!(tree.files.len() > 20, "only {} files found: is this the tree?", tree.files.len());
    let complaints = rule(&tree);
    let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} complaint(s):\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn rust_lines_fit_in_100_columns() {
    hold(shape::long_lines);
}

#[test]
fn long_rust_files_give_a_reason() {
    hold(shape::long_file);
}

#[test]
fn functions_fit_on_a_screen() {
    hold_tree(|tree| shape::long_functions(tree, shape::LONG_FUNCTIONS));
}

#[test]
fn no_source_file_is_dead() {
    hold_tree(shape::dead_files);
}

#[test]
fn unsafe_stays_in_the_named_files() {
    hold_tree(|tree| fence::unsafe_files(tree, fence::UNSAFE_FILES));
}

#[test]
fn no_macro_hides_unsafe() {
    hold(fence::unsafe_macros);
}

#[test]
fn libraries_do_not_print() {
    hold(fence::prints);
}

#[test]
fn file_names_name_a_thing() {
    hold(words::file_names);
}

#[test]
fn type_names_name_a_thing() {
    hold(words::type_names);
}

#[test]
fn functions_follow_the_naming_convention() {
    hold(words::function_names);
}

#[test]
fn identifiers_are_written_out() {
    hold(words::abbreviations);
}

#[test]
fn no_notes_for_later() {
    hold(words::notes_for_later);
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    hold(words::machine_paths);
}

#[test]
fn nothing_names_a_registry_host() {
    hold(words::registry_hosts);
}

#[test]
fn markdown_has_one_title() {
    hold(markdown::titles);
}

#[test]
fn markdown_links_resolve() {
    hold_tree(markdown::links);
}

#[test]
fn scripts_are_short_strict_and_explained() {
    hold(scripts::shape);
}
