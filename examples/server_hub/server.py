"""The first stage."""

from addresses import SERVER_DB, SERVER_PUB, SERVER_PULL

from palm.servers import Server


class First(Server):
    """Serves ``clean``."""

    def clean(self, text: str) -> str:
        """Return a text without spaces around it."""
        return text.strip()


if __name__ == "__main__":
    First("first", SERVER_DB, SERVER_PULL, SERVER_PUB, pipelined=True).start()
