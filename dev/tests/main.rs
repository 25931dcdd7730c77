//! The stack as people meet it, and the journey on it.

mod up;
