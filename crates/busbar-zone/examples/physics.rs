//! A plugin with one method of each kind: what tests and benchmarks of hosts load.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use busbar_plugin::abi::Status;
use busbar_plugin::{
    Cancellation, Error, Host, Level, Objects, Output, Plugin, Result, State, Type, View, plugin,
};

/// A point in space.
#[derive(Type)]
#[busbar(name = "physics.Point")]
struct Point {
    /// East.
    x: f64,
    /// North.
    y: f64,
}

/// A path with a name.
#[derive(Type)]
#[busbar(name = "physics.Path")]
struct Path {
    /// What it is called.
    name: String,
    /// Where it leads.
    points: Vec<Point>,
}

/// What outlives a reload.
#[derive(Type)]
#[busbar(name = "physics.Saved")]
struct Saved {
    #[busbar(number)]
    total: u64,
}

struct Physics {
    host: Host,
    total: AtomicU64,
    config: Mutex<String>,
    bodies: Objects<String>,
    released: AtomicU64,
    cancelled: AtomicU64,
}

impl Plugin for Physics {
    fn create(host: Host) -> Result<Self> {
        Ok(Self {
            host,
            total: AtomicU64::new(0),
            config: Mutex::default(),
            bodies: Objects::new(host),
            released: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        })
    }

    fn activate(&self, config: &str) -> Result<()> {
        match config {
            "\"panic\"" => panic!("asked to, when activated"),
            "\"refuse\"" => Err(Error::new(7, "asked to refuse")),
            _ => {
                *self.config.lock().map_err(|_| "poisoned")? = config.to_owned();
                self.host.log(Level::Info, "physics is active");
                Ok(())
            }
        }
    }

    fn released(&self, object: u64) {
        if self.bodies.remove(object).is_some() {
            self.released.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deactivate(&self) {
        self.host.log(Level::Info, "physics was active");
    }
}

impl Drop for Physics {
    fn drop(&mut self) {
        self.host.log(Level::Info, "physics is gone");
    }
}

impl State for Physics {
    type Saved = Saved;

    fn save(&self) -> Result<Saved> {
        Ok(Saved { total: self.total.load(Ordering::Relaxed) })
    }

    fn load(&self, saved: Saved) -> Result<()> {
        self.total.store(saved.total, Ordering::Relaxed);
        Ok(())
    }
}

#[plugin(id = "example.physics", types(Saved), state)]
impl Physics {
    /// Nothing at all.
    #[method(sync, idempotent)]
    fn nothing(&self) {}

    /// One value of the plugin's own type.
    #[method(sync, idempotent)]
    fn length(&self, point: Point) -> f64 {
        point.x.hypot(point.y)
    }

    /// Several arguments, and a result that may not be.
    #[method(sync)]
    fn add(&self, a: u64, b: u64) -> Result<u64> {
        let sum = a.checked_add(b).ok_or("the sum is beyond 64 bits")?;
        self.total.fetch_add(sum, Ordering::Relaxed);
        Ok(sum)
    }

    /// Looks at a large value where it lies.
    #[method(sync)]
    fn center(&self, path: View<'_, Path>) -> Result<Point> {
        let count = path.points.len() as f64;
        if count == 0.0 {
            return Err(Error::of(Status::INVALID, format!("{} has no points", path.name)));
        }
        let sum = |of: fn(&ArchivedPoint) -> f64| path.points.iter().map(of).sum::<f64>() / count;
        Ok(Point { x: sum(|it| it.x.to_native()), y: sum(|it| it.y.to_native()) })
    }

    /// Bytes in, bytes out.
    #[method(sync)]
    fn invert(&self, input: &[u8], out: &mut Output<'_>) -> Result<()> {
        for (to, from) in out.claim(input.len())?.iter_mut().zip(input) {
            *to = !from;
        }
        Ok(())
    }

    /// What the zone was loaded with.
    #[method(sync)]
    fn config(&self) -> Result<String> {
        Ok(self.config.lock().map_err(|_| "poisoned")?.clone())
    }

    /// Everything added so far.
    #[method(sync)]
    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Adds without an answer.
    #[method(oneway)]
    fn count(&self, more: u32) {
        self.total.fetch_add(more.into(), Ordering::Relaxed);
    }

    /// Blocks its thread.
    #[method]
    fn sleep(&self, ms: u32) -> bool {
        std::thread::sleep(Duration::from_millis(ms.into()));
        self.host.is_zone_thread()
    }

    /// Blocks its thread until it is cancelled, or `ms` have passed; how often it was cancelled.
    #[method]
    fn patient(&self, ms: u32) -> Result<u64> {
        let cancellation = Cancellation::current();
        if cancellation.wait(Duration::from_millis(ms.into())) {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        cancellation.check()?;
        Ok(self.cancelled.load(Ordering::Relaxed))
    }

    /// Keeps a processor busy until it is cancelled, or `ms` have passed.
    #[method]
    fn burn(&self, ms: u32) -> Result<()> {
        let (cancellation, end) = (Cancellation::current(), Duration::from_millis(ms.into()));
        let begin = Instant::now();
        while begin.elapsed() < end {
            cancellation.check()?;
        }
        Ok(())
    }

    /// Gives its turn away `turns` times.
    #[method]
    async fn later(&self, turns: u32, value: String) -> Result<String> {
        for _ in 0..turns {
            yield_now().await;
        }
        if value.is_empty() {
            return Err(Error::new(1, "there is no value"));
        }
        Ok(value)
    }

    /// Sleeps for `ms` milliseconds, in a runtime that gives the thread to others meanwhile.
    #[method]
    async fn asleep(&self, ms: u32) -> u32 {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        ms
    }

    /// Waits for ever.
    #[method]
    async fn never(&self) {
        std::future::pending().await
    }

    /// Two numbers, as most libraries of functions take them.
    #[method(sync, idempotent)]
    fn distance(&self, x: f64, y: f64) -> f64 {
        x.hypot(y)
    }

    /// Asks whoever loaded the zone, and waits.
    #[method(sync)]
    fn ask(&self, method: String, input: Vec<u8>) -> Result<Vec<u8>> {
        self.host.call(&method, &input)
    }

    /// As `ask`, on a thread of the plugin's own.
    #[method]
    fn ask_elsewhere(&self, method: String, input: Vec<u8>) -> Result<Vec<u8>> {
        let host = self.host;
        let asked = std::thread::spawn(move || host.call(&method, &input)).join();
        asked.map_err(|_| "it panicked")?
    }

    /// Asks, and gives its thread away meanwhile.
    #[method]
    async fn ask_later(&self, method: String, input: Vec<u8>) -> Result<Vec<u8>> {
        self.host.start(&method, &input).await
    }

    /// Another object, which callers may hold.
    #[method(sync)]
    fn make(&self, name: String) -> Result<u64> {
        self.bodies.insert(name)
    }

    /// What an object is called.
    #[method(sync)]
    fn name_of(&self, body: u64) -> Result<String> {
        Ok(String::clone(&*self.bodies.find(body)?))
    }

    /// How many objects nobody holds any more.
    #[method(sync)]
    fn released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    /// Needs an object of whoever loaded the zone no longer.
    #[method(sync)]
    fn give_back(&self, object: u64) -> Result<()> {
        self.host.release(object)
    }

    /// A bug.
    #[method(sync)]
    fn panic(&self, text: String) -> u32 {
        panic!("{text}")
    }

    /// A bug, later.
    #[method]
    async fn panic_later(&self) {
        yield_now().await;
        panic!("later")
    }
}

/// Asks to be polled again, once.
async fn yield_now() {
    let mut is_second = false;
    std::future::poll_fn(move |context| {
        if is_second {
            return std::task::Poll::Ready(());
        }
        is_second = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
