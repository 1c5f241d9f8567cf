"""The second stage: its results go to the client."""

from addresses import PIPELINE_DB, PIPELINE_PUB, SERVER_PUB

from palm.servers import Pipeline


class Second(Pipeline):
    """Serves ``shout``."""

    def shout(self, message: bytes) -> bytes:
        """Return the message in capitals."""
        return message.upper()


if __name__ == "__main__":
    Second(
        "second",
        db_address=PIPELINE_DB,
        sub_address=SERVER_PUB,
        pub_address=PIPELINE_PUB,
        previous="first",
        to_client=True,
    ).start()
