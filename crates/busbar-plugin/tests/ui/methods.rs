//! Mistakes in plugins.

use busbar_plugin::{Host, Output, Plugin, Result, Type, View, method, plugin};

#[derive(Type)]
struct Point {
    x: f64,
}

struct Broken;

impl Plugin for Broken {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self)
    }
}

#[plugin(id = "not a name")]
impl Broken {}

#[plugin(ids = "a")]
impl Broken {}

#[plugin]
impl Broken {}

#[plugin]
impl Drop for Broken {
    fn drop(&mut self) {}
}

#[plugin]
impl Broken {
    #[method]
    fn changes(&mut self) {}
}

#[plugin]
impl Broken {
    #[method(quick)]
    fn quick(&self) {}
}

#[plugin]
impl Broken {
    #[method]
    async fn borrows(&self, point: View<'_, Point>) {}
}

#[plugin]
impl Broken {
    #[method(sync)]
    async fn waits(&self) {}
}

#[plugin]
impl Broken {
    #[method(oneway)]
    fn answers(&self) -> u32 {
        1
    }
}

#[plugin]
impl Broken {
    #[method]
    fn counts(&self, count: usize) {}
}

#[plugin]
impl Broken {
    #[method]
    fn twice(&self, out: &mut Output<'_>) -> u32 {
        1
    }
}

#[method]
fn alone() {}

fn main() {}
