//! How a session ends in order, whatever becomes of its connections meanwhile.
//!
//! | said | means | is over when |
//! |---|---|---|
//! | LEAVE | I receive no more: what I have not acknowledged, I never will | CLOSE is said |
//! | CLOSE | I have nothing more to send, nor wait for | the peer has said CLOSE, too |
//!
//! Both are said again over each new connection, since nobody knows what the last one took along.
//! Two that leave at once wait for nothing of each other but CLOSE.

/// What this end has to say, and has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    ours: Word,
    /// Whether it is still to be said over this connection.
    is_due: bool,
    theirs: Word,
}

/// The last word of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    #[default]
    Nothing,
    Leave,
    Close,
}

impl Ending {
    pub(super) fn leave(&mut self) {
        self.say(Word::Leave);
    }

    pub(super) fn close(&mut self) {
        self.say(Word::Close);
    }

    pub(super) fn handle_leave(&mut self) {
        self.theirs = self.theirs.max(Word::Leave);
    }

    pub(super) fn handle_close(&mut self) {
        self.theirs = Word::Close;
    }

    /// A new connection stands.
    pub(super) fn connected(&mut self) {
        self.is_due = self.ours > Word::Nothing;
    }

    /// Whether LEAVE is to be said now.
    pub(super) fn poll_leave(&mut self) -> bool {
        self.poll(Word::Leave)
    }

    /// Whether CLOSE is to be said now.
    pub(super) fn poll_close(&mut self) -> bool {
        self.poll(Word::Close)
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn is_forsaken(&self) -> bool {
        self.ours > Word::Nothing && self.theirs > Word::Nothing
    }

    pub(super) fn is_closing(&self) -> bool {
        self.ours == Word::Close
    }

    pub(super) fn is_over(&self) -> bool {
        self.ours == Word::Close && !self.is_due && self.theirs == Word::Close
    }

    fn say(&mut self, word: Word) {
        if self.ours < word {
            (self.ours, self.is_due) = (word, true);
        }
    }

    fn poll(&mut self, word: Word) -> bool {
        let is_now = self.is_due && self.ours == word;
        self.is_due &= !is_now;
        is_now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D30] what an end has to say of its end is said once over each connection
    #[test]
    fn last_words_are_repeated_over_each_connection() {
        let mut it = Ending::default();
        it.connected();
        assert!(!it.is_due() && !it.poll_leave() && !it.poll_close());
        it.leave();
        assert_eq!((it.poll_close(), it.poll_leave(), it.poll_leave()), (false, true, false));
        it.connected();
        assert!(it.is_due());
        it.close();
        assert_eq!((it.poll_leave(), it.poll_close(), it.poll_close()), (false, true, false));
        it.leave();
        assert!(!it.is_due(), "there is nothing after CLOSE");
        it.connected();
        assert!(it.poll_close() && !it.is_over());
        it.handle_close();
        assert!(it.is_over() && it.is_forsaken());
    }

    /// [D30] who is answered has not said its own CLOSE yet
    #[test]
    fn an_answer_is_due_until_it_is_said() {
        let mut it = Ending::default();
        it.handle_leave();
        assert!(!it.is_forsaken());
        it.handle_close();
        it.close();
        assert!(it.is_closing() && it.is_due() && !it.is_over());
        assert!(it.poll_close() && it.is_over());
    }
}
