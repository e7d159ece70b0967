//! Every fault of the network on a real socket, and the verdict it leads to.
