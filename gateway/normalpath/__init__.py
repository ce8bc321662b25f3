"""The normal path: connections of the fast path that go on as kernel sockets with buffers, and back again."""
