//! Zones of zones, several of one library, several libraries.

use std::time::Duration;

use busbar_zone::{ErrorKind, Loader, Mode, Options, ReloadOptions, State, Zone};

use crate::fixtures::{Fixture, LONG, alive, folder, loader, physics, registry, trusting};

fn child(loader: &Loader, path: &std::path::Path, parent: &Zone) -> Result<Zone, ErrorKind> {
    let mut options = Options::new(Mode::Inline);
    options.parent = Some(parent);
    // SAFETY: our own fixture.
    unsafe { loader.load(path, &options) }.map_err(|error| error.kind())
}

/// [Z05 Z06] children belong to one parent, close before it, and are refused once it is closed
#[test]
fn children_close_first() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    // SAFETY: our own fixture.
    let load = || unsafe { loader.load(&fixture.path, &Options::new(Mode::Inline)) };
    let parent = load().expect("it loads");
    let middle = child(&loader, &fixture.path, &parent).expect("it loads");
    let leaf = child(&loader, &physics(), &middle).expect("it loads");
    let ids = [parent.id(), middle.id(), leaf.id()];
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert_eq!(leaf.parent().expect("it has one").id(), middle.id());
    assert!(parent.parent().is_none());
    let children: Vec<_> = parent.children().iter().map(Zone::id).collect();
    assert_eq!(children, [middle.id()]);

    parent.close(LONG).expect("all close");
    for zone in [&parent, &middle, &leaf] {
        assert_eq!(zone.state(), State::Destroyed);
        let error = zone.call(busbar_zone::MethodId::from_index(0), &[], &mut []);
        assert_eq!(error.expect_err("it is closed").kind(), ErrorKind::Closed);
    }
    assert_eq!(child(&loader, &fixture.path, &parent).err(), Some(ErrorKind::Closed));
}

/// [Z05] a tree has an end
#[test]
fn trees_are_not_endless() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    // SAFETY: our own fixture.
    let root = unsafe { loader.load(&fixture.path, &Options::new(Mode::Inline)) };
    let mut zones = vec![root.expect("it loads")];
    let refused = (0..100).find_map(|_| {
        match child(&loader, &fixture.path, zones.last().expect("there is one")) {
            Ok(zone) => zones.push(zone),
            Err(kind) => return Some(kind),
        }
        None
    });
    assert_eq!(refused, Some(ErrorKind::InvalidArgument));
    assert_eq!(zones.len(), 17);
}

/// [Z14] fifty zones of five libraries, closed in some order: each instance is its own, and all are
/// gone in the end, with their types
#[test]
fn fifty_zones_of_five_libraries() {
    let registry = registry();
    let loader = Loader::new(registry, trusting());
    let fixtures: Vec<_> = (0..5)
        .map(|n| {
            let (id, name) = (format!("ID=\"fixture.n{n}\""), format!("TYPE_NAME=\"n{n}.Pair\""));
            Fixture::plugin(&[&id, &name])
        })
        .collect();
    let mut zones = Vec::new();
    for n in 0..50 {
        let mode = if n % 2 == 0 { Mode::Inline } else { Mode::Shared };
        // SAFETY: our own fixture.
        let zone = unsafe { loader.load(&fixtures[n % 5].path, &Options::new(mode)) };
        zones.push(zone.expect("it loads"));
    }
    assert_eq!(registry.entries().len(), 5);
    let last = zones.swap_remove(0);
    assert_eq!(alive(&last), 10);
    let mut seed = 12345_usize;
    while !zones.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        zones.swap_remove((seed >> 33) % zones.len()).close(LONG).expect("it closes");
    }
    assert_eq!(alive(&last), 1);
    assert_eq!(registry.entries().len(), 1);
    last.close(LONG).expect("it closes");
    assert!(registry.entries().is_empty());
}

/// [Z14] a plugin that allows one instance in a process has one: also of another file, by another
/// loader, or by a reload
#[test]
fn singletons() {
    let defines = ["FLAGS=BUSBAR_PLUGIN_SINGLETON", "ID=\"fixture.singleton\""];
    let (fixture, loaders) = (Fixture::plugin(&defines), [loader(), loader()]);
    let next = Fixture::plugin(&[&defines[..], &["VERSION=2"]].concat());
    let load = |loader: &Loader, fixture: &Fixture| {
        // SAFETY: our own fixture.
        unsafe { loader.load(&fixture.path, &Options::new(Mode::Inline)) }
    };
    let only = load(&loaders[0], &fixture).expect("it loads");
    for (loader, fixture) in [(0, &fixture), (1, &fixture), (1, &next)] {
        let error = load(&loaders[loader], fixture).expect_err("there is one");
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.is_retryable());
    }
    // SAFETY: as above.
    let reloaded = unsafe { loaders[0].reload(&only, &next.path, &ReloadOptions::default()) };
    assert_eq!(reloaded.expect_err("there would be two").kind(), ErrorKind::InUse);
    assert_eq!((only.state(), alive(&only)), (State::Active, 1));
    drop(only);
    load(&loaders[1], &next).expect("there is none any more");
}

/// [Z14 T31] folders are looked through without running anything; what is wrong is told, and the
/// rest is found
#[test]
fn folders() {
    let folder = folder();
    let suffix = std::env::consts::DLL_SUFFIX;
    let at = |name: &str| folder.path().join(format!("{name}{suffix}"));
    for name in ["libone", "two"] {
        std::fs::copy(Fixture::plugin(&[]).path, at(name)).expect("copied");
    }
    std::os::unix::fs::symlink(at("two"), at("same")).expect("linked");
    std::os::unix::fs::symlink(at("nowhere"), at("dangling")).expect("linked");
    std::fs::write(folder.path().join("README.txt"), "no library").expect("written");
    let mut loader = loader();
    loader.add_folder(folder.path()).add_folder("/nonexistent");
    let (good, bad): (Vec<_>, Vec<_>) = loader.scan().into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (2, 2), "{good:?} {bad:?}");

    assert_eq!(loader.find("one").expect("found"), at("libone"));
    assert_eq!(loader.find("two").expect("found"), at("two"));
    assert_eq!(loader.find("three").expect_err("none").kind(), ErrorKind::NotFound);
    for name in ["../two", "", ".hidden"] {
        assert_eq!(loader.find(name).expect_err("no name").kind(), ErrorKind::InvalidArgument);
    }
}

/// [Z05 Z06] a child that was being dropped while its parent closed could outlive it
#[test]
fn a_child_that_is_being_dropped_ends_before_its_parent() {
    let (slow, fixture, loader) = (Fixture::plugin(&["SLOW_END"]), Fixture::plugin(&[]), loader());
    // SAFETY: our own fixture.
    let load = |path, options: &Options<'_>| unsafe { loader.load(path, options) };
    let watch = load(&slow.path, &Options::new(Mode::Inline)).expect("it loads");
    for _ in 0..5 {
        let parent = load(&fixture.path, &Options::new(Mode::Inline)).expect("it loads");
        let child = child(&loader, &slow.path, &parent).expect("it loads");
        assert_eq!(alive(&watch), 2);
        std::thread::scope(|scope| {
            // Its end takes a while, and begins about now.
            scope.spawn(|| drop(child));
            std::thread::sleep(Duration::from_millis(20));
            parent.close(LONG).expect("it closes");
            assert_eq!(alive(&watch), 1, "the child is gone");
        });
        assert!(parent.children().is_empty());
    }
}

/// [Z06] a parent does not remember the children it had
#[test]
fn children_that_are_gone_are_forgotten() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    // SAFETY: our own fixture.
    let parent = unsafe { loader.load(&fixture.path, &Options::new(Mode::Inline)) };
    let parent = parent.expect("it loads");
    for _ in 0..10 {
        let one = child(&loader, &fixture.path, &parent).expect("it loads");
        let other = child(&loader, &fixture.path, &parent).expect("it loads");
        assert_eq!(parent.children().len(), 2);
        drop(one);
        other.close(LONG).expect("it closes");
        assert_eq!(parent.children().len(), 0);
    }
    assert_eq!(alive(&parent), 1);
}

/// [Z06] a zone that was dropped right after its call was abandoned, as the call was not quite out
#[test]
fn a_zone_is_dropped_right_after_a_call() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    // SAFETY: our own fixture.
    let load = |mode| unsafe { loader.load(&fixture.path, &Options::new(mode)) }.expect("it loads");
    let watch = load(Mode::Inline);
    for _ in 0..300 {
        let zone = load(Mode::Shared);
        crate::modes::wait(&zone, "echo", b"hello").expect("it echoes");
        drop(zone);
    }
    assert_eq!(alive(&watch), 1);
}
