"""The first stage: its results go on to those who subscribe to it, not to the client."""

from addresses import SERVER_DB, SERVER_PUB, SERVER_PULL

from palm.servers import Server


class First(Server):
    """Serves ``greet``."""

    def greet(self, message: bytes) -> bytes:
        """Put a word in front of the message."""
        return b"hello " + message


if __name__ == "__main__":
    First(
        "first",
        db_address=SERVER_DB,
        pull_address=SERVER_PULL,
        pub_address=SERVER_PUB,
        pipelined=True,
    ).start()
