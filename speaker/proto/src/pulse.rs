//! Whether the agent may keep its kernel answering.
