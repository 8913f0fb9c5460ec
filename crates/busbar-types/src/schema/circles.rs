//! Which types lead to each other and back: mentions by name only (`recursive`) are for those, as
//! no hash covers what is behind them.

use std::collections::{BTreeMap, BTreeSet};

use super::TypeSchema;
use super::check::Types;

/// Types with the same number mention each other, directly or through others; a type that is in no
/// circle has a number of its own.
pub(super) fn circles(types: &Types) -> BTreeMap<&str, usize> {
    let mut backward: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut forward: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, schema) in types {
        let inner = mentions(types, schema);
        for mention in &inner {
            backward.entry(mention).or_default().push(name);
        }
        forward.insert(name, inner);
    }
    // Kosaraju: in the order in which a walk along the mentions leaves the types, last first, all
    // that leads to a type and has no number yet is in its circles. Without recursion: circles of
    // mentions by name are as long as there are types.
    let mut numbers = BTreeMap::new();
    for (number, name) in leaving_order(&forward).into_iter().rev().enumerate() {
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            if numbers.contains_key(next) {
                continue;
            }
            numbers.insert(next, number);
            open.extend(backward.get(next).into_iter().flatten());
        }
    }
    numbers
}

fn mentions<'a>(types: &'a Types, schema: &TypeSchema) -> Vec<&'a str> {
    let mut all = Vec::new();
    schema.for_each_mention(&mut |mention, _| {
        all.extend(types.get_key_value(mention).map(|(name, _)| name.as_str()));
    });
    all
}

/// Every type behind all that a walk finds from it.
fn leaving_order<'a>(forward: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<&'a str> {
    let (mut order, mut entered) = (Vec::new(), BTreeSet::new());
    for &first in forward.keys() {
        let mut path = Vec::from_iter(entered.insert(first).then_some((first, 0)));
        while let Some((name, at)) = path.last_mut() {
            let Some(&next) = forward[name].get(*at) else {
                order.push(*name);
                path.pop();
                continue;
            };
            *at += 1;
            if entered.insert(next) {
                path.push((next, 0));
            }
        }
    }
    order
}
