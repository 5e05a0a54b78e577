//! The data plane: agents on pinned workers that move bytes between rings and sockets.
