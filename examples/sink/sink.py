"""The last stage: takes what both stages before it make."""

from addresses import LEFT_PUB, RIGHT_PUB, SINK_DB, SINK_PUB

from palm.servers import Sink


class Last(Sink):
    """Serves ``finish``."""

    def finish(self, message: str) -> str:
        """Return the whole sentence."""
        return f"{message}, and arrived."


if __name__ == "__main__":
    Last(
        "sink",
        db_address=SINK_DB,
        sub_addresses=[LEFT_PUB, RIGHT_PUB],
        pub_address=SINK_PUB,
        previous=["left", "right"],
        to_client=True,
    ).start()
