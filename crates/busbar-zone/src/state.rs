//! The life of an instance, as one table.
//!
//! | state | next | by |
//! |---|---|---|
//! | `Bound` | `Ready` | `create`, `init` |
//! | `Ready` | `Active` | `activate` |
//! | `Active` | `Draining` | nobody enters any more |
//! | `Draining` | `Inactive` | nobody is inside: `deactivate` |
//! | `Draining` | `Zombie` | somebody stays inside: left alone for ever |
//! | `Ready`, `Inactive`, `Faulted` | `Destroyed` | `destroy` |
//! | `Faulted` | `Zombie` | as above |
//! | any but `Destroyed` and `Zombie` | `Faulted` | a panic |

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Its library says what it is.
    Bound,
    /// It was made.
    Ready,
    /// It can be called.
    Active,
    /// Its last calls run.
    Draining,
    /// It cannot be called any more.
    Inactive,
    /// It is gone.
    Destroyed,
    /// It panicked; all that is left is to destroy it.
    Faulted,
    /// A call of it never ended. It stays as it is.
    Zombie,
    /// Its process ended too often, and is not started again.
    Crashed,
}

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Init,
    Activate,
    Drain,
    Deactivate,
    Abandon,
    Destroy,
    Panic,
}

impl State {
    /// The state after `step`; `None` if that cannot happen now.
    pub(crate) const fn after(self, step: Step) -> Option<Self> {
        Some(match (self, step) {
            (Self::Bound, Step::Init) => Self::Ready,
            (Self::Ready, Step::Activate) => Self::Active,
            (Self::Active, Step::Drain) => Self::Draining,
            (Self::Draining, Step::Deactivate) => Self::Inactive,
            (Self::Draining | Self::Faulted, Step::Abandon) => Self::Zombie,
            (Self::Ready | Self::Inactive | Self::Faulted, Step::Destroy) => Self::Destroyed,
            (Self::Destroyed | Self::Zombie, Step::Panic) => return None,
            (_, Step::Panic) => Self::Faulted,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 7] = [
        Step::Init,
        Step::Activate,
        Step::Drain,
        Step::Deactivate,
        Step::Abandon,
        Step::Destroy,
        Step::Panic,
    ];

    /// [Z06] whatever happens in whatever order, an instance is made and destroyed once at most,
    /// and nothing is called of one that is gone
    #[test]
    fn no_way_leads_back() {
        fn walk(state: State, made: u32, destroyed: u32, depth: u32) {
            assert!(made <= 1 && destroyed <= made.max(1));
            if depth == 0 {
                return;
            }
            for step in STEPS {
                let Some(next) = state.after(step) else { continue };
                assert!(!matches!(state, State::Destroyed | State::Zombie), "{state:?} {step:?}");
                let (init, destroy) = (step == Step::Init, step == Step::Destroy);
                walk(next, made + u32::from(init), destroyed + u32::from(destroy), depth - 1);
            }
        }
        walk(State::Bound, 0, 0, 9);
    }

    /// [Z17] after a panic there is nothing to do but to destroy
    #[test]
    fn a_faulted_instance_is_only_destroyed() {
        for step in STEPS {
            let allowed = matches!(step, Step::Destroy | Step::Abandon | Step::Panic);
            assert_eq!(State::Faulted.after(step).is_some(), allowed, "{step:?}");
        }
    }
}
