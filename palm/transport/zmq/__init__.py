"""ZeroMQ: a ROUTER listens, a DEALER connects.

High-water marks are off: libzmq stops reading a peer whose pipe is full, and a healthy busy peer
would then fail its heartbeats. Heartbeats are ZMTP's, answered by libzmq's own thread, also while
Python is busy. The end of a connection is seen by the socket's monitor: at a listener its file
descriptor is that which the peer's frames came from, confirmed by an empty message, since
descriptors are used again.
"""

from __future__ import annotations

from palm.transport.zmq.connector import ZmqConnector
from palm.transport.zmq.listener import ZmqListener

__all__ = ["ZmqConnector", "ZmqListener"]
